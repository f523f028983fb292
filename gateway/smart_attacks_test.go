package main

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/net/html"

	"mypatients/consent"
	"mypatients/smart"
)

// TestAttacks tries, one by one, what RFC 9700 and experience warn of.
func TestAttacks(t *testing.T) {
	w := newSmartWorld(t)
	t.Run("redirect tampering", func(t *testing.T) {
		home := w.app.URL + "/callback"
		for _, to := range []string{
			"https://evil.example/callback", home + "/", home + "?x=1", home + "#x", home + "/../evil", strings.ToUpper(home), strings.Replace(home, "/callback", "/call%62ack", 1), home + "%00", home + " ", home + "\n",
			strings.Replace(home, "http://127.0.0.1", "http://127.0.0.1.evil.example", 1), strings.Replace(home, "http://", "http://evil.example@", 1), strings.Replace(home, "http://", "http://user@", 1),
			strings.Replace(home, "http://", "http:\\\\", 1), strings.Replace(home, "http://", "https://", 1), strings.Replace(home, "127.0.0.1", "localhost", 1), strings.Replace(home, "127.0.0.1", "[::1]", 1),
			"javascript:alert(1)", "data:text/html,x", "//evil.example", "/callback", "",
		} {
			if _, r := w.answered(w.ask("public", fullScope, "redirect_uri", to)); r.status != 400 || r.header.Get("Location") != "" {
				t.Errorf("%q: %d %s", to, r.status, r.header.Get("Location"))
			}
		}
		twice := w.ask("public", fullScope)
		twice.Add("redirect_uri", "https://evil.example")
		if _, r := w.answered(twice); r.header.Get("Location") != "" {
			t.Errorf("two redirect URIs: %s", r.header.Get("Location"))
		}
		code := w.code("grace", "public", fullScope, mateo)
		refused(t, w.token("public", w.redeem("public", code, "redirect_uri", w.app.URL+"/other")), 400, "invalid_grant")
	})
	t.Run("code injection and replay from two clients at once", func(t *testing.T) {
		code := w.code("grace", "public", fullScope, mateo)
		refused(t, w.token("other", w.redeem("other", code)), 400, "invalid_grant") // stolen: not its own, and it stays good
		refused(t, w.token("confidential", w.redeem("confidential", code)), 400, "invalid_grant")
		type try struct {
			kind string
			r    reply
		}
		tries := make([]try, 24)
		var wg sync.WaitGroup
		for i := range tries {
			kind := []string{"public", "other", "confidential"}[i%3]
			wg.Go(func() {
				tries[i] = try{kind, w.token(kind, w.redeem(kind, code, "redirect_uri", w.app.URL+"/callback"))}
			})
		}
		wg.Wait()
		won := 0
		for _, try := range tries {
			if try.r.status == 200 {
				won++
				if try.kind != "public" {
					t.Errorf("%s redeemed another's code", try.kind)
				}
				expect(t, w.fhir("Patient/pt-1", try.r.str("access_token")), 401) // the replays ended it
			}
		}
		if won > 1 {
			t.Errorf("%d redeemed one code", won)
		}
	})
	t.Run("code injection into another session", func(t *testing.T) {
		stolen := w.code("grace", "public", fullScope, mateo) // bound to the verifier of her app's session
		refused(t, w.token("public", w.redeem("public", stolen, "code_verifier", strings.Repeat("attacker-", 6))), 400, "invalid_grant")
		refused(t, w.token("public", w.redeem("public", stolen)), 400, "invalid_grant") // and it is spent
	})
	t.Run("PKCE downgrade", func(t *testing.T) {
		for _, change := range [][]string{{"code_challenge", "", "code_challenge_method", ""}, {"code_challenge_method", "plain", "code_challenge", theVerifier}, {"code_challenge_method", ""}} {
			if q, _ := w.answered(w.ask("confidential", fullScope, change...)); q.Get("error") != "invalid_request" {
				t.Errorf("%v: %v", change, q)
			}
		}
		for _, verifier := range []string{"", challengeOf(theVerifier)} {
			code := w.code("grace", "confidential", fullScope, mateo)
			refused(t, w.token("confidential", w.redeem("confidential", code, "code_verifier", verifier)), 400, "invalid_grant")
		}
	})
	t.Run("mix-up", func(t *testing.T) {
		ok := w.authorize("grace", w.ask("public", fullScope), mateo)
		failed, _ := w.answered(w.ask("public", fullScope, "response_type", "token"))
		d := w.send("GET", "/.well-known/openid-configuration", "")
		if ok.Get("iss") != w.URL || failed.Get("iss") != w.URL || d.json["authorization_response_iss_parameter_supported"] != true || d.str("issuer") != w.URL {
			t.Errorf("got %v and %v", ok, failed)
		}
	})
	t.Run("stolen refresh token", func(t *testing.T) {
		first := w.enter("grace", "public", fullScope, mateo)
		stolen := first.str("refresh_token")
		refused(t, w.refresh("other", stolen), 400, "invalid_grant")
		refused(t, w.refresh("confidential", stolen), 400, "invalid_grant")
		second := w.refresh("public", stolen)
		third := w.refresh("public", second.str("refresh_token"))
		refused(t, w.refresh("public", stolen), 400, "invalid_grant") // the thief comes second
		for _, r := range []reply{first, second, third} {
			expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 401)
			refused(t, w.refresh("public", r.str("refresh_token")), 400, "invalid_grant")
		}
	})
	t.Run("alg none, and HS256 with the public key", func(t *testing.T) {
		encode := func(v any) string { b, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(b) }
		head := func(alg string) string { return encode(map[string]any{"alg": alg, "typ": "JWT", "kid": "rsa"}) }
		der, _ := x509.MarshalPKIXPublicKey(&w.rsa.PublicKey)
		for name, assertion := range map[string]string{
			"none": head("none") + "." + encode(w.claims("backend", nil)) + ".", "None": head("None") + "." + encode(w.claims("backend", nil)) + ".", "no signature": head("RS384") + "." + encode(w.claims("backend", nil)) + ".",
			"HS256 with the PEM": w.signWith(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), w.claims("backend", nil), map[string]any{"typ": "JWT", "kid": "rsa"}),
			"HS384 with the DER": w.signWith(jose.HS384, der, w.claims("backend", nil), map[string]any{"typ": "JWT", "kid": "rsa"}),
			"RS256":              w.signWith(jose.RS256, w.rsa, w.claims("backend", nil), map[string]any{"typ": "JWT", "kid": "rsa"}),
			"its own jwk":        w.signWith(jose.ES384, w.ec, w.claims("backend", nil), map[string]any{"typ": "JWT", "kid": "rsa", "jwk": jose.JSONWebKey{Key: &w.ec.PublicKey, KeyID: "rsa"}}),
		} {
			r := w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {assertion}})
			if r.status != 401 || r.str("error") != "invalid_client" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
	})
	t.Run("jti replay in parallel", func(t *testing.T) {
		v := url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {w.sign("backend", jose.RS384, nil, nil)}}
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if w.form("/oauth/token", v).status == 200 {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d tokens for one assertion", won.Load())
		}
	})
	t.Run("scope upgrade on refresh", func(t *testing.T) {
		r := w.enter("grace", "public", "launch/patient offline_access patient/Observation.rs?category="+observationCategory+"laboratory", mateo)
		for _, scope := range []string{"patient/Observation.rs", "patient/*.rs", "patient/Patient.rs", "openid", "user/Observation.rs?category=" + observationCategory + "laboratory", "patient/Observation.cruds?category=" + observationCategory + "laboratory", "system/*.rs", " "} {
			if got := w.refresh("public", r.str("refresh_token"), "scope", scope); got.status != 400 || got.str("error") != "invalid_scope" && scope != " " {
				if scope == " " && got.status == 200 {
					r = got
					continue
				}
				t.Errorf("%q: %d %s", scope, got.status, got.body)
			}
		}
	})
	t.Run("launch handle of another session", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", nil).str("launch")
		const scope = "launch openid fhirUser user/*.rs"
		for _, thief := range []string{"dr.chen", "grace"} {
			if q := w.authorize(thief, w.ask("public", scope, "launch", l), nil); q.Get("error") != "access_denied" || q.Has("code") {
				t.Errorf("%s: %v", thief, q)
			}
		}
		if q, _ := w.answered(w.ask("other", scope, "launch", l)); q.Get("error") != "invalid_request" {
			t.Errorf("another app: %v", q)
		}
		w.enter("dr.adams", "public", scope, nil, "launch", l) // it is good for the right one still
	})
	t.Run("session after role change", func(t *testing.T) {
		ctx := t.Context()
		r := w.enter("luis", "public", fullScope, mateo)
		identity, err := w.core.guard.IdentityOf(ctx, "RelatedPerson/rp-3")
		if err != nil {
			t.Fatal(err)
		}
		link := consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-3"}
		if _, err := w.core.guard.UnlinkAccount(ctx, identity.Login, link); err != nil {
			t.Fatal(err)
		}
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 401)
		if i := w.introspect(r.str("access_token")); i.json["active"] != false {
			t.Errorf("introspection: %s", i.body)
		}
		refused(t, w.refresh("public", r.str("refresh_token")), 400, "invalid_grant")
		if page := w.browser("luis").open(w.URL + "/patient/pt-1/access"); strings.Contains(page.text, "Mateo") {
			t.Errorf("the portal shows on: %d", page.status)
		}
	})
}

