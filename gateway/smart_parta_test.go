package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// answered is what a request to authorize leads to at once: the app's parameters,
// or nil when it stays with us.
func (w *smartWorld) answered(request url.Values) (url.Values, reply) {
	w.t.Helper()
	r := w.send("GET", "/oauth/authorize?"+request.Encode(), "")
	to := r.header.Get("Location")
	if !strings.HasPrefix(to, w.app.URL) {
		return nil, r
	}
	u, _ := url.Parse(to)
	return u.Query(), r
}

func partA1(t *testing.T, w *smartWorld) {
	failed := func(t *testing.T, code string, request url.Values) {
		t.Helper()
		q, r := w.answered(request)
		if q.Get("error") != code || q.Get("state") != request.Get("state") || q.Has("code") || q.Get("iss") != w.URL {
			t.Errorf("got %v (%d), want %s", q, r.status, code)
		}
	}
	t.Run("A.1.1 a wrong redirect URI or client never redirects", func(t *testing.T) {
		for _, request := range []url.Values{
			w.ask("public", fullScope, "redirect_uri", "https://evil.example/callback"), w.ask("public", fullScope, "redirect_uri", w.app.URL+"/callback/"),
			w.ask("public", fullScope, "redirect_uri", w.app.URL+"/callb%61ck"), w.ask("public", fullScope, "redirect_uri", ""),
			w.ask("public", fullScope, "client_id", "nobody"), w.ask("public", fullScope, "client_id", ""),
		} {
			if _, r := w.answered(request); r.status != http.StatusBadRequest || r.header.Get("Location") != "" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
				t.Errorf("%v: %d %v", request, r.status, r.header)
			}
		}
	})
	t.Run("A.1.2 PKCE at authorize", func(t *testing.T) {
		for _, change := range [][]string{{"code_challenge", ""}, {"code_challenge_method", ""}, {"code_challenge_method", "plain"}, {"code_challenge", "short"}} {
			failed(t, "invalid_request", w.ask("public", fullScope, change...))
		}
	})
	t.Run("A.1.3 POST", func(t *testing.T) {
		r := w.form("/oauth/authorize", w.ask("public", fullScope))
		if r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), w.URL) {
			t.Errorf("got %d %v", r.status, r.header)
		}
		expect(t, w.send("POST", "/oauth/authorize", "{}", "Content-Type", "application/json"), 415)
	})
	t.Run("A.1.4 response type, scopes, denial", func(t *testing.T) {
		failed(t, "unsupported_response_type", w.ask("public", fullScope, "response_type", "token"))
		failed(t, "invalid_scope", w.ask("public", "patient/Patient.dus nonsense system/*.rs"))
		failed(t, "invalid_scope", w.ask("public", "patient/Spaceship.rs"))
		failed(t, "invalid_scope", w.ask("public", "patient/Observation.rs?nonsense=x"))
		failed(t, "invalid_scope", w.ask("public", "patient/Observation.rs?_sort=date"))
		failed(t, "invalid_scope", w.ask("public", "patient/Observation.rs?date=yesterday"))
		failed(t, "invalid_scope", w.ask("public", "patient/*.rs?category=laboratory"))
		if r := w.enter("grace", "public", "launch/patient patient/Spaceship.rs patient/Patient.dus nonsense patient/Patient.rs patient/*.rs?_security=N", mateo); r.str("scope") != "launch/patient patient/Patient.rs patient/*.rs?_security=N" {
			t.Errorf("got %q", r.str("scope"))
		}
		if q := w.authorize("grace", w.ask("public", fullScope), url.Values{"action": {"deny"}}); q.Get("error") != "access_denied" || q.Get("state") == "" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("A.1.5 launch: once, of its client, person and place", func(t *testing.T) {
		const scope = "launch openid fhirUser user/*.rs"
		failed(t, "invalid_request", w.ask("public", scope, "launch", "made-up"))
		l := w.ehr("public", "Practitioner/pr-adams", nil).str("launch")
		failed(t, "invalid_request", w.ask("confidential", scope, "launch", l))
		if q := w.authorize("dr.chen", w.ask("public", scope, "launch", l), nil); q.Get("error") != "access_denied" {
			t.Errorf("another person: got %v", q)
		}
		w.enter("dr.adams", "public", scope, nil, "launch", l)
		failed(t, "invalid_request", w.ask("public", scope, "launch", l))
		b := w.browser("dr.okafor")
		w.enter("dr.okafor", "public", "openid user/*.rs", nil)
		page := b.open(w.URL + "/oauth/authorize?" + w.ask("public", "openid patient/*.rs").Encode())
		if page = b.submit(page, "action", url.Values{"action": {"approve"}}); page.leaves != "" || !strings.Contains(page.text, "There is no patient to choose") {
			t.Errorf("a patient scope without a patient: %d %s", page.status, page.leaves)
		}
	})
	t.Run("A.1.6 resource is another name of aud", func(t *testing.T) {
		if q := w.authorize("grace", w.ask("public", fullScope, "aud", "", "resource", w.URL+"/fhir"), mateo); q.Get("code") == "" {
			t.Errorf("got %v", q)
		}
		failed(t, "invalid_request", w.ask("public", fullScope, "aud", ""))
		failed(t, "invalid_request", w.ask("public", fullScope, "resource", "https://elsewhere.example/fhir"))
	})
	t.Run("A.1.7 prompt, nonce, max_age, no request objects", func(t *testing.T) {
		stranger := w.newVisitor()
		silent := stranger.open(w.URL + "/oauth/authorize?" + w.ask("public", fullScope, "prompt", "none").Encode())
		if !strings.Contains(silent.leaves, "error=login_required") {
			t.Errorf("prompt=none, nobody there: %s", silent.leaves)
		}
		if q := w.authorize("grace", w.ask("public", fullScope, "prompt", "none"), nil); q.Get("error") != "consent_required" {
			t.Errorf("prompt=none: %v", q)
		}
		for _, prompt := range []string{"login", "consent", "select_account"} {
			r := w.enter("grace", "public", fullScope, mateo, "prompt", prompt, "nonce", "n-"+prompt, "login_hint", "grace")
			if _, claims := w.idToken(r.str("id_token")); claims["nonce"] != "n-"+prompt {
				t.Errorf("%s: %v", prompt, claims)
			}
		}
		before := w.clock.Now()
		w.clock.set(before.Add(10 * time.Minute))
		page := w.browser("grace").open(w.URL + "/oauth/authorize?" + w.ask("public", fullScope, "max_age", "60").Encode())
		if !strings.Contains(page.text, `name="username"`) {
			t.Errorf("max_age: at %s", page.at)
		}
		failed(t, "invalid_request", w.ask("public", fullScope, "prompt", "none login"))
		failed(t, "request_not_supported", w.ask("public", fullScope, "request", "a.b.c"))
		failed(t, "request_uri_not_supported", w.ask("public", fullScope, "request_uri", "https://app.example/r"))
	})
	t.Run("A.1.8 context scopes with roles", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", map[string]any{"fhirContext": []any{map[string]any{"reference": "Consent/c-1", "role": "https://ehr.example/basis"}}})
		r := w.enter("dr.adams", "public", "launch openid launch/consent user/*.rs", nil, "launch", l.str("launch"))
		if lacking(scopesIn(r), "launch/consent") != nil || r.json["fhirContext"] == nil {
			t.Errorf("got %s", r.body)
		}
	})
}

