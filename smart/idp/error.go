package idp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"mypatients/smart"
)

// The four ways in which a sign-in ends without a person. The texts are for the
// person; the causes, which name rules and never values, for the log.

func unavailable(cause error) *smart.Error {
	return &smart.Error{Code: "temporarily_unavailable", Description: "The sign-in service does not answer. Please try again in a moment.",
		Status: http.StatusServiceUnavailable, Cause: cause}
}

func stale(cause error) *smart.Error {
	return &smart.Error{Code: "invalid_request", Description: "This sign-in was not started here, or is no longer open. Please start again.",
		Status: http.StatusBadRequest, Cause: cause}
}

func failed(cause error) *smart.Error {
	return &smart.Error{Code: "access_denied", Description: "The sign-in could not be confirmed. Please start again.",
		Status: http.StatusForbidden, Cause: cause}
}

// refused passes on an error that the provider sent, if it is one of those that
// a caller can act on; it never repeats the provider's words.
func refused(code string) *smart.Error {
	cause := errors.New("the provider answered with another error")
	switch code {
	case "access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required", "temporarily_unavailable",
		"unmet_authentication_requirements":
		cause = errors.New("the provider answered " + code)
	default:
		code = "access_denied"
	}
	return &smart.Error{Code: code, Description: "You were not signed in.", Status: http.StatusForbidden, Cause: cause}
}

// plain says what went wrong without quoting what a provider sent.
func plain(err error, what string) error {
	var retrieve *oauth2.RetrieveError
	var expired *oidc.TokenExpiredError
	var mismatch *oidc.IssuerMismatchError
	var network net.Error
	switch {
	case errors.As(err, &retrieve) && retrieve.Response != nil:
		return fmt.Errorf("%s: the provider answered status %d", what, retrieve.Response.StatusCode)
	case errors.As(err, &expired):
		return fmt.Errorf("%s: it has expired", what)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s: the provider calls itself by another issuer", what)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network):
		return fmt.Errorf("%s: no answer from the provider", what)
	}
	return errors.New(what)
}
