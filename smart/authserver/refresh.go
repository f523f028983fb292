package authserver

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// A refresh token is family secret, generation and MAC, in base64url.
const (
	familySize = 16
	macSize    = 24
)

// grantID gives the id of the grant that a family secret leads to.
func (s *Server) grantID(family []byte) string {
	return s.secrets.key(kindGrant, string(family))
}

func (s *Server) refreshToken(family []byte, generation uint32) string {
	b := binary.BigEndian.AppendUint32(append([]byte{}, family...), generation)
	return base64.RawURLEncoding.EncodeToString(append(b, s.secrets.mac("oauth.refresh", string(b))[:macSize]...))
}

// parseRefresh takes a refresh token of ours apart; ok is false for any other.
func (s *Server) parseRefresh(token string) (family []byte, generation uint32, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != familySize+4+macSize {
		return nil, 0, false
	}
	signed := b[:familySize+4]
	if !hmac.Equal(b[familySize+4:], s.secrets.mac("oauth.refresh", string(signed))[:macSize]) {
		return nil, 0, false
	}
	return b[:familySize], binary.BigEndian.Uint32(signed[familySize:]), true
}

// refresh gives a new access token and a new refresh token (RFC 6749 section 6,
// RFC 9700 section 4.14.2). Scopes may be fewer for this access token; the grant
// keeps what it has.
func (s *Server) refresh(ctx context.Context, client smart.Client, token, scope string) (*tokenResponse, error) {
	unknown := invalidGrant("The refresh token is unknown, expired or revoked.")
	family, generation, ok := s.parseRefresh(token)
	if !ok {
		return nil, unknown
	}
	today, ok, err := s.holder(ctx, s.grantID(family))
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	var res *tokenResponse
	var refused error
	err = s.config.Store.Update(ctx, func(w store.Writer) error {
		res, refused = nil, nil
		now := s.config.Now()
		var g grantRecord
		err := get(w, now, kindGrant, s.grantID(family), &g)
		if errors.Is(err, store.ErrNotFound) || err == nil && g.ClientID != client.ID {
			return unknown
		}
		if err != nil {
			return err
		}
		current, err := s.clientRecord(w, client.ID)
		if errors.Is(err, store.ErrNotFound) {
			return unknown
		}
		if err != nil {
			return err
		}
		if !ok {
			refused = unknown
			return s.endGrant(w, g.ID)
		}
		g.Identity = today
		// The token after this one was made just now: its answer may have been lost.
		lost := generation+1 == g.Generation && now.Before(g.Rotated.Add(lostAnswer))
		if generation != g.Generation && !lost {
			refused = unknown
			return s.endGrant(w, g.ID)
		}
		res, err = s.rotate(w, &g, current.Client, family, !lost, scope, now)
		return err
	})
	if err == nil {
		err = refused
	}
	return res, err
}

// rotate issues the tokens of a refresh.
func (s *Server) rotate(w store.Writer, g *grantRecord, client smart.Client, family []byte, next bool, scope string, now time.Time) (*tokenResponse, error) {
	scopes := g.scopes().Narrow(smart.KnownScopes(client.Scope)) // the registration may have shrunk
	life, refresh := lifeOf(client, tokenLife), refreshLifeOf(client, scopes)
	if refresh == 0 || g.Generation == 0 {
		return nil, invalidGrant("The refresh token is unknown, expired or revoked.")
	}
	if scope != "" {
		asked, err := smart.ParseScopes(scope)
		if err != nil || len(asked) == 0 || !asked.Within(scopes) {
			return nil, oauthError("invalid_scope", "A refresh cannot widen what was granted.")
		}
		scopes = asked
	}
	until := g.Rotated.Add(refresh)
	if next {
		g.Generation, g.Rotated = g.Generation+1, now
		until = now.Add(refresh)
	}
	token, err := s.addToken(w, g, scopes, life, until)
	if err != nil {
		return nil, err
	}
	res := s.respond(g, scopes, token, life)
	res.RefreshToken = s.refreshToken(family, g.Generation)
	return res, nil
}

// nameRefresher lets a public client leave out its client_id when it refreshes:
// RFC 6749 section 6 does not ask for it, SMART's library for JavaScript does not
// send it, and the refresh token tells whose it is. A client that can authenticate
// must.
func (s *Server) nameRefresher(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("grant_type") == smart.GrantRefresh && r.Header.Get("Authorization") == "" &&
			!r.PostForm.Has("client_id") && !r.PostForm.Has("client_secret") && !r.PostForm.Has("client_assertion") {
			id, err := s.refresher(r.Context(), r.PostForm.Get("refresh_token"))
			if err != nil {
				s.writeError(w, r, err)
				return
			}
			if id != "" {
				r.PostForm.Set("client_id", id)
				r.Form.Set("client_id", id)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refresher gives the public client that a refresh token was issued to; empty when
// it is no token of ours or its client is confidential.
func (s *Server) refresher(ctx context.Context, token string) (id string, err error) {
	family, _, ok := s.parseRefresh(token)
	if !ok {
		return "", nil
	}
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		id = ""
		var g grantRecord
		err := get(r, s.config.Now(), kindGrant, s.grantID(family), &g)
		if errors.Is(err, store.ErrNotFound) {
			return invalidGrant("The refresh token is unknown, expired or revoked.")
		}
		if err != nil {
			return err
		}
		client, err := s.clientRecord(r, g.ClientID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil && client.AuthMethod == smart.AuthNone {
			id = client.ID
		}
		return err
	})
	return id, err
}
