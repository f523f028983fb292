package authserver

import (
	"context"
	"errors"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// An introspection is the answer of RFC 7662 with SMART's members.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Subject   string `json:"sub,omitempty"`
	FHIRUser  string `json:"fhirUser,omitempty"`
	AuthTime  int64  `json:"auth_time,omitempty"` // RFC 9470 section 6.2
	ACR       string `json:"acr,omitempty"`
	smart.Context
	StyleURL string `json:"smart_style_url,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
}

// introspect tells what an access token stands for; may says whether the caller
// may know. Whatever is not active, or not theirs to know, is {"active":false}.
func (s *Server) introspect(ctx context.Context, token string, may func(smart.Grant) bool) (*introspection, error) {
	g, ehr, err := s.token(ctx, token)
	var e *smart.Error
	if errors.As(err, &e) && e.Code == "invalid_token" {
		return &introspection{}, nil
	}
	if err != nil {
		return nil, err
	}
	if !may(g) {
		return &introspection{}, nil
	}
	now, ok, err := s.current(ctx, g.Identity)
	if err != nil {
		return nil, err
	}
	if !ok {
		return &introspection{}, nil
	}
	g.Identity = now
	answer := &introspection{Active: true, Scope: g.Scopes.String(), ClientID: g.ClientID, TokenType: "Bearer",
		Expires: g.Expires.Unix(), Issuer: s.config.Issuer, Audience: s.config.FHIRBase, Subject: subject(g.Identity), Context: g.Launch, Tenant: s.config.Tenant}
	if answer.ACR = g.ACR; !g.AuthTime.IsZero() {
		answer.AuthTime = g.AuthTime.Unix()
	}
	if answer.Subject == "" {
		answer.Subject = g.ClientID
	}
	if g.Scopes.Has("fhirUser") {
		answer.FHIRUser = s.fhirUser(g.Identity)
	}
	if ehr {
		answer.StyleURL = s.config.StyleURL
	}
	return answer, nil
}

// anyToken is for a client that authenticated: a resource server or the app
// itself, and in either case one that holds the token already.
func anyToken(smart.Grant) bool { return true }

// introspectScope is the scope with which a backend service may ask about the
// tokens of others by its own bearer token.
const introspectScope = "introspect"

// tokensOf is for a caller that shows a bearer token instead: backend services
// with the scope for it may ask about any token, others about their own.
func tokensOf(caller smart.Grant) func(smart.Grant) bool {
	all := caller.Identity.Role == smart.System && caller.Scopes.Has(introspectScope)
	return func(g smart.Grant) bool { return all || g.ClientID == caller.ClientID }
}

// revoke ends a token of a client (RFC 7009): an access token alone, or a refresh
// token with all that lives from it. Unknown tokens are no error.
func (s *Server) revoke(ctx context.Context, client smart.Client, token string) error {
	foreign := false
	err := s.config.Store.Update(ctx, func(w store.Writer) (err error) {
		family, _, ok := s.parseRefresh(token)
		if !ok {
			foreign, err = s.endToken(w, token, client.ID)
			return err
		}
		var g grantRecord
		err = get(w, s.config.Now(), kindGrant, s.grantID(family), &g)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if foreign = g.ClientID != client.ID; foreign {
			return nil
		}
		return s.endGrant(w, g.ID)
	})
	if err == nil && foreign {
		return invalidGrant("The token was issued to another client.")
	}
	return err
}

// A userInfo is the answer of OpenID Connect Core section 5.3.
type userInfo struct {
	Subject string `json:"sub"`
	person
}

func (s *Server) userInfo(ctx context.Context, token string) (*userInfo, error) {
	g, err := s.Authenticate(ctx, token)
	if err != nil {
		return nil, err
	}
	if !g.Scopes.Has("openid") {
		e := oauthError("insufficient_scope", "The scope openid is needed.")
		e.Status = 403
		return nil, e
	}
	now, ok, err := s.current(ctx, g.Identity)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalidToken()
	}
	g.Identity = now
	return &userInfo{Subject: subject(g.Identity), person: s.person(g.Identity, g.Scopes)}, nil
}
