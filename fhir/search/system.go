package search

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"mypatients/fhir"
)

// ParseTypes reads _type=Patient,Observation of a search of the whole system
// (https://hl7.org/fhir/R4/http.html#search). Without _type there are none, which
// stands for all. The refusal is a [fhir.Error] of kind Invalid.
func ParseTypes(values url.Values) ([]fhir.Type, error) {
	given := values["_type"]
	if len(given) == 0 {
		return nil, nil
	}
	if len(given) > 1 {
		return nil, fhir.ElementErrorf(fhir.Invalid, "http._type", "The parameter was given more than once.")
	}
	var types []fhir.Type
	for name := range strings.SplitSeq(given[0], ",") {
		t := fhir.Type(name)
		if !t.Valid() {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http._type", "%q is no resource type of R4.", name)
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// ParseSystem reads the query of a search of several types, as [Registry.Parse]
// does for each: one query for each type, in the order of types, all with the same
// Count, Total, Summary, Elements, Cursor and Applied. _type is not read, see
// [ParseTypes]; it stays in Applied. A parameter must be known to every type: one
// that is not is refused, or left out for all when lenient. An _include without
// :iterate may begin at any of the types.
func (r *Registry) ParseSystem(types []fhir.Type, values url.Values, opt Options) ([]*Query, error) {
	rest := maps.Clone(values)
	delete(rest, "_type")
	left := map[pair]bool{} // out, since some type does not know it
	for {
		queries, more, err := r.parseAll(types, rest, left, opt)
		if err != nil {
			return nil, err
		}
		if len(more) == len(left) {
			for _, q := range queries {
				if given := values["_type"]; len(given) > 0 {
					q.Applied["_type"] = slices.Clone(given)
				}
			}
			return queries, nil
		}
		left = more
	}
}

// A pair is a parameter as it came.
type pair struct{ key, value string }

// parseAll parses for each type, and gives what any of them left out. A refusal
// that several types share is told once.
func (r *Registry) parseAll(types []fhir.Type, values url.Values, left map[pair]bool, opt Options) ([]*Query, map[pair]bool, error) {
	var queries []*Query
	var issues []fhir.Issue
	more, elements := maps.Clone(left), map[string]elementNames{}
	for _, t := range types {
		ps, err := r.newParser(t, opt)
		if err != nil {
			return nil, nil, err
		}
		ps.types, ps.left, ps.elementsOf = types, left, elements
		found, err := ps.all(values)
		if err != nil {
			return nil, nil, err
		}
		for _, i := range found {
			if !slices.ContainsFunc(issues, func(known fhir.Issue) bool { return known.Expression == i.Expression }) {
				issues = append(issues, i)
			}
		}
		maps.Copy(more, ps.skipped)
		queries = append(queries, ps.q)
	}
	return queries, more, refuse(issues)
}
