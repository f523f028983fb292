package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// statuses is the one table from kinds of errors to HTTP; their issue codes are
// [fhir.Kind.IssueCode]. A kind that is missing here is a 500.
var statuses = map[fhir.Kind]int{
	fhir.Invalid:         http.StatusBadRequest,
	fhir.Unprocessable:   http.StatusUnprocessableEntity,
	fhir.Unauthenticated: http.StatusUnauthorized,
	fhir.Forbidden:       http.StatusForbidden,
	fhir.NotFound:        http.StatusNotFound,
	fhir.Unsupported:     http.StatusBadRequest,
	fhir.Gone:            http.StatusGone,
	fhir.Conflict:        http.StatusConflict,
	fhir.Precondition:    http.StatusPreconditionFailed,
	fhir.MultipleMatches: http.StatusPreconditionFailed,
	fhir.TooBig:          http.StatusRequestEntityTooLarge,
	fhir.Throttled:       http.StatusTooManyRequests,
	fhir.Unavailable:     http.StatusServiceUnavailable,
}

// A refusal is an error that only HTTP knows: no kind has its status.
type refusal struct {
	status int
	issue  fhir.Issue
}

func (r *refusal) Error() string { return r.issue.Text }

func refuse(status int, code, text string) *refusal {
	return &refusal{status, fhir.Issue{Code: code, Text: text}}
}

// fail writes an error. It is the only place that does.
func (q *request) fail(err error) {
	status, issues := q.classify(err)
	if status >= http.StatusInternalServerError {
		_ = q.Context.Error(err) // for the log of requests
	}
	switch status {
	case http.StatusUnauthorized:
		if u := unproven(err); u != nil {
			q.Header("WWW-Authenticate", stepUpChallenge(u))
			break
		}
		challenge := `Bearer realm="fhir"`
		if q.tokenSent {
			challenge += `, error="invalid_token", error_description="The access token is not valid."`
		}
		q.Header("WWW-Authenticate", challenge)
	case http.StatusForbidden:
		q.Header("WWW-Authenticate", `Bearer realm="fhir", error="insufficient_scope"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		q.Header("Retry-After", "30")
	}
	if q.media == "" { // refused before the media type was settled
		q.media = fhirJSON
	}
	q.Header("Cache-Control", "no-store")
	q.write(status, fhir.OutcomeJSON(issues))
}

func (q *request) classify(err error) (int, []fhir.Issue) {
	var r *refusal
	if errors.As(err, &r) {
		return r.status, []fhir.Issue{r.issue}
	}
	var known *fhir.Error
	if errors.As(err, &known) {
		if unproven(err) != nil {
			return http.StatusUnauthorized, withCodes(known.Issues, "login")
		}
		if status, ok := statuses[known.Kind]; ok {
			return status, withCodes(known.Issues, known.Kind.IssueCode())
		}
		return q.internal()
	}
	var denied *smart.Error
	if errors.As(err, &denied) {
		switch denied.Code {
		case "invalid_token":
			return http.StatusUnauthorized, []fhir.Issue{{Code: "login", Text: "The access token is not valid."}}
		case "insufficient_scope":
			return http.StatusForbidden, []fhir.Issue{{Code: "forbidden", Text: "The access token does not permit this."}}
		case "temporarily_unavailable":
			return http.StatusServiceUnavailable, []fhir.Issue{{Code: "transient", Text: "The database cannot be reached at the moment."}}
		}
	}
	if errors.Is(err, context.Canceled) && q.Request.Context().Err() != nil {
		return http.StatusServiceUnavailable, []fhir.Issue{{Code: "transient", Text: "The request was given up."}}
	}
	return q.internal()
}

// unproven gives the rule that a sign-in does not satisfy; nil: it is another error.
func unproven(err error) *consent.Unproven {
	var u *consent.Unproven
	errors.As(err, &u)
	return u
}

// stepUpChallenge tells an app to send the person to sign in again, and how (RFC
// 9470 section 3).
func stepUpChallenge(u *consent.Unproven) string {
	how := fmt.Sprintf(`max_age="%d"`, int(u.Within.Seconds()))
	if len(u.ACR) > 0 {
		how = fmt.Sprintf(`acr_values="%s", %s`, strings.Join(u.ACR, " "), how)
	}
	return `Bearer realm="fhir", error="insufficient_user_authentication", error_description="A stronger or newer sign-in is needed.", ` + how
}

func (q *request) internal() (int, []fhir.Issue) {
	return http.StatusInternalServerError, []fhir.Issue{{
		Severity: "fatal", Code: "exception",
		Text: "Something went wrong here. The id of this request is " + strconv.Quote(q.requestID()) + ".",
	}}
}

func withCodes(issues []fhir.Issue, code string) []fhir.Issue {
	list := make([]fhir.Issue, len(issues))
	for i, issue := range issues {
		if issue.Code == "" {
			issue.Code = code
		}
		list[i] = issue
	}
	return list
}

// Fail answers a request that did not reach the binding, or that it failed on,
// with the outcome of an error.
func Fail(c *gin.Context, err error) { (&request{Context: c}).fail(err) }

// Refuse answers a request that did not reach the binding with a status of 4xx.
func Refuse(c *gin.Context, status int, text string) {
	Fail(c, refuse(status, "not-supported", text))
}
