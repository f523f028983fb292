package search

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// kinds of parameters that can be added.
var customKinds = []Kind{Number, Date, String, Token, Reference, Quantity, URI}

// ReadDefinition reads a SearchParameter resource, decoded and valid. Resource and
// DomainResource as a base stand for every type. The error is that of
// [Registry.With].
func ReadDefinition(tree map[string]any) Definition {
	text := func(name string) string { s, _ := tree[name].(string); return s }
	types := func(name string) (list []fhir.Type) {
		spread(tree[name], func(item any) bool {
			t, _ := item.(string)
			if t == "Resource" || t == "DomainResource" {
				list = append(list, fhir.Types()...)
			} else {
				list = append(list, fhir.Type(t))
			}
			return true
		})
		slices.Sort(list)
		return slices.Compact(list)
	}
	return Definition{URL: text("url"), Name: text("code"), Kind: Kind(text("type")), Types: types("base"),
		Targets: types("target"), Expression: text("expression")}
}

// Mark is a short text that changes when what is indexed by the definition does.
func (d Definition) Mark() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", d.Kind, d.Targets, d.Expression))
	return hex.EncodeToString(sum[:8])
}

// Defines reports whether the registry has the parameter that a definition
// describes, for one of its types: by its URL, or all the rest being equal. Then
// the resource only tells what is there.
func (r *Registry) Defines(d Definition) bool {
	if r.byURL[d.URL] != nil {
		return true
	}
	return slices.ContainsFunc(d.Types, func(t fhir.Type) bool {
		tp := r.types[t]
		if tp == nil {
			return false
		}
		p := tp.byName[d.Name]
		return p != nil && p.Kind == d.Kind && p.Expression == d.Expression
	})
}

// With gives a registry that has more parameters. What was indexed before must be
// indexed again to be found by them. The error is a [fhir.Error] of kind
// Unprocessable that names the element of the SearchParameter that is wrong; then
// there is no new registry.
//
// An added parameter stands beside those of R4 and never in the place of one: its
// name is new to its types, in whatever case, its terms have that name, and no
// other parameter is put together from it.
func (r *Registry) With(defs ...Definition) (*Registry, error) {
	added := *r
	added.types = maps.Clone(r.types)
	for _, d := range defs {
		if err := added.add(d); err != nil {
			return nil, err
		}
	}
	return &added, nil
}

// wrong refuses an element of a SearchParameter.
func wrong(element, format string, args ...any) error {
	return fhir.ElementErrorf(fhir.Unprocessable, "SearchParameter."+element, "%s.", fmt.Sprintf(format, args...))
}

func (r *Registry) add(d Definition) error {
	switch {
	case !validName(d.Name):
		return wrong("code", "The code of a parameter is a letter, then up to 63 letters, digits and dashes")
	case !slices.Contains(customKinds, d.Kind):
		return wrong("type", "Parameters of type %q cannot be added", d.Kind)
	case len(d.Types) == 0:
		return wrong("base", "A type is needed")
	case d.Expression == "":
		return wrong("expression", "An expression is needed")
	}
	for _, target := range d.Targets {
		if !target.Valid() {
			return wrong("target", "%q is no type of R4", target)
		}
	}
	for _, t := range d.Types {
		if err := r.addTo(t, d); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) addTo(t fhir.Type, d Definition) error {
	old := r.types[t]
	if old == nil {
		return wrong("base", "%q is no type of R4", t)
	}
	for name := range old.byName {
		if strings.EqualFold(name, d.Name) {
			return wrong("code", "%s has a parameter %s", t, name)
		}
	}
	p := &Param{Name: d.Name, Kind: d.Kind, Targets: d.Targets, Expression: d.Expression, URL: d.URL, names: namesOf(d.Name), custom: true}
	var err error
	if p.each, err = compile(d.Expression, string(t), r.choices); err != nil {
		return wrong("expression", "The expression cannot be used: %v", err)
	}
	tp, err := newTypeParams(t, append(copies(old.list), p), r.byURL, r.choices)
	if err != nil {
		return err
	}
	if err := tp.setOwners(t, old.compartment, r.choices); err != nil {
		return err
	}
	r.types[t] = tp
	return nil
}

// Check refuses a definition whose expression can find nothing: it names an element
// that R4 does not have, or is about other types than those of the definition. The
// error is that of [Registry.With], which takes such definitions.
func (r *Registry) Check(d Definition) error {
	for _, t := range d.Types {
		p := &pathParser{choices: r.choices, context: string(t)}
		if _, err := p.parse(d.Expression); err != nil {
			return wrong("expression", "The expression cannot be used: %v", err)
		}
		for _, path := range p.paths {
			if !fhir.HasElement(path) {
				return wrong("expression", "R4 has no element %s", path)
			}
		}
		if len(p.heads) > 0 && !slices.ContainsFunc(p.heads, func(head fhir.Type) bool {
			return head == t || head == "Resource" || head == "DomainResource"
		}) {
			return wrong("expression", "The expression is not about %s", t)
		}
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
