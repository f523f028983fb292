package engine

import (
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/search"
)

// shaping are the parameters that choose nothing and only shape an answer.
var shaping = []string{"_sort", "_count", "_include", "_revinclude", "_total", "_summary", "_elements", "_contained",
	"_containedType", "_score", "_cursor", "_format", "_pretty"}

// MaxWriteJoins is how many joins a search may make that runs where it keeps other
// writers waiting.
const MaxWriteJoins = 10

// ParseCriteria reads criteria, the search by which a conditional interaction or
// reference says which resource it means
// (https://hl7.org/fhir/R4/http.html#ccreate): a query string without the question
// mark. There must be a parameter that chooses, and none that only shapes an
// answer. What is not known is refused, never ignored: that would widen what is
// matched.
func (e *Engine) ParseCriteria(t fhir.Type, query string) (*search.Query, error) {
	values, err := fhir.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	for name := range values {
		if plain, _, _ := strings.Cut(name, ":"); slices.Contains(shaping, plain) {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http."+plain, "Criteria choose a resource; %s has no place among them.", plain)
		}
	}
	if len(values) == 0 {
		return nil, fhir.Errorf(fhir.Invalid, "Criteria need at least one search parameter.")
	}
	return e.Registry().Parse(t, values, search.Options{Base: e.base, Now: e.now(), MaxJoins: MaxWriteJoins})
}

// Match gives the one resource that criteria mean among those that the sight
// shows, nil when there is none; several are a MultipleMatches error. What is
// hidden does not count: whether it is there must not be told.
func (tx *Tx) Match(criteria *search.Query, sight Sight) (*fhir.Resource, error) {
	plan, err := tx.Plan(criteria, sight)
	if err != nil {
		return nil, err
	}
	plan.Limit = 2
	hits, err := tx.reader.Search(plan)
	if err != nil {
		return nil, err
	}
	switch len(hits) {
	case 0:
		return nil, nil
	case 1:
		return resource(hits[0].Version), nil
	}
	return nil, fhir.Errorf(fhir.MultipleMatches, "More than one %s matches the criteria.", criteria.Type)
}
