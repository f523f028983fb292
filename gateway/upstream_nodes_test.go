package main

import (
	"log/slog"
	"strings"
	"testing"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A sign-in that begins at one gateway ends at another: what it needs is in the
// browser, sealed with the key that they share, and nothing of it in the store.
func TestSignInAcrossNodes(t *testing.T) {
	s := emptyStage(t)
	u := newUpstream(s)
	dsn := pgtest.Open(t)
	for range 2 {
		s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
			c.Key, c.Issuers = config.Secret(secrets["GATEWAY_KEY"]), []config.Issuer{u.config()}
			c.Storage = config.Storage{Engine: "postgres", DSN: config.Secret(dsn), PoolSize: 8}
			return start(t.Context(), c, s.clock.Now, log)
		})
	}
	s.reach(0)
	_, err := s.program.core.guard.LinkAccount(t.Context(), u.URL, "adams", "", "", consent.Link{Role: smart.Provider, Person: "Practitioner/pr-adams"})
	if err != nil {
		t.Fatal(err)
	}
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
