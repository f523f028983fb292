package web_test

import (
	"testing"

	"mypatients/fhir/store"
)

// signingKey is the key that the authorization server of the first world made, as it
// is stored. Making one takes most of a second under the race detector, so the other
// worlds begin with this one. Tests run one after the other.
var signingKey *store.Record

const signingKeys = "oauth.key"

// lendKey stores the key for an authorization server that is about to start.
func lendKey(t testing.TB, s store.Store) {
	t.Helper()
	if signingKey == nil {
		return
	}
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.PutRecord(signingKey) }); err != nil {
		t.Fatal(err)
	}
}

// keepKey keeps the key that an authorization server started with.
func keepKey(t testing.TB, s store.Store) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		keys, err := r.Records(signingKeys, "", "", 2)
		if err == nil && len(keys) != 1 {
			t.Fatalf("there are %d signing keys, want one", len(keys))
		}
		if err == nil {
			signingKey = keys[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
