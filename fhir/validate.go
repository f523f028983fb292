package fhir

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"
)

// A validator holds what takes long to make.
type validator struct {
	*shapes
	google *jsonformat.Unmarshaller

	// light is google/fhir without its checks for what is missing and for the types
	// of references, an eighth of its time. The walk looks for both.
	light *jsonformat.Unmarshaller

	*proven // what it need not be asked again
}

// theValidator is made by the first who parses: it costs 30 MB and 50 ms, which
// a program that only reads should not pay.
var theValidator = sync.OnceValues(func() (*validator, error) {
	google, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		return nil, err
	}
	light, err := jsonformat.NewUnmarshallerWithoutValidation("UTC", fhirversion.R4)
	if err != nil {
		return nil, err
	}
	google.MaxNestingDepth, light.MaxNestingDepth = 2*maxDepth, 2*maxDepth
	return &validator{shapes: newShapes(), google: google, light: light, proven: newProven()}, nil
})

// A check validates one body. Every resource in it, the contained and those of
// entries too, is walked by its shape first, which finds what google/fhir lets
// pass, and notes where the body must be edited to be understood by it; then
// google/fhir validates it alone, except for values in it that it has seen before.
type check struct {
	*validator
	root     string
	urns     map[string]Type // of a Bundle: what the urn: addresses of its entries stand for
	mentions []Mention
	issues   []Issue
	bad      bool // an issue of structure was found
	queue    []part
}

// A part is a resource to be checked.
type part struct {
	tree    map[string]any
	at      *Place
	bytes   []byte          // nil: to be made from the tree
	targets map[string]Type // what "#id" may mean here
	loose   bool            // inside a Bundle: urn:uuid and conditional references have a meaning
	within  bool            // contained
}

// An edit changes what google/fhir gets to see.
type edit struct {
	at    *Place
	value any // nil: away with it
}

// validate gives the references and the faults of a body, and whether any is one
// of structure.
// compact is nil when the body is to be made from the tree.
func validate(t Type, tree map[string]any, compact []byte) (mentions []Mention, issues []Issue, bad bool, err error) {
	v, err := theValidator()
	if err != nil {
		return nil, nil, false, err
	}
	c := &check{validator: v, root: string(t), urns: urnsIn(t, tree)}
	c.queue = append(c.queue, part{tree: tree, bytes: compact, loose: t == "Bundle"})
	for len(c.queue) > 0 && len(c.issues) < 10*maxIssue {
		next := c.queue[0]
		c.queue = c.queue[1:]
		c.part(next)
	}
	return c.mentions, c.issues, c.bad, nil
}

// part checks one resource.
func (c *check) part(p part) {
	name, _ := p.tree["resourceType"].(string)
	message, known := c.roots[name]
	if !known {
		c.broken(&Place{Up: p.at, Name: "resourceType"}, "structure", "A resource needs a resourceType that R4 knows.")
		return
	}
	w := &walk{check: c, part: p}
	if p.targets == nil {
		w.targets = containedIn(p.tree)
	}
	shape, before := c.of(message), len(c.issues)
	w.object(p.tree, shape, p.at, nil)

	body := p.bytes
	if body == nil || len(w.edits) > 0 {
		tree := cloneValue(p.tree).(map[string]any)
		depth := len(p.at.steps())
		for _, e := range w.edits {
			change(tree, e.at.steps()[depth:], e.value)
		}
		body = appendValue(nil, tree)
	}
	if len(c.issues) == before && !w.lacking {
		quiet, rest := &faults{}, c.prune(body, shape)
		if _, err := c.light.UnmarshalWithErrorReporter(rest.out, quiet); err == nil && len(quiet.list) == 0 {
			rest.accepted()
			return
		}
	}
	c.external(body, p, shape, w.removed)
}

// urnsIn lists the types of the entries of a Bundle that have a urn: for address
// (https://hl7.org/fhir/R4/bundle.html#references).
func urnsIn(t Type, tree map[string]any) map[string]Type {
	entries, _ := tree["entry"].([]any)
	if t != "Bundle" || len(entries) == 0 {
		return nil
	}
	urns := map[string]Type{}
	for _, one := range entries {
		entry, _ := one.(map[string]any)
		address, _ := entry["fullUrl"].(string)
		resource, _ := entry["resource"].(map[string]any)
		kind, _ := resource["resourceType"].(string)
		if strings.HasPrefix(address, "urn:") && Type(kind).Valid() {
			urns[address] = Type(kind)
		}
	}
	return urns
}

// containedIn lists the contained resources by the reference that means them.
func containedIn(tree map[string]any) map[string]Type {
	targets := map[string]Type{}
	list, _ := tree["contained"].([]any)
	for _, item := range list {
		object, _ := item.(map[string]any)
		id, _ := object["id"].(string)
		kind, _ := object["resourceType"].(string)
		targets["#"+id] = Type(kind)
	}
	kind, _ := tree["resourceType"].(string)
	targets["#"] = Type(kind)
	return targets
}

// broken notes a fault of structure, wrong one of content.
func (c *check) broken(at *Place, code, text string) {
	c.bad = true
	c.wrong(at, code, text)
}

func (c *check) wrong(at *Place, code, text string) {
	c.issues = append(c.issues, Issue{Code: code, Text: text, Expression: at.Expression(c.root)})
}

