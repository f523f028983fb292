package demo_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/gateway/demo"
	"mypatients/smart"
	"mypatients/smart/idp"
)

// clock is a clock that tests turn by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2031, 5, 7, 10, 30, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is an issuer, the gateway's side of it, and a browser.
type world struct {
	*clock
	issuer   *demo.Issuer
	provider *idp.Provider
	browser  *http.Client
	callback string
}

// inProcess builds a world without a network.
func inProcess(t *testing.T) *world {
	t.Helper()
	return build(t, "http://gateway.example", nil)
}

// overHTTP builds one on a real listener.
func overHTTP(t *testing.T) *world {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	w := build(t, server.URL, server.Client().Transport)
	handler = w.issuer
	return w
}

func build(t *testing.T, base string, transport http.RoundTripper) *world {
	t.Helper()
	w := &world{clock: newClock(), callback: base + "/callback"}
	var err error
	w.issuer, err = demo.NewIssuer(demo.IssuerConfig{Base: base, RedirectURLs: []string{w.callback},
		SignedOut: []string{base + "/"}, People: demo.People(), Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	if transport == nil {
		transport = demo.Transport(w.issuer)
	}
	id, secret := w.issuer.Party()
	w.provider, err = idp.New(idp.Config{ID: "demo", Name: "Demo", Issuer: w.issuer.URL(), ClientID: id, ClientSecret: secret,
		RedirectURL: w.callback, HTTPClient: &http.Client{Transport: transport}, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.browser = &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), w.callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return w
}

// open follows an address to the sign-in page (returned) or to the callback
// (its parameters returned).
func (w *world) open(t *testing.T, address string) (page string, values url.Values) {
	t.Helper()
	resp, err := w.browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	return settle(t, resp)
}

func (w *world) submit(t *testing.T, page, username, password string) (string, url.Values) {
	t.Helper()
	id := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(page)
	if id == nil {
		t.Fatalf("no sign-in form in %q", page)
	}
	resp, err := w.browser.PostForm(w.issuer.URL()+"/login", url.Values{"request": {id[1]}, "username": {username}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	return settle(t, resp)
}

func settle(t *testing.T, resp *http.Response) (string, url.Values) {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if at := resp.Header.Get("Location"); at != "" {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		return "", u.Query()
	}
	return string(body), nil
}

// signIn goes from Begin to the callback's parameters.
func (w *world) signIn(t *testing.T, o idp.Options, username string) (idp.Ticket, url.Values) {
	t.Helper()
	address, ticket, err := w.provider.BeginWith(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	page, values := w.open(t, address)
	if values == nil {
		page, values = w.submit(t, page, username, demo.Password)
	}
	if values == nil {
		t.Fatalf("no return to the gateway, but %q", page)
	}
	return ticket, values
}

func TestSignIn(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *world{"in process": inProcess, "over HTTP": overHTTP} {
		t.Run(name, func(t *testing.T) {
			w := make(t)
			ticket, values := w.signIn(t, idp.Options{LoginHint: "grace"}, "grace")
			who, err := w.provider.Finish(t.Context(), ticket, values)
			if err != nil {
				t.Fatal(err)
			}
			if who.Issuer != w.issuer.URL() || who.Subject != "grace" || who.Name != "Grace Rivera" || who.Email != "grace@example.org" ||
				!who.EmailVerified || !who.AuthTime.Equal(w.Now()) || who.Claims["sub"] != "grace" {
				t.Errorf("got %+v", who)
			}
			if values.Get("iss") != w.issuer.URL() {
				t.Errorf("iss is %q", values.Get("iss"))
			}
		})
	}
}

func TestSignInRefusals(t *testing.T) {
	tests := map[string]struct {
		spoil func(w *world, ticket *idp.Ticket, values url.Values)
		code  string
	}{
		"wrong state":       {func(_ *world, _ *idp.Ticket, v url.Values) { v.Set("state", "other") }, "invalid_request"},
		"no state":          {func(_ *world, _ *idp.Ticket, v url.Values) { v.Del("state") }, "invalid_request"},
		"two states":        {func(_ *world, _ *idp.Ticket, v url.Values) { v.Add("state", v.Get("state")) }, "invalid_request"},
		"wrong issuer":      {func(_ *world, _ *idp.Ticket, v url.Values) { v.Set("iss", "https://other.example") }, "invalid_request"},
		"no issuer":         {func(_ *world, _ *idp.Ticket, v url.Values) { v.Del("iss") }, "invalid_request"},
		"no code":           {func(_ *world, _ *idp.Ticket, v url.Values) { v.Del("code") }, "invalid_request"},
		"old ticket":        {func(w *world, _ *idp.Ticket, _ url.Values) { w.turn(61 * time.Minute) }, "invalid_request"},
		"other provider":    {func(_ *world, k *idp.Ticket, _ url.Values) { k.Provider = "other" }, "invalid_request"},
		"zero ticket":       {func(_ *world, k *idp.Ticket, v url.Values) { *k = idp.Ticket{}; v.Del("state") }, "invalid_request"},
		"wrong nonce":       {func(_ *world, k *idp.Ticket, _ url.Values) { k.Nonce = "other" }, "access_denied"},
		"wrong verifier":    {func(_ *world, k *idp.Ticket, _ url.Values) { k.Verifier += "x" }, "access_denied"},
		"wrong code":        {func(_ *world, _ *idp.Ticket, v url.Values) { v.Set("code", "other") }, "access_denied"},
		"expired code":      {func(w *world, _ *idp.Ticket, _ url.Values) { w.turn(2 * time.Minute) }, "access_denied"},
		"error of provider": {func(_ *world, _ *idp.Ticket, v url.Values) { v.Set("error", "<b>secret</b>") }, "access_denied"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := inProcess(t)
			ticket, values := w.signIn(t, idp.Options{}, "luis")
			test.spoil(w, &ticket, values)
			who, err := w.provider.Finish(t.Context(), ticket, values)
			var oauth *smart.Error
			if !errors.As(err, &oauth) || oauth.Code != test.code || who != nil {
				t.Fatalf("got %v, %v, want %s", who, err, test.code)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "luis") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestCodeWorksOnce(t *testing.T) {
	w := inProcess(t)
	ticket, values := w.signIn(t, idp.Options{}, "ava")
	var wins, losses int
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := w.provider.Finish(t.Context(), ticket, values)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins++
			} else {
				losses++
			}
		})
	}
	group.Wait()
	if wins != 1 || losses != 7 {
		t.Errorf("%d of 8 exchanges won", wins)
	}
}

func TestKeyRotation(t *testing.T) {
	w := inProcess(t)
	for range 3 {
		// The relying party's library may answer with the keys of a fetch that has
		// ended a moment ago, which nobody is fast enough to meet but a test.
		var err error
		for try := 0; try == 0 || err != nil && try < 5; try++ {
			ticket, values := w.signIn(t, idp.Options{Prompt: "login"}, "sam")
			_, err = w.provider.Finish(t.Context(), ticket, values)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.issuer.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSingleSignOn(t *testing.T) {
	w := inProcess(t)
	w.signIn(t, idp.Options{}, "dr.chen")
	first := w.Now()
	w.turn(10 * time.Minute)
	hour, minute := time.Hour, time.Minute

	passes := func(name string, o idp.Options) {
		t.Helper()
		address, ticket, err := w.provider.BeginWith(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		page, values := w.open(t, address)
		if page != "" {
			t.Fatalf("%s: the form appears", name)
		}
		who, err := w.provider.Finish(t.Context(), ticket, values)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if who.Subject != "dr.chen" || !who.AuthTime.Equal(first) {
			t.Errorf("%s: got %+v", name, who)
		}
	}
	passes("plain", idp.Options{})
	passes("silent", idp.Options{Prompt: "none"})
	passes("recent enough", idp.Options{MaxAge: &hour})

	for name, o := range map[string]idp.Options{"prompt=login": {Prompt: "login"}, "max_age": {MaxAge: &minute}} {
		address, ticket, err := w.provider.BeginWith(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		page, values := w.open(t, address)
		if values != nil {
			t.Fatalf("%s: passed without the form", name)
		}
		_, values = w.submit(t, page, "dr.chen", demo.Password)
		who, err := w.provider.Finish(t.Context(), ticket, values)
		if err != nil || !who.AuthTime.Equal(w.Now()) {
			t.Errorf("%s: got %v, %v", name, who, err)
		}
		w.turn(2 * time.Minute)
	}
}

func TestSignOut(t *testing.T) {
	w := inProcess(t)
	w.signIn(t, idp.Options{}, "noah")
	address, err := w.provider.EndSession(t.Context(), strings.TrimSuffix(w.callback, "callback"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.Request.URL.Path != "/" {
		t.Errorf("signing out ends at %v", resp.Request.URL)
	}
	address, ticket, err := w.provider.BeginWith(t.Context(), idp.Options{Prompt: "none"})
	if err != nil {
		t.Fatal(err)
	}
	_, values := w.open(t, address)
	_, err = w.provider.Finish(t.Context(), ticket, values)
	var oauth *smart.Error
	if !errors.As(err, &oauth) || oauth.Code != "login_required" {
		t.Errorf("after signing out: %v, want login_required", err)
	}
	if resp, err := w.browser.Get(w.issuer.URL() + "/sign-out?client_id=gateway&post_logout_redirect_uri=https://evil.example/"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("signing out to a foreign address: %v, %v", resp.Status, err)
	}
}

func TestSignInForm(t *testing.T) {
	w := inProcess(t)
	address, ticket, err := w.provider.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, _ := w.open(t, address)
	for _, p := range demo.People() {
		if !strings.Contains(page, ">"+p.Username+"</code>") {
			t.Errorf("%s is not on the page", p.Username)
		}
	}
	page, _ = w.submit(t, page, "nobody", demo.Password)
	if !strings.Contains(page, `value="nobody"`) || !strings.Contains(page, "No one here has this username") {
		t.Errorf("wrong username: %s", page)
	}
	page, _ = w.submit(t, page, "helen", "wrong")
	if !strings.Contains(page, `value="helen"`) || !strings.Contains(page, "This is not the password") {
		t.Errorf("wrong password: %s", page)
	}
	_, values := w.submit(t, page, " Helen ", demo.Password)
	if who, err := w.provider.Finish(t.Context(), ticket, values); err != nil || who.Subject != "helen" {
		t.Errorf("got %v, %v", who, err)
	}
	again, _ := w.submit(t, page, "helen", demo.Password)
	if !strings.Contains(again, "Please start again") {
		t.Errorf("a form that was used: %s", again)
	}
}

func TestAuthorizeRefusals(t *testing.T) {
	w := inProcess(t)
	address, _, err := w.provider.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(url.Values){
		"foreign redirect": func(q url.Values) { q.Set("redirect_uri", "https://evil.example/") },
		"escaped redirect": func(q url.Values) { q.Set("redirect_uri", strings.Replace(w.callback, "callback", "callbac%6B", 1)) },
		"no PKCE":          func(q url.Values) { q.Del("code_challenge") },
		"plain PKCE":       func(q url.Values) { q.Set("code_challenge_method", "plain") },
		"unknown client":   func(q url.Values) { q.Set("client_id", "other") },
		"implicit flow":    func(q url.Values) { q.Set("response_type", "id_token") },
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		spoil(q)
		u.RawQuery = q.Encode()
		resp, err := w.browser.Get(u.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
}
