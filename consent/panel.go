package consent

import (
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// panel lists the patients on whom a caller may have a basis: of a provider
// those who name them as PCP, as member of a care team or in a consent; the
// patient themself; the children of a guardian. Whether the basis holds is for
// decide to say.
func (g *Guard) panel(tx *engine.Tx, c Caller, p *person) ([]string, error) {
	return g.panels.get(tx, callerKey(c), func() ([]string, []string, time.Time, error) {
		list, err := g.lookUpPanel(tx, p)
		return list, []string{anyEpoch}, earliest(p.until, tx.Now(), nextMidnight(tx.Now(), g.zone)), err
	})
}

func (g *Guard) lookUpPanel(tx *engine.Tx, p *person) ([]string, error) {
	patients := map[string]bool{}
	switch p.identity.Role {
	case smart.Patient:
		patients[p.key] = true
	case smart.Proxy:
		for _, ref := range append([]string{p.key}, p.identity.Persons...) {
			key, err := fhir.ParseKey(ref)
			if err != nil {
				continue
			}
			v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
			if err == store.ErrNotFound {
				continue
			}
			if err != nil {
				return nil, err
			}
			addOwners(patients, v)
		}
	case smart.Provider:
		if err := g.providerPanel(tx, p, patients); err != nil {
			return nil, err
		}
	}
	list := make([]string, 0, len(patients))
	for k := range patients {
		list = append(list, k)
	}
	slices.Sort(list)
	return list, nil
}

func (g *Guard) providerPanel(tx *engine.Tx, p *person, patients map[string]bool) error {
	selves := slices.Clone(p.selves)
	withOrgs := append(slices.Clone(p.selves), p.orgs...)
	actors := slices.Collect(func(yield func(string) bool) {
		for a := range p.actors {
			if !yield(a) {
				return
			}
		}
	})
	slices.Sort(actors)
	members := selves
	if g.policy.CareTeamOrganizations {
		members = withOrgs
	}
	active := search.TokenTerm("status", "", "active")
	teams, err := findAll(tx, "CareTeam", store.And{referenceIn("participant", members), active})
	if err != nil {
		return err
	}
	// A team inside another opens the patients of the outer one.
	inner := teams
	for depth := 0; len(inner) > 0 && depth < maxDepth; depth++ {
		var names []string
		for _, v := range inner {
			names = append(names, v.Key.String())
		}
		if inner, err = findAll(tx, "CareTeam", store.And{referenceIn("participant", names), active}); err != nil {
			return err
		}
		teams = append(teams, inner...)
	}
	for _, v := range teams {
		addOwners(patients, v)
	}
	for _, q := range []struct {
		t     fhir.Type
		where store.Expr
	}{
		{"Patient", referenceIn("general-practitioner", withOrgs)},
		{"Consent", store.And{store.In{Name: termActors, Values: actors}, active}},
	} {
		found, err := findAll(tx, q.t, q.where)
		if err != nil {
			return err
		}
		for _, v := range found {
			addOwners(patients, v)
		}
	}
	return nil
}

func addOwners(patients map[string]bool, v *store.Version) {
	for o := range v.Terms.Values(store.Owner) {
		patients[string(o)] = true
	}
}
