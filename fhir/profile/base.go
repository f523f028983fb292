package profile

import (
	"strings"

	"mypatients/fhir"
)

// maxIssues is how many issues a check collects before it stops looking;
// fewer are told of (see [fhir.Parse]).
const maxIssues = 200

// A check walks one body and collects issues.
type check struct {
	run
	name   string // of the root, for expressions
	issues []fhir.Issue
}

func newCheck(m *model, tree map[string]any, t *typ) *check {
	root := item{v: tree, t: t}
	return &check{name: t.name, run: run{model: m, sets: m.sets, root: root, resource: root, budget: allowance(tree)}}
}

// allowance is how many values the rules may look at: many times what an honest
// body needs, and in proportion to its size.
func allowance(tree map[string]any) int { return 1_000_000 + 500*size(tree, 0) }

func size(v any, depth int) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			n += size(item, depth+1)
		}
	case []any:
		for _, item := range v {
			n += size(item, depth+1)
		}
	}
	return n
}

// Check checks what R4 says of every resource beyond the structure that
// [fhir.Parse] checks: bindings and invariants, in contained resources and
// entries too. It is made to be handed to fhir.Parse. An error means that the
// definitions could not be read, which no body causes.
func Check(tree map[string]any) ([]fhir.Issue, error) {
	m, err := theModel()
	if err != nil {
		return nil, err
	}
	t := m.of(tree)
	if t == nil {
		return nil, nil
	}
	c := newCheck(m, tree, t)
	c.object(c.root, nil)
	c.referred(tree, nil)
	c.tooCostly()
	return c.issues, nil
}

// tooCostly refuses what could not be checked within the budget.
func (c *check) tooCostly() {
	if c.budget <= 0 {
		c.add(nil, fhir.Issue{Code: "too-costly", Text: "This is too large and too interwoven for its rules to be checked."})
	}
}

func (c *check) add(at *fhir.Place, i fhir.Issue) {
	if len(c.issues) < maxIssues {
		i.Expression = at.Expression(c.name)
		c.issues = append(c.issues, i)
	}
}

// rules evaluates invariants.
func (c *check) rules(list []*rule, about item, at *fhir.Place) {
	for _, r := range list {
		if c.broken(r.holds, about) {
			c.add(at, fhir.Issue{Severity: r.severity, Code: "invariant", Text: sentence(r.key + ": " + r.text)})
		}
	}
}

// sentence ends a text as sentences do.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// object walks a complex value.
func (c *check) object(about item, at *fhir.Place) {
	if len(c.issues) >= maxIssues || c.budget <= 0 {
		return
	}
	object, t := about.v.(map[string]any), about.t
	c.rules(t.rules, about, at)
	if !t.resource && t != c.model.below {
		c.hollow(object, at)
	}
	for key := range object {
		plain := strings.TrimPrefix(key, "_")
		e := t.elements[plain]
		if e == nil || e.choice {
			continue
		}
		c.member(object, key, plain, e, &fhir.Place{Up: at, Name: key, Base: e.base})
	}
}

// member walks what stands under one JSON name.
func (c *check) member(object map[string]any, key, plain string, e *element, at *fhir.Place) {
	value := object[key]
	if key != plain { // extensions of primitives
		c.below(value, object[plain], at)
		return
	}
	list, isList := value.([]any)
	if !isList {
		c.value(value, e, at)
		return
	}
	for i, one := range list {
		c.value(one, e, &fhir.Place{Up: at, Index: i})
	}
}

// below walks the extensions of primitives, whose values are those given.
func (c *check) below(extended, values any, at *fhir.Place) {
	list, isList := extended.([]any)
	if isList {
		items, _ := values.([]any)
		for i, one := range list {
			var value any
			if i < len(items) {
				value = items[i]
			}
			c.below(one, value, &fhir.Place{Up: at, Index: i})
		}
		return
	}
	object, ok := extended.(map[string]any)
	if !ok {
		return
	}
	if values == nil {
		c.hollow(object, at)
	}
	c.object(item{v: object, t: c.model.below}, at)
}

