package pgstore_test

import (
	"testing"

	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// Who follows the log does not meet what commits while an older transaction still
// writes before that has ended: it could enter something in front of it. Who reads
// it backwards does.
func TestLogWaitsForOlderWriters(t *testing.T) {
	dsn := pgtest.At(t, t.TempDir()) // a database in which nobody else writes
	s := openAt(t, dsn)
	put(t, s, "1")
	entries := func(reverse bool) (ids string) {
		t.Helper()
		err := s.View(t.Context(), func(r store.Reader) error {
			list, err := r.Log(store.LogQuery{Limit: 10, Reverse: reverse})
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
	if got := entries(false); got != "1" {
		t.Errorf("beside an older writer: got %q, want only what was before it", got)
	}
	if got := entries(true); got != "21" {
		t.Errorf("backwards, beside an older writer: got %q", got)
	}
	release()
	if got := entries(false); got != "12" {
		t.Errorf("after it has ended: got %q", got)
	}
	// One that writes elsewhere holds nothing up.
	release = lock(t, pgtest.At(t, t.TempDir()), `SELECT pg_current_xact_id()`)
	defer release()
	put(t, s, "3")
	if got := entries(false); got != "123" {
		t.Errorf("beside a writer in another database: got %q", got)
	}
}
