package search

import (
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Sources are where the plan of a query looks things up.
type Sources struct {
	// Find gives live resources of a type for which a condition holds, of those that
	// the caller may see, at most limit.
	Find func(t fhir.Type, where store.Expr, limit int) ([]*store.Version, error)

	// Packaged gives a ValueSet or CodeSystem that comes with the program, by its
	// canonical URL, possibly with |version, as decoded JSON; nil when there is none.
	// What is stored goes before it. It may be nil.
	Packaged func(t fhir.Type, canonical string) (map[string]any, error)
}

// A planning is one query on its way to the store.
type planning struct {
	registry *Registry
	sight    func(fhir.Type) store.Expr
	sources  Sources
	sets     map[string]*codeSet    // the value sets read so far; nil while one is read
	systems  map[string]*codeSystem // the code systems read so far
	issues   []fhir.Issue
	err      error
}

// A condition is a part of a query, awaiting what may be seen of the types that
// it joins, and what is to be looked up.
type condition func(*planning) store.Expr

// fixed is a condition that joins no other type.
func fixed(e store.Expr) condition {
	return func(*planning) store.Expr { return e }
}

// looking is a condition that is known after a look into other resources. When it
// cannot be known it holds for nothing.
func (ps *parser) looking(look func(*planning) (store.Expr, error)) condition {
	ps.q.joins = true
	key := ps.key
	return func(p *planning) store.Expr {
		if p.sources.Find == nil || p.err != nil {
			return store.None()
		}
		e, err := look(p)
		var bad *problem
		switch {
		case err == nil:
			return e
		case errors.As(err, &bad):
			p.issues = append(p.issues, bad.issue(key))
		default:
			p.err = err
		}
		return store.None()
	}
}

// find is Sources.Find that refuses what is more than a limit.
func (p *planning) find(t fhir.Type, where store.Expr, limit int) ([]*store.Version, error) {
	found, err := p.sources.Find(t, where, limit+1)
	if err != nil {
		return nil, err
	}
	if len(found) > limit {
		return nil, &problem{code: "too-costly", text: "this leads to more than can be looked at"}
	}
	return found, nil
}
