package oracletest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// pair makes two gates whose worlds differ in nothing but what a caller may not see;
// the patients of a world refer to each other.
func (m *maker) pair(t *testing.T, c *caller) ([]*gate, *world) {
	t.Helper()
	differing := m.w.differing(m, c)
	one, other := newGate(t, m.w, m.now), newGate(t, differing, m.now)
	for _, hidden := range m.w.all() {
		if reads, finds := m.w.may(c, hidden, m.now); !reads && !finds && m.chance(30) && slices.Contains(clinical, hidden.kind) && !m.w.gives(hidden) {
			other.drop(hidden.ref())
		}
	}
	return []*gate{one, other}, differing
}

// gives tells whether others take labels over from a resource: who may see those
// learns from theirs what it is about, as is meant.
func (w *world) gives(r *resource) bool {
	return slices.ContainsFunc(w.resources, func(other *resource) bool { return slices.Contains(w.givers(other), r) })
}

// differing is the world with what a caller may not see changed: clinical
// resources get other content, labels, times; more of them are added, and
// directives, about others, of patients whom the caller does not see.
func (w *world) differing(m *maker, c *caller) *world {
	other := *w
	other.resources, other.consents = nil, slices.Clone(w.consents)
	hidden := func(in *world, r *resource) bool {
		reads, finds := in.may(c, r, m.now)
		return !reads && !finds
	}
	for _, r := range w.resources {
		if hidden(w, r) && slices.Contains(clinical, r.kind) && !w.gives(r) {
			changed := *r
			changed.labels = append(slices.Clone(r.labels), m.labels(80)...)
			changed.code.code = ""
			if r.code.code != "" {
				changed.code.code = m.id("c", 4)
			}
			if !hidden(w, &changed) {
				changed = *r
			}
			r = &changed
		}
		other.resources = append(other.resources, r)
	}
	for n := range 40 {
		if r := m.resource(1000 + n); hidden(w, r) {
			other.resources = append(other.resources, r)
		}
	}
	for n := range 10 {
		d := m.directive(100 + n)
		more := other
		more.consents = append(slices.Clone(other.consents), d)
		if c.role != "system" && hidden(&other, &resource{kind: "Patient", id: d.patient}) && !d.root.names(w.selves(c, m.now)) && !d.denies(w.mayBeFamily) && other.sameFor(c, &more, m.now) &&
			hidden(&more, &resource{kind: "Consent", id: d.id, links: map[string][]string{"patient": {"Patient/" + d.patient}}}) {
			other.consents = more.consents
		}
	}
	other.others(m, c)
	return &other
}

// mayBeFamily: an actor who is, or may be, a patient or guardian. Denied anything they
// have no say, and whether anybody has one is what Patient Selection tells.
func (w *world) mayBeFamily(a actor) bool {
	treats := slices.ContainsFunc([]string{"Practitioner", "Organization/", "CareTeam/", "Group/"}, func(kind string) bool { return strings.HasPrefix(a.reference, kind) })
	return a != (actor{}) && (!treats || a.modifier || a.role.system != participation || !w.exists(a.reference))
}

// sameFor tells whether a caller is shown the same of what is in both worlds.
func (w *world) sameFor(c *caller, other *world, now time.Time) bool {
	return !slices.ContainsFunc(w.all(), func(r *resource) bool {
		reads, finds := w.may(c, r, now)
		alsoReads, alsoFinds := other.may(c, r, now)
		return reads != alsoReads || finds != alsoFinds
	})
}

// others changes what others are to patients whom the caller does not see: who
// treats them, who opened their records in an emergency, who works for whom.
func (w *world) others(m *maker, c *caller) {
	was := *w
	for n, p := range w.patients {
		if reads, finds := was.may(c, &resource{kind: "Patient", id: p.id}, m.now); reads || finds || m.chance(40) {
			continue
		}
		changed, more := *p, *w
		changed.pcp = []string{"Practitioner/" + m.id("doc", manyDoctors)}
		more.patients = slices.Clone(w.patients)
		more.patients[n] = &changed
		if was.sameFor(c, &more, m.now) {
			w.patients = more.patients
		}
		if e := (&emergent{caller: m.id("doc", manyDoctors), patient: p.id, began: m.now, ends: m.now.Add(time.Hour), record: "more" + p.id}); w.site.ceiling != "" && e.caller != c.login && c.role != "system" && c.role != "staff" {
			e.doctor = e.caller
			w.emergencies = append(slices.Clip(w.emergencies), e)
			telling := &maker{m.Rand, w, m.now}
			w.consents = slices.Clip(w.consents)
			telling.tellOf(e)
		}
	}
	for _, nurse := range w.nurses {
		if c.login != nurse {
			w.vouchings = append(slices.Clip(w.vouchings), &vouching{sponsor: m.id("doc", manyDoctors), nurse: nurse, until: m.now.Add(time.Hour)})
		}
	}
}

// names tells whether a provision, or one in it, has one of some as an actor.
func (n *provision) names(some []string) bool {
	return slices.ContainsFunc(n.actors, func(a actor) bool { return slices.Contains(some, a.reference) }) ||
		slices.ContainsFunc(n.children, func(child *provision) bool { return child.names(some) })
}

// An asking is put to two gates.
type asking struct {
	name string
	of   func(g *gate, c consent.Caller) string
}

func (a asking) String() string { return a.name }

// said is an error as the caller is told it.
func said(err error) string {
	if err == nil {
		return ""
	}
	return fhir.KindOf(err).String() + " " + string(fhir.Outcome(err))
}

// questions are ways of the pages to look for what is hidden, beside those of REST.
func questions(w *world) []asking {
	var list []asking
	for _, p := range w.patients {
		list = append(list, asking{"select " + p.id, func(g *gate, c consent.Caller) string {
			found, err := g.guard.Select(g.t.Context(), c, consent.Selection{MRN: "MRN" + p.id})
			for n := 0; err == nil && n < len(found.Outcomes); n++ {
				found.Outcomes[n].Handle, found.Outcomes[n].Emergency = "", "" // sealed anew each time
			}
			text, _ := json.Marshal(found)
			return string(text) + said(err)
		}}, asking{"access to " + p.id, func(g *gate, c consent.Caller) string {
			report, err := g.guard.Access(g.t.Context(), c, p.id)
			text, _ := json.Marshal(report)
			return string(text) + said(err)
		}}, asking{"who looked at " + p.id, func(g *gate, c consent.Caller) string {
			looks, err := g.guard.WhoLooked(g.t.Context(), c, p.id, 1000)
			var lines []string // they have one and the same time
			for _, l := range looks {
				l.ID = "" // encrypted: it means nothing, and differs from one gateway to another
				text, _ := json.Marshal(l)
				lines = append(lines, string(text))
			}
			slices.Sort(lines)
			return strings.Join(lines, "\n") + said(err)
		}})
	}
	return append(list, asking{"patients", func(g *gate, c consent.Caller) string {
		all := ""
		for from := ""; ; {
			cards, next, err := g.guard.MyPatients(g.t.Context(), c, from)
			text, _ := json.Marshal(cards)
			if all += string(text) + said(err); next == "" {
				return all
			}
			from = next
		}
	}})
}
