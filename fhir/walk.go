package fhir

import (
	"encoding/json"
	"slices"
	"strings"
)

// A walk goes through one resource by its shape.
type walk struct {
	*check
	part
	edits   []edit
	removed []string // expressions of what the edits take away because it is wrong
	lacking bool     // an element that must be there is not
}

// reject notes a fault of structure and keeps the element from google/fhir.
func (w *walk) reject(at *Place, text string) {
	w.broken(at, "structure", text)
	w.remove(at)
}

// refuse notes a fault of content and does the same.
func (w *walk) refuse(at *Place, code, text string) {
	w.wrong(at, code, text)
	w.remove(at)
}

func (w *walk) remove(at *Place) {
	w.edits = append(w.edits, edit{at: at})
	w.removed = append(w.removed, at.Expression(w.root))
}

// object walks a complex value; targets are the types that it may refer to when
// it is a Reference.
func (w *walk) object(object map[string]any, s *shape, at *Place, targets []string) {
	w.choices(object, s, at)
	for _, names := range s.required {
		w.lacking = w.lacking || !slices.ContainsFunc(names, func(name string) bool { return object[name] != nil })
	}
	for name, value := range object {
		if name == "resourceType" && s.resource {
			continue
		}
		plain, below := strings.CutPrefix(name, "_")
		here := &Place{Up: at, Name: name}
		e := s.elements[plain]
		if e == nil || below && e.kind == notPrimitive {
			w.broken(at, "structure", "There is no element "+quote(name)+" here.")
			w.edits = append(w.edits, edit{at: here})
			continue
		}
		if e.base != "" {
			here.Base = e.base
		}
		if e.list {
			w.list(object, value, e, here, plain, below)
			continue
		}
		w.single(value, e, here, below)
	}
	if s.ref {
		w.reference(object, at, targets)
	}
}

// choices refuses two types for one element, "valueString" beside "valueCode".
func (w *walk) choices(object map[string]any, s *shape, at *Place) {
	var chosen map[string]string
	for name := range object {
		name = strings.TrimPrefix(name, "_")
		e := s.elements[name]
		if e == nil || e.base == "" {
			continue
		}
		if before, found := chosen[e.base]; found && before != name {
			w.reject(&Place{Up: at, Name: before, Base: e.base}, "This element may have one type only.")
			w.reject(&Place{Up: at, Name: name, Base: e.base}, "This element may have one type only.")
		}
		if chosen == nil {
			chosen = map[string]string{}
		}
		chosen[e.base] = name
	}
}

func (w *walk) list(object map[string]any, value any, e *element, at *Place, plain string, below bool) {
	items, ok := value.([]any)
	if !ok {
		w.reject(at, "This element repeats: an array is expected.")
		return
	}
	if e.contained {
		w.contained(items, at)
		return
	}
	var others []any // the values of the extensions, or the other way round
	if e.kind != notPrimitive {
		other := "_" + plain
		if below {
			other = plain
		}
		if others, ok = object[other].([]any); ok && len(others) != len(items) {
			w.reject(at, "This element and its extensions must have the same number of items.")
			return
		}
	}
	for i, item := range items {
		here := &Place{Up: at, Index: i}
		if item == nil && e.kind != notPrimitive && i < len(others) && others[i] != nil {
			w.edits = append(w.edits, edit{at: here, value: map[string]any{}})
			continue
		}
		w.single(item, e, here, below)
	}
}

// single walks one value: the whole of an element, or an item of a repeating one.
func (w *walk) single(value any, e *element, at *Place, below bool) {
	if value == nil {
		w.reject(at, "A value is expected, not null.")
		return
	}
	if e.kind != notPrimitive && !below {
		w.primitive(value, e, at)
		return
	}
	object, ok := value.(map[string]any)
	if !ok {
		w.reject(at, "An object is expected.")
		return
	}
	if e.inline {
		w.edits = append(w.edits, edit{at: at})
		w.queue = append(w.queue, part{tree: object, at: at, loose: w.loose})
		return
	}
	w.object(object, w.of(e.message), at, e.targets)
}

