package oracletest_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// act has somebody do something by the guard that opens or shuts a record, and notes
// in the world what came of it. Most of what is tried is refused, and changes
// nothing then.
func (m *maker) act(g *gate, callers []*caller) {
	acts := []func(*gate, []*caller){m.ask, m.ask, m.answer, m.answer, m.revoke, m.invite, m.breakGlass, m.endBreakGlass, m.endStaff, m.confirmStaff}
	acts[m.IntN(len(acts))](g, callers)
}

// wish is what is asked for or given: types, a ceiling, an end.
func (m *maker) wish() (n consent.Narrowing) {
	if m.chance(40) {
		for range 1 + m.IntN(3) {
			n.Classes = append(n.Classes, fhir.Type(pick(m, append(clinical, "Patient")...)))
		}
	}
	n.Label = pick(m, "", "", "N", "R", "R")
	if m.chance(50) {
		n.Until = m.now.Add(time.Duration(1+m.IntN(3)) * pick(m, time.Second, time.Hour, 24*time.Hour)).Truncate(time.Second)
	}
	return n
}

// take has a directive permit no more than is wished.
func (d *directive) take(n consent.Narrowing) {
	if !n.From.IsZero() {
		d.root.period.start = n.From.Format(time.RFC3339)
	}
	if !n.Until.IsZero() {
		d.root.period.end = n.Until.Format(time.RFC3339)
	}
	if n.Classes != nil {
		d.root.class = nil
	}
	for _, t := range n.Classes {
		d.root.class = append(d.root.class, coding{resourceTypes, string(t)})
	}
	if n.Label != "" {
		d.root.labels = []coding{{confidentiality, n.Label}}
	}
}

// permission is what requests and invitations begin with.
func (m *maker) permission(patient, kind, status string, n consent.Narrowing, confidential bool) *directive {
	d := &directive{patient: patient, kind: kind, status: status, scope: "patient-privacy", given: m.now.Format(time.RFC3339),
		root: &provision{kind: "permit", action: []coding{{consentAction, "access"}}, purpose: []coding{{actReason, "TREAT"}}}}
	d.take(n)
	if confidential {
		d.labels = []coding{{actCode, "ADOL"}}
	}
	return d
}

func (d *directive) name(provider string) {
	d.root.actors = []actor{{role: coding{participation, "IRCP"}, reference: provider}}
}

func (m *maker) ask(g *gate, callers []*caller) {
	c, p, n, confidential := callers[m.IntN(manyDoctors)], pick(m, m.w.patients...), m.wish(), m.chance(25)
	r, created, err := g.guard.RequestAccess(g.t.Context(), g.caller(c), consent.AccessRequest{Patient: "Patient/" + p.id, Narrowing: n, Confidential: confidential})
	if err != nil || !created {
		return
	}
	if confidential && m.w.band(p, m.now) == "child" {
		g.t.Errorf("%s asks for %s without their parents' knowing", c.name, p.id)
	}
	n.From = m.now
	if n.Until.IsZero() {
		n.Until = m.now.In(m.w.zone).AddDate(1, 0, 0)
	}
	d := m.permission(p.id, "request", "proposed", n, confidential && m.w.band(p, m.now) == "teen")
	d.id = r.ID
	d.name(c.persons[0])
	m.add(g, d)
}

// add notes a new consent, and what was written about it.
func (m *maker) add(g *gate, d *directive) {
	m.w.consents = append(m.w.consents, d)
	m.noted(g, d)
}

// noted notes the Provenances of a consent: they are as confidential as it is.
func (m *maker) noted(g *gate, d *directive) {
	for _, id := range g.about("Consent/" + d.id) {
		if !slices.ContainsFunc(m.w.all(), func(r *resource) bool { return r.kind == "Provenance" && r.id == id }) {
			m.w.notes = append(m.w.notes, &resource{kind: "Provenance", id: id, labels: slices.Clone(d.labels), when: period{start: m.now.Format(time.RFC3339)},
				links: map[string][]string{"target": {"Consent/" + d.id, "Patient/" + d.patient}}})
		}
	}
}

// about lists the Provenances of a resource.
func (g *gate) about(ref string) []string {
	g.t.Helper()
	return g.found("Provenance", url.Values{"target": {ref}})
}

