package fhir

import (
	"bytes"
	_ "embed"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

//go:generate go run subset_generate.go -definitions $R4_DEFINITIONS

// A Subset says how much of each resource is asked for
// (https://hl7.org/fhir/R4/search.html#summary, #elements). The zero Subset is
// all of it.
//
// A subset keeps what makes sense of the rest: resourceType, id and meta, with
// the tag SUBSETTED; elements that are mandatory, but for _summary=data, which
// leaves out the narrative alone; modifiers, but for _summary=text; and contained
// resources when something that stays refers to one. With
// _summary=true this holds inside backbone elements too, and of datatypes what
// is no part of a summary (Attachment.data) is left out.
type Subset struct {
	Summary  string   // "true", "text", "data"; empty, "false" and "count": nothing is left out
	Elements []string // names of elements of the resource; empty: all
}

// ParseSubset takes _summary and _elements out of the parameters of an
// interaction that answers with resources of some types, of any if none is named.
// The refusal is of kind Invalid; elements that the types do not have are left out
// when lenient.
func ParseSubset(values url.Values, lenient bool, types ...Type) (Subset, error) {
	var s Subset
	if given, ok := values["_summary"]; ok {
		delete(values, "_summary")
		s.Summary = given[0]
		if len(given) > 1 || !slices.Contains([]string{"true", "text", "data", "false"}, s.Summary) {
			return s, badParameter("http._summary", "Here _summary is one of true, text, data and false.")
		}
	}
	lists := values["_elements"]
	if len(lists) > 20 {
		return s, badParameter("http._elements", "_elements is given too often.")
	}
	for _, list := range lists {
		names, unknown, err := ParseElements(list, types...)
		if err == nil && len(unknown) > 0 && !lenient {
			err = UnknownElements(unknown, types...)
		}
		if err != nil {
			return s, err
		}
		s.Elements = append(s.Elements, names...)
	}
	delete(values, "_elements")
	return s, s.Check()
}

func badParameter(name, text string) error {
	return &Error{Kind: Invalid, Issues: []Issue{{Code: "value", Text: text, Expression: name}}}
}

// Check refuses a summary together with elements: they contradict each other.
func (s Subset) Check() error {
	if s.cuts() && len(s.Elements) > 0 {
		return ElementErrorf(Invalid, "http._elements", "_elements cannot be combined with _summary.")
	}
	return nil
}

// All reports whether nothing is left out.
func (s Subset) All() bool { return !s.cuts() && len(s.Elements) == 0 }

func (s Subset) cuts() bool { return s.Summary == "true" || s.Summary == "text" || s.Summary == "data" }

// Values gives the parameters that say the same.
func (s Subset) Values() url.Values {
	v := url.Values{}
	if s.Summary != "" {
		v.Set("_summary", s.Summary)
	}
	if len(s.Elements) > 0 {
		v.Set("_elements", strings.Join(s.Elements, ","))
	}
	return v
}

// subsetted is the tag of a resource that is not all there.
const subsetted = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}`

// Of gives the part of a stored body that is asked for: the body itself when that
// is all. It goes over the bytes once and decodes nothing; what stays, stays as
// it was written.
func (s Subset) Of(t Type, body []byte) []byte {
	if s.All() || len(body) < 2 || body[0] != '{' {
		return body
	}
	c := cutter{from: body, out: make([]byte, 0, len(body)/2+256), known: outlines()}
	c.keep = s.keeper(t)
	c.out = append(c.out, '{')
	tagged := false
	var contained member
	for at := 1; at < len(body) && body[at] != '}'; {
		m, next := memberAt(body, at)
		if m.end > len(body) || m.value-2 <= m.start {
			return nil // no JSON: nothing is better than all
		}
		name := body[m.start+1 : m.value-2]
		switch base := bytes.TrimPrefix(name, []byte("_")); {
		case string(name) == "meta" && body[m.value] == '{':
			c.comma()
			c.out = append(c.out, `"meta":`...)
			c.tag(m)
			tagged = true
		case string(name) == "resourceType" || string(base) == "id":
			c.copy(m)
		default:
			keep, inside := c.keep(base)
			if keep {
				c.member(m, inside)
			} else if string(name) == "contained" {
				contained = m
			}
		}
		at = next
	}
	if contained.end > 0 && bytes.Contains(c.out, []byte(`"reference":"#`)) { // what stays refers to it
		c.copy(contained)
	}
	if !tagged {
		c.comma()
		c.out = append(c.out, `"meta":{"tag":[`+subsetted+`]}`...)
	}
	return append(c.out, '}')
}

// keeper gives the rule by which the members of a resource stay; inside is the
// structure by which the value is cut down, nil if it stays whole.
func (s Subset) keeper(t Type) func(name []byte) (keep bool, inside *outline) {
	known := outlines()
	o := known[string(t)]
	switch {
	case s.Summary == "data":
		return func(name []byte) (bool, *outline) { return string(name) != "text", nil }
	case s.Summary == "text":
		return func(name []byte) (bool, *outline) { return string(name) == "text" || o.of(name).mandatory, nil }
	case s.Summary == "true":
		return func(name []byte) (bool, *outline) {
			f := o.of(name)
			return f.any(), known[f.structure]
		}
	}
	wanted := map[string]bool{}
	for _, name := range s.Elements {
		first, rest, deeper := strings.Cut(name, ".")
		if deeper && Type(first).Valid() { // "Patient.name" is for patients only
			if Type(first) != t {
				continue
			}
			first, _, _ = strings.Cut(rest, ".")
		}
		wanted[first] = true
	}
	return func(name []byte) (bool, *outline) {
		f := o.of(name)
		return wanted[string(name)] || wanted[f.base] || f.mandatory || f.modifier, nil
	}
}

