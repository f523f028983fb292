package authserver_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/fhir/badgerstore"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/authserver/keytest"
)

// A world is an authorization server over real HTTP and a real store, with a
// page that answers for a person, and a clock that stands still.
type world struct {
	t      testing.TB
	server *authserver.Server
	web    *httptest.Server
	base   string
	client *http.Client

	mu     sync.Mutex
	time   time.Time
	answer func(*authserver.Pending) (authserver.Approval, *smart.Error)
}

const (
	callback = "http://127.0.0.1:7777/callback"
	verifier = "b2b8ae0a-6b64-4d1d-9d6b-5a9d6c5c2a11-0f0b6f0e-1f7b-4d63-8a55-6c1f7f1f0a02"
	secret   = "s3cret-s3cret-s3cret-s3cret"
)

var grace = smart.Identity{Login: "login-grace", Name: "Grace", Role: smart.Proxy, FHIRUser: "RelatedPerson/9", Persons: []string{"RelatedPerson/9"}}
var adams = smart.Identity{Login: "login-adams", Name: "Dr. Adams", Role: smart.Provider, FHIRUser: "Practitioner/1", Persons: []string{"Practitioner/1"}}

var signingKey keytest.Key // of all worlds

func newWorld(t testing.TB, change func(*authserver.Config)) *world {
	t.Helper()
	w := &world{t: t, time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	mux := http.NewServeMux()
	w.web = httptest.NewServer(mux)
	t.Cleanup(w.web.Close)
	w.base = w.web.URL
	db, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	config := authserver.Config{Store: db, Now: w.now, Issuer: w.base, Key: bytes.Repeat([]byte{7}, 32), OpenRegistration: true,
		LoginURL:      func(id string) string { return w.base + "/page?request=" + url.QueryEscape(id) },
		ManagementURL: w.base + "/patient/apps", StyleURL: w.base + "/style.json", AllowLoopbackJWKS: true,
		Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&config)
	}
	signingKey.Lend(t, config.Store)
	if w.server, err = authserver.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	signingKey.Keep(t, config.Store)
	mux.Handle("/", w.server.Handler())
	mux.HandleFunc("/page", w.page)
	w.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	w.person(grace, "p1")
	sum := sha256.Sum256([]byte(secret))
	w.put(smart.Client{ID: "public", Name: "App", RedirectURIs: []string{"http://127.0.0.1/callback", "https://app.example/cb"}, LaunchURI: "https://app.example/launch",
		AuthMethod: smart.AuthNone, GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: everything})
	w.put(smart.Client{ID: "confidential", RedirectURIs: []string{callback}, AuthMethod: smart.AuthSecretBasic, SecretHash: sum[:],
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: everything})
	return w
}

const everything = "launch launch/patient launch/encounter launch/consent openid fhirUser profile offline_access online_access patient/*.cruds user/*.cruds system/*.cruds"

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

