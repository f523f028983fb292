package rest

import (
	"net/url"

	"mypatients/fhir"
)

// searchForm is search by POST: parameters come in the form, in the query, or in
// both (https://hl7.org/fhir/R4/search.html#Introduction).
func (q *request) searchForm() error {
	body, err := q.body("application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return fhir.Errorf(fhir.Invalid, "The form is not well-formed.")
	}
	for name, values := range form {
		q.query[name] = append(q.query[name], values...)
	}
	media := q.format
	q.general()
	if q.format != media { // _format was in the form
		if err := q.negotiate(); err != nil {
			return err
		}
	}
	return q.search()
}
