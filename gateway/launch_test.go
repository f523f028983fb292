package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// A browser keeps cookies and follows redirects, but for those to apps.
type browser struct {
	t      testing.TB
	client *http.Client
}

const appCallback = "http://127.0.0.1:1/callback" // nothing listens there

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), appCallback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// A webPage is where a browser has come to.
type webPage struct {
	at     *url.URL
	status int
	text   string
	leaves string // the address of the app it was sent to
}

func (b *browser) send(r *http.Request, err error) webPage {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return webPage{res.Request.URL, res.StatusCode, string(text), res.Header.Get("Location")}
}

func (b *browser) open(address string) webPage {
	b.t.Helper()
	return b.send(http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil))
}

// submit sends the page's form that has a field, with what it holds and what is
// given here.
func (b *browser) submit(p webPage, field string, fill url.Values) webPage {
	b.t.Helper()
	root, err := html.Parse(strings.NewReader(p.text))
	if err != nil {
		b.t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Data != "form" {
			continue
		}
		values := formValues(node)
		if _, ok := values[field]; !ok {
			continue
		}
		for name, v := range fill {
			values[name] = v
		}
		target, err := p.at.Parse(attribute(node, "action"))
		if err != nil {
			b.t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, target.String(), strings.NewReader(values.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", p.at.Scheme+"://"+p.at.Host)
		}
		return b.send(r, err)
	}
	b.t.Fatalf("no form with a field %q at %s (%d): %s", field, p.at, p.status, p.text)
	return webPage{}
}

// formValues gives what a form would send: all checkboxes, the first of radio
// buttons, no button.
func formValues(form *html.Node) url.Values {
	values := url.Values{}
	for node := range form.Descendants() {
		name := attribute(node, "name")
		if name == "" || node.Data != "input" && node.Data != "button" && node.Data != "select" && node.Data != "textarea" {
			continue
		}
		switch kind := attribute(node, "type"); {
		case node.Data == "button" || kind == "submit":
			if _, ok := values[name]; !ok {
				values[name] = nil
			}
		case kind == "radio" && values.Has(name):
		default:
			values.Add(name, attribute(node, "value"))
		}
	}
	return values
}

func attribute(node *html.Node, name string) string {
	i := slices.IndexFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return ""
	}
	return node.Attr[i].Val
}

// launch takes the public demo app through a standalone launch as a person and
// gives the token response.
func (g *gateway) launch(username, scope, patient string) map[string]any {
	g.t.Helper()
	b, verifier := newBrowser(g.t), rand.Text()+rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {"demo-public"}, "redirect_uri": {appCallback}, "scope": {scope}, "state": {"s-1"},
		"aud": {g.URL + "/fhir"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	page := b.open(g.URL + "/oauth/authorize?" + query.Encode())
	page = b.submit(page, "username", url.Values{"username": {username}, "password": {"demo"}})
	fill := url.Values{"action": {"approve"}}
	if patient != "" {
		fill.Set("patient", patient)
	}
	page = b.submit(page, "action", fill)
	back, err := url.Parse(page.leaves)
	if err != nil || back.Query().Get("code") == "" || back.Query().Get("state") != "s-1" {
		g.t.Fatalf("the app got %q: %d %s", page.leaves, page.status, page.text)
	}
	res, err := http.PostForm(g.URL+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"demo-public"}, "redirect_uri": {appCallback},
		"code": {back.Query().Get("code")}, "code_verifier": {verifier},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token map[string]any
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || res.StatusCode != 200 {
		g.t.Fatalf("got %d %v %v", res.StatusCode, token, err)
	}
	return token
}

// TestStandaloneLaunchReadsARecord goes through everything once: authorization
// server, sign-in at an issuer, pages, guard, engine and store.
func TestStandaloneLaunchReadsARecord(t *testing.T) {
	g := sharedDemo(t)
	token := g.launch("grace", "launch/patient openid fhirUser offline_access patient/*.rs", "pt-1")
	if token["patient"] != "pt-1" || token["token_type"] != "Bearer" || token["refresh_token"] == nil || token["id_token"] == nil {
		t.Errorf("got %v", token)
	}
	bearer := "Bearer " + token["access_token"].(string)
	status, header, body := g.get("/fhir/Patient/pt-1", "Authorization", bearer)
	if status != 200 || !strings.Contains(body, "Rivera") || header.Get("ETag") != `W/"1"` {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, body := g.get("/fhir/Patient/pt-3", "Authorization", bearer); status != 404 {
		t.Errorf("another family's child: got %d %s", status, body)
	}
	status, _, body = g.get("/fhir/Observation?patient=pt-1&_count=5", "Authorization", bearer)
	if status != 200 || strings.Count(body, `"resourceType":"Observation"`) != 5 || !strings.Contains(body, `"relation":"next"`) {
		t.Errorf("got %d %s", status, body)
	}
	status, _, body = g.get("/fhir/AuditEvent?patient=pt-1", "Authorization", bearer)
	if status != 200 || !strings.Contains(body, `"resourceType":"AuditEvent"`) {
		t.Errorf("who looked: got %d %.500s", status, body)
	}
}
