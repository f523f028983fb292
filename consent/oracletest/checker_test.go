package oracletest_test

import (
	"slices"
	"strings"
	"time"
)

// directory are the types that belong to no patient.
var directory = []string{"Practitioner", "PractitionerRole", "Organization", "Location", "Medication"}

// owned lists the elements whose patients own a resource: the compartment of
// Patient, and what compartments leave out.
var owned = map[string][]string{
	"Observation": {"subject", "performer"}, "Condition": {"subject", "asserter"}, "Encounter": {"subject"},
	"MedicationRequest": {"subject"}, "Procedure": {"subject", "performer"}, "DiagnosticReport": {"subject"},
	"DocumentReference": {"subject", "author"}, "Immunization": {"patient"}, "AllergyIntolerance": {"patient", "recorder", "asserter"},
	"List": {"subject", "source"}, "Task": {"for"}, "Device": {"patient"}, "Binary": {"securityContext"}, "Group": {"member"},
	"CareTeam": {"subject", "participant"}, "RelatedPerson": {"patient"}, "Consent": {"patient"}, "Provenance": {"target"}, "Basic": {"subject", "author"},
}

// owners gives the patients whose record a resource is part of.
func (w *world) owners(r *resource) []*patient {
	if r.kind == "Patient" { // a Patient is their own, not that of one they are linked to
		return []*patient{w.patient(r.id)}
	}
	var list []*patient
	for _, p := range w.patients {
		if slices.ContainsFunc(owned[r.kind], func(e string) bool { return slices.Contains(r.links[e], "Patient/"+p.id) }) {
			list = append(list, p)
		}
	}
	return list
}

// may decides whether a caller may see a resource: read it, and find it by a
// search.
func (w *world) may(c *caller, r *resource, now time.Time) (reads, finds bool) {
	if c.scopes == nil && len(c.persons) > 0 && c.persons[0] == r.ref() { // whoever may know who they are
		return true, w.open(c, r, now)
	}
	if c.scopes == nil {
		open := w.open(c, r, now)
		return open, open
	}
	return w.scoped(c, r, now, func(s grantedScope) bool { return s.read }), w.scoped(c, r, now, func(s grantedScope) bool { return s.search })
}

// scoped is the decision under the scopes that allow an interaction (step 0). No
// scope of a person is for a backend, nor the other way round; a scope of a patient
// reaches what is the patient's in context, and what is nobody's.
func (w *world) scoped(c *caller, r *resource, now time.Time, allows func(grantedScope) bool) bool {
	covered := false
	for _, s := range c.scopes {
		if s.kind != "*" && s.kind != r.kind || !allows(s) || (s.level == "system") != (c.role == "system") {
			continue
		}
		mine := s.level != "patient" || slices.Contains(directory, r.kind) || slices.Contains(w.owners(r), w.patient(c.launch))
		covered = covered || mine && (s.code == "" || s.code == r.code.code)
	}
	return covered && w.open(c, r, now)
}

// unsettled tells of a resource that a patient shares with others and that is open
// through one of those alone: a search under a scope of the patient in context, and
// $everything of a patient, may give it or not, as they may take the decision on
// that patient only.
func (w *world) unsettled(c *caller, r *resource, p *patient, now time.Time) bool {
	return p != nil && len(w.owners(r)) > 1 && !w.opensFor(c, r, p, now)
}

// open is the decision without the scopes.
func (w *world) open(c *caller, r *resource, now time.Time) bool {
	if c.role == "system" || slices.Contains(directory, r.kind) {
		return true
	}
	if r.kind == "Consent" && (c.treats() || c.role == "staff") {
		return w.isParty(c, w.consent(r.id), now)
	}
	owners := w.owners(r)
	if len(owners) > 1 && slices.ContainsFunc(owners, func(p *patient) bool { return w.anyDeny(c, p, now) }) {
		return false
	}
	return w.mayKnowOf(c, r) && slices.ContainsFunc(owners, func(p *patient) bool {
		return w.opensFor(c, r, p, now)
	})
}

// mayKnowOf: Consents are between the family and those they name. A provider sees
// the requests and invitations that name them, staff all of those, and nobody
// a deny that is about themself, nor what is about that. What is written about any
// of them is not for those who treat.
func (w *world) mayKnowOf(c *caller, r *resource) bool {
	about := slices.Clone(r.links["target"])
	switch r.kind {
	case "Consent":
		about = []string{r.ref()}
	case "List":
		about = r.links["entry"]
	}
	return !slices.ContainsFunc(about, func(ref string) bool {
		id, isConsent := strings.CutPrefix(ref, "Consent/")
		if r.kind == "Provenance" && c.treats() {
			return isConsent
		}
		d := w.consent(id)
		return isConsent && d != nil && (r.kind == "Consent" || c.role == "proxy") && d.denies(func(a actor) bool { return slices.Contains(c.persons, a.reference) })
	})
}

// denies tells whether a deny in a Consent, at any depth, has such an actor.
func (d *directive) denies(is func(actor) bool) bool {
	root := *d.root
	if root.kind == "" && d.optOut {
		root.kind = "deny"
	}
	return root.denies(is)
}

func (n *provision) denies(is func(actor) bool) bool {
	return n.kind == "deny" && (slices.ContainsFunc(n.actors, is) || n.actors == nil && is(actor{})) ||
		slices.ContainsFunc(n.children, func(child *provision) bool { return child.denies(is) })
}

// opensFor: one owner's record is open to the caller as far as this resource.
// What only those who work in the house see, no consent of the family is about.
func (w *world) opensFor(c *caller, r *resource, p *patient, now time.Time) bool {
	r = w.asLabelled(r)
	if w.isSelf(c, p, now) || c.role == "staff" {
		return w.isSelf(c, p, now) || w.hasBasis(c, r, p, now)
	}
	if c.role == "sponsored" {
		return w.vouched(c, r, p, now)
	}
	return w.opensUsually(c, r, p, now) || w.inEmergency(c, r, p, now)
}

