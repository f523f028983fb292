// Package keytest lends the stores of tests a signing key. Making one takes most of a
// second under the race detector, so the worlds of a package's tests share that which
// the authorization server of the first made.
package keytest

import (
	"testing"

	"mypatients/fhir/store"
)

const kind = "oauth.key" // of the records of signing keys

// A Key is kept by the first world and lent to the others. It is for tests that run
// one after the other. The zero value is ready.
type Key struct{ made *store.Record }

// Lend stores the key for an authorization server that is about to start.
func (k *Key) Lend(t testing.TB, s store.Store) {
	t.Helper()
	if k.made == nil {
		return
	}
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.PutRecord(k.made) }); err != nil {
		t.Fatal(err)
	}
}

// Keep keeps the key that an authorization server started with.
func (k *Key) Keep(t testing.TB, s store.Store) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		keys, err := r.Records(kind, "", "", 2)
		if err == nil && len(keys) != 1 {
			t.Fatalf("there are %d signing keys, want one", len(keys))
		}
		if err == nil {
			k.made = keys[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
