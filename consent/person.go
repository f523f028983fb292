package consent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A person is a caller as the decision sees them: everything they are.
type person struct {
	identity smart.Identity
	key      string          // fhirUser, "Practitioner/1"
	selves   []string        // the person and their active roles: what a PCP or a member is named by
	orgs     []string        // organisations where they hold an active role
	actors   map[string]bool // all of these, and care teams and groups: what a consent may name
	rests    []string        // keys of the resources that make them so
	until    time.Time       // when one of these may change by itself; zero: never
}

func (p *person) is(role smart.Role) bool { return p.identity.Role == role }

// personOf looks up everything that a caller is.
func (g *Guard) personOf(tx *engine.Tx, c Caller) (*person, error) {
	p := &person{identity: c.Identity, key: c.Identity.FHIRUser, actors: map[string]bool{}}
	for _, k := range append([]string{p.key}, c.Identity.Persons...) {
		if k != "" {
			p.actors[k] = true
		}
	}
	p.rests = []string{p.key}
	if !p.is(smart.Provider) || p.key == "" {
		return p, nil
	}
	if practises, err := isActive(tx, p.key); err != nil || !practises {
		p.actors = map[string]bool{}
		return p, err
	}
	p.until = nextMidnight(tx.Now(), g.zone)
	if err := g.addRoles(tx, p); err != nil {
		return nil, err
	}
	return p, g.addMemberships(tx, p)
}

// isActive reports whether a Practitioner is there and not marked inactive.
func isActive(tx *engine.Tx, key string) (bool, error) {
	v, tree, err := live(tx, key)
	active, given := tree["active"].(bool)
	return v != nil && (!given || active), err
}

func (g *Guard) addRoles(tx *engine.Tx, p *person) error {
	key, err := fhir.ParseKey(p.key)
	if err != nil {
		return fhir.Errorf(fhir.Forbidden, "The account stands for no provider.")
	}
	p.selves = []string{p.key}
	roles, err := findAll(tx, "PractitionerRole", search.ReferenceTerm("practitioner", key))
	if err != nil {
		return err
	}
	for _, r := range roles {
		n, err := fhir.Tree(r.Body)
		if err != nil {
			return err
		}
		role := node(n)
		p.rests = append(p.rests, r.Key.String())
		w := readPeriod(role.obj("period"), g.zone)
		p.until = earliest(p.until, tx.Now(), w.start, w.end)
		if active, given := role["active"].(bool); given && !active || !w.holds(tx.Now()) {
			continue
		}
		p.selves = append(p.selves, r.Key.String())
		p.actors[r.Key.String()] = true
		if org := relativeTo(g.base, role.obj("organization").str("reference")); org != "" {
			p.orgs = append(p.orgs, org)
			p.actors[org] = true
		}
	}
	return nil
}

// addMemberships adds the care teams and groups that a consent may name instead
// of the provider.
func (g *Guard) addMemberships(tx *engine.Tx, p *person) error {
	for _, m := range []struct {
		t     fhir.Type
		param string
	}{{"CareTeam", "participant"}, {"Group", "member"}} {
		found, err := findAll(tx, m.t, referenceIn(m.param, p.selves))
		if err != nil {
			return err
		}
		for _, v := range found {
			p.rests = append(p.rests, v.Key.String())
			var on bool
			var change time.Time
			if m.t == "CareTeam" {
				_, on, change = g.memberUntil(v, p, tx.Now())
			} else {
				on, change = g.inGroup(v, p, tx.Now())
			}
			p.until = earliest(p.until, tx.Now(), change)
			if on {
				p.actors[v.Key.String()] = true
			}
		}
	}
	return g.addOuterTeams(tx, p)
}

