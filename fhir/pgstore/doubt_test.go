package pgstore_test

import (
	"fmt"
	"slices"
	"testing"

	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// A condition on other resources holds also where pages are looked for without it first.
func TestSecondHalves(t *testing.T) {
	s := openAt(t, pgtest.Open(t))
	if err := s.Update(t.Context(), func(w store.Writer) error {
		for n := range 12 {
			terms := []store.Term{{Name: store.Owner, Value: "P/1"}}
			if n%3 > 0 {
				terms = append(terms, store.Term{Name: "shared", Value: "1"}, store.Term{Name: "with", Value: fmt.Sprintf("P/%d", n%3)})
			}
			v := &store.Version{Key: store.Key{Type: "T", ID: fmt.Sprintf("%02d", n)}, Version: 1, Body: []byte("{}"), Terms: store.NewTerms(terms)}
			if err := w.PutResource(v); err != nil {
				return err
			}
		}
		return w.PutResource(&store.Version{Key: store.Key{Type: "P", ID: "2"}, Version: 1, Body: []byte("{}")})
	}); err != nil {
		t.Fatal(err)
	}
	where := store.And{store.Equal{Name: store.Owner, Value: "P/1"}, store.Or{
		store.Not{Expr: store.Exists{Name: "shared"}},
		store.Not{Expr: store.Ref{Name: "with", Type: "P", Where: store.All()}}, // there is no P/1
	}}
	var got []string
	err := s.View(t.Context(), func(r store.Reader) error {
		got = nil
		for after := ""; ; {
			hits, err := r.Search(store.Query{Type: "T", Where: where, Limit: 1, After: after})
			if err != nil || len(hits) == 0 {
				return err
			}
			got, after = append(got, hits[0].ID), hits[0].Position
		}
	})
	if want := []string{"00", "01", "03", "04", "06", "07", "09", "10"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// Standing conditions hold also where pages are looked for without them first: what they
// hide is in no page, however often it was met before, and whatever else is asked.
func TestStanding(t *testing.T) {
	s := openAt(t, pgtest.Open(t))
	if err := s.Update(t.Context(), func(w store.Writer) error {
		for n := range 30 {
			terms := []store.Term{{Name: store.Owner, Value: "P/1"}, {Name: "date", Value: fmt.Sprintf("%02d", (n*7)%30)}}
			switch {
			case n%10 == 7:
				terms = append(terms, store.Term{Name: "label", Value: "4"})
			case n%10 == 8:
				terms = append(terms, store.Term{Name: "shared", Value: "1"}, store.Term{Name: "with", Value: "P/2"})
			case n%10 == 9:
				terms = append(terms, store.Term{Name: "shared", Value: "1"}, store.Term{Name: "with", Value: "P/3"})
			}
			v := &store.Version{Key: store.Key{Type: "T", ID: fmt.Sprintf("%02d", n)}, Version: 1, Body: []byte("{}"), Terms: store.NewTerms(terms)}
			if err := w.PutResource(v); err != nil {
				return err
			}
		}
		return w.PutResource(&store.Version{Key: store.Key{Type: "P", ID: "2"}, Version: 1, Body: []byte("{}")})
	}); err != nil {
		t.Fatal(err)
	}
	labels := &store.Standing{Expr: store.Not{Expr: store.Range{Name: "label", From: "3"}}}
	all := &store.Standing{Expr: store.And{labels.Expr, store.Or{
		store.Not{Expr: store.Exists{Name: "shared"}},
		store.Not{Expr: store.Ref{Name: "with", Type: "P", Where: store.All()}},
	}}}
	hidden := map[*store.Standing][]int{labels: {7}, all: {7, 8}}
	for range 3 {
		for where, digits := range hidden {
			for _, sorts := range [][]store.Sort{nil, {{Name: "date", Descending: true}}} {
				for limit := 1; limit <= 31; limit += 5 {
					q := store.Query{Type: "T", Where: store.And{store.Equal{Name: store.Owner, Value: "P/1"}, where}, Sort: sorts, Limit: limit}
					got := pages(t, s, q)
					want := 30 - 3*len(digits)
					if len(got) != want || slices.ContainsFunc(got, func(id string) bool { return slices.Contains(digits, int(id[1]-'0')) }) {
						t.Fatalf("%d hidden of ten, by %v, %d a page: got %v", len(digits), sorts, limit, got)
					}
				}
			}
		}
	}
}

// pages reads all pages of a query.
func pages(t *testing.T, s store.Store, q store.Query) (ids []string) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		ids, q.After = nil, ""
		for {
			hits, err := r.Search(q)
			if err != nil {
				return err
			}
			for _, h := range hits {
				ids, q.After = append(ids, h.ID), h.Position
			}
			if len(hits) < q.Limit {
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
