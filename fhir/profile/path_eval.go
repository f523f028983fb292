package profile

import (
	"encoding/json"
	"strings"

	"mypatients/fhir"
)

// An expr is a compiled expression: this is what it is asked about. A step is a
// part of a path: in is what stands before it.
type (
	expr func(r *run, this []item) []item
	step func(r *run, in, this []item) []item
)

// An item is a value with its type, nil when that is not known.
type item struct {
	v     any // map[string]any, string, json.Number, bool; nil when there are extensions only
	t     *typ
	below map[string]any // "_name" of a primitive
}

// A run evaluates the rules of one resource and those within it. What it may do
// is limited, so that no body can be made to keep a processor busy.
type run struct {
	model          *model
	sets           map[string]*codes // for memberOf
	root, resource item              // %rootResource, %resource
	context        item              // %context
	budget         int
}

var yes, no = []item{{v: true}}, []item{{v: false}}

func truthItems(b bool) []item {
	if b {
		return yes
	}
	return no
}

// truth reads a collection as a boolean; unknown for an empty one
// (http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections).
func truth(in []item) (value, known bool) {
	if len(in) != 1 {
		return false, false
	}
	if b, ok := in[0].v.(bool); ok {
		return b, true
	}
	return true, true
}

// broken reports whether a rule definitely does not hold of a value. What cannot
// be told is no fault.
func (r *run) broken(holds expr, about item) bool {
	r.context = about
	value, known := truth(holds(r, []item{about}))
	return known && !value && r.budget > 0
}

func constant(v any) expr {
	in := []item{{v: v}}
	return func(*run, []item) []item { return in }
}

func variable(name string) (expr, error) {
	switch name {
	case "%resource":
		return func(r *run, _ []item) []item { return []item{r.resource} }, nil
	case "%rootResource":
		return func(r *run, _ []item) []item { return []item{r.root} }, nil
	case "%context":
		return func(r *run, _ []item) []item { return []item{r.context} }, nil
	case "%ucum":
		return constant("http://unitsofmeasure.org"), nil
	}
	return nil, errUnknown(name)
}

// child takes the elements of a name; the name of the type itself, at the
// beginning of a path, is the resource.
func child(name string) step {
	return func(r *run, in, _ []item) []item {
		var out []item
		for _, i := range in {
			if i.t != nil && i.t.resource && i.t.name == name {
				out = append(out, i)
				continue
			}
			out = r.children(out, i, name)
		}
		return out
	}
}

// children appends the children of an item that have a name; all of them when it
// is empty.
func (r *run) children(out []item, i item, name string) []item {
	if r.budget <= 0 {
		return out
	}
	r.budget--
	object, ok := i.v.(map[string]any)
	t := i.t
	if !ok {
		if i.below == nil {
			return out
		}
		object, t = i.below, r.model.below
	}
	if t == nil {
		return out
	}
	if name == "" {
		for key := range object {
			if plain, below := strings.CutPrefix(key, "_"); !below || object[plain] == nil {
				out = r.values(out, object, plain, t.elements[plain])
			}
		}
		return out
	}
	e := t.elements[name]
	if e == nil {
		return out
	}
	if !e.choice {
		return r.values(out, object, name, e)
	}
	for key := range object {
		key = strings.TrimPrefix(key, "_")
		if option := t.elements[key]; option != nil && option.base == name {
			return r.values(out, object, key, option)
		}
	}
	return out
}

// values appends the values of one JSON name.
func (r *run) values(out []item, object map[string]any, key string, e *element) []item {
	if e == nil {
		return out
	}
	value := object[key]
	var other any
	if e.typ != nil && e.typ.primitive {
		other = object["_"+key]
	}
	if value == nil && other == nil {
		return out
	}
	list, isList := value.([]any)
	others, _ := other.([]any)
	if !isList && others == nil {
		below, _ := other.(map[string]any)
		return append(out, r.typedItem(value, below, e))
	}
	r.budget -= max(len(list), len(others))
	for i := range max(len(list), len(others)) {
		var v any
		var below map[string]any
		if i < len(list) {
			v = list[i]
		}
		if i < len(others) {
			below, _ = others[i].(map[string]any)
		}
		if v != nil || below != nil {
			out = append(out, r.typedItem(v, below, e))
		}
	}
	return out
}

func (r *run) typedItem(v any, below map[string]any, e *element) item {
	t := e.typ
	if e.inline {
		object, _ := v.(map[string]any)
		t = r.model.of(object)
	}
	return item{v, t, below}
}

// descendants appends everything below.
func (r *run) descendants(in []item) []item {
	var out []item
	for _, i := range in {
		out = r.children(out, i, "")
	}
	for from := 0; from < len(out) && r.budget > 0; from++ {
		out = r.children(out, out[from], "")
	}
	return out
}

// resolve gives for each reference an item of the type that it leads to, without
// content but for contained resources: no rule here asks for more.
func (r *run) resolve(in []item) []item {
	var out []item
	for _, i := range in {
		text, _ := i.v.(string)
		if object, ok := i.v.(map[string]any); ok {
			text, _ = object["reference"].(string)
		}
		ref := fhir.ParseReference(text)
		switch ref.Form {
		case fhir.Relative, fhir.Literal, fhir.Conditional:
			out = append(out, item{v: map[string]any{"resourceType": string(ref.Key.Type)}, t: r.model.types[string(ref.Key.Type)]})
		case fhir.Fragment:
			for _, c := range r.children(nil, r.root, "contained") {
				if object, _ := c.v.(map[string]any); "#"+textOf(object["id"]) == text {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func textOf(v any) string { s, _ := v.(string); return s }

func at(in, index []item) []item {
	if len(index) != 1 {
		return nil
	}
	n, ok := index[0].v.(json.Number)
	if !ok {
		return nil
	}
	i, err := n.Int64()
	if err != nil || i < 0 || i >= int64(len(in)) {
		return nil
	}
	return in[i : i+1]
}

// ofType is the operator "is" or "as".
func ofType(left expr, name, op string) expr {
	return func(r *run, this []item) []item { return typed(left(r, this), name, op) }
}

// typed is is(), as() or ofType(). A type that is not known is no other.
func typed(in []item, name, op string) []item {
	if op == "is" {
		if len(in) != 1 {
			return nil
		}
		return truthItems(isOf(in[0], name))
	}
	var out []item
	for _, i := range in {
		if isOf(i, name) {
			out = append(out, i)
		}
	}
	return out
}

func isOf(i item, name string) bool {
	if i.t == nil {
		switch i.v.(type) {
		case string:
			return name == "String" || name == "string"
		case bool:
			return strings.EqualFold(name, "boolean")
		case json.Number:
			return name == "Integer" || name == "integer" || strings.EqualFold(name, "decimal")
		}
		return false
	}
	if i.t.name == name {
		return true
	}
	// types of the system ("Boolean") besides FHIR's own ("boolean")
	return i.t.primitive && strings.EqualFold(i.t.name, name)
}
