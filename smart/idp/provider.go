package idp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"mypatients/smart"
)

// A Config describes one provider and how we are registered there.
type Config struct {
	ID           string // short and stable; part of addresses and of tickets
	Name         string // as people know it: "Children's staff login"
	Issuer       string // compared byte by byte with what the provider says of itself
	ClientID     string
	ClientSecret string   // empty: a public client, which PKCE alone protects
	RedirectURL  string   // where the browser comes back to; absolute
	Scopes       []string // nil: openid profile email; openid is always asked for
	HTTPClient   *http.Client
	Now          func() time.Time // required
}

// A Provider is an OpenID Connect provider that people can sign in at. It is
// safe for concurrent use.
type Provider struct {
	cfg   Config
	http  *http.Client
	calm  *calm
	turn  chan struct{} // holds one token: who has it may discover
	ready *discovered   // guarded by turn
}

// discovered is what the provider's metadata settled.
type discovered struct {
	oauth      oauth2.Config
	provider   *oidc.Provider
	verifier   *oidc.IDTokenVerifier
	sendsIss   bool // authorization_response_iss_parameter_supported
	endSession string
}

const (
	skew       = time.Minute      // how far our clock and theirs may differ
	ticketLife = time.Hour        // how long a person may take to sign in
	httpWait   = 10 * time.Second // for one answer of the provider
	maxAnswer  = 1 << 20          // bytes
)

// New checks a configuration. It does not contact the provider.
func New(cfg Config) (*Provider, error) {
	switch {
	case cfg.Now == nil:
		return nil, errors.New("idp: no clock")
	case cfg.ID == "" || cfg.ClientID == "":
		return nil, errors.New("idp: a provider needs an id and a client id")
	case !absolute(cfg.Issuer):
		return nil, errors.New("idp: the issuer is not an absolute http(s) URL")
	case !absolute(cfg.RedirectURL):
		return nil, errors.New("idp: the redirect address is not an absolute http(s) URL")
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	}
	if !slices.Contains(cfg.Scopes, oidc.ScopeOpenID) {
		cfg.Scopes = append([]string{oidc.ScopeOpenID}, cfg.Scopes...)
	}
	quiet := &calm{now: cfg.Now}
	p := &Provider{cfg: cfg, calm: quiet, http: client(cfg.HTTPClient, quiet), turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p, nil
}

// ID gives the short name of the configuration.
func (p *Provider) ID() string { return p.cfg.ID }

// Name gives the name people know the provider by.
func (p *Provider) Name() string { return p.cfg.Name }

// Issuer gives the issuer identifier.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// EndSession gives the address that signs the person out at the provider and
// brings the browser back to returnTo, which must be registered there
// (https://openid.net/specs/openid-connect-rpinitiated-1_0.html). It is empty
// when the provider has no such endpoint.
func (p *Provider) EndSession(ctx context.Context, returnTo string) (string, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	if d.endSession == "" {
		return "", nil
	}
	u, err := url.Parse(d.endSession)
	if err != nil {
		return "", nil
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	if returnTo != "" {
		q.Set("post_logout_redirect_uri", returnTo)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// discover gives the provider's metadata, fetching it when that has not
// succeeded before.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	defer func() { p.turn <- struct{}{} }()
	if p.ready != nil {
		return p.ready, nil
	}
	d, err := p.fetch(ctx)
	if err != nil {
		return nil, err
	}
	p.ready = d
	return d, nil
}

func (p *Provider) fetch(ctx context.Context) (*discovered, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.cfg.Issuer)
	if err != nil {
		return nil, unavailable(plain(err, "discovery failed"))
	}
	var more struct {
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		SendsIss    bool     `json:"authorization_response_iss_parameter_supported"`
		EndSession  string   `json:"end_session_endpoint"`
		Keys        string   `json:"jwks_uri"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, unavailable(errors.New("the provider's metadata is not understood"))
	}
	endpoint := provider.Endpoint()
	for _, address := range []string{endpoint.AuthURL, endpoint.TokenURL, more.Keys} {
		if !p.acceptable(address) {
			return nil, unavailable(errors.New("the provider's metadata lacks an endpoint, or names one that is not https"))
		}
	}
	if !p.acceptable(more.EndSession) {
		more.EndSession = ""
	}
	p.calm.of(more.Keys)
	endpoint.AuthStyle = authStyle(more.AuthMethods, p.cfg.ClientSecret)
	return &discovered{
		provider: provider,
		// The verifier allows no difference of clocks at the end of a token's life.
		verifier: provider.Verifier(&oidc.Config{ClientID: p.cfg.ClientID, Now: func() time.Time { return p.cfg.Now().Add(-skew) }}),
		oauth: oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret,
			RedirectURL: p.cfg.RedirectURL, Scopes: p.cfg.Scopes, Endpoint: endpoint},
		sendsIss:   more.SendsIss,
		endSession: more.EndSession,
	}, nil
}

// acceptable: a provider reached by https must not send us to plain http.
func (p *Provider) acceptable(address string) bool {
	return absolute(address) && (strings.HasPrefix(address, "https://") || strings.HasPrefix(p.cfg.Issuer, "http://"))
}

// authStyle settles how we present our secret. Left open, the oauth2 package
// would try both ways, and present a code twice.
func authStyle(methods []string, secret string) oauth2.AuthStyle {
	if secret == "" {
		return oauth2.AuthStyleInParams
	}
	if len(methods) == 0 || slices.Contains(methods, smart.AuthSecretBasic) || !slices.Contains(methods, "client_secret_post") {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

func absolute(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Fragment == "" && u.User == nil
}
