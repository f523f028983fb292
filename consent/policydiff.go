package consent

import (
	"context"
	"reflect"
	"slices"

	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A ChangeKind says what another policy means for somebody.
type ChangeKind string

// The kinds of changes. A record counts as open to whom its Patient is.
const (
	ChangeOpened   ChangeKind = "opened"   // the record opens
	ChangeClosed   ChangeKind = "closed"   // the record closes
	ChangeWidened  ChangeKind = "widened"  // they see more of it
	ChangeNarrowed ChangeKind = "narrowed" // they see less of it
	ChangeOther    ChangeKind = "other"    // they see some more and some less
	ChangeBasis    ChangeKind = "basis"    // they see the same for other reasons
)

// An AccessChange is what another policy means for one person and one patient. It
// holds references and counts, and nothing that anybody is called by.
type AccessChange struct {
	Kind    ChangeKind        `json:"kind"`
	Role    smart.Role        `json:"role"`
	Person  string            `json:"person,omitempty"`  // "Practitioner/1"; empty: all who have the role
	Patient string            `json:"patient,omitempty"` // "Patient/1"; empty: all patients
	Before  []string          `json:"before,omitempty"`  // the bases: "care-team CareTeam/1"
	After   []string          `json:"after,omitempty"`
	Opens   map[fhir.Type]int `json:"opens,omitempty"`  // how many stored resources open, by type
	Closes  map[fhir.Type]int `json:"closes,omitempty"` // and how many close
	NoLogin bool              `json:"noLogin,omitempty"`
}

// A PolicyReport counts what a comparison of two policies has found.
type PolicyReport struct {
	Patients int                `json:"patients"` // looked at
	Pairs    int                `json:"pairs"`    // of a person and a patient who names them, looked at
	Affected int                `json:"affected"` // patients about whom anything changes
	Changes  map[ChangeKind]int `json:"changes"`
}

// Differs tells whether anybody would see more or less than they do.
func (r *PolicyReport) Differs() bool {
	for kind, n := range r.Changes {
		if n > 0 && kind != ChangeBasis {
			return true
		}
	}
	return false
}

// comparedAtOnce is how many patients are looked at on one snapshot.
const comparedAtOnce = 20

// ComparePolicy tells for whom another policy would open or close records, by taking
// the decisions about what is stored under both. It changes nothing but the log, in
// which it stands with the detail, and keeps no more than a few patients at a time in
// mind. It goes through the patients in slices: what is written meanwhile may be met
// or not. Those who have no login are among the people: they would see it when they
// have one. It is for commands of the program: whoever calls it has the data.
func (g *Guard) ComparePolicy(ctx context.Context, to Policy, detail string, each func(AccessChange) error) (PolicyReport, error) {
	report := PolicyReport{Changes: map[ChangeKind]int{}}
	if err := to.check(); err != nil {
		return report, err
	}
	e := g.entry(Operator(), "compare-policies", "")
	e.Detail = detail
	if err := g.auditor.write(ctx, e); err != nil {
		return report, err
	}
	c := &comparison{before: g.withPolicy(g.policy), after: g.withPolicy(to)}
	first, err := c.desk(ctx)
	if err != nil {
		return report, err
	}
	give := func(changes []AccessChange) error {
		for _, change := range changes {
			report.Changes[change.Kind]++
			if err := each(change); err != nil {
				return err
			}
		}
		return nil
	}
	if err := give(first); err != nil {
		return report, err
	}
	for after := ""; ; {
		s, err := c.slice(ctx, after)
		if err != nil {
			return report, err
		}
		if err := give(s.changes); err != nil {
			return report, err
		}
		report.Patients, report.Pairs, report.Affected = report.Patients+s.patients, report.Pairs+s.pairs, report.Affected+s.affected
		if s.patients < comparedAtOnce {
			return report, nil
		}
		after = s.last
	}
}

// withPolicy gives a guard that decides by another policy, with caches of its own
// that hold little: it is for looking only.
func (g *Guard) withPolicy(p Policy) *Guard {
	const few = 512
	return &Guard{
		engine: g.engine, rules: g.rules, now: g.now, zone: g.zone, base: g.base, key: g.key, seal: g.seal, mrnSystem: g.mrnSystem,
		policy: p, auditor: g.auditor, maxListed: g.maxListed,
		persons: newCache[who, *person](few), emergencies: newCache[string, []*emergency.Session](few), denied: g.denied,
		faults: faults{seen: map[fhir.Key]UnreadableConsent{}},
	}
}

// A comparison holds the two guards, and the types that are stored at all.
type comparison struct {
	before, after *Guard
	types         []fhir.Type
}

// desk compares what is decided without a look at the patient, and notes which types
// there are.
func (c *comparison) desk(ctx context.Context) (changes []AccessChange, err error) {
	err = c.before.engine.View(ctx, func(tx *engine.Tx) error {
		changes, c.types = nil, nil
		for _, t := range fhir.Types() {
			found, err := findSome(tx, t, store.All(), 1)
			if err != nil {
				return err
			}
			if len(found) > 0 && !isDirectory(t) {
				c.types = append(c.types, t)
			}
		}
		for _, role := range []smart.Role{smart.Staff, smart.Admin, smart.System} {
			p := &person{identity: smart.Identity{Role: role}, actors: map[string]bool{}}
			change := AccessChange{Role: role}
			if err := c.effect(tx, &change, c.before.sees(p, nil), c.after.sees(p, nil), store.All()); err != nil {
				return err
			}
			code := BasisStaff
			if role == smart.System {
				code = BasisSystem
			}
			was, is := !c.before.policy.off(code), !c.after.policy.off(code)
			if change.Kind = kindOf(was, is, &change); change.Kind != "" {
				changes = append(changes, change)
			}
		}
		return nil
	})
	return changes, err
}

// A compared slice is some patients in a row.
type compared struct {
	patients, pairs, affected int
	last                      string // where the next slice goes on
	changes                   []AccessChange
}

func (c *comparison) slice(ctx context.Context, after string) (s *compared, err error) {
	err = c.before.engine.View(ctx, func(tx *engine.Tx) error {
		s = &compared{}
		hits, err := tx.Reader().Search(store.Query{Type: "Patient", Where: store.All(), After: after, Limit: comparedAtOnce})
		if err != nil {
			return err
		}
		teamOrgs := c.before.policy.CareTeamOrganizations || c.after.policy.CareTeamOrganizations
		for _, hit := range hits {
			s.patients, s.last = s.patients+1, hit.Position
			people, err := c.before.namedBy(tx, hit.Version, teamOrgs)
			if err != nil {
				return err
			}
			known := len(s.changes)
			for _, who := range people {
				change, err := c.pair(tx, hit.Version, who)
				if err != nil {
					return err
				}
				if s.pairs++; change != nil {
					s.changes = append(s.changes, *change)
				}
			}
			if len(s.changes) > known {
				s.affected++
			}
		}
		return nil
	})
	return s, err
}

// pair compares what one person sees of one patient; nil: the same for the same
// reasons.
func (c *comparison) pair(tx *engine.Tx, patient *store.Version, who candidate) (*AccessChange, error) {
	was, opensOne, basesOne, err := c.before.looksAt(tx, patient, who)
	if err != nil {
		return nil, err
	}
	is, opensTwo, basesTwo, err := c.after.looksAt(tx, patient, who)
	if err != nil || len(basesOne)+len(basesTwo) == 0 {
		return nil, err
	}
	change := &AccessChange{Role: who.Role, Person: who.FHIRUser, Patient: patient.Key.String(), Before: basesOne, After: basesTwo}
	if err := c.effect(tx, change, opensOne, opensTwo, ownedBy(change.Patient)); err != nil {
		return nil, err
	}
	if change.Kind = kindOf(was, is, change); change.Kind == "" {
		return nil, nil
	}
	login, err := hasLogin(tx.Reader(), who.FHIRUser)
	change.NoLogin = !login
	return change, err
}

// looksAt tells whether a patient's record is open to somebody, what of each type is,
// and on which bases.
func (g *Guard) looksAt(tx *engine.Tx, patient *store.Version, who candidate) (open bool, sees func(fhir.Type) store.Expr, bases []string, err error) {
	caller := Caller{Grant: smart.Grant{ID: who.grant, Identity: who.Identity}}
	p, err := g.cachedPerson(tx, caller)
	if err != nil {
		return false, nil, nil, err
	}
	s, err := g.runningEmergency(tx, caller, patient.Key.String())
	if err != nil {
		return false, nil, nil, err
	}
	d, err := g.decideWith(tx, p, fhir.Key{Type: "Patient", ID: patient.ID}, s)
	if err != nil {
		return false, nil, nil, err
	}
	sees = g.sees(p, d)
	if open, err = store.Eval(tx.Reader(), patient, sees("Patient")); err != nil {
		return false, nil, nil, err
	}
	e := &auditEntry{} // which words bases as the log does
	e.concern(d)
	return open && d.permitted(), sees, e.Bases[d.patient], nil
}

// sees gives what a decision opens to somebody who has all scopes; nil is no
// decision.
func (g *Guard) sees(p *person, d *decision) func(fhir.Type) store.Expr {
	s := &sighting{g: g, caller: &Caller{Grant: smart.Grant{Identity: p.identity}}, person: p, now: g.now()}
	if d != nil && d.permitted() {
		s.decisions = []*decision{d}
	}
	return s.ownership
}

// effect counts what two sights of some resources differ by.
func (c *comparison) effect(tx *engine.Tx, change *AccessChange, before, after func(fhir.Type) store.Expr, whose store.Expr) error {
	count := func(counts *map[fhir.Type]int, t fhir.Type, in, notIn store.Expr) error {
		n, err := tx.Reader().Count(store.Query{Type: string(t), Where: store.And{whose, in, store.Not{Expr: notIn}}})
		if n > 0 {
			if *counts == nil {
				*counts = map[fhir.Type]int{}
			}
			(*counts)[t] = n
		}
		return err
	}
	for _, t := range c.types {
		one, two := simplify(before(t)), simplify(after(t))
		if reflect.DeepEqual(one, two) {
			continue
		}
		if err := count(&change.Opens, t, two, one); err != nil {
			return err
		}
		if err := count(&change.Closes, t, one, two); err != nil {
			return err
		}
	}
	return nil
}

// kindOf names a change; empty: there is none.
func kindOf(was, is bool, c *AccessChange) ChangeKind {
	more, less := len(c.Opens) > 0, len(c.Closes) > 0
	switch {
	case is && !was:
		return ChangeOpened
	case was && !is:
		return ChangeClosed
	case more && less:
		return ChangeOther
	case more:
		return ChangeWidened
	case less:
		return ChangeNarrowed
	case !slices.Equal(c.Before, c.After):
		return ChangeBasis
	}
	return ""
}
