package oauth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	jose "github.com/go-jose/go-jose/v4"

	"mypatients/fhir/badgerstore"
	"mypatients/gateway/oauth"
	"mypatients/smart"
	"mypatients/smart/authserver"
)

// A site is the endpoints over real HTTP, with a page that approves all for Dr.
// Adams.
type site struct {
	t      *testing.T
	base   string
	server *authserver.Server
	now    time.Time
	key    *rsa.PrivateKey
}

var adams = smart.Identity{Login: "login-adams", Name: "Dr. Adams", Role: smart.Provider, FHIRUser: "Practitioner/1", Persons: []string{"Practitioner/1"}}

const (
	callback = "http://127.0.0.1:7777/callback"
	verifier = "b2b8ae0a-6b64-4d1d-9d6b-5a9d6c5c2a11-0f0b6f0e-1f7b-4d63-8a55-6c1f7f1f0a02"
	full     = "launch launch/patient openid fhirUser offline_access user/*.rs patient/*.rs"
)

func newSite(t *testing.T) *site {
	t.Helper()
	gin.SetMode(gin.TestMode)
	s := &site{t: t, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	now := func() time.Time { return s.now }
	router := gin.New()
	router.HandleMethodNotAllowed, router.RedirectTrailingSlash = true, false
	web := httptest.NewServer(router)
	t.Cleanup(web.Close)
	s.base = web.URL
	db, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.server, err = authserver.New(t.Context(), authserver.Config{Store: db, Now: now, Issuer: s.base, Key: bytes.Repeat([]byte{7}, 32), OpenRegistration: true,
		LoginURL: func(id string) string { return s.base + "/authorize?request=" + id }, ManagementURL: s.base + "/patient/apps", StyleURL: s.base + "/style.json",
		AllowLoopbackJWKS: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	router.GET("/authorize", func(g *gin.Context) {
		id := g.Query("request")
		p, err := s.server.Pending(g, id)
		if err != nil {
			g.String(400, err.Error())
			return
		}
		a := authserver.Approval{Identity: adams, Scopes: p.Scopes, AuthTime: s.now, SessionID: "s1"}
		if p.NeedPatient {
			a.Patient = "p1"
		}
		to, err := s.server.Approve(g, id, a)
		if err != nil {
			g.String(400, err.Error())
			return
		}
		g.Redirect(http.StatusSeeOther, to)
	})
	// The FHIR routes of the gateway lie beside the discovery document.
	router.GET("/fhir/:type/:id", func(g *gin.Context) { g.String(200, "read "+g.Param("type")) })
	err = oauth.Mount(router, oauth.Config{Server: s.server, Now: now, Identity: func(_ context.Context, reference string) (smart.Identity, error) {
		if reference != adams.FHIRUser {
			return smart.Identity{}, errors.New("nobody")
		}
		return adams, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &s.key.PublicKey, KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []smart.Client{
		{ID: "public", RedirectURIs: []string{"http://127.0.0.1/callback", "https://app.example/cb"}, LaunchURI: "https://app.example/launch?x=1", AuthMethod: smart.AuthNone,
			GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: full},
		{ID: "ehr", AuthMethod: smart.AuthPrivateKeyJWT, JWKS: keys, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs", MayLaunch: true},
		{ID: "kiosk", AuthMethod: smart.AuthPrivateKeyJWT, JWKS: keys, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs"},
	} {
		if err := s.server.PutClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (a *answer) str(name string) string { v, _ := a.json[name].(string); return v }

func (s *site) do(method, path, body string, header ...string) *answer {
	s.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.base + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	a.body, _ = io.ReadAll(res.Body)
	_ = json.Unmarshal(a.body, &a.json)
	return a
}

const formType = "application/x-www-form-urlencoded"

func (s *site) form(path string, v url.Values, header ...string) *answer {
	s.t.Helper()
	return s.do("POST", path, v.Encode(), append([]string{"Content-Type", formType}, header...)...)
}

// login follows an authorization request to its tokens.
func (s *site) login(scope, launch string, header ...string) *answer {
	s.t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{"response_type": {"code"}, "client_id": {"public"}, "redirect_uri": {callback}, "scope": {scope}, "state": {"s"}, "aud": {s.base + "/fhir"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	if launch != "" {
		v.Set("launch", launch)
	}
	page := s.do("GET", "/oauth/authorize?"+v.Encode(), "")
	back := s.do("GET", page.header.Get("Location"), "")
	u, err := url.Parse(back.header.Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		s.t.Fatalf("no code: %d %s → %d %s", page.status, page.body, back.status, u)
	}
	return s.form("/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {"public"}}, header...)
}

func (s *site) backend(id string) string {
	s.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS384, Key: s.key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
	if err != nil {
		s.t.Fatal(err)
	}
	jti := make([]byte, 16)
	rand.Read(jti)
	claims, _ := json.Marshal(map[string]any{"iss": id, "sub": id, "aud": s.base + "/oauth/token", "exp": s.now.Unix() + 300, "jti": base64.RawURLEncoding.EncodeToString(jti)})
	jws, err := signer.Sign(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	token, _ := jws.CompactSerialize()
	a := s.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion": {token},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
	if a.status != 200 {
		s.t.Fatalf("backend token: %d %s", a.status, a.body)
	}
	return a.str("access_token")
}

func TestDiscovery(t *testing.T) {
	s := newSite(t)
	a := s.do("GET", "/fhir/.well-known/smart-configuration", "", "Accept", "application/json")
	list := func(name string) []string {
		var out []string
		items, _ := a.json[name].([]any)
		for _, i := range items {
			text, _ := i.(string)
			out = append(out, text)
		}
		return out
	}
	t.Run("D-1", func(t *testing.T) {
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || a.json == nil {
			t.Errorf("got %d %v", a.status, a.header)
		}
		if x := s.do("GET", "/fhir/.well-known/smart-configuration", "", "Accept", "application/fhir+xml"); x.status != 200 {
			t.Errorf("A.5.5 any Accept: %d", x.status)
		}
	})
	t.Run("D-2 D-6 D-7 D-9", func(t *testing.T) {
		for _, name := range []string{"authorization_endpoint", "token_endpoint", "issuer", "jwks_uri", "introspection_endpoint", "management_endpoint", "registration_endpoint", "revocation_endpoint"} {
			if u, err := url.Parse(a.str(name)); err != nil || !u.IsAbs() {
				t.Errorf("%s: %q", name, a.str(name))
			}
		}
	})
	t.Run("D-4 D-5 D-12", func(t *testing.T) {
		if !slices.Contains(list("grant_types_supported"), "authorization_code") || !slices.Equal(list("code_challenge_methods_supported"), []string{"S256"}) ||
			!slices.Contains(list("token_endpoint_auth_methods_supported"), "private_key_jwt") || !slices.Contains(list("token_endpoint_auth_signing_alg_values_supported"), "RS384") {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("D-3 D-10 D-11", func(t *testing.T) {
		for _, c := range []string{"launch-standalone", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric", "sso-openid-connect", "context-standalone-patient",
			"permission-offline", "permission-patient", "authorize-post", "permission-v2", "permission-v1", "launch-ehr", "context-banner", "context-style", "context-ehr-patient", "permission-user", "context-ehr-encounter"} {
			if !slices.Contains(list("capabilities"), c) {
				t.Errorf("%s is missing", c)
			}
		}
	})
	t.Run("D-8", func(t *testing.T) {
		if !slices.Contains(list("scopes_supported"), "patient/*.rs") {
			t.Errorf("got %v", list("scopes_supported"))
		}
	})
	t.Run("ID-3 ID-4 ID-5", func(t *testing.T) {
		c := s.do("GET", "/.well-known/openid-configuration", "")
		if c.status != 200 || c.str("issuer") != s.base || !strings.HasPrefix(c.header.Get("Content-Type"), "application/json") {
			t.Errorf("got %d %s", c.status, c.body)
		}
		keys := s.do("GET", c.str("jwks_uri"), "")
		if keys.status != 200 || !strings.Contains(string(keys.body), `"kty":"RSA"`) {
			t.Errorf("got %d %s", keys.status, keys.body)
		}
	})
	t.Run("FHIR reads beside it", func(t *testing.T) {
		if a := s.do("GET", "/fhir/Patient/1", ""); string(a.body) != "read Patient" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("methods", func(t *testing.T) {
		for _, path := range []string{"/fhir/.well-known/smart-configuration", "/oauth/jwks", "/.well-known/openid-configuration"} {
			if a := s.do("POST", path, ""); a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d", path, a.status)
			}
		}
		if a := s.do("GET", "/oauth/launch", ""); a.status != http.StatusMethodNotAllowed {
			t.Errorf("launch: %d", a.status)
		}
	})
}

func TestCORS(t *testing.T) {
	s := newSite(t)
	allow := func(a *answer) string { return a.header.Get("Access-Control-Allow-Origin") }
	t.Run("O-1 anyone reads discovery", func(t *testing.T) {
		for _, path := range []string{"/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth/jwks"} {
			if a := s.do("GET", path, "", "Origin", "https://nobody.example"); a.status != 200 || allow(a) != "*" {
				t.Errorf("%s: %d %q", path, a.status, allow(a))
			}
			a := s.do("OPTIONS", path, "", "Origin", "https://nobody.example", "Access-Control-Request-Method", "GET")
			if a.status != http.StatusNoContent || allow(a) != "*" {
				t.Errorf("preflight %s: %d %q", path, a.status, allow(a))
			}
		}
	})
	t.Run("O-3 token exchange of a public client", func(t *testing.T) {
		for _, origin := range []string{"https://app.example", "http://127.0.0.1:7777"} {
			a := s.login("launch/patient openid patient/*.rs", "", "Origin", origin)
			if a.status != 200 || allow(a) != origin || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d %v", origin, a.status, a.header)
			}
		}
	})
	t.Run("on errors too", func(t *testing.T) {
		for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo"} {
			if a := s.form(path, url.Values{}, "Origin", "https://app.example"); a.status < 400 || allow(a) != "https://app.example" {
				t.Errorf("%s: %d %q", path, a.status, allow(a))
			}
		}
	})
	t.Run("A.5.4 preflight", func(t *testing.T) {
		for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo"} {
			a := s.do("OPTIONS", path, "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
			if a.status != 204 || allow(a) != "https://app.example" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
		}
	})
	t.Run("not for strangers", func(t *testing.T) {
		for _, origin := range []string{"https://evil.example", "null", "http://app.example", "https://app.example.evil.example", "https://app.example:444"} {
			a := s.form("/oauth/token", url.Values{}, "Origin", origin)
			b := s.do("OPTIONS", "/oauth/token", "", "Origin", origin, "Access-Control-Request-Method", "POST")
			if allow(a) != "" || allow(b) != "" || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s: %v %v", origin, a.header, b.header)
			}
		}
	})
	t.Run("pages and the launch API have none", func(t *testing.T) {
		for _, path := range []string{"/oauth/authorize", "/oauth/launch", "/oauth/register"} {
			if a := s.form(path, url.Values{}, "Origin", "https://app.example"); allow(a) != "" {
				t.Errorf("%s: %v", path, a.header)
			}
		}
	})
}

func TestLaunchAPI(t *testing.T) {
	s := newSite(t)
	ehr, kiosk := s.backend("ehr"), s.backend("kiosk")
	body := `{"client_id":"public","user":"Practitioner/1","patient":"p7","encounter":"Encounter/e7","intent":"reconcile","fhirContext":[{"reference":"ImagingStudy/9"}]}`
	post := func(token, body string) *answer {
		t.Helper()
		return s.do("POST", "/oauth/launch", body, "Content-Type", "application/json", "Authorization", "Bearer "+token)
	}
	t.Run("E-1 E-2 E-3 LC-1 LC-2 LC-3 LC-4 an EHR launch", func(t *testing.T) {
		a := post(ehr, body)
		if a.status != 200 || a.str("launch") == "" || a.json["expires_in"] != 300.0 || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		u, err := url.Parse(a.str("launch_url"))
		if err != nil || !strings.HasPrefix(a.str("launch_url"), "https://app.example/launch?x=1&") || u.Query().Get("iss") != s.base+"/fhir" || u.Query().Get("launch") != a.str("launch") {
			t.Errorf("launch_url %s", a.str("launch_url"))
		}
		token := s.login("launch openid fhirUser user/*.rs", a.str("launch"))
		for k, v := range map[string]any{"patient": "p7", "encounter": "e7", "intent": "reconcile", "need_patient_banner": true, "smart_style_url": s.base + "/style.json"} {
			if token.json[k] != v {
				t.Errorf("%s: got %v", k, token.json[k])
			}
		}
		if !strings.Contains(string(token.body), `"fhirContext":[{"reference":"ImagingStudy/9"}]`) {
			t.Errorf("got %s", token.body)
		}
	})
	for name, c := range map[string]struct {
		token, body string
		status      int
		code        string
	}{
		"no token":              {"", body, 401, "invalid_token"},
		"unknown token":         {strings.Repeat("x", 43), body, 401, "invalid_token"},
		"a client that may not": {kiosk, body, 403, "unauthorized_client"},
		"an app's token":        {s.login("openid user/*.rs", "").str("access_token"), body, 403, "unauthorized_client"},
		"not JSON":              {ehr, `x`, 400, "invalid_request"},
		"unknown member":        {ehr, `{"client_id":"public","user":"Practitioner/1","role":"admin"}`, 400, "invalid_request"},
		"no user":               {ehr, `{"client_id":"public"}`, 400, "invalid_request"},
		"no client":             {ehr, `{"user":"Practitioner/1"}`, 400, "invalid_request"},
		"unknown user":          {ehr, `{"client_id":"public","user":"Practitioner/2"}`, 400, "invalid_request"},
		"unknown client":        {ehr, `{"client_id":"nobody","user":"Practitioner/1"}`, 400, "invalid_request"},
		"patient":               {ehr, `{"client_id":"public","user":"Practitioner/1","patient":"a/b"}`, 400, "invalid_request"},
		"patient in context":    {ehr, `{"client_id":"public","user":"Practitioner/1","fhirContext":[{"reference":"Patient/1"}]}`, 400, "invalid_request"},
		"absolute reference":    {ehr, `{"client_id":"public","user":"Practitioner/1","fhirContext":[{"reference":"https://x.example/Consent/1"}]}`, 400, "invalid_request"},
		"relative role":         {ehr, `{"client_id":"public","user":"Practitioner/1","fhirContext":[{"reference":"Consent/1","role":"x"}]}`, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			if a := post(c.token, c.body); a.status != c.status || a.str("error") != c.code {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	t.Run("a form is no JSON", func(t *testing.T) {
		if a := s.form("/oauth/launch", url.Values{"user": {"Practitioner/1"}}, "Authorization", "Bearer "+ehr); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("got %d", a.status)
		}
	})
}

func TestMountChecks(t *testing.T) {
	if err := oauth.Mount(gin.New(), oauth.Config{}); err == nil {
		t.Error("mounted without a server")
	}
}
