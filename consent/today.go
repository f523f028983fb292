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

// accountEpoch is the epoch of what an account stands for.
func accountEpoch(id string) string { return "account/" + id }

// said is all that a grant takes over from an account, to tell a change by.
func (a *Account) said() string {
	parts := []string{a.Name, a.Email}
	for _, l := range a.Links {
		parts = append(parts, string(l.Role)+" "+l.Person)
	}
	return strings.Join(parts, "\x00")
}

// Today tells what a person is now who acted in an identity before: the name and
// the people that the account stands for in that role. ok is false when it holds
// the role no more. Tokens live long and say who the person was when they were
// given; every use of one goes through here first, so that a link that was taken
// away is gone for the next request, on every node. An identity without a login,
// of a backend service, is as it is.
func (g *Guard) Today(ctx context.Context, id smart.Identity) (now smart.Identity, ok bool, err error) {
	if id.Login == "" {
		return id, true, nil
	}
	var a *Account
	err = g.engine.View(ctx, func(tx *engine.Tx) error {
		a, err = g.accounts.get(tx, id.Login, func() (*Account, []string, time.Time, error) {
			a, err := readAccount(tx.Reader(), id.Login)
			if err == store.ErrNotFound {
				a, err = nil, nil
			}
			return a, []string{accountEpoch(id.Login)}, time.Time{}, err
		})
		return err
	})
	if err != nil || a == nil {
		return smart.Identity{}, false, err
	}
	now = smart.Identity{Login: id.Login, Name: a.Name, Role: id.Role, FHIRUser: id.FHIRUser}
	for _, l := range a.Links {
		if l.Role == id.Role {
			now.Persons = append(now.Persons, l.Person)
		}
	}
	if len(now.Persons) == 0 {
		return smart.Identity{}, false, nil
	}
	if !slices.Contains(now.Persons, now.FHIRUser) {
		now.FHIRUser = now.Persons[0]
	}
	return now, true, nil
}

// UnlinkAccount takes links away from an account: who it no longer stands for, it
// cannot act as from the next request on. Links that it does not have are no
// error.
func (g *Guard) UnlinkAccount(ctx context.Context, id string, links ...Link) (*Account, error) {
	var a *Account
	err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
		a, err = readAccount(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		return a.unlink(tx.Writer(), links...)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// unlink takes links away, and tells all nodes.
func (a *Account) unlink(w store.Writer, links ...Link) error {
	a.Links = slices.DeleteFunc(a.Links, func(l Link) bool { return slices.Contains(links, l) })
	for _, l := range links {
		still := slices.ContainsFunc(a.Links, func(other Link) bool { return other.Person == l.Person })
		if still {
			continue
		}
		if err := w.DeleteRecord(recordAccountOf, l.Person+" "+a.ID); err != nil {
			return err
		}
	}
	if err := a.link(w); err != nil {
		return err
	}
	return moveEpoch(w, accountEpoch(a.ID))
}
