package oracletest_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// FuzzProvisions judges one consent of one patient, drawn from the bytes of the
// fuzzer, against resources of all kinds: never a panic, and never anything shown
// that the checker does not permit. The store works in the background, so what is
// covered differs from run to run: give -fuzzminimizetime 1x.
func FuzzProvisions(f *testing.F) {
	for n := range 8 {
		seed := make([]byte, 64)
		for i := range seed {
			seed[i] = byte(n*7 + i*n)
		}
		f.Add(seed)
	}
	now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	w := makeWorld(rand.New(rand.NewPCG(1, 1)), time.UTC, now)
	w.consents, w.resources = nil, w.resources[:40]
	patient := w.patients[1]
	patient.birth, patient.pcp = "2020-02-02", []string{"Practitioner/doc0"}
	w.related[0] = &related{id: "rel0", patient: patient.id, relation: "MTH", active: "true"}
	g := newGate(f, w, now)
	f.Fuzz(func(t *testing.T, data []byte) {
		g.t = t // one at a time in a process
		m := &maker{rand.New(&bytesSource{data: data}), w, now}
		d := m.directive(0)
		d.patient = patient.id
		body, err := json.Marshal(renderConsent(d))
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.eng.Prepare(body)
		if err != nil {
			return // not a Consent
		}
		if err := g.eng.Update(t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err }); err != nil {
			return // too much of one
		}
		w.consents = []*directive{d}
		for _, c := range []*caller{
			{name: "PCP", role: "provider", persons: []string{"Practitioner/doc0"}}, {name: "another", role: "provider", persons: []string{"Practitioner/doc1"}},
			{name: "guardian", role: "proxy", persons: []string{"RelatedPerson/rel0"}},
		} {
			who := g.caller(c)
			pages, err := g.pages(func(v url.Values) (*fhir.Page, error) { return g.guard.SearchSystem(t.Context(), who, v, false) }, "_count=1000")
			if err != nil {
				t.Fatal(err)
			}
			found := refs(pages)
			for _, r := range w.all() {
				if _, finds := w.may(c, r, now); !finds && slices.Contains(found, r.ref()) {
					t.Errorf("the %s finds %s by\n%s", c.name, r.ref(), body)
				}
			}
		}
	})
}

// A bytesSource draws from bytes, and when they are used up from a generator that
// they seed.
type bytesSource struct {
	data []byte
	rest *rand.PCG
}

func (s *bytesSource) Uint64() uint64 {
	if len(s.data) == 0 {
		if s.rest == nil {
			s.rest = rand.NewPCG(1, 2)
		}
		return s.rest.Uint64()
	}
	n := min(8, len(s.data))
	var v uint64
	for _, b := range s.data[:n] {
		v = v<<8 | uint64(b)
	}
	// The maker takes the high bits: what a fuzzer changes must reach them.
	s.data = s.data[min(1, n):]
	return v << (8 * (8 - n))
}
