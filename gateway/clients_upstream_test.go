package main

import (
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/smart"
)

// A hospital is a demo that has a second issuer, made with oidc-provider, which
// runs in a process of its own.
type hospital struct {
	*gateway
	whole  *testing.T // for as long as all of it runs
	t      *testing.T
	clock  *lateClock
	node   *jsProgram
	issuer string
	port   int
}

const hospitalCallback = "/signin/callback/hospital"

// startHospital starts both. Who can sign in at the issuer is in open.
func startHospital(t *testing.T) *hospital {
	t.Helper()
	h := &hospital{whole: t, t: t, clock: new(lateClock)}
	h.listen()
	h.gateway = startDemoWith(t, h.clock.now, func(c *config.Config) {
		c.Issuers = []config.Issuer{{
			ID: "hospital", Name: "Hospital account", Issuer: h.issuer, ClientID: "gateway", ClientSecret: "hospital-secret-of-this-test", Scopes: []string{"openid", "profile", "email"},
			Roles:     config.Roles{Claim: "groups", Values: map[string]string{"desk": "staff", "it": "admin"}},
			StepUpACR: []string{"mfa"}, StepUpMinutes: 5,
		}}
	})
	h.open(nil)
	return h
}

// startDemoWith is startDemo with a configuration that is changed.
func startDemoWith(t *testing.T, now func() time.Time, change func(*config.Config)) *gateway {
	t.Helper()
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, folder: t.TempDir(), log: new(lines)}
	c.Listen, c.Storage.Path = "127.0.0.1:0", g.folder
	change(c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if g.Program, err = startDemoOn(t.Context(), c, now, slog.New(slog.NewTextHandler(g.log, nil))); err != nil {
		t.Fatal(err)
	}
	g.stop = running(t, g.Program)
	return g
}

func (h *hospital) listen() {
	h.t.Helper()
	h.node = startNode(h.whole, "issuer.mjs")
	var at struct {
		Issuer string
		Port   int
	}
	h.node.do("listen", map[string]any{"port": h.port}, &at)
	h.issuer, h.port = at.Issuer, at.Port
}

// open begins to serve, with a new signing key.
func (h *hospital) open(groups map[string][]string) {
	h.t.Helper()
	people := map[string]any{}
	for _, name := range []string{"grace", "sam", "eve"} {
		list := groups[name]
		if list == nil {
			list = []string{}
		}
		people[name] = map[string]any{"name": strings.ToUpper(name[:1]) + name[1:], "email": "grace@example.org", "email_verified": true, "groups": list}
	}
	h.node.do("open", map[string]any{"people": people, "client": map[string]any{
		"client_id": "gateway", "client_secret": "hospital-secret-of-this-test", "response_types": []string{"code"}, "grant_types": []string{"authorization_code"},
		"redirect_uris": []string{h.URL + hospitalCallback}, "post_logout_redirect_uris": []string{h.URL + "/"},
		"backchannel_logout_uri": h.URL + "/signin/backchannel/hospital", "backchannel_logout_session_required": true,
	}}, nil)
}

// restart replaces the issuer by one with other keys, and no memory.
func (h *hospital) restart(groups map[string][]string) {
	h.t.Helper()
	h.node.stop()
	h.listen()
	h.open(groups)
}

// enter signs somebody in at the hospital and gives the page they come to. The
// addresses that the browser is sent to pass through change, which may be nil.
func (h *hospital) enter(b *browser, path, name string, change func(*url.URL)) webPage {
	h.t.Helper()
	b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if change != nil {
			change(r.URL)
		}
		if strings.HasPrefix(r.URL.String(), appCallback) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	page := b.open(h.URL + path)
	if strings.Contains(page.text, "Hospital account") {
		page = b.open(h.URL + "/signin?" + url.Values{"provider": {"hospital"}, "next": {path}}.Encode())
	}
	if strings.Contains(page.text, `name="login"`) {
		page = b.submit(page, "login", url.Values{"login": {name}})
	}
	return page
}

func (p webPage) has(t *testing.T, status int, words ...string) {
	t.Helper()
	_, p.text, _ = strings.Cut(p.text, "<main")
	for _, w := range words {
		if p.status != status || !strings.Contains(p.text, w) {
			t.Fatalf("at %s: got %d %s, want %d and %q", p.at, p.status, p.text, status, w)
		}
	}
}

