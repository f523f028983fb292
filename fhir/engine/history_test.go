package engine_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A changing world is one of a few patients' observations and conditions and of some
// practitioners, changed at random: rows move between patients, come under a label
// that hides them and out of it, are deleted and made again.
type changing struct {
	*world
	rand *rand.Rand
}

func newChanging(t testing.TB, seed uint64) *changing {
	w := &changing{newWorld(t), rand.New(rand.NewPCG(seed, 1))}
	for p := range 4 {
		w.put(fmt.Sprintf(`{"resourceType":"Patient","id":"p%d"}`, p))
	}
	return w
}

// step makes one change, after some time.
func (w *changing) step() {
	w.wait(time.Duration(w.rand.IntN(3)) * time.Second)
	id, patient, label := w.rand.IntN(6), w.rand.IntN(4), ""
	if w.rand.IntN(3) == 0 {
		label = `"meta":{"security":[{"code":"SEX"}]},`
	}
	switch w.rand.IntN(6) {
	case 0, 1, 2:
		w.put(fmt.Sprintf(`{"resourceType":"Observation","id":"o%d",%s"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p%d"}}`, id, label, patient))
	case 3:
		w.put(fmt.Sprintf(`{"resourceType":"Condition","id":"c%d",%s"subject":{"reference":"Patient/p%d"},"asserter":{"reference":"Practitioner/d1"}}`, id, label, patient))
	case 4:
		w.put(fmt.Sprintf(`{"resourceType":"Practitioner","id":"d%d"}`, id%3))
	case 5:
		err := w.Update(w.t.Context(), func(tx *engine.Tx) error {
			_, err := tx.Delete(fhir.Key{Type: "Observation", ID: fmt.Sprint("o", id)}, nil)
			return err
		})
		if err != nil && fhir.KindOf(err) != fhir.NotFound {
			w.t.Fatal(err)
		}
	}
}

// unlabelled shows what belongs to some patients and has no label, and all
// practitioners.
func unlabelled(patients ...string) engine.Sight {
	return func(t fhir.Type) store.Expr {
		if t == "Practitioner" {
			return store.All()
		}
		return store.And{store.In{Name: store.Owner, Values: patients}, store.Not{Expr: search.TokenTerm("_security", "", "SEX")}}
	}
}

// naive gives the history that a query asks for by looking at every version.
func (w *changing) naive(q engine.HistoryQuery, types []string, sight engine.Sight) []string {
	rows := []string{}
	w.view(func(tx *engine.Tx) error {
		entries, err := tx.Reader().Log(store.LogQuery{Limit: 1 << 20, Reverse: true})
		for _, e := range entries {
			v, err := tx.Reader().ResourceVersion(e.Key, e.Version)
			if err != nil {
				return err
			}
			newest, err := tx.Reader().Resource(e.Key)
			if err != nil {
				return err
			}
			until := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
			if next, err := tx.Reader().ResourceVersion(e.Key, e.Version+1); err == nil {
				until = next.Time
			}
			if v.Deleted {
				until = v.Time.Add(1)
			}
			mine, _ := store.Eval(tx.Reader(), v, sight(fhir.Type(e.Key.Type)))
			now, _ := store.Eval(tx.Reader(), newest, sight(fhir.Type(e.Key.Type)))
			at := q.To.IsZero() || v.Time.Before(q.To) && until.After(q.From)
			if mine && now && at && !v.Time.Before(q.Since) && (types == nil || slices.Contains(types, e.Key.Type)) {
				rows = append(rows, fmt.Sprintf("%v/%d", e.Key, e.Version))
			}
		}
		return err
	})
	return rows
}

// pages gives all pages of a history, and that each but the last is full.
func (w *changing) pages(query string, sources []engine.Source, sight engine.Sight) []string {
	w.t.Helper()
	rows := []string{}
	for n := 0; ; n++ {
		q, err := engine.ParseHistory(queryOf(w.t, query), false, time.UTC)
		if err != nil || n > 1000 {
			w.t.Fatalf("page %d of %s: %v", n, query, err)
		}
		var page *fhir.Page
		w.view(func(tx *engine.Tx) (err error) {
			page, err = tx.LogHistory(sources, q, sight)
			return err
		})
		for _, e := range page.Entries {
			rows = append(rows, fmt.Sprintf("%v/%d", e.Resource.Key, e.Resource.Version))
		}
		if page.Next == "" {
			return rows
		}
		if page.Total != nil || len(page.Entries) != q.Count {
			w.t.Fatalf("%s: a page of %d with total %v has a next", query, len(page.Entries), page.Total)
		}
		query = page.Next
	}
}

