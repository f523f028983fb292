package badgerstore_test

import (
	"slices"
	"testing"

	"mypatients/fhir/store"
)

// What a block remembers of a standing condition does not outlive what it rests on: its
// own rows, and other resources that were asked for.
func TestStandingIsJudgedAnew(t *testing.T) {
	s := openAt(t, t.TempDir())
	put := func(version int64, typ, id string, terms ...store.Term) {
		t.Helper()
		if err := s.Update(t.Context(), func(w store.Writer) error {
			return w.PutResource(&store.Version{Key: store.Key{Type: typ, ID: id}, Version: version, Body: []byte("{}"), Terms: store.NewTerms(terms)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	owner, with := store.Term{Name: store.Owner, Value: "P/1"}, store.Term{Name: "with", Value: "P/2"}
	put(1, "T", "a", owner)
	put(1, "T", "b", owner, with)
	put(1, "P", "2")
	plain := &store.Standing{Expr: store.Not{Expr: store.Exists{Name: "label"}}}
	joined := &store.Standing{Expr: store.Not{Expr: store.Ref{Name: "with", Type: "P", Where: store.Exists{Name: "denies"}}}}
	want := func(when string, where *store.Standing, ids ...string) {
		t.Helper()
		for range 2 {
			var got []string
			err := s.View(t.Context(), func(r store.Reader) error {
				hits, err := r.Search(store.Query{Type: "T", Where: store.And{store.Equal{Name: store.Owner, Value: "P/1"}, where}, Limit: 9})
				for _, h := range hits {
					got = append(got, h.ID)
				}
				return err
			})
			if err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s: got %v, %v, want %v", when, got, err, ids)
			}
		}
	}
	want("at first", plain, "a", "b")
	want("at first", joined, "a", "b")
	put(2, "P", "2", store.Term{Name: "denies", Value: "1"})
	want("when another resource denies", joined, "a")
	put(3, "P", "2")
	want("when it no longer does", joined, "a", "b")
	put(2, "T", "a", owner, store.Term{Name: "label", Value: "1"})
	want("when a row is labelled", plain, "b")
	want("when a row is labelled", joined, "a", "b")
}