func TestAttacksOnKeys(t *testing.T) {
	w := newSmartWorld(t)
	t.Run("JWKS URL to an internal address", func(t *testing.T) {
		for _, uri := range []string{"http://169.254.169.254/latest/meta-data", "http://10.0.0.1/jwks", "http://127.0.0.1.nip.example/jwks", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:pass@127.0.0.1/jwks"} {
			body, _ := json.Marshal(map[string]any{"grant_types": []string{"client_credentials"}, "scope": "system/*.rs", "jwks_uri": uri})
			expect(t, w.send("POST", "/oauth/register", string(body), "Content-Type", "application/json"), 400)
		}
		for kind, uri := range map[string]string{"metadata": "https://169.254.169.254/jwks", "private": "https://10.0.0.1/jwks", "mapped": "https://[::ffff:10.0.0.1]/jwks", "shared": "https://100.64.0.1/jwks"} {
			w.register(kind, map[string]any{"grant_types": []string{"client_credentials"}, "scope": "system/*.rs", "jwks_uri": uri})
			begun := time.Now()
			r := w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {w.sign(kind, jose.RS384, nil, nil)}})
			if r.status != 401 || strings.Contains(r.body, "connect") || strings.Contains(r.body, "10.0") || time.Since(begun) > 2*time.Second {
				t.Errorf("%s: %d %s after %s", kind, r.status, r.body, time.Since(begun))
			}
		}
	})
	t.Run("by a redirect", func(t *testing.T) {
		to := newFakeApp(t)
		to.publish(jose.JSONWebKey{Key: &w.rsa.PublicKey, KeyID: "rsa"})
		from := http.NewServeMux()
		from.HandleFunc("/jwks", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to.URL+"/jwks", http.StatusFound) })
		hop := newFakeApp(t)
		hop.Config.Handler = from
		w.register("redirected", map[string]any{"grant_types": []string{"client_credentials"}, "scope": "system/*.rs", "jwks_uri": hop.URL + "/jwks"})
		r := w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {w.sign("redirected", jose.RS384, nil, nil)}})
		if r.status != 401 || to.fetched != 0 {
			t.Errorf("got %d, fetched %d times", r.status, to.fetched)
		}
	})
}

