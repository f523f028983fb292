package pgstore_test

import (
	"testing"

	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// What commits while an older transaction still writes is not in the log before
// that has ended: it could enter something in front of it.
func TestLogWaitsForOlderWriters(t *testing.T) {
	dsn := pgtest.At(t, t.TempDir()) // a database in which nobody else writes
	s := openAt(t, dsn)
	put(t, s, "1")
	entries := func() (ids string) {
		t.Helper()
		err := s.View(t.Context(), func(r store.Reader) error {
			list, err := r.Log(store.LogQuery{Limit: 10})
			for _, e := range list {
				ids += e.Key.ID
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	release := lock(t, dsn, `SELECT pg_current_xact_id()`)
	put(t, s, "2")
	if got := entries(); got != "1" {
		t.Errorf("beside an older writer: got %q, want only what was before it", got)
	}
	release()
	if got := entries(); got != "12" {
		t.Errorf("after it has ended: got %q", got)
	}
	// One that writes elsewhere holds nothing up.
	release = lock(t, pgtest.At(t, t.TempDir()), `SELECT pg_current_xact_id()`)
	defer release()
	put(t, s, "3")
	if got := entries(); got != "123" {
		t.Errorf("beside a writer in another database: got %q", got)
	}
}
