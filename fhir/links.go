package fhir

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A Link is a string in a body that leads somewhere: what a Bundle's entries may
// name each other by (https://hl7.org/fhir/R4/http.html#trules). Its bytes with
// the quotation marks are body[Start:End].
type Link struct {
	Kind       LinkKind
	Start, End int
	raw        []byte
	at         *Place
}

// A LinkKind says what a Link is.
type LinkKind uint8

// The kinds of links.
const (
	LinkReference LinkKind = iota // Reference.reference
	LinkURI                       // of type uri or url; a canonical is none
	LinkNarrative                 // XHTML, with href and src inside
)

// Value gives the string that is written.
func (l Link) Value() string {
	if bytes.IndexByte(l.raw, '\\') < 0 {
		return string(l.raw[1 : len(l.raw)-1])
	}
	var s string
	if json.Unmarshal(l.raw, &s) != nil {
		return ""
	}
	return s
}

// Expression names the element in a resource of a type.
func (l Link) Expression(t Type) string { return l.at.Expression(string(t)) }

// A linker walks a compact body by its shape.
type linker struct {
	*validator
	body  []byte
	yield func(Link) bool
	ended bool
}

// Links gives the links of a compact body ([Compact]) in their order, those of
// contained resources too. Of what is no R4 it gives none.
func Links(compact []byte) iter.Seq[Link] {
	return func(yield func(Link) bool) {
		v, err := theValidator()
		if err != nil {
			return
		}
		l := &linker{validator: v, body: compact, yield: yield}
		l.resource(0, nil, 0)
	}
}

func (l *linker) resource(at int, where *Place, depth int) {
	if root, known := l.roots[string(Header(l.body[at:]).Type)]; known {
		l.object(at, l.of(root), where, depth)
	}
}

func (l *linker) object(at int, s *shape, where *Place, depth int) {
	if depth > maxDepth || at >= len(l.body) || l.body[at] != '{' {
		return // parsing will refuse it
	}
	for at++; !l.ended && at < len(l.body) && l.body[at] != '}'; {
		m, next := memberAt(l.body, at)
		name := string(l.body[m.start+1 : m.value-2])
		plain, below := strings.CutPrefix(name, "_")
		if e := s.elements[plain]; e != nil {
			here := &Place{Up: where, Name: name, Base: e.base}
			l.member(m, e, here, s.ref && name == "reference", below, depth)
		}
		at = next
	}
}

func (l *linker) member(m member, e *element, here *Place, ref, below bool, depth int) {
	if l.body[m.value] != '[' {
		l.value(m.value, m.end, e, here, ref, below, depth)
		return
	}
	index := 0
	for at := m.value + 1; !l.ended && at < m.end && l.body[at] != ']'; index++ {
		end := skipValue(l.body, at)
		l.value(at, end, e, &Place{Up: here, Index: index}, false, below, depth)
		if at = end; at < m.end && l.body[at] == ',' {
			at++
		}
	}
}

func (l *linker) value(at, end int, e *element, here *Place, ref, below bool, depth int) {
	switch {
	case e.inline:
		l.resource(at, here, depth+1)
	case ref:
		l.text(LinkReference, at, end, here)
	case e.kind == notPrimitive || below:
		l.object(at, l.of(e.message), here, depth+1)
	case e.kind == xhtml:
		l.text(LinkNarrative, at, end, here)
	case e.kind == textual:
		switch e.message.Name() {
		case "Uri", "Url": // an oid or a uuid could not hold the address of a resource
			l.text(LinkURI, at, end, here)
		}
	}
}

func (l *linker) text(kind LinkKind, at, end int, here *Place) {
	if l.body[at] == '"' && !l.yield(Link{kind, at, end, l.body[at:end], here}) {
		l.ended = true
	}
}

// Quoted gives a string as JSON, with nothing escaped that need not be.
func Quoted(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s) // fails on invalid UTF-8 only, and replaces it
	return b
}
