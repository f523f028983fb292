package search

import (
	"encoding/json"
	"strings"
	"time"
)

// A node is a compiled FHIRPath expression, of the part of FHIRPath that search
// parameters use. It hands each item of its result to yield, one after the
// other, and stops when yield says so; it reports whether it came to its end.
// Results are never collected, so walking a path allocates nothing.
type node interface {
	each(e *env, in any, yield func(any) bool) bool
}

// maxSteps bounds the elements that the expressions of one resource may visit, since
// expressions in one another visit them many times.
const maxSteps = 5_000_000

// env is what an expression may look at besides its input.
type env struct {
	steps int            // taken so far; beyond maxSteps nothing is found
	root  map[string]any // the resource: %resource, and where contained resources are
	units units
	zone  *time.Location // of dates that name none
}

// resolved is the result of resolve(): what is known of the target without
// reading it.
type resolved struct{ typ string }

type (
	thisNode struct{}               // $this: the input itself
	rootNode struct{}               // %resource
	typeNode struct{ name string }  // a type at the head of a path: the input when it is of the type
	literal  struct{ value any }    // a string, a json.Number or a bool
	union    struct{ parts []node } // a | b
	field    struct {               // of.name
		of   node
		name string
		path string   // of the element, "Observation.component.value", where it is known
		keys []string // the JSON names: the name itself, or those of a choice element
	}
	index struct { // of[n]
		of node
		n  int
	}
	filter struct{ of, cond node } // of.where(cond)
	exists struct{ of, cond node } // of.exists(cond)
	negate struct{ of node }       // of.not()
	last   struct{ of node }       // of.last()
	target struct{ of node }       // of.resolve()
	isType struct {
		of   node
		name string
	} // of is T
	asType struct {
		of   node
		name string
	} // of as T, where JSON does not show the choice in a name
	logic struct {
		op   string
		a, b node
	} // and, or, xor, implies
	equal struct {
		a, b    node
		negated bool
	} // =, !=
)

func (thisNode) each(_ *env, in any, yield func(any) bool) bool { return yield(in) }
func (rootNode) each(e *env, _ any, yield func(any) bool) bool  { return yield(e.root) }
func (n literal) each(_ *env, _ any, yield func(any) bool) bool { return yield(n.value) }

func (n typeNode) each(_ *env, in any, yield func(any) bool) bool {
	if !ofType(in, n.name) {
		return true
	}
	return yield(in)
}

func (n *union) each(e *env, in any, yield func(any) bool) bool {
	for _, p := range n.parts {
		if !p.each(e, in, yield) {
			return false
		}
	}
	return true
}

func (n *field) each(e *env, in any, yield func(any) bool) bool {
	return n.of.each(e, in, func(item any) bool {
		if e.steps++; e.steps > maxSteps {
			return false
		}
		m, ok := item.(map[string]any)
		if !ok {
			return true
		}
		for _, key := range n.keys {
			if v, ok := m[key]; ok && !spread(v, yield) {
				return false
			}
		}
		return true
	})
}

// spread yields the items of a JSON value: those of an array, or itself.
func spread(v any, yield func(any) bool) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, item := range v {
			if item != nil && !yield(item) {
				return false
			}
		}
		return true
	default:
		return yield(v)
	}
}

func (n *index) each(e *env, in any, yield func(any) bool) bool {
	at, goOn := 0, true
	n.of.each(e, in, func(item any) bool {
		if at == n.n {
			goOn = yield(item)
			return false
		}
		at++
		return true
	})
	return goOn
}

func (n *last) each(e *env, in any, yield func(any) bool) bool {
	var found any
	n.of.each(e, in, func(item any) bool { found = item; return true })
	return found == nil || yield(found)
}

func (n *filter) each(e *env, in any, yield func(any) bool) bool {
	return n.of.each(e, in, func(item any) bool {
		return !truth(n.cond, e, item) || yield(item)
	})
}

