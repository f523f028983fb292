package web_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Whoever opens pages, with cookies or without, leaves nothing in the store until
// they have signed in.
func TestStrangersFillNoStore(t *testing.T) {
	w := newWorld(t)
	pages := []string{"/", "/signin", "/signin?next=/patients/mateo", "/signout", "/patient", "/nowhere", "/language?to=es", "/language?to=en&next=/signout",
		"/authorize?request=x", "/signin/callback/test?code=c&state=s", "/register", "/staff/log", "/signin?next=/" + strings.Repeat("a", 9000)}
	for range 3 {
		for _, path := range pages {
			w.browser().get(path)
		}
	}
	b := w.browser()
	for _, path := range pages {
		b.get(path)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/signout", strings.NewReader("csrf=x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(r).shows(403)
	if n := len(w.kept()); n != 0 {
		t.Errorf("%d sessions of strangers are stored", n)
	}
	b.get("/patients/mateo").signIn("adams").at("/patients/mateo").shows(200, "Mateo Rivera")
	if n := len(w.kept()); n != 1 {
		t.Errorf("%d sessions are stored of one who signed in", n)
	}
	b.get("/").submit("Sign out").shows(200, "You are signed out")
	if n := len(w.kept()); n != 0 {
		t.Errorf("%d sessions are stored after signing out", n)
	}
	b.get("/").signIn("okafor").at("/").shows(200, "Patient Selection").hides("Mateo")
}

func (w *world) kept() map[string][]byte {
	w.t.Helper()
	all, err := w.sessions.All()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// What the browser keeps of a stranger cannot be read or changed, ends, and cannot
// stand for somebody who is signed in.
func TestStrangersCookie(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	form := b.get("/patients/mateo")
	u, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	cookie := func() string {
		for _, c := range b.client.Jar.Cookies(u) {
			if c.Name == "stranger" {
				return c.Value
			}
		}
		return ""
	}
	put := func(name, value string) {
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
	}
	sealed := cookie()
	if sealed == "" || len(sealed) > 4000 || bytes.Contains([]byte(sealed), []byte("verifier")) {
		t.Fatalf("the cookie is %q", sealed)
	}
	for name, spoiled := range map[string]string{"cut": sealed[:len(sealed)-4], "changed": "AAAA" + sealed[4:], "no base64": "é", "empty": ""} {
		put("stranger", spoiled)
		b.get("/signin/callback/test?code=c&state=s").shows(400, "no longer open")
		if b.cookie() != "" {
			t.Errorf("%s: somebody is signed in", name)
		}
	}
	put("stranger", sealed)
	put("session", sealed) // a session is another thing
	b.get("/patients/mateo").shows(200, "You were signed out").hides("Mateo")
	put("stranger", sealed)
	w.clock.pass(15 * time.Minute)
	form.signIn("adams").shows(400, "no longer open") // the ticket is too old
	b.get("/patients/mateo").at("/patients/mateo").shows(200, "Mateo Rivera")
	if cookie() != "" {
		t.Error("the browser still keeps what it kept of a stranger")
	}
}
