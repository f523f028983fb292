package consent

import (
	"context"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordRecent holds, by account, the ids of the patients whose records a provider
// opened in the portal, the last first. It says nothing of what they may see today:
// every showing is judged again.
const recordRecent = "recent"

const (
	maxRecent  = 10
	recentLife = 90 * 24 * time.Hour // after the last of them
)

// RecentPatients lists the patients whose records the caller opened last in the
// portal, the last first, and of these those whom they may see now.
func (g *Guard) RecentPatients(ctx context.Context, c Caller) ([]Card, error) {
	if !keepsRecent(c) {
		return nil, nil
	}
	var ids []string
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		ids, err = recentOf(tx, c.Identity.Login)
		return err
	})
	if err != nil {
		return nil, err
	}
	cards, err := g.ThePatients(ctx, c, ids)
	slices.SortFunc(cards, func(a, b Card) int {
		return slices.Index(ids, a.Patient.ID) - slices.Index(ids, b.Patient.ID)
	})
	return cards, err
}

// Opened keeps that the caller, a provider in the portal, has opened a record, which
// they have just read.
func (g *Guard) Opened(ctx context.Context, c Caller, patient string) error {
	if !keepsRecent(c) || !fhir.ValidID(patient) {
		return nil
	}
	first := false
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		ids, err := recentOf(tx, c.Identity.Login)
		first = len(ids) > 0 && ids[0] == patient
		return err
	})
	if err != nil || first { // leafing through a record writes nothing
		return err
	}
	return g.engine.Update(ctx, func(tx *engine.Tx) error {
		ids, err := recentOf(tx, c.Identity.Login)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == patient })
		ids = append([]string{patient}, ids[:min(len(ids), maxRecent-1)]...)
		return tx.Writer().PutRecord(&store.Record{Kind: recordRecent, Key: c.Identity.Login, Value: []byte(strings.Join(ids, " ")), Expires: tx.Now().Add(recentLife)})
	})
}

// keepsRecent reports whether a caller has such a list: an app does not add to it.
func keepsRecent(c Caller) bool {
	return c.ClientID == PortalClient && c.Identity.Role == smart.Provider && c.Identity.Login != ""
}

func recentOf(tx *engine.Tx, login string) ([]string, error) {
	rec, err := tx.Reader().Record(recordRecent, login)
	if err == store.ErrNotFound || err == nil && !tx.Now().Before(rec.Expires) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(rec.Value)), nil
}
