package engine_test

import (
	"fmt"
	"net/url"
	"sync"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// Pages that are turned while others write show each row that was there all the
// time exactly once, whatever comes, goes and moves beside it.
func TestPagingWhileWritersRun(t *testing.T) {
	w := newWorld(t)
	patient := func(id, family string, active bool) string {
		return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":%q}],"active":%v}`, id, family, active)
	}
	const steady = 40
	for i := range steady {
		w.put(patient(fmt.Sprintf("s%02d", i), fmt.Sprintf("F%d", i%7), true))
	}
	var bodies []*engine.Prepared
	for i := range 60 {
		bodies = append(bodies, w.prepare(patient(fmt.Sprintf("%cx%02d", "arz"[i%3], i%20), fmt.Sprintf("F%d", i%9), i%4 > 0)))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			p := bodies[i*7%len(bodies)]
			err := w.Update(t.Context(), func(tx *engine.Tx) error {
				if i%5 == 0 {
					_, err := tx.Delete(fhir.Key{Type: "Patient", ID: p.ID}, nil)
					if err != nil && (fhir.KindOf(err) == fhir.NotFound || fhir.KindOf(err) == fhir.Gone) {
						return nil
					}
					return err
				}
				_, _, err := tx.Update(p, nil)
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	rounds := 3
	if long() {
		rounds = 60
	}
	for round := range rounds {
		for _, query := range []string{"", "_sort=family", "_sort=-family,-_id", "_sort=_lastUpdated", "active=true", "active=true&_sort=-family", "family=f&_sort=active,family"} {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			values.Set("_count", fmt.Sprint(3+round%5))
			seen := map[string]int{}
			for {
				q, err := w.Registry().Parse("Patient", values, search.Options{Base: base})
				if err != nil {
					t.Fatal(err)
				}
				var page *fhir.Page
				w.view(func(tx *engine.Tx) error { page, err = tx.Search(q, engine.Everything); return err })
				for _, e := range page.Entries {
					seen[e.Resource.ID]++
				}
				if page.Next == "" {
					break
				}
				if values, err = url.ParseQuery(page.Next); err != nil {
					t.Fatal(err)
				}
			}
			for i := range steady {
				if id := fmt.Sprintf("s%02d", i); seen[id] != 1 {
					t.Fatalf("%s: %s is there %d times", query, id, seen[id])
				}
			}
		}
	}
}