// external has google/fhir validate a resource. It stops at faults of parsing, so
// a second round without the elements at fault finds the others.
func (c *check) external(body []byte, p part, s *shape, removed []string) {
	prefix := p.at.Expression(c.root)
	for round := range 2 {
		reporter := &faults{}
		_, err := c.google.UnmarshalWithErrorReporter(body, reporter)
		if err != nil {
			reporter.parse(err.Error())
		}
		var gone []string
		var edits [][]any
		for _, f := range reporter.list {
			expression, at := c.locate(prefix, s, p.at, f)
			if under(removed, expression) {
				continue
			}
			gone = append(gone, expression)
			c.issues = append(c.issues, Issue{Code: f.code, Text: f.text, Expression: expression})
			c.bad = c.bad || f.parsing
			if len(at) > 0 {
				edits = append(edits, at)
			}
		}
		if err == nil || len(edits) == 0 || round > 0 {
			return
		}
		removed = append(removed, gone...)
		tree, err := Tree(body)
		if err != nil {
			return
		}
		for _, at := range edits {
			change(tree, at, nil)
		}
		body = appendValue(nil, tree)
	}
}

// under reports whether an expression is one of the removed, or below one.
func under(removed []string, expression string) bool {
	return slices.ContainsFunc(removed, func(r string) bool {
		rest, found := strings.CutPrefix(expression, r)
		return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// A fault is what google/fhir reports.
type fault struct {
	path, code, text string
	parsing          bool
}

// faults collects; it is an errorreporter.ErrorReporter.
type faults struct{ list []fault }

func (f *faults) ReportValidationError(path string, err error) error {
	f.add(path, lastLine(err.Error()), false)
	return nil
}

func (f *faults) ReportValidationWarning(string, error) error { return nil }

// parse reads the text of an error: a line `error at "Patient.name[0]": details`
// for each fault. The types of these errors are not for outsiders.
func (f *faults) parse(text string) {
	for line := range strings.Lines(text) {
		path, details := "", strings.TrimSuffix(line, "\n")
		if rest, found := strings.CutPrefix(details, "error at "); found {
			if quoted, err := strconv.QuotedPrefix(rest); err == nil {
				path, _ = strconv.Unquote(quoted)
				details = strings.TrimPrefix(rest[len(quoted):], ": ")
			}
		}
		f.add(path, details, true)
	}
}

func lastLine(text string) string {
	if rest, found := strings.CutPrefix(text, "error at "); found {
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			return strings.TrimPrefix(rest[len(quoted):], ": ")
		}
	}
	return text
}

func (f *faults) add(path, details string, parsing bool) {
	if len(f.list) >= 4*maxIssue {
		return
	}
	one := fault{path: path, code: "value", text: capital(cmp.Or(details, "not valid")) + ".", parsing: parsing}
	if name, found := strings.CutPrefix(details, "missing required field "); found {
		name, _ = strconv.Unquote(name)
		one.path, one.code, one.text = path+"."+name, "required", "This element is required."
	}
	f.list = append(f.list, one)
}

// locate turns a path of google/fhir's, "Observation.value.quantity" or
// "Observation.valueQuantity", into an expression and into steps of the tree.
func (c *check) locate(prefix string, s *shape, base *Place, f fault) (string, []any) {
	at := base
	segments := strings.Split(f.path, ".")
	for i := 1; i < len(segments) && s != nil; i++ {
		name, indexes, _ := strings.Cut(segments[i], "[")
		e := s.elements[name]
		if e == nil && i+1 < len(segments) {
			option, more, _ := strings.Cut(segments[i+1], "[")
			if e = s.elements[name+capital(cmp.Or(option, "x"))]; e != nil {
				name, indexes = name+capital(option), more
				i++
			}
		}
		if e == nil {
			return (&Place{Up: at, Name: name}).Expression(c.root), nil
		}
		at = &Place{Up: at, Name: name, Base: e.base}
		if index, err := strconv.Atoi(strings.TrimSuffix(indexes, "]")); err == nil && indexes != "" {
			at = &Place{Up: at, Index: index}
		}
		s = c.of(e.message)
	}
	if at == base {
		return prefix, nil
	}
	return at.Expression(c.root), at.steps()[len(base.steps()):]
}

// change sets the value at a place of a tree, or removes it; an item of an array
// becomes an empty object, so that the others keep their places.
func change(tree map[string]any, at []any, value any) {
	var here any = tree
	for i, step := range at {
		last := i == len(at)-1
		switch in := here.(type) {
		case map[string]any:
			name, _ := step.(string)
			if last && value == nil {
				delete(in, name)
				delete(in, "_"+name)
			} else if last {
				in[name] = value
			}
			here = in[name]
		case []any:
			index, ok := step.(int)
			if !ok || index >= len(in) {
				return
			}
			if last {
				in[index] = value
				if value == nil {
					in[index] = map[string]any{}
				}
			}
			here = in[index]
		default:
			return
		}
	}
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = cloneValue(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = cloneValue(item)
		}
		return out
	}
	return v
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for name, item := range v {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = appendValue(append(appendValue(b, name), ':'), item)
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, item)
		}
		return append(b, ']')
	case string:
		b, _ = jsontext.AppendQuote(b, v) // fails on invalid UTF-8 only, which the scan refused
		return b
	case json.Number:
		return append(b, v...)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}
