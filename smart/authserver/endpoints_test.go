package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

func TestIntrospection(t *testing.T) {
	w := newWorld(t, nil)
	w.backend("resource-server", "system/*.rs introspect")
	ask := func(token string, header ...string) *answer {
		t.Helper()
		return w.post("/oauth/introspect", url.Values{"token": {token}}, header...)
	}
	auth := []string{"Authorization", basic("confidential", secret)}
	login := w.login(standalone)
	token := login.str("access_token")

	t.Run("I-1 I-4 I-5 I-6 I-7", func(t *testing.T) {
		a := ask(token, auth...)
		for k, v := range map[string]any{"active": true, "client_id": "public", "scope": standalone, "exp": float64(w.now().Add(time.Hour).Unix()), "patient": "p1",
			"iss": w.base, "sub": "login-grace", "fhirUser": w.base + "/fhir/RelatedPerson/9", "token_type": "Bearer"} {
			if a.json[k] != v {
				t.Errorf("%s: got %v, want %v", k, a.json[k], v)
			}
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Error("may be cached")
		}
	})
	t.Run("I-3 I-8 inactive says nothing else", func(t *testing.T) {
		refresh := login.str("refresh_token")
		for _, bad := range []string{"invalid_token_value", strings.Repeat("x", 5000), refresh, token[1:]} {
			if a := ask(bad, auth...); a.status != 200 || strings.TrimSpace(string(a.body)) != `{"active":false}` {
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
	})
	t.Run("A.5.1 callers", func(t *testing.T) {
		want(t, ask(token), 400, "invalid_request")
		want(t, w.post("/oauth/introspect", url.Values{"token": {token}, "client_id": {"public"}}), 401, "invalid_client")
		want(t, ask(token, "Authorization", basic("confidential", "wrong")), 401, "invalid_client")
		want(t, ask(token, "Authorization", basic("public", "")), 401, "invalid_client")
		want(t, ask(token, "Authorization", "Bearer nothing-nothing-nothing"), 401, "invalid_token")
		want(t, w.post("/oauth/introspect", url.Values{}, auth...), 400, "invalid_request")
		a := w.post("/oauth/introspect", asserted(url.Values{"token": {token}}, w.assertion("resource-server")))
		if a.json["active"] != true {
			t.Errorf("private_key_jwt: %s", a.body)
		}
		if a := ask(token, "Authorization", "Bearer "+token); a.json["active"] != true {
			t.Errorf("its own bearer: %s", a.body)
		}
		narrow := w.backendToken(w.assertion("resource-server"), "system/*.rs").str("access_token")
		if a := ask(token, "Authorization", "Bearer "+narrow); a.json["active"] != false || len(a.json) != 1 {
			t.Errorf("a system bearer without the scope: %s", a.body)
		}
		system := w.backendToken(w.assertion("resource-server"), "system/*.rs introspect").str("access_token")
		if a := ask(token, "Authorization", "Bearer "+system); a.json["active"] != true {
			t.Errorf("a system bearer: %s", a.body)
		}
		if a := ask(system, "Authorization", "Bearer "+token); a.json["active"] != false || len(a.json) != 1 {
			t.Errorf("an app asks about another's token: %s", a.body)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w.pass(time.Hour)
		if a := ask(token, auth...); a.json["active"] != false || len(a.json) != 1 {
			t.Errorf("got %s", a.body)
		}
	})
}

func TestRevocation(t *testing.T) {
	w := newWorld(t, nil)
	revoke := func(token string, header ...string) *answer {
		t.Helper()
		v := url.Values{"token": {token}}
		if len(header) == 0 {
			v.Set("client_id", "public")
		}
		return w.post("/oauth/revoke", v, header...)
	}
	t.Run("A.5.2 an access token alone", func(t *testing.T) {
		a := w.login(standalone)
		want(t, revoke(a.str("access_token")), 200, "")
		if w.works(a.str("access_token")) {
			t.Error("works on")
		}
		want(t, w.refresh(a.str("refresh_token")), 200, "")
	})
	t.Run("A.5.2 a refresh token and all that lives from it", func(t *testing.T) {
		a := w.login(standalone)
		b := w.refresh(a.str("refresh_token"))
		want(t, revoke(b.str("refresh_token")), 200, "")
		if w.works(a.str("access_token")) || w.works(b.str("access_token")) {
			t.Error("an access token works on")
		}
		want(t, w.refresh(b.str("refresh_token")), 400, "invalid_grant") // RV-3
	})
	t.Run("the last token ends the grant", func(t *testing.T) {
		w.person(adams, "")
		defer w.person(grace, "p1")
		a := w.login("openid user/*.rs")
		want(t, revoke(a.str("access_token")), 200, "")
		if g, err := w.server.Grants(t.Context(), "login-adams"); err != nil || len(g) != 0 {
			t.Errorf("got %v, %v", g, err)
		}
	})
	t.Run("unknown tokens", func(t *testing.T) {
		for _, token := range []string{"x", strings.Repeat("x", 43), strings.Repeat("A", 59)} {
			want(t, revoke(token), 200, "")
		}
	})
	t.Run("another client's", func(t *testing.T) {
		a := w.login(standalone)
		for _, token := range []string{a.str("access_token"), a.str("refresh_token")} {
			want(t, revoke(token, "Authorization", basic("confidential", secret)), 400, "invalid_grant")
		}
		if !w.works(a.str("access_token")) {
			t.Error("ended by a stranger")
		}
		want(t, w.refresh(a.str("refresh_token")), 200, "")
	})
	t.Run("clients are authenticated", func(t *testing.T) {
		want(t, revoke("x", "Authorization", basic("confidential", "wrong")), 401, "invalid_client")
		want(t, w.post("/oauth/revoke", url.Values{"token": {"x"}, "client_id": {"nobody"}}), 401, "invalid_client")
		want(t, w.get("/oauth/revoke?token=x&client_id=public"), 405, "invalid_request")
	})
}

func TestGrants(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	t.Run("RV-1 RV-2 RV-3 the person ends it", func(t *testing.T) {
		a := w.login(standalone)
		w.pass(time.Second)
		b := w.refresh(a.str("refresh_token"))
		grants, err := w.server.Grants(ctx, "login-grace")
		if err != nil || len(grants) != 1 {
			t.Fatalf("got %v, %v", grants, err)
		}
		g := grants[0]
		if g.Client.Name != "App" || g.Patient != "p1" || g.Scopes.String() != standalone || !g.LastUsed.Equal(w.now()) || !g.Created.Equal(w.now().Add(-time.Second)) {
			t.Errorf("got %+v", g)
		}
		if err := w.server.RevokeGrant(ctx, "login-adams", g.ID); err != nil || !w.works(b.str("access_token")) {
			t.Errorf("another person ended it: %v", err)
		}
		if err := w.server.RevokeGrant(ctx, "login-grace", g.ID); err != nil {
			t.Fatal(err)
		}
		if w.works(a.str("access_token")) || w.works(b.str("access_token")) {
			t.Error("an access token works on")
		}
		want(t, w.refresh(b.str("refresh_token")), 400, "invalid_grant")
		if grants, _ := w.server.Grants(ctx, "login-grace"); len(grants) != 0 {
			t.Errorf("still listed: %v", grants)
		}
	})
	t.Run("A.2.4 online_access ends with the session", func(t *testing.T) {
		online := w.login("launch/patient online_access patient/*.rs")
		offline := w.login(standalone)
		underWay, lasting := w.code("public", "launch/patient online_access patient/*.rs"), w.code("public", standalone)
		if online.str("refresh_token") == "" {
			t.Fatal("no refresh token")
		}
		if err := w.server.EndSession(ctx, "session-login-grace"); err != nil {
			t.Fatal(err)
		}
		if w.works(online.str("access_token")) || !w.works(offline.str("access_token")) {
			t.Error("the wrong tokens ended")
		}
		want(t, w.refresh(online.str("refresh_token")), 400, "invalid_grant")
		want(t, w.refresh(offline.str("refresh_token")), 200, "")
		want(t, w.post("/oauth/token", exchange(underWay, "client_id", "public")), 400, "invalid_grant")
		want(t, w.post("/oauth/token", exchange(lasting, "client_id", "public")), 200, "")
	})
	t.Run("a removed client has nothing left", func(t *testing.T) {
		w.backend("kiosk", "system/*.rs")
		w.put(smart.Client{ID: "gone", RedirectURIs: []string{callback}, AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: everything})
		app := w.post("/oauth/token", exchange(w.code("gone", standalone), "client_id", "gone")).str("access_token")
		code := w.code("gone", standalone)
		kiosk := w.backendToken(w.assertion("kiosk"), "system/*.rs").str("access_token")
		for _, id := range []string{"gone", "kiosk"} {
			if err := w.server.RemoveClient(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if w.works(app) || w.works(kiosk) {
			t.Error("a token works on")
		}
		want(t, w.post("/oauth/token", exchange(code, "client_id", "gone")), 401, "invalid_client")
		if _, err := w.server.Client(ctx, "gone"); err == nil {
			t.Error("still known")
		}
		if err := w.server.RemoveClient(ctx, "gone"); err == nil {
			t.Error("removed twice")
		}
	})
	t.Run("no more than fifty access tokens", func(t *testing.T) {
		a := w.login(standalone)
		first := a.str("access_token")
		for range 50 {
			a = w.refresh(a.str("refresh_token"))
		}
		if w.works(first) || !w.works(a.str("access_token")) {
			t.Error("the oldest should have given way")
		}
	})
}

func TestLaunch(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	handle := func(l smart.Launch) string {
		t.Helper()
		h, expires, err := w.server.Launch(ctx, l)
		if err != nil || !expires.Equal(w.now().Add(5*time.Minute)) {
			t.Fatal(err, expires)
		}
		return h
	}
	ehr := smart.Launch{ClientID: "public", Identity: adams, Context: smart.Context{Patient: "p7", Encounter: "e7", Intent: "reconcile"}}
	w.person(adams, "")
	scope := "launch openid fhirUser offline_access user/*.rs"

	t.Run("E-3 LC-1 LC-2 LC-3 LC-4 context", func(t *testing.T) {
		a := w.login(scope, "launch", handle(ehr))
		for k, v := range map[string]any{"patient": "p7", "encounter": "e7", "intent": "reconcile", "need_patient_banner": true, "smart_style_url": w.base + "/style.json", "scope": scope} {
			if a.json[k] != v {
				t.Errorf("%s: got %v, want %v", k, a.json[k], v)
			}
		}
		i := w.post("/oauth/introspect", url.Values{"token": {a.str("access_token")}}, "Authorization", basic("confidential", secret))
		for _, k := range []string{"patient", "encounter", "intent", "need_patient_banner", "smart_style_url"} { // LC-8
			if i.json[k] != a.json[k] {
				t.Errorf("introspection %s: got %v, want %v", k, i.json[k], a.json[k])
			}
		}
		if r := w.refresh(a.str("refresh_token")); r.json["encounter"] != "e7" {
			t.Errorf("refresh lost the context: %s", r.body)
		}
	})
	t.Run("LC-5 patient scopes", func(t *testing.T) {
		a := w.login("launch openid fhirUser offline_access patient/Patient.rs", "launch", handle(ehr))
		if a.str("scope") != "launch openid fhirUser offline_access patient/Patient.rs" || a.str("patient") != "p7" {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("B-6 fhirContext and banner as given", func(t *testing.T) {
		no := false
		l := ehr
		l.Context.NeedPatientBanner, l.Context.FHIRContext = &no, []smart.Related{{Reference: "Consent/5", Role: "https://ehr.example/basis"}}
		a := w.login(scope+" launch/consent", "launch", handle(l))
		if !strings.Contains(string(a.body), `"fhirContext":[{"reference":"Consent/5","role":"https://ehr.example/basis"}]`) || a.json["need_patient_banner"] != false || !strings.Contains(a.str("scope"), "launch/consent") {
			t.Errorf("got %s", a.body)
		}
		g, err := w.server.Authenticate(ctx, a.str("access_token"))
		if err != nil || len(g.Launch.FHIRContext) != 1 || g.Launch.FHIRContext[0].Reference != "Consent/5" || *g.Launch.NeedPatientBanner {
			t.Errorf("got %+v, %v", g.Launch, err)
		}
	})
	t.Run("A.1.5 once", func(t *testing.T) {
		h := handle(ehr)
		w.login(scope, "launch", h)
		if q := w.authorize(w.request("public", scope, "launch", h)); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A.1.5 five minutes", func(t *testing.T) {
		early, late := handle(ehr), handle(ehr)
		w.pass(5*time.Minute - time.Millisecond)
		w.login(scope, "launch", early)
		w.pass(time.Millisecond)
		if q := w.authorize(w.request("public", scope, "launch", late)); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A.1.5 another client, which does not use it up", func(t *testing.T) {
		h := handle(ehr)
		if q := w.authorize(w.request("confidential", scope, "launch", h)); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
		w.login(scope, "launch", h)
	})
	t.Run("A.1.5 another person", func(t *testing.T) {
		w.person(grace, "p1")
		defer w.person(adams, "")
		q := w.authorize(w.request("public", scope, "launch", handle(ehr)))
		if q.Get("error") != "access_denied" || q.Has("code") || q.Get("state") == "" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("any client, the first", func(t *testing.T) {
		l := ehr
		l.ClientID = ""
		h := handle(l)
		if q := w.authorize(w.request("confidential", scope, "launch", h)); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
		if q := w.authorize(w.request("public", scope, "launch", h)); q.Get("error") != "invalid_request" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("a cap cuts", func(t *testing.T) {
		l := ehr
		l.Cap, _ = smart.ParseScopes("user/Observation.rs user/Patient.r")
		a := w.login("launch openid user/*.cruds patient/Patient.rs", "launch", handle(l))
		if a.str("scope") != "launch openid user/Observation.rs user/Patient.r patient/Patient.r" {
			t.Errorf("got %q", a.str("scope"))
		}
		l.Cap = smart.Scopes{}
		if a := w.login("launch openid user/*.cruds", "launch", handle(l)); a.str("scope") != "launch openid" {
			t.Errorf("an empty cap: got %q", a.str("scope"))
		}
	})
	t.Run("the page cannot choose another patient", func(t *testing.T) {
		w.answer = func(p *authserver.Pending) (authserver.Approval, *smart.Error) {
			if p.NeedPatient || p.Launch == nil || p.Launch.Context.Patient != "p7" {
				t.Errorf("got %+v", p)
			}
			return authserver.Approval{Identity: adams, Scopes: p.Scopes, Patient: "p8"}, nil
		}
		defer w.person(adams, "")
		if a := w.login("launch patient/*.rs", "launch", handle(ehr)); a.str("patient") != "p7" {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("launch without a handle is dropped", func(t *testing.T) {
		if a := w.login("launch openid user/*.rs"); a.str("scope") != "openid user/*.rs" {
			t.Errorf("got %q", a.str("scope"))
		}
	})
	t.Run("no unknown client", func(t *testing.T) {
		if _, _, err := w.server.Launch(ctx, smart.Launch{ClientID: "nobody", Identity: adams}); err == nil {
			t.Error("made a handle")
		}
	})
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t, nil)
	a := w.get("/.well-known/openid-configuration")
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Fatalf("ID-3: %d %v", a.status, a.header)
	}
	b, err := json.Marshal(w.server.SMARTConfiguration())
	if err != nil {
		t.Fatal(err)
	}
	var smartConfig map[string]any
	if err := json.Unmarshal(b, &smartConfig); err != nil {
		t.Fatal(err)
	}
	oauth := w.get("/.well-known/oauth-authorization-server") // RFC 8414
	if oauth.status != http.StatusOK || oauth.header.Get("Content-Type") != "application/json" {
		t.Errorf("RFC 8414: %d %v", oauth.status, oauth.header)
	}
	for name, c := range map[string]map[string]any{"openid": a.json, "oauth": oauth.json, "smart": smartConfig} {
		for _, k := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "registration_endpoint", "management_endpoint", "userinfo_endpoint"} {
			if s, _ := c[k].(string); !strings.HasPrefix(s, w.base+"/") {
				t.Errorf("%s %s: %v", name, k, c[k])
			}
		}
		if c["issuer"] != w.base {
			t.Errorf("%s issuer %v", name, c["issuer"])
		}
		for k, v := range map[string]string{"grant_types_supported": "client_credentials", "code_challenge_methods_supported": "S256", "response_types_supported": "code",
			"token_endpoint_auth_methods_supported": "private_key_jwt", "token_endpoint_auth_signing_alg_values_supported": "ES384", "subject_types_supported": "public",
			"id_token_signing_alg_values_supported": "RS256", "scopes_supported": "patient/*.rs"} {
			if list, _ := c[k].([]any); !slices.Contains(list, any(v)) || slices.Contains(list, any("plain")) {
				t.Errorf("%s %s: %v", name, k, c[k])
			}
		}
	}
	closed := newWorld(t, func(c *authserver.Config) { c.OpenRegistration = false; c.StyleURL = "" })
	b, _ = json.Marshal(closed.server.SMARTConfiguration())
	if strings.Contains(string(b), "registration_endpoint") || strings.Contains(string(b), "context-style") {
		t.Errorf("promises what it does not do: %s", b)
	}
}
