package authserver_test

import (
	"net/http/httptest"
	"sync"
	"testing"

	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/smart/authserver"
)

// Two nodes with pools of their own on one database: what can be used once is used
// once, however many ask wherever at the same time.
func TestOnceOnlyOnTwoNodes(t *testing.T) {
	dsn := pgtest.Open(t)
	var config authserver.Config
	open := func(c *authserver.Config) {
		store, err := pgstore.Open(t.Context(), pgstore.Options{DSN: dsn, PoolSize: 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		c.Store = store
	}
	w := newWorld(t, func(c *authserver.Config) { open(c); config = *c })
	open(&config)
	second, err := authserver.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(second.Handler())
	t.Cleanup(front.Close)
	other := &world{t: t, base: front.URL, client: w.client}
	w.backend("bulk", "system/*.rs")

	// both has each node do something eight times, all of it at once.
	both := func(do func(at *world) *answer) (won []*answer) {
		t.Helper()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 16 {
			at := []*world{w, other}[i%2]
			wg.Go(func() {
				a := do(at)
				mu.Lock()
				defer mu.Unlock()
				if a.status == 200 {
					won = append(won, a)
				}
			})
		}
		wg.Wait()
		return won
	}
	works := func(a *answer) bool {
		_, here := w.server.Authenticate(t.Context(), a.str("access_token"))
		_, there := second.Authenticate(t.Context(), a.str("access_token"))
		return here == nil || there == nil
	}
	t.Run("a code", func(t *testing.T) {
		code := w.code("public", standalone)
		won := both(func(at *world) *answer { return at.post("/oauth/token", exchange(code, "client_id", "public")) })
		if len(won) > 1 {
			t.Errorf("%d exchanges of one code", len(won))
		}
		for _, a := range won {
			if works(a) {
				t.Error("the replays did not end what came of it")
			}
		}
	})
	t.Run("an assertion", func(t *testing.T) {
		jwt := w.assertion("bulk")
		won := both(func(at *world) *answer { return at.backendToken(jwt, "system/*.rs") })
		if len(won) != 1 {
			t.Errorf("%d tokens for one assertion", len(won))
		}
	})
	t.Run("a refresh token", func(t *testing.T) {
		first := w.login(standalone)
		won := both(func(at *world) *answer { return at.refresh(first.str("refresh_token")) })
		if len(won) == 0 {
			t.Fatal("nobody could refresh")
		}
		for _, a := range won {
			if a.str("refresh_token") != won[0].str("refresh_token") || !works(a) {
				t.Error("the refresh token has two successors")
			}
		}
	})
	t.Run("the end of a login, against codes under way", func(t *testing.T) {
		var won []*answer
		for range 4 {
			code := w.code("public", standalone)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := second.EndLogin(t.Context(), grace.Login); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if a := w.post("/oauth/token", exchange(code, "client_id", "public")); a.status == 200 {
					won = append(won, a)
				}
			})
			wg.Wait()
		}
		for _, a := range won {
			if works(a) {
				t.Error("a token outlived the end")
			}
		}
	})
}
