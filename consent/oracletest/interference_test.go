package oracletest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
)

// TestNothingHiddenShows asks two worlds that differ in nothing but what the
// caller may not see, and compares every byte of the answers. The patients of a
// world refer to each other.
func TestNothingHiddenShows(t *testing.T) {
	seed, worlds := seeded(t), 3
	if long() {
		worlds = 40
	}
	for n := range worlds {
		seed := seed + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			zone, now := someTime(t, r)
			w := makeWorld(r, zone, now)
			m := &maker{r, w, now}
			callers := m.callers()
			c := callers[m.IntN(manyDoctors+manyPatients+4)]
			if m.chance(25) {
				c = callers[len(callers)-3-m.IntN(3)] // through an app
			}
			one := newGate(t, w, now)
			other := newGate(t, w.differing(m, c), now)
			for _, hidden := range w.all() {
				if reads, finds := w.may(c, hidden, now); !reads && !finds && m.chance(30) && hidden.kind != "Consent" && slices.Contains(clinical, hidden.kind) && !w.gives(hidden) {
					other.drop(hidden.ref())
				}
			}
			for _, ask := range questions(m, w) {
				var told []string
				for _, g := range []*gate{one, other} {
					told = append(told, ask.of(g, g.caller(c)))
				}
				if told[0] != told[1] {
					t.Errorf("SEED=%d: %s (%s) %s:\n%s\nbut with other things hidden\n%s", seed, c.name, c.role, ask.name, told[0], told[1])
				}
			}
		})
	}
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
		shows := func(r *resource) bool { return hidden(&other, r) != hidden(&more, r) }
		if c.role != "system" && hidden(&other, &resource{kind: "Patient", id: d.patient}) && !d.root.names(w.selves(c, m.now)) && !slices.ContainsFunc(other.all(), shows) &&
			hidden(&more, &resource{kind: "Consent", id: d.id, links: map[string][]string{"patient": {"Patient/" + d.patient}}}) {
			other.consents = more.consents
		}
	}
	return &other
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

// told is all that pages say, page by page, but for the seals of links, which are
// new each time, and the time of writing, which is that of the world.
func told(pages []*fhir.Page, err error) string {
	var b strings.Builder
	for n, page := range pages {
		total := "none"
		if page.Total != nil {
			total = fmt.Sprint(*page.Total)
		}
		fmt.Fprintf(&b, "page %d: total %s, self %s\n", n, total, page.Applied)
		for _, e := range page.Entries {
			if e.Resource != nil {
				fmt.Fprintf(&b, "%s %v/%d %v %s\n", e.Mode, e.Resource.Key, e.Resource.Version, e.Resource.Deleted, e.Resource.JSON)
			}
			b.Write(e.Outcome)
		}
		if page.Next != "" {
			next, _ := url.ParseQuery(page.Next)
			fmt.Fprintf(&b, "next of %d bytes\n", len(next.Get("_cursor")))
		}
	}
	return b.String() + said(err)
}

// said is an error as the caller is told it.
func said(err error) string {
	if err == nil {
		return ""
	}
	return fhir.KindOf(err).String() + " " + string(fhir.Outcome(err))
}

var handles = regexp.MustCompile(`"valueString":"[^"]*"`)

// questions are ways to look for what is hidden, by reading.
func questions(m *maker, w *world) []asking {
	var list []asking
	search := func(kind, query string) {
		list = append(list, asking{kind + "?" + query, func(g *gate, c consent.Caller) string {
			return handles.ReplaceAllString(told(g.search(c, kind, query)), "")
		}})
	}
	for _, kind := range kinds {
		search(kind, fmt.Sprintf("_total=accurate&_count=%d", 1+m.IntN(9)))
		search(kind, fmt.Sprintf("_sort=-_lastUpdated&_count=%d", 1+m.IntN(9)))
		search(kind, "_summary=count")
		list = append(list, asking{"history of " + kind, func(g *gate, c consent.Caller) string {
			return told(g.pages(func(v url.Values) (*fhir.Page, error) {
				return g.guard.TypeHistory(g.t.Context(), c, fhir.Type(kind), v, false)
			}, "_count=7"))
		}})
	}
	for _, j := range joins {
		search(j.from, "_include="+j.from+":"+j.param+"&_count=3")
		search(j.to, "_revinclude="+j.from+":"+j.param+"&_count=3")
		search(j.to, "_has:"+j.from+":"+j.param+":_lastUpdated=gt1999&_total=accurate")
		search(j.from, j.param+":"+j.to+"._lastUpdated=gt1999&_total=accurate")
		search(j.from, j.param+"=Patient/"+m.id("pat", manyPatients)+"&_summary=count")
	}
	for _, p := range w.patients {
		search("Patient", "identifier=MRN"+p.id)
		search("Patient", "_id="+p.id)
		search("Observation", "patient="+p.id+"&_sort=code&_total=accurate")
		search("Observation", "patient="+p.id+"&code="+m.id("c", 4)+"&_summary=count")
		list = append(list, asking{"everything of " + p.id, func(g *gate, c consent.Caller) string {
			return told(g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.Everything(g.t.Context(), c, p.id, v, false) }, "_count=9"))
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
	for _, r := range append(w.resources, &resource{kind: "Observation", id: "r1001"}, &resource{kind: "Observation", id: "absent"}) {
		key := fhir.Key{Type: fhir.Type(r.kind), ID: r.id}
		list = append(list, asking{"read " + r.ref(), func(g *gate, c consent.Caller) string {
			found, err := g.guard.Read(g.t.Context(), c, key)
			if err != nil {
				return said(err)
			}
			return string(found.JSON)
		}}, asking{"history of " + r.ref(), func(g *gate, c consent.Caller) string {
			return told(g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.History(g.t.Context(), c, key, v, false) }, ""))
		}}, asking{"validate " + r.ref(), func(g *gate, c consent.Caller) string {
			_, err := g.guard.Validate(g.t.Context(), c, consent.Validation{Type: key.Type, ID: key.ID, Mode: "delete"})
			return said(err)
		}})
	}
	whole := func(g *gate, c consent.Caller) string {
		return told(g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.SearchSystem(g.t.Context(), c, v, false) }, "_count=25&_type="+strings.Join(kinds, ",")))
	}
	return append(list, asking{"search of the system", whole}, asking{"history of the system", func(g *gate, c consent.Caller) string {
		return told(g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.SystemHistory(g.t.Context(), c, v, false) }, "_count=25"))
	}}, asking{"patients", func(g *gate, c consent.Caller) string {
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