// hollow is ele-1: there must be more than an id.
func (c *check) hollow(object map[string]any, at *fhir.Place) {
	if len(object) == 1 && object["id"] != nil {
		c.add(at, fhir.Issue{Code: "invariant", Text: "ele-1: An element must have a value or children besides its id."})
	}
}

// value walks one value of an element.
func (c *check) value(value any, e *element, at *fhir.Place) {
	if value == nil {
		return
	}
	about := c.typedItem(value, nil, e)
	if about.t == nil {
		return
	}
	if e.binding != nil && e.binding.set != nil {
		c.bound(e.binding, about, at)
	}
	c.rules(e.rules, about, at)
	object, ok := value.(map[string]any)
	if !ok {
		c.form(e, value, at)
		return
	}
	if !e.inline {
		c.object(about, at)
		return
	}
	resource, root := c.resource, c.root
	c.resource = about
	if contained := at.Up != nil && at.Up.Name == "contained"; !contained {
		c.root = about
		c.referred(object, at)
	}
	c.object(about, at)
	c.resource, c.root = resource, root
}

// form checks the format of a primitive.
func (c *check) form(e *element, value any, at *fhir.Place) {
	text, ok := value.(string)
	if e.format == nil || !ok {
		return
	}
	if fault := e.format(text); fault != "" {
		c.add(at, fhir.Issue{Code: "value", Text: fault})
	}
}

// bound checks a binding. The codes that were given are not repeated.
func (c *check) bound(b *binding, about item, at *fhir.Place) {
	issue := fhir.Issue{Code: "code-invalid"}
	set, _, _ := strings.Cut(b.set.url, "|")
	switch b.set.judge(about) {
	case outside:
		issue.Text = "This is not one of the codes of " + set + ", which are required here."
		if !b.required {
			issue.Severity, issue.Text = "warning", "This is not one of the codes of "+set+", which should be used here where one fits."
		}
	case uncoded:
		if !b.required {
			return
		}
		issue.Text = "A code of " + set + " is required here; text is not enough."
	default:
		return
	}
	c.add(at, issue)
}

// referred is dom-3: what is contained must be referred to, or itself refer to
// what contains it. Any string that reads "#id" counts.
func (c *check) referred(tree map[string]any, at *fhir.Place) {
	list, _ := tree["contained"].([]any)
	if len(list) == 0 {
		return
	}
	ids := map[string]bool{}
	for i, one := range list {
		object, _ := one.(map[string]any)
		id, found := object["id"].(string)
		if found && ids[id] {
			c.add(&fhir.Place{Up: &fhir.Place{Up: at, Name: "contained"}, Index: i}, fhir.Issue{Code: "duplicate",
				Text: "Two contained resources must not have the same id."})
		}
		ids[id] = true
	}
	used := map[string]bool{}
	for name, value := range tree {
		if name != "contained" {
			fragments(value, used)
		}
	}
	for _, one := range list {
		object, _ := one.(map[string]any)
		inside := map[string]bool{}
		fragments(one, inside)
		for fragment := range inside {
			if fragment != "#"+textOf(object["id"]) {
				used[fragment] = true
			}
		}
	}
	for i, one := range list {
		object, _ := one.(map[string]any)
		outward := map[string]bool{}
		fragments(one, outward)
		if object == nil || outward["#"] || used["#"+textOf(object["id"])] {
			continue
		}
		c.add(&fhir.Place{Up: &fhir.Place{Up: at, Name: "contained"}, Index: i}, fhir.Issue{Code: "invariant",
			Text: "dom-3: A contained resource must be referred to by the resource that contains it, or refer to it."})
	}
}

// fragments notes the strings that begin with "#".
func fragments(v any, into map[string]bool) {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "#") {
			into[v] = true
		}
	case map[string]any:
		for _, one := range v {
			fragments(one, into)
		}
	case []any:
		for _, one := range v {
			fragments(one, into)
		}
	}
}
