package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// maxForm bounds the forms that OAuth endpoints read, and maxRequest what an
// authorization request says, which is kept until it is answered.
const (
	maxForm    = 64 << 10
	maxRequest = 12 << 10
)

// serveAuthorize checks an authorization request (RFC 6749 section 4.1.1), parks
// it and sends the browser to the sign-in page. A cross-site POST brings no
// cookies, which is why nothing here asks for any.
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	form, err := authorizeForm(w, r)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	location, err := s.authorize(r.Context(), form)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	seeOther(w, location)
}

// authorizeForm reads the parameters of a GET from the query and of a POST from
// the body, and of nowhere else.
func authorizeForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		form, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, invalidRequest("The query cannot be read.")
		}
		return form, nil
	}
	if !isForm(r) {
		return nil, &smart.Error{Code: "invalid_request", Description: "A form is expected.", Status: http.StatusUnsupportedMediaType}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, invalidRequest("The form cannot be read.")
	}
	return r.PostForm, nil
}

func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// errorPage answers what must not be redirected.
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	s.logCause(r.Context(), e)
	if s.config.ErrorPage != nil {
		s.config.ErrorPage(w, r, e.Status, e.Description)
		return
	}
	http.Error(w, e.Description, e.Status)
}

// authorize gives the place to send the browser to: the sign-in page, or the app
// with an error. Its own error is for a page of ours: the app cannot be trusted
// with it.
func (s *Server) authorize(ctx context.Context, form url.Values) (location string, err error) {
	client, err := s.redirectable(ctx, form)
	if err != nil {
		return "", err
	}
	p, err := s.request(client.Client, form)
	if err == nil && !s.limits.mayPark(AddressOf(ctx), client.ID) {
		err = oauthError("temporarily_unavailable", "This app asks too often. Try again in a moment.")
	}
	if err == nil {
		var id string
		if id, err = s.park(ctx, p, client.Client, form.Get("launch")); err == nil {
			return s.config.LoginURL(id), nil
		}
	}
	e := asError(err)
	s.logCause(ctx, e)
	return s.errorRedirect(form.Get("redirect_uri"), form.Get("state"), e.Code, e.Description), nil
}

