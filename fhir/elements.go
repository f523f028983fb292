package fhir

import (
	"slices"
	"strings"
)

// maxElements is how many names _elements may hold: no type has as many elements.
const maxElements = 200

// ParseElements reads a value of _elements, names of elements of a resource
// (https://hl7.org/fhir/R4/search.html#elements): those of the types asked for, or
// of any type when none is named; before a name there may be its type, and behind it
// what is inside it. What the types do not have is given apart. The refusal, of kind
// Invalid, is for what are no names at all.
func ParseElements(value string, types ...Type) (names, unknown []string, err error) {
	list := strings.Split(value, ",")
	if len(list) > maxElements {
		return nil, nil, badParameter("http._elements", "The value of _elements has more names than a type has elements.")
	}
	for _, name := range list {
		if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.") != "" || name == "" {
			return nil, nil, badParameter("http._elements", "The value of _elements is a list of names of elements, separated by commas.")
		}
		if isElement(name, types) {
			names = append(names, name)
		} else {
			unknown = append(unknown, name)
		}
	}
	return names, unknown, nil
}

// isElement reports whether one of the types, of all if there are none, has an
// element.
func isElement(name string, types []Type) bool {
	if first, _, deeper := strings.Cut(name, "."); deeper && Type(first).Valid() {
		return HasElement(name)
	}
	if len(types) == 0 {
		types = Types()
	}
	return name == "resourceType" || slices.ContainsFunc(types, func(t Type) bool { return HasElement(string(t) + "." + name) })
}

// UnknownElements refuses what [ParseElements] gave apart.
func UnknownElements(unknown []string, types ...Type) error {
	if len(types) == 1 {
		return badParameter("http._elements", string(types[0])+" has no element "+strings.Join(unknown, ", ")+".")
	}
	return badParameter("http._elements", "No type that is asked for has an element "+strings.Join(unknown, ", ")+".")
}