func (n *exists) each(e *env, in any, yield func(any) bool) bool {
	none := n.of.each(e, in, func(item any) bool {
		return n.cond != nil && !truth(n.cond, e, item)
	})
	return yield(!none)
}

func (n *negate) each(e *env, in any, yield func(any) bool) bool {
	v, ok := one(n.of, e, in)
	if !ok {
		return true
	}
	return yield(v == false)
}

func (n *target) each(e *env, in any, yield func(any) bool) bool {
	return n.of.each(e, in, func(item any) bool {
		t := referencedType(e, item)
		return t == "" || yield(resolved{t})
	})
}

func (n *isType) each(e *env, in any, yield func(any) bool) bool {
	v, ok := one(n.of, e, in)
	if !ok {
		return true
	}
	return yield(ofType(v, n.name))
}

func (n *asType) each(e *env, in any, yield func(any) bool) bool {
	return n.of.each(e, in, func(item any) bool {
		return !ofType(item, n.name) || yield(item)
	})
}

func (n *logic) each(e *env, in any, yield func(any) bool) bool {
	a := truth(n.a, e, in)
	switch n.op {
	case "and":
		return yield(a && truth(n.b, e, in))
	case "or":
		return yield(a || truth(n.b, e, in))
	case "xor":
		return yield(a != truth(n.b, e, in))
	default:
		return yield(!a || truth(n.b, e, in))
	}
}

func (n *equal) each(e *env, in any, yield func(any) bool) bool {
	a, okA := one(n.a, e, in)
	b, okB := one(n.b, e, in)
	if !okA || !okB {
		return true
	}
	return yield(same(a, b) != n.negated)
}

// same compares two items; objects are never equal here.
func same(a, b any) bool {
	switch a := a.(type) {
	case string:
		s, ok := b.(string)
		return ok && a == s
	case bool:
		v, ok := b.(bool)
		return ok && a == v
	case json.Number:
		n, ok := b.(json.Number)
		return ok && encodeDecimal(string(a)) == encodeDecimal(string(n))
	}
	return false
}

// one gives the first item of a result.
func one(n node, e *env, in any) (v any, ok bool) {
	n.each(e, in, func(item any) bool { v, ok = item, true; return false })
	return v, ok
}

// truth reads a result as a condition: an empty one is false, and an item that
// is no bool counts as true.
func truth(n node, e *env, in any) bool {
	if e.steps++; e.steps > maxSteps {
		return false
	}
	v, ok := one(n, e, in)
	return ok && v != false
}

// ofType reports whether an item is of a FHIR type, as far as JSON shows it.
func ofType(item any, name string) bool {
	switch v := item.(type) {
	case resolved:
		return v.typ == name
	case map[string]any:
		if t, ok := v["resourceType"].(string); ok {
			return t == name || name == "Resource" || name == "DomainResource"
		}
		return isUpper(name) && name != "Resource" && name != "DomainResource"
	case bool:
		return name == "boolean" || name == "Boolean"
	case json.Number:
		return name == "integer" || name == "decimal" || name == "positiveInt" || name == "unsignedInt" || name == "Integer" || name == "Decimal"
	case string:
		return !isUpper(name) || name == "String" || name == "DateTime" || name == "Date"
	}
	return false
}

func isUpper(s string) bool { return s != "" && s[0] >= 'A' && s[0] <= 'Z' }

// referencedType gives the type that a Reference or a canonical leads to, by its
// text, its type element, or the contained resource that it names.
func referencedType(e *env, item any) string {
	text, ok := item.(string)
	if m, isMap := item.(map[string]any); isMap {
		text, ok = m["reference"].(string)
		if t, has := m["type"].(string); has && (!ok || !strings.Contains(text, "/")) {
			return t
		}
	}
	if !ok {
		return ""
	}
	if id, local := strings.CutPrefix(text, "#"); local {
		return containedType(e.root, id)
	}
	t, _ := splitReference(text)
	return t
}

func containedType(root map[string]any, id string) string {
	list, _ := root["contained"].([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["id"] == id {
			t, _ := m["resourceType"].(string)
			return t
		}
	}
	return ""
}
