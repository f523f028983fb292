package demo

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const partyID = "gateway"

// party is the one relying party, an op.Client.
type party struct {
	secret               string
	redirects, signedOut []string
	login                string
}

func (p *party) GetID() string                       { return partyID }
func (p *party) RedirectURIs() []string              { return p.redirects }
func (p *party) PostLogoutRedirectURIs() []string    { return p.signedOut }
func (p *party) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (p *party) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (p *party) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (p *party) GrantTypes() []oidc.GrantType                                 { return []oidc.GrantType{oidc.GrantTypeCode} }
func (p *party) LoginURL(request string) string                               { return p.login + request }
func (p *party) AccessTokenType() op.AccessTokenType                          { return op.AccessTokenTypeBearer }
func (p *party) IDTokenLifetime() time.Duration                               { return idTokenLife }
func (p *party) DevMode() bool                                                { return false }
func (p *party) RestrictAdditionalIdTokenScopes() func([]string) []string     { return same }
func (p *party) RestrictAdditionalAccessTokenScopes() func([]string) []string { return same }
func (p *party) IsScopeAllowed(string) bool                                   { return false }
func (p *party) IDTokenUserinfoClaimsAssertion() bool                         { return true }
func (p *party) ClockSkew() time.Duration                                     { return 0 }

func same(scopes []string) []string { return scopes }

// A request is an authorization request on its way to a code, an
// op.AuthRequest.
type request struct {
	id      string
	asked   oidc.AuthRequest
	created time.Time
	subject string    // who signed in
	at      time.Time // when
	coded   time.Time // when the code was given
}

func (r *request) GetID() string                      { return r.id }
func (r *request) GetACR() string                     { return "" }
func (r *request) GetAMR() []string                   { return []string{"pwd"} }
func (r *request) GetAudience() []string              { return []string{r.asked.ClientID} }
func (r *request) GetAuthTime() time.Time             { return r.at }
func (r *request) GetClientID() string                { return r.asked.ClientID }
func (r *request) GetNonce() string                   { return r.asked.Nonce }
func (r *request) GetRedirectURI() string             { return r.asked.RedirectURI }
func (r *request) GetScopes() []string                { return r.asked.Scopes }
func (r *request) GetState() string                   { return r.asked.State }
func (r *request) GetSubject() string                 { return r.subject }
func (r *request) Done() bool                         { return !r.coded.IsZero() }
func (r *request) GetResponseType() oidc.ResponseType { return r.asked.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return "" }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.asked.CodeChallenge, Method: r.asked.CodeChallengeMethod}
}
