package consent

import (
	"context"
	"maps"

	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// Foresee runs fn, which authenticates a caller and reads for them, and saves round
// trips to a database behind a network: at first tokens, accounts and epochs may be
// taken to be as the store remembers them, which is compared in the snapshot, and in the
// round trip, of what is read. If one is not so, all is thrown away and fn runs again
// without. What fn gives may be used when Foresee has returned; see [store.Foresee].
func (g *Guard) Foresee(ctx context.Context, fn func(context.Context) error) error {
	return g.engine.Foresee(ctx, fn)
}

// readAhead reads in one go the epochs that a call about some patients will compare,
// nil for all on whom the caller may have a basis, as far as the caches tell which:
// from a database behind a network, one by one would take longer than the search.
func (g *Guard) readAhead(tx *engine.Tx, c Caller, patients []string) error {
	if !store.ReadsAhead(tx.Reader()) || seesByRole(c.Identity.Role) {
		return nil
	}
	epochs, me := map[string]bool{}, whoIs(c)
	g.persons.peek(me, epochs)
	if patients == nil {
		if p, ok := g.panels.peek(me, epochs); ok {
			patients = p.patients
		}
	}
	if g.policy.BreakGlass.Enabled && c.ID != "" {
		epochs[emergencyEpoch(c.ID)] = true
	}
	for _, patient := range patients {
		epochs[patient] = true
		if _, ok := g.decisions.peek(about{who: me, patient: patient}, epochs); !ok {
			g.panels.peek(me, epochs) // see isStranger
		}
	}
	return g.readEpochs(tx, epochs)
}

func (g *Guard) readEpochs(tx *engine.Tx, epochs map[string]bool) error {
	if len(epochs) == 0 {
		return nil
	}
	return store.ReadRecords(tx.Reader(), recordEpoch, maps.Keys(epochs))
}

// peek gives what is kept under a key, whether it holds or not, and adds the epochs
// that it rests on.
func (c *cache[K, V]) peek(key K, epochs map[string]bool) (v V, ok bool) {
	if c == nil {
		return v, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[key]
	if e == nil {
		return v, false
	}
	item := e.Value.(*cached[K, V])
	for k := range item.stamp {
		epochs[k] = true
	}
	return item.value, true
}
