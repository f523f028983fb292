// Package rest is the FHIR REST binding (https://hl7.org/fhir/R4/http.html) over
// Gin. It parses a request once into typed values, asks who the bearer of the
// token is, hands both to the guard, and writes the answer; it decides nothing
// about access, and knows neither the engine nor how tokens are checked.
//
// Every answer is JSON, and every error an OperationOutcome; the table that
// gives each kind of error its status is in outcome.go. What the guard does not
// say on purpose never reaches a caller.
//
// # Differences from the specification
//
// XML and Turtle are not spoken (406, 415); a patch is a JSON Patch.
//
// A batch or transaction is answered as with return=minimal unless Prefer says
// otherwise. A transaction holds no operations; a batch may, each entry being
// what it would be alone, but no exports. Conditional deletion deletes one resource; criteria
// that match several are refused (412). What the caller may not see matches
// nothing: a conditional creation then adds a second resource rather than tell of
// a hidden one. Criteria are always read strictly, whatever Prefer says. Deleting
// what was never there is answered with 404, since that is what the hidden gets.
package rest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/smart"
)

// Config is what the binding needs. All but MaxBody and Prolong are required.
type Config struct {
	Guard *consent.Guard
	// Authenticate says who holds a bearer token. For one that is unknown, expired
	// or revoked it returns a *smart.Error with the code invalid_token.
	Authenticate func(ctx context.Context, bearer string) (smart.Grant, error)
	// OriginAllowed tells whether a registered app runs in a web origin; nil: any
	// origin is let in.
	OriginAllowed func(ctx context.Context, origin string) bool
	Base          string         // absolute URL of the FHIR base, without a slash at its end
	Zone          *time.Location // the site's zone: in it a day given without one begins and ends
	MaxBody       int64          // bytes; 0: 50 MB
	// Prolong gives an answer that is sent in parts the time that any answer has, from
	// now on; nil: an answer has time enough.
	Prolong func(http.ResponseWriter)
}

// Keys under which the binding leaves, in the gin context, what a log of
// requests may tell: the interaction, and the ids of client and grant.
const (
	LogInteraction = "rest.interaction"
	LogClient      = "rest.client"
	LogGrant       = "rest.grant"
)

// RequestIDHeader names the header that carries a request's id. Whoever stands
// before this binding sets it on the response; errors quote it.
const RequestIDHeader = "X-Request-Id"

type handler struct {
	Config
	prefix string // path of Base
}

// Mount registers everything under the path of Base. It takes the whole subtree
// but for paths registered more exactly by others, such as
// .well-known/smart-configuration.
func Mount(r gin.IRouter, c Config) error {
	base, err := url.Parse(c.Base)
	switch {
	case err != nil || !base.IsAbs() || base.Path == "" || strings.HasSuffix(c.Base, "/"):
		return errors.New("rest: Base must be an absolute URL with a path and without a slash at its end")
	case c.Guard == nil || c.Authenticate == nil || c.Zone == nil:
		return errors.New("rest: Guard, Authenticate and Zone are required")
	}
	if c.MaxBody == 0 {
		c.MaxBody = 50 << 20
	}
	h := &handler{Config: c, prefix: base.Path}
	// Gin lets a static branch hide a parameter branch, so there are only
	// parameters here, and one dispatcher behind them (route.go).
	for _, shape := range []string{"", "/", "/:type", "/:type/", "/:type/:id", "/:type/:id/", "/:type/:id/:op", "/:type/:id/:op/*rest"} {
		r.Any(h.prefix+shape, h.serve)
	}
	return nil
}

// serve answers any request under the base.
func (h *handler) serve(c *gin.Context) {
	q := &request{Context: c, h: h}
	h.crossOrigin(c)
	if c.Request.Method == http.MethodOptions {
		c.Set(LogInteraction, "options")
		c.Header("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		c.Header("Accept-Patch", jsonPatch)
		c.Status(http.StatusNoContent)
		return
	}
	if err := q.run(); err != nil {
		q.fail(err)
	}
}

// run takes a request through its steps, the same for each interaction.
func (q *request) run() error {
	if err := q.parse(); err != nil {
		return err
	}
	target, err := q.route()
	if err != nil {
		return err
	}
	q.Set(LogInteraction, target.name)
	if !target.file {
		if err := q.negotiate(); err != nil {
			return err
		}
	}
	if target.public != nil && target.public(q) {
		return nil
	}
	if target.find == nil {
		if err := q.authenticate(); err != nil {
			return err
		}
		return target.run(q)
	}
	var answer func()
	given, query := q.Request, q.query
	err = q.h.Guard.Foresee(given.Context(), func(ctx context.Context) (err error) {
		q.Request, q.query = given.WithContext(ctx), maps.Clone(query)
		if err := q.authenticate(); err != nil {
			return err
		}
		answer, err = target.find(q)
		return err
	})
	q.Request = given
	if err != nil {
		return err
	}
	answer()
	return nil
}

// authenticate finds the grant behind the bearer token (RFC 6750 section 2.1;
// tokens in the form or the query are not taken).
func (q *request) authenticate() error {
	headers := q.Request.Header.Values("Authorization")
	if len(headers) == 0 {
		return refuse(http.StatusUnauthorized, "login", "This needs an access token.")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return refuse(http.StatusUnauthorized, "login", "This needs one Authorization header of the form \"Bearer token\".")
	}
	q.tokenSent = true
	grant, err := q.h.Authenticate(q.Request.Context(), token)
	if err != nil {
		return err
	}
	q.Set(LogClient, grant.ClientID)
	q.Set(LogGrant, grant.ID)
	q.caller = consent.Caller{Grant: grant, Address: q.ClientIP(), RequestID: q.requestID()}
	return nil
}

func (q *request) requestID() string { return q.Writer.Header().Get(RequestIDHeader) }
