package demo_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"mypatients/gateway/demo"
)

// gateway stands in for the gateway's side of a launch: it approves what is
// asked, and checks what a client must do.
type gateway struct {
	*httptest.Server
	t      *testing.T
	asked  url.Values
	deny   bool
	client string
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{t: t}
	mux := http.NewServeMux()
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	app := demo.App(g.URL, g.Client())
	mux.Handle(demo.AppPath, app)
	mux.Handle(demo.AppPath+"/", app)
	mux.HandleFunc("/fhir/.well-known/smart-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"authorization_endpoint":%q,"token_endpoint":%q}`, g.URL+"/oauth/authorize", g.URL+"/oauth/token")
	})
	mux.HandleFunc("/oauth/authorize", g.authorize)
	mux.HandleFunc("/oauth/token", g.token)
	mux.HandleFunc("/fhir/Patient/pt-1", g.resource(`{"birthDate":"2020-01-02","name":[{"given":["Mateo"],"family":"<Rivera>"}]}`))
	mux.HandleFunc("/fhir/Observation", g.resource(`{"entry":[{"resource":{"effectiveDateTime":"2026-01-02T10:00:00Z","code":{"text":"Body Weight"},
		"valueQuantity":{"value":25.349,"unit":"kg"}}},{"resource":{"code":{"text":"no value"}}}]}`))
	return g
}

func (g *gateway) authorize(w http.ResponseWriter, r *http.Request) {
	g.asked = r.URL.Query()
	back := url.Values{"state": {g.asked.Get("state")}, "code": {"c"}}
	if g.deny {
		back = url.Values{"state": {g.asked.Get("state")}, "error": {"access_denied"}, "error_description": {"<i>No</i>"}}
	}
	http.Redirect(w, r, g.asked.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

func (g *gateway) token(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != g.asked.Get("code_challenge") || r.PostFormValue("redirect_uri") != g.asked.Get("redirect_uri") {
		g.t.Error("the token request does not belong to the authorization request")
	}
	id, secret, basic := r.BasicAuth()
	g.client = r.PostFormValue("client_id")
	if basic {
		g.client = id + ":" + secret
	}
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"fhirUser":"Practitioner/pr-adams"}`))
	_, _ = fmt.Fprintf(w, `{"access_token":"t","token_type":"Bearer","scope":"patient/Patient.rs openid","patient":"pt-1","id_token":"h.%s.s"}`, claims)
}

func (g *gateway) resource(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, body)
	}
}

// visit follows an address as a browser with cookies.
func (g *gateway) visit(jar http.CookieJar, path string) (int, string) {
	g.t.Helper()
	client := *g.Client()
	client.Jar = jar
	resp, err := client.Get(g.URL + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if resp.Request.URL.RawQuery != "" && resp.StatusCode == http.StatusOK {
		g.t.Errorf("the page keeps a query: %v", resp.Request.URL)
	}
	return resp.StatusCode, string(body)
}

func jar(t *testing.T) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return jar
}

func TestAppLaunches(t *testing.T) {
	for _, kind := range []struct{ slug, client string }{{"public", "demo-public"}, {"confidential", "demo-confidential:demo-secret"}} {
		g := newGateway(t)
		for _, how := range []struct{ path, scope, launch string }{
			{"connect", "launch/patient ", ""},
			{"launch?launch=handle&iss=" + url.QueryEscape(g.URL+"/fhir"), "launch ", "handle"},
		} {
			_, page := g.visit(jar(t), "/demo/app/"+kind.slug+"/"+how.path)
			for _, want := range []string{"Mateo " + html.EscapeString("<Rivera>"), "2 January 2020", "Body Weight", "25.3 kg", "patient/Patient.rs", "Practitioner/pr-adams"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s, %s: %q is not on the page: %s", kind.slug, how.path, want, page)
				}
			}
			if g.asked.Get("aud") != g.URL+"/fhir" || g.asked.Get("code_challenge_method") != "S256" || !strings.HasPrefix(g.asked.Get("scope"), how.scope) ||
				g.asked.Get("launch") != how.launch || g.client != kind.client {
				t.Errorf("%s, %s: asked for %v as %s", kind.slug, how.path, g.asked, g.client)
			}
		}
	}
}

func TestAppRefusals(t *testing.T) {
	g := newGateway(t)
	g.deny = true
	if _, page := g.visit(jar(t), "/demo/app/public/connect"); !strings.Contains(page, "access_denied") || strings.Contains(page, "<i>") {
		t.Errorf("denied: %s", page)
	}
	g.deny = false
	for name, path := range map[string]string{
		"foreign issuer":        "/demo/app/public/launch?launch=h&iss=https%3A%2F%2Fevil.example%2Ffhir",
		"no handle":             "/demo/app/public/launch?iss=" + url.QueryEscape(g.URL+"/fhir"),
		"answer to no question": "/demo/app/public/callback?state=x&code=c",
		"empty state":           "/demo/app/public/callback?code=c",
	} {
		if status, page := g.visit(jar(t), path); status != http.StatusBadRequest || !strings.Contains(page, "Not connected") {
			t.Errorf("%s: %d %s", name, status, page)
		}
	}
	// An answer works in the browser that asked, and once.
	mine, other := jar(t), jar(t)
	if _, page := g.visit(mine, "/demo/app/public/connect"); !strings.Contains(page, "Mateo") {
		t.Fatalf("got %s", page)
	}
	answer := "/demo/app/public/callback?code=c&state=" + g.asked.Get("state")
	for name, who := range map[string]http.CookieJar{"another browser": other, "again": mine} {
		if status, _ := g.visit(who, answer); status != http.StatusBadRequest {
			t.Errorf("%s: the answer is taken, %d", name, status)
		}
	}
	if _, page := g.visit(other, "/demo/app"); strings.Contains(page, "Mateo") {
		t.Error("another browser sees the record")
	}
}
