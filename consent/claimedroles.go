package consent

import (
	"context"
	"encoding/hex"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// claimable are the roles that an issuer may give by its claims. Whom somebody
// stands for as a patient, a guardian or a provider is never an issuer's to say.
var claimable = []smart.Role{smart.Staff, smart.Admin}

// ClaimRoles brings the roles that an account has by its issuer's claims in line
// with what the issuer says now: staff, admin, both or none. Each has a
// Practitioner of its own to stand for it. Links that were made here stay as they
// are.
func (g *Guard) ClaimRoles(ctx context.Context, a *Account, roles ...smart.Role) (*Account, error) {
	for _, role := range roles {
		if !slices.Contains(claimable, role) {
			return nil, fhir.Errorf(fhir.Invalid, "An issuer can make somebody staff or an administrator, nothing else.")
		}
	}
	if given, taken := g.claimed(a, roles); len(given)+len(taken) == 0 {
		return a, nil
	}
	var changed *Account
	err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
		if changed, err = readAccount(tx.Reader(), a.ID); err != nil {
			return err
		}
		given, taken := g.claimed(changed, roles)
		for _, l := range taken {
			changed.Links = slices.DeleteFunc(changed.Links, func(held Link) bool { return held == l })
			if err := tx.Writer().DeleteRecord(recordAccountOf, l.Person+" "+a.ID); err != nil {
				return err
			}
		}
		for _, l := range given {
			if err := g.standIn(tx, l.Person); err != nil {
				return err
			}
		}
		if err := changed.link(tx.Writer(), given...); err != nil {
			return err
		}
		return g.auditRoles(tx, changed, append(given, taken...))
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// claimed compares what an account has by claims with what it should have.
func (g *Guard) claimed(a *Account, roles []smart.Role) (given, taken []Link) {
	for _, role := range claimable {
		l := Link{Role: role, Person: "Practitioner/claimed-" + string(role) + "-" + hex.EncodeToString(g.hash("claimed", a.ID)[:12])}
		has, should := slices.Contains(a.Links, l), slices.Contains(roles, role)
		if should && !has {
			given = append(given, l)
		}
		if has && !should {
			taken = append(taken, l)
		}
	}
	return given, taken
}

// standIn makes the Practitioner that stands for a role, unless it is there.
func (g *Guard) standIn(tx *engine.Tx, person string) error {
	key, err := fhir.ParseKey(person)
	if err != nil {
		return err
	}
	if _, err := tx.Read(key, engine.Everything); fhir.KindOf(err) != fhir.NotFound {
		return err // there already, nil among them
	}
	_, err = g.replace(tx, node{"resourceType": "Practitioner", "id": key.ID, "active": true})
	return err
}

func (g *Guard) auditRoles(tx *engine.Tx, a *Account, links []Link) error {
	c := Caller{Grant: smart.Grant{ClientID: PortalClient, ClientName: "Portal", Identity: smart.Identity{Login: a.ID, Name: a.Name}}}
	e := g.entry(c, "roles", "Practitioner")
	for _, l := range links {
		e.Returned = append(e.Returned, l.Person)
	}
	return file(tx, e)
}