// found lists the ids of what a search finds, behind the guard's back.
func (g *gate) found(of fhir.Type, by url.Values) (ids []string) {
	g.t.Helper()
	by.Set("_count", "100")
	q, err := g.eng.Registry().Parse(of, by, search.Options{Base: base + "/fhir"})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.eng.View(g.t.Context(), func(tx *engine.Tx) error {
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			ids = append(ids, e.Resource.ID)
		}
		return nil
	}); err != nil {
		g.t.Fatal(err)
	}
	return ids
}

// kept gives some consent that has a kind and status.
func (m *maker) kept(kind, status string) *directive {
	var list []*directive
	for _, d := range m.w.consents {
		if d.kind == kind && d.status == status {
			list = append(list, d)
		}
	}
	if list == nil {
		return nil
	}
	return pick(m, list...)
}

// replace puts a changed consent in the place of what it was.
func (m *maker) replace(g *gate, d *directive) {
	for n, was := range m.w.consents {
		if was.id == d.id {
			m.w.consents[n] = d
		}
	}
	m.noted(g, d)
}

// given is what is read of a Consent that the guard gives back.
type givenConsent struct {
	Status    string
	Performer []struct{ Reference string }
}

// relative draws one of a family, mostly one who may answer.
func (m *maker) relative(callers []*caller, d *directive) *caller {
	all := family(callers)
	if may := slices.DeleteFunc(slices.Clone(all), func(c *caller) bool { return !m.w.mayAnswer(c, d, m.now) }); len(may) > 0 && m.chance(80) {
		return pick(m, may...)
	}
	return pick(m, all...)
}

func (m *maker) answer(g *gate, callers []*caller) {
	was, n := m.kept("request", "proposed"), m.wish()
	if was == nil {
		return
	}
	c := m.relative(callers, was)
	n.Label = pick(m, "", "N")
	d, root := *was, *was.root
	d.root = &root
	var r *fhir.Resource
	var err error
	declines := m.chance(15)
	if declines {
		r, err = g.guard.Decline(g.t.Context(), g.caller(c), d.id, "", nil)
	} else {
		r, err = g.guard.Approve(g.t.Context(), g.caller(c), d.id, n, nil)
	}
	if err != nil {
		return
	}
	if !m.w.mayAnswer(c, was, m.now) {
		g.t.Errorf("%s answers a request for %s", c.name, was.patient)
	}
	var body givenConsent
	if err := json.Unmarshal(r.JSON, &body); err != nil {
		g.t.Fatal(err)
	}
	if d.agreed = slices.Clone(was.agreed); !declines {
		d.agreed = append(d.agreed, c.persons...)
	}
	if d.status = body.Status; d.status == "active" {
		d.take(n)
		d.given = m.now.Format(time.RFC3339)
		for _, p := range body.Performer {
			d.performers = append(d.performers, p.Reference)
			if !slices.Contains(d.agreed, p.Reference) {
				g.t.Errorf("%s approves as %s", c.name, p.Reference)
			}
		}
		if len(d.performers) == 0 {
			g.t.Errorf("nobody approved %s", r.JSON)
		}
	}
	m.replace(g, &d)
}

func (m *maker) revoke(g *gate, callers []*caller) {
	was := m.kept(pick(m, "request", "invitation"), "active")
	if was == nil {
		return
	}
	c := m.relative(callers, was)
	if _, err := g.guard.Revoke(g.t.Context(), g.caller(c), was.id, "", nil); err != nil {
		return
	}
	if !m.w.mayAnswer(c, was, m.now) {
		g.t.Errorf("%s revokes what %s gave", c.name, was.patient)
	}
	d := *was
	d.status = "inactive"
	m.replace(g, &d)
}

// invite has one of the family invite somebody, and a provider redeem it.
func (m *maker) invite(g *gate, callers []*caller) {
	doctor, p, n, confidential := callers[m.IntN(manyDoctors)], pick(m, m.w.patients...), m.wish(), m.chance(20)
	c := m.relative(callers, &directive{patient: p.id})
	invited, err := g.guard.Invite(g.t.Context(), g.caller(c), p.id, consent.Invitation{Narrowing: n, Confidential: confidential})
	if err != nil {
		return
	}
	d := m.permission(p.id, "invitation", "draft", n, confidential && m.w.band(p, m.now) == "teen")
	d.id = invited.Consent.ID
	if !m.w.mayAnswer(c, d, m.now) {
		g.t.Errorf("%s invites to %s", c.name, p.id)
	}
	var body givenConsent
	if err := json.Unmarshal(invited.Consent.JSON, &body); err != nil {
		g.t.Fatal(err)
	}
	for _, p := range body.Performer {
		d.performers = append(d.performers, p.Reference)
	}
	m.add(g, d)
	if _, err := g.guard.Redeem(g.t.Context(), g.caller(doctor), strings.ToLower(invited.Token), "MRN"+p.id, ""); err != nil {
		return
	}
	used, root := *d, *d.root
	used.root, used.status = &root, "active"
	if root.period.end == "" {
		root.period.end = m.now.In(m.w.zone).AddDate(1, 0, 0).Format(time.RFC3339)
	}
	used.name(doctor.persons[0])
	m.replace(g, &used)
}

