package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mypatients/fhir/store"
	"mypatients/smart"
)

func oauthError(code, format string, a ...any) *smart.Error {
	return &smart.Error{Code: code, Description: fmt.Sprintf(format, a...)}
}

func invalidRequest(format string, a ...any) *smart.Error {
	return oauthError("invalid_request", format, a...)
}

func invalidGrant(format string, a ...any) *smart.Error {
	return oauthError("invalid_grant", format, a...)
}

func invalidClient(format string, a ...any) *smart.Error {
	e := oauthError("invalid_client", format, a...)
	e.Status = http.StatusUnauthorized
	return e
}

func invalidToken() *smart.Error {
	e := oauthError("invalid_token", "The access token is unknown, expired or revoked.")
	e.Status = http.StatusUnauthorized
	return e
}

// asError gives the OAuth error to show for any error. What is not one already
// becomes a fixed sentence; its text stays in Cause.
func asError(err error) *smart.Error {
	var e *smart.Error
	if errors.As(err, &e) {
		if e.Status == 0 {
			c := *e
			c.Status = http.StatusBadRequest
			return &c
		}
		return e
	}
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrContention) {
		return &smart.Error{Code: "temporarily_unavailable", Description: "Try again in a moment.",
			Status: http.StatusServiceUnavailable, Cause: err}
	}
	return &smart.Error{Code: "server_error", Description: "Something went wrong on our side.",
		Status: http.StatusInternalServerError, Cause: err}
}

// writeError answers with the JSON of RFC 6749 section 5.2.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	s.logCause(r.Context(), e)
	if e.Code == "invalid_token" || e.Code == "insufficient_scope" {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q, error_description=%q", e.Code, e.Description))
	}
	writeJSON(w, e.Status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, e.Description})
}

func (s *Server) logCause(ctx context.Context, e *smart.Error) {
	if e.Cause != nil && e.Status >= http.StatusInternalServerError {
		s.log.ErrorContext(ctx, "oauth", "error", e.Code, "cause", e.Cause)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}
