package search

import (
	"encoding/json"
	"fmt"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Index gives the terms of a resource: those of every parameter of its type,
// its owners, and its clinical time. tree is the resource as decoded JSON
// (map[string]any, []any, string, bool, json.Number), which must have been
// validated; base is the FHIR base URL without trailing slash. The terms come in
// no order and may repeat. [StampTerms] gives the rest.
//
// Owners ([store.Owner], values "Patient/1") are the patients in whose
// compartment the resource is by https://hl7.org/fhir/R4/compartmentdefinition-patient.html,
// and by rules of our own: a Patient owns itself (see [StampTerms]), a Task belongs
// to whom it is for, a Device to its patient, a Binary to its securityContext,
// whatever that is. A patient on another server is an owner by its URL.
func (r *Registry) Index(t fhir.Type, tree map[string]any, base string) ([]store.Term, error) {
	tp := r.types[t]
	if tp == nil {
		return nil, fmt.Errorf("search: %q is no type of R4", t)
	}
	x := indexer{env: env{root: tree, zone: r.zone, units: r.units}, base: base, terms: make([]store.Term, 0, 32)}
	x.visit = func(item any) bool { x.item(x.param, item); return true }
	for _, p := range tp.indexed {
		x.param = p
		p.each.each(&x.env, tree, x.visit)
	}
	for _, p := range tp.owners {
		p.each.each(&x.env, tree, x.owner)
	}
	if i, ok := tp.clinicalTime(&x.env); ok {
		x.add(Clinical, i.String())
	}
	if r.text {
		x.words(tree)
	}
	if x.env.steps > maxSteps {
		return nil, fhir.ElementErrorf(fhir.Unprocessable, string(t), "The resource is too large for the search parameters of its type.")
	}
	return x.terms, nil
}

// An indexer gathers the terms of one resource.
type indexer struct {
	env   env
	base  string
	terms []store.Term
	param *Param
	visit func(any) bool
}

func (x *indexer) add(name, value string) {
	if value != "" {
		x.terms = append(x.terms, store.Term{Name: name, Value: value})
	}
}

// item adds the terms of one element under a parameter.
func (x *indexer) item(p *Param, item any) {
	names := &p.names
	switch p.Kind {
	case Token:
		x.token(names.plain, names.coded, item)
		x.add(names.text, tokenText(item))
		identifiersOfType(item, func(v string) { x.add(names.ofType, v) })
	case Reference:
		if text := referenceOf(item, p.Targets); text != "" {
			x.add(names.plain, referenceForm(text, x.base))
		}
		if m, ok := item.(map[string]any); ok && m["identifier"] != nil && m["resourceType"] == nil {
			x.token(names.identifier, names.identifierCoded, m["identifier"])
		}
	case String:
		texts(item, func(s string) { x.add(names.plain, stringTerm(s)) })
	case Date:
		if i, ok := dateItem(item, x.env.zone); ok {
			x.add(names.plain, i.String())
		}
	case URI:
		if s, ok := item.(string); ok {
			x.add(names.plain, bound(clean(s)))
		}
	case Number:
		x.number(names.plain, item)
	case Quantity:
		x.env.units.quantityForms(item, func(number, unit string) {
			if unit == "" {
				x.add(names.plain, number)
				return
			}
			x.add(names.coded, unit+number)
		})
	case Special:
		if place, ok := placeTerm(item); ok {
			x.add(names.plain, place)
		}
	case Composite:
		compositeForms(p, &x.env, x.base, item, func(form string) { x.add(names.plain, form) })
	}
}

func (x *indexer) token(plain, coded string, item any) {
	tokens(item, func(system, code string, hasCoding bool) {
		x.add(plain, codeForm(code))
		if hasCoding {
			x.add(coded, tokenForm(system, code))
		}
	})
}

// number adds a decimal or the ends of a Range.
func (x *indexer) number(name string, item any) {
	if n, ok := item.(json.Number); ok {
		x.add(name, encodeDecimal(string(n)))
		return
	}
	x.env.units.quantityForms(item, func(number, unit string) {
		if unit == "" {
			x.add(name, number)
		}
	})
}

// owner adds the patient that a reference leads to.
func (x *indexer) owner(item any) bool {
	text := referenceOf(item, nil)
	ref := fhir.ParseReference(text)
	anything := x.env.root["resourceType"] == "Binary"
	if ref.Key.Type == "Patient" && (ref.Form == fhir.Relative || ref.Form == fhir.Literal) || anything && text != "" {
		x.add(store.Owner, referenceForm(text, x.base))
	}
	return true
}
