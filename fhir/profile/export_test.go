package profile

import (
	"fmt"
	"slices"

	"mypatients/fhir"
)

// Invariants lists the invariants that are compiled, by type.
func Invariants() ([]string, error) {
	m, err := theModel()
	if err != nil {
		return nil, err
	}
	var list []string
	add := func(where string, rules []*rule) {
		for _, r := range rules {
			line := where + "\t" + r.key
			if r.severity != "" {
				line += " (" + r.severity + ")"
			}
			list = append(list, line)
		}
	}
	for name, t := range m.types {
		add(name, t.rules)
		for key, e := range t.elements {
			if e.typ == nil || e.typ.name != name+"."+key {
				add(name+"."+key, e.rules)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Evaluate gives the values of an expression about a resource.
func Evaluate(expression, body string) (string, error) {
	m, err := theModel()
	if err != nil {
		return "", err
	}
	compiled, err := compile(expression)
	if err != nil {
		return "", err
	}
	tree, err := fhir.Tree([]byte(body))
	if err != nil {
		return "", err
	}
	c := newCheck(m, tree, m.of(tree))
	c.context = c.root
	values := []any{}
	for _, i := range compiled(&c.run, []item{c.root}) {
		values = append(values, i.v)
	}
	return fmt.Sprint(values), nil
}
