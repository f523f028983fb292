package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// A tokenResponse is the answer of the token endpoint: RFC 6749 section 5.1,
// OpenID Connect Core section 3.1.3.3 and the launch context of SMART.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	smart.Context
	StyleURL string `json:"smart_style_url,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
}

// respond fills in what every grant type answers.
func (s *Server) respond(g *grantRecord, scopes smart.Scopes, token string, life time.Duration) *tokenResponse {
	res := &tokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: seconds(life), Scope: scopes.String(), Context: g.Context, Tenant: s.config.Tenant}
	if g.EHR {
		res.StyleURL = s.config.StyleURL
	}
	return res
}

// lifeOf gives how long a client's access tokens live.
func lifeOf(c smart.Client, standard time.Duration) time.Duration {
	if c.TokenLife > 0 {
		return time.Duration(c.TokenLife) * time.Second
	}
	return standard
}

// refreshLifeOf gives how long a refresh token of a grant works unused; 0: it has
// none.
func refreshLifeOf(c smart.Client, scopes smart.Scopes) time.Duration {
	switch {
	case !c.MayUse(smart.GrantRefresh):
		return 0
	case scopes.Has("offline_access"):
		if c.RefreshLife > 0 {
			return time.Duration(c.RefreshLife) * time.Second
		}
		return offlineLife
	case scopes.Has("online_access"):
		return onlineLife
	}
	return 0
}

// exchangeCode swaps a code for tokens, once (RFC 6749 section 4.1.3, RFC 7636
// section 4.6). A wrong verifier or redirect URI uses the code up; a replay ends
// what came of the code. A code of another client is like none.
func (s *Server) exchangeCode(ctx context.Context, client smart.Client, code, redirectURI, verifier string) (*tokenResponse, error) {
	var res *tokenResponse
	var g *grantRecord
	var refused error
	key := s.secrets.key(kindCode, code)
	err := s.config.Store.Update(ctx, func(w store.Writer) error {
		res, g, refused = nil, nil, nil
		now := s.config.Now()
		var c codeRecord
		err := get(w, now, kindCode, key, &c)
		if errors.Is(err, store.ErrNotFound) || err == nil && c.Grant.ClientID != client.ID {
			return invalidGrant("The code is unknown or expired.")
		}
		if err != nil {
			return err
		}
		if c.Used {
			refused = invalidGrant("The code was used before.")
			return s.endGrant(w, c.GrantID)
		}
		if redirectURI != c.RedirectURI || !verify(c.Challenge, verifier) {
			refused = invalidGrant("redirect_uri or code_verifier does not fit the code.")
			c.Used = true
			return store.PutJSON(w, kindCode, key, &c, now.Add(codeMemory))
		}
		g = &c.Grant
		if res, err = s.firstTokens(w, g); err != nil {
			return err
		}
		used := codeRecord{Used: true, GrantID: g.ID, Grant: grantRecord{ClientID: client.ID}}
		return store.PutJSON(w, kindCode, key, &used, now.Add(codeMemory))
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	if g.scopes().Has("openid") {
		if res.IDToken, err = s.idToken(ctx, g, res.AccessToken); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// firstTokens starts a grant.
func (s *Server) firstTokens(w store.Writer, g *grantRecord) (*tokenResponse, error) {
	client, err := s.clientRecord(w, g.ClientID) // again, here: it may have been removed meanwhile
	if errors.Is(err, store.ErrNotFound) {
		return nil, invalidClient("The client is not known.")
	}
	if err != nil {
		return nil, err
	}
	if g.SessionID != "" && g.online() {
		ended, err := w.Record(kindEnded, indexed(g.SessionID))
		if err == nil && !expired(ended, s.config.Now()) {
			return nil, invalidGrant("The person has signed out.")
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	if ended, err := s.overtaken(w, g); err != nil {
		return nil, err
	} else if ended {
		return nil, invalidGrant("The code is unknown or expired.")
	}
	scopes, family := g.scopes().Narrow(smart.KnownScopes(client.Scope)), randomBytes(familySize) // it may have shrunk
	if g.Scopes = scopes.String(); len(scopes) == 0 {
		return nil, invalidGrant("None of what was granted can be granted to the client any more.")
	}
	g.ID, g.Created = s.grantID(family), s.config.Now()
	life, refresh := lifeOf(client.Client, tokenLife), refreshLifeOf(client.Client, scopes)
	if refresh > 0 {
		g.Generation, g.Rotated = 1, g.Created
	}
	token, err := s.addToken(w, g, scopes, life, g.Created.Add(refresh))
	if err != nil {
		return nil, err
	}
	res := s.respond(g, scopes, token, life)
	if refresh > 0 {
		res.RefreshToken = s.refreshToken(family, g.Generation)
	}
	return res, nil
}

// verify holds a verifier of RFC 7636 section 4.1 to an S256 challenge.
func verify(challenge, verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 || strings.IndexFunc(verifier, notUnreserved) >= 0 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

func notUnreserved(c rune) bool { return notBase64URL(c) && c != '.' && c != '~' }

// clientCredentials issues a token to a backend service: only system/ scopes it
// was registered for, and no refresh token (SMART Backend Services).
func (s *Server) clientCredentials(ctx context.Context, client smart.Client, scope string) (*tokenResponse, error) {
	res, err := s.backendToken(ctx, client, scope)
	var refused *smart.Error
	if s.config.Backend == nil || err != nil && !errors.As(err, &refused) {
		return res, err
	}
	if told := s.config.Backend(ctx, client, err != nil); told != nil {
		return nil, told // the token is known to nobody
	}
	return res, err
}

func (s *Server) backendToken(ctx context.Context, client smart.Client, scope string) (*tokenResponse, error) {
	if !client.MayUse(smart.GrantClientCredentials) || client.AuthMethod != smart.AuthPrivateKeyJWT {
		return nil, oauthError("unauthorized_client", "The client is not registered for client_credentials.")
	}
	asked, err := s.knownScopes(scope)
	if err != nil {
		return nil, err
	}
	scopes := asked.Filter(func(sc smart.Scope) bool { return sc.Level == "system" || sc.Text == introspectScope }).
		Narrow(smart.KnownScopes(client.Scope))
	if len(scopes) == 0 {
		return nil, oauthError("invalid_scope", "None of the scopes can be granted to this client.")
	}
	life := lifeOf(client, backendTokenLife)
	var res *tokenResponse
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		if _, err := s.clientRecord(w, client.ID); errors.Is(err, store.ErrNotFound) {
			return invalidClient("The client is not known.")
		} else if err != nil {
			return err
		}
		g := &grantRecord{ID: s.grantID(randomBytes(familySize)), ClientID: client.ID, ClientName: client.Name,
			Identity: smart.Identity{Name: client.Name, Role: smart.System}, Scopes: scopes.String(), Created: s.config.Now()}
		token, err := s.addToken(w, g, scopes, life, g.Created.Add(life))
		if err != nil {
			return err
		}
		res = s.respond(g, scopes, token, life)
		return nil
	})
	return res, err
}
