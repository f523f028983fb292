package consent

import (
	"context"
	"errors"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordTimer is the kind of the records that lead from a time to a Consent about
// which something is to be done, before or at that time: key "stage time id".
// They are set by whatever writes the Consent, and taken in their order: what it
// costs to see that nothing is due does not grow with what is stored.
const recordTimer = "timer"

// The stages.
const (
	timerLapse      = "lapse"      // the answer-by time of a request
	timerReminder   = "reminder"   // the same
	timerEnding     = "ending"     // the end of an access
	timerInvitation = "invitation" // until when an invitation can be used
)

// timerFormat sorts as the times do.
const timerFormat = "2006-01-02T15:04:05Z"

func timerKey(stage string, at time.Time, id string) string {
	return stage + " " + at.UTC().Format(timerFormat) + " " + id
}

// setTimers sets what is to be done about a request or an invitation that came to
// a new status.
func (r *Rules) setTimers(tx *engine.Tx, before, after *store.Version) error {
	if after.Deleted {
		return nil
	}
	tree, err := fhir.Tree(after.Body)
	if err != nil {
		return err
	}
	n := node(tree)
	kind := r.kindOf(n)
	if kind == "" {
		return nil
	}
	if before != nil && !before.Deleted {
		old, err := fhir.Tree(before.Body)
		if err != nil || node(old).str("status") == n.str("status") {
			return err
		}
	}
	set := func(stage string, at time.Time, ok bool) error {
		if !ok || at.IsZero() {
			return nil
		}
		return tx.Writer().PutRecord(&store.Record{Kind: recordTimer, Key: timerKey(stage, at, after.ID)})
	}
	switch status := n.str("status"); {
	case status == "proposed":
		_, at, ok := dateSpan(n.extension(r.extension("answer-by")).str("valueDateTime"), r.zone)
		if !ok { // of elsewhere: whoever finds it due knows better
			_, at, ok = dateSpan(n.str("dateTime"), r.zone)
		}
		if err := set(timerLapse, at, ok); err != nil {
			return err
		}
		return set(timerReminder, at, ok)
	case status == "active":
		return set(timerEnding, readPeriod(n.obj("provision").obj("period"), r.zone).end, true)
	case status == "draft" && kind == kindInvitation:
		at, ok := r.invitationEnd(n)
		return set(timerInvitation, at, ok)
	}
	return nil
}

func (r *Rules) invitationEnd(n node) (time.Time, bool) {
	_, at, ok := dateSpan(n.extension(r.extension("invitation-expires")).str("valueDateTime"), r.zone)
	return at, ok
}

// timerRound is how many timers are taken from one snapshot.
const timerRound = 100

// takeTimers does what is due in a stage up to a time, each in a transaction of its
// own: of several gateways one does it. It gives how often something was done.
func (g *Guard) takeTimers(ctx context.Context, stage string, until time.Time, act func(tx *engine.Tx, v *store.Version, n node) (deed, error)) (done int, err error) {
	last := timerKey(stage, until, "~")
	var failed []error // one that fails is tried again next time, and keeps no other waiting
	for after := ""; ; {
		var due []string
		err := g.engine.View(ctx, func(tx *engine.Tx) error {
			due = nil
			found, err := tx.Reader().Records(recordTimer, stage+" ", after, timerRound)
			for _, rec := range found {
				if rec.Key <= last {
					due = append(due, rec.Key)
				}
			}
			return err
		})
		if err != nil || len(due) == 0 {
			return done, errors.Join(append(failed, err)...)
		}
		for _, key := range due {
			var came deed
			err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
				came, err = g.takeTimer(tx, stage, key, act)
				return err
			})
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if after = key; err != nil {
				failed = append(failed, err)
			} else if came.done {
				done++
			}
		}
	}
}

// A deed is what came of a timer that was due.
type deed struct {
	done  bool
	later time.Time // when to come back; zero: never
}