func partA2(t *testing.T, w *smartWorld) {
	t.Run("A.2.2 errors", func(t *testing.T) {
		r := w.form("/oauth/token", w.redeem("confidential", "x"), "Authorization", basicAuth(w.ids["confidential"], "wrong"))
		refused(t, r, 401, "invalid_client")
		if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic") || r.header.Get("Cache-Control") != "no-store" || r.str("error_description") == "" {
			t.Errorf("got %v %s", r.header, r.body)
		}
		refused(t, w.form("/oauth/token", url.Values{"grant_type": {"password"}, "client_id": {w.ids["public"]}}), 400, "unsupported_grant_type")
		refused(t, w.form("/oauth/token", url.Values{"client_id": {w.ids["public"]}}), 400, "invalid_request")
		refused(t, w.form("/oauth/token?client_id=x", w.redeem("public", "x")), 400, "invalid_request")
		for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/introspect"} {
			if got := w.send("GET", path, ""); got.status != 405 || got.header.Get("Allow") != "POST" {
				t.Errorf("%s: %d", path, got.status)
			}
			expect(t, w.send("POST", path, "{}", "Content-Type", "application/json"), 415)
		}
	})
	t.Run("A.2.3 one way of authentication, the right one", func(t *testing.T) {
		code := w.redeem("confidential", w.code("grace", "confidential", fullScope, mateo))
		basic := basicAuth(w.ids["confidential"], w.pass["confidential"])
		refused(t, w.form("/oauth/token", with(code, "client_secret", w.pass["confidential"]), "Authorization", basic), 400, "invalid_request")
		refused(t, w.form("/oauth/token", with(code, "client_assertion_type", jwtBearer, "client_assertion", w.sign("inline", jose.ES384, nil, nil)), "Authorization", basic), 400, "invalid_request")
		refused(t, w.form("/oauth/token", with(code, "client_id", w.ids["confidential"], "client_secret", w.pass["confidential"])), 401, "invalid_client")
		refused(t, w.form("/oauth/token", with(code, "client_id", w.ids["confidential"])), 401, "invalid_client")
		system := url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}}
		refused(t, w.form("/oauth/token", with(system, "client_id", w.ids["public"])), 400, "unauthorized_client")
		refused(t, w.form("/oauth/token", system, "Authorization", basic), 400, "unauthorized_client")
	})
	t.Run("A.2.6 authorization_details, members", func(t *testing.T) {
		refused(t, w.token("public", w.redeem("public", "x", "authorization_details", "[]")), 400, "invalid_authorization_details")
		if q, _ := w.answered(w.ask("public", fullScope, "authorization_details", "[]")); q.Get("error") != "invalid_authorization_details" {
			t.Errorf("got %v", q)
		}
		known := strings.Fields("access_token token_type expires_in scope refresh_token id_token patient encounter intent need_patient_banner smart_style_url fhirContext tenant")
		for name := range w.enter("grace", "public", fullScope, mateo).json {
			if !slices.Contains(known, name) {
				t.Errorf("unknown member %s", name)
			}
		}
	})
}

