package main

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"
)

// granted is what an app's library makes of a token response.
type granted struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Patient string `json:"patient"`
	Claims  *struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		FHIRUser string `json:"fhirUser"`
	} `json:"claims"`
}

const wholeRecord = "launch/patient openid fhirUser offline_access patient/*.rs"

// openIDClient uses the authorization server with openid-client, which
// checks everything that the specifications let a client check: signatures by
// the published keys, issuer, nonce, state, at_hash, content types.
func (h *hospital) openIDClient(t *testing.T) {
	app, g, clock := startNode(t, "relying.mjs"), h.gateway, h.clock
	for name, test := range map[string]struct {
		secret    string         // of demo-confidential
		alg       string         // of its key
		algorithm string         // of discovery
		client    string         // registered already
		metadata  map[string]any // to be registered
	}{
		"public":               {client: "demo-public"},
		"with a secret":        {client: "demo-confidential", secret: "demo-secret"},
		"with an RSA key":      {alg: "RS384"},
		"with an elliptic key": {alg: "ES384"},
		"found by RFC 8414":    {client: "demo-public", algorithm: "oauth2"},
	} {
		t.Run(name, func(t *testing.T) {
			a := *app
			a.t = t
			a.do("discover", map[string]any{"issuer": g.URL, "id": "none"}, nil)
			id := test.client
			if test.alg != "" {
				id = g.register(map[string]any{
					"client_name": name, "redirect_uris": []string{appCallback}, "token_endpoint_auth_method": "private_key_jwt", "scope": wholeRecord,
					"grant_types": []string{"authorization_code", "refresh_token"}, "jwks": map[string]any{"keys": []any{a.key(test.alg)}},
				})
			}
			a.discover(g, id, test.secret, test.alg, test.algorithm, clock)
			useAsApp(t, &a, g, clock, test.client == "demo-public")
		})
	}
	t.Run("backend service", func(t *testing.T) {
		for _, alg := range []string{"RS384", "ES384"} {
			a := *app
			a.t = t
			id := g.register(map[string]any{
				"client_name": "Backend", "token_endpoint_auth_method": "private_key_jwt", "scope": "system/Patient.rs system/Observation.rs",
				"grant_types": []string{"client_credentials"}, "jwks": map[string]any{"keys": []any{a.key(alg)}},
			})
			a.discover(g, id, "", alg, "", clock)
			useAsBackend(t, &a, g)
		}
	})
}

func (n *jsProgram) key(alg string) (key json.RawMessage) {
	n.t.Helper()
	n.do("key", map[string]any{"alg": alg}, &key)
	return key
}

func (n *jsProgram) discover(g *gateway, id, secret, alg, algorithm string, clock *lateClock) {
	n.t.Helper()
	if algorithm == "" {
		algorithm = "oidc"
	}
	n.do("discover", map[string]any{"issuer": g.URL, "id": id, "secret": secret, "alg": alg, "algorithm": algorithm}, nil)
	n.do("late", map[string]any{"seconds": int(time.Until(clock.now()).Round(time.Second).Seconds())}, nil)
}

// signInAndApprove takes a browser from an authorization request to the address
// of the app it is sent back to.
func (g *gateway) signInAndApprove(address, username, patient string) string {
	g.t.Helper()
	b := newBrowser(g.t)
	page := b.open(address)
	page = b.open(g.URL + "/signin?" + url.Values{"provider": {"demo"}, "next": {page.at.Query().Get("next")}}.Encode())
	page = b.submit(page, "username", url.Values{"username": {username}, "password": {"demo"}})
	page = b.submit(page, "action", url.Values{"action": {"approve"}, "patient": {patient}})
	if page.leaves == "" {
		g.t.Fatalf("the app got nothing: %d %s", page.status, page.text)
	}
	return page.leaves
}

