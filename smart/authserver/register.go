package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// What a client may ask for that names no scope.
const (
	defaultAppScope     = "launch launch/patient launch/encounter openid fhirUser profile offline_access online_access patient/*.cruds user/*.cruds"
	defaultBackendScope = "system/*.cruds"
)

// A registration is the metadata of RFC 7591 section 2 that we understand.
type registration struct {
	ClientID      string          `json:"client_id,omitempty"`
	ClientSecret  string          `json:"client_secret,omitempty"`
	Name          string          `json:"client_name,omitempty"`
	RedirectURIs  []string        `json:"redirect_uris,omitempty"`
	Scope         string          `json:"scope,omitempty"`
	GrantTypes    []string        `json:"grant_types,omitempty"`
	ResponseTypes []string        `json:"response_types,omitempty"`
	AuthMethod    string          `json:"token_endpoint_auth_method,omitempty"`
	JWKS          json.RawMessage `json:"jwks,omitempty"`
	JWKSURI       string          `json:"jwks_uri,omitempty"`
	LaunchURI     string          `json:"launch_uri,omitempty"`
	LogoURI       string          `json:"logo_uri,omitempty"`
	MayLaunch     *bool           `json:"may_launch,omitempty"`
	Statement     string          `json:"software_statement,omitempty"`
}

// A registered is the answer of RFC 7591 section 3.2.1 and RFC 7592 section 3.
type registered struct {
	registration
	IssuedAt      int64  `json:"client_id_issued_at"`
	SecretExpires *int64 `json:"client_secret_expires_at,omitempty"`
	Token         string `json:"registration_access_token,omitempty"`
	URI           string `json:"registration_client_uri"`
}

// serveRegister registers a client (RFC 7591).
func (s *Server) serveRegister(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	refused := s.mayRegister(r)
	if refused != nil && (bearer(r) != "" || len(s.config.Statements) == 0) {
		s.writeError(w, r, refused)
		return
	}
	in, err := s.readRegistration(w, r, refused)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	if refused != nil && !s.limits.vouched.take(s.secrets.key("oauth.statement", in.Statement)) {
		w.Header().Set("Retry-After", retryAfter)
		s.writeError(w, r, tooMany("This software statement registers too many clients. Try again later."))
		return
	}
	in.ClientID = base64.RawURLEncoding.EncodeToString(randomBytes(16))
	client, secret, err := s.registered(in, nil)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	token := newSecret()
	rec := &clientRecord{Client: client, Created: s.config.Now(), Registration: s.secrets.key("oauth.registration", token),
		Statement: in.Statement, Vouched: refused != nil}
	err = s.config.Store.Update(r.Context(), func(tx store.Writer) error { return s.putClient(tx, &clientRecord{}, rec) })
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, s.describe(rec, secret, token))
}

func (s *Server) mayRegister(r *http.Request) error {
	if s.config.OpenRegistration {
		return nil
	}
	want := s.config.InitialAccessToken
	if want == "" {
		return &smart.Error{Code: "access_denied", Description: "Clients are registered by an administrator here.", Status: http.StatusForbidden}
	}
	got := sha256.Sum256([]byte(bearer(r)))
	sum := sha256.Sum256([]byte(want))
	if subtle.ConstantTimeCompare(got[:], sum[:]) != 1 {
		return invalidToken()
	}
	return nil
}

// readRegistration reads metadata, over which the claims of a software statement
// go. When there is no other right to register than that, refused is why.
func (s *Server) readRegistration(w http.ResponseWriter, r *http.Request, refused error) (*registration, error) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return nil, &smart.Error{Code: "invalid_client_metadata", Description: "JSON is expected.", Status: http.StatusUnsupportedMediaType}
	}
	var in registration
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxForm)).Decode(&in); err != nil {
		return nil, oauthError("invalid_client_metadata", "The body is not a client registration in JSON.")
	}
	if in.Statement != "" {
		return s.vouch(r.Context(), &in, refused != nil)
	}
	if refused != nil {
		return nil, refused
	}
	return &in, nil
}

// registered makes a client of its metadata, and a secret when it needs one and
// has none.
func (s *Server) registered(in *registration, old *clientRecord) (c smart.Client, secret string, err error) {
	if len(in.GrantTypes) == 0 {
		in.GrantTypes = []string{smart.GrantCode}
	}
	backend := slices.Contains(in.GrantTypes, smart.GrantClientCredentials)
	if in.AuthMethod == "" {
		in.AuthMethod = smart.AuthSecretBasic
		if len(in.JWKS) > 0 || in.JWKSURI != "" {
			in.AuthMethod = smart.AuthPrivateKeyJWT
		}
	}
	if len(in.ResponseTypes) > 0 && !slices.Equal(in.ResponseTypes, []string{"code"}) {
		return c, "", oauthError("invalid_client_metadata", "response_types: only code is supported")
	}
	scope := in.Scope
	if scope == "" {
		if slices.Contains(in.GrantTypes, smart.GrantCode) {
			scope = defaultAppScope
		}
		if backend && s.config.OpenRegistration {
			scope = strings.TrimSpace(scope + " " + defaultBackendScope)
		}
	}
	scopes := smart.KnownScopes(scope)
	if len(scopes) == 0 {
		return c, "", oauthError("invalid_client_metadata", "scope: none that can be granted")
	}
	c = smart.Client{ID: in.ClientID, Name: in.Name, RedirectURIs: in.RedirectURIs, Scope: scopes.String(), GrantTypes: in.GrantTypes,
		AuthMethod: in.AuthMethod, JWKS: in.JWKS, JWKSURI: in.JWKSURI, LaunchURI: in.LaunchURI, LogoURI: in.LogoURI}
	if c.MayUse(smart.GrantCode) && !c.MayUse(smart.GrantRefresh) && (scopes.Has("offline_access") || scopes.Has("online_access")) {
		c.GrantTypes = append(slices.Clone(c.GrantTypes), smart.GrantRefresh)
	}
	if backend && s.config.OpenRegistration {
		c.MayLaunch = in.MayLaunch == nil || *in.MayLaunch
	}
	if old != nil {
		c.SecretHash, c.TokenLife, c.RefreshLife, c.MayLaunch = old.SecretHash, old.TokenLife, old.RefreshLife, old.MayLaunch
	}
	if c.AuthMethod != smart.AuthSecretBasic {
		c.SecretHash = nil
	} else if len(c.SecretHash) == 0 {
		secret = newSecret()
		c.SecretHash = hashSecret(secret)
	}
	return c, secret, s.checkClient(c)
}

