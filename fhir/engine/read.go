package engine

import (
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Read gives the newest version (https://hl7.org/fhir/R4/http.html#read). What
// is absent and what the sight hides is NotFound; what was deleted is Gone if
// the sight would have shown it, else NotFound.
func (tx *Tx) Read(key fhir.Key, sight Sight) (*fhir.Resource, error) {
	v, err := tx.visible(key, sight)
	if err != nil {
		return nil, err
	}
	if v.Deleted {
		return nil, errGone()
	}
	return resource(v), nil
}

// VRead gives one version (https://hl7.org/fhir/R4/http.html#vread). An old
// version must be allowed by its own terms and by the newest's: what a resource
// was before must not tell what it is now, nor the other way round. The version
// that is a deletion is Gone.
func (tx *Tx) VRead(key fhir.Key, version int64, sight Sight) (*fhir.Resource, error) {
	newest, err := tx.visible(key, sight)
	if err != nil {
		return nil, err
	}
	v := newest
	if version != newest.Version {
		if v, err = tx.reader.ResourceVersion(storeKey(key), version); err != nil {
			return nil, absent(err)
		}
		if ok, err := tx.allowed(v, sight); err != nil || !ok {
			return nil, hidden(err)
		}
	}
	if v.Deleted {
		return nil, errGone()
	}
	return resource(v), nil
}

// visible gives the newest version, which may be a deletion, if the sight holds
// for it. A deletion keeps the terms of the last live version.
func (tx *Tx) visible(key fhir.Key, sight Sight) (*store.Version, error) {
	v, err := tx.reader.Resource(storeKey(key))
	if err != nil {
		return nil, absent(err)
	}
	if ok, err := tx.allowed(v, sight); err != nil || !ok {
		return nil, hidden(err)
	}
	return v, nil
}

func (tx *Tx) allowed(v *store.Version, sight Sight) (bool, error) {
	return store.Eval(tx.reader, v, sight.closed()(fhir.Type(v.Type)))
}

func absent(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fhir.ErrNotFound()
	}
	return err
}

func hidden(err error) error {
	if err != nil {
		return err
	}
	return fhir.ErrNotFound()
}

func errGone() error { return fhir.Errorf(fhir.Gone, "The resource was deleted.") }