func useAsApp(t *testing.T, a *jsProgram, g *gateway, clock *lateClock, public bool) {
	t.Helper()
	ask := map[string]any{"redirect_uri": appCallback, "aud": g.URL + "/fhir", "scope": wholeRecord}
	authorize := func() string {
		var address string
		a.do("authorize", map[string]any{"params": ask}, &address)
		return g.signInAndApprove(address, "grace", "pt-1")
	}
	read := func(token string, want int) {
		t.Helper()
		if got, _, body := g.get("/fhir/Patient/pt-1", "Authorization", "Bearer "+token); got != want {
			t.Errorf("reading: got %d, want %d: %s", got, want, body)
		}
	}
	back := authorize()
	var first, second granted
	a.do("callback", map[string]any{"url": back}, &first)
	if first.Patient != "pt-1" || first.Refresh == "" || first.Claims == nil || first.Claims.Issuer != g.URL || first.Claims.FHIRUser == "" {
		t.Fatalf("got %+v", first)
	}
	read(first.Access, 200)
	var info struct {
		FHIRUser string `json:"fhirUser"`
	}
	a.do("userinfo", map[string]any{"token": first.Access, "subject": first.Claims.Subject}, &info)
	if info.FHIRUser != first.Claims.FHIRUser {
		t.Errorf("userinfo: got %+v, want %+v", info, first.Claims)
	}

	clock.put(clock.late + 61*time.Minute)
	a.do("late", map[string]any{"seconds": int(clock.late.Seconds())}, nil)
	read(first.Access, 401)
	a.refuses("userinfo", map[string]any{"token": first.Access, "subject": first.Claims.Subject}, "invalid_token")
	a.do("refresh", map[string]any{"token": first.Refresh}, &second)
	if second.Scope != first.Scope || second.Refresh == first.Refresh || second.Patient != "pt-1" {
		t.Errorf("after refreshing: got %+v, want the same as %+v", second, first)
	}
	read(second.Access, 200)
	a.refuses("refresh", map[string]any{"token": second.Refresh, "params": map[string]any{"scope": "user/*.cruds"}}, "invalid_scope")

	if !public { // who introspects must prove who it is
		var seen struct {
			Active  bool
			Patient string
			Sub     string
		}
		a.do("introspect", map[string]any{"token": second.Access}, &seen)
		if !seen.Active || seen.Patient != "pt-1" || seen.Sub != first.Claims.Subject {
			t.Errorf("introspection: got %+v", seen)
		}
	}
	a.do("revoke", map[string]any{"token": second.Refresh}, nil)
	read(second.Access, 401)
	a.refuses("refresh", map[string]any{"token": second.Refresh}, "invalid_grant")
	a.refuses("callback", map[string]any{"url": back}, "invalid_grant")

	tampered, err := url.Parse(authorize())
	if err != nil {
		t.Fatal(err)
	}
	q := tampered.Query()
	q.Set("iss", "https://other.example")
	a.refuses("callback", map[string]any{"url": tampered.String()[:len(tampered.String())-len(tampered.RawQuery)] + q.Encode()}, "iss")
}

func useAsBackend(t *testing.T, a *jsProgram, g *gateway) {
	t.Helper()
	var token granted
	a.do("credentials", map[string]any{"scope": "system/Patient.rs system/Condition.rs"}, &token)
	if token.Scope != "system/Patient.rs" || token.Refresh != "" {
		t.Errorf("got %+v", token)
	}
	a.do("fetch", map[string]any{"token": token.Access, "url": g.URL + "/fhir/Patient?_count=1"}, nil)
	a.refuses("fetch", map[string]any{"token": token.Access, "url": g.URL + "/fhir/Observation?_count=1"}, "insufficient_scope")
	var seen struct{ Active bool }
	a.do("introspect", map[string]any{"token": token.Access}, &seen)
	if !seen.Active {
		t.Error("the token is not active")
	}
	a.do("revoke", map[string]any{"token": token.Access}, nil)
	a.do("introspect", map[string]any{"token": token.Access}, &seen)
	if seen.Active {
		t.Error("the token is active though it was revoked")
	}
	a.refuses("credentials", map[string]any{"scope": "user/*.rs"}, "invalid_scope")
}
