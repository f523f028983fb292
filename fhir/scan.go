package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A scanner decodes a body strictly: encoding/json takes the last of two equal
// names, and google/fhir whichever it meets first, so nothing that they would
// read differently may get past here.
type scanner struct {
	dec    *jsontext.Decoder
	issues []Issue
	places [maxDepth + 2]Place // where it is, by depth; those above are filled in
}

// scan decodes a body that must be one JSON object. The issues are faults that do
// not keep it from being decoded; their expressions begin with the resource's type.
func scan(body []byte) (map[string]any, []Issue, error) {
	s := &scanner{dec: jsontext.NewDecoder(bytes.NewBuffer(body))}
	if s.dec.PeekKind() != '{' {
		if _, err := s.dec.ReadToken(); err != nil {
			return nil, nil, syntax(err)
		}
		return nil, nil, &Error{Kind: Invalid, Issues: []Issue{{Code: "structure", Text: "The body is not a JSON object."}}}
	}
	tree, err := s.object(nil, 1)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.dec.ReadToken(); err != io.EOF {
		if err != nil {
			return nil, nil, syntax(err)
		}
		return nil, nil, &Error{Kind: Invalid, Issues: []Issue{{Code: "structure", Text: "Something follows the JSON object."}}}
	}
	if root, _ := tree["resourceType"].(string); Type(root).Valid() {
		for i := range s.issues {
			s.issues[i].Expression = strings.TrimSuffix(root+"."+s.issues[i].Expression, ".")
		}
	}
	return tree, s.issues, nil
}

func (s *scanner) value(at *Place, depth int) (any, error) {
	switch s.dec.PeekKind() {
	case '{':
		return s.object(at, depth+1)
	case '[':
		return s.array(at, depth+1)
	}
	token, err := s.dec.ReadToken()
	if err != nil {
		return nil, syntax(err)
	}
	switch token.Kind() {
	case '"':
		text := token.String()
		s.text(at, text)
		return text, nil
	case '0':
		number := token.String()
		if !reasonable(number) {
			s.fault(at, "value", "This number has too many digits.")
			return json.Number("0"), nil // nobody should reckon with it
		}
		return json.Number(number), nil
	case 't', 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

func (s *scanner) object(at *Place, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, tooDeep(at)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	object := map[string]any{}
	for s.dec.PeekKind() != '}' {
		raw, err := s.dec.ReadValue()
		if err != nil {
			return nil, syntax(err)
		}
		name := string(raw[1 : len(raw)-1])
		here := &s.places[depth]
		*here = Place{Up: at, Name: name}
		if first := strings.TrimPrefix(name, "_"); first == "" || first[0] < 'a' || first[0] > 'z' {
			s.fault(at, "structure", "Element names begin with a small letter; "+quote(name)+" does not.")
		} else if strings.IndexByte(name, '\\') >= 0 { // WithMeta and others look at the bytes
			s.fault(at, "structure", "Element names are written without escapes; "+quote(name)+" is not.")
		}
		if object[name], err = s.value(here, depth); err != nil {
			return nil, err
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	if len(object) == 0 {
		s.fault(at, "structure", "An object must not be empty.")
	}
	return object, nil
}

func (s *scanner) array(at *Place, depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, tooDeep(at)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	var items []any
	here := &s.places[depth]
	for s.dec.PeekKind() != ']' {
		*here = Place{Up: at, Index: len(items)}
		item, err := s.value(here, depth)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	if len(items) == 0 {
		s.fault(at, "structure", "An array must not be empty.")
	}
	return items, nil
}

// text refuses what https://hl7.org/fhir/R4/datatypes.html#string does: an empty
// string, and control characters other than tab, line feed and carriage return.
func (s *scanner) text(at *Place, text string) {
	if text == "" {
		s.fault(at, "value", "A string must not be empty.")
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			s.fault(at, "value", "A string must not hold control characters.")
			return
		}
	}
}

func (s *scanner) fault(at *Place, code, text string) {
	if len(s.issues) < 2*maxIssue {
		s.issues = append(s.issues, Issue{Code: code, Text: text, Expression: at.Expression("")})
	}
}

// reasonable keeps out numbers whose exact arithmetic would cost more than their
// length says, such as 1e999999999.
func reasonable(number string) bool {
	if len(number) > 64 {
		return false
	}
	_, exponent, found := strings.Cut(strings.ToLower(number), "e")
	return !found || len(strings.TrimLeft(exponent, "+-0")) <= 3
}

// syntax tells where a body stops being JSON.
func syntax(err error) error {
	text, expression := "The body is not valid JSON.", ""
	var at *jsontext.SyntacticError
	if errors.As(err, &at) {
		expression = pointer(at.JSONPointer)
		reason := "not valid JSON"
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			reason = "a name that was there before in the same object"
		case strings.Contains(at.Err.Error(), "UTF-8"):
			reason = "not valid UTF-8"
		case errors.Is(err, io.ErrUnexpectedEOF):
			reason = "the end, too early"
		}
		text = "At byte " + strconv.FormatInt(at.ByteOffset, 10) + ": " + reason + "."
	} else if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		text = "The body ends too early."
	}
	return &Error{Kind: Invalid, Issues: []Issue{{Severity: "fatal", Code: "structure", Text: text, Expression: expression}}}
}

// pointer turns a JSON pointer into a simple FHIRPath.
func pointer(p jsontext.Pointer) string {
	var at *Place
	for token := range p.Tokens() {
		if index, err := strconv.Atoi(token); err == nil {
			at = &Place{Up: at, Index: index}
			continue
		}
		at = &Place{Up: at, Name: strings.ToValidUTF8(token, "?")}
	}
	return shorten(at.Expression(""))
}

func tooDeep(at *Place) error {
	return &Error{Kind: Invalid, Issues: []Issue{{Severity: "fatal", Code: "too-costly",
		Text: "The body is nested more than 50 levels deep.", Expression: shorten(at.Expression(""))}}}
}

// quote shows a name of the caller's, made short and harmless.
func quote(name string) string { return strconv.QuoteToASCII(shorten(name)) }

func shorten(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
