package fhir

import (
	"bytes"
	"encoding/json"
	"slices"

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

	// Mentions are its references by type and id, absolute ones too, wherever they
	// stand in it; those by urn:, by query and to what is contained are left out, and
	// those of a Bundle, which mean its entries first.
	Mentions []Mention

	// JSON is the body without white space between its tokens, otherwise byte for
	// byte what the author wrote.
	JSON []byte
}

// A Mention is a reference to a resource, and where it stands.
type Mention struct {
	Reference Reference
	At        *Place // of Reference.reference
}

// A Check looks for further faults in the tree of a body, which it must not
// change. Its error is for what no body causes.
type Check func(tree map[string]any) ([]Issue, error)

// Parse checks a body, a resource of any type, and decodes it. The checks, in
// this order: size; JSON as RFC 8259 and FHIR want it (UTF-8, no name twice, no
// empty string, object or array, no more than 50 levels); the structure and the
// values that R4 defines, for contained resources and the entries of a Bundle or
// of Parameters too; references, and the narrative; then the checks given.
//
// An error is an [*Error] of kind Invalid (not JSON, or not the structure of a
// resource), Unprocessable (a resource that breaks a rule) or TooBig, with an
// issue for every fault found, at most 50, each naming its element. Warnings
// of a check are told of beside faults only.
func Parse(body []byte, checks ...Check) (*Document, error) {
	doc, issues, kind, err := examine(body, checks)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(issues, Issue.isFault) {
		return nil, &Error{Kind: kind, Issues: limit(issues)}
	}
	return doc, nil
}

// Examine is [Parse] for those who want to be told rather than refused: the
// issues are all that is wrong with a body, warnings too. An error is for what
// is no resource in JSON at all.
func Examine(body []byte, checks ...Check) (*Document, []Issue, error) {
	doc, issues, _, err := examine(body, checks)
	return doc, limit(issues), err
}

// examine gives the kind that an error would be of as well.
func examine(body []byte, checks []Check) (*Document, []Issue, Kind, error) {
	if len(body) > MaxBody {
		return nil, nil, 0, &Error{Kind: TooBig, Issues: []Issue{{Code: "too-long", Text: "The body is larger than 50 MB."}}}
	}
	tree, issues, err := scan(body)
	if err != nil {
		return nil, nil, 0, err
	}
	name, _ := tree["resourceType"].(string)
	if !Type(name).Valid() {
		return nil, nil, 0, &Error{Kind: Invalid, Issues: limit(append(issues, Issue{Code: "structure", Expression: "resourceType",
			Text: "A resource needs a resourceType that R4 knows."}))}
	}
	compact := jsontext.Value(bytes.Clone(body))
	if err := compact.Compact(); err != nil {
		return nil, nil, 0, Errorf(Invalid, "The body is not JSON.")
	}
	kind := Unprocessable
	exact := []byte(compact)
	if len(issues) > 0 {
		exact = nil // what the scan objected to is not there any more, or would be told twice
	}
	mentions, found, bad, err := validate(Type(name), tree, exact)
	if err != nil {
		return nil, nil, 0, err
	}
	if bad || len(issues) > 0 {
		kind = Invalid
	}
	issues = merge(issues, found)
	for _, check := range checks {
		more, err := check(tree)
		if err != nil {
			return nil, nil, 0, err
		}
		issues = merge(issues, more)
	}
	id, _ := tree["id"].(string)
	return &Document{Type: Type(name), ID: id, Tree: tree, Mentions: mentions, JSON: compact}, issues, kind, nil
}

// merge adds issues about places of which nothing is said yet: what comes of one
// fault is told once. An invariant is a matter of its own.
func merge(issues, more []Issue) []Issue {
	if len(issues) == 0 || len(more) == 0 {
		return append(issues, more...)
	}
	told := map[string]bool{}
	for _, i := range issues {
		if i.isFault() {
			told[i.Expression] = true
		}
	}
	for _, i := range more {
		if i.Code == "invariant" || !told[i.Expression] {
			issues = append(issues, i)
		}
	}
	return issues
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
