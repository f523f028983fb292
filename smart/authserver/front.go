package authserver

import (
	"context"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"mypatients/smart"
)

// front is the only place that knows zitadel/oidc: it takes requests apart,
// finds the client and the grant type, and calls our server with plain values.
type front struct {
	op.UnimplementedServer
	s *Server
}

// front makes the library's handler. Its CORS is off: it would let every origin
// in with credentials.
func (s *Server) front() http.Handler {
	return op.RegisterServer(&front{s: s}, op.Endpoints{
		Token:         op.NewEndpoint("/oauth/token"),
		Introspection: op.NewEndpoint("/oauth/introspect"),
		Revocation:    op.NewEndpoint("/oauth/revoke"),
		Userinfo:      op.NewEndpoint("/oauth/userinfo"),
		JwksURI:       op.NewEndpoint("/oauth/jwks"),
	}, op.WithServerCORSOptions(nil))
}

// Discovery serves /.well-known/openid-configuration.
func (f *front) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(f.s.metadata()), nil
}

// Keys serves the JWK set.
func (f *front) Keys(ctx context.Context, _ *op.Request[struct{}]) (*op.Response, error) {
	keys, err := f.s.publicKeys(ctx)
	return f.respond(ctx, keys, err)
}

// VerifyClient authenticates the client of a token or revocation request.
func (f *front) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	c, err := f.s.authenticateClient(ctx, credentialsOf(r.Data, r.Header, r.Form.Get("client_id")))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &frontClient{c.Client}, nil
}

func credentialsOf(cc *op.ClientCredentials, h http.Header, formID string) credentials {
	_, _, basic := (&http.Request{Header: h}).BasicAuth()
	return credentials{basic: basic, id: cc.ClientID, formID: formID, secret: cc.ClientSecret, assertion: cc.ClientAssertion}
}

// CodeExchange serves grant_type=authorization_code.
func (f *front) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	res, err := f.s.exchangeCode(ctx, registeredAs(r.Client), r.Data.Code, r.Form.Get("redirect_uri"), r.Form.Get("code_verifier"))
	return f.respond(ctx, res, err)
}

// RefreshToken serves grant_type=refresh_token.
func (f *front) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	res, err := f.s.refresh(ctx, registeredAs(r.Client), r.Data.RefreshToken, r.Form.Get("scope"))
	return f.respond(ctx, res, err)
}

// ClientCredentialsExchange serves grant_type=client_credentials.
func (f *front) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	res, err := f.s.clientCredentials(ctx, registeredAs(r.Client), r.Form.Get("scope"))
	return f.respond(ctx, res, err)
}

// Introspect serves clients that authenticate.
func (f *front) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	if _, err := f.s.authenticateClient(ctx, credentialsOf(r.Data.ClientCredentials, r.Header, r.Form.Get("client_id"))); err != nil {
		return nil, f.fail(ctx, err)
	}
	answer, err := f.s.introspect(ctx, r.Data.Token, anyToken)
	return f.respond(ctx, answer, err)
}

// Revocation serves RFC 7009.
func (f *front) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	err := f.s.revoke(ctx, registeredAs(r.Client), r.Data.Token)
	return f.respond(ctx, nil, err)
}

// UserInfo serves the claims about the person.
func (f *front) UserInfo(ctx context.Context, r *op.Request[oidc.UserInfoRequest]) (*op.Response, error) {
	info, err := f.s.userInfo(ctx, r.Data.AccessToken)
	return f.respond(ctx, info, err)
}

func (f *front) respond(ctx context.Context, data any, err error) (*op.Response, error) {
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return op.NewResponse(data), nil
}

// fail gives an error the library's form. Its texts are ours: what it does not
// know it would show.
func (f *front) fail(ctx context.Context, err error) error {
	e := asError(err)
	f.s.logCause(ctx, e)
	shown := oidc.ErrServerError()
	switch e.Code {
	case "invalid_request":
		shown = oidc.ErrInvalidRequest()
	case "invalid_client":
		shown = oidc.ErrInvalidClient()
	case "invalid_grant":
		shown = oidc.ErrInvalidGrant()
	case "invalid_scope":
		shown = oidc.ErrInvalidScope()
	case "unauthorized_client":
		shown = oidc.ErrUnauthorizedClient()
	case "invalid_token":
		shown.ErrorType = "invalid_token"
	case "insufficient_scope":
		shown.ErrorType = "insufficient_scope"
	case "temporarily_unavailable":
		shown.ErrorType = "temporarily_unavailable"
	case "slow_down":
		shown.ErrorType = "slow_down"
	}
	return op.NewStatusError(shown.WithDescription("%s", e.Description), e.Status)
}

// A frontClient shows the library a client of ours. The library asks only for
// the grant types and the method; authorize does not go through it.
type frontClient struct{ smart.Client }

func registeredAs(c op.Client) smart.Client { return c.(*frontClient).Client }

func (c *frontClient) GetID() string                    { return c.ID }
func (c *frontClient) RedirectURIs() []string           { return c.Client.RedirectURIs }
func (c *frontClient) PostLogoutRedirectURIs() []string { return nil }
func (c *frontClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *frontClient) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethod(c.Client.AuthMethod) }
func (c *frontClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *frontClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (c *frontClient) IDTokenLifetime() time.Duration      { return idTokenLife }
func (c *frontClient) ClockSkew() time.Duration            { return 0 }
func (c *frontClient) LoginURL(string) string              { return "" }
func (c *frontClient) DevMode() bool                       { return false }
func (c *frontClient) IsScopeAllowed(string) bool          { return false }
func (c *frontClient) IDTokenUserinfoClaimsAssertion() bool {
	return false
}

func (c *frontClient) GrantTypes() []oidc.GrantType {
	types := make([]oidc.GrantType, len(c.Client.GrantTypes))
	for i, g := range c.Client.GrantTypes {
		types[i] = oidc.GrantType(g)
	}
	return types
}

func (c *frontClient) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

func (c *frontClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

var _ op.Server = (*front)(nil)
