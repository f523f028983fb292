package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	jose "github.com/go-jose/go-jose/v4"
)

// A jsApp is a site with an app in JavaScript: launch.html and app.html around
// fhirclient's build for browsers.
type jsApp struct {
	*httptest.Server
	clock   *lateClock
	library string

	mu           sync.Mutex
	registration map[string]any // what authorize gets
	keys         json.RawMessage
}

func startApp(t *testing.T, clock *lateClock) *jsApp {
	t.Helper()
	a := &jsApp{clock: clock, library: filepath.Join(nodeModules(t, clientsFolder), "fhirclient", "build", "fhir-client.js")}
	mux := http.NewServeMux()
	for path, name := range map[string]string{"launch.html": "launch.html", "app.html": "app.html", "callback": "app.html"} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(clientsFolder, name))
		})
	}
	mux.HandleFunc("GET /fhir-client.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, a.library) })
	mux.HandleFunc("GET /registration.js", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		text, _ := json.Marshal(a.registration)
		script(w, "const registration = "+string(text)+";")
	})
	// The app's clock goes with the gateway's.
	mux.HandleFunc("GET /clock.js", func(w http.ResponseWriter, _ *http.Request) {
		late := strconv.FormatInt(time.Until(a.clock.now()).Milliseconds(), 10)
		script(w, `{ const Real = Date; Date = class extends Real {
			constructor(...given) { super(...(given.length ? given : [Date.now()])); }
			static now() { return Real.now() + `+late+`; } } }`)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.keys)
	})
	mux.HandleFunc("GET /post", a.postForm)
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html><main>Done</main>")
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// postForm is a page that asks for authorization by POST, with the parameters that
// it was given itself.
func (a *jsApp) postForm(w http.ResponseWriter, r *http.Request) {
	page := `<!doctype html><form method="post" action="` + html.EscapeString(r.FormValue("at")) + `">`
	for name, values := range r.URL.Query() {
		if name != "at" {
			page += `<input type="hidden" name="` + html.EscapeString(name) + `" value="` + html.EscapeString(values[0]) + `">`
		}
	}
	_, _ = io.WriteString(w, page+`<button>Connect</button></form>`)
}

func script(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/javascript")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text)
}

// use settles as which client the app acts.
func (a *jsApp) use(id string, more map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.registration = map[string]any{"clientId": id, "redirectUri": "app.html", "pkceMode": "required"}
	maps.Copy(a.registration, more)
}

// newKey makes a key pair, publishes one half and gives the other.
func (a *jsApp) newKey(t *testing.T) map[string]any {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: made, KeyID: "k1", Algorithm: "ES384", Use: "sig"}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var private map[string]any
	if err := json.Unmarshal(text, &private); err != nil {
		t.Fatal(err)
	}
	return private
}

const (
	patientScopes  = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
	clinicalScopes = "launch openid fhirUser online_access patient/Patient.rs patient/Observation.rs"
)

