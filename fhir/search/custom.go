package search

import (
	"fmt"
	"maps"
	"slices"

	"mypatients/fhir"
)

// A Definition is a search parameter that is not in the registry of R4, as a
// SearchParameter resource describes it
// (https://hl7.org/fhir/R4/searchparameter.html). Composites cannot be added.
type Definition struct {
	URL        string
	Name       string      // SearchParameter.code
	Kind       Kind        // SearchParameter.type
	Types      []fhir.Type // SearchParameter.base; concrete types only
	Targets    []fhir.Type // SearchParameter.target
	Expression string      // of the parts of a union, those of other types count for those types only
}

// With gives a registry that has more parameters. What was indexed before must be
// indexed again to be found by them. The error tells what is wrong with a
// definition; then there is no new registry.
func (r *Registry) With(defs ...Definition) (*Registry, error) {
	added := *r
	added.types, added.byURL = maps.Clone(r.types), maps.Clone(r.byURL)
	for _, d := range defs {
		if err := added.add(d); err != nil {
			return nil, fmt.Errorf("search: parameter %q: %w", d.Name, err)
		}
	}
	return &added, nil
}

func (r *Registry) add(d Definition) error {
	if !validName(d.Name) {
		return fmt.Errorf("not a name for a parameter")
	}
	if d.Kind == Composite || !slices.Contains([]Kind{Number, Date, String, Token, Reference, Quantity, URI}, d.Kind) {
		return fmt.Errorf("parameters of type %q cannot be added", d.Kind)
	}
	if len(d.Types) == 0 || d.Expression == "" {
		return fmt.Errorf("a type and an expression are needed")
	}
	for _, t := range d.Types {
		old := r.types[t]
		if old == nil {
			return fmt.Errorf("%q is no type of R4", t)
		}
		if old.byName[d.Name] != nil {
			return fmt.Errorf("%s has a parameter of this name", t)
		}
		p := &Param{Name: d.Name, Kind: d.Kind, Targets: d.Targets, Expression: d.Expression, URL: d.URL, names: namesOf(d.Name)}
		var err error
		if p.each, err = compile(d.Expression, string(t), r.choices); err != nil {
			return err
		}
		tp, err := newTypeParams(t, append(copies(old.list), p), r.byURL, r.choices)
		if err != nil {
			return err
		}
		if err := tp.setOwners(t, old.compartment, r.choices); err != nil {
			return err
		}
		r.types[t] = tp
		r.byURL[d.URL] = p
	}
	return nil
}

// copies gives parameters that can be bound anew.
func copies(list []*Param) []*Param {
	fresh := make([]*Param, len(list))
	for i, p := range list {
		c := *p
		c.unionOf, c.components = nil, nil
		for _, part := range p.components {
			c.components = append(c.components, &component{url: part.url, expression: part.expression})
		}
		fresh[i] = &c
	}
	return fresh
}

// validName allows letters, digits and dashes: what no modifier, chain or reserved
// name can be mistaken for.
func validName(s string) bool {
	if s == "" || len(s) > 64 || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}