// describe tells a client what is registered of it.
func (s *Server) describe(c *clientRecord, secret, token string) *registered {
	out := &registered{IssuedAt: c.Created.Unix(), Token: token, URI: s.config.Issuer + "/oauth/register/" + c.ID,
		registration: registration{ClientID: c.ID, ClientSecret: secret, Name: c.Name, RedirectURIs: c.RedirectURIs, Scope: c.Scope,
			GrantTypes: c.GrantTypes, AuthMethod: c.AuthMethod, JWKS: c.JWKS, JWKSURI: c.JWKSURI, LaunchURI: c.LaunchURI, LogoURI: c.LogoURI, Statement: c.Statement}}
	if c.MayUse(smart.GrantCode) {
		out.ResponseTypes = []string{"code"}
	}
	if c.MayLaunch {
		out.MayLaunch = &c.MayLaunch
	}
	if secret != "" {
		out.SecretExpires = new(int64) // never
	}
	return out
}

// serveRegistration reads, replaces and removes a registration, for the holder of
// its registration access token (RFC 7592).
func (s *Server) serveRegistration(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	client, err := s.client(r.Context(), r.PathValue("id"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.writeError(w, r, err)
		return
	}
	hash := s.secrets.key("oauth.registration", bearer(r))
	if err != nil || client.Registration == "" || subtle.ConstantTimeCompare([]byte(hash), []byte(client.Registration)) != 1 {
		s.writeError(w, r, invalidToken())
		return
	}
	switch r.Method {
	case http.MethodGet:
		writeJSON(w, http.StatusOK, s.describe(client, "", ""))
	case http.MethodPut:
		s.replaceRegistration(w, r, client)
	case http.MethodDelete:
		if err := s.RemoveClient(r.Context(), client.ID); err != nil {
			s.writeError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// replaceRegistration stores new metadata; tokens that were issued keep their
// scopes until the next refresh cuts them down.
func (s *Server) replaceRegistration(w http.ResponseWriter, r *http.Request, old *clientRecord) {
	var refused error
	if old.Vouched {
		refused = oauthError("invalid_software_statement", "What a software statement registered changes by another one only.")
	}
	in, err := s.readRegistration(w, r, refused)
	if err == nil && in.ClientID != old.ID {
		err = oauthError("invalid_client_metadata", "client_id does not fit the address")
	}
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	var rec *clientRecord
	var secret string
	err = s.config.Store.Update(r.Context(), func(tx store.Writer) error {
		current, err := s.clientRecord(tx, old.ID) // again, here: an administrator may have changed it meanwhile
		if errors.Is(err, store.ErrNotFound) {
			return invalidToken()
		}
		if err != nil {
			return err
		}
		next := *in
		if err := s.holdTo(tx, &next, current); err != nil {
			return err
		}
		client, made, err := s.registered(&next, current)
		if err != nil {
			return err
		}
		secret = made
		rec = &clientRecord{Client: client, Created: current.Created, Registration: current.Registration, Statement: in.Statement, Vouched: current.Vouched}
		return s.putClient(tx, current, rec)
	})
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, s.describe(rec, secret, ""))
}

// holdTo keeps a client that replaces its own registration from gaining by it: it
// stays within the scopes that it was given, and takes over neither an origin of
// another client nor what is named by code in a scope, which lead to state that
// other apps keep here. Where anyone may register anything there is nothing to hold.
func (s *Server) holdTo(r store.Reader, in *registration, old *clientRecord) error {
	if s.config.OpenRegistration {
		return nil
	}
	given := smart.KnownScopes(old.Scope)
	if in.Scope == "" {
		in.Scope = old.Scope
	}
	in.Scope = smart.KnownScopes(in.Scope).Filter(func(sc smart.Scope) bool {
		return !sc.Params.Has("code") || !sc.Covers("Basic") || given.Has(sc.Text)
	}).Narrow(given).String()
	if in.Scope == "" {
		return oauthError("invalid_client_metadata", "scope: none that this client was registered for")
	}
	before := old.Origins()
	for _, origin := range (smart.Client{RedirectURIs: in.RedirectURIs, LaunchURI: in.LaunchURI}).Origins() {
		if slices.Contains(before, origin) || strings.HasPrefix(origin, "http:") { // of the person's own device
			continue
		}
		taken, err := r.Records(kindOrigin, origin+" ", "", 1)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return &smart.Error{Code: "invalid_redirect_uri", Description: "redirect_uris and launch_uri must not lead to where another client runs"}
		}
	}
	return nil
}

// bearer gives the token of an Authorization header (RFC 6750 section 2.1).
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// age is how long public documents may be cached.
const age = 5 * time.Minute
