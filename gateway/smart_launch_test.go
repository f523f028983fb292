package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func authorizeRows(t *testing.T, w *smartWorld) {
	t.Run("A-1 an http URL", func(t *testing.T) {
		d := w.send("GET", "/fhir/.well-known/smart-configuration", "")
		if u, err := url.Parse(d.str("authorization_endpoint")); err != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("got %q", d.str("authorization_endpoint"))
		}
	})
	t.Run("A-2 A-5 GET: code, the same state, no error", func(t *testing.T) {
		q := w.authorize("grace", w.ask("public", fullScope), mateo)
		if q.Get("code") == "" || q.Get("state") != "st/at e" || q.Has("error") || q.Get("iss") != w.URL {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-3 aud as typed, with a slash", func(t *testing.T) {
		if q := w.authorize("grace", w.ask("public", fullScope, "aud", w.URL+"/fhir/"), mateo); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-4 POST from another site, without cookies", func(t *testing.T) {
		w.code("grace", "public", fullScope, mateo) // a session there is
		form := w.ask("public", fullScope).Encode()
		r := w.send("POST", "/oauth/authorize", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site")
		if r.status != http.StatusSeeOther || len(r.header.Values("Set-Cookie")) > 0 {
			t.Fatalf("got %d %v", r.status, r.header)
		}
		if q := w.approve("grace", w.browser("grace").open(r.header.Get("Location")), mateo); q.Get("code") == "" || q.Get("state") != "st/at e" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A-6 invalid aud: error to the app, no code", func(t *testing.T) {
		r := w.send("GET", "/oauth/authorize?"+w.ask("public", fullScope, "aud", "https://elsewhere.example/invalid_aud").Encode(), "")
		u, _ := url.Parse(r.header.Get("Location"))
		if q := u.Query(); !strings.HasPrefix(u.String(), w.app.URL) || q.Get("error") != "invalid_request" || q.Get("state") != "st/at e" || q.Has("code") {
			t.Errorf("got %s", u)
		}
	})
	t.Run("A-7 all kinds of clients", func(t *testing.T) {
		for _, kind := range []string{"public", "confidential", "inline", "fetched"} {
			if r := w.enter("grace", kind, fullScope, mateo); r.str("access_token") == "" {
				t.Errorf("%s: %s", kind, r.body)
			}
		}
	})
	t.Run("A-9 the page says that access goes on", func(t *testing.T) {
		page := w.browser("grace").open(w.URL + "/oauth/authorize?" + w.ask("public", fullScope).Encode())
		if !strings.Contains(page.text, "while you are away") || !strings.Contains(page.text, `name="scope"`) || !strings.Contains(page.text, `name="part"`) {
			t.Errorf("got %s", page.text)
		}
	})
}

func launchRows(t *testing.T, w *smartWorld) {
	user := w.enter("dr.adams", "public", "openid fhirUser user/*.rs", nil)
	found := w.fhir("Encounter?patient=pt-1&_count=1", user.str("access_token"))
	_, encounter, _ := strings.Cut(found.body, `"fullUrl":"`+w.URL+"/fhir/Encounter/")
	encounter, _, ok := strings.Cut(encounter, `"`)
	if !ok {
		t.Fatalf("no encounter: %.300s", found.body)
	}
	l := w.ehr("public", "Practitioner/pr-adams", map[string]any{"encounter": encounter, "intent": "order-review"})
	t.Run("E-1 E-2 the launch URL", func(t *testing.T) {
		u, err := url.Parse(l.str("launch_url"))
		if err != nil || !strings.HasPrefix(u.String(), w.app.URL+"/launch?") || u.Query().Get("iss") != w.URL+"/fhir" || u.Query().Get("launch") == "" {
			t.Errorf("got %s", l.body)
		}
	})
	const practitioner = "launch openid fhirUser offline_access user/*.rs"
	r := w.enter("dr.adams", "public", practitioner, nil, "launch", l.str("launch"))
	t.Run("E-3 the handle comes back with scope launch", func(t *testing.T) {
		if r.str("scope") != practitioner {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("LC-1 patient", func(t *testing.T) {
		if got := w.fhir("Patient/"+r.str("patient"), r.str("access_token")); r.str("patient") != "pt-1" || got.str("resourceType") != "Patient" {
			t.Errorf("got %s, %d", r.body, got.status)
		}
	})
	t.Run("LC-2 encounter", func(t *testing.T) {
		if got := w.fhir("Encounter/"+r.str("encounter"), r.str("access_token")); r.str("encounter") != encounter || got.str("resourceType") != "Encounter" {
			t.Errorf("got %s, %d", r.body, got.status)
		}
	})
	t.Run("LC-3 style", func(t *testing.T) {
		if got := w.send("GET", r.str("smart_style_url"), ""); got.status != 200 || got.json == nil {
			t.Errorf("got %q, %d", r.str("smart_style_url"), got.status)
		}
	})
	t.Run("LC-4 banner", func(t *testing.T) {
		if _, ok := r.json["need_patient_banner"].(bool); !ok {
			t.Errorf("got %v", r.json["need_patient_banner"])
		}
	})
	t.Run("LC-5 an EHR launch with patient scopes", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", nil)
		r := w.enter("dr.adams", "public", "launch openid fhirUser offline_access patient/Patient.rs", nil, "launch", l.str("launch"))
		if r.str("scope") != "launch openid fhirUser offline_access patient/Patient.rs" || w.fhir("Patient/"+r.str("patient"), r.str("access_token")).status != 200 {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("LC-6 B-6 fhirContext when there is something to say", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", map[string]any{"fhirContext": []any{map[string]any{"reference": "ImagingStudy/is-1"}}})
		r := w.enter("dr.adams", "public", practitioner, nil, "launch", l.str("launch"))
		items, _ := r.json["fhirContext"].([]any)
		if item, _ := items[0].(map[string]any); len(items) != 1 || item["reference"] != "ImagingStudy/is-1" {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("LC-7 B-8 intent, tenant, id_token at the top", func(t *testing.T) {
		if r.str("intent") != "order-review" || r.str("id_token") == "" || r.json["tenant"] != nil { // the demo has no tenant
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("LC-8 I-5 the context in introspection", func(t *testing.T) {
		i := w.form("/oauth/introspect", url.Values{"token": {r.str("access_token")}}, "Authorization", basicAuth(w.ids["confidential"], w.pass["confidential"]))
		for _, name := range []string{"patient", "encounter", "intent", "need_patient_banner", "smart_style_url"} {
			if i.json[name] != r.json[name] || r.json[name] == nil {
				t.Errorf("%s: got %v, want %v", name, i.json[name], r.json[name])
			}
		}
	})
}

func tokenRows(t *testing.T, w *smartWorld) {
	code := func() string { return w.code("grace", "confidential", fullScope, mateo) }
	r := w.token("public", w.redeem("public", w.code("grace", "public", fullScope, mateo)), "Origin", w.app.URL)
	t.Run("T-1 T-2 B-1 B-2 a public client", func(t *testing.T) {
		expect(t, r, 200)
		for _, name := range []string{"access_token", "token_type", "scope", "refresh_token"} {
			if r.str(name) == "" {
				t.Errorf("no %s: %s", name, r.body)
			}
		}
		if n, ok := r.json["expires_in"].(float64); !ok || n <= 0 || n > 3600 {
			t.Errorf("expires_in: %v", r.json["expires_in"])
		}
	})
	t.Run("T-3 CA-2 Basic, not encoded, no client_id in the body", func(t *testing.T) {
		expect(t, w.token("confidential", w.redeem("confidential", code())), 200)
	})
	t.Run("T-4 an assertion, no client_id in the body", func(t *testing.T) {
		expect(t, w.token("inline", w.redeem("inline", w.code("grace", "inline", fullScope, mateo))), 200)
	})
	t.Run("T-5 wrong code: exactly 400", func(t *testing.T) {
		refused(t, w.token("confidential", w.redeem("confidential", "BAD_CODE")), 400, "invalid_grant")
	})
	t.Run("T-6 unknown client", func(t *testing.T) {
		r := w.form("/oauth/token", w.redeem("confidential", code()), "Authorization", basicAuth("BAD_CLIENT_ID", w.pass["confidential"]))
		refused(t, r, 401, "invalid_client")
	})
	t.Run("T-7 the verifier", func(t *testing.T) {
		for _, verifier := range []string{"absent", "", strings.Repeat("wrong", 10), challengeOf(theVerifier)} {
			v := w.redeem("confidential", code())
			if v.Set("code_verifier", verifier); verifier == "absent" {
				v.Del("code_verifier")
			}
			expect(t, w.token("confidential", v), 400, 401)
		}
	})
	t.Run("T-8 a public client has an ID token and reads", func(t *testing.T) {
		if r.str("id_token") == "" || w.fhir("Patient/"+r.str("patient"), r.str("access_token")).status != 200 {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("T-9 an asymmetric client has an ID token, reads, refreshes", func(t *testing.T) {
		r := w.enter("grace", "fetched", fullScope, mateo)
		again := w.refresh("fetched", r.str("refresh_token"))
		if r.str("id_token") == "" || w.fhir("Patient/pt-1", again.str("access_token")).status != 200 {
			t.Errorf("got %s, %s", r.body, again.body)
		}
	})
	t.Run("B-3 Bearer", func(t *testing.T) {
		if !strings.EqualFold(r.str("token_type"), "Bearer") {
			t.Errorf("got %q", r.str("token_type"))
		}
	})
	t.Run("B-4 all that was asked", func(t *testing.T) {
		if r.str("scope") != fullScope {
			t.Errorf("got %q", r.str("scope"))
		}
	})
	t.Run("B-5 not cached", func(t *testing.T) {
		for _, r := range []reply{r, w.refresh("public", r.str("refresh_token")), w.system("backend", "system/*.rs"), w.token("public", w.redeem("public", "BAD"))} {
			if !strings.Contains(r.header.Get("Cache-Control"), "no-store") || !strings.Contains(r.header.Get("Pragma"), "no-cache") {
				t.Errorf("got %v", r.header)
			}
		}
	})
	t.Run("B-7 no fhirContext without something to say", func(t *testing.T) {
		if _, given := r.json["fhirContext"]; given {
			t.Errorf("got %s", r.body)
		}
	})
}

func refreshRows(t *testing.T, w *smartWorld) {
	t.Run("F-1 for all clients with offline_access", func(t *testing.T) {
		for _, kind := range []string{"public", "confidential", "inline", "fetched"} {
			if r := w.enter("grace", kind, fullScope, mateo); r.str("refresh_token") == "" {
				t.Errorf("%s: %s", kind, r.body)
			}
		}
	})
	t.Run("F-2 F-4 F-5 F-6 without scope", func(t *testing.T) {
		for _, kind := range []string{"public", "confidential", "inline"} {
			was := w.enter("grace", kind, fullScope, mateo)
			r := w.refresh(kind, was.str("refresh_token"))
			expect(t, r, 200)
			if r.str("access_token") == "" || r.str("scope") != was.str("scope") || r.str("refresh_token") == "" || !strings.Contains(r.header.Get("Cache-Control"), "no-store") {
				t.Errorf("%s: %s %v", kind, r.body, r.header)
			}
			expect(t, w.refresh(kind, r.str("refresh_token")), 200)
		}
	})
	t.Run("F-3 with the whole scope", func(t *testing.T) {
		was := w.enter("grace", "public", fullScope+" patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", mateo)
		r := w.refresh("public", was.str("refresh_token"), "scope", was.str("scope"))
		if r.status != 200 || r.str("scope") != was.str("scope") {
			t.Errorf("got %s", r.body)
		}
	})
	t.Run("F-7 a random token", func(t *testing.T) {
		expect(t, w.refresh("confidential", "2f1c8d3e-1111-4222-8333-944445555666"), 400, 401)
	})
	t.Run("F-8 reading with the new token", func(t *testing.T) {
		r := w.refresh("public", w.enter("grace", "public", fullScope, mateo).str("refresh_token"))
		expect(t, w.fhir("Patient/"+r.str("patient"), r.str("access_token")), 200)
	})
}

func clientRows(t *testing.T, w *smartWorld) {
	t.Run("CA-1 public: client_id in the body", func(t *testing.T) { w.enter("grace", "public", fullScope, mateo) })
	t.Run("CA-3 CA-4 CA-5 ES384 and RS384, by kid, without jku, iat and nbf", func(t *testing.T) {
		for _, kind := range []string{"inline", "fetched"} {
			for _, alg := range []jose.SignatureAlgorithm{jose.ES384, jose.RS384} {
				v := with(w.redeem(kind, w.code("grace", kind, fullScope, mateo)), "client_assertion_type", jwtBearer, "client_assertion", w.sign(kind, alg, nil, nil))
				expect(t, w.form("/oauth/token", v), 200)
			}
		}
	})
	t.Run("CA-6 a JWKS URL over plain http on this machine", func(t *testing.T) {
		w.enter("grace", "fetched", fullScope, mateo)
		if w.app.fetched == 0 {
			t.Error("nobody fetched the keys")
		}
	})
	t.Run("CA-7 jku must be the registered URL", func(t *testing.T) {
		for jku, status := range map[string]int{w.app.URL + "/jwks": 400, w.app.URL + "/jwks.json": 401} { // 400: of the code
			v := with(w.redeem("fetched", "BAD"), "client_assertion_type", jwtBearer, "client_assertion", w.sign("fetched", jose.RS384, nil, map[string]any{"jku": jku}))
			expect(t, w.form("/oauth/token", v), status)
		}
	})
}

func backendRows(t *testing.T, w *smartWorld) {
	t.Run("BS-1 BS-2 a token", func(t *testing.T) {
		r := w.system("backend", "system/*.rs")
		if n, ok := r.json["expires_in"].(float64); r.status != 200 || !ok || n > 300 || r.str("access_token") == "" || !strings.EqualFold(r.str("token_type"), "bearer") || r.str("scope") == "" || r.json["refresh_token"] != nil {
			t.Errorf("got %d %s", r.status, r.body)
		}
	})
	t.Run("BS-3 another grant type: exactly 400", func(t *testing.T) {
		refused(t, w.token("backend", url.Values{"grant_type": {"not_a_grant_type"}, "scope": {"system/*.rs"}}), 400, "unsupported_grant_type")
	})
	t.Run("BS-4 BS-5 another assertion type", func(t *testing.T) {
		v, _ := w.credentials("backend", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}})
		expect(t, w.form("/oauth/token", with(v, "client_assertion_type", "not_an_assertion_type")), 400, 401)
	})
	t.Run("BS-6 v1 and v2 scopes", func(t *testing.T) {
		for _, scope := range []string{"system/*.read", "system/*.rs"} {
			if r := w.system("backend", scope); r.status != 200 || r.str("scope") != scope {
				t.Errorf("%s: %s", scope, r.body)
			}
		}
	})
	t.Run("BS-7 no more than was registered", func(t *testing.T) {
		if r := w.system("narrow", "system/*.cruds openid user/*.rs"); r.str("scope") != "system/Patient.rs" {
			t.Errorf("got %s", r.body)
		}
		refused(t, w.system("narrow", "system/Observation.rs"), 400, "invalid_scope")
	})
}
