package smart_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"mypatients/smart"
)

func TestMatchRedirect(t *testing.T) {
	for _, c := range []struct {
		registered, asked string
		want              bool
	}{
		{"https://a.example/cb", "https://a.example/cb", true},
		{"https://a.example/cb", "https://a.example/cb/", false},
		{"https://a.example/cb", "https://a.example:443/cb", false},
		{"https://a.example/cb", "https://A.example/cb", false},
		{"https://a.example/cb", "https://a.example/c%62", false},
		{"https://a.example/cb?x=1", "https://a.example/cb?x=1", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5555/cb", true},
		{"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5555/cb2", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5555/cb?x=1", false},
		{"http://127.0.0.1/cb", "https://127.0.0.1:5555/cb", false},
		{"http://127.0.0.1/cb", "http://localhost:5555/cb", false},
		{"http://localhost/cb", "http://localhost:5555/cb", true},
		{"http://[::1]/cb", "http://[::1]:5555/cb", true},
		{"http://[::1]/cb", "http://127.0.0.1:5555/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80\\@evil.example/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:5x/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false},
		{"https://127.0.0.1/cb", "https://127.0.0.1:5555/cb", false},
		{"com.example.app:/cb", "com.example.app:/cb", true},
		{"com.example.app:/cb", "com.example.app:/cb2", false},
		{"http://127.0.0.1", "http://127.0.0.1:9", true},
		{"https://a.example/cb", "", false},
	} {
		if got := (smart.Client{RedirectURIs: []string{c.registered}}).MatchRedirect(c.asked); got != c.want {
			t.Errorf("%s, %s: got %v", c.registered, c.asked, got)
		}
	}
}

// Whatever matches leads to the host that was registered.
func FuzzMatchRedirect(f *testing.F) {
	f.Add("http://127.0.0.1:80@evil.example/cb")
	f.Add("http://127.0.0.1:80/cb")
	f.Add("http://[::1]:80/cb#@evil")
	c := smart.Client{RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb", "https://a.example/cb"}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.MatchRedirect(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Path != "/cb" || u.RawQuery != "" || strings.Contains(uri, "#") || !slices.Contains([]string{"127.0.0.1", "::1", "localhost", "a.example"}, u.Hostname()) {
			t.Fatalf("%q matched", uri)
		}
	})
}

func TestOrigins(t *testing.T) {
	c := smart.Client{RedirectURIs: []string{"https://A.example:443/cb", "http://127.0.0.1:8080/cb", "http://[::1]/x", "com.example.app:/cb", "https://b.example:8443/cb"}, LaunchURI: "https://a.example/launch"}
	want := []string{"http://127.0.0.1", "http://[::1]", "https://a.example", "https://b.example:8443"}
	if got := c.Origins(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for in, want := range map[string]string{"http://127.0.0.1:9999": "http://127.0.0.1", "http://localhost:1": "http://localhost", "http://[::1]:5": "http://[::1]",
		"https://app.example": "https://app.example", "null": "", "http://app.example": "", "https://a.example/": "", "https://u@a.example": "", "": ""} {
		if got, ok := smart.CanonicalOrigin(in); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v", in, got, ok)
		}
	}
}

func TestClientID(t *testing.T) {
	good := smart.Client{ID: "demo-public", RedirectURIs: []string{"http://127.0.0.1/cb"}, AuthMethod: smart.AuthNone, GrantTypes: []string{smart.GrantCode}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", "a b", "a:b", "a%b", "a+b"} {
		bad := good
		bad.ID = id
		if bad.Check() == nil {
			t.Errorf("%q accepted", id)
		}
	}
}

func TestLivesAreBounded(t *testing.T) {
	for _, c := range []struct {
		token, refresh int
		want           bool
	}{
		{0, 0, true}, {60, 3600, true}, {24 * 3600, 366 * 24 * 3600, true},
		{59, 0, false}, {-1, 0, false}, {24*3600 + 1, 0, false}, {0, 3599, false}, {0, -1, false}, {0, 366*24*3600 + 1, false},
	} {
		client := smart.Client{ID: "a", RedirectURIs: []string{"https://a.example/cb"}, GrantTypes: []string{"authorization_code"}, AuthMethod: smart.AuthNone,
			TokenLife: c.token, RefreshLife: c.refresh}
		if err := client.Check(); (err == nil) != c.want {
			t.Errorf("%d and %d seconds: %v", c.token, c.refresh, err)
		}
	}
}

func TestNamesOfClients(t *testing.T) {
	long := "https://a.example/" + strings.Repeat("x", 2000)
	for name, c := range map[string]smart.Client{
		"plain": {Name: "Growth Chart – für Kinder 2"}, "long name": {Name: strings.Repeat("ü", 101)}, "two lines": {Name: "A\nB"}, "turned around": {Name: "A\u202eB"},
		"invisible": {Name: "A\u200bB"}, "no UTF-8": {Name: "A\xffB"}, "line separator": {Name: "A\u2028B"}, "long id": {ID: strings.Repeat("a", smart.MaxClientID+1)},
		"launch": {LaunchURI: long}, "logo": {LogoURI: long}, "redirects": {RedirectURIs: slices.Repeat([]string{"https://a.example/cb"}, 51)},
	} {
		if c.ID == "" {
			c.ID = "a"
		}
		if c.RedirectURIs == nil {
			c.RedirectURIs = []string{"https://a.example/cb"}
		}
		c.AuthMethod, c.GrantTypes = smart.AuthNone, []string{smart.GrantCode}
		if err := c.Check(); (err == nil) != (name == "plain") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