// fhirClient opens an app made with fhirclient (SMART's own library for
// JavaScript) in Chromium: its requests cross origins, so preflights and CORS
// headers have to be right as well.
func (h *hospital) fhirClient(t *testing.T) {
	c := openChrome(t, h.clock, func() *gateway { return h.gateway })
	app := startApp(t, c.clock)
	register := func(metadata map[string]any) string {
		all := map[string]any{
			"redirect_uris": []string{app.URL + "/app.html"}, "launch_uri": app.URL + "/launch.html",
			"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"},
		}
		maps.Copy(all, metadata)
		return c.register(all)
	}
	t.Run("standalone", func(t *testing.T) {
		app.use(register(map[string]any{"client_name": "Growth"}), map[string]any{"scope": patientScopes, "iss": c.URL + "/fhir"})
		grace := c.visitor(t, "grace").open(app.URL + "/launch.html").lands("/signin").atDemo()
		grace.sees("Growth asks to see a health record").tick("Mateo Rivera").press("Approve")
		grace.reads("Patient pt-1", "10 observations, read by RelatedPerson")
		first := grace.token()
		c.clock.put(c.clock.late + 61*time.Minute)
		if got, _, _ := c.get("/fhir/Patient/pt-1", "Authorization", "Bearer "+first); got != 401 {
			t.Errorf("the first token works after an hour: %d", got)
		}
		grace.open(app.URL + "/app.html").reads("Patient pt-1") // by itself, as the token has expired
		second := grace.token()
		grace.click("#refresh").reads("Patient pt-1")
		if third := grace.token(); first == second || second == third {
			t.Errorf("got the tokens %s, %s and %s", first, second, third)
		}
		grace.open("/patient/apps").atDemo().sees("Growth").press("Disconnect")
		grace.expects(c.URL + "/fhir/Patient/pt-1").open(app.URL + "/app.html").awaits("Failed")
	})
	t.Run("from the record", func(t *testing.T) {
		app.use(register(map[string]any{"client_name": "Chart"}), map[string]any{"scope": clinicalScopes})
		adams := c.visitor(t, "dr.adams").open("/patients/pt-1").atDemo().follow("Open an app")
		adams.press("Open Chart").lands("/authorize").sees("Chart asks to see a health record", "Mateo Rivera").press("Approve")
		adams.reads("Patient pt-1", "10 observations, read by Practitioner")
		first := adams.token()
		adams.click("#refresh").reads("Patient pt-1")
		if adams.token() == first {
			t.Error("the refresh gave the same token")
		}
	})
	t.Run("with a secret", func(t *testing.T) {
		app.use("demo-confidential", map[string]any{"scope": patientScopes, "iss": c.URL + "/fhir", "clientSecret": "demo-secret", "redirectUri": "callback"})
		luis := c.visitor(t, "luis").open(app.URL + "/launch.html").lands("/signin").atDemo().press("Approve").reads("Patient pt-1")
		first := luis.token()
		luis.click("#refresh").reads("Patient pt-1")
		if luis.token() == first {
			t.Error("the refresh gave the same token")
		}
	})
	t.Run("with a key", func(t *testing.T) {
		key := app.newKey(t)
		app.use(register(map[string]any{"client_name": "Keyed", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": app.URL + "/keys"}),
			map[string]any{"scope": patientScopes, "iss": c.URL + "/fhir", "clientPrivateJwk": key, "clientPublicKeySetUrl": app.URL + "/keys"})
		luis := c.visitor(t, "luis").open(app.URL + "/launch.html").lands("/signin").atDemo().press("Approve").reads("Patient pt-1")
		// The library cannot authenticate by a key when it refreshes, and nobody
		// refreshes for a client that has one without showing it.
		luis.expects(c.URL + "/oauth/token").click("#refresh").awaits("Failed")
	})
	t.Run("by a POST from another site", func(t *testing.T) {
		// For a browser 127.0.0.1 and localhost are two sites: no cookie comes with it.
		elsewhere := strings.Replace(app.URL, "127.0.0.1", "localhost", 1)
		id := register(map[string]any{"client_name": "Poster", "redirect_uris": []string{elsewhere + "/done"}, "launch_uri": elsewhere + "/post"})
		form := url.Values{
			"at": {c.URL + "/oauth/authorize"}, "response_type": {"code"}, "client_id": {id}, "redirect_uri": {elsewhere + "/done"},
			"scope": {patientScopes}, "state": {"st/at e"}, "aud": {c.URL + "/fhir"}, "code_challenge_method": {"S256"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		}
		luis := c.visitor(t, "luis").open("/patient").atDemo().expects(elsewhere + "/favicon.ico")
		luis.open(elsewhere + "/post?" + form.Encode()).press("Connect").lands("/authorize").sees("Poster asks to see a health record").press("Approve").lands("/done")
		if got := luis.address(); got.Query().Get("code") == "" || got.Query().Get("state") != "st/at e" {
			t.Errorf("came back to %s", got)
		}
	})
	t.Run("denied", func(t *testing.T) {
		app.use(register(map[string]any{"client_name": "Unwanted"}), map[string]any{"scope": patientScopes, "iss": c.URL + "/fhir"})
		c.visitor(t, "luis").open(app.URL + "/launch.html").lands("/signin").atDemo().press("Do not approve").awaits("Failed: Error: access_denied")
	})
}

// until waits for something that a page does by itself.
func (v *visitor) until(what string, done func() bool) *visitor {
	v.t.Helper()
	deadline, look := time.NewTimer(patience), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-deadline.C:
			v.t.Fatalf("%s waits for %s in vain\n%s", v.name, what, v.scene())
		}
	}
	return v
}

// lands waits until the page has sent the browser on to a path.
func (v *visitor) lands(path string) *visitor {
	v.t.Helper()
	v.until(path, func() bool { return v.at() == path })
	v.do("wait for the page", chromedp.WaitReady("main"))
	return v
}

// atDemo signs in at the demo's issuer, one of two.
func (v *visitor) atDemo() *visitor {
	v.t.Helper()
	return v.follow("Demo sign-in").signIn()
}

// awaits waits until the page says something.
func (v *visitor) awaits(words string) *visitor {
	v.t.Helper()
	return v.until(words, func() bool { return strings.Contains(v.text(), words) })
}

// reads waits until the app shows a patient.
func (v *visitor) reads(patient string, more ...string) *visitor {
	v.t.Helper()
	return v.until(patient, func() bool { return strings.Contains(v.text(), patient) || strings.Contains(v.text(), "Failed") }).
		sees(append(more, patient)...)
}

func (v *visitor) click(selector string) *visitor {
	v.t.Helper()
	v.do("click "+selector, chromedp.Click(selector, chromedp.NodeVisible))
	return v
}

// token is the access token that the app holds.
func (v *visitor) token() string {
	v.t.Helper()
	token, err := chromedp.Run(v.ctx, chromedp.Evaluate[string](`document.getElementById("token").textContent`))
	if err != nil || token == "" {
		v.t.Fatalf("the app shows no token: %v", err)
	}
	return token
}

// expects lets addresses answer with an error.
func (v *visitor) expects(addresses ...string) *visitor {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, address := range addresses {
		v.refused[address] = true
	}
	return v
}
