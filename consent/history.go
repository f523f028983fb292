package consent

import (
	"context"
	"net/url"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// History lists the versions of a resource, newest first.
func (g *Guard) History(ctx context.Context, c Caller, key fhir.Key, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "history", key.Type)
	if err := g.requireScope(c, key.Type, smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	q, err := g.historyQuery(c, key.String()+"/_history", values, lenient, key.Type)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return g.list(ctx, c, e, key.String()+"/_history", func(tx *engine.Tx) (*fhir.Page, error) {
		s, err := g.lookAt(tx, c, key, smart.MayRead)
		if err != nil {
			return nil, err
		}
		e.seenBy(s)
		page, err := tx.History(key, q, s.sight)
		if err != nil {
			e.about(key)
			return nil, err
		}
		for _, entry := range page.Entries {
			e.returned(entry.Resource)
		}
		return page, nil
	})
}

// historyQuery reads the parameters of a history of some types; what names it, in
// its links.
func (g *Guard) historyQuery(c Caller, what string, values url.Values, lenient bool, types ...fhir.Type) (engine.HistoryQuery, error) {
	values, err := g.openLink(c, what, values)
	if err != nil {
		return engine.HistoryQuery{}, err
	}
	return engine.ParseHistory(values, lenient, g.zone, types...)
}

// TypeHistory lists the versions of all resources of a type, newest first. SMART
// counts it as a search of the type.
func (g *Guard) TypeHistory(ctx context.Context, c Caller, t fhir.Type, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "history-type", t)
	if err := g.requireScope(c, t, smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if t == "AuditEvent" { // rendered, in one version each
		return nil, g.refused(ctx, e, fhir.Errorf(fhir.Unsupported, "AuditEvents have no history: they never change. Search for them by patient."))
	}
	return g.logHistory(ctx, c, e, []fhir.Type{t}, string(t)+"/_history", values, lenient)
}

// SystemHistory lists the versions of all resources of the types that the scopes
// open to searching, newest first, without AuditEvents, which are rendered.
func (g *Guard) SystemHistory(ctx context.Context, c Caller, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "history-system", "")
	types, err := g.openTypes(c, nil)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return g.logHistory(ctx, c, e, types, "_history", values, lenient)
}

func (g *Guard) logHistory(ctx context.Context, c Caller, e *auditEntry, types []fhir.Type, what string, values url.Values, lenient bool) (*fhir.Page, error) {
	q, err := g.historyQuery(c, what, values, lenient, types...)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return g.list(ctx, c, e, what, func(tx *engine.Tx) (*fhir.Page, error) {
		limits := limitsToAny(c, types, smart.MaySearch)
		s, err := g.look(tx, c, "", smart.MaySearch, limits)
		if err != nil {
			return nil, err
		}
		s.types = types
		sources, err := s.sources(tx, limits)
		if err != nil {
			return nil, err
		}
		page, err := tx.LogHistory(sources, q, s.only)
		if err != nil {
			return nil, err
		}
		return page, e.shows(tx, s, page)
	})
}

// only is the sight of a call that is about some types and no others.
func (s *sighting) only(t fhir.Type) store.Expr {
	if !slices.Contains(s.types, t) {
		return store.None()
	}
	return s.sight(t)
}

// maxMerged is how many logs a history puts together at most. Each costs one
// look-up for every page; a caller with more patients than that walks the log of
// the type, or all of it, and steps over what they may not see, which is quicker
// the more of it is theirs.
const maxMerged = 1000

// sources says where to look for the history of the types of a call: for one who
// sees some patients' records, in the logs of these, so that the cost is that of
// the records; and for what belongs to no patient, in the logs of its types.
func (s *sighting) sources(tx *engine.Tx, limits []string) ([]engine.Source, error) {
	var owned, free []fhir.Type
	all := s.person.is(smart.System) || s.person.is(smart.Staff) || s.person.is(smart.Admin)
	for _, t := range s.types {
		switch {
		case isNone(s.scopes(t)):
		case all || isDirectory(t) || t == "Subscription": // which has no patient
			free = append(free, t)
		default:
			owned = append(owned, t)
		}
	}
	if all && len(free) > maxTypeLogs {
		return []engine.Source{{}}, nil
	}
	var sources []engine.Source
	for _, t := range free {
		sources = append(sources, engine.Source{Type: t})
	}
	if len(owned) == 0 {
		return sources, nil
	}
	var one fhir.Type // the log of an owner is read for one type or for all
	if len(owned) == 1 {
		one = owned[0]
	}
	if s.joined != nil {
		return append(sources, engine.Source{Type: one}), nil
	}
	owners, err := s.ownersOf(tx, owned, limits)
	if err != nil {
		return nil, err
	}
	if len(owners) > maxMerged {
		return append(sources, engine.Source{Type: one}), nil
	}
	for _, o := range owners {
		sources = append(sources, engine.Source{Type: one, Owner: o})
	}
	return sources, nil
}

// maxTypeLogs is how many types a caller who sees whole types has merged; with
// more, all of the log is walked.
const maxTypeLogs = 40

// ownersOf lists the patients in whose records there may be something to see: all
// on whom there is a basis, and of a provider those whom they asked for access.
func (s *sighting) ownersOf(tx *engine.Tx, types []fhir.Type, limits []string) ([]string, error) {
	owners := map[string]bool{}
	for _, d := range s.decisions {
		owners[d.patient] = true
	}
	if slices.Contains(types, "Consent") && s.person.is(smart.Provider) {
		own, err := findAll(tx, "Consent", s.ownConsents())
		if err != nil {
			return nil, err
		}
		asked := map[string]bool{}
		for _, v := range own {
			addOwners(asked, v)
		}
		for o := range asked {
			if limits == nil || slices.Contains(limits, o) {
				owners[o] = true
			}
		}
	}
	list := make([]string, 0, len(owners))
	for o := range owners {
		list = append(list, o)
	}
	slices.Sort(list)
	return list, nil
}
