package authserver_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

const standalone = "launch/patient openid fhirUser offline_access patient/*.rs"

func TestCodeExchange(t *testing.T) {
	w := newWorld(t, nil)
	w.put(smart.Client{ID: "asymmetric", RedirectURIs: []string{callback}, AuthMethod: smart.AuthPrivateKeyJWT, JWKS: publicKeys(),
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: everything})

	t.Run("T-2 B-1 B-2 B-3 B-5 public client", func(t *testing.T) {
		a := w.login(standalone)
		if a.str("access_token") == "" || a.str("token_type") != "Bearer" || a.str("scope") != standalone || a.str("refresh_token") == "" || a.str("patient") != "p1" || a.str("id_token") == "" {
			t.Errorf("got %s", a.body)
		}
		if n, ok := a.json["expires_in"].(float64); !ok || n != 3600 {
			t.Errorf("expires_in %v", a.json["expires_in"])
		}
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("headers %v", a.header)
		}
		if strings.Trim(a.str("access_token"), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") != "" || len(a.str("access_token")) < 22 {
			t.Errorf("I-2 access token %q", a.str("access_token"))
		}
		g, err := w.server.Authenticate(t.Context(), a.str("access_token"))
		if err != nil || g.ClientID != "public" || g.ClientName != "App" || g.Identity.FHIRUser != grace.FHIRUser || !slices.Equal(g.Identity.Persons, grace.Persons) ||
			g.Launch.Patient != "p1" || g.Scopes.String() != standalone || !g.Expires.Equal(w.now().Add(time.Hour)) {
			t.Errorf("grant %+v, %v", g, err)
		}
		for _, absent := range []string{"fhirContext", "need_patient_banner", "smart_style_url", "encounter"} {
			if _, ok := a.json[absent]; ok {
				t.Errorf("%s in a standalone launch", absent)
			}
		}
	})
	t.Run("T-3 symmetric by Basic", func(t *testing.T) {
		a := w.post("/oauth/token", exchange(w.code("confidential", standalone)), "Authorization", basic("confidential", secret))
		want(t, a, 200, "")
	})
	t.Run("T-4 asymmetric without client_id", func(t *testing.T) {
		k := testKeys()
		for alg, key := range map[jose.SignatureAlgorithm]any{jose.RS384: k.rsa, jose.ES384: k.ec} {
			kid := map[jose.SignatureAlgorithm]string{jose.RS384: "rsa", jose.ES384: "ec"}[alg]
			a := w.post("/oauth/token", asserted(exchange(w.code("asymmetric", standalone)), sign(alg, kid, key, w.claims("asymmetric", nil), nil)))
			want(t, a, 200, "")
			r := w.post("/oauth/token", asserted(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.str("refresh_token")}},
				sign(alg, kid, key, w.claims("asymmetric", nil), nil)))
			want(t, r, 200, "") // T-9
		}
	})
	t.Run("T-5 wrong code", func(t *testing.T) {
		want(t, w.post("/oauth/token", exchange("BAD_CODE", "client_id", "public")), 400, "invalid_grant")
		want(t, w.post("/oauth/token", exchange("BAD_CODE"), "Authorization", basic("confidential", secret)), 400, "invalid_grant")
	})
	t.Run("T-6 unknown client", func(t *testing.T) {
		a := w.post("/oauth/token", exchange(w.code("confidential", standalone)), "Authorization", basic("BAD_CLIENT_ID", secret))
		want(t, a, 401, "invalid_client")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
		}
	})
	t.Run("T-7 verifier", func(t *testing.T) {
		for name, v := range map[string]string{"absent": "", "random": strings.Repeat("r", 64), "challenge": challenge(verifier), "with a space": verifier + " "} {
			want(t, w.post("/oauth/token", exchange(w.code("public", standalone), "client_id", "public", "code_verifier", v)), 400, "invalid_grant")
			t.Log(name)
		}
		form := exchange(w.code("public", standalone), "client_id", "public")
		form.Set("code_verifier", "")
		want(t, w.post("/oauth/token", form), 400, "invalid_grant")
	})
	t.Run("a wrong verifier uses the code up", func(t *testing.T) {
		code := w.code("public", standalone)
		want(t, w.post("/oauth/token", exchange(code, "client_id", "public", "code_verifier", strings.Repeat("r", 64))), 400, "invalid_grant")
		want(t, w.post("/oauth/token", exchange(code, "client_id", "public")), 400, "invalid_grant")
	})
	t.Run("A.2.1 redirect_uri must be the same", func(t *testing.T) {
		want(t, w.post("/oauth/token", exchange(w.code("public", standalone), "client_id", "public", "redirect_uri", "http://127.0.0.1:7778/callback")), 400, "invalid_grant")
	})
	t.Run("A.2.1 another client's code, which stays good", func(t *testing.T) {
		code := w.code("public", standalone)
		want(t, w.post("/oauth/token", exchange(code), "Authorization", basic("confidential", secret)), 400, "invalid_grant")
		want(t, w.post("/oauth/token", exchange(code, "client_id", "public")), 200, "")
	})
	t.Run("A.2.1 lives sixty seconds", func(t *testing.T) {
		code, late := w.code("public", standalone), w.code("public", standalone)
		w.pass(time.Minute - time.Millisecond)
		want(t, w.post("/oauth/token", exchange(code, "client_id", "public")), 200, "")
		w.pass(time.Millisecond)
		want(t, w.post("/oauth/token", exchange(late, "client_id", "public")), 400, "invalid_grant")
	})
	t.Run("A.2.1 replay ends what came of it", func(t *testing.T) {
		code := w.code("public", standalone)
		first := w.post("/oauth/token", exchange(code, "client_id", "public"))
		next := w.refresh(first.str("refresh_token"))
		if !w.works(first.str("access_token")) || !w.works(next.str("access_token")) {
			t.Fatal("tokens do not work")
		}
		w.pass(10 * time.Minute)
		want(t, w.post("/oauth/token", exchange(code, "client_id", "public")), 400, "invalid_grant")
		if w.works(first.str("access_token")) || w.works(next.str("access_token")) {
			t.Error("access tokens outlived the replay")
		}
		want(t, w.refresh(next.str("refresh_token")), 400, "invalid_grant")
	})
	t.Run("sixteen at once: one wins", func(t *testing.T) {
		code := w.code("public", standalone)
		var won, lost int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				a := w.post("/oauth/token", exchange(code, "client_id", "public"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case a.status == 200:
					won++
				case a.status == 400 && a.str("error") == "invalid_grant":
					lost++
				}
			})
		}
		wg.Wait()
		if won != 1 || lost != 15 {
			t.Errorf("%d won, %d lost", won, lost)
		}
	})
	t.Run("access token lives an hour", func(t *testing.T) {
		token := w.login(standalone).str("access_token")
		w.pass(time.Hour - time.Millisecond)
		if !w.works(token) {
			t.Error("ended early")
		}
		w.pass(time.Millisecond)
		if w.works(token) {
			t.Error("did not end")
		}
	})
}

