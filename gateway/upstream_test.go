package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/smart"
)

// An upstream is an issuer where whoever comes is signed in at once, as who is set.
type upstream struct {
	*httptest.Server
	t     testing.TB
	stage *stage
	key   *ecdsa.PrivateKey
	who   map[string]any // claims of the next ID token
	asked url.Values     // of the last authorization request
}

func newUpstream(s *stage) *upstream {
	u := &upstream{t: s.t, stage: s}
	var err error
	if u.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		s.t.Fatal(err)
	}
	mux := http.NewServeMux()
	u.Server = httptest.NewServer(mux)
	s.t.Cleanup(u.Close)
	answer := func(path string, of func(r *http.Request) any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(of(r))
		})
	}
	answer("/.well-known/openid-configuration", func(*http.Request) any {
		return map[string]any{"issuer": u.URL, "authorization_endpoint": u.URL + "/auth", "token_endpoint": u.URL + "/token", "jwks_uri": u.URL + "/jwks",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_post"}}
	})
	answer("/jwks", func(*http.Request) any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &u.key.PublicKey, KeyID: "k", Algorithm: "ES256", Use: "sig"}}}
	})
	answer("/token", func(*http.Request) any {
		with := map[string]any{"nonce": u.asked.Get("nonce")}
		if forged, ok := u.who["nonce"]; ok {
			with["nonce"] = forged
		}
		return map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": u.sign("JWT", with)}
	})
	return u
}

// sign makes a token of the issuer about who is signed in.
func (u *upstream) sign(typ string, more map[string]any) string {
	u.t.Helper()
	now := u.stage.clock.Now().Unix()
	claims := map[string]any{"iss": u.URL, "aud": "gateway", "iat": now, "exp": now + 120}
	maps.Copy(claims, u.who)
	maps.Copy(claims, more)
	payload, err := json.Marshal(claims)
	if err != nil {
		u.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: u.key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		u.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		u.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		u.t.Fatal(err)
	}
	return token
}

// config is how a gateway knows the issuer.
func (u *upstream) config() config.Issuer {
	return config.Issuer{ID: "up", Name: "Upstream", Issuer: u.URL, ClientID: "gateway", ClientSecret: "secret", Scopes: []string{"openid"}}
}

// signIn takes an actor whom the gateway has just sent to the issuer back.
func (u *upstream) signIn(a *actor, who map[string]any) {
	u.t.Helper()
	if a.away == nil || !strings.HasPrefix(a.away.String(), u.URL+"/auth") {
		u.t.Fatalf("%s was not sent to the issuer: %d %s", a.name, a.status, a.said())
	}
	u.asked, u.who = a.away.Query(), who
	back := "/signin/callback/up?" + url.Values{"code": {"c"}, "state": {u.asked.Get("state")}}.Encode()
	if err := a.open(back); err != nil {
		u.t.Fatal(err)
	}
}

func (u *upstream) open(a *actor, path string) {
	u.t.Helper()
	if err := a.open(path); err != nil {
		u.t.Fatal(err)
	}
}

// upstreamOfNodes is the issuer of two gateways on one database, of which the first is
// reached, with an account that stands for somebody.
func upstreamOfNodes(t *testing.T, login string, link consent.Link) *upstream {
	t.Helper()
	s := emptyStage(t)
	u := newUpstream(s)
	dsn := pgtest.Open(t)
	for range 2 {
		s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
			c.Key, c.Issuers = config.Secret(secrets["GATEWAY_KEY"]), []config.Issuer{u.config()}
			c.Storage = config.Storage{Engine: "postgres", DSN: config.Secret(dsn), PoolSize: 8}
			return start(t.Context(), c, s.clock.Now, log)
		})
	}
	s.reach(0)
	if _, err := s.program.core.guard.LinkAccount(t.Context(), u.URL, login, "", "", link); err != nil {
		t.Fatal(err)
	}
	return u
}

