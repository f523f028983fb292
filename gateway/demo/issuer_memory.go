package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	requestLife = time.Hour
	codeLife    = time.Minute
	accessLife  = 5 * time.Minute
	sessionLife = 8 * time.Hour
)

var errAbsent = errors.New("demo: no such thing, or no longer")

// memory is the issuer's storage. It is lost with the process, and people sign
// in again.
type memory struct {
	now    func() time.Time
	people map[string]Person
	party  *party

	mu       sync.Mutex
	keys     []signingKey // newest last
	requests map[string]*request
	codes    map[string]*request
	tokens   map[string]access
	sessions map[string]session
}

type access struct {
	subject string
	scopes  []string
	expires time.Time
}

// A session is a browser in which someone signed in.
type session struct {
	username string
	at       time.Time
}

var _ op.Storage = (*memory)(nil)

func newMemory(cfg IssuerConfig, issuer, secret string) *memory {
	m := &memory{now: cfg.Now, people: map[string]Person{},
		party:    &party{secret: secret, redirects: cfg.RedirectURLs, signedOut: cfg.SignedOut, login: issuer + "/login?request="},
		requests: map[string]*request{}, codes: map[string]*request{}, tokens: map[string]access{}, sessions: map[string]session{}}
	for _, p := range cfg.People {
		m.people[p.Username] = p
	}
	return m
}

// prune drops what has expired; every addition calls it, so nothing piles up.
func (m *memory) prune() {
	now := m.now()
	old := func(_ string, r *request) bool { return now.After(r.created.Add(requestLife)) }
	maps.DeleteFunc(m.requests, old)
	maps.DeleteFunc(m.codes, old)
	maps.DeleteFunc(m.tokens, func(_ string, t access) bool { return now.After(t.expires) })
	maps.DeleteFunc(m.sessions, func(_ string, s session) bool { return now.After(s.at.Add(sessionLife)) })
}

// CreateAuthRequest implements op.Storage, as do the methods below.
func (m *memory) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune()
	kept := &request{id: rand.Text(), asked: *r, created: m.now()}
	m.requests[kept.id] = kept
	return kept, nil
}

func (m *memory) request(id string) (*request, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.requests[id]
	if !ok || m.now().After(r.created.Add(requestLife)) {
		return nil, errAbsent
	}
	return r, nil
}

// finish settles who signed in and gives the code; it works once.
func (m *memory) finish(id string, s session) (*request, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.requests[id]
	if !ok {
		return nil, "", errAbsent
	}
	delete(m.requests, id)
	done := *r
	done.subject, done.at, done.coded = s.username, s.at, m.now()
	code := rand.Text()
	m.codes[code] = &done
	return &done, code, nil
}

func (m *memory) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	return m.request(id)
}

// AuthRequestByCode takes the code: of two that present it one gets an answer.
func (m *memory) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.codes[code]
	if !ok {
		return nil, errAbsent
	}
	delete(m.codes, code)
	if m.now().After(r.coded.Add(codeLife)) {
		return nil, errAbsent
	}
	return r, nil
}

func (m *memory) SaveAuthCode(context.Context, string, string) error     { return errAbsent }
func (m *memory) DeleteAuthRequest(context.Context, string) error        { return nil }
func (m *memory) TerminateSession(context.Context, string, string) error { return nil }
func (m *memory) Health(context.Context) error                           { return nil }
func (m *memory) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (m *memory) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune()
	id, expires := rand.Text(), m.now().Add(accessLife)
	m.tokens[id] = access{r.GetSubject(), r.GetScopes(), expires}
	return id, expires, nil
}

func (m *memory) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, subject, _ string) error {
	m.mu.Lock()
	token, ok := m.tokens[id]
	m.mu.Unlock()
	if !ok || token.subject != subject || m.now().After(token.expires) {
		return errAbsent
	}
	m.describe(info, subject, token.scopes)
	return nil
}

// describe fills in what the scopes allow to be said of a person.
func (m *memory) describe(info *oidc.UserInfo, subject string, scopes []string) {
	p := m.people[subject]
	info.Subject = subject
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = p.Name, p.Username
	}
	if slices.Contains(scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = p.Email, true
	}
}

func (m *memory) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != partyID {
		return nil, oidc.ErrInvalidClient().WithDescription("unknown client")
	}
	return m.party, nil
}

func (m *memory) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != partyID || subtle.ConstantTimeCompare([]byte(secret), []byte(m.party.secret)) != 1 {
		return oidc.ErrInvalidClient().WithDescription("wrong client secret")
	}
	return nil
}

// signIn keeps a new session and gives its id.
func (m *memory) signIn(username string) (string, session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune()
	id, s := rand.Text(), session{username, m.now()}
	m.sessions[id] = s
	return id, s
}

func (m *memory) session(id string) (session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	return s, ok && !m.now().After(s.at.Add(sessionLife))
}

func (m *memory) signOut(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, id)
}

// What the issuer does not offer: refresh, revocation, introspection, JWTs of
// clients. The library asks for the methods all the same.

func (m *memory) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, oidc.ErrUnsupportedGrantType()
}

func (m *memory) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, oidc.ErrUnsupportedGrantType()
}

func (m *memory) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return oidc.ErrInvalidRequest()
}

func (m *memory) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (m *memory) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errAbsent
}

func (m *memory) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (m *memory) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errAbsent
}

func (m *memory) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, oidc.ErrUnsupportedGrantType()
}

// signingKey is an op.SigningKey; its public half is an op.Key.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

type publicKey struct{ signingKey }

func (k publicKey) Key() any                           { return &k.private.PublicKey }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }

func (m *memory) rotate() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = append(m.keys, signingKey{rand.Text(), private})
	return nil
}

func (m *memory) SigningKey(context.Context) (op.SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[len(m.keys)-1], nil
}

func (m *memory) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (m *memory) KeySet(context.Context) ([]op.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]op.Key, len(m.keys))
	for i, k := range m.keys {
		keys[i] = publicKey{k}
	}
	return keys, nil
}