// opensUsually: by a basis, or a consent that names the caller, and no deny.
func (w *world) opensUsually(c *caller, r *resource, p *patient, now time.Time) bool {
	q := &question{w: w, c: c, r: r, now: now, patient: p}
	open := w.hasBasis(c, r, p, now)
	for _, d := range w.consents {
		o := q.says(d)
		if o.deny {
			return false
		}
		open = open || o.opens && c.role == "provider" && w.practises(c) && w.givenStill(d, r, p, now)
	}
	return open
}

// anyDeny: an owner denies the caller something. For what belongs to several that
// counts whatever part of their record it is about, and at whatever time.
func (w *world) anyDeny(c *caller, p *patient, now time.Time) bool {
	if c.role == "staff" {
		return false
	}
	me := w.selves(c, now)
	return slices.ContainsFunc(w.consents, func(d *directive) bool {
		return d.patient == p.id && d.status == "active" && d.denies(func(a actor) bool {
			if a.reference == "" || a.modifier || a.role.system != participation {
				return c.treats() || slices.Contains(me, a.reference)
			}
			return slices.Contains(me, a.reference)
		})
	})
}

// isSelf: the patient, from the age on at which they may have a login.
func (w *world) isSelf(c *caller, p *patient, now time.Time) bool {
	return c.role == "patient" && slices.Contains(c.persons, "Patient/"+p.id) && (w.band(p, now) == "adult" || ownLogin(p.birth, now, w.zone))
}

// hasBasis lists the bases of step 2 but those that a consent gives.
func (w *world) hasBasis(c *caller, r *resource, p *patient, now time.Time) bool {
	switch c.role {
	case "staff":
		return slices.Contains([]string{"Patient", "RelatedPerson", "CareTeam"}, r.kind)
	case "proxy":
		return w.isGuardian(c, p, now) && (w.band(p, now) == "child" || !teenConfidential(r))
	case "provider":
		return w.practises(c) && level(r.labels) <= rank("R") && (w.isPCP(c, p, now) || w.onTeam(c, p, now))
	}
	return false
}

// teenConfidential: what guardians of a teenager do not see.
func teenConfidential(r *resource) bool {
	return anyNamed([]string{"ADOL", "SEX", "STD", "SUD", "PSY", "HIV"}, sensitive(r.labels)) ||
		r.kind == "Encounter" && level(r.labels) >= rank("R")
}

func (w *world) isGuardian(c *caller, p *patient, now time.Time) bool {
	return w.band(p, now) != "adult" && slices.ContainsFunc(w.related, func(r *related) bool {
		return r.patient == p.id && slices.Contains(c.persons, "RelatedPerson/"+r.id) && r.active != "false" && r.relation != "NBOR" && r.period.holds(now, w.zone)
	})
}

// isPCP: directly, through a role, or through the practice.
func (w *world) isPCP(c *caller, p *patient, now time.Time) bool {
	return slices.ContainsFunc(w.employed(c, now), func(ref string) bool { return slices.Contains(p.pcp, ref) })
}

// onTeam: a team of the patient counts the caller among its members.
func (w *world) onTeam(c *caller, p *patient, now time.Time) bool {
	me := w.inTeams(c, now)
	return slices.ContainsFunc(w.teams, func(t *team) bool {
		return t.subject == p.id && w.counts(t, me, now, nil)
	})
}

// members is what a team or a group names a caller by.
func (w *world) members(c *caller, now time.Time) []string {
	return slices.DeleteFunc(w.employed(c, now), func(ref string) bool { return strings.HasPrefix(ref, "Organization/") })
}

// inTeams is what a team names a caller by: their organisations too, if the site
// says so.
func (w *world) inTeams(c *caller, now time.Time) []string {
	if w.site.organizations {
		return w.employed(c, now)
	}
	return w.members(c, now)
}

// counts tells whether a team, or one nested in it, has one of some as a member
// today; seen guards against cycles.
func (w *world) counts(t *team, me []string, now time.Time, seen []*team) bool {
	if slices.Contains(seen, t) || t.status != "active" || !t.period.holds(now, w.zone) {
		return false
	}
	for _, m := range t.members {
		if !m.period.holds(now, w.zone) {
			continue
		}
		if slices.Contains(me, m.reference) {
			return true
		}
		for _, inner := range w.teams {
			if m.reference == "CareTeam/"+inner.id && w.counts(inner, me, now, append(seen, t)) {
				return true
			}
		}
	}
	return false
}

// employed gives a provider, their active roles, and where they hold them.
func (w *world) employed(c *caller, now time.Time) []string {
	list := slices.Clone(c.persons)
	for _, r := range w.roles {
		if slices.Contains(c.persons, "Practitioner/"+r.practitioner) && r.active != "false" && r.period.holds(now, w.zone) {
			list = append(list, "PractitionerRole/"+r.id, "Organization/"+r.organization)
		}
	}
	return list
}

// selves is the caller and all they are.
func (w *world) selves(c *caller, now time.Time) []string {
	all, me := w.employed(c, now), w.members(c, now)
	if c.family() { // they are named themselves
		return all
	}
	for _, t := range w.teams {
		if w.counts(t, w.inTeams(c, now), now, nil) {
			all = append(all, "CareTeam/"+t.id)
		}
	}
	for _, g := range w.groups {
		if slices.ContainsFunc(g.members, func(m member) bool {
			return !m.inactive && m.period.holds(now, w.zone) && slices.Contains(me, m.reference)
		}) {
			all = append(all, "Group/"+g.id)
		}
	}
	return all
}