// Signing out at the provider, told to one gateway, holds at the other.
func TestBackChannelAcrossNodes(t *testing.T) {
	u := upstreamOfNodes(t, "grace", consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-1"})
	s := u.stage
	shows := func(a *actor, node int, status int, words string) {
		t.Helper()
		s.reach(node)
		u.open(a, "/patient")
		if a.status != status || !strings.Contains(a.said(), words) {
			t.Errorf("%s at %d: got %d %q, want %d and %q", a.name, node, a.status, a.said(), status, words)
		}
	}
	here, elsewhere := newActor(s, "here"), newActor(s, "elsewhere")
	for session, a := range map[string]*actor{"s-1": here, "s-2": elsewhere} {
		u.open(a, "/signin?provider=up&next=/patient")
		u.signIn(a, map[string]any{"sub": "grace", "sid": session})
		shows(a, 0, 200, "Mateo Rivera")
		shows(a, 1, 200, "Mateo Rivera")
		s.reach(0)
	}
	// An app that lives by the first session.
	if err := here.authorize("demo-public", "launch/patient online_access patient/*.rs", ""); err != nil {
		t.Fatal(err)
	}
	if err := here.press("Approve", url.Values{"patient": {"pt-1"}}); err != nil {
		t.Fatal(err)
	}
	if err := here.exchange(); err != nil {
		t.Fatal(err)
	}
	reads := func(node int) int {
		t.Helper()
		s.reach(node)
		if err := here.call("GET", "/fhir/Patient/pt-1", "application/fhir+json", nil, nil); err != nil {
			t.Fatal(err)
		}
		return here.status
	}
	if got := []int{reads(0), reads(1)}; !slices.Equal(got, []int{200, 200}) {
		t.Fatalf("the app reads: %v", got)
	}

	tell := func(node int, token string) int {
		t.Helper()
		s.reach(node)
		teller := newActor(s, "the issuer")
		err := teller.send("POST", "/signin/backchannel/up", strings.NewReader(url.Values{"logout_token": {token}}.Encode()), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
		if err != nil {
			t.Fatal(err)
		}
		return teller.status
	}
	u.who = map[string]any{"sub": "grace"}
	token := u.sign("logout+jwt", map[string]any{"sid": "s-1", "jti": "j-1", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
	if got := tell(1, token); got != 200 {
		t.Fatalf("the second gateway answers the issuer with %d", got)
	}
	if got := tell(0, token); got != 400 {
		t.Errorf("the first takes the same token: %d", got)
	}
	if got := []int{reads(0), reads(1)}; !slices.Equal(got, []int{401, 401}) {
		t.Errorf("afterwards the app gets %v", got)
	}
	shows(here, 0, 200, "You were signed out")
	shows(elsewhere, 0, 200, "Mateo Rivera")
	shows(elsewhere, 1, 200, "Mateo Rivera")
}

// An app that acts for somebody who signed in too weakly is told so, sends them to
// sign in again as it was told, and may then (RFC 9470).
func TestStepUpOfAnApp(t *testing.T) {
	folder := loadedFolder(t) // which goes after the gateway
	s := emptyStage(t)
	u := newUpstream(s)
	s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
		c.Storage.Path = folder
		up := u.config()
		up.StepUpACR, up.StepUpMinutes = []string{"mfa"}, 5
		c.Issuers = []config.Issuer{up}
		return startDemoOn(t.Context(), c, s.clock.Now, log)
	})
	_, err := s.program.core.guard.LinkAccount(t.Context(), u.URL, "grace", "", "", consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-1"})
	if err != nil {
		t.Fatal(err)
	}
	grace := newActor(s, "grace-upstream")
	u.open(grace, "/signin?provider=up&next=/patient")
	u.signIn(grace, map[string]any{"sub": "grace", "acr": "pwd"})
	connect := func() {
		t.Helper()
		if err := grace.authorize("demo-public", "openid user/*.cruds", ""); err != nil {
			t.Fatal(err)
		}
	}
	finish := func() {
		t.Helper()
		if err := grace.press("Approve", nil); err != nil {
			t.Fatal(err)
		}
		if err := grace.exchange(); err != nil {
			t.Fatal(err)
		}
	}
	invite := func() int {
		t.Helper()
		if err := grace.call("POST", "/fhir/Patient/pt-1/$invite", "application/fhir+json", []byte(`{"resourceType":"Parameters"}`), nil); err != nil {
			t.Fatal(err)
		}
		return grace.status
	}
	connect()
	finish()
	if got := invite(); got != 401 || !strings.Contains(grace.header.Get("WWW-Authenticate"), `error="insufficient_user_authentication"`) ||
		!strings.Contains(grace.header.Get("WWW-Authenticate"), `acr_values="mfa", max_age="300"`) {
		t.Fatalf("got %d %v", got, grace.header)
	}
	// As it was told: acr_values leads to the issuer, which is asked for it too.
	grace.more = url.Values{"acr_values": {"mfa"}, "max_age": {"300"}}
	connect()
	u.signIn(grace, map[string]any{"sub": "grace", "acr": "mfa", "auth_time": s.clock.Now().Unix()})
	if u.asked.Get("acr_values") != "mfa" || u.asked.Get("prompt") != "login" {
		t.Errorf("the issuer is asked for %v", u.asked)
	}
	finish()
	if got := invite(); got != 200 {
		t.Errorf("after the step-up: got %d %s", got, grace.said())
	}
	s.clock.set(s.clock.Now().Add(6 * time.Minute))
	if got := invite(); got != 401 {
		t.Errorf("six minutes later: got %d", got)
	}
	// Who has it already is not asked again; what nobody knows is not to be had.
	grace.more = url.Values{"acr_values": {"mfa"}}
	connect()
	if grace.away != nil {
		t.Errorf("sent to %s again", grace.away)
	}
	unmet := func(what string) {
		t.Helper()
		if grace.away == nil || !strings.HasPrefix(grace.away.String(), appCallback) || grace.away.Query().Get("error") != "unmet_authentication_requirements" || grace.away.Query().Get("state") == "" {
			t.Errorf("%s: led to %v, %d %s", what, grace.away, grace.status, grace.said())
		}
	}
	grace.more = url.Values{"acr_values": {"gold"}}
	connect()
	unmet("a strength that nobody knows")
	u.open(grace, "/patient") // and nothing is left of it
	u.open(grace, "/signin?provider=up&next=/patient")
	u.signIn(grace, map[string]any{"sub": "grace", "acr": "pwd", "auth_time": s.clock.Now().Unix()})
	grace.more = url.Values{"acr_values": {"mfa"}}
	connect()
	u.signIn(grace, map[string]any{"sub": "grace", "acr": "pwd", "auth_time": s.clock.Now().Unix()})
	unmet("the issuer let them in more weakly")
	connect()
	u.open(grace, "/signin/callback/up?"+url.Values{"error": {"unmet_authentication_requirements"}, "state": {grace.away.Query().Get("state")}}.Encode())
	unmet("the issuer says so itself")
	// What an app says of the sign-in reaches the issuer, which is held to it.
	stranger := newActor(s, "nobody")
	stranger.more = url.Values{"login_hint": {"grace@example.org"}, "max_age": {"60"}, "acr_values": {"mfa pwd"}}
	for _, age := range []time.Duration{0, 5 * time.Minute} {
		if err := stranger.authorize("demo-public", "openid", ""); err != nil {
			t.Fatal(err)
		}
		u.open(stranger, "/signin?provider=up&next="+url.QueryEscape(stranger.at.Query().Get("next")))
		if q := stranger.away.Query(); q.Get("login_hint") != "grace@example.org" || q.Get("max_age") != "60" || q.Get("acr_values") != "mfa pwd" {
			t.Errorf("the issuer is asked for %v", q)
		}
		u.signIn(stranger, map[string]any{"sub": "grace", "acr": "pwd", "auth_time": s.clock.Now().Add(-age).Unix()})
		if want := map[bool]int{true: 200, false: 403}[age == 0]; stranger.status != want {
			t.Errorf("signed in %v ago: got %d %s", age, stranger.status, stranger.said())
		}
		stranger = newActor(s, "nobody")
		stranger.more = url.Values{"login_hint": {"grace@example.org"}, "max_age": {"60"}, "acr_values": {"mfa pwd"}}
	}
	// No other state makes it say so.
	connect()
	u.open(grace, "/signin/callback/up?"+url.Values{"error": {"unmet_authentication_requirements"}, "state": {"forged"}}.Encode())
	if grace.away != nil || grace.status != 400 {
		t.Errorf("a forged answer led to %v, %d", grace.away, grace.status)
	}
}

// A browser can leave out what it is to ask the issuer for, above all to sign in
// again. A step-up counts only when the issuer says that the person just did.
func TestStepUpCannotBeSkipped(t *testing.T) {
	folder := loadedFolder(t)
	s := emptyStage(t)
	u := newUpstream(s)
	s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
		c.Storage.Path = folder
		up := u.config()
		up.StepUpACR, up.StepUpMinutes = []string{"mfa"}, 5
		c.Issuers = []config.Issuer{up}
		return startDemoOn(t.Context(), c, s.clock.Now, log)
	})
	_, err := s.program.core.guard.LinkAccount(t.Context(), u.URL, "grace", "", "", consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-1"})
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	for name, c := range map[string]struct {
		claims map[string]any
		status int
	}{
		"says nothing":       {map[string]any{}, 403},
		"signed in before":   {map[string]any{"auth_time": now.Add(-4 * time.Minute).Unix()}, 403},
		"in milliseconds":    {map[string]any{"auth_time": now.UnixMilli()}, 403},
		"is of the future":   {map[string]any{"auth_time": now.Add(time.Hour).Unix()}, 403},
		"another's sign-in":  {map[string]any{"auth_time": now.Unix(), "nonce": "another"}, 403},
		"signed in just now": {map[string]any{"auth_time": now.Unix()}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			a := newActor(s, "grace-"+name)
			u.open(a, "/signin?provider=up&next=/patient")
			u.signIn(a, map[string]any{"sub": "grace", "acr": "mfa"}) // silently: strong once, nobody says when
			u.open(a, "/signin/step-up?next=/patient")
			if a.away == nil || a.away.Query().Get("max_age") != "300" || a.away.Query().Get("prompt") != "login" {
				t.Fatalf("a sign-in of unknown age is enough: %v", a.away)
			}
			who := map[string]any{"sub": "grace", "acr": "mfa"}
			maps.Copy(who, c.claims)
			u.signIn(a, who)
			if a.status != c.status {
				t.Errorf("got %d %s", a.status, a.said())
			}
			u.open(a, "/signin/step-up?next=/patient")
			if proven := a.away == nil; proven != (c.status == 200) {
				t.Errorf("proven: %v", proven)
			}
		})
	}
}
