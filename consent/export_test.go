package consent

import (
	"context"

	"mypatients/consent/audit"
	"mypatients/fhir/store"
)

// WithoutAudit has a guard record nothing, for comparing.
func (g *Guard) WithoutAudit() error {
	log, err := audit.Open(audit.Config{Store: nowhere{g.engine.Store()}, Now: g.now, Key: g.key})
	g.auditor.log.Close()
	g.auditor.log = log
	return err
}

// nowhere takes no writes.
type nowhere struct{ store.Store }

func (nowhere) Update(context.Context, func(store.Writer) error) error { return nil }

// ListAtMost makes a guard join the panels of providers with more patients than
// that; less than none: of all providers.
func (g *Guard) ListAtMost(patients int) { g.maxListed = patients }

// Forget empties the caches.
func (g *Guard) Forget() {
	g.persons, g.decisions, g.panels = newCache[*person](maxPersons), newCache[*decision](maxDecisions), newCache[*panel](maxPanels)
	g.large = newCache[bool](maxPersons)
}