// A cutter writes a part of a body.
type cutter struct {
	from, out []byte
	known     map[string]*outline
	keep      func(name []byte) (bool, *outline)
}

// comma separates what follows from what is there.
func (c *cutter) comma() {
	if last := c.out[len(c.out)-1]; last != '{' && last != '[' {
		c.out = append(c.out, ',')
	}
}

func (c *cutter) copy(m member) {
	c.comma()
	c.out = append(c.out, c.from[m.start:m.end]...)
}

// member copies a member, its value cut down; a value of which nothing is left
// goes with its name, as FHIR has no empty objects.
func (c *cutter) member(m member, inside *outline) {
	if inside == nil || c.from[m.start+1] == '_' {
		c.copy(m)
		return
	}
	before := len(c.out)
	c.comma()
	c.out = append(c.out, c.from[m.start:m.value]...)
	if !c.value(m.value, m.end, inside) {
		c.out = c.out[:before]
	}
}

// value copies what is left of a value and reports whether that is anything.
func (c *cutter) value(start, end int, inside *outline) bool {
	switch c.from[start] {
	case '{':
		return c.object(start, inside)
	case '[':
		before := len(c.out)
		c.out = append(c.out, '[')
		for at := start + 1; at < end && c.from[at] != ']'; {
			stop := skipValue(c.from, at)
			item := len(c.out)
			c.comma()
			if !c.value(at, stop, inside) {
				c.out = c.out[:item]
			}
			if at = stop; at < end && c.from[at] == ',' {
				at++
			}
		}
		if len(c.out) == before+1 {
			return false
		}
		c.out = append(c.out, ']')
		return true
	}
	c.out = append(c.out, c.from[start:end]...)
	return true
}

func (c *cutter) object(start int, o *outline) bool {
	before := len(c.out)
	c.out = append(c.out, '{')
	for at := start + 1; at < len(c.from) && c.from[at] != '}'; {
		m, next := memberAt(c.from, at)
		name := bytes.TrimPrefix(c.from[m.start+1:m.value-2], []byte("_"))
		if f := o.of(name); f.any() || string(name) == "id" || o.datatype && string(name) == "extension" {
			c.member(m, c.known[f.structure])
		}
		at = next
	}
	if len(c.out) == before+1 {
		return false
	}
	c.out = append(c.out, '}')
	return true
}

// tag copies meta with the tag SUBSETTED.
func (c *cutter) tag(m member) {
	tags := membersOf(c.from, m.value, "tag")[0]
	switch {
	case tags.end == 0:
		c.out = append(c.out, c.from[m.value:m.end-1]...)
		c.comma()
		c.out = append(c.out, `"tag":[`+subsetted+`]}`...)
	case bytes.Contains(c.from[tags.value:tags.end], []byte(`"SUBSETTED"`)):
		c.out = append(c.out, c.from[m.value:m.end]...)
	default:
		c.out = append(c.out, c.from[m.value:tags.end-1]...)
		c.out = append(c.out, ","+subsetted...)
		c.out = append(c.out, c.from[tags.end-1:m.end]...)
	}
}

// Subsetted gives the place of the tag that says of a body that it is not all
// there, or -1: to store such a body would lose the rest.
func Subsetted(tree map[string]any) int {
	meta, _ := tree["meta"].(map[string]any)
	tags, _ := meta["tag"].([]any)
	return slices.IndexFunc(tags, func(tag any) bool {
		coding, _ := tag.(map[string]any)
		return coding["code"] == "SUBSETTED"
	})
}

// An outline says what is special about the elements of one structure.
type outline struct {
	datatype bool
	fields   map[string]field // by JSON name
}

type field struct {
	summary, mandatory, modifier bool

	base      string // the name of a choice, "value" for "valueQuantity"
	structure string // by which the value is cut down; empty: it stays whole
}

func (f field) any() bool { return f.summary || f.mandatory || f.modifier }

func (o *outline) of(name []byte) field {
	if o == nil {
		return field{}
	}
	return o.fields[string(name)]
}

//go:embed r4/elements.tsv
var elementsTSV string

// outlines reads the table when a subset is first asked for.
var outlines = sync.OnceValue(func() map[string]*outline {
	known := map[string]*outline{}
	for line := range strings.Lines(elementsTSV) {
		name, elements, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || line[0] == '#' {
			continue
		}
		o := &outline{fields: map[string]field{}}
		o.datatype = !strings.Contains(name, ".") && !Type(name).Valid()
		for text := range strings.FieldsSeq(elements) {
			maps.Insert(o.fields, maps.All(fieldsOf(text)))
		}
		known[name] = o
	}
	return known
})

// fieldsOf reads "link:ms:Patient.link" or "value[x]:s:Quantity,string".
func fieldsOf(text string) map[string]field {
	parts := append(strings.Split(text, ":"), "")
	f := field{summary: strings.Contains(parts[1], "s"), mandatory: strings.Contains(parts[1], "r"), modifier: strings.Contains(parts[1], "m")}
	base, choice := strings.CutSuffix(parts[0], "[x]")
	if !choice {
		f.structure = parts[2]
		return map[string]field{base: f}
	}
	all := map[string]field{}
	for t := range strings.SplitSeq(parts[2], ",") {
		f.base, f.structure = base, t
		all[base+capital(t)] = f
	}
	return all
}
