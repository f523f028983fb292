package search

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
)

// choices are the choice elements (value[x]) of R4.
type choices struct {
	types map[string][]string // by path, "Observation.effective"
	names map[string]bool     // the last elements of those paths
}

func readChoices(tsv string) *choices {
	c := &choices{map[string][]string{}, map[string]bool{}}
	for row := range rows(tsv) {
		c.types[row[0]] = strings.Split(row[1], ",")
		c.names[row[0][strings.LastIndexByte(row[0], '.')+1:]] = true
	}
	return c
}

// newRegistry compiles definitions. Those of Resource and DomainResource apply
// to every type.
func newRegistry(defs []definition, compartment map[string][]string) (*Registry, error) {
	known := readChoices(choicesTSV)
	byURL := map[string]*Param{}
	r := &Registry{types: map[fhir.Type]*typeParams{}, byURL: byURL, choices: known, zone: time.UTC}
	byType := map[fhir.Type][]*Param{}
	for _, d := range defs {
		p, err := newParam(d, known)
		if err != nil {
			return nil, fmt.Errorf("search: parameter %s of %s: %w", d.name, d.base, err)
		}
		byURL[p.URL] = p
		if p.each == nil { // _text, _content, _query
			continue
		}
		if d.base == "Resource" || d.base == "DomainResource" {
			for _, t := range fhir.Types() {
				byType[t] = append(byType[t], p)
			}
			continue
		}
		if !fhir.Type(d.base).Valid() {
			return nil, fmt.Errorf("search: %s is no type of R4", d.base)
		}
		byType[fhir.Type(d.base)] = append(byType[fhir.Type(d.base)], p)
	}
	for t, list := range byType {
		tp, err := newTypeParams(t, list, byURL, known)
		if err != nil {
			return nil, fmt.Errorf("search: %s: %w", t, err)
		}
		if err := tp.setOwners(t, compartment[string(t)], known); err != nil {
			return nil, fmt.Errorf("search: %s: %w", t, err)
		}
		r.types[t] = tp
	}
	return r, nil
}

func newParam(d definition, known *choices) (*Param, error) {
	p := &Param{Name: d.name, Kind: Kind(d.kind), Expression: d.expression, URL: d.url, systems: d.systems, names: namesOf(d.name)}
	if slices.Equal(d.targets, []string{"*"}) {
		p.Targets = fhir.Types()
	} else {
		for _, t := range d.targets {
			p.Targets = append(p.Targets, fhir.Type(t))
		}
	}
	p.components = d.components
	if d.expression == "" {
		return p, nil
	}
	var err error
	p.each, err = compile(d.expression, d.base, known)
	return p, err
}

func newTypeParams(t fhir.Type, list []*Param, byURL map[string]*Param, known *choices) (*typeParams, error) {
	slices.SortFunc(list, func(a, b *Param) int { return strings.Compare(a.Name, b.Name) })
	tp := &typeParams{list: list, byName: map[string]*Param{}, limits: map[*Param]bool{}}
	var err error
	if tp.clinical, err = clinicalRules(t, known); err != nil {
		return nil, err
	}
	for _, p := range list {
		tp.byName[p.Name] = p
	}
	for _, p := range list {
		if err := p.bind(t, tp, byURL, known); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	tp.findUnions()
	for _, p := range list {
		if p.Name != "_id" && p.Name != LastUpdated && p.each != nil && p.unionOf == nil && !p.acrossResource(t) {
			tp.indexed = append(tp.indexed, p)
		}
	}
	return tp, nil
}

// bind finds the parameters that the components of a composite are, and compiles
// the components.
func (p *Param) bind(t fhir.Type, tp *typeParams, byURL map[string]*Param, known *choices) error {
	for _, c := range p.components {
		def := byURL[c.url]
		if def == nil {
			return fmt.Errorf("no parameter %s", c.url)
		}
		c.param = def
		if own := tp.byName[def.Name]; own != nil {
			c.param = own
		}
		var err error
		context := p.Expression // each part of the expression reads its choices as the first does
		if head, _, more := strings.Cut(p.Expression, " | "); more {
			context = head
		}
		if c.each, err = compile(c.expression, context, known); err != nil {
			return err
		}
	}
	return nil
}

// acrossResource reports whether a composite is about the resource as a whole:
// then its components are parameters of their own, and it needs no terms.
func (p *Param) acrossResource(t fhir.Type) bool {
	return p.Kind == Composite && p.Expression == string(t)
}

// findUnions marks the parameters whose expression is put together from those of
// others of the same kind, so that each value is indexed once. References are left
// as they are: conditions on them are written without a registry.
func (tp *typeParams) findUnions() {
	atoms := map[*Param][]string{}
	var sorted []*Param
	for _, p := range tp.list {
		if p.Kind != Reference && !p.custom && !strings.HasPrefix(p.Name, "_") && !strings.Contains(p.Expression, " and ") {
			parts := strings.Split(p.Expression, " | ")
			slices.Sort(parts)
			atoms[p] = slices.Compact(parts)
			sorted = append(sorted, p)
		}
	}
	slices.SortStableFunc(sorted, func(a, b *Param) int { return len(atoms[a]) - len(atoms[b]) })
	for i, p := range sorted {
		missing := slices.Clone(atoms[p])
		var members []*Param
		for _, q := range sorted[:i] {
			if q.Kind != p.Kind || q.unionOf != nil || !subset(atoms[q], atoms[p]) || !sameComponents(p, q) {
				continue
			}
			before := len(missing)
			missing = slices.DeleteFunc(missing, func(a string) bool { return slices.Contains(atoms[q], a) })
			if len(missing) < before {
				members = append(members, q)
			}
		}
		if len(missing) == 0 {
			p.unionOf = members
		}
	}
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// sameComponents reports whether two composites take the same things from an
// element; true for what is no composite.
func sameComponents(a, b *Param) bool {
	return slices.EqualFunc(a.components, b.components, func(x, y *component) bool {
		return x.expression == y.expression && x.param.Kind == y.param.Kind
	})
}
