package rest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"mypatients/consent"
	"mypatients/fhir"
)

// validate: https://hl7.org/fhir/R4/resource-operation-validate.html
//
//	POST [type]/$validate, [type]/[id]/$validate; GET [type]/[id]/$validate
//
// The resource is the body, with mode and profile in the query, or all three are
// in Parameters. 200 with an OperationOutcome, also when it says that all is
// wrong · 400 no FHIR JSON, or a mode that makes no sense · 404 hidden · 422 a
// profile that is not known.
func (q *request) validate() error {
	v := consent.Validation{Type: q.typ, ID: q.id, Mode: q.query.Get("mode"), Profile: q.query.Get("profile")}
	given := map[string]string{"mode": "http.mode", "profile": "http.profile"}
	for name, at := range given {
		if len(q.query[name]) > 1 {
			return fhir.ElementErrorf(fhir.Invalid, at, "This parameter may be given once.")
		}
		delete(q.query, name)
	}
	if err := q.noQuery(); err != nil {
		return err
	}
	if q.Request.Method == http.MethodPost && q.Request.ContentLength != 0 {
		body, err := q.resourceBody()
		if err != nil {
			return err
		}
		v.Body = body
		if err := unwrap(&v, given); err != nil {
			return err
		}
	}
	issues, err := q.h.Guard.Validate(q.Request.Context(), q.caller, v)
	if err != nil {
		return where(err, given)
	}
	if len(issues) == 0 {
		issues = []fhir.Issue{{Severity: "information", Code: "informational", Text: "Nothing is wrong with this."}}
	}
	q.Header("Cache-Control", "no-store")
	q.write(http.StatusOK, fhir.OutcomeJSON(issues))
	return nil
}

// where names the parameters that an error is about by the place where they were
// given.
func where(err error, given map[string]string) error {
	known, ok := err.(*fhir.Error)
	if !ok {
		return err
	}
	named := *known
	named.Issues = slices.Clone(known.Issues)
	for i, issue := range named.Issues {
		if at, found := given[issue.Expression]; found {
			named.Issues[i].Expression = at
		}
	}
	return &named
}

// wrapped are the Parameters of $validate. Their resource is not looked at here:
// what is wrong with it is the answer.
type wrapped struct {
	ResourceType string `json:"resourceType"`
	Parameter    []struct {
		Name      string         `json:"name"`
		Resource  jsontext.Value `json:"resource"`
		Code      string         `json:"valueCode"`
		URI       string         `json:"valueUri"`
		Canonical string         `json:"valueCanonical"`
		String    string         `json:"valueString"`
	} `json:"parameter"`
}

// unwrap takes the parameters out of a body that is Parameters. Any other body is
// the resource itself; one that is no JSON is left for the guard to say so. Where
// mode and profile stand is noted in given.
func unwrap(v *consent.Validation, given map[string]string) error {
	var w wrapped
	if err := json.Unmarshal(v.Body, &w); err != nil || w.ResourceType != "Parameters" {
		return nil
	}
	if v.Type == "Parameters" && !w.has("resource") {
		return nil
	}
	v.Body = nil
	seen := map[string]bool{}
	for i, p := range w.Parameter {
		at := fmt.Sprintf("Parameters.parameter[%d]", i)
		if seen[p.Name] {
			return fhir.ElementErrorf(fhir.Invalid, at, "This parameter may be given once.")
		}
		seen[p.Name] = true
		value := p.Code + p.URI + p.Canonical + p.String
		switch p.Name {
		case "resource":
			if v.Body = p.Resource; v.Body == nil {
				return fhir.ElementErrorf(fhir.Invalid, at, "This parameter must hold a resource.")
			}
		case "mode":
			v.Mode, given["mode"] = value, at
		case "profile":
			v.Profile, given["profile"] = value, at
		default:
			return fhir.ElementErrorf(fhir.Invalid, at, "This operation has no such parameter.")
		}
	}
	return nil
}

func (w *wrapped) has(name string) bool {
	for _, p := range w.Parameter {
		if p.Name == name {
			return true
		}
	}
	return false
}
