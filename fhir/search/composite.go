package search

import (
	"encoding/json"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// compositeForms gives the values of a composite for one element: each form of the
// first component with each form of the second, and so on.
func compositeForms(p *Param, e *env, base string, item any, yield func(string)) {
	heads := []string{""}
	for i, c := range p.components {
		var joined []string
		c.each.each(e, item, func(part any) bool {
			for _, form := range partForms(c.param.Kind, e, base, part) {
				if i > 0 {
					form = "\x01" + form
				}
				for _, head := range heads {
					joined = append(joined, head+form)
				}
			}
			return true
		})
		if heads = joined; len(heads) == 0 {
			return
		}
	}
	for _, form := range heads {
		yield(form)
	}
}

// partForms gives the forms of a component.
func partForms(kind Kind, e *env, base string, part any) (forms []string) {
	add := func(form string) {
		if form != "" && !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	switch kind {
	case Token:
		tokens(part, func(system, code string, coded bool) {
			add(codeForm(code))
			if coded {
				add(tokenForm(system, code))
			}
		})
	case Quantity:
		e.units.quantityForms(part, func(number, unit string) { add(unit + number) })
	case Number:
		if n, ok := part.(json.Number); ok {
			add(encodeDecimal(string(n)))
		}
	case Date:
		if i, ok := dateItem(part, e.zone); ok {
			add(i.String())
		}
	case String:
		texts(part, func(s string) { add(stringTerm(s)) })
	case Reference:
		if text := referenceOf(part, nil); text != "" {
			add(referenceForm(text, base))
		}
	case URI:
		if s, ok := part.(string); ok {
			add(bound(clean(s)))
		}
	}
	return forms
}

// compositeQuery is the condition of a composite: values joined by $.
func (ps *parser) compositeQuery(t fhir.Type, p *Param, value string) (store.Expr, error) {
	parts := splitEscaped(value, '$')
	if len(parts) != len(p.components) {
		return nil, badValue("%d values joined by $ are needed", len(p.components))
	}
	if p.acrossResource(t) {
		all := store.And{}
		for i, c := range p.components {
			part, err := ps.valueQuery(t, c.param, "", parts[i])
			if err != nil {
				return nil, err
			}
			all = append(all, part)
		}
		return all, nil
	}
	heads := []string{""}
	for i, c := range p.components[:len(parts)-1] {
		forms, err := ps.exactForms(c.param, parts[i])
		if err != nil {
			return nil, err
		}
		var joined []string
		for _, head := range heads {
			for _, form := range forms {
				joined = append(joined, head+form+"\x01")
			}
		}
		heads = joined
	}
	var any store.Or
	for _, head := range heads {
		part, err := ps.lastQuery(p, head, parts[len(parts)-1])
		if err != nil {
			return nil, err
		}
		any = append(any, part)
	}
	return anyOf(any), nil
}

// exactForms gives the forms of a component that is not the last.
func (ps *parser) exactForms(p *Param, value string) ([]string, error) {
	switch p.Kind {
	case Token:
		v, err := readToken(value)
		switch {
		case err != nil:
			return nil, err
		case !v.hasSystem:
			return []string{codeForm(v.code)}, nil
		case v.code == "":
			return nil, badValue("a code is missing")
		case len(p.systems) > 0 && slices.Contains(p.systems, v.system):
			return []string{codeForm(v.code)}, nil
		}
		return []string{tokenForm(v.system, v.code)}, nil
	case Number:
		prefix, text := cutPrefix(value)
		number := encodeDecimal(text)
		if number == "" || prefix != "eq" {
			return nil, badValue("%q is not a number without a prefix", value)
		}
		return []string{number}, nil
	case Reference:
		return ps.referenceForms(p, "", value)
	}
	return nil, badValue("a composite with a %s before its end is not supported", p.Kind)
}

// lastQuery is the condition on the last component, behind the forms of the others.
func (ps *parser) lastQuery(p *Param, head, value string) (store.Expr, error) {
	last := p.components[len(p.components)-1].param
	name := p.names.plain
	switch last.Kind {
	case Quantity:
		q, err := ps.r.units.readQuantity(value)
		if err != nil {
			return nil, err
		}
		return q.behind(name, head), nil
	case Number:
		prefix, text := cutPrefix(value)
		ranges, err := numberRanges(prefix, text, unity)
		if err != nil {
			return nil, err
		}
		return inRanges(name, head, ranges), nil
	case String:
		folded := fold(unescape(value))
		if folded == "" || len(folded) > maxText {
			return nil, badValue("a text of at most %d bytes is needed", maxText)
		}
		return store.Prefix{Name: name, Prefix: head + folded}, nil
	}
	forms, err := ps.exactForms(last, value)
	if err != nil {
		return nil, err
	}
	for i := range forms {
		forms[i] = head + forms[i]
	}
	return equalAny(name, forms), nil
}
