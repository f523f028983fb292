package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

func (w *world) backend(id, scope string) {
	w.t.Helper()
	w.put(smart.Client{ID: id, Name: "Kiosk", AuthMethod: smart.AuthPrivateKeyJWT, JWKS: publicKeys(), GrantTypes: []string{"client_credentials"}, Scope: scope})
}

func (w *world) backendToken(assertion, scope string) *answer {
	w.t.Helper()
	return w.post("/oauth/token", asserted(url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}, assertion), "Accept", "application/json")
}

func TestBackendServices(t *testing.T) {
	w := newWorld(t, nil)
	w.backend("kiosk", "system/CareTeam.cruds system/Patient.rs")
	w.backend("bulk", "system/*.rs")

	t.Run("BS-1 BS-2", func(t *testing.T) {
		a := w.backendToken(w.assertion("kiosk"), "system/CareTeam.rs")
		want(t, a, 200, "")
		if n, ok := a.json["expires_in"].(float64); !ok || n != 300 || a.str("token_type") != "Bearer" || a.str("scope") != "system/CareTeam.rs" || a.str("refresh_token") != "" {
			t.Errorf("got %s", a.body)
		}
		g, err := w.server.Authenticate(t.Context(), a.str("access_token"))
		if err != nil || g.Identity.Role != smart.System || g.Identity.Login != "" || g.ClientID != "kiosk" {
			t.Errorf("got %+v, %v", g, err)
		}
		w.pass(300 * time.Second)
		if w.works(a.str("access_token")) {
			t.Error("lives longer than five minutes")
		}
	})
	t.Run("BK-13 a life of its own", func(t *testing.T) {
		w.put(smart.Client{ID: "slow", AuthMethod: smart.AuthPrivateKeyJWT, JWKS: publicKeys(), GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs", TokenLife: 7200})
		if a := w.backendToken(w.assertion("slow"), "system/*.rs"); a.json["expires_in"] != 7200.0 {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("BS-3 grant type", func(t *testing.T) {
		a := w.post("/oauth/token", asserted(url.Values{"grant_type": {"not_a_grant_type"}, "scope": {"system/*.rs"}}, w.assertion("bulk")))
		want(t, a, 400, "unsupported_grant_type")
	})
	t.Run("BS-4 assertion type", func(t *testing.T) {
		v := asserted(url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}}, w.assertion("bulk"))
		v.Set("client_assertion_type", "not_an_assertion_type")
		want(t, w.post("/oauth/token", v), 400, "invalid_request")
	})
	t.Run("BS-6 v1 and v2", func(t *testing.T) {
		for _, s := range []string{"system/*.read", "system/*.rs"} {
			if a := w.backendToken(w.assertion("bulk"), s); a.status != 200 || a.str("scope") != s {
				t.Errorf("%s: %s", s, a.body)
			}
		}
	})
	t.Run("BS-7 no more than was registered", func(t *testing.T) {
		for asked, granted := range map[string]string{
			"system/*.rs": "system/CareTeam.rs system/Patient.rs", "system/Patient.cruds openid user/*.rs": "system/Patient.rs",
			"system/Patient.read": "system/Patient.read", "system/CareTeam.*": "system/CareTeam.*",
		} {
			if a := w.backendToken(w.assertion("kiosk"), asked); a.str("scope") != granted {
				t.Errorf("%s: got %q, want %q", asked, a.str("scope"), granted)
			}
		}
		for _, none := range []string{"", "system/Observation.rs", "user/*.rs patient/*.rs openid"} {
			want(t, w.backendToken(w.assertion("kiosk"), none), 400, "invalid_scope")
		}
	})
	t.Run("it has no other flow", func(t *testing.T) {
		want(t, w.post("/oauth/token", asserted(exchange("x"), w.assertion("kiosk"))), 400, "unauthorized_client")
		if a := w.get("/oauth/authorize?" + w.request("kiosk", "system/*.rs").Encode()); a.status != 400 {
			t.Errorf("authorize: %d", a.status)
		}
	})
}

// A.3: what an assertion must be.
func TestClientAssertion(t *testing.T) {
	w := newWorld(t, nil)
	w.backend("kiosk", "system/*.rs")
	k := testKeys()
	token := func(claims map[string]any, header map[jose.HeaderKey]any) string {
		return sign(jose.RS384, "rsa", k.rsa, w.claims("kiosk", claims), header)
	}
	for name, good := range map[string]string{
		"CA-3 RS384":          token(nil, nil),
		"CA-3 ES384":          sign(jose.ES384, "ec", k.ec, w.claims("kiosk", nil), nil),
		"CA-5 a minute ahead": token(map[string]any{"exp": w.now().Add(6 * time.Minute).Unix()}, nil),
		"iat and nbf":         token(map[string]any{"iat": w.now().Unix(), "nbf": w.now().Unix()}, nil),
		"aud in a list":       token(map[string]any{"aud": []string{w.base + "/oauth/token"}}, nil),
		"aud is the issuer":   token(map[string]any{"aud": w.base}, nil),
		"typ is left out":     token(nil, map[jose.HeaderKey]any{"typ": nil}),
	} {
		t.Run(name, func(t *testing.T) { want(t, w.backendToken(good, "system/*.rs"), 200, "") })
	}
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT","kid":"rsa"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iss":"kiosk","sub":"kiosk","aud":"%s/oauth/token","exp":%d,"jti":"x1"}`, w.base, w.now().Add(time.Minute).Unix())) + "."
	for name, bad := range map[string]string{
		"another key":           sign(jose.RS384, "rsa", k.other, w.claims("kiosk", nil), nil),
		"alg none":              unsigned,
		"HS256 with public key": sign(jose.HS256, "rsa", []byte(publicKeys()), w.claims("kiosk", nil), nil),
		"HS384 with public key": sign(jose.HS384, "rsa", []byte(publicKeys()), w.claims("kiosk", nil), nil),
		"RS256":                 sign(jose.RS256, "rsa", k.rsa, w.claims("kiosk", nil), nil),
		"PS384":                 sign(jose.PS384, "rsa", k.rsa, w.claims("kiosk", nil), nil),
		"no kid":                token(nil, map[jose.HeaderKey]any{"kid": nil}),
		"unknown kid":           token(nil, map[jose.HeaderKey]any{"kid": "other"}),
		"kid of the other type": token(nil, map[jose.HeaderKey]any{"kid": "ec"}),
		"typ is another":        token(nil, map[jose.HeaderKey]any{"typ": "at+jwt"}),
		"typ is no text":        token(nil, map[jose.HeaderKey]any{"typ": 1}),
		"jku":                   token(nil, map[jose.HeaderKey]any{"jku": "https://evil.example/jwks"}),
		"key in the header":     sign(jose.RS384, "rsa", k.other, w.claims("kiosk", nil), map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: &k.other.PublicKey, KeyID: "rsa"}}),
		"unknown client":        token(map[string]any{"iss": "nobody", "sub": "nobody"}, nil),
		"iss is not sub":        token(map[string]any{"sub": "public"}, nil),
		"symmetric client":      token(map[string]any{"iss": "confidential", "sub": "confidential"}, nil),
		"no aud":                token(map[string]any{"aud": nil}, nil),
		"aud of another":        token(map[string]any{"aud": "https://other.example/oauth/token"}, nil),
		"aud of another too":    token(map[string]any{"aud": []string{w.base + "/oauth/token", "https://other.example"}}, nil),
		"no exp":                token(map[string]any{"exp": nil}, nil),
		"exp now":               token(map[string]any{"exp": w.now().Unix()}, nil),
		"exp far":               token(map[string]any{"exp": w.now().Add(6*time.Minute + time.Second).Unix()}, nil),
		"exp absurd":            token(map[string]any{"exp": 1e300}, nil),
		"nbf ahead":             token(map[string]any{"nbf": w.now().Add(2 * time.Minute).Unix()}, nil),
		"iat ahead":             token(map[string]any{"iat": w.now().Add(2 * time.Minute).Unix()}, nil),
		"no jti":                token(map[string]any{"jti": nil}, nil),
		"long jti":              token(map[string]any{"jti": strings.Repeat("j", 501)}, nil),
		"not a JWT":             "a.b.c",
		"not a JWT at all":      "x",
		"too long":              strings.Repeat("x", 20<<10),
	} {
		t.Run(name, func(t *testing.T) {
			a := w.backendToken(bad, "system/*.rs")
			want(t, a, 401, "invalid_client")
			if strings.Contains(string(a.body), "go-jose") || strings.Contains(string(a.body), "json:") {
				t.Errorf("a library talks: %s", a.body)
			}
		})
	}
	t.Run("client_id of another", func(t *testing.T) {
		v := asserted(url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_id": {"public"}}, w.assertion("kiosk"))
		want(t, w.post("/oauth/token", v), 401, "invalid_client")
	})
	t.Run("A.3.2 jti once, sixteen at once", func(t *testing.T) {
		one := token(nil, nil)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if a := w.backendToken(one, "system/*.rs"); a.status == 200 {
					won.Add(1)
				} else if a.status != 401 {
					t.Errorf("status %d", a.status)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
	})
	t.Run("A.3.2 a jti is the client's own", func(t *testing.T) {
		w.backend("bulk", "system/*.rs")
		for _, id := range []string{"kiosk", "bulk"} {
			want(t, w.backendToken(sign(jose.RS384, "rsa", k.rsa, w.claims(id, map[string]any{"jti": "same"}), nil), "system/*.rs"), 200, "")
		}
	})
	t.Run("A.3.4 two keys of one kid", func(t *testing.T) {
		w.put(smart.Client{ID: "twins", AuthMethod: smart.AuthPrivateKeyJWT, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs",
			JWKS: jwks(jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "rsa"}, jose.JSONWebKey{Key: &k.other.PublicKey, KeyID: "rsa"})})
		want(t, w.backendToken(w.assertion("twins"), "system/*.rs"), 401, "invalid_client")
	})
}

// A.3.5: keys at a URL.
func TestJWKSURL(t *testing.T) {
	w := newWorld(t, nil)
	k := testKeys()
	var hits atomic.Int32
	var mu sync.Mutex
	var serve http.HandlerFunc
	host := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.Header.Get("Accept") != "application/json" {
			t.Errorf("Accept %q", r.Header.Get("Accept"))
		}
		mu.Lock()
		h := serve
		mu.Unlock()
		h(rw, r)
	}))
	t.Cleanup(host.Close)
	set := func(h http.HandlerFunc) {
		mu.Lock()
		defer mu.Unlock()
		serve = h
	}
	keys := func(cache string, set []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Cache-Control", cache); rw.Write(set) }
	}
	client := func(id string) {
		w.put(smart.Client{ID: id, AuthMethod: smart.AuthPrivateKeyJWT, JWKSURI: host.URL + "/" + id, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs"})
	}
	status := func(id string) int { return w.backendToken(w.assertion(id), "system/*.rs").status }

	t.Run("CA-8 kept as long as Cache-Control says", func(t *testing.T) {
		client("cached")
		set(keys("public, max-age=60", publicKeys()))
		hits.Store(0)
		for range 3 {
			if s := status("cached"); s != 200 {
				t.Fatal(s)
			}
		}
		if hits.Load() != 1 {
			t.Errorf("%d fetches", hits.Load())
		}
		w.pass(time.Minute)
		status("cached")
		if hits.Load() != 2 {
			t.Errorf("%d fetches", hits.Load())
		}
		set(keys("no-store", publicKeys()))
		w.pass(time.Minute)
		hits.Store(0)
		status("cached")
		status("cached")
		if hits.Load() != 2 {
			t.Errorf("no-store: %d fetches", hits.Load())
		}
	})
	t.Run("a withdrawn key ends with the cache", func(t *testing.T) {
		client("withdrawn")
		set(keys("max-age=60", publicKeys()))
		status("withdrawn")
		set(keys("max-age=60", jwks(jose.JSONWebKey{Key: &k.ec.PublicKey, KeyID: "ec"})))
		w.pass(time.Minute)
		if s := status("withdrawn"); s != 401 {
			t.Error(s)
		}
	})
	t.Run("an unknown kid fetches again, so many times", func(t *testing.T) {
		client("rotating")
		set(keys("max-age=3600", jwks(jose.JSONWebKey{Key: &k.ec.PublicKey, KeyID: "ec"})))
		hits.Store(0)
		for range 20 {
			if s := status("rotating"); s != 401 {
				t.Fatal(s)
			}
		}
		if hits.Load() != 6 { // the first, and five for an unknown kid
			t.Errorf("%d fetches", hits.Load())
		}
		set(keys("max-age=3600", publicKeys()))
		w.pass(10 * time.Second)
		if s := status("rotating"); s != 200 {
			t.Error(s)
		}
	})
	t.Run("jku must be the registered URL", func(t *testing.T) {
		client("jku")
		set(keys("", publicKeys()))
		for jku, status := range map[string]int{host.URL + "/jku": 200, host.URL + "/other": 401} {
			token := sign(jose.RS384, "rsa", k.rsa, w.claims("jku", nil), map[jose.HeaderKey]any{"jku": jku})
			if a := w.backendToken(token, "system/*.rs"); a.status != status {
				t.Errorf("%s: %d", jku, a.status)
			}
		}
	})
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, host.URL+"/cached", http.StatusFound)
		},
		"error":    func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) },
		"not JSON": keys("", []byte("<html>")),
		"endless": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Write([]byte(strings.Repeat(" ", 300<<10)))
			rw.Write(publicKeys())
		},
		"no keys":         keys("", []byte(`{"keys":[]}`)),
		"a symmetric key": keys("", []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"rsa"}]}`)),
	} {
		t.Run("fetch: "+name, func(t *testing.T) {
			client("f" + strings.ReplaceAll(name, " ", ""))
			set(h)
			if s := status("f" + strings.ReplaceAll(name, " ", "")); s != 401 {
				t.Error(s)
			}
		})
	}
}

