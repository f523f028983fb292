package authserver_test

import (
	"net/url"
	"testing"
	"time"

	"mypatients/smart"
)

// A grant stands until something ends it, whatever that is.
func TestStanding(t *testing.T) {
	const long, short = "launch/patient offline_access patient/*.rs", "launch/patient patient/*.rs"
	for _, tt := range []struct {
		name, scope string
		end         func(w *world, app *answer, held smart.Grant)
		stands      bool
	}{
		{"nothing", long, func(*world, *answer, smart.Grant) {}, true},
		{"the access token expires", long, func(w *world, _ *answer, _ smart.Grant) { w.pass(25 * time.Hour) }, true},
		{"its only token expires", short, func(w *world, _ *answer, _ smart.Grant) { w.pass(25 * time.Hour) }, false},
		{"the refresh token is revoked", long, func(w *world, app *answer, _ smart.Grant) {
			w.post("/oauth/revoke", url.Values{"token": {app.str("refresh_token")}, "client_id": {"public"}})
		}, false},
		{"the person disconnects the app", long, func(w *world, _ *answer, held smart.Grant) {
			if err := w.server.RevokeGrant(t.Context(), grace.Login, held.ID); err != nil {
				t.Error(err)
			}
		}, false},
		{"the login is ended", long, func(w *world, _ *answer, _ smart.Grant) {
			if err := w.server.EndLogin(t.Context(), grace.Login); err != nil {
				t.Error(err)
			}
		}, false},
		{"the client is removed", long, func(w *world, _ *answer, _ smart.Grant) {
			if err := w.server.RemoveClient(t.Context(), "public"); err != nil {
				t.Error(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			app := w.login(tt.scope)
			held, err := w.server.Authenticate(t.Context(), app.str("access_token"))
			if err != nil {
				t.Fatal(err)
			}
			tt.end(w, app, held)
			left, ok, err := w.server.Standing(t.Context(), held)
			if err != nil || ok != tt.stands {
				t.Fatalf("stands: %t, %v; want %t", ok, err, tt.stands)
			}
			if ok && (left.Identity.Login != grace.Login || left.Launch.Patient != "p1" || !left.Scopes.Has("patient/*.rs")) {
				t.Errorf("left: %+v", left)
			}
		})
	}
}

// A backend service stands by its registration.
func TestStandingOfASystem(t *testing.T) {
	w := newWorld(t, nil)
	backend := smart.Client{ID: "backend", AuthMethod: smart.AuthPrivateKeyJWT, JWKSURI: w.base + "/jwks", GrantTypes: []string{smart.GrantClientCredentials}, Scope: "system/*.cruds"}
	w.put(backend)
	scopes, err := smart.ParseScopes("system/Consent.rs system/Subscription.cruds")
	if err != nil {
		t.Fatal(err)
	}
	held := smart.Grant{ID: "gone", ClientID: "backend", Identity: smart.Identity{Role: smart.System}, Scopes: scopes}
	left := func() (string, bool) {
		t.Helper()
		g, ok, err := w.server.Standing(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		return g.Scopes.String(), ok
	}
	if got, ok := left(); !ok || got != scopes.String() {
		t.Errorf("got %q, %t", got, ok)
	}
	backend.Scope = "system/Subscription.cruds"
	w.put(backend)
	if got, ok := left(); !ok || got != "system/Subscription.cruds" {
		t.Errorf("registered for less: %q, %t", got, ok)
	}
	if err := w.server.RemoveClient(t.Context(), "backend"); err != nil {
		t.Fatal(err)
	}
	if _, ok := left(); ok {
		t.Error("removed, it stands")
	}
}