// forms of a page, with what they hold.
func formsOf(t *testing.T, p webPage) map[string]url.Values {
	t.Helper()
	root, err := html.Parse(strings.NewReader(p.text))
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]url.Values{}
	for node := range root.Descendants() {
		if node.Data == "form" && strings.EqualFold(attribute(node, "method"), "post") {
			forms[attribute(node, "action")] = formValues(node)
		}
	}
	return forms
}

func TestAttacksOnPages(t *testing.T) {
	w := newSmartWorld(t)
	pages := map[string][]string{
		"grace":     {"/patient", "/patient/pt-1/access", "/patient/pt-1/care-team", "/patient/pt-1/invitations", "/patient/apps", "/patient/pt-1/activity"},
		"dr.okafor": {"/", "/requests", "/invitation", "/provider/apps"},
		"sam":       {"/staff", "/staff/patients/1001", "/staff/patients/1001/invitation"},
		"ana":       {"/staff/accounts", "/staff/clients/new", "/staff/clients/" + w.ids["confidential"]},
	}
	for person := range pages {
		w.enter(person, "public", "openid user/*.rs", nil) // signs in
	}
	ana := w.browser("ana")
	found := ana.submit(ana.open(w.URL+"/staff/accounts"), "q", url.Values{"q": {"grace@example.org"}})
	pages["ana"] = append(pages["ana"], regexp.MustCompile(`/staff/accounts/[^"]+`).FindString(found.text))
	pages["grace"] = append(pages["grace"], "/oauth/authorize?"+w.ask("public", fullScope).Encode())
	t.Run("CSRF on every form", func(t *testing.T) {
		tried := 0
		for person, paths := range pages {
			b := w.browser(person)
			for _, path := range paths {
				page := b.open(w.URL + path)
				for action, values := range formsOf(t, page) {
					target, _ := page.at.Parse(action)
					for name, change := range map[string]func(*http.Request, url.Values){
						"no token":      func(_ *http.Request, v url.Values) { v.Del("csrf") },
						"a wrong token": func(_ *http.Request, v url.Values) { v.Set("csrf", rand.Text()) },
						"another's site": func(r *http.Request, _ url.Values) {
							r.Header.Set("Origin", "https://evil.example")
							r.Header.Set("Sec-Fetch-Site", "cross-site")
						},
						"no origin told": func(r *http.Request, v url.Values) { r.Header.Set("Origin", "null"); v.Del("csrf") },
					} {
						sent := url.Values{"action": {"approve"}}
						for k, v := range values {
							sent[k] = v
						}
						r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), nil)
						r.Header.Set("Origin", w.URL)
						r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
						change(r, sent)
						r.Body = http.NoBody
						body := strings.NewReader(sent.Encode())
						again, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), body)
						if err == nil {
							again.Header = r.Header
						}
						if got := b.send(again, err); got.status != http.StatusForbidden && got.status != http.StatusBadRequest || got.leaves != "" {
							t.Errorf("%s at %s with %s: %d", action, path, name, got.status)
						}
						tried++
					}
				}
			}
		}
		if tried < 80 {
			t.Errorf("only %d forms were tried", tried)
		}
	})
	t.Run("clickjacking headers", func(t *testing.T) {
		for person, paths := range pages {
			for _, path := range append(paths, "/signin", "/signout", "/nowhere", "/oauth/authorize") {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, nil)
				r.Header.Set("Accept", "text/html")
				res, err := w.browser(person).client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if strings.HasPrefix(res.Request.URL.Path, "/demo-idp") {
					continue
				}
				if res.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") && strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
					t.Errorf("%s: %v", path, res.Header)
				}
			}
		}
	})
	t.Run("open redirect", func(t *testing.T) {
		for _, next := range []string{"https://evil.example", "//evil.example", `/\evil.example`, `\\evil.example`, "http:evil.example", "/%09/evil.example", "javascript:alert(1)", "https://evil.example/patient"} {
			for _, path := range []string{"/signin?next=", "/role?next="} {
				b := w.newVisitor()
				page := b.open(w.URL + path + url.QueryEscape(next))
				if strings.Contains(page.text, `name="username"`) {
					page = b.submit(page, "username", url.Values{"username": {"ava"}, "password": {"demo"}})
				}
				if page.leaves != "" && !strings.HasPrefix(page.leaves, w.URL) && !strings.HasPrefix(page.leaves, "/") || page.at.Host != strings.TrimPrefix(w.URL, "http://") {
					t.Errorf("%s%s leads to %s %s", path, next, page.at, page.leaves)
				}
			}
		}
	})
	t.Run("login fixation", func(t *testing.T) {
		b := w.newVisitor()
		base, _ := url.Parse(w.URL)
		before := func() map[string]string {
			found := map[string]string{}
			for _, c := range b.client.Jar.Cookies(base) {
				found[c.Name] = c.Value
			}
			return found
		}
		page := b.open(w.URL + "/patient") // begins a sign-in, and with it a session
		planted := before()
		if len(planted) == 0 {
			t.Fatal("no cookie yet")
		}
		page = b.submit(page, "username", url.Values{"username": {"ava"}, "password": {"demo"}})
		if page.at.Path != "/patient" {
			t.Fatalf("at %s", page.at)
		}
		thief := w.newVisitor()
		var cookies []*http.Cookie
		for name, value := range planted {
			if before()[name] == value && !strings.Contains(name, "idp") && !strings.Contains(name, "demo") {
				t.Errorf("%s is the same after signing in", name)
			}
			cookies = append(cookies, &http.Cookie{Name: name, Value: value})
		}
		thief.client.Jar.SetCookies(base, cookies)
		if got := thief.open(w.URL + "/patient"); got.at.Path == "/patient" && strings.Contains(got.text, "Ava") {
			t.Error("the planted cookie is signed in")
		}
		// A callback that another browser began does nothing here.
		victim := w.newVisitor()
		stop := w.newVisitor()
		stop.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == callbackPath(demoProvider) {
				return http.ErrUseLastResponse
			}
			return nil
		}
		attacker := stop.submit(stop.open(w.URL+"/patient"), "username", url.Values{"username": {"mark"}, "password": {"demo"}})
		if !strings.Contains(attacker.leaves, callbackPath(demoProvider)) {
			t.Fatalf("the attacker is at %s", attacker.leaves)
		}
		if got := victim.open(attacker.leaves); got.status < 400 || regexp.MustCompile(`(?i)mark`).MatchString(got.text) {
			t.Errorf("signed in as the attacker: %d", got.status)
		}
	})
}