// Nothing inside the network is fetched in production (SSRF).
func TestJWKSURLStaysOutside(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	var calls atomic.Int32
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			c.Close()
		}
	}()
	w := newWorld(t, func(c *authserver.Config) { c.AllowLoopbackJWKS = false })
	bad := smart.Client{ID: "ssrf", AuthMethod: smart.AuthPrivateKeyJWT, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs"}
	for _, uri := range []string{"http://127.0.0.1:1/jwks", "http://app.example/jwks", "file:///etc/passwd", "gopher://x/", "https://user@app.example/jwks", "https://app.example/jwks#f"} {
		bad.JWKSURI = uri
		if err := w.server.PutClient(t.Context(), bad); err == nil {
			t.Errorf("%s was registered", uri)
		}
	}
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		bad.JWKSURI = "https://" + host + ":" + port
		w.put(bad)
		want(t, w.backendToken(w.assertion("ssrf"), "system/*.rs"), 401, "invalid_client")
	}
	if calls.Load() != 0 {
		t.Error("an address inside was called")
	}
}

func TestClientKeysChecked(t *testing.T) {
	w := newWorld(t, nil)
	k := testKeys()
	small, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string][]byte{
		"private": jwks(jose.JSONWebKey{Key: k.rsa, KeyID: "rsa"}), "P-256 only": jwks(jose.JSONWebKey{Key: &small.PublicKey, KeyID: "x"}),
		"no kid": jwks(jose.JSONWebKey{Key: &k.rsa.PublicKey}), "for encryption": jwks(jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "e", Use: "enc"}),
		"empty": []byte(`{"keys":[]}`), "no set": []byte(`[]`),
	} {
		c := smart.Client{ID: "x", AuthMethod: smart.AuthPrivateKeyJWT, JWKS: set, GrantTypes: []string{"client_credentials"}, Scope: "system/*.rs"}
		if err := w.server.PutClient(t.Context(), c); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
}
