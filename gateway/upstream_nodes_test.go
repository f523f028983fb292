package main

import (
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A sign-in that begins at one gateway ends at another: what it needs is in the
// browser, sealed with the key that they share, and nothing of it in the store.
func TestSignInAcrossNodes(t *testing.T) {
	u := upstreamOfNodes(t, "adams", consent.Link{Role: smart.Provider, Person: "Practitioner/pr-adams"})
	s := u.stage
	sessions := func() (n int) {
		t.Helper()
		err := s.program.core.store.View(t.Context(), func(r store.Reader) error {
			records, err := r.Records(kindSession, "", "", 100)
			n = len(records)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 20 { // each of somebody new
		stranger := newActor(s, "stranger")
		u.open(stranger, "/patients/pt-1")
		u.open(stranger, "/signout")
	}
	adams := newActor(s, "adams")
	u.open(adams, "/signin?provider=up&next=/patients/pt-2")
	if n := sessions(); n != 0 {
		t.Errorf("%d sessions of strangers are stored", n)
	}
	s.reach(1)
	u.signIn(adams, map[string]any{"sub": "adams"})
	if !strings.Contains(adams.said(), "Sofia Rivera") {
		t.Errorf("got %d %s", adams.status, adams.said())
	}
	if n := sessions(); n != 1 {
		t.Errorf("%d sessions are stored of one who signed in", n)
	}
	// What was opened at one is among the recent ones at the other.
	s.reach(0)
	if u.open(adams, "/"); !strings.Contains(adams.said(), "Recent") {
		t.Errorf("got %d %s", adams.status, adams.said())
	}
}
