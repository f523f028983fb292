package fhir

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
)

// issueCodes gives the issue type of each kind, for issues that have none of
// their own (https://hl7.org/fhir/R4/valueset-issue-type.html).
var issueCodes = [...]string{
	Internal: "exception", Invalid: "invalid", Unprocessable: "processing", Unauthenticated: "login",
	Forbidden: "forbidden", NotFound: "not-found", Unsupported: "not-supported", Gone: "deleted",
	Conflict: "conflict", Precondition: "conflict", MultipleMatches: "multiple-matches", TooBig: "too-costly",
	Throttled: "throttled", Unavailable: "transient",
}

// IssueCode gives the issue type that stands for a kind.
func (k Kind) IssueCode() string {
	if int(k) < len(issueCodes) {
		return issueCodes[k]
	}
	return "exception"
}

// Outcome gives the OperationOutcome of an error. Of one that is no [*Error], or
// of kind Internal, it says nothing but that it happened.
func Outcome(err error) []byte {
	var known *Error
	if !errors.As(err, &known) || known.Kind == Internal || len(known.Issues) == 0 {
		return OutcomeJSON([]Issue{{Severity: "fatal", Code: "exception", Text: "The server failed to do this."}})
	}
	issues := slices.Clone(known.Issues)
	for i := range issues {
		issues[i].Code = cmp.Or(issues[i].Code, known.Kind.IssueCode())
	}
	return OutcomeJSON(issues)
}

type outcome struct {
	ResourceType string         `json:"resourceType"`
	Issue        []outcomeIssue `json:"issue"`
}

type outcomeIssue struct {
	Severity    string          `json:"severity"`
	Code        string          `json:"code"`
	Details     *outcomeDetails `json:"details,omitempty"`
	Diagnostics string          `json:"diagnostics,omitempty"`
	Expression  []string        `json:"expression,omitempty"`
}

type outcomeDetails struct {
	Coding []outcomeCoding `json:"coding,omitempty"`
	Text   string          `json:"text,omitempty"`
}

type outcomeCoding struct {
	System string `json:"system,omitempty"`
	Code   string `json:"code"`
}

// OutcomeJSON gives an OperationOutcome of issues
// (https://hl7.org/fhir/R4/operationoutcome.html). Without issues it says that
// all is well.
func OutcomeJSON(issues []Issue) []byte {
	out := outcome{ResourceType: "OperationOutcome"}
	if len(issues) == 0 {
		issues = []Issue{{Severity: "information", Code: "informational", Text: "All OK"}}
	}
	for _, i := range issues {
		row := outcomeIssue{Severity: cmp.Or(i.Severity, "error"), Code: cmp.Or(i.Code, "processing"), Diagnostics: i.Text}
		if i.Expression != "" {
			row.Expression = []string{i.Expression}
		}
		if i.Text != "" {
			row.Details = &outcomeDetails{Text: i.Text}
		}
		if i.Detail != (Coding{}) {
			row.Details = &outcomeDetails{Coding: []outcomeCoding{{i.Detail.System, i.Detail.Code}}, Text: i.Text}
		}
		out.Issue = append(out.Issue, row)
	}
	body, err := json.Marshal(out)
	if err != nil { // strings only: cannot happen
		return []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception"}]}`)
	}
	return body
}

// limit sorts issues, drops repetitions and says so when there are too many:
// then warnings go first.
func limit(issues []Issue) []Issue {
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Expression, b.Expression), cmp.Compare(a.Text, b.Text))
	})
	issues = slices.Compact(issues)
	if len(issues) <= maxIssue {
		return issues
	}
	left := len(issues) - maxIssue
	issues = slices.DeleteFunc(issues, func(i Issue) bool {
		drop := left > 0 && !i.isFault()
		if drop {
			left--
		}
		return drop
	})
	return append(issues[:maxIssue:maxIssue], Issue{Severity: "information", Code: "incomplete",
		Text: "There are more issues than these " + strconv.Itoa(maxIssue) + "."})
}
