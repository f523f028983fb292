package authserver

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// maxTokens is how many access tokens of one grant live at once; the oldest
// gives way.
const maxTokens = 50

// A grantRecord is one answer of a person to one app, or one backend token.
type grantRecord struct {
	ID         string         `json:"id"`
	ClientID   string         `json:"client"`
	ClientName string         `json:"clientName,omitempty"`
	Identity   smart.Identity `json:"identity"`
	Scopes     string         `json:"scopes"`
	Context    smart.Context  `json:"context"`
	EHR        bool           `json:"ehr,omitempty"` // launched by a handle
	SessionID  string         `json:"session,omitempty"`
	AuthTime   time.Time      `json:"authTime"`
	ACR        string         `json:"acr,omitempty"`
	Nonce      string         `json:"nonce,omitempty"`

	Created    time.Time  `json:"created"`
	LastUsed   time.Time  `json:"lastUsed"`
	Generation uint32     `json:"generation,omitempty"` // of the refresh token that works; 0: there is none
	Rotated    time.Time  `json:"rotated"`              // when that one was made
	Tokens     []tokenRef `json:"tokens,omitempty"`     // that live, oldest first
}

// A tokenRef leads to the record of an access token.
type tokenRef struct {
	Key     string    `json:"k"`
	Expires time.Time `json:"e"`
}

func (g *grantRecord) scopes() smart.Scopes { return smart.KnownScopes(g.Scopes) }

// online reports whether the grant ends with the person's session.
func (g *grantRecord) online() bool {
	scopes := g.scopes()
	return scopes.Has("online_access") && !scopes.Has("offline_access")
}

// grant is what a bearer of one of its tokens holds.
func (g *grantRecord) grant(scopes smart.Scopes, expires time.Time) smart.Grant {
	return smart.Grant{ID: g.ID, ClientID: g.ClientID, ClientName: g.ClientName, Identity: g.Identity,
		Scopes: scopes, Launch: g.Context, Expires: expires, AuthTime: g.AuthTime, ACR: g.ACR}
}

// What grants are found by.
func byLogin(login string) string     { return "login:" + indexed(login) + " " }
func bySession(session string) string { return "session:" + indexed(session) + " " }
func byClient(id string) string       { return "client:" + indexed(id) + " " }

func indexed(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func (g *grantRecord) indexes() []string {
	keys := []string{byClient(g.ClientID) + g.ID}
	if g.Identity.Login != "" {
		keys = append(keys, byLogin(g.Identity.Login)+g.ID)
	}
	if g.SessionID != "" && g.online() {
		keys = append(keys, bySession(g.SessionID)+g.ID)
	}
	return keys
}

// addToken makes an access token of a grant and writes both. The grant lives as
// long as its refresh token (until) or its last access token.
func (s *Server) addToken(w store.Writer, g *grantRecord, scopes smart.Scopes, life time.Duration, until time.Time) (token string, err error) {
	now := s.config.Now()
	token = newSecret()
	ref := tokenRef{Key: s.secrets.key(kindToken, token), Expires: now.Add(life).Truncate(time.Millisecond)}
	value := encodeGrant(g.grant(scopes, ref.Expires), g.EHR)
	if err := w.PutRecord(&store.Record{Kind: kindToken, Key: ref.Key, Value: value, Expires: ref.Expires}); err != nil {
		return "", err
	}
	g.Tokens = slices.DeleteFunc(g.Tokens, func(t tokenRef) bool { return !now.Before(t.Expires) })
	g.Tokens = append(g.Tokens, ref)
	for len(g.Tokens) > maxTokens {
		if err := w.DeleteRecord(kindToken, g.Tokens[0].Key); err != nil {
			return "", err
		}
		g.Tokens = g.Tokens[1:]
	}
	g.LastUsed = now
	for _, t := range g.Tokens {
		if until.Before(t.Expires) {
			until = t.Expires
		}
	}
	for _, key := range g.indexes() {
		if err := w.PutRecord(&store.Record{Kind: kindIndex, Key: key, Expires: until}); err != nil {
			return "", err
		}
	}
	return token, store.PutJSON(w, kindGrant, g.ID, g, until)
}

// endGrant ends a grant and its tokens; ending none is no error.
func (s *Server) endGrant(w store.Writer, id string) error {
	var g grantRecord
	err := get(w, time.Time{}, kindGrant, id, &g)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, t := range g.Tokens {
		if err := w.DeleteRecord(kindToken, t.Key); err != nil {
			return err
		}
	}
	for _, key := range g.indexes() {
		if err := w.DeleteRecord(kindIndex, key); err != nil {
			return err
		}
	}
	return w.DeleteRecord(kindGrant, id)
}

// endAll ends all grants found by something, each in its own transaction.
func (s *Server) endAll(ctx context.Context, prefix string) error {
	records, err := s.list(ctx, kindIndex, prefix)
	if err != nil {
		return err
	}
	for _, rec := range records {
		id := strings.TrimPrefix(rec.Key, prefix)
		if err := s.config.Store.Update(ctx, func(w store.Writer) error { return s.endGrant(w, id) }); err != nil {
			return err
		}
	}
	return nil
}

// A GrantView is a grant as the person who gave it sees it.
type GrantView struct {
	ID                string
	Client            smart.Client
	Scopes            smart.Scopes
	Patient           string // logical id
	Created, LastUsed time.Time
}

// Grants lists what a person granted and what still works, newest first.
func (s *Server) Grants(ctx context.Context, login string) ([]GrantView, error) {
	if login == "" {
		return nil, nil
	}
	prefix := byLogin(login)
	index, err := s.list(ctx, kindIndex, prefix)
	if err != nil {
		return nil, err
	}
	var views []GrantView
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		views = nil
		for _, rec := range index {
			var g grantRecord
			err := get(r, s.config.Now(), kindGrant, strings.TrimPrefix(rec.Key, prefix), &g)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			client, err := s.clientRecord(r, g.ClientID)
			if errors.Is(err, store.ErrNotFound) {
				client, err = &clientRecord{Client: smart.Client{ID: g.ClientID, Name: g.ClientName}}, nil
			}
			if err != nil {
				return err
			}
			views = append(views, GrantView{ID: g.ID, Client: client.Client, Scopes: g.scopes(),
				Patient: g.Context.Patient, Created: g.Created, LastUsed: g.LastUsed})
		}
		return nil
	})
	slices.SortFunc(views, func(a, b GrantView) int { return b.Created.Compare(a.Created) })
	return views, err
}

