package search

import (
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// maxDescendants bounds the resources of a hierarchy that are looked at.
const maxDescendants = 10_000

// looksUp reports whether a modifier asks for what stands in other resources.
func looksUp(p *Param, modifier string) bool {
	switch modifier {
	case "in", "not-in":
		return p.Kind == Token && p.Name != store.ID
	case "above", "below":
		return p.Kind == Token && p.Name != store.ID || p.Kind == Reference
	}
	return false
}

// lookUp reads the values of a parameter with such a modifier: alternatives
// separated by commas.
func (ps *parser) lookUp(t fhir.Type, p *Param, modifier, value string) (condition, error) {
	var looks []func(*planning) (store.Expr, error)
	for _, v := range splitEscaped(value, ',') {
		if v == "" {
			return nil, badValue("a value is missing")
		}
		if err := ps.spend(1); err != nil {
			return nil, err
		}
		look, err := ps.lookUpOne(p, modifier, v)
		if err != nil {
			return nil, err
		}
		looks = append(looks, look)
	}
	return ps.looking(func(pl *planning) (store.Expr, error) {
		var any store.Or
		for _, look := range looks {
			e, err := look(pl)
			if err != nil {
				return nil, err
			}
			any = append(any, e)
		}
		if modifier == "not-in" {
			return store.Not{Expr: anyOf(any)}, nil
		}
		return anyOf(any), nil
	}), nil
}

func (ps *parser) lookUpOne(p *Param, modifier, value string) (func(*planning) (store.Expr, error), error) {
	switch {
	case p.Kind == Reference:
		return ps.hierarchy(p, modifier, value)
	case modifier == "in" || modifier == "not-in":
		reference := unescape(value)
		return func(pl *planning) (store.Expr, error) {
			set, err := pl.valueSet(reference)
			if err != nil {
				return nil, err
			}
			return tokenSet(p, set), nil
		}, nil
	}
	token, err := readToken(value)
	if err != nil {
		return nil, err
	}
	if !token.hasSystem && len(p.systems) == 1 {
		token.system = p.systems[0]
	}
	if token.system == "" || token.code == "" {
		return nil, badValue("a code with its system is needed, as in system|code")
	}
	return func(pl *planning) (store.Expr, error) {
		system, err := pl.codeSystem(token.system)
		if err != nil {
			return nil, err
		}
		codes, err := system.related(token.code, modifier == "above")
		if err != nil {
			return nil, err
		}
		set := newCodeSet()
		for _, code := range codes {
			set.codes[systemCode{token.system, code}] = true
		}
		return tokenSet(p, set), nil
	}, nil
}

// tokenSet is the condition that a token parameter has a code of a set.
func tokenSet(p *Param, set *codeSet) store.Expr {
	if p.unionOf != nil {
		var any store.Or
		for _, member := range p.unionOf {
			any = append(any, tokenSet(member, set))
		}
		return anyOf(any)
	}
	in := store.In{Name: p.names.coded}
	if len(p.systems) > 0 { // a code element: it has no terms with a system
		in.Name = p.names.plain
	}
	for c := range set.codes {
		switch {
		case len(p.systems) == 0:
			in.Values = append(in.Values, tokenForm(c.system, c.code))
		case slices.Contains(p.systems, c.system):
			in.Values = append(in.Values, codeForm(c.code))
		}
	}
	slices.Sort(in.Values)
	any := store.Or{}
	if len(in.Values) > 0 {
		any = append(any, in)
	}
	for system := range set.systems {
		switch {
		case len(p.systems) == 0:
			any = append(any, store.Prefix{Name: p.names.coded, Prefix: systemForm(system) + "|"})
		case slices.Contains(p.systems, system):
			any = append(any, store.Exists{Name: p.names.plain})
		}
	}
	return any
}

// hierarchy reads location:below=Location/1: references to a resource or to what
// is part of it, or, above, to what it is part of. Of a canonical URL the versions
// are the hierarchy: 2 is above 2.1.
func (ps *parser) hierarchy(p *Param, modifier, value string) (func(*planning) (store.Expr, error), error) {
	forms, err := ps.referenceForms(p, "", value)
	if err != nil {
		return nil, err
	}
	if strings.Contains(forms[0], ":") {
		e := versions(p.names.plain, modifier, forms[0])
		return func(*planning) (store.Expr, error) { return e, nil }, nil
	}
	var keys []fhir.Key
	for _, form := range forms {
		if key, err := fhir.ParseKey(form); err == nil && ps.r.parent(key.Type) != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, unsupported("%s does not lead to what is part of its like; :%s is for Location, Organization and others that have partOf", p.Name, modifier)
	}
	return func(pl *planning) (store.Expr, error) {
		var all []string
		for _, key := range keys {
			found, err := pl.walk(ps.r.parent(key.Type), key, modifier == "above")
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return equalAny(p.names.plain, all), nil
	}, nil
}

// parent gives the parameter by which resources of a type are part of one another.
func (r *Registry) parent(t fhir.Type) *Param {
	for _, name := range []string{"partof", "part-of"} {
		if p, ok := r.Param(t, name); ok && p.Kind == Reference && slices.Contains(p.Targets, t) {
			return p
		}
	}
	return nil
}

// walk gives a resource and all below, or above it, of those that may be seen.
func (p *planning) walk(parent *Param, from fhir.Key, up bool) ([]string, error) {
	all := []string{from.String()}
	known := map[string]bool{all[0]: true}
	for at := 0; at < len(all); {
		edge := all[at:]
		at = len(all)
		where := equalAny(parent.names.plain, slices.Clone(edge))
		if up {
			ids := make([]string, len(edge))
			for i, key := range edge {
				ids[i] = strings.TrimPrefix(key, string(from.Type)+"/")
			}
			where = equalAny(store.ID, ids)
		}
		found, err := p.find(from.Type, where, max(0, maxDescendants-len(all)))
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			next := []string{v.Key.String()}
			if up {
				next = next[:0]
				for value := range v.Terms.Values(parent.names.plain) {
					next = append(next, string(value))
				}
			}
			for _, key := range next {
				if strings.HasPrefix(key, string(from.Type)+"/") && !known[key] {
					known[key] = true
					all = append(all, key)
				}
			}
		}
	}
	return all, nil
}

// versions is the condition on a canonical URL and the versions below or above.
func versions(name, modifier, form string) store.Expr {
	url, version, found := strings.Cut(form, "|")
	if !found {
		return canonicalQuery(name, form)
	}
	if modifier == "below" {
		return store.Or{store.Equal{Name: name, Value: form}, store.Prefix{Name: name, Prefix: form + "."}}
	}
	values := []string{form}
	for at := strings.LastIndexByte(version, '.'); at > 0; at = strings.LastIndexByte(version, '.') {
		version = version[:at]
		values = append(values, url+"|"+version)
	}
	return equalAny(name, values)
}