// addOuterTeams adds the care teams that those teams are members of.
func (g *Guard) addOuterTeams(tx *engine.Tx, p *person) error {
	inner := slices.DeleteFunc(slices.Sorted(maps.Keys(p.actors)), func(k string) bool { return !strings.HasPrefix(k, "CareTeam/") })
	for depth := 0; len(inner) > 0 && depth < maxDepth; depth++ {
		found, err := findAll(tx, "CareTeam", referenceIn("participant", inner))
		if err != nil {
			return err
		}
		inner = nil
		for _, v := range found {
			key := v.Key.String()
			if p.actors[key] {
				continue
			}
			nested, change := g.openNested(v, tx.Now())
			p.rests, p.until = append(p.rests, key), earliest(p.until, tx.Now(), change)
			if slices.ContainsFunc(nested, func(n nestedTeam) bool { return p.actors["CareTeam/"+n.id] }) {
				p.actors[key] = true
				inner = append(inner, key)
			}
		}
	}
	return nil
}

// memberUntil tells whether a provider is a member of a care team now, until
// when, and when that may next change.
func (g *Guard) memberUntil(v *store.Version, p *person, now time.Time) (until time.Time, on bool, change time.Time) {
	n, err := fhir.Tree(v.Body)
	if err != nil {
		return time.Time{}, false, time.Time{}
	}
	team := node(n)
	whole := readPeriod(team.obj("period"), g.zone)
	change = earliest(change, now, whole.start, whole.end)
	if team.str("status") != "active" || !whole.holds(now) {
		return time.Time{}, false, change
	}
	for _, m := range team.list("participant") {
		ref := relativeTo(g.base, m.ref("member"))
		if !slices.Contains(p.selves, ref) && !(g.policy.CareTeamOrganizations && slices.Contains(p.orgs, ref)) {
			continue
		}
		w := readPeriod(m.obj("period"), g.zone)
		change = earliest(change, now, w.start, w.end)
		if !w.holds(now) {
			continue
		}
		end := earliest(whole.end, time.Time{}, w.end)
		if !on || end.IsZero() || !until.IsZero() && end.After(until) {
			until = end
		}
		on = true
	}
	return until, on, change
}

// inGroup tells whether a provider is a member of a group now, and when that may
// next change.
func (g *Guard) inGroup(v *store.Version, p *person, now time.Time) (on bool, change time.Time) {
	tree, err := fhir.Tree(v.Body)
	if err != nil {
		return false, time.Time{}
	}
	group := node(tree)
	if active, given := group["active"].(bool); given && !active {
		return false, time.Time{}
	}
	for _, m := range group.list("member") {
		w := readPeriod(m.obj("period"), g.zone)
		change = earliest(change, now, w.start, w.end)
		inactive, _ := m["inactive"].(bool)
		on = on || !inactive && w.holds(now) && slices.Contains(p.selves, relativeTo(g.base, m.obj("entity").str("reference")))
	}
	return on, change
}

// earliest gives the first of the times that lies after a moment; zero when none
// does.
func earliest(best, after time.Time, times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() && t.After(after) && (best.IsZero() || t.Before(best)) {
			best = t
		}
	}
	return best
}

// findAll gives every live resource of a type that matches, in slices.
func findAll(tx *engine.Tx, t fhir.Type, where store.Expr) ([]*store.Version, error) {
	var all []*store.Version
	q := store.Query{Type: string(t), Where: where, Limit: 500}
	for {
		hits, err := tx.Reader().Search(q)
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			all = append(all, h.Version)
		}
		if len(hits) < q.Limit {
			return all, nil
		}
		q.After = hits[len(hits)-1].Position
	}
}

// referenceIn holds where a reference parameter names one of the keys.
func referenceIn(param string, keys []string) store.Expr {
	in := store.In{}
	for _, k := range keys {
		key, err := fhir.ParseKey(k)
		if err != nil {
			continue
		}
		term := search.ReferenceTerm(param, key)
		in.Name = term.Name
		in.Values = append(in.Values, term.Value)
	}
	if len(in.Values) == 0 {
		return store.None()
	}
	return in
}