// TestClients has clients and an issuer that were written elsewhere talk to one
// gateway. The last two put the clock forward.
func TestClients(t *testing.T) {
	withoutRaceDetector(t)
	h := startHospital(t)
	t.Run("oidc-provider", h.upstream)
	t.Run("openid-client", h.openIDClient)
	t.Run("fhirclient", h.fhirClient)
}

// upstream signs people in at an issuer made with oidc-provider.
func (h *hospital) upstream(t *testing.T) {
	as := func(t *testing.T) *hospital {
		h.t = t
		return h
	}
	h.link("grace", consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-1"})
	t.Run("people choose", func(t *testing.T) { as(t).choose() })
	t.Run("people are issuer and subject", func(t *testing.T) { as(t).linking() })
	t.Run("what was tampered with is refused", func(t *testing.T) { as(t).tampering() })
	t.Run("clocks differ a little", func(t *testing.T) { as(t).skew() })
	t.Run("roles come from claims", func(t *testing.T) { as(t).roles() })
	t.Run("approving takes more", func(t *testing.T) { as(t).approving() })
	t.Run("signing out there signs out here", func(t *testing.T) { as(t).backChannel() })
	t.Run("signing out here signs out there", func(t *testing.T) { as(t).signOut() })
	t.Run("logout tokens are checked", func(t *testing.T) { as(t).badLogouts() })
}

func (h *hospital) link(subject string, links ...consent.Link) {
	h.t.Helper()
	if _, err := h.core.guard.LinkAccount(h.t.Context(), h.issuer, subject, "", "", links...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hospital) choose() {
	b := newBrowser(h.t)
	b.open(h.URL+"/patient").has(h.t, 200, "Hospital account", "Demo sign-in")
	h.enter(b, "/patient", "grace", nil).has(h.t, 200, "Mateo Rivera")
	h.restart(nil) // with other keys, while the gateway runs
	h.enter(newBrowser(h.t), "/patient", "grace", nil).has(h.t, 200, "Mateo Rivera")
}

func (h *hospital) linking() {
	// The same subject at another issuer, and the same e-mail address at the same
	// one, are other people.
	b := newBrowser(h.t)
	page := b.open(h.URL + "/signin?provider=demo&next=/patient")
	b.submit(page, "username", url.Values{"username": {"grace"}, "password": {"demo"}}).has(h.t, 200, "Sofia Rivera")
	page = h.enter(newBrowser(h.t), "/patient", "grace", nil)
	if strings.Contains(page.text, "Sofia") {
		h.t.Error("the hospital's grace is taken for the demo's")
	}
	h.enter(newBrowser(h.t), "/patient", "eve", nil).has(h.t, 403, "You are not registered yet")
}

func (h *hospital) tampering() {
	set := func(at, name, value string) func(*url.URL) {
		return func(u *url.URL) {
			q := u.Query()
			if !strings.HasPrefix(u.Path, at) || !q.Has("state") {
				return
			}
			if q.Set(name, value); value == "" {
				q.Del(name)
			}
			u.RawQuery = q.Encode()
		}
	}
	for name, change := range map[string]func(*url.URL){
		"another nonce":                set("/auth", "nonce", "another"),
		"another PKCE challenge":       set("/auth", "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
		"another state":                set(hospitalCallback, "state", "another"),
		"another issuer":               set(hospitalCallback, "iss", h.URL+"/demo-idp"),
		"no issuer, as it promises it": set(hospitalCallback, "iss", ""),
		"another code":                 set(hospitalCallback, "code", "another"),
		"the address of another issuer": func(u *url.URL) {
			u.Path = strings.Replace(u.Path, hospitalCallback, "/signin/callback/demo", 1)
		},
	} {
		b := newBrowser(h.t)
		if page := h.enter(b, "/patient", "grace", change); page.status != 400 && page.status != 403 || strings.Contains(page.text, "Mateo") {
			h.t.Errorf("%s: got %d %s", name, page.status, page.text)
		}
		if page := b.open(h.URL + "/patient"); strings.Contains(page.text, "Mateo") {
			h.t.Errorf("%s: signed in all the same", name)
		}
	}
	// An answer works in the browser that asked for it, and once.
	var answer string
	first := newBrowser(h.t)
	h.enter(first, "/patient", "grace", func(u *url.URL) {
		if u.Path == hospitalCallback {
			answer = u.String()
		}
	}).has(h.t, 200, "Mateo Rivera")
	newBrowser(h.t).open(answer).has(h.t, 400, "no longer open")
	first.open(answer).has(h.t, 400, "no longer open")
}

func (h *hospital) skew() {
	defer h.clock.put(0)
	for late, ok := range map[time.Duration]bool{
		-30 * time.Second: true, 30 * time.Second: true, // ours behind, ours ahead
		-3 * time.Minute: false, 2 * time.Hour: false,
	} {
		h.clock.put(late)
		page := h.enter(newBrowser(h.t), "/patient", "grace", nil)
		if got := page.status == 200 && strings.Contains(page.text, "Mateo"); got != ok {
			h.t.Errorf("our clock %v late: got %d %s", late, page.status, page.text)
		}
	}
}

func (h *hospital) roles() {
	h.enter(newBrowser(h.t), "/staff", "sam", nil).has(h.t, 403, "You are not registered yet")
	h.restart(map[string][]string{"sam": {"desk", "nobody", "patient"}, "grace": {"it"}})
	sam := newBrowser(h.t)
	h.enter(sam, "/staff", "sam", nil).has(h.t, 200, "Find a patient")
	sam.open(h.URL+"/patients/pt-1").has(h.t, 404, "Page not found")
	// A guardian who is an administrator as well chooses.
	h.enter(newBrowser(h.t), "/", "grace", nil).has(h.t, 200, "As a parent or guardian", "As an administrator")
	h.restart(nil) // taken away: at the next sign-in it is gone, in older sessions too
	h.enter(newBrowser(h.t), "/staff", "sam", nil).has(h.t, 403, "You are not registered yet")
	sam.open(h.URL+"/staff").has(h.t, 403, "You are not registered yet")
	h.enter(newBrowser(h.t), "/patient", "grace", nil).has(h.t, 200, "Mateo Rivera")
}

// The request is answered by the account at the hospital, for which a stronger
// sign-in is configured.
func (h *hospital) approving() {
	okafor := newBrowser(h.t)
	page := okafor.open(h.URL + "/signin?provider=demo&next=/")
	page = okafor.submit(page, "username", url.Values{"username": {"dr.okafor"}, "password": {"demo"}})
	page = okafor.submit(page, "mrn", url.Values{"mrn": {"1001"}})
	page = okafor.open(h.URL + regexp.MustCompile(`/requests/new[^"]*`).FindString(page.text))
	okafor.submit(page, "reason", url.Values{"reason": {"A murmur."}, "span": {"6"}, "part": nil, "private": nil, "confidential": nil}).has(h.t, 200, "Your request was sent")

	grace := newBrowser(h.t)
	page = h.enter(grace, "/patient", "grace", nil)
	path := regexp.MustCompile(`/patient/requests/[^"]*`).FindString(page.text)
	approve := func() webPage {
		return grace.submit(grace.open(h.URL+path), "version", url.Values{"action": {"approve"}, "date": nil, "part": nil})
	}
	approve().has(h.t, 403, "Sign in once more to go on")
	again := h.URL + "/signin/step-up?" + url.Values{"next": {path}}.Encode()
	weak := grace.submit(grace.open(again), "login", url.Values{"login": {"grace"}, "acr": {"pwd"}})
	weak.has(h.t, 200, "not in the way that this needs")
	approve().has(h.t, 403, "Nothing has changed yet")
	grace.submit(grace.open(again), "login", url.Values{"login": {"grace"}}).has(h.t, 200, "You can go on now")
	h.clock.put(6 * time.Minute)
	approve().has(h.t, 403, "Sign in once more to go on")
	h.clock.put(0)
	approve().has(h.t, 200, "can now see the record")
}

func (h *hospital) backChannel() {
	// An app that lives by the session, and one that does not.
	here, elsewhere := newBrowser(h.t), newBrowser(h.t)
	h.enter(here, "/patient", "grace", nil).has(h.t, 200, "Mateo Rivera")
	h.enter(elsewhere, "/patient", "grace", nil).has(h.t, 200, "Mateo Rivera")
	online := h.connect(here, "online_access")
	offline := h.connect(here, "offline_access")
	read := func(token string) int {
		status, _, _ := h.get("/fhir/Patient/pt-1", "Authorization", "Bearer "+token)
		return status
	}
	if read(online) != 200 || read(offline) != 200 {
		h.t.Fatal("the apps do not read")
	}
	page := here.open(h.issuer + "/session/end")
	page = here.submit(page, "xsrf", url.Values{"logout": {"yes"}})
	if page.status != 200 {
		h.t.Fatalf("got %d %s", page.status, page.text)
	}
	if got := []int{read(online), read(offline)}; !slices.Equal(got, []int{401, 200}) {
		h.t.Errorf("after signing out there the apps get %v", got)
	}
	here.open(h.URL+"/patient").has(h.t, 200, "You were signed out")
	elsewhere.open(h.URL+"/patient").has(h.t, 200, "Mateo Rivera") // another session

	// What was said once is not believed again.
	var posted string
	h.node.do("posted", nil, &posted)
	form, err := url.ParseQuery(posted)
	if err != nil || form.Get("logout_token") == "" {
		h.t.Fatalf("the issuer posted %q: %v", posted, err)
	}
	if got := h.tell("hospital", form.Get("logout_token")); got != 400 {
		h.t.Errorf("the token again: got %d", got)
	}
	if got := h.tell("demo", form.Get("logout_token")); got != 400 {
		h.t.Errorf("the token for another issuer: got %d", got)
	}
}

// tell posts a logout token and gives the status of the answer.
func (h *hospital) tell(provider, token string) int {
	h.t.Helper()
	res, err := http.PostForm(h.URL+"/signin/backchannel/"+provider, url.Values{"logout_token": {token}})
	if err != nil {
		h.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// connect lets the public app in, in a browser that is signed in, and gives its
// access token.
func (h *hospital) connect(b *browser, access string) string {
	h.t.Helper()
	app := startNode(h.t, "relying.mjs")
	defer app.stop()
	app.discover(h.gateway, "demo-public", "", "", "", h.clock)
	var address string
	app.do("authorize", map[string]any{"params": map[string]any{"redirect_uri": appCallback, "aud": h.URL + "/fhir", "prompt": "consent",
		"scope": "launch/patient openid patient/Patient.rs " + access}}, &address)
	page := b.submit(b.open(address), "action", url.Values{"action": {"approve"}, "patient": {"pt-1"}})
	var token granted
	app.do("callback", map[string]any{"url": page.leaves}, &token)
	return token.Access
}

func (h *hospital) signOut() {
	b := newBrowser(h.t)
	h.enter(b, "/patient", "grace", nil)
	page := b.submit(b.open(h.URL+"/signout"), "csrf", nil)
	page.has(h.t, 200, "Finish signing out")
	upstream := strings.ReplaceAll(regexp.MustCompile(regexp.QuoteMeta(h.issuer)+`/session/end[^"]*`).FindString(page.text), "&amp;", "&")
	page = b.submit(b.open(upstream), "xsrf", url.Values{"logout": {"yes"}})
	if page.at.String() != h.URL+"/" {
		h.t.Errorf("the way out ends at %s: %s", page.at, page.text)
	}
	page.has(h.t, 200, "You are signed out")
	page = b.open(h.URL + "/signin?provider=hospital&next=/patient")
	if !strings.Contains(page.text, `name="login"`) {
		h.t.Errorf("the issuer lets the next person in without asking: %s", page.text)
	}
}

func (h *hospital) badLogouts() {
	b := newBrowser(h.t)
	h.enter(b, "/patient", "grace", nil)
	for _, token := range []string{"", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJncmFjZSJ9."} {
		if got := h.tell("hospital", token); got != 400 {
			h.t.Errorf("%q: got %d", token, got)
		}
	}
	if got := h.tell("nobody", "x"); got != 400 {
		h.t.Errorf("no such provider: got %d", got)
	}
	if res, err := http.Get(h.URL + "/signin/backchannel/hospital"); err != nil || res.StatusCode != 405 {
		h.t.Errorf("GET: %v %v", res, err)
	}
	b.open(h.URL+"/patient").has(h.t, 200, "Mateo Rivera")
}
