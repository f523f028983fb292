package authserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// How long things live unless a client's registration says otherwise.
const (
	pendingLife      = 30 * time.Minute // time to sign in and to choose
	codeLife         = time.Minute
	codeMemory       = 24 * time.Hour // how long a used code is remembered
	launchLife       = 5 * time.Minute
	tokenLife        = time.Hour
	backendTokenLife = 5 * time.Minute
	offlineLife      = 100 * 24 * time.Hour // since the last refresh; three months and some days
	onlineLife       = 24 * time.Hour       // since the last refresh; ends with the session before
	lostAnswer       = 30 * time.Second     // the last refresh token works so long after its successor was made
	idTokenLife      = time.Hour
)

// Config is what a Server needs.
type Config struct {
	Store    store.Store
	Now      func() time.Time
	Issuer   string // external base URL without a trailing slash; the endpoints lie under /oauth/
	FHIRBase string // the one resource server: the aud that requests must name; empty: Issuer + "/fhir"
	// Key is 32 bytes: tokens are looked up by their hash under it, signing keys
	// are encrypted with it.
	Key []byte

	OpenRegistration   bool              // anyone may register a client, for any scope; for demonstrations on loopback only
	InitialAccessToken string            // else: the bearer token that RFC 7591 registration asks for; empty: no registration
	Statements         []StatementIssuer // whose software statements are taken; each alone permits to register what it says

	LoginURL      func(pendingID string) string // the page that signs the person in and asks for approval
	ManagementURL string                        // where people see and end what they granted
	StyleURL      string                        // smart_style_url of EHR launches; empty: none
	Tenant        string                        // tells apps which of several sites this is; empty: not told
	Extra         map[string]any                // further members of the SMART configuration
	Capabilities  []string                      // and capabilities, of what others offer beside this server
	ACRValues     []string                      // strengths of sign-in that resources may ask for (RFC 9470); nil: none

	// Types tells the resource types there are: scopes of others are left out. nil: all are.
	Types func(typ string) bool
	// Granular checks the search parameters of a granular scope; type "*" stands
	// for all. nil: all are fine.
	Granular func(typ string, params url.Values) error
	// Current tells what a person is today, who acted in this identity before; ok
	// is false when they may no longer act so, which ends what they granted. nil:
	// nothing changes.
	Current func(ctx context.Context, id smart.Identity) (now smart.Identity, ok bool, err error)

	// Removed is told of a client that was removed, after its grants have ended, so
	// that what else is kept for it goes too. nil: nothing is.
	Removed func(ctx context.Context, c smart.Client) error

	// Backend is told of each token that a backend service is about to be given, or
	// was refused; an error keeps it from being given. nil: nobody is told.
	Backend func(ctx context.Context, c smart.Client, refused bool) error

	// ErrorPage answers a browser whose authorization request must not be
	// redirected (unknown client, wrong redirect URI) with the status given;
	// nil: one line of text.
	ErrorPage func(w http.ResponseWriter, r *http.Request, status int, description string)

	HTTPClient        *http.Client  // for JWKS URLs; nil: one that refuses private addresses
	Resolver          *net.Resolver // of the names in JWKS URLs, when HTTPClient is nil; nil: the system's
	AllowLoopbackJWKS bool          // JWKS URLs may be plain http on a loopback address
	Logger            *slog.Logger  // nil: slog.Default
}

// A Server is the authorization server. It is safe for concurrent use.
type Server struct {
	config   Config
	log      *slog.Logger
	secrets  *secrets
	signing  signingKeys
	clients  clientKeys // of clients that authenticate by JWT
	vouchers clientKeys // of issuers of software statements
	limits   limits
	handler  http.Handler
	tokenURL string
}

// New checks the configuration and makes the first signing key if there is none.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Store == nil || c.Now == nil || c.LoginURL == nil {
		return nil, errors.New("authserver: Store, Now and LoginURL are required")
	}
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.HasSuffix(c.Issuer, "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("authserver: Issuer must be an absolute URL without trailing slash, query and fragment")
	}
	if c.FHIRBase == "" {
		c.FHIRBase = c.Issuer + "/fhir"
	}
	s := &Server{config: c, log: c.Logger, tokenURL: c.Issuer + "/oauth/token"}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.secrets, err = newSecrets(c.Key); err != nil {
		return nil, err
	}
	s.clients.init(c, assertionKey)
	if err := s.initStatements(); err != nil {
		return nil, err
	}
	s.limits.init(c.Now)
	if err := s.firstKey(ctx); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// Handler serves /oauth/authorize, token, introspect, revoke, userinfo, jwks,
// register and register/{id}, /.well-known/openid-configuration and
// /.well-known/oauth-authorization-server. It sends no CORS headers: gateway/oauth
// does, with OriginAllowed.
func (s *Server) Handler() http.Handler { return s.handler }
