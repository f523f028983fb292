package oracletest_test

import (
	"slices"
	"strings"
	"time"
)

// A site is what a gateway decides for itself, as far as worlds differ in it.
type site struct {
	organizations bool // those who work in an organisation on the care team are on it
	keepGrants    bool // what guardians gave goes on when the patient is of age
	joins         bool // whose patients are listed is found by joining, whoever asks

	ceiling string   // of emergencies
	never   []string // sensitivities that stay shut in emergencies
	optOuts bool     // a deny for everybody holds in emergencies
	roles   []string // that a provider must hold to open records in an emergency; none: any
}

// An emergent opened a record in an emergency, by one session or one app alone.
type emergent struct {
	caller, doctor, patient string // the caller's name, and ids
	began, ends             time.Time
	ended                   bool
	id                      string // of the session, once there is one
	record                  string // id of the Consent that tells of it
}

// A vouching is that a provider has somebody work for them.
type vouching struct {
	sponsor, nurse string // ids
	until          time.Time
	ended          bool
	id             string // of the sponsorship, once there is one
}

// practises: somebody whose Practitioner is not inactive.
func (w *world) practises(c *caller) bool {
	return !slices.ContainsFunc(w.left, func(id string) bool { return c.persons[0] == "Practitioner/"+id })
}

// treats: providers, and those who work for them.
func (c *caller) treats() bool { return c.role == "provider" || c.role == "sponsored" }

// sponsors lists those who vouch for a caller today, as callers.
func (w *world) sponsors(c *caller, now time.Time) (list []*caller) {
	if c.role != "sponsored" || !w.practises(c) {
		return nil
	}
	for _, v := range w.vouchings {
		s := &caller{name: v.sponsor, role: "provider", persons: []string{"Practitioner/" + v.sponsor}}
		if c.persons[0] == "Practitioner/"+v.nurse && !v.ended && now.Before(v.until) && w.practises(s) {
			list = append(list, s)
		}
	}
	return list
}

// vouched: sponsored staff see what their sponsor sees as PCP or on the care team,
// less what the family denies to either. Several sponsors are judged one by one.
func (w *world) vouched(c *caller, r *resource, p *patient, now time.Time) bool {
	owners := w.owners(r)
	return slices.ContainsFunc(w.sponsors(c, now), func(s *caller) bool {
		if len(owners) > 1 && slices.ContainsFunc(owners, func(o *patient) bool { return w.anyDeny(s, o, now) }) {
			return false
		}
		return w.hasBasis(s, r, p, now) && !w.deniedBy(&question{w: w, c: c, r: r, now: now, patient: p}) && !w.deniedBy(&question{w: w, c: s, r: r, now: now, patient: p})
	})
}

// deniedBy: a consent of the patient denies.
func (w *world) deniedBy(q *question) bool {
	return slices.ContainsFunc(w.consents, func(d *directive) bool { return q.says(d).deny })
}

// inEmergency: a record is open up to the site's ceiling, or as far as the family
// permits the caller for emergencies, to the session that opened it, while that
// lasts; not what the site keeps shut, nor what the family denies to this very
// person.
func (w *world) inEmergency(c *caller, r *resource, p *patient, now time.Time) bool {
	runs := slices.ContainsFunc(w.emergencies, func(e *emergent) bool {
		return e.caller == c.name && e.patient == p.id && !e.ended && now.Before(e.ends)
	})
	if !runs || !w.mayBreakGlass(c, now) || anyNamed(w.site.never, sensitive(r.labels)) {
		return false
	}
	q := &question{w: w, c: c, r: r, now: now, patient: p, urgent: true}
	return !w.deniedBy(q) && (level(r.labels) <= rank(w.site.ceiling) || slices.ContainsFunc(w.consents, func(d *directive) bool {
		return q.says(d).opens && w.givenStill(d, r, p, now)
	}))
}

// mayBreakGlass: providers who practise, in one of the roles that the site names.
func (w *world) mayBreakGlass(c *caller, now time.Time) bool {
	return c.role == "provider" && w.practises(c) && (w.site.roles == nil || slices.ContainsFunc(w.roles, func(r *employment) bool {
		return c.persons[0] == "Practitioner/"+r.practitioner && r.active != "false" && r.period.holds(now, w.zone) && slices.Contains(w.site.roles, r.code)
	}))
}

// givenStill: nobody gives away what they do not see. What guardians gave, or the
// practice on their word, ends when the patient is of age, unless the site keeps it;
// what the practice gave is not about what is restricted.
func (w *world) givenStill(d *directive, r *resource, p *patient, now time.Time) bool {
	var guardians []string
	practice := false
	for _, ref := range d.performers {
		switch {
		case ref == "Patient/"+p.id:
			return true
		case strings.HasPrefix(ref, "RelatedPerson/"):
			guardians = append(guardians, ref)
		default:
			practice = true
		}
	}
	age := w.band(p, now)
	if age == "adult" && !w.site.keepGrants {
		asked, _ := span(or(d.given, "0001"), w.zone)
		if guardians != nil || practice && w.band(p, asked) != "adult" {
			return false
		}
	}
	if guardians == nil {
		return !practice || level(r.labels) <= rank("N")
	}
	return (age == "child" || !teenConfidential(r)) && !slices.ContainsFunc(guardians, func(ref string) bool {
		return w.deniedBy(&question{w: w, c: &caller{role: "proxy", persons: []string{ref}}, r: r, now: now, patient: p})
	})
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// band is the age band of a patient; who is emancipated counts as of age.
func (w *world) band(p *patient, now time.Time) string {
	if p.emancipated != "" {
		if from, _ := span(p.emancipated, w.zone); !now.Before(from) {
			return "adult"
		}
	}
	return band(p.birth, now, w.zone)
}

// isParty: requests and invitations are for the desk and for the providers they
// name; what else the family decides is not for those who treat.
func (w *world) isParty(c *caller, d *directive, now time.Time) bool {
	if d.kind != "request" && d.kind != "invitation" || c.role == "sponsored" {
		return false
	}
	me := slices.Clone(c.persons)
	if w.practises(c) {
		me = append(me, w.members(c, now)...)
	}
	return c.role == "staff" || slices.ContainsFunc(d.root.actors, func(a actor) bool { return slices.Contains(me, a.reference) })
}

// mayAnswer: the patient, from the age on at which they may have a login, and
// guardians of one who is not of age, but for what is confidential, and if no
// custody order bars them.
func (w *world) mayAnswer(c *caller, d *directive, now time.Time) bool {
	p := w.patient(d.patient)
	if w.isSelf(c, p, now) {
		return true
	}
	return w.isGuardian(c, p, now) && (w.band(p, now) == "child" || !anyNamed([]string{"ADOL"}, sensitive(d.labels)))
}

// lives counts what has a life in a world, by its state.
func (w *world) lives() map[string]int {
	count := map[string]int{}
	for _, d := range w.consents {
		if d.kind != "" {
			count[d.kind+" "+d.status]++
		}
	}
	return count
}
