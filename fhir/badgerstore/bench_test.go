package badgerstore_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mypatients/fhir/store"
)

// An observation like those of the sample data: 25 terms, a body of 1.3 KB.
func observation(rnd *rand.Rand, id, patient int) *store.Version {
	owner := fmt.Sprintf("Patient/%06d", patient)
	day := fmt.Sprintf("20%02d-%02d-%02dT%02d:00:00.000Z", rnd.IntN(25), 1+rnd.IntN(12), 1+rnd.IntN(28), rnd.IntN(24))
	code := fmt.Sprint(10000+rnd.IntN(200), "-", rnd.IntN(9))
	encounter := fmt.Sprintf("Encounter/%032x", rnd.Uint64())
	terms := []store.Term{
		{Name: store.Owner, Value: owner},
		{Name: "_lastUpdated", Value: fmt.Sprintf("2026-03-01T12:%02d:%02d.%03dZ", rnd.IntN(60), rnd.IntN(60), rnd.IntN(1000))},
		{Name: "_profile", Value: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"},
		{Name: "category", Value: "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"},
		{Name: "category", Value: "laboratory"},
		{Name: "code", Value: "http://loinc.org|" + code},
		{Name: "code", Value: code},
		{Name: "code:text", Value: "some laboratory observation " + code},
		{Name: "combo-code", Value: "http://loinc.org|" + code},
		{Name: "combo-code", Value: code},
		{Name: "combo-value-quantity", Value: fmt.Sprintf("mg/dL|%012d", rnd.IntN(1000))},
		{Name: "date", Value: day + day},
		{Name: "encounter", Value: encounter},
		{Name: "issued", Value: day + day},
		{Name: "patient", Value: owner},
		{Name: "status", Value: "final"},
		{Name: "status", Value: "http://hl7.org/fhir/observation-status|final"},
		{Name: "subject", Value: owner},
		{Name: "value-quantity", Value: fmt.Sprintf("%012d", rnd.IntN(1000))},
		{Name: "value-quantity", Value: fmt.Sprintf("http://unitsofmeasure.org|mg/dL|%012d", rnd.IntN(1000))},
		{Name: "value-quantity", Value: fmt.Sprintf("|mg/dL|%012d", rnd.IntN(1000))},
		{Name: "performer", Value: fmt.Sprintf("Practitioner/%04d", rnd.IntN(500))},
		{Name: "identifier", Value: fmt.Sprintf("urn:uuid|%016x", rnd.Uint64())},
		{Name: "identifier", Value: fmt.Sprintf("%016x", rnd.Uint64())},
		{Name: "clinical", Value: day[:10]},
	}
	body := fmt.Appendf(nil, `{"resourceType":"Observation","id":"%d","subject":{"reference":"%s"},"code":{"coding":[{"system":"http://loinc.org","code":"%s"}]},"effectiveDateTime":"%s","encounter":{"reference":"%s"},`, id, owner, code, day, encounter)
	for len(body) < 1290 {
		body = fmt.Appendf(body, `"e%d":"%x",`, rnd.IntN(100), rnd.Uint64())
	}
	return &store.Version{
		Key: store.Key{Type: "Observation", ID: fmt.Sprintf("%016x", rnd.Uint64())}, Version: 1,
		Terms: store.NewTerms(terms), Body: append(body, '}'),
	}
}

const (
	benchOwners = 1000
	bigOwners   = 20 // these have 400 rows, the others 40
)

// fill puts the benchmark data and gives the keys of some of it.
func fill(b testing.TB, s store.Store, resources int) (keys []store.Key) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var list []*store.Version
	flush := func() {
		err := s.Update(context.Background(), func(w store.Writer) error {
			for _, v := range list {
				if err := w.PutResource(v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		list = list[:0]
	}
	for i := range resources {
		owner := i % benchOwners
		if i >= 40*benchOwners {
			owner = i % bigOwners
		}
		v := observation(rnd, i, owner)
		if i%50 == 0 {
			keys = append(keys, v.Key)
		}
		if list = append(list, v); len(list) == 300 {
			flush()
		}
	}
	flush()
	return keys
}

const benchRows = 40*benchOwners + 360*bigOwners

func openFull(b *testing.B) (store.Store, []store.Key) {
	b.Helper()
	s := openAt(b, b.TempDir())
	keys := fill(b, s, benchRows)
	b.ResetTimer()
	b.ReportAllocs()
	return s, keys
}

// BenchmarkLoad writes the benchmark data in slices of 300 resources.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		s := openAt(b, b.TempDir())
		b.ResetTimer()
		before := cpuSeconds()
		fill(b, s, benchRows)
		b.ReportMetric(benchRows/(cpuSeconds()-before), "resources/cpu-s")
		b.ReportMetric(benchRows/b.Elapsed().Seconds(), "resources/s")
		b.ReportMetric(peakMB(), "peak-MB")
	}
}

// cpuSeconds is what this process has used of all processors.
func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// peakMB is the most memory this process had, all of it.
func peakMB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb)
	return kb / 1024
}

