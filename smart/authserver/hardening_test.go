package authserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

func TestLaunchIsNotSpoiled(t *testing.T) {
	w := newWorld(t, nil)
	const scope = "launch openid fhirUser user/*.rs"
	handle, _, err := w.server.Launch(t.Context(), smart.Launch{Identity: adams, Context: smart.Context{Patient: "p7"}})
	if err != nil {
		t.Fatal(err)
	}
	w.person(grace, "p1")
	if q := w.authorize(w.request("confidential", scope, "launch", handle)); q.Get("error") != "access_denied" || q.Has("code") {
		t.Errorf("another person: got %v", q)
	}
	w.person(adams, "")
	w.pass(4 * time.Minute)
	parked, _ := url.Parse(w.get("/oauth/authorize?" + w.request("public", scope, "launch", handle).Encode()).header.Get("Location"))
	w.pass(10 * time.Minute) // signing in may take longer than the handle can be brought
	if q := w.follow(w.get(parked.String())); q.Get("code") == "" {
		t.Errorf("the right person: got %v", q)
	}
	if q := w.authorize(w.request("public", scope, "launch", handle)); q.Get("error") != "invalid_request" {
		t.Errorf("once more: got %v", q)
	}
}

// Two requests wait with one handle: the second approval finds it used.
func TestLaunchGivesOneGrant(t *testing.T) {
	w := newWorld(t, nil)
	handle, _, err := w.server.Launch(t.Context(), smart.Launch{Identity: adams, Context: smart.Context{Patient: "p7"}})
	if err != nil {
		t.Fatal(err)
	}
	w.person(adams, "")
	form := w.request("public", "launch openid user/*.rs", "launch", handle)
	first, second := w.get("/oauth/authorize?"+form.Encode()), w.get("/oauth/authorize?"+form.Encode())
	if q := w.follow(second); q.Get("code") == "" {
		t.Errorf("got %v", q)
	}
	if q := w.follow(first); q.Get("error") != "invalid_request" || q.Has("code") || q.Get("state") == "" {
		t.Errorf("got %v", q)
	}
}

func TestStandaloneEncounter(t *testing.T) {
	w := newWorld(t, nil)
	w.answer = func(p *authserver.Pending) (authserver.Approval, *smart.Error) {
		if !p.NeedPatient || !p.NeedEncounter {
			t.Errorf("got %+v", p)
		}
		return authserver.Approval{Identity: grace, Scopes: p.Scopes, Patient: "p1", Encounter: "e1"}, nil
	}
	if a := w.login("launch/encounter openid patient/*.rs"); a.str("encounter") != "e1" || a.str("patient") != "p1" || !strings.Contains(a.str("scope"), "launch/encounter") {
		t.Errorf("got %s", a.body)
	}
	w.person(grace, "p1")
	if a := w.login("launch/encounter openid patient/*.rs"); a.str("scope") != "openid patient/*.rs" || a.json["encounter"] != nil {
		t.Errorf("without a visit: got %s", a.body)
	}
}

