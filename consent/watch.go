package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// watched makes a write whose references are judged by what the caller may read,
// so that referential integrity tells nobody what is hidden from them. The records
// that the resource belongs to count as known: that they may be written to was
// judged before. So does what the transaction itself writes.
func (g *Guard) watched(tx *engine.Tx, c Caller, t *task, terms store.Terms, write func() error) error {
	if !g.engine.Integral() {
		return write()
	}
	owners := map[string]bool{}
	for o := range terms.Values(store.Owner) {
		owners[string(o)] = true
	}
	eye, err := g.eye(tx, c, t.Type, owners, t.does == Delete)
	if err != nil {
		return err
	}
	eye.Blame = func(err error) error { return &blamed{t, err} }
	tx.WatchedBy(eye)
	defer tx.WatchedBy(nil)
	return write()
}

// blamed is an error that came up at the end and is about a task.
type blamed struct {
	task *task
	error
}

func (b *blamed) Unwrap() error { return b.error }

// eye gives what a caller who writes or asks about a type may know, besides some
// records that they are known to know. Only a deletion needs its Sight.
func (g *Guard) eye(tx *engine.Tx, c Caller, t fhir.Type, known map[string]bool, deletes bool) (*engine.Eye, error) {
	eye := &engine.Eye{Sees: func(key fhir.Key) (bool, error) {
		if known[key.String()] || isComing(tx, key.String()) {
			return true, nil
		}
		return g.mayKnow(tx, c, key)
	}}
	if deletes {
		all, err := g.look(tx, c, t, smart.MayRead, nil)
		if err != nil {
			return nil, err
		}
		eye.Sight = all.sight
	}
	return eye, nil
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
