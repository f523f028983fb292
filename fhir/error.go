package fhir

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind classes an error; code branches on the kind, people read the text.
type Kind uint8

// The closed list of kinds. Each has one row in the table of statuses of
// gateway/rest.
const (
	Internal        Kind = iota // 500 exception; also what any foreign error counts as
	Invalid                     // 400 invalid, structure
	Unprocessable               // 422 processing, business-rule
	Unauthenticated             // 401 login
	Forbidden                   // 403 forbidden
	NotFound                    // 404 not-found; also what may not be known
	Unsupported                 // 404, 405 or 400 not-supported
	Gone                        // 410 deleted
	Conflict                    // 409 conflict
	Precondition                // 412 conflict
	MultipleMatches             // 412 multiple-matches
	TooBig                      // 413 too-costly
	Throttled                   // 429 throttled
	Unavailable                 // 503 transient
)

var kindNames = [...]string{"internal", "invalid", "unprocessable", "unauthenticated", "forbidden", "not found",
	"unsupported", "gone", "conflict", "precondition failed", "multiple matches", "too big", "throttled", "unavailable"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Issue is one row of an OperationOutcome
// (https://hl7.org/fhir/R4/operationoutcome.html).
type Issue struct {
	Severity   string // fatal, error, warning, information; empty means error
	Code       string // a code of the issue-type value set; empty means the kind's own
	Text       string // diagnostics, for people; says nothing a caller may not know
	Expression string // the element, as a simple FHIRPath; empty when there is none
	Detail     Coding // details.coding; zero when there is none
}

// isFault reports whether an issue is more than a warning.
func (i Issue) isFault() bool { return i.Severity != "warning" && i.Severity != "information" }

// A Coding is a code of a code system.
type Coding struct{ System, Code string }

// An Error is what every FHIR operation of the gateway returns when it refuses.
// Its text is fit for the caller; a cause, when there is one, is for the log only.
type Error struct {
	Kind   Kind
	Issues []Issue // at least one
	Cause  error   // for the log; nil when the caller is at fault
}

func (e *Error) Error() string {
	texts := make([]string, 0, len(e.Issues))
	for _, i := range e.Issues {
		if i.Expression != "" {
			texts = append(texts, i.Expression+": "+i.Text)
		} else {
			texts = append(texts, i.Text)
		}
	}
	s := e.Kind.String() + ": " + strings.Join(texts, "; ")
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of a kind with one issue.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Issues: []Issue{{Text: fmt.Sprintf(format, args...)}}}
}

// ElementErrorf makes an error of a kind with one issue about an element.
func ElementErrorf(k Kind, expression, format string, args ...any) *Error {
	return &Error{Kind: k, Issues: []Issue{{Text: fmt.Sprintf(format, args...), Expression: expression}}}
}

// KindOf gives the kind of an error: that of the first [*Error] in its chain,
// Internal for any other.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// ErrNotFound is the one answer for what is absent and for what the caller may
// not know of; it carries no detail so that the two look alike.
func ErrNotFound() *Error { return Errorf(NotFound, "No such resource.") }