// contained has the contained resources checked as resources of their own, in
// which "#id" means what it means in the container.
func (w *walk) contained(items []any, at *Place) {
	w.edits = append(w.edits, edit{at: at})
	if w.within {
		w.broken(at, "structure", "A contained resource cannot contain resources.")
		return
	}
	targets := containedIn(w.tree)
	for i, item := range items {
		here := &Place{Up: at, Index: i}
		object, ok := item.(map[string]any)
		if !ok {
			w.broken(here, "structure", "A resource is expected.")
			continue
		}
		w.queue = append(w.queue, part{tree: object, at: here, targets: targets, loose: w.loose, within: true})
	}
}

// primitive checks the JSON type of a value and what google/fhir is careless of;
// the format is its own to check.
func (w *walk) primitive(value any, e *element, at *Place) {
	text, isText := value.(string)
	switch e.kind {
	case boolean:
		if _, ok := value.(bool); !ok {
			w.reject(at, "true or false is expected.")
		}
		return
	case numeric:
		if _, ok := value.(json.Number); !ok {
			w.reject(at, "A number is expected.")
		}
		return
	}
	if !isText {
		w.reject(at, "A string is expected.")
		return
	}
	switch {
	case e.codes != nil && !e.codes[text]:
		w.refuse(at, "code-invalid", "This is not one of the codes that are allowed here.")
	case e.kind == base64Binary && strings.ContainsAny(text, " \t\r\n"):
		// white space is allowed by the definition of the type
		w.edits = append(w.edits, edit{at: at, value: strings.Join(strings.Fields(text), "")})
	case e.kind == moment && strings.Contains(text, ":60"):
		// a leap second is a second
		w.edits = append(w.edits, edit{at: at, value: strings.Replace(text, ":60", ":59", 1)})
	case e.kind == xhtml:
		if fault := checkNarrative(text); fault != "" {
			w.refuse(at, "invalid", fault)
		}
	}
}

// reference checks https://hl7.org/fhir/R4/references.html: the form of a
// reference, and the type that it leads to, as far as that can be told.
func (w *walk) reference(object map[string]any, at *Place, targets []string) {
	said, _ := object["type"].(string)
	text, ok := object["reference"].(string)
	if !ok {
		if Type(said).Valid() { // by identifier
			w.target(Type(said), &Place{Up: at, Name: "type"}, targets)
		}
		return
	}
	here := &Place{Up: at, Name: "reference"}
	ref := ParseReference(text)
	var to Type
	switch ref.Form {
	case Fragment:
		found := false
		if to, found = w.targets[text]; !found {
			w.refuse(here, "not-found", "There is no contained resource with this id.")
			return
		}
	case Relative, Literal:
		to = ref.Key.Type
		if !w.loose { // in a Bundle it means an entry first
			w.mentions = append(w.mentions, Mention{ref, here})
		}
	case Absolute:
		to = w.urns[text]
	case Conditional:
		if to = ref.Key.Type; !w.loose {
			w.refuse(here, "value", "A conditional reference has a meaning only inside a Bundle.")
			return
		}
	case Malformed:
		w.refuse(here, "value", "This is neither Type/id nor an absolute URL nor a reference to a contained resource.")
		return
	}
	if to == "" || !w.target(to, here, targets) {
		return
	}
	if Type(said).Valid() && said != string(to) {
		w.refuse(&Place{Up: at, Name: "type"}, "value", "The reference leads to a resource of another type: "+string(to)+".")
	}
}

// target checks the type of what is referred to.
func (w *walk) target(to Type, at *Place, targets []string) bool {
	if len(targets) == 0 || slices.Contains(targets, string(to)) {
		return true
	}
	w.refuse(at, "value", "A reference to "+string(to)+" is not allowed here; allowed: "+strings.Join(targets, ", ")+".")
	return false
}