func (g *Guard) takeTimer(tx *engine.Tx, stage, key string, act func(*engine.Tx, *store.Version, node) (deed, error)) (came deed, err error) {
	if _, err := tx.Reader().Record(recordTimer, key); err == store.ErrNotFound {
		return came, nil // another gateway was here
	} else if err != nil {
		return came, err
	}
	if err := tx.Writer().DeleteRecord(recordTimer, key); err != nil {
		return came, err
	}
	id := key[strings.LastIndexByte(key, ' ')+1:]
	v, n, err := live(tx, "Consent/"+id)
	if err != nil || v == nil {
		return came, err
	}
	came, err = act(tx, v, n)
	if again := timerKey(stage, came.later, id); err == nil && !came.later.IsZero() && again > key {
		return came, tx.Writer().PutRecord(&store.Record{Kind: recordTimer, Key: again})
	}
	return came, err
}

// Lapse ends the requests that nobody answered in time and returns how many; the
// sweeper calls it.
func (g *Guard) Lapse(ctx context.Context) (int, error) {
	gateway := Caller{Grant: smart.Grant{ClientID: "gateway", ClientName: "Gateway", Identity: smart.Identity{Role: smart.System}}}
	return g.takeTimers(ctx, timerLapse, g.now(), func(tx *engine.Tx, _ *store.Version, n node) (deed, error) {
		if n.str("status") != "proposed" {
			return deed{}, nil
		}
		if by := g.answerBy(n); tx.Now().Before(by) {
			return deed{later: by}, nil
		}
		_, err := g.move(tx, gateway, answer{action: "lapse", to: "inactive", done: "lapse"}, n, Narrowing{}, "", nil)
		return deed{done: true}, err
	})
}

// Remind reminds families, once, of the requests that lapse soon; the sweeper
// calls it.
func (g *Guard) Remind(ctx context.Context) error {
	ahead := g.policy.RemindBefore
	_, err := g.takeTimers(ctx, timerReminder, g.now().Add(ahead), func(tx *engine.Tx, v *store.Version, n node) (deed, error) {
		by := g.answerBy(n)
		switch {
		case n.str("status") != "proposed" || !tx.Now().Before(by):
			return deed{}, nil
		case tx.Now().Add(ahead).Before(by):
			return deed{later: by}, nil
		}
		return deed{}, g.tellFamily(tx, noticeReminder, relativeTo(g.base, n.ref("patient")), v.Key.String())
	})
	return err
}

// WarnOfEnds tells providers and families, once, of accesses that end soon, and
// families of invitations that do; the sweeper calls it. Of one that was given for
// no longer than the warning would come ahead nobody is told.
func (g *Guard) WarnOfEnds(ctx context.Context) error {
	ahead := g.policy.WarnBefore
	soon := func(tx *engine.Tx, n node, end time.Time) bool {
		given, _, ok := dateSpan(n.str("dateTime"), g.zone)
		return tx.Now().Before(end) && !(ok && !end.After(given.Add(ahead)))
	}
	_, err := g.takeTimers(ctx, timerEnding, g.now().Add(ahead), func(tx *engine.Tx, v *store.Version, n node) (deed, error) {
		if n.str("status") != "active" || !soon(tx, n, g.until(n)) {
			return deed{}, nil
		}
		patient := relativeTo(g.base, n.ref("patient"))
		if provider := g.providerOf(n); provider != "" {
			if err := g.notify(tx, patient, noticeEnding, provider); err != nil {
				return deed{}, err
			}
		}
		return deed{}, g.tellFamily(tx, noticeFamilyEnding, patient, v.Key.String())
	})
	if err != nil {
		return err
	}
	_, err = g.takeTimers(ctx, timerInvitation, g.now().Add(ahead), func(tx *engine.Tx, v *store.Version, n node) (deed, error) {
		end, _ := g.rules.invitationEnd(n)
		if n.str("status") != "draft" || !soon(tx, n, end) {
			return deed{}, nil
		}
		return deed{}, g.tellFamily(tx, noticeInvitationEnding, relativeTo(g.base, n.ref("patient")), v.Key.String())
	})
	return err
}