func (m *maker) breakGlass(g *gate, callers []*caller) {
	c, p := callers[m.IntN(manyDoctors)], pick(m, m.w.patients...)
	patient := "Patient/" + p.id
	if found, err := g.guard.Select(g.t.Context(), g.caller(c), consent.Selection{MRN: "MRN" + p.id}); err == nil && len(found.Outcomes) == 1 {
		patient = found.Outcomes[0].Emergency
	}
	v, begun, err := g.guard.BreakGlass(g.t.Context(), g.caller(c), consent.Emergency{Patient: patient, Purpose: "BTG", Reason: "Unconscious."})
	if err != nil || !begun {
		return
	}
	if m.w.site.ceiling == "" || !m.w.mayBreakGlass(c, m.now) {
		g.t.Errorf("%s opens %s in an emergency", c.name, p.id)
	}
	m.w.emergencies = slices.DeleteFunc(m.w.emergencies, func(e *emergent) bool { return e.caller == c.name && e.patient == p.id })
	e := &emergent{caller: c.name, doctor: c.login, patient: p.id, began: m.now, ends: m.now.Add(time.Hour), id: v.ID}
	for _, id := range g.emergencyConsents(p.id) {
		if m.w.consent(id) == nil {
			e.record = id
		}
	}
	m.w.emergencies = append(m.w.emergencies, e)
	m.tellOf(e)
	d := m.w.consent(e.record)
	if m.w.band(p, m.now) == "teen" { // the reason may tell what guardians are not to know
		d = &directive{id: d.id, patient: p.id, labels: []coding{{actCode, "ADOL"}}}
	}
	m.noted(g, d)
}

// emergencyConsents lists what tells of emergencies.
func (g *gate) emergencyConsents(patient string) []string {
	g.t.Helper()
	return g.found("Consent", url.Values{"patient": {patient}, "category": {base + "/fhir/CodeSystem/workflow|emergency"}})
}

func (m *maker) endBreakGlass(g *gate, callers []*caller) {
	for n, e := range m.w.emergencies {
		i := slices.IndexFunc(callers, func(c *caller) bool { return c.name == e.caller })
		if i < 0 || g.guard.EndBreakGlass(g.t.Context(), g.caller(callers[i]), e.patient) != nil {
			continue
		}
		changed := *e
		changed.ended = true
		m.w.emergencies[n] = &changed
		d := *m.w.consent(e.record)
		d.status = "inactive"
		m.replace(g, &d)
		return
	}
}

func (m *maker) endStaff(g *gate, callers []*caller) { m.settle(g, callers, true) }

func (m *maker) confirmStaff(g *gate, callers []*caller) { m.settle(g, callers, false) }

// settle ends a sponsorship or confirms it for half a year.
func (m *maker) settle(g *gate, callers []*caller, end bool) {
	n := m.IntN(len(m.w.vouchings))
	v := *m.w.vouchings[n]
	c := callers[slices.IndexFunc(callers, func(c *caller) bool { return c.name == v.sponsor })]
	if end {
		if m.chance(50) {
			c = callers[slices.IndexFunc(callers, func(c *caller) bool { return c.name == v.nurse })]
		}
		if g.guard.EndStaff(g.t.Context(), g.caller(c), v.id) != nil {
			return
		}
		v.ended = true
	} else {
		if g.guard.ConfirmStaff(g.t.Context(), g.caller(c), v.id) != nil {
			return
		}
		v.until = sixMonths(m.now.In(m.w.zone))
	}
	m.w.vouchings[n] = &v
}

// sixMonths later it is the same local time; the day is clamped to the end of the
// month.
func sixMonths(t time.Time) time.Time {
	last := time.Date(t.Year(), t.Month()+7, 0, 0, 0, 0, 0, t.Location()).Day()
	return time.Date(t.Year(), t.Month()+6, min(t.Day(), last), t.Hour(), t.Minute(), t.Second(), 0, t.Location())
}
