package fhir

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of what [Parse] takes.
const (
	MaxBody  = 50 << 20 // bytes
	maxDepth = 50       // objects and arrays inside each other
	maxIssue = 50       // issues told of
)

// A Document is a resource that was checked and may be stored.
type Document struct {
	Type Type
	ID   string // empty when the body has none

	// Tree is the body decoded: map[string]any, []any, string, bool, json.Number;
	// nil only inside arrays of primitives. It must not be changed.
	Tree map[string]any

	// JSON is the body without white space between its tokens, otherwise byte for
	// byte what the author wrote.
	JSON []byte
}

// Parse checks a body, a resource of any type, and decodes it. The checks, in
// this order: size; JSON as RFC 8259 and FHIR want it (UTF-8, no name twice, no
// empty string, object or array, no more than 50 levels); the structure and the
// values that R4 defines, for contained resources and the entries of a Bundle or
// of Parameters too; references, and the narrative.
//
// An error is an [*Error] of kind Invalid (not JSON, or not the structure of a
// resource), Unprocessable (a resource that breaks a rule) or TooBig, with an
// issue for every fault found, at most 50, each naming its element.
func Parse(body []byte) (*Document, error) {
	if len(body) > MaxBody {
		return nil, &Error{Kind: TooBig, Issues: []Issue{{Code: "too-long", Text: "The body is larger than 50 MB."}}}
	}
	tree, err := scan(body)
	if err != nil {
		return nil, err
	}
	name, _ := tree["resourceType"].(string)
	if !Type(name).Valid() {
		return nil, &Error{Kind: Invalid, Issues: []Issue{{Code: "structure", Expression: "resourceType",
			Text: "A resource needs a resourceType that R4 knows."}}}
	}
	compact := jsontext.Value(bytes.Clone(body))
	if err := compact.Compact(); err != nil {
		return nil, Errorf(Invalid, "The body is not JSON.")
	}
	if err := validate(Type(name), tree, compact); err != nil {
		return nil, err
	}
	id, _ := tree["id"].(string)
	return &Document{Type: Type(name), ID: id, Tree: tree, JSON: compact}, nil
}

// Tree decodes a body that was checked before, such as a stored one, into the
// form of [Document.Tree].
func Tree(body []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var tree map[string]any
	err := dec.Decode(&tree)
	return tree, err
}

// Compact drops the white space between the tokens of a JSON value and changes
// nothing else.
func Compact(body []byte) ([]byte, error) {
	v := jsontext.Value(bytes.Clone(body))
	err := v.Compact()
	return v, err
}
