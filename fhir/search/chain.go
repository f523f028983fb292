package search

import (
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// chain reads what follows the dot in patient.name or subject:Patient.name: a
// condition on what a reference leads to, of which the caller sees only a part
// (https://hl7.org/fhir/R4/search.html#chaining).
func (ps *parser) chain(t fhir.Type, p *Param, modifier, rest, value string, joins int) (condition, error) {
	if p.Kind != Reference {
		return nil, badValue("%s is no reference and cannot be chained", p.Name)
	}
	targets := p.Targets
	if modifier != "" {
		target := fhir.Type(modifier)
		if !slices.Contains(targets, target) {
			return nil, badValue("%s never refers to a %s", p.Name, modifier)
		}
		targets = []fhir.Type{target}
	}
	targets, err := ps.having(targets, rest)
	if err != nil {
		return nil, err
	}
	if len(targets) > maxTargets {
		return nil, badValue("%s may refer to %d types: name one, as in %s:Patient", p.Name, len(targets), p.Name)
	}
	inner := make([]condition, len(targets))
	for i, target := range targets {
		if inner[i], err = ps.search(target, rest, value, joins+1); err != nil {
			return nil, err
		}
	}
	ps.q.joins = true
	return func(pl *planning) store.Expr {
		var any store.Or
		for i, target := range targets {
			any = append(any, store.Ref{Name: p.names.plain, Type: string(target), Where: store.And{inner[i](pl), pl.sight(target)}})
		}
		return anyOf(any)
	}, nil
}

// having keeps the types that have the parameter that a chain goes on with.
func (ps *parser) having(targets []fhir.Type, rest string) ([]fhir.Type, error) {
	if strings.HasPrefix(rest, "_has:") || rest == "_list" || rest == textParam || rest == contentParam {
		return targets, nil
	}
	name := rest
	if at := strings.IndexAny(rest, ".:"); at >= 0 {
		name = rest[:at]
	}
	var kept []fhir.Type
	for _, target := range targets {
		if _, ok := ps.r.Param(target, name); ok {
			kept = append(kept, target)
		}
	}
	if len(kept) == 0 {
		return nil, unknown("nothing that it refers to has a search parameter %q", name)
	}
	return kept, nil
}

// has reads what follows _has: as in _has:Observation:patient:code=1234, a
// condition on what refers to the resource
// (https://hl7.org/fhir/R4/search.html#has).
func (ps *parser) has(t fhir.Type, rest, value string, joins int) (condition, error) {
	parts := strings.SplitN(rest, ":", 3)
	if len(parts) != 3 || parts[2] == "" {
		return nil, badValue("_has is written _has:Type:reference:parameter")
	}
	source := fhir.Type(parts[0])
	if !source.Valid() {
		return nil, badValue("%q is no resource type of R4", parts[0])
	}
	p, ok := ps.r.Param(source, parts[1])
	if !ok {
		return nil, ps.noParam(source, parts[1])
	}
	if p.Kind != Reference || !slices.Contains(p.Targets, t) {
		return nil, badValue("%s of %s never refers to a %s", p.Name, source, t)
	}
	inner, err := ps.search(source, parts[2], value, joins+1)
	if err != nil {
		return nil, err
	}
	ps.q.joins = true
	return func(pl *planning) store.Expr {
		return store.Back{Type: string(source), Name: p.names.plain, Where: store.And{inner(pl), pl.sight(source)}}
	}, nil
}
