package authserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mypatients/smart"
)

// routes puts the guard before every endpoint.
func (s *Server) routes() http.Handler {
	library := s.front()
	form := s.guardForm(library)
	mux := http.NewServeMux()
	mux.Handle("/oauth/authorize", methods(http.HandlerFunc(s.serveAuthorize), http.MethodGet, http.MethodHead, http.MethodPost))
	mux.Handle("/oauth/token", methods(s.guardForm(s.nameRefresher(library)), http.MethodPost))
	mux.Handle("/oauth/revoke", methods(form, http.MethodPost))
	mux.Handle("/oauth/introspect", methods(s.introspectByBearer(form), http.MethodPost))
	mux.Handle("/oauth/userinfo", methods(s.guardUserInfo(library), http.MethodGet, http.MethodPost))
	mux.Handle("/oauth/jwks", methods(public(library), http.MethodGet, http.MethodHead))
	mux.Handle("/.well-known/openid-configuration", methods(public(library), http.MethodGet, http.MethodHead))
	mux.Handle("/.well-known/oauth-authorization-server", methods(public(http.HandlerFunc(s.serveMetadata)), http.MethodGet, http.MethodHead))
	mux.Handle("/oauth/register", methods(http.HandlerFunc(s.serveRegister), http.MethodPost))
	mux.Handle("/oauth/register/{id}", methods(http.HandlerFunc(s.serveRegistration), http.MethodGet, http.MethodPut, http.MethodDelete))
	return mux
}

// methods refuses every method but those given.
func methods(next http.Handler, allowed ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid_request", "error_description": "Method not allowed."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// noStore keeps answers with secrets out of every cache (RFC 6749 section 5.1).
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
}

func public(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = ""
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", seconds(age)))
		next.ServeHTTP(w, r)
	})
}

// guardForm lets through only what RFC 6749 section 3.2 describes: a form in the
// body, no parameter twice, nothing in the query. What the library answers with
// 400 though the client could not be authenticated becomes 401.
func (s *Server) guardForm(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noStore(w)
		if err := s.checkForm(w, r); err != nil {
			s.writeError(w, r, err)
			return
		}
		relay(w, r, next)
	})
}

// relay passes on what the library answers, with the status and the challenge
// that RFC 6749 section 5.2 and RFC 6750 section 3 ask for.
func relay(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	next.ServeHTTP(answer, r)
	var e struct{ Error string }
	if answer.status >= http.StatusBadRequest && json.Unmarshal(answer.body.Bytes(), &e) == nil {
		switch e.Error {
		case "invalid_client":
			answer.status = http.StatusUnauthorized
			if _, _, basic := r.BasicAuth(); basic {
				w.Header().Set("WWW-Authenticate", `Basic realm="oauth"`)
			}
		case "invalid_token", "insufficient_scope":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q", e.Error))
		}
		if answer.status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", retryAfter)
		}
	}
	w.WriteHeader(answer.status)
	w.Write(answer.body.Bytes())
}

// jwtBearer is the one type of client assertions (RFC 7523 section 2.2).
const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

var grantTypes = []string{smart.GrantCode, smart.GrantRefresh, smart.GrantClientCredentials}

// checkForm parses the form and checks its shape.
func (s *Server) checkForm(w http.ResponseWriter, r *http.Request) error {
	if !isForm(r) {
		return &smart.Error{Code: "invalid_request", Description: "A form is expected.", Status: http.StatusUnsupportedMediaType}
	}
	if r.URL.RawQuery != "" {
		return invalidRequest("Parameters belong in the body.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return invalidRequest("The form cannot be read.")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return invalidRequest("%s must not be repeated", printable(name))
		}
	}
	if r.PostForm.Has("authorization_details") {
		return oauthError("invalid_authorization_details", "authorization_details are not supported.")
	}
	// What the library refuses it repeats, in the answer and in its log.
	if t := r.PostForm.Get("grant_type"); t != "" && !slices.Contains(grantTypes, t) {
		return oauthError("unsupported_grant_type", "grant_type must be %s.", strings.Join(grantTypes, ", "))
	}
	if (r.PostForm.Has("client_assertion") || r.PostForm.Has("client_assertion_type")) && r.PostForm.Get("client_assertion_type") != jwtBearer {
		return invalidRequest("client_assertion_type must be %s.", jwtBearer)
	}
	methods := len(r.Header.Values("Authorization"))
	for _, name := range []string{"client_secret", "client_assertion"} {
		if r.PostForm.Has(name) {
			methods++
		}
	}
	if methods > 1 { // RFC 6749 section 2.3
		return invalidRequest("One way of authentication is expected.")
	}
	return nil
}

// A recorder holds a small answer back until its status is right.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// introspectByBearer answers callers that show a bearer token instead of client
// credentials; the library knows only the latter.
func (s *Server) introspectByBearer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := bearer(r)
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		noStore(w)
		if err := s.checkForm(w, r); err != nil {
			s.writeError(w, r, err)
			return
		}
		if r.PostForm.Get("client_assertion") != "" || r.PostForm.Get("token") == "" {
			s.writeError(w, r, invalidRequest("One authentication and one token are expected."))
			return
		}
		caller, err := s.Authenticate(r.Context(), token)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		answer, err := s.introspect(r.Context(), r.PostForm.Get("token"), tokensOf(caller))
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// guardUserInfo takes the token from the header only.
func (s *Server) guardUserInfo(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noStore(w)
		r.URL.RawQuery, r.Body = "", http.NoBody
		if bearer(r) == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_request", "error_description": "A bearer token is needed."})
			return
		}
		relay(w, r, next)
	})
}
