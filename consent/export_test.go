package consent

import (
	"context"
	"net/url"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// ReadUnrecorded is [Guard.Read] of what may be read, without the log, for comparing.
func (g *Guard) ReadUnrecorded(ctx context.Context, c Caller, key fhir.Key) (found *fhir.Resource, err error) {
	e := g.entry(c, "read", key.Type)
	if err := g.mayRead(c, key); err != nil {
		return nil, err
	}
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		found, err = g.readIn(tx, c, e, key, func(sight engine.Sight) (*fhir.Resource, error) { return tx.Read(key, sight) })
		return err
	})
	return found, err
}

// SearchUnrecorded is [Guard.Search], likewise, as it is called over HTTP.
func (g *Guard) SearchUnrecorded(ctx context.Context, c Caller, t fhir.Type, values url.Values) (page *fhir.Page, err error) {
	err = g.Foresee(ctx, func(ctx context.Context) error {
		page, err = g.searchUnrecorded(ctx, c, t, values)
		return err
	})
	return page, err
}

func (g *Guard) searchUnrecorded(ctx context.Context, c Caller, t fhir.Type, values url.Values) (page *fhir.Page, err error) {
	e := g.entry(c, "search", t)
	if err := g.requireScope(c, t, smart.MaySearch); err != nil {
		return nil, err
	}
	q, values, err := g.parseSearch(c, t, values, false, 0)
	if err != nil {
		return nil, err
	}
	outcomes, err := g.selection(ctx, c, t, values)
	if err != nil {
		return nil, err
	}
	err = g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		page, err = g.searchIn(tx, &c, e, t, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	g.finishPage(c, t, page, outcomes)
	return page, nil
}

// Permits tells, without the log, whether $access would find a basis.
func (g *Guard) Permits(ctx context.Context, c Caller, patient string) (ok bool, err error) {
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		d, err := g.decisionFor(tx, c, patient, smart.MayRead)
		ok = err == nil && d.permitted()
		return err
	})
	return ok, err
}

// ListAtMost makes a guard join the panels of providers with more patients than
// that; less than none: of all providers.
func (g *Guard) ListAtMost(patients int) { g.maxListed = patients }

// Forget empties the caches of what is about one caller.
func (g *Guard) Forget() {
	g.persons, g.decisions, g.panels = newCache[who, *person](maxPersons), newCache[about, *decision](maxDecisions), newCache[who, *panel](maxPanels)
	g.large, g.bases = newCache[who, bool](maxPersons), newCache[about, []Basis](maxJoined)
}

// StopRecording has a guard leave out the log for what only reads.
func (g *Guard) StopRecording() {
	g.auditor.record = func(context.Context, *auditEntry) error { return nil }
}
