package consent

import (
	"context"

	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// Worklists counts what waits for administrators, each up to [MaxWaiting].
type Worklists struct {
	Providers   int // who registered and whom nobody has checked
	Accounts    int // that stand for nobody
	Emergencies int // to be reviewed
	Consents    int // in force that cannot be evaluated
	Relabelling bool
}

// MaxWaiting is up to where a worklist is counted.
const MaxWaiting = 100

// Worklists counts what waits for an administrator.
func (g *Guard) Worklists(ctx context.Context, c Caller) (Worklists, error) {
	e := g.entry(c, "worklists", "")
	if err := requireAdmin(c); err != nil {
		return Worklists{}, g.refused(ctx, e, err)
	}
	l := Worklists{Relabelling: g.engine.Labels().Pending}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		for kind, n := range map[string]*int{recordUnchecked: &l.Providers, recordLoose: &l.Accounts} {
			found, err := tx.Reader().Records(kind, "", "", MaxWaiting)
			if err != nil {
				return err
			}
			*n = len(found)
		}
		open, err := emergency.Unreviewed(tx.Reader(), "", MaxWaiting)
		l.Emergencies = len(open)
		return err
	})
	if err != nil {
		return Worklists{}, err
	}
	faults, err := g.UnreadableConsents(ctx, MaxWaiting)
	l.Consents = len(faults)
	return l, err
}

// A FaultyConsent is a consent in force that cannot be evaluated, and whose it is.
type FaultyConsent struct {
	UnreadableConsent
	Patient Card
	Since   string // Consent.dateTime
}

// FaultyConsents lists, for an administrator, consents in force that cannot be
// evaluated, at most [MaxWaiting].
func (g *Guard) FaultyConsents(ctx context.Context, c Caller) ([]FaultyConsent, error) {
	e := g.entry(c, "search", "Consent")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	faults, err := g.UnreadableConsents(ctx, MaxWaiting)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var list []FaultyConsent
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		list = nil
		for _, u := range faults {
			_, n, err := live(tx, u.Consent.String())
			if err != nil {
				return err
			}
			if n == nil {
				continue
			}
			f := FaultyConsent{UnreadableConsent: u, Since: n.str("dateTime")}
			card, d, err := g.visibleCard(tx, c, relativeTo(g.base, n.ref("patient")))
			if err != nil && fhir.KindOf(err) != fhir.NotFound {
				return err
			}
			if card != nil {
				f.Patient = *card
				e.concern(d)
				e.Returned = append(e.Returned, u.Consent.String())
			}
			list = append(list, f)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return list, g.auditor.write(ctx, e)
}

// Administer admits an administrator to what is not kept here, like mails that
// failed, and records it; others are refused as if it did not exist.
func (g *Guard) Administer(ctx context.Context, c Caller, ev Event) error {
	e := g.entry(c, ev.Action, "")
	e.Detail = ev.Detail
	if err := requireAdmin(c); err != nil {
		return g.refused(ctx, e, err)
	}
	return g.auditor.write(ctx, e)
}

// NamesFor names people to an administrator, by their references: directory names
// of providers, and of families as far as the record is open to the caller. The
// action says for what.
func (g *Guard) NamesFor(ctx context.Context, c Caller, action string, persons []string) (map[string]LinkView, error) {
	e := g.entry(c, action, "")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	names := map[string]LinkView{}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		for _, person := range persons {
			if _, done := names[person]; done {
				continue
			}
			view := LinkView{Link: Link{Person: person}}
			if _, err := fhir.ParseKey(person); err == nil {
				if err := g.nameFor(tx, c, e, &view); err != nil {
					return err
				}
			}
			names[person] = view
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return names, g.auditor.write(ctx, e)
}
