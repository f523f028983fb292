package engine

import "mypatients/fhir"

// Create stores a body as a new resource
// (https://hl7.org/fhir/R4/http.html#create) under the id given, or a random one
// when it is empty; the id in the body does not count. An id that is taken, or
// was before it was deleted, is a Conflict.
func (tx *Tx) Create(p *Prepared, id string) (*fhir.Resource, error) {
	if id == "" {
		id = NewID()
	}
	if !fhir.ValidID(id) {
		return nil, errBadID(p.Type)
	}
	key := fhir.Key{Type: p.Type, ID: id}
	switch v, err := tx.newest(key); {
	case err != nil:
		return nil, err
	case v != nil:
		return nil, fhir.Errorf(fhir.Conflict, "There is a resource with this id already.")
	}
	tx.owe(debt{key: key, mentions: p.Mentions})
	return tx.put(nil, p.version(key, 1, tx))
}

func errBadID(t fhir.Type) error {
	return fhir.ElementErrorf(fhir.Invalid, string(t)+".id", "An id is 1 to 64 letters, digits, dashes and dots.")
}
