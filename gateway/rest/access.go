package rest

import (
	"errors"
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
)

// access: may the caller see this record, why, and if not, what can they do; for an
// administrator, with as, the same of somebody else.
func (q *request) access() error {
	as, given, err := q.accessAs()
	if err != nil {
		return err
	}
	var report *consent.AccessReport
	if given {
		report, err = q.h.Guard.AccessFor(q.Request.Context(), q.caller, q.id, as)
	} else {
		report, err = q.h.Guard.Access(q.Request.Context(), q.caller, q.id)
	}
	if err != nil {
		return q.inQuery(err, "as")
	}
	rows := []result{row("permitted", "valueBoolean", report.Permitted)}
	if report.As != "" {
		rows = append(rows, row("role", "valueCode", string(report.As)))
	}
	for _, b := range report.Bases {
		rows = append(rows, row("basis", "valueCoding", q.coding("access-basis", string(b.Code))))
	}
	for _, b := range report.Bases {
		if parts := q.basisSource(b); len(parts) > 1 {
			rows = append(rows, row("basis-source", "part", parts))
		}
	}
	for _, limit := range report.Limits {
		rows = append(rows, row("limit", "valueCoding", q.coding("access-limit", limit)))
	}
	for _, next := range report.Next {
		rows = append(rows, row("next", "valueCoding", q.coding("access-next", next)))
	}
	if !report.From.IsZero() {
		rows = append(rows, row("from", "valueDateTime", instant(report.From)))
	}
	return q.parameters(http.StatusOK, rows)
}

// accessAs takes the parameter as, from the query or the body.
func (q *request) accessAs() (as string, given bool, err error) {
	if q.Request.Method == http.MethodPost {
		a, err := q.arguments()
		if err != nil {
			return "", false, err
		}
		_, given = a.one("as")
		as = a.subject("as")
		return as, given, a.finish()
	}
	values, given := q.query["as"]
	if len(values) > 1 {
		return "", false, fhir.ElementErrorf(fhir.Invalid, "http.as", "as may be given once.")
	}
	delete(q.query, "as")
	if given {
		as = values[0]
	}
	return as, given, q.noQuery()
}

// basisSource is a basis with the resource it comes from, as far as the caller may
// know it, and its end.
func (q *request) basisSource(b consent.Basis) []result {
	parts := []result{row("basis", "valueCoding", q.coding("access-basis", string(b.Code)))}
	if b.Source != "" {
		name := "source"
		if b.Code == consent.BasisSponsored {
			name = "sponsor"
		}
		parts = append(parts, row(name, "valueReference", map[string]string{"reference": b.Source}))
	}
	if !b.Until.IsZero() {
		parts = append(parts, row("until", "valueDateTime", instant(b.Until)))
	}
	return parts
}

// inQuery names a parameter of the query as such in an error about it.
func (q *request) inQuery(err error, name string) error {
	var known *fhir.Error
	if q.Request.Method == http.MethodPost || !errors.As(err, &known) {
		return err
	}
	named := *known
	named.Issues = append([]fhir.Issue(nil), known.Issues...)
	for i := range named.Issues {
		if named.Issues[i].Expression == name {
			named.Issues[i].Expression = "http." + name
		}
	}
	return &named
}
