package consent

import (
	"context"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordUnchecked lists the providers who registered themselves and whom nobody has
// checked, the latest first: "time practitioner", the time running backwards.
const recordUnchecked = "provider-unchecked"

// unchecked is what is kept of one.
type unchecked struct {
	Account string    `json:"account"`
	When    time.Time `json:"when"`
	Waits   bool      `json:"waits,omitempty"` // the account is no provider before

	Verified string `json:"verified,omitempty"` // how the address is known to be theirs
}

// An UncheckedProvider is a provider who registered themself and whom nobody has
// checked.
type UncheckedProvider struct {
	ID       string // of the registration
	Provider ProviderView
	Email    string // that they gave
	Verified string // by what it is known to be theirs: VerifiedByIssuer, VerifiedByCode; "" when it is not
	Account  Account
	When     time.Time
	Waits    bool // they see nothing before they are checked
}

// admit makes an account that has just registered the provider that it says it is,
// or has it wait until it is checked.
func (g *Guard) admit(tx *engine.Tx, a *Account, practitioner fhir.Key, verified string) error {
	u := unchecked{Account: a.ID, When: tx.Now(), Waits: g.policy.CheckProviders, Verified: verified}
	key := latestFirst(tx.Now()) + " " + practitioner.ID
	if err := store.PutJSON(tx.Writer(), recordUnchecked, key, u, time.Time{}); err != nil {
		return err
	}
	if !u.Waits {
		return a.link(tx.Writer(), Link{smart.Provider, practitioner.String()})
	}
	if err := a.settle(tx.Writer()); err != nil { // it waits in this list, not in that of strangers
		return err
	}
	a.Asked = key
	return a.put(tx.Writer())
}

// maxUnchecked is how many registrations a page of the list has.
const maxUnchecked = 50

// UncheckedProviders lists, for an administrator, the providers who registered
// themselves and whom nobody has checked, the latest first; the page after one
// begins after its ID.
func (g *Guard) UncheckedProviders(ctx context.Context, c Caller, after string) ([]UncheckedProvider, error) {
	e := g.entry(c, "list-unchecked", "Practitioner")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var list []UncheckedProvider
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		list, e.Returned = nil, nil
		found, err := tx.Reader().Records(recordUnchecked, "", after, maxUnchecked)
		if err != nil {
			return err
		}
		for _, rec := range found {
			p, err := g.uncheckedProvider(tx, rec)
			if err != nil {
				return err
			}
			e.Returned = append(e.Returned, p.Provider.Key.String())
			list = append(list, *p)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return list, g.auditor.write(ctx, e)
}

func (g *Guard) uncheckedProvider(tx *engine.Tx, rec *store.Record) (*UncheckedProvider, error) {
	var u unchecked
	if err := rec.DecodeJSON(&u); err != nil {
		return nil, err
	}
	p := &UncheckedProvider{ID: rec.Key, When: u.When, Waits: u.Waits, Verified: u.Verified}
	person := practitionerOf(rec.Key)
	var err error
	if p.Provider, err = g.provider(tx, person.String()); err != nil {
		return nil, err
	}
	p.Provider.Key = person
	_, n, err := live(tx, person.String())
	if err != nil {
		return nil, err
	}
	for _, t := range n.list("telecom") {
		if t.str("system") == "email" {
			p.Email = t.str("value")
		}
	}
	a, err := readAccount(tx.Reader(), u.Account)
	if err == store.ErrNotFound {
		return p, nil
	}
	if err == nil {
		p.Account = *a
	}
	return p, err
}

// practitionerOf gives whom a registration is about.
func practitionerOf(registration string) fhir.Key {
	return fhir.Key{Type: "Practitioner", ID: registration[len(latestFirst(time.Time{}))+1:]}
}

// CheckProvider has an administrator decide on a registration: with right they say
// that the person is who they said, who is a provider from then on if they were not
// before; without it they are none any more, and the NPI can be registered again.
// how says what was checked; it is Unprocessable when it is missing. Nobody decides
// on their own registration (Forbidden); one that was decided on is a Conflict.
func (g *Guard) CheckProvider(ctx context.Context, c Caller, id string, right bool, how string) error {
	action := "check-provider"
	if !right {
		action = "refuse-provider"
	}
	e := g.entry(c, action, "Practitioner")
	if err := requireAdmin(c); err != nil {
		return g.refused(ctx, e, err)
	}
	if err := checkNote("check", how); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		rec, err := tx.Reader().Record(recordUnchecked, id)
		if err == store.ErrNotFound {
			return fhir.Errorf(fhir.Conflict, "Somebody has decided on this already.")
		}
		if err != nil {
			return err
		}
		var u unchecked
		if err := rec.DecodeJSON(&u); err != nil {
			return err
		}
		if u.Account == c.Identity.Login {
			return fhir.Errorf(fhir.Forbidden, "Your own registration is for a colleague to decide on.")
		}
		if right {
			if err := g.requireProof(tx, c); err != nil {
				return err
			}
		}
		if err := tx.Writer().DeleteRecord(recordUnchecked, id); err != nil {
			return err
		}
		person := practitionerOf(id)
		if err := g.settleProvider(tx, u, person, right); err != nil {
			return err
		}
		if err := g.tellDecided(tx, u.Account, person, right); err != nil {
			return err
		}
		if err := g.vouch(tx, c, u.Account, action, Link{smart.Provider, person.String()}, how); err != nil {
			return err
		}
		e.When, e.Detail, e.Returned = tx.Now(), u.Account, []string{person.String()}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// settleProvider brings the directory and the account in line with a decision.
func (g *Guard) settleProvider(tx *engine.Tx, u unchecked, person fhir.Key, right bool) error {
	_, n, err := live(tx, person.String())
	if err != nil {
		return err
	}
	if n != nil {
		n = without(n, "extension")
		n["active"] = right
		if !right { // whose number it is can register with it
			n = without(n, "identifier")
		}
		if _, err := g.replace(tx, n); err != nil {
			return err
		}
	}
	a, err := readAccount(tx.Reader(), u.Account)
	if err == store.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	a.Asked = ""
	link := Link{smart.Provider, person.String()}
	if !right {
		return a.unlink(tx.Writer(), link)
	}
	if u.Waits && n != nil {
		if err := a.link(tx.Writer(), link); err != nil {
			return err
		}
		return moveEpoch(tx.Writer(), accountEpoch(a.ID))
	}
	return a.put(tx.Writer())
}

// tellDecided writes to a provider what came of their registration. Who was turned
// away has no login that stands for them any more: the language is the account's.
func (g *Guard) tellDecided(tx *engine.Tx, account string, person fhir.Key, right bool) error {
	n := noticeConfirmed
	if !right {
		n = noticeTurnedAway
	}
	tag, err := languageOf(tx.Reader(), account)
	if err != nil {
		return err
	}
	c := g.communication("", n, tag)
	c["recipient"] = []any{reference(person.String())}
	_, err = g.put(tx, c, "")
	return err
}
