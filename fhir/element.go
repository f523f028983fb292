package fhir

import "strings"

// HasElement reports whether R4 has the element of a path, "Patient.contact.name";
// of a choice, "Observation.value" and "Observation.valueQuantity". It is true where
// it cannot tell: below choices, extensions and resources inside resources, and of
// paths that do not begin with the type of a resource.
func HasElement(path string) bool {
	v, err := theValidator()
	if err != nil {
		return true
	}
	steps := strings.Split(path, ".")
	at, known := v.roots[steps[0]]
	if !known {
		return true
	}
	for i, step := range steps[1:] {
		s := v.of(at)
		e := s.elements[step]
		switch {
		case e == nil:
			return s.choice(step)
		case e.inline || step == "extension" || step == "modifierExtension":
			return true
		case e.kind != notPrimitive:
			return i == len(steps)-2
		}
		at = e.message
	}
	return true
}

// choice reports whether there is a choice element of a name.
func (s *shape) choice(name string) bool {
	for _, e := range s.elements {
		if e.base == name && name != "" {
			return true
		}
	}
	return false
}
