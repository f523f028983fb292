package consent

import (
	"math"
	"slices"
	"strings"
	"sync"
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
	actors   map[string]bool // all of these: what a consent may name; for care teams and groups see learn
	rests    []string        // keys of the resources that make them so
	denied   []string        // care teams and groups that they are in and that some consent denies

	deniedRests []string  // what that rests on; no decision does
	until       time.Time // when one of these may change by itself; zero: never

	sponsors []sponsorOf // of sponsored staff, those who vouch for them now

	known struct { // what follows from all that, when first asked for
		names, deny sync.Once
		list        []string
		denied      store.Expr
	}
}

// treats tells providers and those who work for them from families and desks.
func (p *person) treats() bool { return p.is(smart.Provider) || p.is(smart.Sponsored) }

func (p *person) is(role smart.Role) bool { return p.identity.Role == role }

// seesByRole tells of systems and desks that no decision about a patient is asked for
// what they see.
func seesByRole(role smart.Role) bool {
	return role == smart.System || role == smart.Staff || role == smart.Admin
}

// personOf looks up everything that a caller is.
func (g *Guard) personOf(tx *engine.Tx, c Caller) (*person, error) {
	p := &person{identity: c.Identity, key: c.Identity.FHIRUser, actors: map[string]bool{}}
	for _, k := range append([]string{p.key}, c.Identity.Persons...) {
		if k != "" {
			p.actors[k] = true
		}
	}
	p.rests = []string{p.key}
	if !p.treats() || p.key == "" {
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
	if err := g.addDenied(tx, p); err != nil || p.is(smart.Provider) {
		return p, err
	}
	return p, g.addSponsors(tx, p)
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

// learn adds the care teams and groups that a consent names to what a provider is,
// if they are in them now. Other actors are known from the beginning; of teams
// somebody may be in a hundred thousand.
func (g *Guard) learn(tx *engine.Tx, p *person, a *asker, d *decision, provision node) error {
	for _, actor := range provision.list("actor") {
		ref := relativeTo(g.base, actor.ref("reference"))
		if !isTeam(ref) || !a.known[ref] || a.actors[ref] {
			continue
		}
		m, err := g.memberOf(tx, p, ref)
		if err != nil {
			return err
		}
		if m.on {
			a.actors[ref] = true
		}
		d.rests, d.until = append(d.rests, m.rests...), earliest(d.until, tx.Now(), m.until)
	}
	for _, child := range provision.list("provision") {
		if err := g.learn(tx, p, a, d, child); err != nil {
			return err
		}
	}
	return nil
}

// isTeam tells whether a reference leads to what a provider may be a member of.
func isTeam(ref string) bool {
	return strings.HasPrefix(ref, "CareTeam/") || strings.HasPrefix(ref, "Group/")
}

// A membership tells whether somebody is in a team or group now, until when that
// may be told, and what it rests on.
type membership struct {
	on    bool
	until time.Time
	rests []string
}

// memberOf tells whether a provider is in a care team, also through one in it, or
// in a group.
func (g *Guard) memberOf(tx *engine.Tx, p *person, ref string) (membership, error) {
	v, _, err := live(tx, ref)
	if err != nil || v == nil {
		return membership{rests: []string{ref}}, err
	}
	if v.Type == "Group" {
		on, change := g.inGroup(v, p, tx.Now())
		return membership{on, change, []string{ref}}, nil
	}
	d := &decision{}
	err = g.decideCareTeam(tx, p, d, v, ref, time.Time{}, map[string]bool{}, 0)
	return membership{d.permitted(), d.until, d.rests}, err
}

// addDenied notes the care teams and groups that consents deny and that the
// provider is in.
func (g *Guard) addDenied(tx *engine.Tx, p *person) error {
	denied, err := g.deniedTeams(tx)
	if err != nil {
		return err
	}
	for _, ref := range denied {
		m, err := g.memberOf(tx, p, ref)
		if err != nil {
			return err
		}
		if m.on {
			p.denied = append(p.denied, ref)
		}
		p.deniedRests, p.until = append(p.deniedRests, m.rests...), earliest(p.until, tx.Now(), m.until)
	}
	return nil
}

// deniedTeams lists the care teams and groups that consents deny, to whomever. Few
// consents do, of all that are active.
func (g *Guard) deniedTeams(tx *engine.Tx) ([]string, error) {
	return g.denied.get(tx, "", func() ([]string, []string, time.Time, error) {
		names := store.Or{store.Prefix{Name: termDenies, Prefix: "CareTeam/"}, store.Prefix{Name: termDenies, Prefix: "Group/"}}
		found, err := findAll(tx, "Consent", store.And{rowwise(active()), names})
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		refs := map[string]bool{}
		for _, v := range found {
			for value := range v.Terms.Values(termDenies) {
				if ref := string(value); isTeam(ref) {
					refs[ref] = true
				}
			}
		}
		return sorted(refs), []string{specialEpoch}, nextMidnight(tx.Now(), g.zone), nil
	})
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
	return findSome(tx, t, where, math.MaxInt)
}

// findSome gives the first of them, up to a limit.
func findSome(tx *engine.Tx, t fhir.Type, where store.Expr, limit int) ([]*store.Version, error) {
	var all []*store.Version
	q := store.Query{Type: string(t), Where: where}
	for len(all) < limit {
		q.Limit = min(500, limit-len(all))
		hits, err := tx.Reader().Search(q)
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			all = append(all, h.Version)
		}
		if len(hits) < q.Limit {
			break
		}
		q.After = hits[len(hits)-1].Position
	}
	return all, nil
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
