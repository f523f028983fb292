package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func (b *browser) cookie() string {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

func TestSignInRenewsTheSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	form := b.get("/")
	u, err := url.Parse(b.base)
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: "planted", Path: "/"}})
	p := form.signIn("adams")
	p.at("/").shows(200, "Patient Selection")
	if b.cookie() == "" || b.cookie() == "planted" {
		t.Errorf("the cookie is %q after signing in", b.cookie())
	}
	set := p.header.Get("Set-Cookie")
	if !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Lax") || strings.Contains(set, "Expires") {
		t.Errorf("the cookie is set by %q", set)
	}
}

func TestIdleSessionEnds(t *testing.T) {
	w := newWorld(t)
	b, _ := w.as("adams", "/patients/mateo")
	w.clock.pass(14 * time.Minute)
	form := b.get("/patients/mateo/results").shows(200)
	w.clock.pass(14 * time.Minute)
	b.get("/").shows(200)
	w.clock.pass(15 * time.Minute)
	p := b.get("/patients/mateo/results").shows(200, "You were signed out after 15 minutes. Sign in to go on where you were.").hides("Hemoglobin")
	back := p.follow("Sign in") // the issuer still knows the browser
	back.at("/patients/mateo/results").shows(200, "Hemoglobin")
	w.clock.pass(time.Hour)
	form.submit("Sign out").shows(200)
}

func TestSignOutEndsEverything(t *testing.T) {
	w := newWorld(t)
	b, home := w.as("adams", "/")
	old := b.cookie()
	home.submit("Sign out").shows(200, "You are signed out")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/patients/mateo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "session", Value: old})
	fresh := w.browser()
	fresh.do(r).hides("Mateo")
	b.get("/").at("/demo-idp/login").shows(200, "Password")
}

// A visit that is still under way when the person signs out stores the session once
// more; it stays over.
func TestSignOutOutlastsAVisit(t *testing.T) {
	w := newWorld(t)
	b, home := w.as("adams", "/")
	b.get("/patients/mateo").shows(200, "Asthma")
	old := b.cookie()
	before, err := w.sessions.All()
	if err != nil || len(before) == 0 {
		t.Fatalf("%d sessions, %v", len(before), err)
	}
	home.submit("Sign out").shows(200, "You are signed out")
	for token, session := range before {
		if err := w.sessions.Commit(token, session, w.clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/patients/mateo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "session", Value: old})
	w.browser().do(r).hides("Mateo", "Asthma")
	w.as("adams", "/patients/mateo") // nobody else is out
}

func TestForgedForms(t *testing.T) {
	w := newWorld(t)
	b, home := w.as("adams", "/")
	post := func(change func(url.Values, http.Header)) *page {
		form, _ := home.form("Find patient")
		values, header := filled(form), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {w.base}, "Sec-Fetch-Site": {"same-origin"}}
		values.Set("mrn", "1001")
		change(values, header)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/", strings.NewReader(values.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		return b.do(r)
	}
	post(func(url.Values, http.Header) {}).at("/patients/mateo")
	for name, change := range map[string]func(url.Values, http.Header){
		"no token":      func(v url.Values, _ http.Header) { v.Del("csrf") },
		"a wrong token": func(v url.Values, _ http.Header) { v.Set("csrf", strings.Repeat("A", 26)) },
		"another site": func(_ url.Values, h http.Header) {
			h.Set("Sec-Fetch-Site", "cross-site")
			h.Set("Origin", "https://evil.example")
		},
		"another origin": func(_ url.Values, h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.example") },
	} {
		t.Run(name, func(t *testing.T) { post(change).at("/").shows(403, "Nothing was changed") })
	}
	post(func(v url.Values, _ http.Header) { v.Set("mrn", strings.Repeat("1", 70<<10)) }).shows(422)
}

func TestNextStaysHere(t *testing.T) {
	w := newWorld(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "/%09/evil.example", "\t//evil.example"} {
		b := w.browser()
		p := b.get("/signin?next=" + url.QueryEscape(next)).signIn("adams")
		if b.away != "" || p.url.Host != strings.TrimPrefix(w.base, "http://") {
			t.Errorf("next=%q led to %s %s", next, p.url, b.away)
		}
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	b, p := w.as("both", "/")
	p.at("/role").shows(200, "In which role are you here?")
	p.submit("As a provider").at("/").shows(200, "Patient Selection")
	b.get("/patients/ava").shows(404) // as a provider, they are nobody to Ava
	choice := b.get("/patient").at("/role")
	choice.submit("As a parent or guardian").at("/patient").shows(200, "Ava Thompson")
	b.get("/patients/ava").shows(200, "You are a parent or guardian")
}

func TestErrorsAndFiles(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.get("/no/such/page").shows(404, "Page not found", "tell us this number")
	b.get("/signin/callback/test?code=x&state=y").shows(400, "no longer open")
	b.get("/authorize?request=nonsense").shows(400, "Start again from the app")
	css := b.get("/static/app.css").shows(200)
	if css.header.Get("Cache-Control") != "no-cache" || !strings.HasPrefix(css.header.Get("Content-Type"), "text/css") {
		t.Errorf("the style sheet has the headers %v", css.header)
	}
	if brand := b.get("/static/brand.css").shows(200); !strings.Contains(brand.body, "#104488") {
		t.Errorf("the brand's colour is not in %q", brand.body)
	}
	for _, path := range []string{"/static/../web.go", "/static/", "/static/%2e%2e/web.go", "/static/nothing.css"} {
		b.get(path).shows(404)
	}
}
