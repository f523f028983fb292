package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/smart"
)

// authenticate tells who holds a bearer token, and as what they may act today:
// the token says what they were when it was given.
func (k *core) authenticate(ctx context.Context, bearer string) (smart.Grant, error) {
	grant, err := k.server.Authenticate(ctx, bearer)
	if err != nil {
		return smart.Grant{}, err
	}
	now, ok, err := k.guard.Today(ctx, grant.Identity)
	if err != nil {
		return smart.Grant{}, err
	}
	if !ok {
		return smart.Grant{}, &smart.Error{Code: "invalid_token", Status: http.StatusUnauthorized, Description: "The access token is unknown, expired or revoked."}
	}
	grant.Identity = now
	return grant, nil
}

// standing tells what is left today of a grant that a subscription was made with:
// of the app's access, and of what the person is.
func (k *core) standing(ctx context.Context, held smart.Grant) (smart.Grant, bool, error) {
	left, ok, err := k.server.Standing(ctx, held)
	if err != nil || !ok {
		return smart.Grant{}, false, err
	}
	left.Identity, ok, err = k.guard.Today(ctx, left.Identity)
	return left, ok, err
}

// current is [consent.Guard.Today] for the authorization server, which is made
// before the guard.
func (k *core) current(ctx context.Context, id smart.Identity) (smart.Identity, bool, error) {
	return k.guard.Today(ctx, id)
}

// general are the parameters of every type that select; the others of general use
// shape a result, which a scope cannot do.
var general = []string{"_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"}

// granular checks the search parameters of granular scopes against those that the
// type has now.
func granular(registry func() *search.Registry) func(typ string, params url.Values) error {
	return func(typ string, params url.Values) error {
		for name := range params {
			if strings.HasPrefix(name, "_") && !slices.Contains(general, name) {
				return errors.New("a parameter that does not select: " + name)
			}
		}
		if typ == "*" {
			typ = "Basic" // parameters for all types are those of any; what more Basic has is refused here
			for name := range params {
				if !slices.Contains(general, name) {
					return errors.New("not every type has the parameter " + name)
				}
			}
		}
		_, err := registry().Parse(fhir.Type(typ), params, search.Options{})
		return err
	}
}
