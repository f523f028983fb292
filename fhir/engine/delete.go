package engine

import (
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Delete marks a resource as deleted (https://hl7.org/fhir/R4/http.html#delete)
// and gives the version that does so. Deleting what is deleted or was never
// there is no error and gives nil, unless match asks for a version. The deletion
// keeps the terms of the version before it, so that it can be judged by whom it
// may be known.
func (tx *Tx) Delete(key fhir.Key, match *int64) (*fhir.Resource, error) {
	before, err := tx.newest(key)
	if err != nil {
		return nil, err
	}
	if err := checkMatch(before, match); err != nil {
		return nil, err
	}
	if before == nil || before.Deleted {
		return nil, nil
	}
	tx.owe(debt{key: key, gone: true})
	return tx.put(before, &store.Version{
		Key:     before.Key,
		Version: before.Version + 1,
		Time:    tx.now,
		Deleted: true,
		Terms:   before.Terms,
	})
}
