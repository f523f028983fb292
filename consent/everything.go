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

// Everything gives a patient's record as far as the caller may see it
// (https://hl7.org/fhir/R4/patient-operation-everything.html). It needs what a
// search of each type needs, of the Patient a read will do; types that the scopes
// do not open are left out, but refused when _type names them. AuditEvents, which
// are rendered, are not part of it.
//
// Without an id it gives the records of all patients of somebody who has but a
// few: their own, their children's, or the launch patient's. To others it is
// refused as too costly.
func (g *Guard) Everything(ctx context.Context, c Caller, id string, values url.Values, lenient bool) (*fhir.Page, error) {
	e := g.entry(c, "$everything", "Patient")
	what := fhir.Key{Type: "Patient", ID: id}.String() + "/$everything"
	q, types, err := g.everythingQuery(c, id, what, values, lenient)
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return g.list(ctx, c, e, what, func(tx *engine.Tx) (*fhir.Page, error) {
		s, patients, err := g.recordsOf(tx, c, id)
		if err != nil {
			return nil, err
		}
		s.about, s.types = "", types
		e.Patients = s.owners
		if id != "" {
			e.seenBy(s)
			if _, err := tx.Read(fhir.Key{Type: "Patient", ID: id}, s.inRecord); err != nil {
				e.about(fhir.Key{Type: "Patient", ID: id})
				return nil, err
			}
		}
		page, err := tx.PatientEverything(patients, q, s.inRecord)
		if err != nil {
			return nil, err
		}
		return page, e.shows(tx, s, page)
	})
}

// everythingQuery reads the parameters and gives the types of a record that the
// caller may search.
func (g *Guard) everythingQuery(c Caller, id, what string, values url.Values, lenient bool) (q engine.EverythingQuery, types []fhir.Type, err error) {
	search := g.requireScope(c, "Patient", smart.MaySearch)
	if search != nil && (id == "" || g.requireScope(c, "Patient", smart.MayRead) != nil) {
		return q, nil, search
	}
	if values, err = g.openLink(c, what, values); err != nil {
		return q, nil, err
	}
	if q, err = engine.ParseEverything(values, lenient, g.zone); err != nil {
		return q, nil, err
	}
	if q.Types != nil {
		if _, err := g.openTypes(c, q.Types); err != nil {
			return q, nil, err
		}
	}
	for _, t := range g.engine.RecordTypes() {
		if t != "AuditEvent" && g.requireScope(c, t, smart.MaySearch) == nil {
			types = append(types, t)
		}
	}
	return q, types, nil
}

// recordsOf prepares what may be seen of the patients that are asked for.
func (g *Guard) recordsOf(tx *engine.Tx, c Caller, id string) (*sighting, []string, error) {
	if id != "" {
		key := fhir.Key{Type: "Patient", ID: id}
		s, err := g.lookAt(tx, c, key, smart.MaySearch)
		return s, []string{key.String()}, err
	}
	limits := limitsTo(c, "Patient", smart.MaySearch)
	if family := c.Identity.Role == smart.Patient || c.Identity.Role == smart.Proxy; limits == nil && !family {
		return nil, nil, &fhir.Error{Kind: fhir.Unsupported, Issues: []fhir.Issue{{Code: "too-costly", Text: "Ask for one patient at a time: Patient/[id]/$everything."}}}
	}
	s, err := g.look(tx, c, "Patient", smart.MaySearch, limits)
	if err != nil {
		return nil, nil, err
	}
	if s.person.is(smart.System) || s.person.is(smart.Staff) || s.person.is(smart.Admin) {
		return s, limits, nil
	}
	patients := []string{}
	for _, d := range s.decisions {
		patients = append(patients, d.patient)
	}
	return s, patients, nil
}

// inRecord is the sight of a call for records: types that cannot be searched are
// not looked for, and none but the patients and what is referred to is merely
// read.
func (s *sighting) inRecord(t fhir.Type) store.Expr {
	if t != "Patient" && !slices.Contains(s.types, t) && s.g.engine.Registry().InCompartment(t) {
		return store.None()
	}
	return s.sight(t)
}
