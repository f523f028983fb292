package consent

import (
	"context"
	"net/url"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/smart"
)

// SearchSystem finds resources of several types: those that _type names, or all
// that the scopes open to searching.
func (g *Guard) SearchSystem(ctx context.Context, c Caller, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "search-system", "")
	queries, types, err := g.systemQueries(c, values, lenient)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return g.list(ctx, c, e, "", func(tx *engine.Tx) (*fhir.Page, error) {
		s, err := g.look(tx, c, "", smart.MaySearch, systemPatients(c, types, queries))
		if err != nil {
			return nil, err
		}
		s.types = types
		page, err := tx.SearchSystem(queries, s.sight)
		if err != nil {
			return nil, err
		}
		e.asked(s, queries[0].Applied, !values.Has("_cursor"))
		return page, e.shows(tx, s, page)
	})
}

func (g *Guard) systemQueries(c Caller, values url.Values, lenient bool) ([]*search.Query, []fhir.Type, error) {
	values, err := g.openLink(c, "", values)
	if err != nil {
		return nil, nil, err
	}
	named, err := search.ParseTypes(values)
	if err != nil {
		return nil, nil, err
	}
	types, err := g.openTypes(c, named)
	if err != nil {
		return nil, nil, err
	}
	queries, err := g.engine.Registry().ParseSystem(types, values, g.searchOptions(lenient))
	return queries, types, err
}

// systemPatients is [Guard.searchPatients] for a search of several types.
func systemPatients(c Caller, types []fhir.Type, queries []*search.Query) []string {
	if slices.ContainsFunc(queries, (*search.Query).Joins) { // which may lead from the directory to a patient
		types = append(slices.Clone(types), "Patient")
	}
	patients := limitsToAny(c, types, smart.MaySearch)
	named := []string{}
	for _, q := range queries {
		owners := q.Owners()
		if owners == nil {
			return patients
		}
		named = append(named, owners...)
	}
	return narrowest(patients, slices.Compact(slices.Sorted(slices.Values(named))))
}

// openTypes gives the types that a caller may search: of those that are named,
// all, or the refusal names the others; when none is named, those that the scopes
// open, or a refusal when they open none. AuditEvents are rendered, and found
// by patient alone.
func (g *Guard) openTypes(c Caller, named []fhir.Type) ([]fhir.Type, error) {
	if slices.Contains(named, "AuditEvent") {
		return nil, fhir.ElementErrorf(fhir.Unsupported, "http._type", "AuditEvents are not among what is searched together; search for them by patient.")
	}
	types := named
	if named == nil {
		types = fhir.Types()
	}
	var open []fhir.Type
	var issues []fhir.Issue
	for _, t := range types {
		switch {
		case t == "AuditEvent":
		case g.requireScope(c, t, smart.MaySearch) == nil:
			open = append(open, t)
		case named != nil:
			issues = append(issues, fhir.Issue{Text: "The scopes granted do not allow this on " + string(t) + ".", Expression: "http._type"})
		}
	}
	if len(open) == 0 && issues == nil {
		issues = []fhir.Issue{{Text: "The scopes granted do not allow to search any type."}}
	}
	if issues != nil {
		return nil, &fhir.Error{Kind: fhir.Forbidden, Issues: issues}
	}
	return open, nil
}

// limitsToAny is [limitsTo] for several types: a patient is in when they are for
// one of the types.
func limitsToAny(c Caller, types []fhir.Type, want smart.Permission) []string {
	all := []string{}
	for _, t := range types {
		limits := limitsTo(c, t, want)
		if limits == nil {
			return nil
		}
		for _, l := range limits {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}
