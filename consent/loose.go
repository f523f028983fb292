package consent

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// recordLoose lists the accounts that stand for nobody, whoever signed in last
// first: "time id", the time running backwards.
const recordLoose = "account-loose"

// looseLife is how long after their last sign-in somebody is listed.
const looseLife = 90 * 24 * time.Hour

// A LooseAccount is somebody who has signed in and stands for nobody yet.
type LooseAccount struct {
	Account
	At string // its place in the list
}

func looseKey(a *Account) string { return latestFirst(a.Waits) + " " + a.ID }

// latestFirst writes a time so that texts of later times sort first.
func latestFirst(t time.Time) string {
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-t.UnixNano()))
}

// wait lists an account that stands for nobody, as of its latest sign-in.
func (a *Account) wait(w store.Writer, now time.Time) error {
	if err := a.settle(w); err != nil || len(a.Links) > 0 {
		return err
	}
	a.Waits = now
	return w.PutRecord(&store.Record{Kind: recordLoose, Key: looseKey(a), Expires: now.Add(looseLife)})
}

// settle takes an account off the list.
func (a *Account) settle(w store.Writer) error {
	if a.Waits.IsZero() {
		return nil
	}
	key := looseKey(a)
	a.Waits = time.Time{}
	return w.DeleteRecord(recordLoose, key)
}

// maxLoose is how many accounts a page of the list has.
const maxLoose = 50

// LooseAccounts lists, for an administrator, the accounts that stand for nobody,
// whoever signed in last first; the page after one begins after its At. They go off
// the list when they are linked, or ninety days after their last sign-in.
func (g *Guard) LooseAccounts(ctx context.Context, c Caller, after string) ([]LooseAccount, error) {
	e := g.entry(c, "find-accounts", "Practitioner")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var list []LooseAccount
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		list = nil
		found, err := tx.Reader().Records(recordLoose, "", after, maxLoose)
		if err != nil {
			return err
		}
		for _, rec := range found {
			_, id, _ := strings.Cut(rec.Key, " ")
			a, err := readAccount(tx.Reader(), id)
			if err == store.ErrNotFound {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, LooseAccount{*a, rec.Key})
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return list, g.auditor.write(ctx, e)
}
