package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

const directory = "https://directory.example"

// stated signs a statement; changes with the value nil remove claims.
func (w *world) stated(alg jose.SignatureAlgorithm, key any, kid string, changes map[string]any) string {
	w.t.Helper()
	claims := map[string]any{"iss": directory, "exp": w.now().Unix() + 3600, "client_name": "Vouched", "redirect_uris": []string{"https://vouched.example/cb"},
		"grant_types": []string{"authorization_code"}, "scope": "openid patient/*.rs", "token_endpoint_auth_method": "none"}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func (w *world) registers(method, path string, body map[string]any, token string) *answer {
	w.t.Helper()
	text, _ := json.Marshal(body)
	req, err := http.NewRequest(method, w.base+path, strings.NewReader(string(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(req)
}

func TestSoftwareStatements(t *testing.T) {
	k := testKeys()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := jwks(jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "rsa"}, jose.JSONWebKey{Key: &k.ec.PublicKey, KeyID: "ec"}, jose.JSONWebKey{Key: &p256.PublicKey, KeyID: "p256"})
	at := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(keys) }))
	t.Cleanup(at.Close)
	const admit = "an-initial-access-token"
	w := newWorld(t, func(c *authserver.Config) {
		c.OpenRegistration, c.InitialAccessToken = false, admit
		c.Statements = []authserver.StatementIssuer{{Issuer: directory, JWKS: keys}, {Issuer: directory + "/url", JWKSURI: at.URL}}
	})
	good := w.stated(jose.RS256, k.rsa, "rsa", nil)

	t.Run("a statement stands over plain metadata", func(t *testing.T) {
		a := w.registers("POST", "/oauth/register", map[string]any{"software_statement": good, "client_name": "Mallory", "redirect_uris": []string{"https://evil.example/cb"},
			"logo_uri": "https://plain.example/logo.png", "jwks_uri": "https://plain.example/jwks"}, admit)
		if a.status != 201 || a.str("client_name") != "Vouched" || a.str("software_statement") != good || a.str("logo_uri") == "" || strings.Contains(string(a.body), "evil") {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("alone it registers what it says and nothing else", func(t *testing.T) {
		a := w.registers("POST", "/oauth/register", map[string]any{"software_statement": good, "logo_uri": "https://evil.example/logo.png", "jwks_uri": "https://evil.example/jwks"}, "")
		if a.status != 201 || a.str("scope") != "openid patient/*.rs" || strings.Contains(string(a.body), "evil") {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		path, token := "/oauth/register/"+a.str("client_id"), a.str("registration_access_token")
		put := func(more map[string]any) *answer {
			body := map[string]any{"client_id": a.str("client_id"), "redirect_uris": []string{"https://evil.example/cb"}, "token_endpoint_auth_method": "none"}
			maps.Copy(body, more)
			return w.registers("PUT", path, body, token)
		}
		want(t, put(nil), 400, "invalid_software_statement")
		newer := w.stated(jose.ES384, k.ec, "ec", map[string]any{"client_name": "Newer"})
		if b := put(map[string]any{"software_statement": newer}); b.status != 200 || b.str("client_name") != "Newer" || b.str("software_statement") != newer || strings.Contains(string(b.body), "evil") {
			t.Errorf("got %d %s", b.status, b.body)
		}
		if b := w.get(path, "Authorization", "Bearer "+token); b.str("software_statement") != newer {
			t.Errorf("got %s", b.body)
		}
		noRedirect := w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"redirect_uris": nil})
		want(t, w.registers("POST", "/oauth/register", map[string]any{"software_statement": noRedirect, "redirect_uris": []string{"https://evil.example/cb"}}, ""), 400, "invalid_redirect_uri")
		want(t, w.registers("POST", "/oauth/register", map[string]any{"software_statement": good}, "a-wrong-token"), 401, "invalid_token")
		want(t, w.registers("POST", "/oauth/register", map[string]any{"redirect_uris": []string{"https://a.example/cb"}}, ""), 401, "invalid_token")
	})
	t.Run("algorithms and keys", func(t *testing.T) {
		for _, s := range []string{w.stated(jose.RS384, k.rsa, "rsa", nil), w.stated(jose.ES256, p256, "p256", nil), w.stated(jose.ES384, k.ec, "ec", nil),
			w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"iss": directory + "/url"}), w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"exp": nil}),
			w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"aud": w.base}), w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"aud": []string{"x", w.base + "/oauth/register"}})} {
			if a := w.registers("POST", "/oauth/register", map[string]any{"software_statement": s}, ""); a.status != 201 {
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
	})
	parts := strings.Split(good, ".")
	encode := func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }
	secret, _ := json.Marshal(k.rsa.N)
	for name, c := range map[string]struct{ statement, code string }{
		"another issuer":    {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"iss": "https://other.example"}), "unapproved_software_statement"},
		"no issuer":         {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"iss": nil}), "unapproved_software_statement"},
		"forged":            {w.stated(jose.RS256, k.other, "rsa", nil), "invalid_software_statement"},
		"changed":           {parts[0] + "." + encode(`{"iss":"`+directory+`","redirect_uris":["https://evil.example/cb"]}`) + "." + parts[2], "invalid_software_statement"},
		"expired":           {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"exp": w.now().Unix()}), "invalid_software_statement"},
		"ahead":             {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"nbf": w.now().Unix() + 3600}), "invalid_software_statement"},
		"issued ahead":      {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"iat": w.now().Unix() + 3600}), "invalid_software_statement"},
		"for others":        {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"aud": "https://other.example"}), "invalid_software_statement"},
		"alg none":          {encode(`{"alg":"none"}`) + "." + parts[1] + ".", "invalid_software_statement"},
		"alg HS256":         {w.stated(jose.HS256, secret, "rsa", nil), "invalid_software_statement"},
		"unknown key":       {w.stated(jose.RS256, k.rsa, "other", nil), "invalid_software_statement"},
		"another key's alg": {w.stated(jose.ES384, k.ec, "p256", nil), "invalid_software_statement"},
		"no JWT":            {"a.b.c", "invalid_software_statement"},
		"no metadata":       {w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"redirect_uris": 7}), "invalid_software_statement"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, token := range []string{"", admit} {
				want(t, w.registers("POST", "/oauth/register", map[string]any{"software_statement": c.statement, "redirect_uris": []string{"https://a.example/cb"}}, token), 400, c.code)
			}
		})
	}
	t.Run("a copy does not fill the store", func(t *testing.T) {
		one := w.stated(jose.RS256, k.rsa, "rsa", map[string]any{"client_name": "Copied"})
		counts := map[int]int{}
		for range 40 {
			counts[w.registers("POST", "/oauth/register", map[string]any{"software_statement": one}, "").status]++
		}
		if counts[201] != 20 || counts[429] != 20 {
			t.Errorf("got %v", counts)
		}
		w.pass(time.Minute)
		want(t, w.registers("POST", "/oauth/register", map[string]any{"software_statement": one}, ""), 201, "")
		want(t, w.registers("POST", "/oauth/register", map[string]any{"software_statement": one}, admit), 201, "")
	})
	clients, err := w.server.Clients(t.Context())
	if err != nil || slices.ContainsFunc(clients, func(c smart.Client) bool { return strings.Contains(strings.Join(c.RedirectURIs, " "), "evil") }) {
		t.Errorf("a client is registered for an address that nobody vouched for: %v", err)
	}
}