func TestPersonIsReadAgain(t *testing.T) {
	var gone atomic.Bool
	w := newWorld(t, func(c *authserver.Config) {
		c.Tenant = "north"
		c.Current = func(_ context.Context, id smart.Identity) (smart.Identity, bool, error) {
			id.Name, id.Persons = "Grace Newname", []string{"RelatedPerson/10"}
			id.FHIRUser = id.Persons[0]
			return id, !gone.Load(), nil
		}
	})
	w.backend("bulk", "system/*.rs")
	auth := []string{"Authorization", basic("confidential", secret)}
	a := w.login(standalone)
	if a.str("tenant") != "north" {
		t.Errorf("A.2.6 tenant: %s", a.body)
	}
	a = w.refresh(a.str("refresh_token"))
	g, err := w.server.Authenticate(t.Context(), a.str("access_token"))
	if err != nil || g.Identity.Name != "Grace Newname" || g.Identity.FHIRUser != "RelatedPerson/10" || a.str("tenant") != "north" {
		t.Errorf("a refresh keeps what the person was: %+v %v", g.Identity, err)
	}
	i := w.post("/oauth/introspect", url.Values{"token": {a.str("access_token")}}, auth...)
	if i.str("fhirUser") != w.base+"/fhir/RelatedPerson/10" || i.str("tenant") != "north" {
		t.Errorf("introspection: %s", i.body)
	}
	gone.Store(true)
	if i := w.post("/oauth/introspect", url.Values{"token": {a.str("access_token")}}, auth...); i.json["active"] != false || len(i.json) != 1 {
		t.Errorf("introspection of a person who is gone: %s", i.body)
	}
	want(t, w.get("/oauth/userinfo", "Authorization", "Bearer "+a.str("access_token")), 401, "invalid_token")
	want(t, w.refresh(a.str("refresh_token")), 400, "invalid_grant")
	if w.works(a.str("access_token")) {
		t.Error("the access token outlived the refusal")
	}
	if a := w.backendToken(w.assertion("bulk"), "system/*.rs"); a.status != 200 {
		t.Errorf("a backend has no person: %s", a.body)
	}
}

