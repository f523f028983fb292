package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// watch has the references of a write judged by what the caller may read, so that
// referential integrity tells nobody what is hidden from them. The records that
// the resource belongs to count as known: that they may be written to was judged
// before.
func (g *Guard) watch(tx *engine.Tx, c Caller, t fhir.Type, terms store.Terms) error {
	if !g.engine.Integral() {
		return nil
	}
	owners := map[string]bool{}
	for o := range terms.Values(store.Owner) {
		owners[string(o)] = true
	}
	all, err := g.look(tx, c, t, smart.MayRead, nil)
	if err != nil {
		return err
	}
	tx.WatchedBy(engine.Eye{
		Sees: func(key fhir.Key) (bool, error) {
			if owners[key.String()] {
				return true, nil
			}
			return g.mayKnow(tx, c, key)
		},
		Sight: all.sight,
	})
	return nil
}

// mayKnow reports whether a read of a resource would give it to the caller. Who is
// in the directory is no secret, whatever the scopes: a kiosk that adds to care
// teams has none for it.
func (g *Guard) mayKnow(tx *engine.Tx, c Caller, key fhir.Key) (bool, error) {
	if isDirectory(key.Type) {
		return true, nil
	}
	if g.requireScope(c, key.Type, smart.MayRead) != nil {
		return false, nil
	}
	s, err := g.lookAt(tx, c, key, smart.MayRead)
	if err != nil {
		return false, err
	}
	_, err = tx.Read(key, s.sight)
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone:
		return false, nil
	}
	return err == nil, err
}
