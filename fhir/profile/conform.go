package profile

import (
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
)

// A profileCheck holds a resource against a profile.
type profileCheck struct {
	*check
	pack *pack
}

// A located is a value and where it is.
type located struct {
	item
	at *fhir.Place
}

// node checks one value against what a node says.
func (c *profileCheck) node(n *node, about item, at *fhir.Place) {
	if len(c.issues) >= maxIssues || c.budget <= 0 {
		return
	}
	if n.fixed != nil && about.v != nil && !equalValues(n.fixed, about.v) {
		c.add(at, fhir.Issue{Code: "value", Text: "The value is fixed to " + shown(n.fixed) + "."})
	}
	if n.pattern != nil && about.v != nil && !fits(n.pattern, about.v) {
		c.add(at, fhir.Issue{Code: "value", Text: "The value must have " + shown(n.pattern) + "."})
	}
	if n.binding != nil && n.binding.set != nil {
		c.bound(n.binding, about, at)
	}
	c.rules(n.rules, about, at)
	c.typesOf(n, about, at)
	for _, child := range n.children {
		c.element(child, c.locate(about, child.name, at), at)
	}
}

// element checks all values of one element: how many, each, and its slices.
func (c *profileCheck) element(n *node, values []located, up *fhir.Place) {
	c.count(n, len(values), up)
	for _, v := range values {
		c.node(n, v.item, v.at)
	}
	if len(n.slices) == 0 {
		return
	}
	found := make([]int, len(n.slices))
	for _, v := range values {
		matched := slices.IndexFunc(n.slices, func(s *node) bool { return c.matches(s, n.by, v.item) })
		if matched < 0 {
			if n.closed {
				c.add(v.at, fhir.Issue{Code: "structure", Text: "This fits none of the forms that the profile allows here."})
			}
			continue
		}
		found[matched]++
		c.node(n.slices[matched], v.item, v.at)
	}
	for i, s := range n.slices {
		c.count(s, found[i], up)
	}
}

func (c *profileCheck) count(n *node, found int, up *fhir.Place) {
	what := ""
	if n.slice != "" {
		what = " of the slice " + strconv.Quote(n.slice)
	}
	at := &fhir.Place{Up: up, Name: n.name}
	switch {
	case found < n.min && n.min == 1 && what == "":
		c.add(at, fhir.Issue{Code: "required", Text: "The profile requires this element."})
	case found < n.min:
		c.add(at, fhir.Issue{Code: "required", Text: "The profile requires " + strconv.Itoa(n.min) + what + " at least; there are " + strconv.Itoa(found) + "."})
	case n.max == 0 && found > 0:
		c.add(at, fhir.Issue{Code: "structure", Text: "The profile does not allow this element."})
	case n.max > 0 && found > n.max:
		c.add(at, fhir.Issue{Code: "structure", Text: "The profile allows " + strconv.Itoa(n.max) + what + " at most; there are " + strconv.Itoa(found) + "."})
	}
}

// locate lists the values of an element with their places.
func (c *profileCheck) locate(about item, name string, at *fhir.Place) []located {
	object, ok := about.v.(map[string]any)
	t := about.t
	if !ok {
		object, t = about.below, c.model.below
	}
	if object == nil || t == nil {
		return nil
	}
	key, e := name, t.elements[name]
	if e != nil && e.choice {
		for k := range object {
			k = strings.TrimPrefix(k, "_")
			if option := t.elements[k]; option != nil && option.base == name {
				key, e = k, option
			}
		}
	}
	if e == nil || e.choice {
		return nil
	}
	here := &fhir.Place{Up: at, Name: key, Base: e.base}
	var out []located
	for i, v := range c.values(nil, object, key, e) {
		place := here
		if e.list {
			place = &fhir.Place{Up: here, Index: i}
		}
		out = append(out, located{v, place})
	}
	return out
}

// typesOf checks the type of a value, the profiles of that type, and where a
// reference leads.
func (c *profileCheck) typesOf(n *node, about item, at *fhir.Place) {
	if len(n.types) == 0 || about.t == nil {
		return
	}
	var fitting []profiledType
	var names []string
	for _, t := range n.types {
		names = append(names, t.Code)
		if t.Code == about.t.name || about.t.resource || nestedIn(t.Code) {
			fitting = append(fitting, t)
		}
	}
	if len(fitting) == 0 {
		c.add(at, fhir.Issue{Code: "structure", Text: "The profile allows " + strings.Join(names, ", ") + " here."})
		return
	}
	var known []*Profile
	for _, t := range fitting {
		for _, url := range t.Profiles {
			p := c.pack.find(url)
			if p == nil {
				return // of a profile that is not packaged nothing is said
			}
			known = append(known, p)
		}
		if about.t.name == "Reference" && len(t.Targets) > 0 {
			c.targets(t.Targets, about, at)
		}
	}
	c.oneOf(known, about, at)
}

func nestedIn(code string) bool { return code == "BackboneElement" || code == "Element" }

// oneOf holds a value against profiles of which it must fit one.
func (c *profileCheck) oneOf(list []*Profile, about item, at *fhir.Place) {
	if len(list) == 1 {
		c.node(list[0].root, about, at)
		return
	}
	before := c.issues
	for _, p := range list {
		c.issues = nil
		c.node(p.root, about, at)
		if len(c.issues) == 0 {
			c.issues = before
			return
		}
	}
	c.issues = before
	if len(list) > 0 {
		c.add(at, fhir.Issue{Code: "structure", Text: "This fits none of the profiles that are allowed here."})
	}
}

// targets checks the type of what a reference leads to. Whether that conforms to
// a profile is not asked: it may be changed at any time.
func (c *profileCheck) targets(canonicals []string, about item, at *fhir.Place) {
	resolved := c.resolve([]item{about})
	if len(resolved) == 0 || resolved[0].t == nil {
		return
	}
	var names []string
	for _, canonical := range canonicals {
		name := c.targetType(canonical)
		if name == "" || name == "Resource" || name == resolved[0].t.name {
			return
		}
		names = append(names, name)
	}
	c.add(&fhir.Place{Up: at, Name: "reference"}, fhir.Issue{Code: "value",
		Text: "The profile does not allow a reference to " + resolved[0].t.name + " here; allowed: " + strings.Join(slices.Compact(names), ", ") + "."})
}

// targetType is the type of the resources that a profile is for; empty when it
// is not known.
func (c *profileCheck) targetType(canonical string) string {
	if p := c.pack.find(canonical); p != nil {
		return string(p.Type)
	}
	if name, ok := strings.CutPrefix(canonical, baseURL); ok && (name == "Resource" || fhir.Type(name).Valid()) {
		return name
	}
	return ""
}

// fits reports whether a value has all that a pattern has
// (https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_).
func fits(pattern, value any) bool {
	switch p := pattern.(type) {
	case map[string]any:
		v, ok := value.(map[string]any)
		if !ok {
			return false
		}
		for name, want := range p {
			if !fits(want, v[name]) {
				return false
			}
		}
		return true
	case []any:
		v, ok := value.([]any)
		if !ok {
			return false
		}
		for _, want := range p {
			if !slices.ContainsFunc(v, func(have any) bool { return fits(want, have) }) {
				return false
			}
		}
		return true
	}
	return equalValues(pattern, value)
}

// shown writes a value of a profile; it comes from the package, not from a caller.
func shown(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return keyOf(v)
}
