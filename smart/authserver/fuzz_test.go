package authserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Whatever an app sends to authorize, the browser stays here or goes to a
// registered redirect URI, with an error; never with a code, and never is the
// answer a 5xx.
func FuzzAuthorize(f *testing.F) {
	w := newWorld(f, nil)
	good := w.request("public", standalone)
	f.Add(good.Encode())
	for _, change := range [][2]string{{"redirect_uri", "https://evil.example"}, {"redirect_uri", callback + "#x"}, {"scope", "patient/*.rs?a=%"}, {"code_challenge", "x"}, {"max_age", "-1"}, {"prompt", "none login"}, {"launch", "x"}, {"aud", ""},
		{"state", "\x00\n<script>"}, {"response_type", "token"}, {"request", "x"}, {"nonce", strings.Repeat("x", 9000)}} {
		f.Add(w.request("public", standalone, change[0], change[1]).Encode())
	}
	f.Add("client_id=public&client_id=confidential")
	f.Add("%zz")
	f.Add("client_id=public&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%40evil%2Fcallback")
	f.Add(w.request("public", "launch", "launch", "x", "state", "\r\nSet-Cookie: a=b").Encode())
	f.Fuzz(func(t *testing.T, query string) {
		w.pass(time.Second) // so that no limit is met
		req := httptest.NewRequest(http.MethodGet, "/oauth/authorize", nil)
		req.URL.RawQuery = query
		a := w.serve(req)
		to := a.header.Get("Location")
		switch {
		case a.status == http.StatusSeeOther && strings.HasPrefix(to, w.base+"/page?"):
		case a.status == http.StatusSeeOther:
			asked, _ := url.ParseQuery(query)
			u, err := url.Parse(to)
			if err != nil || !strings.HasPrefix(to, asked.Get("redirect_uri")) || u.Query().Get("error") == "" || u.Query().Has("code") {
				t.Fatalf("%q leads to %q", query, to)
			}
			known := u.Hostname() == "127.0.0.1" && u.Path == "/callback" && u.User == nil || u.Host == "app.example" && u.Path == "/cb"
			if !known || strings.ContainsAny(to, "\r\n") {
				t.Fatalf("%q leads to %q", query, to)
			}
		case a.status < 400 || a.status > 499 || to != "":
			t.Fatalf("%q: %d %s", query, a.status, to)
		}
	})
}

// No JWT but a right one gets a token, and none causes a 5xx.
func FuzzAssertion(f *testing.F) {
	w := newWorld(f, nil)
	w.backend("kiosk", "system/*.rs")
	good := w.assertion("kiosk")
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, s := range []string{head + "." + payload + ".", head + ".." + signature, "a.b.c", "..", "", payload + "." + head + "." + signature, "eyJhbGciOiJub25lIn0." + payload + ".", head + "." + payload + "." + signature + "A",
		sign(jose.ES384, "ec", testKeys().ec, w.claims("nobody", nil), nil), sign(jose.RS384, "rsa", testKeys().rsa, w.claims("kiosk", map[string]any{"exp": 1e300}), nil), sign(jose.RS384, "rsa", testKeys().rsa, w.claims("kiosk", map[string]any{"aud": []any{1, nil}}), nil)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		w.pass(time.Minute)
		req := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(asserted(url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}}, token).Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := w.serve(req); a.status < 400 || a.status > 499 {
			t.Fatalf("%q: %d %s", token, a.status, a.body)
		}
	})
}
