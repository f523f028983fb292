package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/smart"
)

var formToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// post sends a form that no page shows, with the form token of a page that does.
func (b *browser) post(from *page, path string, fields url.Values) *page {
	b.t.Helper()
	token := formToken.FindStringSubmatch(from.body)
	if token == nil {
		b.t.Fatalf("no form token at %s", from.url)
	}
	fields.Set("csrf", token[1])
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, strings.NewReader(fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"text/html"}, "Origin": {b.base}, "Sec-Fetch-Site": {"same-origin"}}
	return b.do(r)
}

// What administrators do nobody else does, whoever they are and whatever they send;
// nor does an administrator who is here in another role.
func TestAdministratorsFormsAreTheirsAlone(t *testing.T) {
	w := newWorld(t)
	works := w.connected()
	_, home := w.as("ana", "/staff/accounts")
	account := home.submit("Find accounts", "q", "grace").follow("Grace Tester").url.Path
	grants, err := w.oauth.Grants(t.Context(), strings.TrimPrefix(account, "/staff/accounts/"))
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	if _, err := w.guard.LinkAccount(t.Context(), w.base+"/demo-idp", "ana", "", "", consent.Link{Role: smart.Staff, Person: "Practitioner/sam"}); err != nil {
		t.Fatal(err)
	}
	attempts := map[string][]url.Values{
		"/staff/accounts":        {{"q": {"grace"}}},
		account:                  {{"action": {"end-all"}}, {"action": {"end-app"}, "app": {grants[0].ID}}, {"action": {"unlink"}, "link": {"proxy RelatedPerson/grace-mateo"}, "sure": {"yes"}}},
		"/staff/clients/new":     {{"name": {"Mine"}, "kind": {"public"}, "redirects": {"https://evil.example/cb"}}},
		"/staff/clients/growth":  {{"action": {"end"}}, {"action": {"secret"}}, {"action": {"remove"}, "sure": {"yes"}}},
		"/staff/clients/nowhere": {{"action": {"remove"}, "sure": {"yes"}}},
	}
	for _, login := range []string{"sam", "adams", "grace", "ava", "ana"} {
		b, page := w.as(login, "/signin")
		if login == "ana" {
			page = page.at("/role").submit("As staff")
		}
		page.shows(200)
		for path, forms := range attempts {
			for _, form := range forms {
				got := b.post(page, path, form)
				if login == "ana" {
					got.at("/role")
					continue
				}
				got.shows(404).hides("RelatedPerson", "Growth", "grace@example.org")
			}
		}
	}
	if !works() {
		t.Error("the app's access was ended")
	}
	clients, err := w.oauth.Clients(t.Context())
	if err != nil || len(clients) != 1 || clients[0].ID != "growth" {
		t.Errorf("the apps are %v, %v", clients, err)
	}
	b, _ := w.as("grace", "/patient")
	b.get("/patient").shows(200, "Mateo Rivera")
}

// An app ends with its own account only: a grant of another is like none.
func TestEndAppOfAnother(t *testing.T) {
	w := newWorld(t)
	works := w.connected()
	ana, home := w.as("ana", "/staff/accounts")
	of := func(name, link string) string {
		return home.submit("Find accounts", "q", name).follow(link).url.Path
	}
	grants, err := w.oauth.Grants(t.Context(), strings.TrimPrefix(of("grace", "Grace Tester"), "/staff/accounts/"))
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	ana.post(home, of("luis", "luis"), url.Values{"action": {"end-app"}, "app": {grants[0].ID}})
	luis, page := w.as("luis", "/patient/apps")
	luis.post(page, "/patient/apps", url.Values{"app": {grants[0].ID}})
	if !works() {
		t.Error("another person's app was ended")
	}
}

// What apps say of themselves is text, wherever it is shown.
func TestAppsSayNothingInHTML(t *testing.T) {
	w := newWorld(t)
	app := diaryApp("launch/patient openid patient/Observation.rs?code='><script>alert(1)</script>|x patient/*.rs offline_access")
	app.Name = `"'><img src=x onerror=alert(1)>{{.}}`
	app.LogoURI, app.LaunchURI = "https://evil.example/\"><script>alert(1)</script>", "https://evil.example/'><script>alert(2)</script>"
	check := func(p *page) {
		t.Helper()
		p.shows(200, "<img src=x onerror=alert(1)>{{.}}") // as text
		for _, bad := range []string{"<img src=x", "<script>alert", "evil.example/\"", "'><"} {
			if strings.Contains(p.body, bad) {
				t.Errorf("%s has %s", p.url, bad)
			}
		}
		if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", p.url, csp)
		}
	}
	grace, page := w.as("grace", w.register(app))
	check(page)
	page.submit("Approve", "patient", "mateo")
	res, err := http.PostForm(w.base+"/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {grace.answer().Get("code")},
		"redirect_uri": {appCallback}, "code_verifier": {verifier}, "client_id": {"growth"}})
	if err != nil || res.StatusCode != 200 {
		t.Fatal(err, res.StatusCode)
	}
	_ = res.Body.Close()
	check(grace.get("/patient/apps"))
	ana, home := w.as("ana", "/staff/accounts")
	check(ana.get("/staff/clients"))
	check(ana.get("/staff/clients/growth"))
	check(home.submit("Find accounts", "q", "grace").follow("Grace Tester"))
}