func BenchmarkRead(b *testing.B) {
	s, keys := openFull(b)
	read := func(i int) {
		err := s.View(context.Background(), func(r store.Reader) error {
			_, err := r.Resource(keys[i%len(keys)])
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			read(i % 100)
		}
	})
	b.Run("uncached", func(b *testing.B) { // as far as the cache reaches
		b.ReportAllocs()
		rnd := rand.New(rand.NewPCG(3, 4))
		q := store.Query{Type: "Observation", Limit: 1}
		for b.Loop() {
			err := s.View(context.Background(), func(r store.Reader) error {
				q.After = store.Place{ID: fmt.Sprintf("%016x", rnd.Uint64())}.Position()
				_, err := r.Search(q)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, what := range []string{"record", "resource"} {
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprint(what, "/", writers), func(b *testing.B) {
				s := openAt(b, b.TempDir())
				rnd := rand.New(rand.NewPCG(1, 2))
				list := make([]*store.Version, 20000)
				for i := range list {
					list[i] = observation(rnd, i, i%benchOwners)
				}
				var next atomic.Int64
				value := bytes.Repeat([]byte("audit"), 40)
				b.SetParallelism((writers + 1) / 2)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						n := int(next.Add(1))
						err := s.Update(context.Background(), func(w store.Writer) error {
							if what == "record" {
								return w.PutRecord(&store.Record{Kind: "audit", Key: fmt.Sprintf("%020d", n), Value: value})
							}
							v := *list[n%len(list)]
							v.ID = fmt.Sprint(n)
							return w.PutResource(&v)
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// A page of 50 of the 400 observations of one patient.
func BenchmarkSearchOwner50(b *testing.B) {
	s, _ := openFull(b)
	owner := func(i int) store.Expr {
		return store.Equal{Name: store.Owner, Value: fmt.Sprintf("Patient/%06d", i)}
	}
	status := store.Or{store.Equal{Name: "status", Value: "final"}, store.Equal{Name: "status", Value: "amended"}}
	filter := store.And{status, store.Not{Expr: store.Equal{Name: "_security", Value: "R"}}}
	run := func(name string, q store.Query, pick func(i int) int, count bool) {
		where := q.Where
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				q.Limit = 50
				q.Where = store.And{owner(pick(i)), where, filter}
				err := s.View(context.Background(), func(r store.Reader) error {
					if count {
						_, err := r.Count(q)
						return err
					}
					hits, err := r.Search(q)
					if err == nil && len(hits) == 0 {
						err = fmt.Errorf("nothing found")
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	big := func(i int) int { return i % bigOwners }
	one := func(int) int { return 7 }
	byDate := []store.Sort{{Name: "date", Descending: true}}
	run("plain", store.Query{Type: "Observation"}, one, false)
	run("plain-20-owners", store.Query{Type: "Observation"}, big, false)
	run("sorted", store.Query{Type: "Observation", Sort: byDate}, one, false)
	run("sorted-20-owners", store.Query{Type: "Observation", Sort: byDate}, big, false)
	run("sorted-1000-owners", store.Query{Type: "Observation", Sort: byDate}, func(i int) int { return i * 7 % benchOwners }, false)
	run("category", store.Query{Type: "Observation", Where: store.Equal{Name: "category", Value: "laboratory"}, Sort: byDate}, big, false)
	run("count", store.Query{Type: "Observation"}, big, true)
}

func BenchmarkSearchEqual(b *testing.B) {
	s, _ := openFull(b)
	rnd := rand.New(rand.NewPCG(5, 6))
	for name, q := range map[string]store.Query{
		"code":           {Where: store.Equal{Name: "code", Value: "10042-3"}},
		"code-by-date":   {Where: store.Equal{Name: "code", Value: "10042-3"}, Sort: []store.Sort{{Name: "date", Descending: true}}},
		"status-by-date": {Where: store.Equal{Name: "status", Value: "final"}, Sort: []store.Sort{{Name: "date", Descending: true}}},
		"one":            {},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.Type, q.Limit = "Observation", 50
				if name == "one" {
					q.Where = store.Equal{Name: "performer", Value: fmt.Sprintf("Practitioner/%04d", rnd.IntN(500))}
					q.Limit = 1
				}
				err := s.View(context.Background(), func(r store.Reader) error {
					_, err := r.Search(q)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
