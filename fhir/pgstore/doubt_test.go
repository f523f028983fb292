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
