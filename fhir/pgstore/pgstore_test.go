package pgstore_test

import (
	"errors"
	"slices"
	"testing"

	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
	"mypatients/fhir/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, pgtest.Open(t)) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, place string) store.Store { return openAt(t, pgtest.At(t, place)) })
}

// openAt opens the store in a database and closes it at the end of the test.
func openAt(t testing.TB, dsn string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The same, with thresholds so low that all plans are made.
func TestStoreSmall(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := pgstore.OpenSmall(t.Context(), pgstore.Options{DSN: pgtest.Open(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

// What was read ahead is what is there: in a view, and in a transaction with
// writes of its own.
func TestReadAhead(t *testing.T) {
	s := openAt(t, pgtest.Open(t))
	put(t, s, "1")
	put(t, s, "2")
	write := func(w store.Writer, key, value string) error {
		return w.PutRecord(&store.Record{Kind: "k", Key: key, Value: []byte(value)})
	}
	if err := s.Update(t.Context(), func(w store.Writer) error { return write(w, "a", "old") }); err != nil {
		t.Fatal(err)
	}
	look := func(r store.Reader, a string, third error) error {
		keys := []store.Key{{Type: "T", ID: "1"}, {Type: "T", ID: "2"}, {Type: "T", ID: "3"}}
		if err := store.ReadResources(r, slices.Values(keys)); err != nil {
			return err
		}
		if err := store.ReadRecords(r, "k", slices.Values([]string{"a", "b"})); err != nil {
			return err
		}
		for i, want := range []error{nil, nil, third} {
			v, err := r.Resource(keys[i])
			if !errors.Is(err, want) || err == nil && (v.Key != keys[i] || string(v.Body) != "{}") {
				t.Errorf("%v: got %+v, %v", keys[i], v, err)
			}
		}
		if got, err := r.Record("k", "a"); err != nil || string(got.Value) != a {
			t.Errorf("got %+v, %v, want %s", got, err, a)
		}
		if _, err := r.Record("k", "b"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an absent record: got %v", err)
		}
		return nil
	}
	if err := s.View(t.Context(), func(r store.Reader) error { return look(r, "old", store.ErrNotFound) }); err != nil {
		t.Fatal(err)
	}
	err := s.Update(t.Context(), func(w store.Writer) error {
		if err := errors.Join(w.PutResource(version("3")), write(w, "a", "new")); err != nil {
			return err
		}
		return look(w, "new", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}