func partA3(t *testing.T, w *smartWorld) {
	try := func(assertion string) reply {
		return w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {assertion}})
	}
	now := w.clock.Now().Unix()
	t.Run("A.3.1 A.3.4 claims, header and the one key", func(t *testing.T) {
		expect(t, try(w.sign("backend", jose.RS384, map[string]any{"exp": now + 330}, nil)), 200) // a clock that is ahead
		for name, claims := range map[string]map[string]any{"exp missing": {"exp": nil}, "exp past": {"exp": now - 1}, "exp far": {"exp": now + 3600}, "iss": {"iss": "nobody"}, "sub": {"sub": "nobody"},
			"aud": {"aud": "https://elsewhere.example/token"}, "aud missing": {"aud": nil}, "jti missing": {"jti": nil}, "nbf": {"nbf": now + 3600}} {
			if r := try(w.sign("backend", jose.RS384, claims, nil)); r.status != 401 || r.str("error") != "invalid_client" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		for name, header := range map[string]map[string]any{"kid missing": {"kid": nil}, "kid unknown": {"kid": "x"}, "kid of the other key": {"kid": "ec"}, "typ": {"typ": "at+jwt"}} {
			if r := try(w.sign("backend", jose.RS384, nil, header)); r.status != 401 || r.str("error") != "invalid_client" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
	})
	t.Run("A.3.2 jti once", func(t *testing.T) {
		assertion := w.sign("backend", jose.RS384, nil, nil)
		expect(t, try(assertion), 200)
		refused(t, try(assertion), 401, "invalid_client")
		expect(t, try(w.sign("backend", jose.RS384, map[string]any{"jti": "shared"}, nil)), 200)
		expect(t, try(w.sign("narrow", jose.RS384, map[string]any{"jti": "shared"}, nil)), 200, 400) // of another client
	})
	t.Run("A.3.3 jku", func(t *testing.T) {
		expect(t, try(w.sign("backend", jose.RS384, nil, map[string]any{"jku": w.app.URL + "/jwks"})), 200)
		refused(t, try(w.sign("backend", jose.RS384, nil, map[string]any{"jku": w.app.URL + "/other"})), 401, "invalid_client")
		refused(t, w.form("/oauth/token", with(w.redeem("inline", "x"), "client_assertion_type", jwtBearer, "client_assertion",
			w.sign("inline", jose.ES384, nil, map[string]any{"jku": w.app.URL + "/jwks"}))), 401, "invalid_client")
	})
	t.Run("A.3.5 keys are cached, and fetched again for a new one", func(t *testing.T) {
		app := newFakeApp(t)
		app.publish(jose.JSONWebKey{Key: &w.rsa.PublicKey, KeyID: "one"})
		w.register("rotating", map[string]any{"grant_types": []string{"client_credentials"}, "scope": "system/*.rs", "jwks_uri": app.URL + "/jwks"})
		use := func(kid string) reply { return try(w.sign("rotating", jose.RS384, nil, map[string]any{"kid": kid})) }
		for range 3 {
			expect(t, use("one"), 200)
		}
		if app.fetched != 1 {
			t.Errorf("fetched %d times", app.fetched)
		}
		app.publish(jose.JSONWebKey{Key: &w.rsa.PublicKey, KeyID: "two"})
		expect(t, use("two"), 200)
		expect(t, use("one"), 401)
		for range 30 {
			use(rand.Text())
		}
		if app.fetched > 20 {
			t.Errorf("unknown kids cause %d fetches", app.fetched)
		}
	})
	t.Run("A.3.6 inline keys and a URL", func(t *testing.T) {
		w.enter("grace", "inline", fullScope, mateo)
		w.enter("grace", "fetched", fullScope, mateo)
	})
}

func partA4(t *testing.T, w *smartWorld) {
	r := w.enter("grace", "public", "launch/patient patient/Patient.rs patient/Observation.rs?category="+observationCategory+"vital-signs patient/Condition.r", mateo)
	token := r.str("access_token")
	t.Run("A.4.1 401 and 403", func(t *testing.T) {
		if got := w.fhir("Patient/pt-1", "nonsense-nonsense-nonsense"); got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("got %d %v", got.status, got.header)
		}
		if got := w.fhir("Immunization?patient=pt-1", token); got.status != 403 || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("got %d %v", got.status, got.header)
		}
	})
	t.Run("A.4.2 letters", func(t *testing.T) {
		expect(t, w.fhir("Condition?patient=pt-1", token), 403)
		hits, _ := w.all("Condition?patient=pt-1&_count=1", w.enter("grace", "public", "launch/patient patient/Condition.s", mateo).str("access_token"))
		if len(hits) == 0 {
			t.Fatal("no condition")
		}
		expect(t, w.fhir("Condition/"+hits[0].ID, token), 200)
		expect(t, w.fhir("Condition/"+hits[0].ID+"/_history", token), 200)
		only := w.enter("grace", "public", "launch/patient patient/Condition.s", mateo).str("access_token")
		expect(t, w.fhir("Condition/"+hits[0].ID, only), 403)
		expect(t, w.fhir("Condition/"+hits[0].ID+"/_history", only), 403)
		adams := w.enter("dr.adams", "public", "openid user/Condition.rs", nil).str("access_token")
		body := `{"resourceType":"Condition","code":{"text":"x"},"subject":{"reference":"Patient/pt-1"}}`
		for _, method := range [][2]string{{"POST", "Condition"}, {"PUT", "Condition/" + hits[0].ID}, {"DELETE", "Condition/" + hits[0].ID}} {
			got := w.send(method[0], "/fhir/"+method[1], body, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+adams)
			if got.status != 403 {
				t.Errorf("%v: %d %.200s", method, got.status, got.body)
			}
		}
	})
	t.Run("A.4.3 the launch patient, on every way", func(t *testing.T) {
		all := w.enter("grace", "public", "launch/patient patient/*.rs", mateo).str("access_token")
		for _, query := range []string{"Patient", "Patient?_has:Observation:subject:status=final", "Observation", "Observation?subject:Patient.family=rivera", "Observation?_include=Observation:subject",
			"Patient?_revinclude=Observation:subject", "Encounter", "Condition?patient=pt-2", "Patient?_id=pt-2"} {
			hits, status := w.all(strings.ReplaceAll(query, " ", "%20")+map[bool]string{true: "&", false: "?"}[strings.Contains(query, "?")]+"_count=100", all)
			for _, h := range hits {
				if h.Type == "Patient" && h.ID != "pt-1" {
					t.Errorf("%s: gives %s", query, h.ID)
				}
			}
			if status != 200 || strings.HasSuffix(query, "pt-2") && len(hits) > 0 {
				t.Errorf("%s: %d, %d hits", query, status, len(hits))
			}
		}
		form := w.form("/fhir/Patient/_search", url.Values{"_id": {"pt-2"}}, "Authorization", "Bearer "+all, "Accept", "application/fhir+json")
		if form.status != 200 || strings.Contains(form.body, `"id":"pt-2"`) {
			t.Errorf("_search: %d %.300s", form.status, form.body)
		}
		for _, path := range []string{"Patient/pt-2", "Patient/pt-2/_history", "Patient/pt-2/_history/1"} {
			if got := w.fhir(path, all); got.status == 200 {
				t.Errorf("%s: %d", path, got.status)
			}
		}
	})
	t.Run("A.4.4 what comes along, and write images", func(t *testing.T) {
		narrow := w.enter("grace", "public", "launch/patient patient/Observation.rs?category="+observationCategory+"vital-signs", mateo).str("access_token")
		if hits, _ := w.all("Observation?_include=Observation:subject&_include=Observation:encounter&_count=50", narrow); slices.ContainsFunc(hits, func(h hit) bool {
			return h.Type != "Observation" || !h.in(observationCategory+"vital-signs")
		}) {
			t.Error("an include brings what no scope opens")
		}
		if hits, _ := w.all("Patient?_id=pt-1&_revinclude=Observation:subject&_revinclude=Condition:subject&_count=50", token); slices.ContainsFunc(hits, func(h hit) bool {
			return h.Type == "Observation" && !h.in(observationCategory+"vital-signs")
		}) {
			t.Error("a revinclude brings what no scope opens")
		}
		vitals := w.enter("dr.adams", "public", "openid user/Observation.cruds?category="+observationCategory+"vital-signs", nil).str("access_token")
		observation := func(code string) string {
			return `{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"` + code + `"}]}],"code":{"text":"x"},"subject":{"reference":"Patient/pt-1"}}`
		}
		write := func(method, path, body string) reply {
			return w.send(method, "/fhir/"+path, body, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+vitals)
		}
		expect(t, write("POST", "Observation", observation("laboratory")), 403)
		made := write("POST", "Observation", observation("vital-signs"))
		expect(t, made, 201)
		changed := strings.Replace(observation("laboratory"), `{`, `{"id":"`+made.str("id")+`",`, 1)
		expect(t, write("PUT", "Observation/"+made.str("id"), changed), 403)
		lab := strings.TrimPrefix(w.categorised(t)[observationCategory+"laboratory"], "Observation/")
		image := strings.Replace(observation("vital-signs"), `{`, `{"id":"`+lab+`",`, 1)
		expect(t, write("PUT", "Observation/"+lab, image), 403, 404)
		expect(t, write("DELETE", "Observation/"+lab, ""), 403, 404, 204)
		if got := w.fhir("Observation/"+lab, w.enter("dr.adams", "public", "openid user/*.rs", nil).str("access_token")); got.status != 200 {
			t.Errorf("a resource outside the scope is gone: %d", got.status)
		}
	})
	t.Run("A.4.5 transactions, entry by entry", func(t *testing.T) {
		adams := w.enter("dr.adams", "public", "openid user/Condition.rs", nil).str("access_token")
		before, _ := w.all("Condition?patient=pt-1&_count=200", adams)
		body := `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"Condition"},"resource":{"resourceType":"Condition","code":{"text":"x"},"subject":{"reference":"Patient/pt-1"}}}]}`
		if got := w.send("POST", "/fhir", body, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+adams); got.status < 400 {
			t.Errorf("got %d %.300s", got.status, got.body)
		}
		if after, _ := w.all("Condition?patient=pt-1&_count=200", adams); len(after) != len(before) {
			t.Error("it was written")
		}
	})
	t.Run("A.4.5 mixed entries", func(t *testing.T) { mixedEntries(t, w) })
	t.Run("A.4.5 all types at once", func(t *testing.T) { allTypes(t, w) })
	t.Run("A.4.6 scopes only delegate", func(t *testing.T) {
		okafor := w.enter("dr.okafor", "public", "openid user/*.cruds", nil).str("access_token")
		expect(t, w.fhir("Patient/pt-1", okafor), 404)
		if hits, status := w.all("Observation?patient=pt-1", okafor); status != 200 || len(hits) > 0 {
			t.Errorf("got %d, %d hits", status, len(hits))
		}
	})
	t.Run("A.4.7 parameters add up to less, scopes to more", func(t *testing.T) {
		count := func(scope string) int {
			hits, _ := w.all("Observation?patient=pt-1&_count=500", w.enter("grace", "public", "launch/patient "+scope, mateo).str("access_token"))
			return len(hits)
		}
		vital, lab := "patient/Observation.rs?category="+observationCategory+"vital-signs", "patient/Observation.rs?category="+observationCategory+"laboratory"
		height := vital + "&code=http://loinc.org|8302-2"
		a, b, both, and := count(vital), count(lab), count(vital+" "+lab), count(height)
		if both != a+b || and == 0 || and >= a {
			t.Errorf("vital %d, lab %d, both %d, height %d", a, b, both, and)
		}
		for _, scope := range []string{"patient/Observation.rs?category:in=x", "patient/Observation.rs?subject.name=x", "patient/Observation.rs?_filter=x", "patient/Patient.rs?_has:Observation:patient:code=x"} {
			if q, _ := w.answered(w.ask("public", scope)); q.Get("error") != "invalid_scope" {
				t.Errorf("%s: got %v", scope, q)
			}
		}
	})
	t.Run("A.4.8 Patient.link opens nothing", func(t *testing.T) {
		adams := w.enter("dr.adams", "public", "openid user/*.cruds", nil).str("access_token")
		made := w.send("POST", "/fhir/Patient", `{"resourceType":"Patient","link":[{"other":{"reference":"Patient/pt-1"},"type":"seealso"}]}`, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+adams)
		all := w.enter("grace", "public", "launch/patient patient/*.rs", mateo).str("access_token")
		if made.str("id") != "" {
			expect(t, w.fhir("Patient/"+made.str("id"), all), 404)
		}
		expect(t, w.fhir("Patient/pt-2", all), 404)
	})
}

