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

// A panel tells on whom a caller may have a basis. Whether it holds is for decide
// to say, but for those who are joined.
type panel struct {
	patients []string // decided on one by one
	joined   *joined  // those whom index terms tell all about, of a caller with very many; nil: none
}

// maxUnbounded is more than anybody has.
const maxUnbounded = 1 << 40

// maxListed is how many patients a panel lists at most: one with more is joined.
// Listing costs what the panel holds, joining what has to be stepped over to find
// a page, which is more the fewer of all patients are on it.
const maxListed = 1000

// joinedFor is how long a caller with very many patients counts as one without
// another look.
const joinedFor = time.Hour

// panel gives the patients on whom a caller may have a basis: of a provider those
// who name them as PCP, as member of a care team or in a consent; the patient
// themself; the children of a guardian.
func (g *Guard) panel(tx *engine.Tx, c Caller, p *person) (*panel, error) {
	return g.panels.get(tx, whoIs(c), func() (*panel, []string, time.Time, error) {
		until := earliest(nextMidnight(tx.Now(), g.zone), tx.Now(), p.until)
		if p.is(smart.Sponsored) {
			list, rests, err := g.sponsoredPanel(tx, p)
			return &panel{patients: list}, rests, until, err
		}
		if !p.is(smart.Provider) {
			list, rests, err := g.familyPanel(tx, p)
			return &panel{patients: list}, rests, until, err
		}
		l := &listing{g: g, tx: tx, p: p, max: g.maxListed, patients: map[string]bool{}, rests: slices.Clone(p.rests)}
		if !tx.Derived() {
			l.max = maxUnbounded
		}
		large, err := g.large.get(tx, whoIs(c), func() (bool, []string, time.Time, error) {
			err := l.all()
			return l.full(), nil, tx.Now().Add(joinedFor), err
		})
		switch {
		case err != nil:
			return nil, nil, time.Time{}, err
		case large && tx.Derived():
			return g.joinedPanel(tx, p, until)
		case !l.done: // it was small a moment ago, and is looked up because that changed
			if err := l.all(); err != nil {
				return nil, nil, time.Time{}, err
			}
		}
		if l.full() {
			return g.joinedPanel(tx, p, until)
		}
		return &panel{patients: sorted(l.patients)}, l.rests, until, nil
	})
}

// isStranger tells of a patient, without looking them up, that the caller can have no
// basis on them: the list of the caller's patients is at hand, and they are not on it.
// Nothing of this depends on whether there is such a patient, nor on how many there are.
func (g *Guard) isStranger(tx *engine.Tx, c Caller, patient string) (bool, error) {
	if g.decisions.has(about{who: whoIs(c), patient: patient}) {
		return false, nil // which says it, too
	}
	list, ok, err := g.panels.held(tx, whoIs(c))
	if !ok || err != nil || list.joined != nil {
		return false, err
	}
	if _, found := slices.BinarySearch(list.patients, patient); found {
		return false, nil
	}
	s, err := g.runningEmergency(tx, c, patient)
	return s == nil, err
}

// familyPanel lists the patients of a patient or guardian, and what that rests on.
func (g *Guard) familyPanel(tx *engine.Tx, p *person) ([]string, []string, error) {
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
				return nil, nil, err
			}
			addOwners(patients, v)
		}
	}
	return sorted(patients), append(slices.Clone(p.identity.Persons), p.key), nil
}

// sponsoredPanel lists the patients of those who vouch for a member of staff,
// however many they are, and what that rests on.
func (g *Guard) sponsoredPanel(tx *engine.Tx, p *person) ([]string, []string, error) {
	patients, rests := map[string]bool{}, slices.Clone(p.rests)
	for _, sp := range p.sponsors {
		l := &listing{g: g, tx: tx, p: sp.person, max: maxUnbounded, patients: patients}
		if err := l.all(); err != nil {
			return nil, nil, err
		}
		rests = append(rests, l.rests...)
	}
	return sorted(patients), rests, nil
}

// A listing looks up the patients of a provider, and gives up when they are too
// many.
type listing struct {
	g        *Guard
	tx       *engine.Tx
	p        *person
	max      int
	done     bool
	found    int
	patients map[string]bool
	rests    []string
}

// full reports that there are more than the panel is to list.
func (l *listing) full() bool { return l.found > l.max }

func (l *listing) all() error {
	l.done = true
	for _, k := range l.p.names() {
		l.rests = append(l.rests, panelEpoch(k))
	}
	actors := l.p.names()
	for _, step := range []func() error{
		func() error { return l.add("Patient", referenceIn("general-practitioner", l.p.withOrgs()), nil) },
		func() error { return l.teams(&actors) },
		func() error { return l.groups(&actors) },
		func() error {
			return l.add("Consent", store.And{store.In{Name: termActors, Values: actors}, rowwise(active())}, nil)
		},
	} {
		if err := step(); err != nil || l.full() {
			return err
		}
	}
	return nil
}

// add takes in whose record the resources belong to that match; each, if it is not
// nil, is given their keys.
func (l *listing) add(t fhir.Type, where store.Expr, each func(key string)) error {
	found, err := findSome(l.tx, t, where, l.max+1-l.found)
	l.found += len(found)
	for _, v := range found {
		addOwners(l.patients, v)
		if each != nil {
			each(v.Key.String())
			l.rests = append(l.rests, panelEpoch(v.Key.String()))
		}
	}
	return err
}

// teams takes in the patients of the care teams: a team inside another opens the
// patients of the outer one.
func (l *listing) teams(actors *[]string) error {
	inner := l.g.members(l.p)
	for depth := 0; len(inner) > 0 && depth <= maxDepth && !l.full(); depth++ {
		var teams []string
		err := l.add("CareTeam", store.And{referenceIn("participant", inner), rowwise(active())}, func(key string) { teams = append(teams, key) })
		if err != nil {
			return err
		}
		*actors = append(*actors, teams...)
		inner = teams
	}
	return nil
}

// groups adds the groups, which a consent may name.
func (l *listing) groups(actors *[]string) error {
	return l.add("Group", referenceIn("member", l.p.selves), func(key string) { *actors = append(*actors, key) })
}

// withOrgs are the person, their roles and their organisations: what a PCP is
// named by.
func (p *person) withOrgs() []string { return append(slices.Clone(p.selves), p.orgs...) }

// names are all that a person is, but for teams and groups.
func (p *person) names() []string {
	p.known.names.Do(func() { p.known.list = slices.Clip(sorted(p.actors)) })
	return p.known.list
}

// members are what a member of a care team is named by.
func (g *Guard) members(p *person) []string {
	if g.policy.CareTeamOrganizations {
		return p.withOrgs()
	}
	return p.selves
}

func active() store.Expr { return search.TokenTerm("status", "", "active") }

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func addOwners(patients map[string]bool, v *store.Version) {
	for o := range v.Terms.Values(store.Owner) {
		patients[string(o)] = true
	}
}
