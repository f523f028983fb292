package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// IssuerPath is where the issuer is mounted, below the base URL.
const IssuerPath = "/demo-idp"

const idTokenLife = 10 * time.Minute

// An IssuerConfig says for whom the issuer signs people in.
type IssuerConfig struct {
	Base         string   // the gateway's external base URL; the issuer is Base + IssuerPath
	RedirectURLs []string // of the gateway, the only relying party; compared exactly
	SignedOut    []string // where the gateway may send a browser after signing out here
	People       []Person
	Now          func() time.Time // required
}

// An Issuer is an OpenID Connect provider in memory: code flow with PKCE,
// sign-in form, single sign-on, sign-out. As an http.Handler it answers the full
// paths below IssuerPath.
type Issuer struct {
	cfg     IssuerConfig
	issuer  string
	secret  string
	memory  *memory
	front   op.OpenIDProvider
	handler http.Handler
}

// NewIssuer makes the issuer with a fresh key and a fresh client secret.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	if cfg.Now == nil {
		return nil, errors.New("demo: no clock")
	}
	i := &Issuer{cfg: cfg, issuer: strings.TrimSuffix(cfg.Base, "/") + IssuerPath, secret: rand.Text()}
	i.memory = newMemory(cfg, i.issuer, i.secret)
	if err := i.Rotate(); err != nil {
		return nil, err
	}
	setup := &op.Config{CodeMethodS256: true, DefaultLogoutRedirectURI: i.issuer + "/signed-out",
		SupportedScopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}}
	if _, err := rand.Read(setup.CryptoKey[:]); err != nil {
		return nil, err
	}
	front, err := op.NewProvider(setup, i.memory, op.StaticIssuer(i.issuer), op.WithAllowInsecure())
	if err != nil {
		return nil, err
	}
	i.front = front
	server := &server{issuer: i, LegacyServer: op.NewLegacyServer(front, op.Endpoints{
		Authorization: op.NewEndpoint("authorize"), Token: op.NewEndpoint("token"), Userinfo: op.NewEndpoint("userinfo"),
		EndSession: op.NewEndpoint("sign-out"), JwksURI: op.NewEndpoint("keys"),
	})}
	mux := http.NewServeMux()
	mux.Handle("/login", http.NewCrossOriginProtection().Handler(http.HandlerFunc(i.login)))
	mux.HandleFunc("GET /signed-out", signedOut)
	mux.HandleFunc("GET /style.css", style)
	mux.Handle("/", op.RegisterLegacyServer(server, http.NotFound, op.WithServerCORSOptions(nil)))
	i.handler = http.StripPrefix(IssuerPath, mux)
	return i, nil
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	w.Header().Set("Cache-Control", "no-store")
	i.handler.ServeHTTP(w, r)
}

// URL gives the issuer identifier.
func (i *Issuer) URL() string { return i.issuer }

// Party gives the client id and the secret of the one relying party.
func (i *Issuer) Party() (id, secret string) { return partyID, i.secret }

// Rotate makes a new signing key; the keys before it stay published.
func (i *Issuer) Rotate() error { return i.memory.rotate() }

// server changes what the library's stock server leaves open.
type server struct {
	*op.LegacyServer
	issuer *Issuer
}

// Discovery adds what the library does not say.
func (s *server) Discovery(ctx context.Context, r *op.Request[struct{}]) (*op.Response, error) {
	resp, err := s.LegacyServer.Discovery(ctx, r)
	if err != nil {
		return nil, err
	}
	known, ok := resp.Data.(*oidc.DiscoveryConfiguration)
	if !ok {
		return nil, errors.New("demo: unexpected metadata")
	}
	known.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	known.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode}
	known.TokenEndpointAuthMethodsSupported = []oidc.AuthMethod{oidc.AuthMethodBasic}
	resp.Data = struct {
		*oidc.DiscoveryConfiguration
		SendsIss bool `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	}{known, true}
	return resp, nil
}

// VerifyAuthRequest insists on an exact redirect address and on PKCE.
func (s *server) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	cr, err := s.LegacyServer.VerifyAuthRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(cr.Client.RedirectURIs(), r.Data.RedirectURI) {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("unknown redirect_uri")
	}
	if r.Data.CodeChallenge == "" || r.Data.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	}
	return cr, nil
}

// CodeExchange redeems a code. Unlike the library's own it takes the time from
// the clock it was given and never lets PKCE be left out.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	taken, err := op.AuthRequestByCode(ctx, s.issuer.memory, r.Data.Code)
	if err != nil {
		return nil, err
	}
	request, ok := taken.(*request)
	if !ok || request.GetClientID() != r.Client.GetID() || request.GetRedirectURI() != r.Data.RedirectURI {
		return nil, oidc.ErrInvalidGrant().WithDescription("not the request of this code")
	}
	if err := op.AuthorizeCodeChallenge(r.Data.CodeVerifier, request.GetCodeChallenge()); err != nil {
		return nil, err
	}
	id, expires, err := s.issuer.memory.CreateAccessToken(ctx, request)
	if err != nil {
		return nil, err
	}
	access, err := op.CreateBearerToken(id, request.GetSubject(), s.issuer.front.Crypto())
	if err != nil {
		return nil, err
	}
	idToken, err := s.idToken(ctx, request, access)
	if err != nil {
		return nil, err
	}
	return op.NewResponse(&oidc.AccessTokenResponse{AccessToken: access, TokenType: oidc.BearerToken, IDToken: idToken,
		ExpiresIn: uint64(expires.Sub(s.issuer.cfg.Now()) / time.Second), Scope: request.GetScopes()}), nil
}

func (s *server) idToken(ctx context.Context, r *request, access string) (string, error) {
	key, err := s.issuer.memory.SigningKey(ctx)
	if err != nil {
		return "", err
	}
	signer, err := op.SignerFromKey(key)
	if err != nil {
		return "", err
	}
	hash, err := oidc.ClaimHash(access, key.SignatureAlgorithm())
	if err != nil {
		return "", err
	}
	now := s.issuer.cfg.Now()
	claims := &oidc.IDTokenClaims{AccessTokenHash: hash, TokenClaims: oidc.TokenClaims{
		Issuer: s.issuer.issuer, Audience: r.GetAudience(), AuthorizedParty: r.GetClientID(), Nonce: r.GetNonce(),
		IssuedAt: oidc.FromTime(now), Expiration: oidc.FromTime(now.Add(idTokenLife)), AuthTime: oidc.FromTime(r.GetAuthTime()),
		AuthenticationContextClassReference: r.GetACR(), AuthenticationMethodsReferences: r.GetAMR(),
	}}
	info := new(oidc.UserInfo)
	s.issuer.memory.describe(info, r.GetSubject(), r.GetScopes())
	claims.SetUserInfo(info)
	return crypto.Sign(claims, signer)
}

// EndSession forgets the browser's sign-in before it goes back.
func (s *server) EndSession(ctx context.Context, r *op.Request[oidc.EndSessionRequest]) (*op.Redirect, error) {
	s.issuer.memory.signOut(sessionID(&http.Request{Header: r.Header}))
	return s.LegacyServer.EndSession(ctx, r)
}