func TestAdministratorEndsGrants(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	grantOf := func(token string) string {
		g, err := w.server.Authenticate(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		return g.ID
	}
	for name, end := range map[string]func(token string) error{
		"of a login":  func(string) error { return w.server.EndLogin(ctx, grace.Login) },
		"of a client": func(string) error { return w.server.EndClientGrants(ctx, "public") },
		"one":         func(token string) error { return w.server.EndGrant(ctx, grantOf(token)) },
	} {
		t.Run(name, func(t *testing.T) {
			w.pass(time.Second) // what was approved before an end does not outlive it
			a := w.login(standalone)
			if err := end(a.str("access_token")); err != nil || w.works(a.str("access_token")) {
				t.Errorf("works on: %v", err)
			}
			want(t, w.refresh(a.str("refresh_token")), 400, "invalid_grant")
		})
	}
	w.pass(time.Second) // the ends came in any order, that of the login perhaps last
	a := w.login(standalone)
	for _, err := range []error{w.server.EndLogin(ctx, ""), w.server.EndLogin(ctx, "nobody"), w.server.EndClientGrants(ctx, "confidential"), w.server.EndGrant(ctx, "none")} {
		if err != nil {
			t.Error(err)
		}
	}
	if !w.works(a.str("access_token")) {
		t.Error("somebody else's end ended it")
	}
}

func TestScopesThatCannotBeKept(t *testing.T) {
	w := newWorld(t, func(c *authserver.Config) {
		c.Types = func(typ string) bool { return typ != "Spaceship" }
		c.Granular = func(typ string, params url.Values) error {
			if params.Has("nonsense") {
				return errors.New("unknown")
			}
			return nil
		}
	})
	w.backend("bulk", "system/*.rs")
	if a := w.login("launch/patient patient/Spaceship.rs patient/Patient.rs patient/Observation.rs?category=x"); a.str("scope") != "launch/patient patient/Patient.rs patient/Observation.rs?category=x" {
		t.Errorf("got %s", a.body)
	}
	for _, scope := range []string{"patient/Spaceship.rs", "patient/Patient.rs patient/Observation.rs?nonsense=x", "patient/*.rs?nonsense=x"} {
		if q := w.authorize(w.request("public", scope)); q.Get("error") != "invalid_scope" || q.Has("code") {
			t.Errorf("%s: got %v", scope, q)
		}
	}
	want(t, w.backendToken(w.assertion("bulk"), "system/Observation.rs?nonsense=x"), 400, "invalid_scope")
	want(t, w.backendToken(w.assertion("bulk"), "system/Spaceship.rs"), 400, "invalid_scope")
	if q := w.authorize(w.request("public", "openid", "authorization_details", `[{"type":"x"}]`)); q.Get("error") != "invalid_authorization_details" {
		t.Errorf("A.2.6: got %v", q)
	}
	if a := w.login("openid introspect user/*.rs patient/*.rs launch/patient"); strings.Contains(a.str("scope"), "introspect") {
		t.Errorf("an app may introspect: %s", a.body)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, nil)
	at := func(address string, req *http.Request) *http.Request {
		return req.WithContext(authserver.WithAddress(req.Context(), address))
	}
	ask := func(address, secret string) *answer {
		form := exchange("x")
		req, _ := http.NewRequest("POST", "/oauth/token", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", basic("confidential", secret))
		return w.serve(at(address, req))
	}
	t.Run("failed client authentication", func(t *testing.T) {
		failed := 0
		for ask("192.0.2.1", "wrong").status == 401 {
			if failed++; failed > 1000 {
				t.Fatal("no end of attempts")
			}
		}
		a := ask("192.0.2.1", secret)
		want(t, a, 429, "slow_down")
		if a.header.Get("Retry-After") == "" {
			t.Error("does not say when")
		}
		want(t, ask("192.0.2.2", secret), 400, "invalid_grant") // from elsewhere the client is let in
		w.pass(10 * time.Second)
		want(t, ask("192.0.2.1", secret), 400, "invalid_grant")
	})
	t.Run("parked requests", func(t *testing.T) {
		park := func(address, client string) string {
			req, _ := http.NewRequest("GET", "/oauth/authorize?"+w.request(client, "openid user/*.rs").Encode(), nil)
			return w.serve(at(address, req)).header.Get("Location")
		}
		parked := 0
		for strings.HasPrefix(park("192.0.2.1", "public"), w.base+"/page") {
			if parked++; parked > 10_000 {
				t.Fatal("no end of requests")
			}
		}
		if to := park("192.0.2.1", "public"); !strings.HasPrefix(to, callback) || !strings.Contains(to, "error=temporarily_unavailable") {
			t.Errorf("got %s", to)
		}
		for _, other := range [][2]string{{"192.0.2.2", "public"}, {"192.0.2.1", "confidential"}} {
			if to := park(other[0], other[1]); !strings.HasPrefix(to, w.base+"/page") {
				t.Errorf("%v: got %s", other, to)
			}
		}
		w.pass(time.Second)
		if to := park("192.0.2.1", "public"); !strings.HasPrefix(to, w.base+"/page") {
			t.Errorf("later: got %s", to)
		}
	})
	t.Run("by many apps from one network", func(t *testing.T) {
		parked := 0
		for i := range 30 {
			app := fmt.Sprint("app", i)
			w.put(smart.Client{ID: app, RedirectURIs: []string{callback}, AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code"}, Scope: everything})
			for range 100 {
				req, _ := http.NewRequest("GET", "/oauth/authorize?"+w.request(app, "openid user/*.rs").Encode(), nil)
				if to := w.serve(at(fmt.Sprintf("2001:db8:0:1::%x", parked), req)).header.Get("Location"); !strings.HasPrefix(to, w.base+"/page") {
					continue
				}
				parked++
			}
		}
		req, _ := http.NewRequest("GET", "/oauth/authorize?"+w.request("app1", "openid user/*.rs").Encode(), nil)
		to := w.serve(at("2001:db8:0:2::1", req)).header.Get("Location")
		if parked > 2000 || !strings.HasPrefix(to, w.base+"/page") {
			t.Errorf("%d were kept, and from the next network: %s", parked, to)
		}
	})
	t.Run("long ones", func(t *testing.T) {
		form := w.request("public", "openid user/*.rs")
		for i := range 10 {
			form.Set(fmt.Sprint("unknown", i), strings.Repeat("x", 1900))
		}
		if q := w.authorize(form); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
	})
}