// TestPagesOfHistory compares the union of pages with a look at every version.
func TestPagesOfHistory(t *testing.T) {
	for seed := range uint64(2) {
		w := newChanging(t, seed)
		for range 120 {
			w.step()
		}
		mid := w.clock().Add(-time.Minute)
		mine := []string{"Patient/p1", "Patient/p2"}
		var owners, ownersOfOne []engine.Source
		for _, p := range mine {
			owners = append(owners, engine.Source{Owner: p})
			ownersOfOne = append(ownersOfOne, engine.Source{Type: "Observation", Owner: p})
		}
		for _, tt := range []struct {
			sources []engine.Source
			types   []string
			sight   engine.Sight
		}{
			{[]engine.Source{{}}, nil, engine.Everything},
			{[]engine.Source{{Type: "Observation"}, {Type: "Patient"}}, []string{"Observation", "Patient"}, engine.Everything},
			{append(slices.Clone(owners), engine.Source{Type: "Practitioner"}), nil, unlabelled(mine...)},
			{[]engine.Source{{}}, nil, unlabelled(mine...)},
			{ownersOfOne, []string{"Observation"}, unlabelled(mine...)},
			{[]engine.Source{{Owner: "Patient/p3"}, {Owner: "Patient/p3"}}, []string{"Patient", "Observation", "Condition"}, unlabelled("Patient/p3")},
			{nil, []string{}, engine.Everything},
		} {
			for _, part := range []string{"", "&_since=" + url.QueryEscape(mid.Format(time.RFC3339)), "&_at=" + url.QueryEscape(mid.Format(time.RFC3339)), "&_at=ge" + url.QueryEscape(mid.Format(time.RFC3339)), "&_at=2024-02-29", "&_at=lt2024-02-29"} {
				query := fmt.Sprintf("_count=%d%s", 1+w.rand.IntN(9), part)
				q, err := engine.ParseHistory(queryOf(t, query), false, time.UTC)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := w.pages(query, tt.sources, tt.sight), w.naive(q, tt.types, tt.sight); !slices.Equal(got, want) {
					t.Errorf("seed %d, %v?%s:\ngot  %v\nwant %v", seed, tt.sources, query, got, want)
				}
			}
		}
	}
}

// TestInstanceHistoryAt reads the versions that were current at a time.
func TestInstanceHistoryAt(t *testing.T) {
	w := newWorld(t) // noon of 29 February 2024
	for range 3 {
		w.put(ada)
		w.wait(time.Hour)
	}
	w.delete("Patient/ada") // at 15:00
	for query, want := range map[string]string{
		"_at=2024-02-29T13:30:00Z": "2", "_at=2024-02-29T13:00:00Z": "2", "_at=2024-02-29T12:59:59Z": "1", "_at=2024-02-28": "", "_at=2024": "4 3 2 1",
		"_at=2024-02-29T15:00:00Z": "4", "_at=2024-03": "", "_at=ge2024-02-29T13:30:00Z": "4 3 2", "_at=ge2024-02-29T12:30:00Z&_at=lt2024-02-29T13:00:00Z": "1",
		"_since=2024-02-29T13:00:00Z": "4 3 2", "_since=2024-02-29": "4 3 2 1", "_since=2024-02-29T14:00:00%2B01:00&_at=le2024-02-29T14:00:00Z": "3 2",
	} {
		q, err := engine.ParseHistory(queryOf(t, query), false, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		w.view(func(tx *engine.Tx) error {
			page, err := tx.History(fhir.Key{Type: "Patient", ID: "ada"}, q, engine.Everything)
			if err != nil {
				return err
			}
			var got []string
			for _, e := range page.Entries {
				got = append(got, fmt.Sprint(e.Resource.Version))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: got %v, want %s", query, got, want)
			}
			return nil
		})
	}
}

// TestHistoryWhileWritersRun pages through the log while it grows: what was there
// throughout comes once.
func TestHistoryWhileWritersRun(t *testing.T) {
	w := newChanging(t, 1)
	for range 100 {
		w.step()
	}
	sight := engine.Everything
	before := w.naive(engine.HistoryQuery{}, nil, sight)
	writers(t, w.world, func() {
		got := w.pages("_count=3", []engine.Source{{}}, sight)
		if sorted := slices.Sorted(slices.Values(got)); len(slices.Compact(sorted)) != len(got) {
			t.Error("a row came twice")
		}
		for _, row := range before {
			if !slices.Contains(got, row) {
				t.Errorf("%s is lost", row)
			}
		}
	})
}

// writers runs fn while others write.
func writers(t *testing.T, w *world, fn func()) {
	t.Helper()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for n := range 2 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p, err := w.Prepare(fmt.Appendf(nil, `{"resourceType":"Condition","id":"w%d-%d","subject":{"reference":"Patient/p1"}}`, n, i%200))
				if err != nil {
					t.Error(err)
					return
				}
				if err := w.Update(t.Context(), func(tx *engine.Tx) error {
					_, _, err := tx.Update(p, nil)
					return err
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer group.Wait()
	defer close(stop)
	fn()
}
