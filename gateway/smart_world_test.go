package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mypatients/gateway/demo"
)

// The SMART suite replays the rows of a conformance checklist against the whole
// gateway over HTTP, as an app, an EHR and a backend service see it. Subtests
// carry the numbers of the rows; testdata/smart-rows.txt lists all rows, and
// TestRowsAreCovered holds the two together.

// A smartWorld is a running demo with an app that has listeners of its own.
type smartWorld struct {
	*gateway
	clock *handClock
	app   *fakeApp
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	ids   map[string]string // client ids by kind: public, confidential, inline, fetched, backend, resource-server
	pass  map[string]string // secrets by kind

	mu       sync.Mutex
	browsers map[string]*browser // signed in, by person
}

// A fakeApp is where an app listens: for redirects, launches, and for those who
// fetch its keys.
type fakeApp struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []byte
	header  http.Header // of the keys
	fetched int
}

func newFakeApp(t *testing.T) *fakeApp {
	a := &fakeApp{header: http.Header{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.fetched++
		maps.Copy(w.Header(), a.header)
		w.Write(a.keys)
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *fakeApp) publish(keys ...jose.JSONWebKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, _ = json.Marshal(jose.JSONWebKeySet{Keys: keys})
}

const (
	appScope  = "openid fhirUser profile launch launch/patient launch/encounter launch/consent offline_access online_access patient/*.cruds user/*.cruds"
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	fullScope = "launch/patient openid fhirUser offline_access patient/*.rs"
)

func newSmartWorld(t *testing.T) *smartWorld {
	t.Helper()
	w := &smartWorld{clock: new(handClock), app: newFakeApp(t), ids: map[string]string{}, pass: map[string]string{}, browsers: map[string]*browser{}}
	w.clock.set(time.Date(2031, 5, 7, 12, 0, 0, 0, time.UTC))
	w.gateway = startDemo(t, w.clock.Now)
	var err error
	if w.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if w.ec, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	public := []jose.JSONWebKey{{Key: &w.rsa.PublicKey, KeyID: "rsa"}, {Key: &w.ec.PublicKey, KeyID: "ec"}}
	w.app.publish(public...)
	inline, _ := json.Marshal(jose.JSONWebKeySet{Keys: public})
	web := func(more map[string]any) map[string]any {
		m := map[string]any{"client_name": "Suite", "redirect_uris": []string{w.app.URL + "/callback"}, "launch_uri": w.app.URL + "/launch",
			"grant_types": []string{"authorization_code", "refresh_token"}, "scope": appScope}
		maps.Copy(m, more)
		return m
	}
	backend := func(scope string, more map[string]any) map[string]any {
		m := map[string]any{"client_name": "Backend", "grant_types": []string{"client_credentials"}, "scope": scope, "jwks_uri": w.app.URL + "/jwks"}
		maps.Copy(m, more)
		return m
	}
	w.register("public", web(map[string]any{"token_endpoint_auth_method": "none"}))
	w.register("other", web(map[string]any{"token_endpoint_auth_method": "none", "redirect_uris": []string{w.app.URL + "/other"}}))
	w.register("confidential", web(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}))
	w.register("inline", web(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": json.RawMessage(inline)}))
	w.register("fetched", web(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": w.app.URL + "/jwks"}))
	w.register("backend", backend("system/*.rs system/*.read", nil))
	w.register("narrow", backend("system/Patient.rs", nil))
	w.register("resource-server", backend("system/Patient.rs introspect", nil))
	return w
}

// register registers a client over HTTP.
func (w *smartWorld) register(kind string, metadata map[string]any) reply {
	w.t.Helper()
	body, err := json.Marshal(metadata)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.send("POST", "/oauth/register", string(body), "Content-Type", "application/json")
	if r.status != http.StatusCreated {
		w.t.Fatalf("registering %s: %d %s", kind, r.status, r.body)
	}
	w.ids[kind], w.pass[kind] = r.str("client_id"), r.str("client_secret")
	return r
}

// A reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r reply) str(name string) string { s, _ := r.json[name].(string); return s }

// send sends a request and follows no redirect; headers are names and values.
func (w *smartWorld) send(method, path, body string, headers ...string) reply {
	w.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = w.URL + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Error(err)
		return reply{}
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	r := reply{status: res.StatusCode, header: res.Header, body: string(text)}
	_ = json.NewDecoder(bytes.NewReader(text)).Decode(&r.json)
	return r
}

func (w *smartWorld) form(path string, v url.Values, headers ...string) reply {
	w.t.Helper()
	return w.send("POST", path, v.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json"}, headers...)...)
}

// fhir sends a GET with a token.
func (w *smartWorld) fhir(path, token string, headers ...string) reply {
	w.t.Helper()
	return w.send("GET", "/fhir/"+path, "", append([]string{"Authorization", "Bearer " + token}, headers...)...)
}

func basicAuth(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// with changes values by name and value in turn; an empty value removes one.
func with(v url.Values, changes ...string) url.Values {
	v = maps.Clone(v)
	for i := 0; i+1 < len(changes); i += 2 {
		if v.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

// theVerifier is as long as those of the test kits: two UUIDs and a dash.
const theVerifier = "b2b8ae0a-6b64-4d1d-9d6b-5a9d6c5c2a11-0f0b6f0e-1f7b-4d63-8a55-6c1f7f1f0a02"

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ask is a good authorization request of a kind of client.
func (w *smartWorld) ask(kind, scope string, changes ...string) url.Values {
	back := w.app.URL + "/callback"
	if kind == "other" {
		back = w.app.URL + "/other"
	}
	return with(url.Values{"response_type": {"code"}, "client_id": {w.ids[kind]}, "redirect_uri": {back}, "scope": {scope}, "state": {"st/at e"},
		"aud": {w.URL + "/fhir"}, "code_challenge": {challengeOf(theVerifier)}, "code_challenge_method": {"S256"}}, changes...)
}

// browser gives the browser of a person, which keeps its session.
func (w *smartWorld) browser(person string) *browser {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.browsers[person] == nil {
		w.browsers[person] = w.newVisitor()
	}
	return w.browsers[person]
}

// newVisitor is a browser that stops where an app would take over.
func (w *smartWorld) newVisitor() *browser {
	b := newBrowser(w.t)
	b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), w.URL+"/") || len(via) > 20 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return b
}

// approve takes a person from a page of the flow to the app's answer. fill is how
// they answer; nil: with all as it stands.
func (w *smartWorld) approve(person string, page webPage, fill url.Values) url.Values {
	w.t.Helper()
	b := w.browser(person)
	if page.leaves == "" && strings.Contains(page.text, `name="username"`) {
		page = b.submit(page, "username", url.Values{"username": {person}, "password": {demo.Password}})
	}
	if page.leaves == "" {
		answer := url.Values{"action": {"approve"}}
		maps.Copy(answer, fill)
		page = b.submit(page, "action", answer)
	}
	back, err := url.Parse(page.leaves)
	if err != nil || page.leaves == "" {
		w.t.Fatalf("the app got no answer: %d at %s: %s", page.status, page.at, page.text)
	}
	return back.Query()
}

// authorize goes with a request to the answer of a person.
func (w *smartWorld) authorize(person string, request, fill url.Values) url.Values {
	w.t.Helper()
	return w.approve(person, w.browser(person).open(w.URL+"/oauth/authorize?"+request.Encode()), fill)
}

var mateo = url.Values{"patient": {"pt-1"}}

// code gets a code for a kind of client.
func (w *smartWorld) code(person, kind, scope string, fill url.Values, changes ...string) string {
	w.t.Helper()
	q := w.authorize(person, w.ask(kind, scope, changes...), fill)
	if q.Get("code") == "" || q.Get("error") != "" {
		w.t.Fatalf("no code: %v", q)
	}
	return q.Get("code")
}

// credentials add what authenticates a kind of client to a form.
func (w *smartWorld) credentials(kind string, v url.Values) (url.Values, []string) {
	switch kind {
	case "confidential":
		return v, []string{"Authorization", basicAuth(w.ids[kind], w.pass[kind])}
	case "inline":
		return with(v, "client_assertion_type", jwtBearer, "client_assertion", w.sign(kind, jose.ES384, nil, nil)), nil
	case "fetched", "backend", "narrow", "loader", "resource-server":
		return with(v, "client_assertion_type", jwtBearer, "client_assertion", w.sign(kind, jose.RS384, nil, nil)), nil
	}
	return with(v, "client_id", w.ids[kind]), nil
}

// redeem is the form that exchanges a code.
func (w *smartWorld) redeem(kind, code string, changes ...string) url.Values {
	return with(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {w.ask(kind, "").Get("redirect_uri")}, "code_verifier": {theVerifier}}, changes...)
}

// token sends a form to the token endpoint as a kind of client.
func (w *smartWorld) token(kind string, v url.Values, headers ...string) reply {
	w.t.Helper()
	form, auth := w.credentials(kind, v)
	return w.form("/oauth/token", form, append(auth, headers...)...)
}

// enter takes a person with an app through all of a launch.
func (w *smartWorld) enter(person, kind, scope string, fill url.Values, changes ...string) reply {
	w.t.Helper()
	r := w.token(kind, w.redeem(kind, w.code(person, kind, scope, fill, changes...)))
	if r.status != http.StatusOK {
		w.t.Fatalf("token: %d %s", r.status, r.body)
	}
	return r
}

func (w *smartWorld) refresh(kind, token string, changes ...string) reply {
	w.t.Helper()
	return w.token(kind, with(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, changes...))
}

// system gets a backend's token.
func (w *smartWorld) system(kind, scope string) reply {
	w.t.Helper()
	return w.token(kind, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}})
}

// sign makes a client assertion as the kits make it: no iat, no nbf, exp five
// minutes ahead. Changes to claims and header with the value nil remove.
func (w *smartWorld) sign(kind string, alg jose.SignatureAlgorithm, claims, header map[string]any) string {
	w.t.Helper()
	var key any = w.rsa
	kid := "rsa"
	if alg == jose.ES384 {
		key, kid = w.ec, "ec"
	}
	return w.signWith(alg, key, w.claims(kind, claims), merged(map[string]any{"typ": "JWT", "kid": kid}, header))
}

func (w *smartWorld) claims(kind string, changes map[string]any) map[string]any {
	return merged(map[string]any{"iss": w.ids[kind], "sub": w.ids[kind], "aud": w.URL + "/oauth/token", "exp": w.clock.Now().Add(300 * time.Second).Unix(), "jti": rand.Text()}, changes)
}

func merged(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func (w *smartWorld) signWith(alg jose.SignatureAlgorithm, key any, claims, header map[string]any) string {
	w.t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, v := range header {
		o.ExtraHeaders[jose.HeaderKey(name)] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
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

// ehr has the demo's EHR open an app, and gives the handle.
func (w *smartWorld) ehr(kind, user string, context map[string]any) reply {
	w.t.Helper()
	raw, _ := demo.ClientKey("demo-ehr")
	var key jose.JSONWebKey
	if err := json.Unmarshal(raw, &key); err != nil {
		w.t.Fatal(err)
	}
	claims := merged(w.claims("", nil), map[string]any{"iss": "demo-ehr", "sub": "demo-ehr"})
	assertion := w.signWith(jose.SignatureAlgorithm(key.Algorithm), key, claims, map[string]any{"typ": "JWT"})
	bearer := w.form("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/Patient.rs"}, "client_assertion_type": {jwtBearer}, "client_assertion": {assertion}})
	body, _ := json.Marshal(merged(map[string]any{"client_id": w.ids[kind], "user": user, "patient": "pt-1"}, context))
	r := w.send("POST", "/oauth/launch", string(body), "Content-Type", "application/json", "Authorization", "Bearer "+bearer.str("access_token"))
	if r.status != http.StatusOK {
		w.t.Fatalf("launch: %d %s", r.status, r.body)
	}
	return r
}

// idToken reads the claims of an ID token whose signature it has checked.
func (w *smartWorld) idToken(token string) (header jose.Header, claims map[string]any) {
	w.t.Helper()
	keys := w.send("GET", "/oauth/jwks", "")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keys.body), &set); err != nil {
		w.t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		w.t.Fatal(err)
	}
	header = jws.Signatures[0].Protected
	found := set.Key(header.KeyID)
	if len(found) != 1 {
		w.t.Fatalf("%d keys fit kid %q", len(found), header.KeyID)
	}
	payload, err := jws.Verify(found[0])
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		w.t.Fatal(err)
	}
	return header, claims
}

// expect fails the test unless the answer has one of the statuses.
func expect(t *testing.T, r reply, statuses ...int) {
	t.Helper()
	if !slices.Contains(statuses, r.status) {
		t.Errorf("got %d, want %v: %.400s", r.status, statuses, r.body)
	}
}

// refused fails the test unless the answer is an OAuth error.
func refused(t *testing.T, r reply, status int, code string) {
	t.Helper()
	if r.status != status || r.str("error") != code {
		t.Errorf("got %d %.300s, want %d %s", r.status, r.body, status, code)
	}
}

func scopesIn(r reply) []string { return strings.Fields(r.str("scope")) }
