package badgerstore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"mypatients/fhir/store"
)

// What the cache keeps is never older or newer than the snapshot of a reader.
func TestIndexEntriesAreOfTheSnapshot(t *testing.T) {
	for _, size := range []int{0, 3, 64, 65} { // how many are found beside those of the test
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := openAt(t, t.TempDir())
			put := func(w store.Writer, id string, version int64, deleted bool, value string) {
				t.Helper()
				v := &store.Version{Key: store.Key{Type: "T", ID: id}, Version: version, Time: time.Unix(1, 0).UTC(), Deleted: deleted, Terms: store.NewTerms([]store.Term{{Name: "n", Value: value}}), Body: []byte("{}")}
				if err := w.PutResource(v); err != nil {
					t.Fatal(err)
				}
			}
			update := func(fn func(store.Writer)) {
				t.Helper()
				if err := s.Update(t.Context(), func(w store.Writer) error { fn(w); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			find := func(r store.Reader, want ...string) {
				t.Helper()
				for range 2 { // the second is from the cache, if it keeps so many
					hits, err := r.Search(store.Query{Type: "T", Where: store.Equal{Name: "n", Value: "x"}, Limit: 1000})
					var ids []string
					for _, h := range hits {
						if h.ID[0] != '0' {
							ids = append(ids, h.ID)
						}
					}
					if err != nil || !slices.Equal(ids, want) || len(hits)-len(ids) != size {
						t.Errorf("got %v and %d, %v, want %v", ids, len(hits)-len(ids), err, want)
					}
				}
			}
			see := func(want ...string) {
				t.Helper()
				_ = s.View(t.Context(), func(r store.Reader) error { find(r, want...); return nil })
			}
			for n := range size {
				update(func(w store.Writer) { put(w, fmt.Sprintf("0%03d", n), 1, false, "x") })
			}
			see()
			update(func(w store.Writer) { put(w, "a", 1, false, "x") })
			see("a")
			_ = s.View(t.Context(), func(old store.Reader) error {
				update(func(w store.Writer) {
					put(w, "b", 1, false, "x")
					find(w, "a", "b")
					put(w, "a", 2, false, "y")
					find(w, "b")
				})
				find(old, "a")
				see("b")
				find(old, "a")
				return nil
			})
			see("b")
			update(func(w store.Writer) { put(w, "b", 2, true, "x") })
			see()
		})
	}
}

// Readers of one state of a kind of records see the same records of it.
func TestStateOf(t *testing.T) {
	s := openAt(t, t.TempDir())
	write := func(kind, key string) {
		t.Helper()
		if err := s.Update(t.Context(), func(w store.Writer) error {
			if store.StateOf(w, "k") != 0 {
				t.Error("one who writes does not know the state")
			}
			return w.PutRecord(&store.Record{Kind: kind, Key: key})
		}); err != nil {
			t.Fatal(err)
		}
	}
	state := func() (n uint64) {
		_ = s.View(t.Context(), func(r store.Reader) error { n = store.StateOf(r, "k"); return nil })
		return n
	}
	first := state()
	write("other", "a")
	if got := state(); first == 0 || got != first {
		t.Errorf("got %d and %d, want the same: nothing of the kind was written", first, got)
	}
	_ = s.View(t.Context(), func(old store.Reader) error {
		write("k", "a")
		if got := store.StateOf(old, "k"); got != 0 && got != first {
			t.Errorf("a reader from before has the state %d", got)
		}
		return nil
	})
	second := state()
	if second == first || second == 0 {
		t.Errorf("got %d after %d", second, first)
	}
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.DeleteRecord("k", "a") }); err != nil {
		t.Fatal(err)
	}
	if third := state(); third == second || third == first {
		t.Errorf("got %d after %d and %d: a record is gone", third, second, first)
	}
}