func (w *world) put(c smart.Client) {
	w.t.Helper()
	if err := w.server.PutClient(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// person makes the page approve all that is asked, as this person.
func (w *world) person(id smart.Identity, patient string) {
	w.answer = func(p *authserver.Pending) (authserver.Approval, *smart.Error) {
		a := authserver.Approval{Identity: id, Scopes: p.Scopes, AuthTime: w.now().Add(-time.Minute), SessionID: "session-" + id.Login}
		if p.NeedPatient {
			a.Patient = patient
		}
		return a, nil
	}
}

func (w *world) page(rw http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("request")
	p, err := w.server.Pending(r.Context(), id)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	a, refusal := w.answer(p)
	var to string
	if refusal != nil {
		to, err = w.server.Deny(r.Context(), id, refusal.Code, refusal.Description)
	} else {
		to, err = w.server.Approve(r.Context(), id, a)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(rw, r, to, http.StatusSeeOther)
}

// An answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (a *answer) str(name string) string { s, _ := a.json[name].(string); return s }

func (w *world) do(req *http.Request) *answer {
	w.t.Helper()
	res, err := w.client.Do(req)
	if err != nil {
		w.t.Error(err)
		return &answer{}
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	a.body, _ = io.ReadAll(res.Body)
	_ = json.Unmarshal(a.body, &a.json)
	return a
}

func (w *world) get(path string, header ...string) *answer {
	w.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = w.base + path
	}
	req, err := http.NewRequest("GET", path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.do(req)
}

func (w *world) post(path string, form url.Values, header ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.do(req)
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// request is a good authorization request; changes replace or (empty) remove.
func (w *world) request(client, scope string, changes ...string) url.Values {
	v := url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {callback}, "scope": {scope}, "state": {"st/at e"},
		"aud": {w.base + "/fhir"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}}
	for i := 0; i+1 < len(changes); i += 2 {
		if v.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

// authorize sends a request and follows it through the page to the app; it gives
// the query that the app gets.
func (w *world) authorize(form url.Values) url.Values {
	w.t.Helper()
	return w.follow(w.get("/oauth/authorize?" + form.Encode()))
}

func (w *world) follow(a *answer) url.Values {
	w.t.Helper()
	for range 3 {
		if a.status != http.StatusSeeOther {
			w.t.Fatalf("authorize: status %d, %s", a.status, a.body)
		}
		to := a.header.Get("Location")
		if !strings.HasPrefix(to, w.base) {
			u, err := url.Parse(to)
			if err != nil {
				w.t.Fatal(err)
			}
			return u.Query()
		}
		a = w.get(to)
	}
	w.t.Fatal("authorize does not come to rest")
	return nil
}

// code gets a code.
func (w *world) code(client, scope string, changes ...string) string {
	w.t.Helper()
	q := w.authorize(w.request(client, scope, changes...))
	if q.Get("code") == "" {
		w.t.Fatalf("no code: %v", q)
	}
	return q.Get("code")
}

func exchange(code string, changes ...string) url.Values {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for i := 0; i+1 < len(changes); i += 2 {
		if v.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

// login does the whole dance for the public client.
func (w *world) login(scope string, changes ...string) *answer {
	w.t.Helper()
	a := w.post("/oauth/token", exchange(w.code("public", scope, changes...), "client_id", "public"))
	if a.status != http.StatusOK {
		w.t.Fatalf("token: status %d, %s", a.status, a.body)
	}
	return a
}

func (w *world) refresh(token string, changes ...string) *answer {
	w.t.Helper()
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"public"}}
	for i := 0; i+1 < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
	}
	return w.post("/oauth/token", v)
}

// works reports whether an access token opens anything.
func (w *world) works(token string) bool {
	w.t.Helper()
	_, err := w.server.Authenticate(w.t.Context(), token)
	return err == nil
}

func want(t testing.TB, a *answer, status int, code string) {
	t.Helper()
	if a.status != status || a.str("error") != code {
		t.Errorf("got %d %q, want %d %q (%s)", a.status, a.str("error"), status, code, a.body)
	}
}

// keys of the test clients.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, other *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
}) {
	var err error
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if k.other, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if k.ec, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		panic(err)
	}
	return k
})

func jwks(keys ...jose.JSONWebKey) json.RawMessage {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		panic(err)
	}
	return b
}

func publicKeys() json.RawMessage {
	k := testKeys()
	return jwks(jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "rsa"}, jose.JSONWebKey{Key: &k.ec.PublicKey, KeyID: "ec"})
}

// claims of a good client assertion, as the test kits make it: no iat, no nbf.
func (w *world) claims(client string, changes map[string]any) map[string]any {
	c := map[string]any{"iss": client, "sub": client, "aud": w.base + "/oauth/token", "exp": w.now().Add(300 * time.Second).Unix(),
		"jti": base64.RawURLEncoding.EncodeToString(randomBytes())}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func randomBytes() []byte { b := make([]byte, 16); rand.Read(b); return b }

func sign(alg jose.SignatureAlgorithm, kid string, key crypto.PrivateKey, claims map[string]any, header map[jose.HeaderKey]any) string {
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"typ": "JWT", "kid": kid}}
	maps.Copy(o.ExtraHeaders, header)
	maps.DeleteFunc(o.ExtraHeaders, func(_ jose.HeaderKey, v any) bool { return v == nil })
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (w *world) assertion(client string) string {
	return sign(jose.RS384, "rsa", testKeys().rsa, w.claims(client, nil), nil)
}

func asserted(form url.Values, assertion string) url.Values {
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form
}
