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

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// FuzzProvisions judges a consent of each patient of a small world, drawn from the
// numbers of the fuzzer, against resources of all kinds: never a panic, and never
// anything shown that the checker does not permit. One commit stores them all, and one
// search of each caller meets them all: what an execution takes is mostly waiting for
// those. The store works in the background, so what is covered differs from run to run,
// and to make an input smaller would take its whole time for nothing: numbers are not
// made smaller, as bytes would be.
func FuzzProvisions(f *testing.F) {
	for n := range uint64(8) {
		f.Add(n, 7*n, n*n, n<<32, ^n, n+1, n<<60, n)
	}
	now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	w := makeWorld(rand.New(rand.NewPCG(1, 1)), time.UTC, now)
	w.consents, w.resources, w.vouchings, w.related, w.site = nil, w.resources[:40], nil, nil, site{}
	guardian := &caller{name: "guardian", role: "proxy"}
	for n, p := range w.patients {
		p.birth, p.pcp = "2020-02-02", []string{"Practitioner/doc0"}
		r := &related{id: fmt.Sprint("rel", n), patient: p.id, relation: "MTH", active: "true"}
		w.related, guardian.persons = append(w.related, r), append(guardian.persons, "RelatedPerson/"+r.id)
	}
	callers := []*caller{guardian, {name: "PCP", role: "provider", persons: []string{"Practitioner/doc0"}}, {name: "another", role: "provider", persons: []string{"Practitioner/doc1"}}}
	g := newGate(f, w, now)
	f.Fuzz(func(t *testing.T, n0, n1, n2, n3, n4, n5, n6, n7 uint64) {
		g.t = t // one at a time in a process
		m := &maker{rand.New(&numbers{from: [8]uint64{n0, n1, n2, n3, n4, n5, n6, n7}}), w, now}
		bodies, ok := m.consentOfEach(g)
		if !ok {
			return
		}
		all := w.all()
		for _, c := range callers {
			who := g.caller(c)
			pages, err := g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.SearchSystem(t.Context(), who, v, false) }, "_count=1000&_type="+strings.Join(kinds, ","))
			if err != nil {
				t.Fatal(err)
			}
			found := refs(pages)
			for _, r := range all {
				if !slices.Contains(found, r.ref()) {
					continue
				}
				if _, finds := w.may(c, r, now); !finds {
					t.Errorf("the %s finds %s by\n%s", c.name, r.ref(), bodies)
				}
			}
		}
	})
}

// consentOfEach gives every patient a consent and no other; ok is false for what is
// none, or too much of one.
func (m *maker) consentOfEach(g *gate) (bodies []byte, ok bool) {
	var list []*engine.Prepared
	var consents []*directive
	for n, p := range m.w.patients {
		d := m.directive(n)
		d.patient = p.id
		body, err := json.Marshal(renderConsent(d))
		if err != nil {
			g.t.Fatal(err)
		}
		one, err := g.eng.Prepare(body)
		if err != nil {
			return nil, false
		}
		list, consents, bodies = append(list, one), append(consents, d), append(append(bodies, body...), '\n')
	}
	err := g.eng.Update(g.t.Context(), func(tx *engine.Tx) error {
		for _, p := range list {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, false
	}
	m.w.consents = consents
	return bodies, true
}

// numbers are drawn from eight, round and round; each time around they are others.
type numbers struct {
	from [8]uint64
	n    uint64
}

// Uint64 mixes a number, so that the smallest change of it reaches the high bits,
// which the maker takes (the finalizer of SplitMix64).
func (s *numbers) Uint64() uint64 {
	v := s.from[s.n%8] + (s.n/8+1)*0x9e3779b97f4a7c15
	s.n++
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}
