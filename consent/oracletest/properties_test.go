package oracletest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// visible lists all that a caller finds.
func (g *gate) visible(c consent.Caller) []string {
	g.t.Helper()
	var list []string
	whole := func(v url.Values) (*fhir.Page, error) { return g.guard.SearchSystem(g.t.Context(), c, v, false) }
	if pages, err := g.pages(whole, "_count=1000&_type="+strings.Join(kinds, ",")); err == nil {
		return refs(pages)
	}
	for _, kind := range kinds { // a search of the system needs scopes for all of them
		pages, err := g.search(c, kind, "_count=1000")
		if err == nil {
			list = append(list, refs(pages)...)
		}
	}
	return list
}

// TestMonotony changes random worlds in a way whose effect has one direction only.
func TestMonotony(t *testing.T) {
	seed, worlds := seeded(t), 2
	if long() {
		worlds = 40
	}
	for n := range worlds {
		seed := seed + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			zone, now := someTime(t, r)
			w := makeWorld(r, zone, now)
			m := &maker{r, w, now}
			callers := m.callers()
			m.emergencies(callers)
			g := newGate(t, w, now)
			clinicians := callers[:manyDoctors]
			news := fmt.Sprintf("cons%d", len(w.consents)) // the change itself may show
			less := func(what string, callers []*caller, change func()) {
				before := map[string][]string{}
				for _, c := range callers {
					before[c.name] = g.visible(g.caller(c))
				}
				change()
				for _, c := range callers {
					if more := without(g.visible(g.caller(c)), append(before[c.name], "Consent/"+news)); len(more) > 0 {
						t.Errorf("SEED=%d: %s shows %s more: %v", seed, what, c.name, more)
					}
				}
			}
			less("one more deny", callers, func() {
				d := m.directive(len(w.consents))
				d.status, d.root = "active", m.denial(3)
				keep(g, renderConsent(d))
			})
			for n := range 3 {
				p := w.patients[m.IntN(len(w.patients))]
				grant := &directive{id: fmt.Sprintf("grant%d", n), patient: p.id, status: "active", scope: "patient-privacy", root: m.grant()}
				keep(g, renderConsent(grant))
				less("a narrower approval", clinicians, func() {
					m.narrow(grant.root)
					keep(g, renderConsent(grant))
				})
			}
			those := slices.DeleteFunc(slices.Clone(callers), func(c *caller) bool { return !c.treats() })
			for range 15 {
				m.ask(g, callers)
				m.answer(g, callers)
			}
			for n, end := range []func(*gate, []*caller){m.endBreakGlass, m.endStaff, m.revoke} {
				less([]string{"the end of an emergency", "the end of a sponsorship", "a revocation"}[n], those, func() {
					for range 3 {
						end(g, callers)
					}
				})
			}
			app := *callers[m.IntN(manyDoctors)]
			app.name, app.launch, app.scopes = "app", m.id("pat", manyPatients), m.scopes("patient", "user")
			wider := app
			wider.scopes = append(slices.Clone(app.scopes), m.scopes("patient", "user")...)
			for _, ref := range w.all() {
				if g.reads(g.caller(&app), ref.ref()) && !g.reads(g.caller(&wider), ref.ref()) {
					t.Errorf("SEED=%d: with %s, but not with %s, %s reads %s", seed, scopesText(app.scopes), scopesText(wider.scopes), app.persons, ref.ref())
				}
			}
			if lost := without(g.visible(g.caller(&app)), g.visible(g.caller(&wider))); len(lost) > 0 {
				t.Errorf("SEED=%d: with %s, but not with %s, %s finds %v", seed, scopesText(app.scopes), scopesText(wider.scopes), app.persons, lost)
			}
		})
	}
}

func keep(g *gate, o object) {
	g.t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.store(body)
}

// denial is a tree that nothing but denies.
func (m *maker) denial(depth int) *provision {
	n := m.provision(depth)
	n.kind = "deny"
	for i := range n.children {
		n.children[i] = m.denial(depth - 1)
	}
	return n
}

// grant is what a request may ask for.
func (m *maker) grant() *provision {
	return &provision{kind: "permit", actors: []actor{{role: coding{participation, "IRCP"}, reference: "Practitioner/" + m.id("doc", manyDoctors)}},
		period: period{start: m.now.AddDate(0, 0, -3).Format(time.RFC3339), end: m.now.AddDate(0, 1, 0).Format(time.RFC3339)},
		labels: []coding{{confidentiality, pick(m, "N", "R", "V")}}}
}

// narrow makes a grant less in one way.
func (m *maker) narrow(n *provision) {
	switch m.IntN(4) {
	case 0:
		n.period.end = m.now.Add(time.Duration(m.IntN(3)-1) * time.Second).Format(time.RFC3339)
	case 1:
		n.class = []coding{{resourceTypes, pick(m, clinical...)}}
	case 2:
		n.labels = []coding{{confidentiality, pick(m, "U", "L", "M", "N")}}
	case 3:
		n.children = []*provision{m.denial(2)}
	}
}
