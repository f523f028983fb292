package fhir

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	annotations "github.com/google/fhir/go/proto/google/fhir/proto/annotations_go_proto"
	resources "github.com/google/fhir/go/proto/google/fhir/proto/r4/core/resources/bundle_and_contained_resource_go_proto"
)

// A primitive tells how a value is written in JSON.
type primitive uint8

const (
	notPrimitive primitive = iota
	textual
	boolean
	numeric
	base64Binary
	moment // dateTime, instant, time: what may carry a leap second
	xhtml
)

// A shape is what R4 says of a type, taken from the descriptor of its proto: the
// JSON names of its elements, exactly.
type shape struct {
	resource bool // has a resourceType
	ref      bool // a Reference
	elements map[string]*element
	required [][]string // of each, one of the names must be there
}

// An element is one JSON name of a shape.
type element struct {
	base      string // "value" for "valueQuantity", else empty
	list      bool
	kind      primitive
	codes     map[string]bool // of a required binding; nil: any
	targets   []string        // of a Reference; nil: any
	inline    bool            // a resource inside a resource
	contained bool            // inline, of "contained"
	message   protoreflect.MessageDescriptor
}

// shapes makes shapes when they are first needed and keeps them.
type shapes struct {
	mu    sync.RWMutex
	known map[protoreflect.FullName]*shape
	roots map[string]protoreflect.MessageDescriptor
}

func newShapes() *shapes {
	s := &shapes{known: map[protoreflect.FullName]*shape{}, roots: map[string]protoreflect.MessageDescriptor{}}
	fields := (&resources.ContainedResource{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		m := fields.Get(i).Message()
		s.roots[string(m.Name())] = m
	}
	return s
}

func (s *shapes) of(m protoreflect.MessageDescriptor) *shape {
	s.mu.RLock()
	known := s.known[m.FullName()]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	made := makeShape(m)
	s.mu.Lock()
	s.known[m.FullName()] = made
	s.mu.Unlock()
	return made
}

func makeShape(m protoreflect.MessageDescriptor) *shape {
	out := &shape{elements: map[string]*element{}}
	out.resource = structure(m) == annotations.StructureDefinitionKindValue_KIND_RESOURCE
	out.ref = proto.HasExtension(m.Options(), annotations.E_FhirReferenceType)
	if out.ref {
		// its proto has a field for each type of target besides those of R4
		for _, name := range []string{"id", "extension", "type", "identifier", "display"} {
			f := m.Fields().ByJSONName(name)
			out.elements[name] = makeElement(f)
		}
		out.elements["reference"] = &element{kind: textual, message: m.Fields().ByName("uri").Message()}
		return out
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Message() == nil {
			continue
		}
		need := proto.GetExtension(f.Options(), annotations.E_ValidationRequirement) == annotations.Requirement_REQUIRED_BY_FHIR
		if !isChoice(f.Message()) {
			out.elements[f.JSONName()] = makeElement(f)
			if need {
				out.required = append(out.required, []string{f.JSONName(), "_" + f.JSONName()})
			}
			continue
		}
		var names []string
		options := f.Message().Fields()
		for j := range options.Len() {
			option := options.Get(j)
			e := makeElement(option)
			e.base = f.JSONName()
			if targets, _ := proto.GetExtension(f.Options(), annotations.E_ValidReferenceType).([]string); len(e.targets) == 0 {
				e.targets = targets
			}
			name := f.JSONName() + capital(option.JSONName())
			out.elements[name] = e
			names = append(names, name, "_"+name)
		}
		if need {
			out.required = append(out.required, names)
		}
	}
	return out
}

func makeElement(f protoreflect.FieldDescriptor) *element {
	m := f.Message()
	e := &element{list: f.IsList(), message: m}
	switch {
	case m.FullName() == "google.protobuf.Any":
		e.inline, e.contained = true, true
	case m.Name() == "ContainedResource":
		e.inline = true
	case structure(m) == annotations.StructureDefinitionKindValue_KIND_PRIMITIVE_TYPE:
		e.kind = primitiveOf(m)
		e.codes = codesOf(m)
	}
	e.targets, _ = proto.GetExtension(f.Options(), annotations.E_ValidReferenceType).([]string)
	for _, t := range e.targets {
		if t == "Resource" {
			e.targets = nil
			break
		}
	}
	return e
}

func primitiveOf(m protoreflect.MessageDescriptor) primitive {
	switch m.Name() {
	case "Boolean":
		return boolean
	case "Decimal", "Integer", "PositiveInt", "UnsignedInt":
		return numeric
	case "Base64Binary":
		return base64Binary
	case "DateTime", "Instant", "Time":
		return moment
	case "Xhtml":
		return xhtml
	}
	return textual
}

// codesOf lists the codes of an enumeration as they are written. google/fhir is
// content with another case, "ACTIVE" for "active"; those who compare are not.
func codesOf(m protoreflect.MessageDescriptor) map[string]bool {
	f := m.Fields().ByName("value")
	if f == nil || f.Kind() != protoreflect.EnumKind {
		return nil
	}
	codes := map[string]bool{}
	values := f.Enum().Values()
	for i := range values.Len() {
		v := values.Get(i)
		if v.Number() == 0 {
			continue
		}
		code, _ := proto.GetExtension(v.Options(), annotations.E_FhirOriginalCode).(string)
		if code == "" {
			code = strings.ReplaceAll(strings.ToLower(string(v.Name())), "_", "-")
		}
		codes[code] = true
	}
	return codes
}

func structure(m protoreflect.MessageDescriptor) annotations.StructureDefinitionKindValue {
	kind, _ := proto.GetExtension(m.Options(), annotations.E_StructureDefinitionKind).(annotations.StructureDefinitionKindValue)
	return kind
}

func isChoice(m protoreflect.MessageDescriptor) bool {
	is, _ := proto.GetExtension(m.Options(), annotations.E_IsChoiceType).(bool)
	return is
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
