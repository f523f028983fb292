package idp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/idp"
)

var noon = time.Date(2031, 5, 7, 12, 0, 0, 0, time.UTC)

// issuer is a provider that does as it is told, wrong things above all.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
	now time.Time // the gateway's clock

	fetched atomic.Int32 // times that its keys were

	mu        sync.Mutex
	published []jose.JSONWebKey
	down      bool
	meta      map[string]any // laid over the metadata
	claims    map[string]any // laid over the claims of the ID token; nil removes
	sign      func(payload []byte) string
	answer    func(w http.ResponseWriter) // of the token endpoint, instead of tokens
	userinfo  map[string]any
	nonce     string
	discovers int
	tokenForm url.Values
	basic     bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, now: noon, published: []jose.JSONWebKey{public(key, "k1")}}
	i.sign = func(payload []byte) string { return signed(t, key, "k1", payload) }
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", i.metadata)
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.fetched.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		write(w, jose.JSONWebKeySet{Keys: i.published})
	})
	mux.HandleFunc("/token", i.token)
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, _ *http.Request) { write(w, i.userinfo) })
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func public(key *ecdsa.PrivateKey, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: &key.PublicKey, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

// rotate signs with a new key from now on; with the one before for a while if it
// stays published.
func (i *issuer) rotate(t *testing.T, kid string, stays bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !stays {
		i.published = nil
	}
	i.published = append(i.published, public(key, kid))
	i.key, i.sign = key, func(payload []byte) string { return signed(t, key, kid, payload) }
}

func (i *issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.discovers++
	if i.down {
		http.Error(w, "secret-diagnostics", http.StatusInternalServerError)
		return
	}
	meta := map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"jwks_uri": i.URL + "/keys", "userinfo_endpoint": i.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256"}}
	maps.Copy(meta, i.meta)
	write(w, meta)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = r.ParseForm()
	i.tokenForm = r.PostForm
	_, _, i.basic = r.BasicAuth()
	if i.answer != nil {
		i.answer(w)
		return
	}
	hash := sha256.Sum256([]byte("access"))
	claims := map[string]any{"iss": i.URL, "sub": "secret-subject", "aud": "gateway", "exp": i.now.Add(time.Minute).Unix(), "iat": i.now.Unix(),
		"auth_time": i.now.Unix(), "nonce": i.nonce, "at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]),
		"name": "Secret Name", "email": "secret@example.org", "email_verified": "true", "acr": "strong"}
	for name, value := range i.claims {
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
	}
	payload, _ := json.Marshal(claims)
	write(w, map[string]any{"access_token": "access", "token_type": "Bearer", "id_token": i.sign(payload)})
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func signed(t *testing.T, key crypto.Signer, kid string, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (i *issuer) provider(t *testing.T) *idp.Provider {
	t.Helper()
	p, err := idp.New(idp.Config{ID: "it", Name: "It", Issuer: i.URL, ClientID: "gateway", ClientSecret: "s", RedirectURL: "https://gateway.example/callback",
		Now: func() time.Time { return i.now }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// signIn plays a whole sign-in.
func (i *issuer) signIn(t *testing.T, p *idp.Provider, o idp.Options) (*idp.Identity, error) {
	t.Helper()
	address, ticket, err := p.BeginWith(t.Context(), o)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	i.nonce = u.Query().Get("nonce")
	return p.Finish(t.Context(), ticket, url.Values{"code": {"c"}, "state": {u.Query().Get("state")}})
}

func TestBegin(t *testing.T) {
	i := newIssuer(t)
	age := 90 * time.Second
	address, ticket, err := i.provider(t).BeginWith(t.Context(), idp.Options{Prompt: "login", MaxAge: &age, ACRValues: []string{"a", "b"}, LoginHint: "grace"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	sum := sha256.Sum256([]byte(ticket.Verifier))
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "gateway", "redirect_uri": "https://gateway.example/callback", "scope": "openid profile email",
		"state": ticket.State, "nonce": ticket.Nonce, "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
		"prompt": "login", "max_age": "90", "acr_values": "a b", "login_hint": "grace",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	body, err := json.Marshal(ticket)
	if err != nil {
		t.Fatal(err)
	}
	var back idp.Ticket
	if err := json.Unmarshal(body, &back); err != nil || back.State != ticket.State || *back.MaxAge != age || !back.Began.Equal(noon) {
		t.Errorf("the ticket comes back as %+v (%v)", back, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", ticket, ticket, ticket); strings.Contains(text, ticket.State) || strings.Contains(text, ticket.Verifier) {
		t.Errorf("the ticket prints its secrets: %s", text)
	}
}

func TestFinish(t *testing.T) {
	i := newIssuer(t)
	who, err := i.signIn(t, i.provider(t), idp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if who.Issuer != i.URL || who.Subject != "secret-subject" || who.Name != "Secret Name" || who.Email != "secret@example.org" || !who.EmailVerified ||
		!who.AuthTime.Equal(noon) || who.ACR != "strong" {
		t.Errorf("got %+v", who)
	}
	if !i.basic || i.tokenForm.Get("client_secret") != "" || i.tokenForm.Get("code_verifier") == "" {
		t.Errorf("token request: basic %v, form %v", i.basic, i.tokenForm)
	}
}

// A provider changes its keys whenever it likes: new ones count at the next sign-in,
// those that it takes away do not when others have come.
func TestKeysRotateWhileRunning(t *testing.T) {
	i := newIssuer(t)
	p := i.provider(t)
	first := i.sign
	for _, next := range []struct {
		kid   string
		stays bool
	}{{"k1", true}, {"k2", true}, {"k3", false}} {
		if next.kid != "k1" {
			i.rotate(t, next.kid, next.stays)
		}
		// The library may answer with the keys of a fetch that has ended a moment ago,
		// which nobody is fast enough to meet but a test.
		_, err := i.signIn(t, p, idp.Options{})
		for try := 0; err != nil && try < 5; try++ {
			_, err = i.signIn(t, p, idp.Options{})
		}
		if err != nil {
			t.Fatalf("with %s: %v", next.kid, err)
		}
	}
	i.sign = first
	if _, err := i.signIn(t, p, idp.Options{}); err == nil {
		t.Error("a key that was taken away still counts")
	}
}

func TestIDTokenRefusals(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	none := func(payload []byte) string {
		enc := base64.RawURLEncoding.EncodeToString
		return enc([]byte(`{"alg":"none"}`)) + "." + enc(payload) + "."
	}
	claims := func(c map[string]any) func(*issuer) { return func(i *issuer) { i.claims = c } }
	minute := time.Minute
	tests := map[string]struct {
		spoil   func(*issuer)
		options idp.Options
	}{
		"wrong nonce":           {spoil: claims(map[string]any{"nonce": "secret"})},
		"no nonce":              {spoil: claims(map[string]any{"nonce": nil})},
		"wrong issuer":          {spoil: claims(map[string]any{"iss": "https://secret.example"})},
		"wrong audience":        {spoil: claims(map[string]any{"aud": "secret"})},
		"two audiences, no azp": {spoil: claims(map[string]any{"aud": []string{"gateway", "secret"}})},
		"another party":         {spoil: claims(map[string]any{"azp": "secret"})},
		"no subject":            {spoil: claims(map[string]any{"sub": nil})},
		"expired":               {spoil: func(i *issuer) { i.claims = map[string]any{"exp": i.now.Add(-2 * time.Minute).Unix()} }},
		"of the future":         {spoil: func(i *issuer) { i.claims = map[string]any{"iat": i.now.Add(2 * time.Minute).Unix()} }},
		"not yet":               {spoil: func(i *issuer) { i.claims = map[string]any{"nbf": i.now.Add(10 * time.Minute).Unix()} }},
		"other access token":    {spoil: claims(map[string]any{"at_hash": "secret"})},
		"other key":             {spoil: func(i *issuer) { i.sign = func(b []byte) string { return signed(t, other, "k1", b) } }},
		"unknown key":           {spoil: func(i *issuer) { i.sign = func(b []byte) string { return signed(t, other, "k2", b) } }},
		"unsigned":              {spoil: func(i *issuer) { i.sign = none }},
		"not a token":           {spoil: func(i *issuer) { i.sign = func([]byte) string { return "secret" } }},
		"no token":              {spoil: func(i *issuer) { i.sign = func([]byte) string { return "" } }},
		"signed in too long ago": {spoil: func(i *issuer) { i.claims = map[string]any{"auth_time": i.now.Add(-time.Hour).Unix()} },
			options: idp.Options{MaxAge: &minute}},
		"does not say when": {spoil: claims(map[string]any{"auth_time": nil}), options: idp.Options{MaxAge: &minute}},
		"not asked again": {spoil: func(i *issuer) { i.claims = map[string]any{"auth_time": i.now.Add(-time.Hour).Unix()} },
			options: idp.Options{Prompt: "login"}},
		"token endpoint refuses": {spoil: func(i *issuer) {
			i.answer = func(w http.ResponseWriter) { http.Error(w, "secret", http.StatusBadRequest) }
		}},
		"token endpoint answers no JSON": {spoil: func(i *issuer) {
			i.answer = func(w http.ResponseWriter) { _, _ = w.Write([]byte("<secret>")) }
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			test.spoil(i)
			who, err := i.signIn(t, i.provider(t), test.options)
			var oauth *smart.Error
			if !errors.As(err, &oauth) || oauth.Code != "access_denied" || oauth.Status != http.StatusForbidden || who != nil {
				t.Fatalf("got %v, %v", who, err)
			}
			if strings.Contains(strings.ToLower(err.Error()), "secret") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestToleratedDifferences(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"clock behind ours":       {"exp": noon.Add(-30 * time.Second).Unix()},
		"clock ahead of ours":     {"iat": noon.Add(30 * time.Second).Unix()},
		"no access token hash":    {"at_hash": nil},
		"we are named twice":      {"azp": "gateway", "aud": []string{"gateway", "other"}},
		"times with fractions":    {"auth_time": float64(noon.Unix()) + 0.5},
		"boolean email_verified":  {"email_verified": true},
		"does not say since when": {"auth_time": nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.claims = claims
			if _, err := i.signIn(t, i.provider(t), idp.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUserinfoFillsIn(t *testing.T) {
	for name, test := range map[string]struct {
		userinfo map[string]any
		email    string
	}{
		"same person":  {map[string]any{"sub": "secret-subject", "name": "N", "email": "n@example.org", "email_verified": true}, "n@example.org"},
		"other person": {map[string]any{"sub": "other", "name": "N", "email": "n@example.org"}, ""},
		"no answer":    {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.claims, i.userinfo = map[string]any{"name": nil, "email": nil, "email_verified": nil}, test.userinfo
			who, err := i.signIn(t, i.provider(t), idp.Options{})
			if err != nil || who.Email != test.email || who.EmailVerified != (test.email != "") {
				t.Errorf("got %+v, %v", who, err)
			}
		})
	}
}

func TestDiscoveryIsLazyAndRetried(t *testing.T) {
	i := newIssuer(t)
	p := i.provider(t)
	if i.discovers != 0 {
		t.Fatal("New asked the provider")
	}
	i.down = true
	var oauth *smart.Error
	if _, _, err := p.Begin(t.Context()); !errors.As(err, &oauth) || oauth.Status != http.StatusServiceUnavailable || strings.Contains(err.Error(), "secret") {
		t.Fatalf("while it is down: %v", err)
	}
	i.down = false
	for range 3 {
		if _, err := i.signIn(t, p, idp.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if i.discovers != 2 {
		t.Errorf("asked %d times, want 2", i.discovers)
	}
}

func TestMetadataRefusals(t *testing.T) {
	for name, meta := range map[string]map[string]any{
		"other issuer":      {"issuer": "https://secret.example"},
		"trailing slash":    {"issuer": "slash"},
		"no token endpoint": {"token_endpoint": ""},
		"relative endpoint": {"authorization_endpoint": "/authorize"},
		"no keys":           {"jwks_uri": nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			if meta["issuer"] == "slash" {
				meta["issuer"] = i.URL + "/"
			}
			i.meta = meta
			_, _, err := i.provider(t).Begin(t.Context())
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestIssuerParameter(t *testing.T) {
	for name, test := range map[string]struct {
		advertised bool
		iss        []string
		ok         bool
	}{
		"not advertised, absent": {false, nil, true},
		"advertised, absent":     {true, nil, false},
		"right":                  {true, []string{"self"}, true},
		"not advertised, wrong":  {false, []string{"https://evil.example"}, false},
		"twice":                  {true, []string{"self", "self"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.meta = map[string]any{"authorization_response_iss_parameter_supported": test.advertised}
			p := i.provider(t)
			_, ticket, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i.nonce = ticket.Nonce
			values := url.Values{"code": {"c"}, "state": {ticket.State}}
			for _, iss := range test.iss {
				values.Add("iss", strings.Replace(iss, "self", i.URL, 1))
			}
			if _, err := p.Finish(t.Context(), ticket, values); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAuthStyles(t *testing.T) {
	for name, test := range map[string]struct {
		methods []string
		secret  string
		basic   bool
	}{
		"both":         {[]string{"client_secret_post", "client_secret_basic"}, "s", true},
		"post only":    {[]string{"client_secret_post"}, "s", false},
		"nothing said": {nil, "s", true},
		"public":       {[]string{"client_secret_basic"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.meta = map[string]any{"token_endpoint_auth_methods_supported": test.methods}
			p, err := idp.New(idp.Config{ID: "it", Issuer: i.URL, ClientID: "gateway", ClientSecret: test.secret, RedirectURL: "https://gateway.example/callback",
				Now: func() time.Time { return noon }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.signIn(t, p, idp.Options{}); err != nil {
				t.Fatal(err)
			}
			if i.basic != test.basic || i.tokenForm.Has("client_id") == test.basic {
				t.Errorf("basic %v, form %v", i.basic, i.tokenForm)
			}
		})
	}
}

func TestEndSession(t *testing.T) {
	i := newIssuer(t)
	if address, err := i.provider(t).EndSession(t.Context(), "https://gateway.example/"); err != nil || address != "" {
		t.Errorf("without an endpoint: %q, %v", address, err)
	}
	i.meta = map[string]any{"end_session_endpoint": i.URL + "/out?x=1"}
	address, err := i.provider(t).EndSession(t.Context(), "https://gateway.example/")
	if err != nil || !strings.HasPrefix(address, i.URL+"/out?") || !strings.Contains(address, "x=1") ||
		!strings.Contains(address, "post_logout_redirect_uri="+url.QueryEscape("https://gateway.example/")) {
		t.Errorf("got %q, %v", address, err)
	}
}

func TestNewChecks(t *testing.T) {
	good := idp.Config{ID: "it", Issuer: "https://idp.example", ClientID: "c", RedirectURL: "https://gateway.example/cb", Now: time.Now}
	if _, err := idp.New(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*idp.Config){
		"no clock":          func(c *idp.Config) { c.Now = nil },
		"no id":             func(c *idp.Config) { c.ID = "" },
		"no client":         func(c *idp.Config) { c.ClientID = "" },
		"no issuer":         func(c *idp.Config) { c.Issuer = "" },
		"odd issuer":        func(c *idp.Config) { c.Issuer = "file:///etc" },
		"relative redirect": func(c *idp.Config) { c.RedirectURL = "/cb" },
	} {
		c := good
		spoil(&c)
		if _, err := idp.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
