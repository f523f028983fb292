package rest

import "mypatients/fhir"

// searchForm is search by POST: parameters come in the form, in the query, or in
// both (https://hl7.org/fhir/R4/search.html#Introduction).
func (q *request) searchForm() error {
	if err := q.form(); err != nil {
		return err
	}
	return found((*request).search)(q)
}

func (q *request) searchSystemForm() error {
	if err := q.form(); err != nil {
		return err
	}
	return q.searchSystem()
}

// form adds the parameters of a form to those of the query. _format and _pretty
// count as if they stood there.
func (q *request) form() error {
	if q.Request.ContentLength == 0 && q.Request.Header.Get("Content-Type") == "" {
		return nil // all parameters are in the query
	}
	body, err := q.body("application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	form, err := fhir.ParseQuery(string(body))
	if err != nil {
		return err
	}
	for name, values := range form {
		q.query[name] = append(q.query[name], values...)
	}
	format := q.format
	q.general()
	if q.format != format { // it was in the form
		return q.negotiate()
	}
	return nil
}
