package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// notForOneself refuses staff and administrators a write that would open records
// to themselves in another role of theirs: as the guardian that they are, as PCP,
// or by a place in an organisation. What is so already may stay.
func (g *Guard) notForOneself(tx *engine.Tx, c Caller, key fhir.Key, terms store.Terms) error {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return nil
	}
	var named []string
	switch key.Type {
	case "RelatedPerson":
		named = []string{key.String()}
	case "Patient":
		before := map[string]bool{}
		if v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID}); err == nil {
			for ref := range v.Terms.Values("general-practitioner") {
				before[string(ref)] = true
			}
		} else if err != store.ErrNotFound {
			return err
		}
		for ref := range terms.Values("general-practitioner") {
			if !before[string(ref)] {
				named = append(named, string(ref))
			}
		}
	case "PractitionerRole":
		for ref := range terms.Values("practitioner") {
			named = append(named, string(ref))
		}
	}
	for _, ref := range named {
		if err := g.notOneself(tx, c, ref); err != nil {
			return err
		}
	}
	return nil
}

// notOneself refuses staff and administrators when the login stands for a person,
// or for who holds a role.
func (g *Guard) notOneself(tx *engine.Tx, c Caller, person string) error {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return nil
	}
	if key, err := fhir.ParseKey(person); err == nil && key.Type == "PractitionerRole" {
		_, role, err := live(tx, person)
		if err != nil {
			return err
		}
		person = relativeTo(g.base, role.ref("practitioner"))
	}
	own, err := linkedTo(tx.Reader(), person, c.Identity.Login)
	if err != nil {
		return err
	}
	if own {
		return fhir.Errorf(fhir.Forbidden, "What opens records to oneself is for a colleague to write.")
	}
	return nil
}
