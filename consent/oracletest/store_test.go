package oracletest_test

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"time"

	"mypatients/consent"
	"mypatients/consent/emergency"
	"mypatients/consent/sponsor"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// grant is the id of what a caller acts with.
func (c *caller) grant() string {
	if c.scopes == nil {
		return "session-" + c.name
	}
	return "grant-" + c.name
}

// live gives the people of a world their logins, and stores its emergencies and
// sponsorships as they are found.
func (g *gate) live(w *world) {
	g.t.Helper()
	g.login = map[string]string{}
	link := func(name string, role smart.Role, persons ...string) {
		var links []consent.Link
		for _, p := range persons {
			links = append(links, consent.Link{Role: role, Person: p})
		}
		a, err := g.guard.LinkAccount(g.t.Context(), "https://idp.test", name, name, name+"@example.org", links...)
		if err != nil {
			g.t.Fatal(err)
		}
		g.login[name] = a.ID
	}
	for _, id := range w.practitioners {
		link(id, smart.Provider, "Practitioner/"+id)
	}
	for _, id := range w.nurses {
		link(id, smart.Sponsored, "Practitioner/"+id)
	}
	for _, p := range w.patients {
		link(p.id, smart.Patient, "Patient/"+p.id)
	}
	for n := 0; n+1 < len(w.related); n += 2 {
		link(fmt.Sprintf("guard%d", n/2), smart.Proxy, "RelatedPerson/"+w.related[n].id, "RelatedPerson/"+w.related[n+1].id)
	}
	if err := g.eng.Update(g.t.Context(), func(tx *engine.Tx) error {
		for _, e := range w.emergencies {
			if err := g.beginAgain(tx, e); err != nil {
				return err
			}
		}
		for _, v := range w.vouchings {
			if err := g.vouchAgain(tx, v); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) beginAgain(tx *engine.Tx, e *emergent) error {
	grant := (&caller{name: e.caller}).grant()
	if e.caller != e.doctor {
		grant = "grant-" + e.caller
	}
	s := &emergency.Session{Login: g.login[e.doctor], Name: e.doctor, Person: "Practitioner/" + e.doctor, Grant: grant, Patient: "Patient/" + e.patient,
		Reason: "Unconscious.", Record: "Consent/" + e.record, Began: e.began, Ends: e.ends}
	if err := emergency.Begin(tx.Writer(), s); err != nil {
		return err
	}
	e.id = s.ID
	if e.ended {
		return emergency.End(tx.Writer(), s, e.ends.Add(-time.Nanosecond), emergency.ByProvider)
	}
	return nil
}

func (g *gate) vouchAgain(tx *engine.Tx, v *vouching) error {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s", v.sponsor, v.nurse, v.until)
	begun := v.until.AddDate(0, -6, 0)
	s := &sponsor.Sponsorship{Sponsor: "Practitioner/" + v.sponsor, Login: g.login[v.sponsor], Name: v.nurse, Email: v.nurse + "@example.org",
		Code: hex.EncodeToString(h.Sum(nil)), Invited: begun, Expires: begun.AddDate(0, 0, 14)}
	if err := sponsor.Offer(tx.Writer(), s); err != nil {
		return err
	}
	if err := sponsor.TakeUp(tx.Writer(), s, "Practitioner/"+v.nurse, g.login[v.nurse], begun, v.until, v.until.AddDate(0, 0, -14)); err != nil {
		return err
	}
	v.id = s.ID
	if v.ended {
		return sponsor.End(tx.Writer(), s, begun)
	}
	return nil
}

// site draws what a site decides for itself; emergencies are allowed in most.
func (m *maker) site() site {
	s := site{organizations: m.chance(30), keepGrants: m.chance(30), joins: m.chance(40)}
	if m.chance(80) {
		s.ceiling = pick(m, "N", "R", "R", "R", "V")
		s.optOuts = m.chance(30)
		if m.chance(40) {
			s.never = []string{m.sensitivity()}
		}
		if m.chance(30) {
			s.roles = []string{"er"}
		}
	}
	return s
}

// vouchings draws who works for whom, and until when.
func (m *maker) vouchings() {
	for n := range 4 {
		m.w.vouchings = append(m.w.vouchings, &vouching{sponsor: m.id("doc", manyDoctors), nurse: fmt.Sprintf("nurse%d", n%manyNurses), ended: m.chance(10),
			until: m.now.Add(time.Duration(m.IntN(5)-1) * pick(m, time.Second, time.Hour, 24*time.Hour, 31*24*time.Hour))})
	}
}

// emergencies draws who opened whose record, in the portal or by an app.
func (m *maker) emergencies(callers []*caller) {
	if m.w.site.ceiling == "" {
		return
	}
	for n := range 8 {
		c := pick(m, callers...)
		if c.role != "provider" {
			c = callers[m.IntN(manyDoctors)]
		}
		began := m.now.Add(-time.Duration(m.IntN(4)) * pick(m, time.Second, 20*time.Minute)).Truncate(time.Second)
		e := &emergent{caller: c.name, doctor: c.login, patient: m.id("pat", manyPatients), began: began, ends: began.Add(time.Hour), ended: m.chance(15), record: fmt.Sprintf("emergency%d", n)}
		for _, other := range m.w.emergencies { // one of a caller and patient is remembered
			if other.caller == e.caller && other.patient == e.patient {
				e = nil
				break
			}
		}
		if e != nil {
			m.w.emergencies = append(m.w.emergencies, e)
			m.tellOf(e)
		}
	}
}

// tellOf writes what tells the family of an emergency.
func (m *maker) tellOf(e *emergent) {
	d := &directive{id: e.record, patient: e.patient, status: "active", scope: "treatment", kind: "emergency", given: e.began.Format(time.RFC3339), root: &provision{kind: "permit",
		period: period{e.began.Format(time.RFC3339), e.ends.Format(time.RFC3339)}, purpose: []coding{{actReason, "BTG"}}, actors: []actor{{role: coding{participation, "IRCP"}, reference: "Practitioner/" + e.doctor}}}}
	if e.ended {
		d.status = "inactive"
	}
	m.w.consents = append(m.w.consents, d)
}