// RevokeGrant ends one grant of a person; the next request with any of its
// tokens fails. A grant of someone else is like none: no error, no effect.
func (s *Server) RevokeGrant(ctx context.Context, login, id string) error {
	return s.config.Store.Update(ctx, func(w store.Writer) error {
		var g grantRecord
		err := get(w, s.config.Now(), kindGrant, id, &g)
		if errors.Is(err, store.ErrNotFound) || err == nil && (login == "" || g.Identity.Login != login) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.endGrant(w, id)
	})
}

// EndLogin ends everything that a person granted, as an administrator does when a
// login was stolen; the next request with any of the tokens fails, and the codes
// that are still under way lead to nothing.
func (s *Server) EndLogin(ctx context.Context, login string) error {
	if login == "" {
		return nil
	}
	if err := s.endCodes(ctx, byLogin(login)); err != nil {
		return err
	}
	return s.endAll(ctx, byLogin(login))
}

// endCodes ends the codes that are under way for somebody or to somebody.
func (s *Server) endCodes(ctx context.Context, of string) error {
	return s.config.Store.Update(ctx, func(w store.Writer) error {
		now := s.config.Now()
		return store.PutJSON(w, kindEnded, of, now, now.Add(2*codeLife))
	})
}

// EndGrant ends one grant, whoever gave it; none is no error.
func (s *Server) EndGrant(ctx context.Context, id string) error {
	return s.config.Store.Update(ctx, func(w store.Writer) error { return s.endGrant(w, id) })
}

// overtaken reports whether everything of the person, or of the client, was ended
// after they answered.
func (s *Server) overtaken(r store.Reader, g *grantRecord) (bool, error) {
	for _, of := range []string{byLogin(g.Identity.Login), byClient(g.ClientID)} {
		var ended time.Time
		err := get(r, s.config.Now(), kindEnded, of, &ended)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil || !g.Created.After(ended) {
			return err == nil, err
		}
	}
	return false, nil
}

// EndSession ends the grants with online_access that were given in a session, and
// the codes for such that are still under way.
func (s *Server) EndSession(ctx context.Context, sessionID string) error {
	if sessionID == "" {
		return nil
	}
	err := s.config.Store.Update(ctx, func(w store.Writer) error {
		return w.PutRecord(&store.Record{Kind: kindEnded, Key: indexed(sessionID), Expires: s.config.Now().Add(2 * codeLife)})
	})
	if err != nil {
		return err
	}
	return s.endAll(ctx, bySession(sessionID))
}

// Authenticate resolves a bearer token: one keyed hash and one look-up. Whatever
// is unknown, expired or revoked is an [*smart.Error] invalid_token (401).
func (s *Server) Authenticate(ctx context.Context, bearer string) (smart.Grant, error) {
	g, _, err := s.token(ctx, bearer)
	return g, err
}

// token resolves a bearer token, and tells whether a handle launched its grant.
func (s *Server) token(ctx context.Context, bearer string) (g smart.Grant, ehr bool, err error) {
	if len(bearer) < 20 || len(bearer) > 200 {
		return smart.Grant{}, false, invalidToken()
	}
	var rec *store.Record
	key := s.secrets.key(kindToken, bearer)
	err = s.config.Store.View(ctx, func(r store.Reader) error {
		rec, err = r.Record(kindToken, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return smart.Grant{}, false, invalidToken()
	}
	if err != nil {
		return smart.Grant{}, false, asError(err)
	}
	if expired(rec, s.config.Now()) {
		return smart.Grant{}, false, invalidToken()
	}
	g, ehr, err = decodeGrant(rec.Value)
	if err != nil {
		return smart.Grant{}, false, asError(err)
	}
	g.Expires = rec.Expires
	return g, ehr, nil
}

// endToken ends one access token of a client; the grant goes with it when
// nothing else lives from it. It reports whether the token belongs to another.
func (s *Server) endToken(w store.Writer, token, clientID string) (foreign bool, err error) {
	key := s.secrets.key(kindToken, token)
	rec, err := w.Record(kindToken, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	held, _, err := decodeGrant(rec.Value)
	if err != nil {
		return false, err
	}
	if held.ClientID != clientID {
		return true, nil
	}
	var g grantRecord
	if err := get(w, time.Time{}, kindGrant, held.ID, &g); errors.Is(err, store.ErrNotFound) {
		return false, w.DeleteRecord(kindToken, key)
	} else if err != nil {
		return false, err
	}
	g.Tokens = slices.DeleteFunc(g.Tokens, func(t tokenRef) bool { return t.Key == key })
	if err := w.DeleteRecord(kindToken, key); err != nil {
		return false, err
	}
	if len(g.Tokens) == 0 && g.Generation == 0 {
		return false, s.endGrant(w, g.ID)
	}
	grant, err := w.Record(kindGrant, g.ID)
	if err != nil {
		return false, err
	}
	return false, store.PutJSON(w, kindGrant, g.ID, &g, grant.Expires)
}
