package search

import "mypatients/fhir"

// Holding gives a registry that indexes as before, but refuses to search by some
// parameters: those by which what is stored is not indexed yet. It does not list
// them either.
//
// The words of [Registry.WithText] are held by text.
func (r *Registry) Holding(text bool, held func(fhir.Type, *Param) bool) *Registry {
	kept := *r
	kept.held, kept.heldText = held, text
	return &kept
}

// SearchesText reports whether _text and _content can be searched by: whether words
// are indexed, and not held.
func (r *Registry) SearchesText() bool { return r.text && !r.heldText }

// NeedsUnits reports whether a parameter looks at quantities, alone or as a part of
// a composite.
func (p *Param) NeedsUnits() bool {
	if p.Kind == Quantity {
		return true
	}
	for _, c := range p.components {
		if c.param != nil && c.param.Kind == Quantity {
			return true
		}
	}
	return false
}

func (r *Registry) holds(t fhir.Type, p *Param) bool { return r.held != nil && r.held(t, p) }

// visible gives the parameters of a type that are not held.
func (r *Registry) visible(t fhir.Type, list []*Param) []*Param {
	kept := make([]*Param, 0, len(list))
	for _, p := range list {
		if !r.holds(t, p) {
			kept = append(kept, p)
		}
	}
	return kept
}
