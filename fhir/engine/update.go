package engine

import "mypatients/fhir"

// Update stores a body as the next version of the resource with its id
// (https://hl7.org/fhir/R4/http.html#update), or as the first when there is none
// yet or it was deleted; then created is true. match is the version that
// If-Match names, or AnyVersion, nil without one: a different newest version is a
// Precondition error, and so is the absence of any.
func (tx *Tx) Update(p *Prepared, match *int64) (r *fhir.Resource, created bool, err error) {
	if p.ID == "" {
		return nil, false, fhir.ElementErrorf(fhir.Invalid, string(p.Type)+".id", "A resource to be updated needs its id.")
	}
	if !fhir.ValidID(p.ID) {
		return nil, false, errBadID(p.Type)
	}
	key := fhir.Key{Type: p.Type, ID: p.ID}
	before, err := tx.newest(key)
	if err != nil {
		return nil, false, err
	}
	if err := checkMatch(before, match); err != nil {
		return nil, false, err
	}
	tx.owe(debt{key: key, mentions: p.Mentions})
	r, err = tx.put(before, p.version(key, number(before)+1, tx))
	return r, before == nil || before.Deleted, err
}