// redirectable finds the client and holds its redirect URI to the registration,
// on the raw value; until that is done nothing may be redirected.
func (s *Server) redirectable(ctx context.Context, form url.Values) (*clientRecord, error) {
	if len(form["client_id"]) != 1 || len(form["redirect_uri"]) != 1 {
		return nil, invalidRequest("The app must send one client_id and one redirect_uri.")
	}
	client, err := s.client(ctx, form.Get("client_id"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, invalidRequest("This app is not registered here.")
	}
	if err != nil {
		return nil, err
	}
	if !client.MatchRedirect(form.Get("redirect_uri")) {
		return nil, invalidRequest("The app asked to be answered at an address that is not registered for it.")
	}
	return client, nil
}

// request checks all that can be told back to the app.
func (s *Server) request(client smart.Client, form url.Values) (*pendingRecord, error) {
	size := 0
	for name, values := range form {
		size += len(name) + len(values[0])
		if len(values) > 1 {
			return nil, invalidRequest("%s must not be repeated", printable(name))
		}
		if len(values[0]) > 8<<10 {
			return nil, invalidRequest("%s is too long", printable(name))
		}
	}
	if size > maxRequest {
		return nil, invalidRequest("the request is longer than %d bytes", maxRequest)
	}
	if form.Get("request") != "" {
		return nil, oauthError("request_not_supported", "request objects are not supported")
	}
	if form.Get("request_uri") != "" {
		return nil, oauthError("request_uri_not_supported", "request objects are not supported")
	}
	if form.Has("authorization_details") {
		return nil, oauthError("invalid_authorization_details", "authorization_details are not supported")
	}
	if form.Get("response_type") == "" {
		return nil, invalidRequest("response_type is missing")
	}
	if form.Get("response_type") != "code" {
		return nil, oauthError("unsupported_response_type", "response_type must be code")
	}
	if mode := form.Get("response_mode"); mode != "" && mode != "query" {
		return nil, invalidRequest("response_mode must be query")
	}
	if !client.MayUse(smart.GrantCode) {
		return nil, oauthError("unauthorized_client", "the client is not registered for authorization_code")
	}
	if form.Get("code_challenge_method") != "S256" || !isChallenge(form.Get("code_challenge")) {
		return nil, invalidRequest("PKCE is required: code_challenge with code_challenge_method S256")
	}
	if err := s.checkAudience(form); err != nil {
		return nil, err
	}
	prompt, maxAge, err := promptAndAge(form)
	if err != nil {
		return nil, err
	}
	scopes, err := s.knownScopes(form.Get("scope"))
	if err != nil {
		return nil, err
	}
	scopes = scopes.Filter(func(sc smart.Scope) bool { return sc.Text != introspectScope })
	if !client.MayUse(smart.GrantRefresh) {
		scopes = scopes.Filter(func(sc smart.Scope) bool { return sc.Text != "offline_access" && sc.Text != "online_access" })
	}
	scopes = scopes.WithoutLevel("system").Narrow(smart.KnownScopes(client.Scope))
	if len(scopes) == 0 {
		return nil, oauthError("invalid_scope", "none of the scopes can be granted to this client")
	}
	return &pendingRecord{ClientID: client.ID, RedirectURI: form.Get("redirect_uri"), State: form.Get("state"),
		Challenge: form.Get("code_challenge"), Nonce: form.Get("nonce"), Scopes: scopes.String(),
		Prompt: prompt, MaxAge: maxAge, LoginHint: form.Get("login_hint"), ACRValues: strings.Fields(form.Get("acr_values")), Created: s.config.Now()}, nil
}

// knownScopes reads the scopes of a request: those of resource types that there
// are not are left out, as RFC 6749 section 3.3 lets a server do; a granular one
// that could not be kept as it is meant is refused, since an app that asked for a
// part would not expect to get nothing.
func (s *Server) knownScopes(list string) (smart.Scopes, error) {
	scopes := smart.KnownScopes(list).Filter(func(sc smart.Scope) bool {
		return sc.Level == "" || sc.Type == "*" || s.config.Types == nil || s.config.Types(sc.Type)
	})
	for _, sc := range scopes {
		if len(sc.Params) == 0 || s.config.Granular == nil {
			continue
		}
		if err := s.config.Granular(sc.Type, sc.Params); err != nil {
			return nil, &smart.Error{Code: "invalid_scope", Description: "The search parameters of a granular scope are not known or not well-formed: " + printable(sc.Text), Cause: err}
		}
	}
	return scopes, nil
}

// checkAudience holds aud (SMART) or resource (RFC 8707) to the one resource
// server there is; one trailing slash is tolerated.
func (s *Server) checkAudience(form url.Values) error {
	aud, resource := form.Get("aud"), form.Get("resource")
	if aud == "" {
		aud = resource
	}
	for _, v := range []string{aud, resource} {
		if v != "" && strings.TrimSuffix(v, "/") != s.config.FHIRBase || aud == "" {
			return invalidRequest("aud must be %s", s.config.FHIRBase)
		}
	}
	return nil
}

// longAge is the longest max_age in seconds that is told apart from more: ten
// years, which a time.Duration holds.
const longAge = 10 * 366 * 24 * 60 * 60

// promptAndAge reads OpenID Connect Core section 3.1.2.1. login asks for a fresh
// sign-in, which is what max_age=0 says too.
func promptAndAge(form url.Values) (prompt []string, maxAge *int, err error) {
	prompt = strings.Fields(form.Get("prompt"))
	for _, p := range prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) {
			return nil, nil, invalidRequest("prompt is not understood")
		}
	}
	if slices.Contains(prompt, "none") && len(prompt) > 1 {
		return nil, nil, invalidRequest("prompt=none stands alone")
	}
	if age := form.Get("max_age"); age != "" {
		n, err := strconv.Atoi(age)
		if err != nil || n < 0 {
			return nil, nil, invalidRequest("max_age must be a number of seconds")
		}
		n = min(n, longAge)
		maxAge = &n
	}
	if slices.Contains(prompt, "login") {
		maxAge = new(int)
	}
	return prompt, maxAge, nil
}

// isChallenge holds a S256 challenge: the base64url of 32 bytes.
func isChallenge(s string) bool {
	return len(s) == 43 && strings.IndexFunc(s, notBase64URL) < 0
}

func notBase64URL(c rune) bool {
	return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// printable keeps a foreign name from filling an error text.
func printable(s string) string {
	return strconv.QuoteToASCII(s[:min(len(s), 40)])
}

// errorRedirect is the answer of RFC 6749 section 4.1.2.1, with iss of RFC 9207.
func (s *Server) errorRedirect(redirectURI, state, code, description string) string {
	values := url.Values{"error": {code}, "iss": {s.config.Issuer}}
	if description != "" {
		values.Set("error_description", strings.Map(errorChar, description))
	}
	if state != "" {
		values.Set("state", state)
	}
	return withQuery(redirectURI, values)
}

// errorChar holds the characters that RFC 6749 allows in error_description.
func errorChar(c rune) rune {
	switch {
	case c == '"' || c == '\\':
		return '\''
	case c < ' ' || c > '~':
		return '?'
	}
	return c
}

// withQuery adds to the query that a redirect URI may have, and leaves the rest
// of it as it is.
func withQuery(uri string, values url.Values) string {
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	return uri + sep + values.Encode()
}
