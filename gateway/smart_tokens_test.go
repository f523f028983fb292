package main

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func (w *smartWorld) introspect(token string, headers ...string) reply {
	w.t.Helper()
	if headers == nil {
		headers = []string{"Authorization", basicAuth(w.ids["confidential"], w.pass["confidential"])}
	}
	// As the kits send it: the token is not encoded.
	return w.send("POST", "/oauth/introspect", "token="+token, append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json"}, headers...)...)
}

func introspectRows(t *testing.T, w *smartWorld) {
	r := w.enter("grace", "public", fullScope, mateo)
	i := w.introspect(r.str("access_token"))
	t.Run("I-1 I-4 active", func(t *testing.T) {
		expect(t, i, 200)
		exp, _ := i.json["exp"].(float64)
		asked, told := strings.Fields(r.str("scope")), strings.Fields(i.str("scope"))
		slices.Sort(asked)
		slices.Sort(told)
		if i.json["active"] != true || i.str("client_id") != w.ids["public"] || !slices.Equal(asked, told) || int64(exp) < w.clock.Now().Unix() {
			t.Errorf("got %s", i.body)
		}
	})
	t.Run("I-2 tokens need no encoding", func(t *testing.T) {
		for _, token := range []string{r.str("access_token"), r.str("refresh_token"), w.system("backend", "system/*.rs").str("access_token")} {
			if token == "" || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") != "" {
				t.Errorf("got %q", token)
			}
		}
	})
	t.Run("I-3 I-8 inactive says nothing else", func(t *testing.T) {
		for _, token := range []string{"invalid_token_value", r.str("refresh_token"), r.str("id_token")} {
			if i := w.introspect(token); i.status != 200 || strings.TrimSpace(i.body) != `{"active":false}` {
				t.Errorf("got %d %s", i.status, i.body)
			}
		}
	})
	t.Run("I-6 I-7 iss, sub and fhirUser are the ID token's", func(t *testing.T) {
		_, claims := w.idToken(r.str("id_token"))
		for _, name := range []string{"iss", "sub", "fhirUser"} {
			if i.json[name] != claims[name] || claims[name] == nil {
				t.Errorf("%s: got %v, want %v", name, i.json[name], claims[name])
			}
		}
	})
}

func revocationRows(t *testing.T, w *smartWorld) {
	r := w.enter("luis", "public", fullScope, mateo)
	t.Run("RV-1 the person ends it", func(t *testing.T) {
		b := w.browser("luis")
		page := b.open(w.URL + "/patient/apps")
		_, app, _ := strings.Cut(page.text, `name="app" value="`)
		app, _, _ = strings.Cut(app, `"`)
		if page = b.submit(page, "app", url.Values{"app": {app}}); page.status != 200 || !strings.Contains(page.text, "disconnected") {
			t.Errorf("got %d %s", page.status, page.text)
		}

	})
	t.Run("RV-2 R-4 the access token is over at once", func(t *testing.T) {
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 401)
	})
	t.Run("RV-3 so is the refresh token", func(t *testing.T) {
		expect(t, w.refresh("public", r.str("refresh_token")), 400, 401)
		v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.str("refresh_token")}}
		expect(t, w.form("/oauth/token", v, "Authorization", basicAuth(w.ids["public"], "")), 400, 401)
	})
}

func corsRows(t *testing.T, w *smartWorld) {
	allowed := func(r reply) string { return r.header.Get("Access-Control-Allow-Origin") }
	t.Run("O-3 token exchange", func(t *testing.T) {
		r := w.token("public", w.redeem("public", w.code("grace", "public", fullScope, mateo)), "Origin", w.app.URL)
		if r.status != 200 || allowed(r) != w.app.URL || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("got %d %v", r.status, r.header)
		}
	})
	t.Run("O-4 FHIR with a token", func(t *testing.T) {
		r := w.enter("grace", "public", fullScope, mateo)
		got := w.fhir("Patient/pt-1", r.str("access_token"), "Origin", w.app.URL)
		if got.status != 200 || allowed(got) != w.app.URL && allowed(got) != "*" {
			t.Errorf("got %d %v", got.status, got.header)
		}
	})
}

// TestSMARTOverTime plays the rows that move the clock.
func TestSMARTOverTime(t *testing.T) {
	w := newSmartWorld(t)
	pass := func(d time.Duration) { w.clock.set(w.clock.Now().Add(d)) }
	t.Run("A.2.1 a code lives a minute", func(t *testing.T) {
		late, soon := w.code("grace", "public", fullScope, mateo), w.code("grace", "public", fullScope, mateo)
		pass(59 * time.Second)
		expect(t, w.token("public", w.redeem("public", soon)), 200)
		pass(2 * time.Second)
		refused(t, w.token("public", w.redeem("public", late)), 400, "invalid_grant")
	})
	t.Run("A.2.5 an access token lives an hour, a backend's five minutes", func(t *testing.T) {
		r, s := w.enter("grace", "public", fullScope, mateo), w.system("backend", "system/*.rs")
		pass(5*time.Minute + time.Second)
		expect(t, w.fhir("Patient/pt-1", s.str("access_token")), 401)
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 200)
		pass(55 * time.Minute)
		if got := w.fhir("Patient/pt-1", r.str("access_token")); got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("got %d %v", got.status, got.header)
		}
	})
	t.Run("A.1.5 a launch handle lives five minutes", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", nil)
		pass(5*time.Minute + time.Second)
		r := w.send("GET", "/oauth/authorize?"+w.ask("public", "launch openid user/*.rs", "launch", l.str("launch")).Encode(), "")
		if u, _ := url.Parse(r.header.Get("Location")); u.Query().Get("error") != "invalid_request" {
			t.Errorf("got %s", u)
		}
	})
	t.Run("F-9 a refresh token lives three months after each use", func(t *testing.T) {
		r := w.enter("grace", "public", fullScope, mateo)
		for range 3 {
			pass(92 * 24 * time.Hour)
			if r = w.refresh("public", r.str("refresh_token")); r.status != 200 {
				t.Fatalf("got %d %s", r.status, r.body)
			}
		}
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 200)
	})
	t.Run("A.2.4 online_access ends with the session", func(t *testing.T) {
		r := w.enter("grace", "public", "launch/patient online_access patient/*.rs", mateo)
		b := w.browser("grace")
		b.submit(b.open(w.URL+"/signout"), "csrf", nil)
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 401)
		refused(t, w.refresh("public", r.str("refresh_token")), 400, "invalid_grant")
	})
}