// What the token endpoint refuses before any grant type is looked at (A.2.2).
func TestTokenEndpointGuard(t *testing.T) {
	w := newWorld(t, nil)
	good := func() url.Values { return exchange(w.code("public", standalone), "client_id", "public") }
	want(t, w.get("/oauth/token"), 405, "invalid_request")
	want(t, w.post("/oauth/token?client_id=public", good()), 400, "invalid_request")
	want(t, w.post("/oauth/token", good(), "Content-Type", "application/json"), 415, "invalid_request")
	want(t, w.post("/oauth/token", good(), "Content-Type", ""), 415, "invalid_request")
	twice := good()
	twice.Add("code", "x")
	want(t, w.post("/oauth/token", twice), 400, "invalid_request")
	want(t, w.post("/oauth/token", url.Values{"client_id": {"public"}}), 400, "invalid_request")
	want(t, w.post("/oauth/token", url.Values{"grant_type": {"not_a_grant_type"}}), 400, "unsupported_grant_type")
	for _, g := range []string{"password", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code"} {
		a := w.post("/oauth/token", url.Values{"grant_type": {g}, "client_id": {"public"}, "username": {"a"}, "password": {"b"}, "assertion": {"a.b.c"}})
		if a.status != 400 || a.str("error") == "" {
			t.Errorf("%s: %d %s", g, a.status, a.body)
		}
	}
	want(t, w.post("/oauth/token", exchange("x")), 400, "invalid_request") // no client at all
	want(t, w.post("/oauth/token", exchange("x", "client_id", "confidential", "client_secret", secret)), 401, "invalid_client")
	want(t, w.post("/oauth/token", exchange("x", "client_id", "confidential")), 401, "invalid_client")
	want(t, w.post("/oauth/token", exchange("x", "client_id", "public", "client_secret", "s")), 401, "invalid_client")
	want(t, w.post("/oauth/token", exchange("x", "client_secret", secret), "Authorization", basic("confidential", secret)), 400, "invalid_request")
	want(t, w.post("/oauth/token", exchange("x", "client_id", "public", "authorization_details", "[]")), 400, "invalid_authorization_details")
	want(t, w.post("/oauth/token", exchange("x", "client_id", "public"), "Authorization", basic("confidential", secret)), 401, "invalid_client")
	want(t, w.post("/oauth/token", exchange("x"), "Authorization", basic("confidential", "wrong")), 401, "invalid_client")
	want(t, w.post("/oauth/token", exchange("x"), "Authorization", basic("confidential", "")), 401, "invalid_client")
	want(t, w.post("/oauth/token", asserted(exchange("x"), "a.b.c"), "Authorization", basic("confidential", secret)), 400, "invalid_request")
	want(t, w.post("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"public"}, "scope": {"system/*.rs"}}), 400, "unauthorized_client")
	want(t, w.post("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}}, "Authorization", basic("confidential", secret)), 400, "unauthorized_client")
	for _, a := range []*answer{w.get("/oauth/token"), w.post("/oauth/token", exchange("BAD", "client_id", "public"))} {
		if a.status == 400 && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("errors may be cached: %v", a.header)
		}
	}
	t.Run("a large body", func(t *testing.T) {
		v := good()
		v.Set("x", strings.Repeat("x", 70<<10))
		want(t, w.post("/oauth/token", v), 400, "invalid_request")
	})
}

func TestRefresh(t *testing.T) {
	w := newWorld(t, nil)
	t.Run("F-1 F-2 F-4 F-5 rotation", func(t *testing.T) {
		first := w.login(standalone)
		a := w.refresh(first.str("refresh_token"))
		want(t, a, 200, "")
		if a.str("scope") != standalone || a.str("refresh_token") == "" || a.str("refresh_token") == first.str("refresh_token") || a.str("patient") != "p1" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %s %v", a.body, a.header)
		}
		if !w.works(first.str("access_token")) || !w.works(a.str("access_token")) { // F-8
			t.Error("an access token does not work")
		}
	})
	t.Run("F-3 the whole scope, and granular ones", func(t *testing.T) {
		scope := "launch/patient openid offline_access patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern patient/Observation.read"
		first := w.login(scope)
		if first.str("scope") != scope { // SC-3
			t.Errorf("got scope %q", first.str("scope"))
		}
		want(t, w.refresh(first.str("refresh_token"), "scope", scope), 200, "")
	})
	t.Run("A.2.4 fewer scopes, for this token only", func(t *testing.T) {
		first := w.login(standalone)
		a := w.refresh(first.str("refresh_token"), "scope", "patient/Observation.r")
		if a.str("scope") != "patient/Observation.r" {
			t.Errorf("got %s", a.body)
		}
		if b := w.refresh(a.str("refresh_token")); b.str("scope") != standalone {
			t.Errorf("the grant lost scopes: %s", b.body)
		}
	})
	t.Run("A.2.4 more scopes", func(t *testing.T) {
		first := w.login("launch/patient offline_access patient/Observation.rs")
		for _, s := range []string{"patient/*.rs", "patient/Observation.cruds", "user/Observation.r", "openid", "patient/Observation.rs foo", "system/*.rs"} {
			want(t, w.refresh(first.str("refresh_token"), "scope", s), 400, "invalid_scope")
		}
		want(t, w.refresh(first.str("refresh_token")), 200, "") // none of these used it up
	})
	t.Run("F-7 random token", func(t *testing.T) {
		first := w.login(standalone).str("refresh_token")
		for _, token := range []string{"5a9f9ba7-1b06-44c8-9a5a-3a8f2b1c9d10", first + "A", first[:len(first)-2], strings.ToUpper(first), flip(first)} {
			want(t, w.refresh(token), 400, "invalid_grant")
		}
		want(t, w.refresh(first), 200, "")
	})
	t.Run("A.2.4 another client", func(t *testing.T) {
		first := w.login(standalone).str("refresh_token")
		a := w.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}}, "Authorization", basic("confidential", secret))
		want(t, a, 400, "invalid_grant")
		want(t, w.refresh(first), 200, "")
	})
	t.Run("a public client need not say who it is", func(t *testing.T) {
		nameless := func(token string) *answer {
			return w.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
		}
		first := w.login(standalone).str("refresh_token")
		second := nameless(first)
		want(t, second, 200, "")
		w.pass(time.Minute)
		want(t, nameless(first), 400, "invalid_grant") // reuse ends the family, here as well
		want(t, nameless(second.str("refresh_token")), 400, "invalid_grant")
		want(t, nameless("5a9f9ba7-1b06-44c8-9a5a-3a8f2b1c9d10"), 400, "invalid_request")
	})
	t.Run("a confidential client must authenticate", func(t *testing.T) {
		v := exchange(w.code("confidential", standalone))
		a := w.post("/oauth/token", v, "Authorization", basic("confidential", secret))
		want(t, a, 200, "")
		token := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.str("refresh_token")}}
		want(t, w.post("/oauth/token", token), 400, "invalid_request")
		want(t, w.post("/oauth/token", token, "Authorization", basic("confidential", secret)), 200, "")
	})
	t.Run("none without offline_access or online_access", func(t *testing.T) {
		if a := w.login("launch/patient openid patient/*.rs"); a.str("refresh_token") != "" {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("F-9 three months, again and again", func(t *testing.T) {
		a := w.login(standalone)
		for range 3 {
			w.pass(92 * 24 * time.Hour)
			a = w.refresh(a.str("refresh_token"))
			want(t, a, 200, "")
		}
		w.pass(101 * 24 * time.Hour)
		want(t, w.refresh(a.str("refresh_token")), 400, "invalid_grant")
	})
}

// flip changes one bit in the middle of a token.
func flip(token string) string {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		panic(err)
	}
	b[len(b)/2] ^= 1
	return base64.RawURLEncoding.EncodeToString(b)
}

// Reuse of refresh tokens (RFC 9700 section 4.14.2).
func TestRefreshReuse(t *testing.T) {
	w := newWorld(t, nil)
	t.Run("an old one ends the family", func(t *testing.T) {
		r1 := w.login(standalone)
		r2 := w.refresh(r1.str("refresh_token"))
		r3 := w.refresh(r2.str("refresh_token"))
		want(t, w.refresh(r1.str("refresh_token")), 400, "invalid_grant")
		want(t, w.refresh(r3.str("refresh_token")), 400, "invalid_grant")
		for _, r := range []*answer{r1, r2, r3} {
			if w.works(r.str("access_token")) {
				t.Error("an access token outlived the family")
			}
		}
	})
	t.Run("a lost answer", func(t *testing.T) {
		r1 := w.login(standalone)
		r2 := w.refresh(r1.str("refresh_token"))
		w.pass(30*time.Second - time.Millisecond)
		again := w.refresh(r1.str("refresh_token"))
		want(t, again, 200, "")
		if again.str("refresh_token") != r2.str("refresh_token") {
			t.Error("the family branched")
		}
		want(t, w.refresh(again.str("refresh_token")), 200, "")
	})
	t.Run("after the grace it is reuse", func(t *testing.T) {
		r1 := w.login(standalone)
		r2 := w.refresh(r1.str("refresh_token"))
		w.pass(30 * time.Second)
		want(t, w.refresh(r1.str("refresh_token")), 400, "invalid_grant")
		want(t, w.refresh(r2.str("refresh_token")), 400, "invalid_grant")
	})
	t.Run("sixteen at once: one successor", func(t *testing.T) {
		first := w.login(standalone).str("refresh_token")
		successors := map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				a := w.refresh(first)
				mu.Lock()
				defer mu.Unlock()
				successors[a.str("refresh_token")] = true
			})
		}
		wg.Wait()
		if len(successors) != 1 || successors[""] {
			t.Errorf("successors %v", successors)
		}
	})
}

func TestIDToken(t *testing.T) {
	w := newWorld(t, nil)
	verified := func(t *testing.T, token string) (map[string]any, jose.Header) {
		t.Helper()
		keys := w.get("/oauth/jwks")
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(keys.body, &set); err != nil || keys.status != 200 {
			t.Fatal(err, keys.status)
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256}) // ID-2 ID-6
		if err != nil {
			t.Fatal(err)
		}
		found := set.Key(jws.Signatures[0].Header.KeyID)
		if len(found) != 1 {
			t.Fatalf("ID-7 kid %q: %d keys", jws.Signatures[0].Header.KeyID, len(found))
		}
		if _, ok := found[0].Key.(*rsa.PublicKey); !ok || !found[0].IsPublic() {
			t.Fatalf("ID-5 key %T", found[0].Key)
		}
		payload, err := jws.Verify(found[0])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		return claims, jws.Signatures[0].Header
	}
	t.Run("ID-8 ID-9 ID-10 claims", func(t *testing.T) {
		w.person(adams, "p1")
		defer w.person(grace, "p1")
		c, _ := verified(t, w.login("openid fhirUser profile user/*.rs", "nonce", "n-1").str("id_token"))
		now := float64(w.now().Unix())
		for k, v := range map[string]any{"iss": w.base, "sub": "login-adams", "aud": "public", "azp": "public", "exp": now + 3600, "iat": now, "auth_time": now - 60,
			"nonce": "n-1", "fhirUser": w.base + "/fhir/Practitioner/1", "profile": w.base + "/fhir/Practitioner/1", "name": "Dr. Adams"} {
			if c[k] != v {
				t.Errorf("%s: got %v, want %v", k, c[k], v)
			}
		}
	})
	t.Run("only what the scopes say", func(t *testing.T) {
		c, _ := verified(t, w.login("openid launch/patient patient/*.rs").str("id_token"))
		if c["fhirUser"] != nil || c["name"] != nil || c["nonce"] != nil {
			t.Errorf("got %v", c)
		}
		if a := w.login("launch/patient patient/*.rs fhirUser"); a.str("id_token") != "" {
			t.Error("id_token without openid")
		}
	})
	t.Run("A.5.3 rotation with overlap", func(t *testing.T) {
		before := w.login("openid").str("id_token")
		if err := w.server.RotateKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := w.login("openid").str("id_token")
		_, h1 := verified(t, before)
		_, h2 := verified(t, after)
		if h1.KeyID == h2.KeyID {
			t.Error("the old key still signs")
		}
		w.pass(24 * time.Hour)
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(w.get("/oauth/jwks").body, &set); err != nil || len(set.Keys) != 1 || set.Keys[0].KeyID != h2.KeyID {
			t.Errorf("after a day %d keys, %v", len(set.Keys), err)
		}
		verified(t, w.login("openid").str("id_token"))
	})
	t.Run("userinfo", func(t *testing.T) {
		token := w.login("openid fhirUser").str("access_token")
		a := w.get("/oauth/userinfo", "Authorization", "Bearer "+token)
		if a.status != 200 || a.str("sub") != "login-grace" || a.str("fhirUser") != w.base+"/fhir/RelatedPerson/9" {
			t.Errorf("got %d %s", a.status, a.body)
		}
		for _, h := range []string{"", "Bearer nothing-nothing-nothing", basic("confidential", secret)} {
			a := w.get("/oauth/userinfo", "Authorization", h)
			if a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%q: %d %v", h, a.status, a.header)
			}
		}
		if a := w.get("/oauth/userinfo?access_token=" + token); a.status != 401 {
			t.Errorf("token in the query: %d", a.status)
		}
		other := w.login("launch/patient patient/*.rs").str("access_token")
		want(t, w.get("/oauth/userinfo", "Authorization", "Bearer "+other), 403, "insufficient_scope")
	})
}

// The keys outlive the process, and open only under the key of the configuration.
func TestKeysAtRest(t *testing.T) {
	var config authserver.Config
	w := newWorld(t, func(c *authserver.Config) { config = *c })
	again, err := authserver.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	token := w.login("openid").str("access_token")
	if _, err := again.Authenticate(t.Context(), token); err != nil {
		t.Errorf("a second node: %v", err)
	}
	config.Key = bytes.Repeat([]byte{8}, 32)
	if _, err := authserver.New(t.Context(), config); err == nil {
		t.Error("opened under another key")
	}
	config.Key = nil
	if _, err := authserver.New(t.Context(), config); err == nil {
		t.Error("opened without a key")
	}
	if a := w.get("/oauth/jwks"); a.status != http.StatusOK || strings.Contains(string(a.body), `"d"`) {
		t.Errorf("private parts published: %s", a.body)
	}
}
