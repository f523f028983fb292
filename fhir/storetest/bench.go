package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"mypatients/fhir/store"
)

// Bench measures an engine with a store of so many patients, each with 20
// observations; the cost of most of it must not depend on their number. Open
// opens an empty store and closes it in the cleanup of the benchmark.
func Bench(b *testing.B, patients int, open func(testing.TB) store.Store) {
	s := open(b)
	Fill(b, s, patients)
	warm(b, s, patients)
	rnd := rand.New(rand.NewPCG(3, 4))
	who := func() string { return patientKey(rnd.IntN(patients)) }
	for _, c := range []struct {
		name string
		do   func(store.Reader) error
	}{
		{"get", func(r store.Reader) error {
			_, err := r.Resource(store.Key{Type: "Patient", ID: who()[len("Patient/"):]})
			return err
		}},
		{"get-5", func(r store.Reader) error {
			for range 5 {
				if _, err := r.Resource(store.Key{Type: "Patient", ID: who()[len("Patient/"):]}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"search-owner", func(r store.Reader) error {
			return some(r, store.Query{Where: store.Equal{Name: store.Owner, Value: who()}, Limit: 21})
		}},
		{"search-owner-by-date", func(r store.Reader) error {
			where := store.And{store.Equal{Name: store.Owner, Value: who()}, store.Equal{Name: "status", Value: "final"}, store.Not{Expr: store.Equal{Name: "_security", Value: "R"}}}
			return some(r, store.Query{Where: where, Sort: []store.Sort{{Name: "date", Descending: true}}, Limit: 11})
		}},
		{"search-identifier", func(r store.Reader) error {
			n := rnd.IntN(patients)
			return some(r, store.Query{Where: store.Equal{Name: "identifier", Value: fmt.Sprintf("%08d-%02d", n, n%20)}, Limit: 11})
		}},
		{"search-code-page", func(r store.Reader) error {
			return some(r, store.Query{Where: store.Equal{Name: "code", Value: fmt.Sprint("c", rnd.IntN(20))}, Limit: 11})
		}},
		{"search-code-by-date", func(r store.Reader) error {
			where := store.And{store.Equal{Name: "status", Value: "final"}, store.Not{Expr: store.Equal{Name: "_security", Value: "R"}}}
			return some(r, store.Query{Where: where, Sort: []store.Sort{{Name: "date", Descending: true}}, Limit: 11})
		}},
		{"log-owner", func(r store.Reader) error {
			list, err := r.Log(store.LogQuery{Owner: who(), Limit: 10, Reverse: true})
			if err == nil && len(list) != 10 {
				err = fmt.Errorf("got %d entries", len(list))
			}
			return err
		}},
		{"record-get", func(r store.Reader) error {
			_, err := r.Record("token", fmt.Sprintf("%08d", rnd.IntN(patients)))
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.View(context.Background(), c.do); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	benchWrites(b, s, patients)
}

// warm reads all once, so that what is measured is not where the disk's cache ends.
func warm(b *testing.B, s store.Store, patients int) {
	for p := range patients {
		err := s.View(context.Background(), func(r store.Reader) error {
			return some(r, store.Query{Where: store.Equal{Name: store.Owner, Value: patientKey(p)}, Limit: 21})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func some(r store.Reader, q store.Query) error {
	q.Type = "Observation"
	hits, err := r.Search(q)
	if err == nil && len(hits) == 0 {
		err = fmt.Errorf("%+v: nothing found", q.Where)
	}
	return err
}

func benchWrites(b *testing.B, s store.Store, patients int) {
	var next atomic.Int64
	next.Store(1 << 30)
	create := func(w store.Writer) error {
		n := int(next.Add(1))
		return w.PutResource(observation(n, n%patients))
	}
	record := func(w store.Writer) error {
		n := next.Add(1)
		return w.PutRecord(&store.Record{Kind: "token", Key: fmt.Sprintf("%08d", n), Value: make([]byte, 200), Expires: clock})
	}
	for _, c := range []struct {
		name    string
		do      func(store.Writer) error
		clients int
	}{{"create", create, 1}, {"create-16", create, 16}, {"record-put", record, 1}, {"record-put-16", record, 16}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism((c.clients + 1) / 2)
			if c.clients == 1 {
				for b.Loop() {
					if err := s.Update(context.Background(), c.do); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Update(context.Background(), c.do); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func patientKey(n int) string { return fmt.Sprintf("Patient/%08x", scatter(n)) }

// scatter makes neighbours distant, as random ids are.
func scatter(n int) uint32 { return uint32(n) * 2654435761 }

// observation is like those of real records: 20 terms, a body of 1 KB.
func observation(n, patient int) *store.Version {
	owner := patientKey(patient)
	code := fmt.Sprint("c", n%20)
	day := fmt.Sprintf("20%02d-%02d-%02dT10:00:00.000Z", n%25, 1+n/25%12, 1+n/7%28)
	var terms []store.Term
	add := func(name string, values ...string) {
		for _, v := range values {
			terms = append(terms, store.Term{Name: name, Value: v})
		}
	}
	add(store.Owner, owner)
	add("patient", owner)
	add("subject", owner)
	add("status", "final", "http://hl7.org/fhir/observation-status|final")
	add("category", "laboratory", "http://terminology.hl7.org/CodeSystem/observation-category|laboratory")
	add("code", code, "http://loinc.org|"+code)
	add("code:text", "some laboratory observation "+code)
	add("combo-code", code, "http://loinc.org|"+code)
	add("date", day+day)
	add("encounter", fmt.Sprintf("Encounter/%08x", scatter(n)))
	add("identifier", fmt.Sprintf("%08d-%02d", patient, n%20), fmt.Sprintf("urn:lab|%08d-%02d", patient, n%20))
	add("performer", fmt.Sprintf("Practitioner/%04d", n%500))
	add("value-quantity", fmt.Sprintf("%012d", n%1000), fmt.Sprintf("|mg/dL|%012d", n%1000))
	add("_lastUpdated", fmt.Sprintf("2026-03-01T%012d", n))
	body := fmt.Appendf(nil, `{"resourceType":"Observation","code":%q,"subject":%q,`, code, owner)
	for i := 0; len(body) < 1000; i++ {
		body = fmt.Appendf(body, `"e%d":"%x",`, i, scatter(n+i))
	}
	return &store.Version{
		Key: store.Key{Type: "Observation", ID: fmt.Sprintf("%08x%08x", scatter(n*31+7), n)}, Version: 1, Time: clock,
		Terms: store.NewTerms(terms), Body: append(body, '}'),
	}
}

// Fill puts so many patients with 20 observations and a record each.
func Fill(t testing.TB, s store.Store, patients int) {
	t.Helper()
	const together = 20
	for from := 0; from < patients; from += together {
		err := s.Update(context.Background(), func(w store.Writer) error {
			for p := from; p < min(from+together, patients); p++ {
				key := patientKey(p)
				patient := res("Patient", key[len("Patient/"):], "_owner="+key, fmt.Sprintf("name=n%d", p%500), fmt.Sprintf("identifier=%d", p))
				if err := w.PutResource(patient); err != nil {
					return err
				}
				for i := range 20 {
					if err := w.PutResource(observation(p*20+i, p)); err != nil {
						return err
					}
				}
				if err := w.PutRecord(&store.Record{Kind: "token", Key: fmt.Sprintf("%08d", p), Value: make([]byte, 200)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