func partA5(t *testing.T, w *smartWorld) {
	t.Run("A.5.1 introspection: who may ask, and all of the context", func(t *testing.T) {
		r := w.enter("grace", "public", fullScope, mateo)
		expect(t, w.introspect(r.str("access_token"), "X-None", "x"), 400, 401)
		asks := func(kind, scope string) reply {
			return w.introspect(r.str("access_token"), "Authorization", "Bearer "+w.system(kind, scope).str("access_token"))
		}
		if i := asks("resource-server", "introspect"); i.json["active"] != true || i.str("patient") != "pt-1" {
			t.Errorf("with the scope: %s", i.body)
		}
		if i := asks("backend", "system/*.rs"); i.json["active"] != false || len(i.json) != 1 {
			t.Errorf("without the scope: %s", i.body)
		}
		if i := w.introspect(r.str("access_token"), "Authorization", "Bearer "+r.str("access_token")); i.json["active"] != true {
			t.Errorf("one's own: %s", i.body)
		}
	})
	t.Run("A.5.2 revocation", func(t *testing.T) {
		r := w.enter("grace", "confidential", fullScope, mateo)
		revoke := func(kind, token string) reply {
			form, auth := w.credentials(kind, url.Values{"token": {token}})
			return w.form("/oauth/revoke", form, auth...)
		}
		refused(t, revoke("public", r.str("refresh_token")), 400, "invalid_grant")
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 200)
		expect(t, revoke("confidential", r.str("refresh_token")), 200)
		expect(t, revoke("confidential", r.str("refresh_token")), 200)
		expect(t, revoke("confidential", "never-was"), 200)
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 401)
	})
	t.Run("A.5.3 ID token: azp, nonce, auth_time; keys overlap", func(t *testing.T) {
		r := w.enter("grace", "public", fullScope, mateo, "nonce", "n-9", "max_age", "3600")
		_, claims := w.idToken(r.str("id_token"))
		if claims["azp"] != w.ids["public"] || claims["nonce"] != "n-9" || claims["auth_time"] == nil {
			t.Errorf("got %v", claims)
		}
		if err := w.core.server.RotateKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.idToken(r.str("id_token")) // its key is still published
		next, _ := w.idToken(w.enter("grace", "public", fullScope, mateo).str("id_token"))
		if was, _ := w.idToken(r.str("id_token")); next.KeyID == was.KeyID {
			t.Error("the new key does not sign")
		}
	})
	t.Run("A.5.4 preflight and Vary, registered origins only", func(t *testing.T) {
		for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/fhir/Patient", "/appstate/Basic"} {
			ask := func(origin string) reply {
				return w.send("OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
			}
			if r := ask(w.app.URL); r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != w.app.URL || !strings.Contains(strings.ToLower(r.header.Get("Access-Control-Allow-Headers")), "authorization") || !strings.Contains(strings.Join(r.header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s: %d %v", path, r.status, r.header)
			}
			if r := ask("https://evil.example"); r.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s lets a stranger in: %v", path, r.header)
			}
		}
		r := w.token("public", w.redeem("public", "BAD"), "Origin", w.app.URL)
		if r.status != 400 || r.header.Get("Access-Control-Allow-Origin") != w.app.URL {
			t.Errorf("errors: %d %v", r.status, r.header)
		}
	})
	t.Run("A.5.5 discovery, whatever is accepted", func(t *testing.T) {
		d := w.send("GET", "/fhir/.well-known/smart-configuration", "", "Accept", "application/fhir+xml")
		for _, name := range []string{"token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported", "scopes_supported", "response_types_supported", "management_endpoint", "revocation_endpoint", "registration_endpoint", "associated_endpoints"} {
			if d.json[name] == nil {
				t.Errorf("no %s", name)
			}
		}
		if d.status != 200 || !strings.HasPrefix(d.header.Get("Content-Type"), "application/json") {
			t.Errorf("got %d %v", d.status, d.header)
		}
	})
}

// decoded reads JSON.
func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return v
}
