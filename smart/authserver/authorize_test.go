package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

func TestAuthorize(t *testing.T) {
	w := newWorld(t, nil)
	scope := "launch/patient openid fhirUser offline_access patient/*.rs"

	t.Run("A-2 A-5 GET gives code, state and iss", func(t *testing.T) {
		q := w.authorize(w.request("public", scope))
		if q.Get("code") == "" || q.Has("error") || q.Get("state") != "st/at e" || q.Get("iss") != w.base {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-3 aud with a trailing slash", func(t *testing.T) {
		if q := w.authorize(w.request("public", scope, "aud", w.base+"/fhir/")); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A.1.6 resource instead of aud", func(t *testing.T) {
		if q := w.authorize(w.request("public", scope, "aud", "", "resource", w.base+"/fhir")); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-4 POST gives the same", func(t *testing.T) {
		a := w.post("/oauth/authorize", w.request("public", scope), "Origin", "https://elsewhere.example")
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control %q", a.header.Get("Cache-Control"))
		}
		if q := w.follow(a); q.Get("code") == "" || q.Get("state") != "st/at e" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-4 a POST's query does not count", func(t *testing.T) {
		a := w.post("/oauth/authorize?"+w.request("public", scope).Encode(), url.Values{})
		if a.status != http.StatusBadRequest {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("state may be missing", func(t *testing.T) {
		if q := w.authorize(w.request("public", scope, "state", "")); q.Get("code") == "" || q.Has("state") {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A.1.4 denial", func(t *testing.T) {
		w.answer = func(*authserver.Pending) (authserver.Approval, *smart.Error) {
			return authserver.Approval{}, &smart.Error{Code: "access_denied", Description: `the person said "no"`}
		}
		defer w.person(grace, "p1")
		q := w.authorize(w.request("public", scope))
		if q.Get("error") != "access_denied" || q.Get("state") != "st/at e" || q.Has("code") || q.Get("error_description") != "the person said 'no'" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("methods", func(t *testing.T) {
		req, _ := http.NewRequest("PUT", w.base+"/oauth/authorize", nil)
		if a := w.do(req); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
			t.Errorf("PUT: %d", a.status)
		}
	})
}

// Errors that the app is told of.
func TestAuthorizeErrorsRedirect(t *testing.T) {
	w := newWorld(t, nil)
	w.put(smart.Client{ID: "narrow", RedirectURIs: []string{callback}, AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code"}, Scope: "user/Patient.rs"})
	for _, c := range []struct {
		name, client, code string
		changes            []string
	}{
		{"A-6 invalid aud", "public", "invalid_request", []string{"aud", "https://inferno.healthit.gov/invalid_aud"}},
		{"A-6 missing aud", "public", "invalid_request", []string{"aud", ""}},
		{"A-6 two slashes", "public", "invalid_request", []string{"aud", w.base + "/fhir//"}},
		{"A-6 aud and another resource", "public", "invalid_request", []string{"resource", "https://other.example/fhir"}},
		{"A.1.2 no challenge", "public", "invalid_request", []string{"code_challenge", ""}},
		{"A.1.2 no method", "public", "invalid_request", []string{"code_challenge_method", ""}},
		{"A.1.2 plain", "public", "invalid_request", []string{"code_challenge_method", "plain"}},
		{"A.1.2 not a challenge", "public", "invalid_request", []string{"code_challenge", "abc"}},
		{"A.1.2 confidential too", "confidential", "invalid_request", []string{"code_challenge", ""}},
		{"A.1.4 response_type token", "public", "unsupported_response_type", []string{"response_type", "token"}},
		{"A.1.4 no response_type", "public", "invalid_request", []string{"response_type", ""}},
		{"A.1.4 no scope", "public", "invalid_scope", []string{"scope", ""}},
		{"A.1.4 only unknown scopes", "public", "invalid_scope", []string{"scope", "foo patient/Observation.dus"}},
		{"system scopes", "public", "invalid_scope", []string{"scope", "system/*.rs"}},
		{"beyond the registration", "narrow", "invalid_scope", []string{"scope", "patient/Patient.rs openid"}},
		{"A.1.5 unknown launch", "public", "invalid_request", []string{"launch", "nothing"}},
		{"response_mode", "public", "invalid_request", []string{"response_mode", "fragment"}},
		{"request object", "public", "request_not_supported", []string{"request", "e30.e30."}},
		{"request_uri", "public", "request_uri_not_supported", []string{"request_uri", "https://app.example/r"}},
		{"prompt", "public", "invalid_request", []string{"prompt", "none login"}},
		{"unknown prompt", "public", "invalid_request", []string{"prompt", "dance"}},
		{"max_age", "public", "invalid_request", []string{"max_age", "-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := w.authorize(w.request(c.client, "user/Patient.rs", c.changes...))
			if q.Get("error") != c.code || q.Get("state") != "st/at e" || q.Has("code") || q.Get("iss") != w.base {
				t.Errorf("got %v, want error %s", q, c.code)
			}
		})
	}
	t.Run("a repeated parameter", func(t *testing.T) {
		v := w.request("public", "user/Patient.rs")
		v.Add("scope", "user/*.cruds")
		if q := w.authorize(v); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
	})
}

// Requests that must not be redirected anywhere (A.1.1).
func TestAuthorizeErrorsStayHere(t *testing.T) {
	w := newWorld(t, nil)
	w.put(smart.Client{ID: "query", RedirectURIs: []string{"https://app.example/cb?x=1", "https://app.example/c%62"}, AuthMethod: smart.AuthNone,
		GrantTypes: []string{"authorization_code"}, Scope: everything})
	for name, v := range map[string]url.Values{
		"unknown client":       w.request("nobody", "openid"),
		"no client":            w.request("", "openid"),
		"no redirect_uri":      w.request("public", "openid", "redirect_uri", ""),
		"other host":           w.request("public", "openid", "redirect_uri", "https://evil.example/cb"),
		"longer path":          w.request("public", "openid", "redirect_uri", "https://app.example/cb/x"),
		"traversal":            w.request("public", "openid", "redirect_uri", "https://app.example/cb/../cb"),
		"query added":          w.request("public", "openid", "redirect_uri", "https://app.example/cb?x=1"),
		"escaped":              w.request("public", "openid", "redirect_uri", "https://app.example/c%62"),
		"unescaped":            w.request("query", "openid", "redirect_uri", "https://app.example/cb"),
		"other case":           w.request("public", "openid", "redirect_uri", "HTTPS://app.example/cb"),
		"https port":           w.request("public", "openid", "redirect_uri", "https://app.example:8443/cb"),
		"fragment":             w.request("public", "openid", "redirect_uri", "https://app.example/cb#x"),
		"user in host":         w.request("public", "openid", "redirect_uri", "http://127.0.0.1:80@evil.example/callback"),
		"loopback, wrong host": w.request("public", "openid", "redirect_uri", "http://localhost:1/callback"),
		"loopback, no port":    w.request("public", "openid", "redirect_uri", "http://127.0.0.1:x/callback"),
		"two redirect_uris":    func() url.Values { v := w.request("public", "openid"); v.Add("redirect_uri", callback); return v }(),
	} {
		t.Run(name, func(t *testing.T) {
			if a := w.get("/oauth/authorize?" + v.Encode()); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
				t.Errorf("got %d to %q", a.status, a.header.Get("Location"))
			}
		})
	}
	t.Run("RFC 8252 any loopback port", func(t *testing.T) {
		for _, uri := range []string{"http://127.0.0.1:9/callback", "http://127.0.0.1/callback", "http://127.0.0.1:65535/callback"} {
			if a := w.get("/oauth/authorize?" + w.request("public", "openid", "redirect_uri", uri).Encode()); a.status != http.StatusSeeOther {
				t.Errorf("%s: %d", uri, a.status)
			}
		}
	})
	t.Run("a query of the redirect URI is kept", func(t *testing.T) {
		q := w.authorize(w.request("query", "user/Patient.rs", "redirect_uri", "https://app.example/cb?x=1"))
		if q.Get("x") != "1" || q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
	})
}

func TestPending(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	park := func(changes ...string) string {
		t.Helper()
		a := w.get("/oauth/authorize?" + w.request("public", "launch/patient openid patient/Observation.rs", changes...).Encode())
		u, _ := url.Parse(a.header.Get("Location"))
		return u.Query().Get("request")
	}
	t.Run("shows what was asked", func(t *testing.T) {
		p, err := w.server.Pending(ctx, park("prompt", "login consent", "login_hint", "grace", "nonce", "n1"))
		if err != nil {
			t.Fatal(err)
		}
		if p.Client.Name != "App" || !p.NeedPatient || p.MaxAge == nil || *p.MaxAge != 0 || p.LoginHint != "grace" || p.Nonce != "n1" || p.RedirectURI != callback || len(p.Prompt) != 2 || p.Scopes.String() != "launch/patient openid patient/Observation.rs" {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("is answered once", func(t *testing.T) {
		id := park()
		p, err := w.server.Pending(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.answer(p)
		if _, err := w.server.Approve(ctx, id, a); err != nil {
			t.Fatal(err)
		}
		if _, err := w.server.Approve(ctx, id, a); err == nil {
			t.Error("approved twice")
		}
		if _, err := w.server.Pending(ctx, id); err == nil {
			t.Error("still waiting")
		}
	})
	t.Run("expires", func(t *testing.T) {
		id := park()
		w.pass(30*time.Minute - time.Millisecond)
		if _, err := w.server.Pending(ctx, id); err != nil {
			t.Error(err)
		}
		w.pass(time.Millisecond)
		if _, err := w.server.Pending(ctx, id); err == nil {
			t.Error("did not expire")
		}
		if _, err := w.server.Deny(ctx, id, "access_denied", ""); err == nil {
			t.Error("answered after it expired")
		}
	})
	t.Run("an approval never widens", func(t *testing.T) {
		p, id := (*authserver.Pending)(nil), park()
		p, err := w.server.Pending(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.answer(p)
		a.Scopes, _ = smart.ParseScopes("launch/patient patient/*.cruds user/*.cruds offline_access system/*.rs")
		to, err := w.server.Approve(ctx, id, a)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(to)
		res := w.post("/oauth/token", exchange(u.Query().Get("code"), "client_id", "public"))
		if got := res.str("scope"); got != "launch/patient patient/Observation.rs" || strings.Contains(string(res.body), "refresh_token") {
			t.Errorf("got %s", res.body)
		}
	})
	t.Run("A.1.5 no patient scope without a patient", func(t *testing.T) {
		id := park("scope", "launch/patient patient/*.rs user/Practitioner.r")
		p, err := w.server.Pending(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := w.answer(p)
		a.Patient = ""
		to, err := w.server.Approve(ctx, id, a)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(to)
		if got := w.post("/oauth/token", exchange(u.Query().Get("code"), "client_id", "public")).str("scope"); got != "user/Practitioner.r" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("nothing left is a denial", func(t *testing.T) {
		id := park()
		to, err := w.server.Approve(ctx, id, authserver.Approval{Identity: grace})
		if u, _ := url.Parse(to); err != nil || u.Query().Get("error") != "access_denied" {
			t.Errorf("got %s, %v", to, err)
		}
	})
}
