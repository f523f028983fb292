package engine_test

import (
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// An engineOf opens the store of a world, again on the same data.
type engineOf func(*world) (store.Store, error)

// stores are those that the cases run on. All other tests run on the first, or on
// the one that the environment variable STORE names.
func stores() map[string]engineOf {
	return map[string]engineOf{
		"badger": func(w *world) (store.Store, error) {
			return badgerstore.Open(badgerstore.Config{Dir: w.dir, Now: w.clock})
		},
		"postgres": func(w *world) (store.Store, error) {
			return pgstore.Open(w.t.Context(), pgstore.Options{DSN: pgtest.At(w.t, w.dir)})
		},
	}
}
