package oracletest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// change lets time pass and replaces some of what decisions rest on, in the world
// and in the store: whatever the guard remembers must not matter.
func (m *maker) change(g *gate) {
	m.now = m.now.Add(time.Duration(m.IntN(4)) * pick(m, time.Second, 12*time.Hour))
	g.set(m.now)
	w := m.w
	store := func(o object) {
		body, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		g.store(body)
	}
	if n := m.IntN(len(w.patients)); m.chance(50) {
		p := *w.patients[n]
		p.pcp = []string{"Practitioner/" + m.id("doc", manyDoctors)}
		w.patients[n] = &p
		store(renderPatient(&p))
	}
	if n := m.IntN(len(w.teams)); m.chance(60) {
		w.teams[n] = m.team(n)
		store(renderTeam(w.teams[n]))
	}
	if n := m.IntN(len(w.roles)); m.chance(60) {
		w.roles[n] = m.employment(n)
		store(renderRole(w.roles[n]))
	}
	if n := m.IntN(len(w.related)); m.chance(60) {
		w.related[n] = m.related(n)
		store(renderRelated(w.related[n]))
	}
	if n := m.IntN(len(w.groups)); m.chance(60) {
		w.groups[n] = m.group(n)
		store(renderGroup(w.groups[n]))
	}
	if n := len(w.consents); m.chance(60) {
		w.consents = append(w.consents, m.directive(n))
		store(renderConsent(w.consents[n]))
	}
	if d := m.kept("", pick(m, "active", "inactive")); d != nil && m.chance(60) { // others have a life of their own
		n := slices.Index(w.consents, d)
		changed := *w.consents[n]
		changed.status = pick(m, "active", "inactive")
		w.consents[n] = &changed
		store(renderConsent(&changed))
	}
	if n := m.IntN(len(w.resources)); m.chance(60) {
		r := m.resource(n)
		r.kind, r.links = w.resources[n].kind, w.resources[n].links
		if r.code = w.resources[n].code; shapes[r.kind].when != "" {
			r.when = w.resources[n].when
		}
		r.id, r.when = fmt.Sprintf("r%d", n), w.resources[n].when
		w.resources[n] = r
		store(renderResource(r))
	}
}
