package idp

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Options ask the provider for more than a plain sign-in
// (https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest).
type Options struct {
	Prompt    string         // "login": sign in again even if signed in already; "none": only without asking; others as defined
	MaxAge    *time.Duration // how long ago the sign-in may be; Finish holds the provider to it
	ACRValues []string       // wanted strength, best first; the caller looks at Identity.ACR
	LoginHint string         // who will probably sign in
	UILocales []string       // languages for the provider's pages, best first, as BCP 47 tags
}

// A Ticket is the half of a sign-in that stays with us. The caller keeps it
// bound to the browser, out of reach of scripts and of other browsers, uses it
// once, and throws it away. It can be stored as JSON; it is a secret.
type Ticket struct {
	Provider string         `json:"provider"` // Config.ID
	State    string         `json:"state"`
	Nonce    string         `json:"nonce"`
	Verifier string         `json:"verifier"`
	Began    time.Time      `json:"began"`
	Again    bool           `json:"again,omitempty"`  // prompt=login
	MaxAge   *time.Duration `json:"maxAge,omitempty"` // nanoseconds
}

// String keeps the secrets out of logs.
func (t Ticket) String() string { return "ticket for " + t.Provider }

// GoString does the same for %#v.
func (t Ticket) GoString() string { return t.String() }

// Begin starts a sign-in: the browser is to be sent to the URL.
func (p *Provider) Begin(ctx context.Context) (string, Ticket, error) {
	return p.BeginWith(ctx, Options{})
}

// BeginWith is Begin with wishes.
func (p *Provider) BeginWith(ctx context.Context, o Options) (string, Ticket, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", Ticket{}, err
	}
	t := Ticket{
		Provider: p.cfg.ID,
		State:    rand.Text(),
		Nonce:    rand.Text(),
		Verifier: oauth2.GenerateVerifier(),
		Began:    p.cfg.Now().UTC(),
		Again:    o.Prompt == "login",
		MaxAge:   o.MaxAge,
	}
	params := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(t.Verifier), oidc.Nonce(t.Nonce)}
	set := func(name, value string) {
		if value != "" {
			params = append(params, oauth2.SetAuthURLParam(name, value))
		}
	}
	set("prompt", o.Prompt)
	set("acr_values", strings.Join(o.ACRValues, " "))
	set("login_hint", o.LoginHint)
	set("ui_locales", strings.Join(o.UILocales, " "))
	if o.MaxAge != nil {
		set("max_age", strconv.FormatInt(int64(*o.MaxAge/time.Second), 10))
	}
	return d.oauth.AuthCodeURL(t.State, params...), t, nil
}
