package engine

import (
	"mypatients/fhir"
	"mypatients/fhir/profile"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Plan makes the query for the store: what was asked for, of what may be seen.
// Lists, value sets and hierarchies that the query names are looked up in the
// same snapshot, under the sight of their own types: one that may not be seen is
// one that is not there. Value sets that are not stored may be among those that the
// profiles come with. Limit is q.Count, After is left to be set.
func (tx *Tx) Plan(q *search.Query, sight Sight) (store.Query, error) {
	sight = sight.closed()
	return q.PlanWith(sight, search.Sources{
		Find: func(t fhir.Type, where store.Expr, limit int) ([]*store.Version, error) {
			hits, err := tx.reader.Search(store.Query{Type: string(t), Where: store.And{where, sight(t)}, Limit: limit})
			found := make([]*store.Version, len(hits))
			for i, h := range hits {
				found[i] = h.Version
			}
			return found, err
		},
		Packaged: packaged,
	})
}

// packaged gives what comes with the program: value sets, no code systems.
func packaged(t fhir.Type, canonical string) (map[string]any, error) {
	if t != "ValueSet" {
		return nil, nil
	}
	return profile.ValueSet(canonical)
}
