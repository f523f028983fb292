package engine

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// EverythingQuery says which part of a record is wanted
// (https://hl7.org/fhir/R4/patient-operation-everything.html).
type EverythingQuery struct {
	Types      []fhir.Type // only these; nil: all
	Start, End time.Time   // only what is of a time in Start <= t < End, or of no time; zero: open
	Since      time.Time   // only what was changed at or after it; zero: all
	Count      int         // resources of a page, without those referred to; 0: 1000
	TotalOnly  bool        // no resources, only how many there are
	Cursor     string      // _cursor of a Next; empty: from the first
	Subset     fhir.Subset
	Applied    url.Values // as it was asked for, for the links, without _cursor
}

// maxReferred is the most directory resources that a page of a record brings in.
const maxReferred = 10 * maxIncluded

// ParseEverything reads start, end, _since, _type, _count, _cursor, _summary and
// _elements. Any other parameter is refused, or left out when lenient. Dates are
// days, months or years in the zone; both ends are included.
func ParseEverything(values url.Values, lenient bool, zone *time.Location) (EverythingQuery, error) {
	var q EverythingQuery
	var err error
	if several := values["_type"]; len(several) > 1 { // each adds types
		values = maps.Clone(values)
		values["_type"] = []string{strings.Join(several, ",")}
	}
	if q.Types, err = search.ParseTypes(values); err != nil {
		return q, err
	}
	q.Subset, q.Applied, err = parameters(values, lenient, "$everything", q.Types, func(name string, list []string) (known, ok bool) {
		switch name {
		case "start":
			q.Start, _, ok = span(list[0], zone)
		case "end":
			_, q.End, ok = span(list[0], zone)
		case "_since":
			q.Since, _, ok = span(list[0], zone)
		case "_count":
			q.Count, q.TotalOnly, ok = countOf(list)
		case "_type":
			ok = true
		case "_cursor":
			q.Cursor, ok = list[0], true
		default:
			return false, false
		}
		return true, ok && len(list) == 1
	})
	return q, err
}

// RecordTypes lists the types that can belong to a patient's record: Patient
// first, the others by name.
func (e *Engine) RecordTypes() []fhir.Type {
	types := []fhir.Type{"Patient"}
	for _, t := range fhir.Types() {
		if t != "Patient" && e.Registry().InCompartment(t) {
			types = append(types, t)
		}
	}
	return types
}

// PatientEverything gives the records of patients ("Patient/1"): they themselves
// first, then all else that is theirs, by type and id, each once; and with each
// page, as included, what it refers to that can be of no patient (practitioners,
// organizations, places, medications) and what that refers to in turn. All under
// the sight of their types. The cost is that of the records. Total is set when a
// page holds all.
func (tx *Tx) PatientEverything(patients []string, q EverythingQuery, sight Sight) (*fhir.Page, error) {
	if q.Count <= 0 {
		q.Count = maxHistory
	}
	sight = sight.closed()
	page := &fhir.Page{Applied: q.Applied.Encode(), Subset: q.Subset}
	if q.TotalOnly {
		total, err := tx.sizeOf(patients, q, sight)
		page.Total = &total
		return page, err
	}
	rows, err := tx.record(patients, q, sight)
	if err != nil {
		return nil, err
	}
	if len(rows) > q.Count {
		rows = rows[:q.Count]
		page.Next = withCursor(page.Applied, rows[q.Count-1].Key.String())
	} else if q.Cursor == "" {
		total := len(rows)
		page.Total = &total
	}
	for _, v := range rows {
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(v), Mode: "match"})
	}
	referred, err := tx.referred(rows, q, sight)
	if err != nil {
		return nil, err
	}
	for _, v := range referred {
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(v), Mode: "include"})
	}
	return page, nil
}

// record gives one more row than a page holds, if there is one.
func (tx *Tx) record(patients []string, q EverythingQuery, sight Sight) ([]*store.Version, error) {
	types := tx.engine.RecordTypes()
	var from fhir.Key
	if q.Cursor != "" {
		var err error
		if from, err = fhir.ParseKey(q.Cursor); err != nil || !slices.Contains(types, from.Type) {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This is not a place in a record.")
		}
		types = types[slices.Index(types, from.Type):]
	}
	var rows []*store.Version
	for _, t := range types {
		if q.Types != nil && !slices.Contains(q.Types, t) {
			continue
		}
		open := sight(t)
		if none, is := open.(store.Or); is && len(none) == 0 {
			continue
		}
		plan := store.Query{Type: string(t), Where: store.And{theirs(t, patients), q.times(), open}, Limit: q.Count + 1 - len(rows)}
		if t == from.Type {
			plan.After = store.Place{ID: from.ID}.Position()
		}
		hits, err := tx.reader.Search(plan)
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			rows = append(rows, h.Version)
		}
		if len(rows) > q.Count {
			break
		}
	}
	return rows, nil
}

// sizeOf counts what [Tx.record] gives on all pages.
func (tx *Tx) sizeOf(patients []string, q EverythingQuery, sight Sight) (total int, err error) {
	for _, t := range tx.engine.RecordTypes() {
		if q.Types != nil && !slices.Contains(q.Types, t) {
			continue
		}
		n, err := tx.reader.Count(store.Query{Type: string(t), Where: store.And{theirs(t, patients), q.times(), sight(t)}})
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// theirs holds for what belongs to one of the patients; of the Patients for
// these alone, not for others that are linked to them.
func theirs(t fhir.Type, patients []string) store.Expr {
	if t != "Patient" {
		return store.In{Name: store.Owner, Values: patients}
	}
	in := store.In{Name: store.ID}
	for _, p := range patients {
		in.Values = append(in.Values, strings.TrimPrefix(p, "Patient/"))
	}
	return in
}

// times is the condition on the time of care and on that of the last change.
func (q *EverythingQuery) times() store.Expr {
	all := q.since()
	if !q.Start.IsZero() || !q.End.IsZero() {
		all = append(all, store.Or{store.Not{Expr: store.Exists{Name: search.Clinical}}, search.DateOverlaps(search.Clinical, q.Start, q.End)})
	}
	return all
}

func (q *EverythingQuery) since() store.And {
	if q.Since.IsZero() {
		return store.And{}
	}
	return store.And{search.DateOverlaps(search.LastUpdated, q.Since, time.Time{})}
}

// referred gives what resources of a record refer to, and what that refers to,
// of types that belong to no patient.
func (tx *Tx) referred(rows []*store.Version, q EverythingQuery, sight Sight) ([]*store.Version, error) {
	registry := tx.registry
	wanted := func(t fhir.Type) bool {
		return !registry.InCompartment(t) && (q.Types == nil || slices.Contains(q.Types, t))
	}
	in := &includer{tx: tx, max: maxReferred, known: map[store.Key]bool{}, sight: func(t fhir.Type) store.Expr {
		return store.And{q.since(), sight(t)}
	}}
	for round := 0; len(rows) > 0 && round < maxRounds; round++ {
		start := len(in.found)
		for _, v := range rows {
			for name, value := range v.Terms.All() {
				key, ok := referenceTo(value, wanted)
				if !ok {
					continue
				}
				if p, ok := registry.Param(fhir.Type(v.Type), string(name)); !ok || p.Kind != search.Reference {
					continue
				}
				if err := in.target(key); err != nil {
					return nil, err
				}
			}
		}
		rows = slices.Clone(in.found[start:])
	}
	return in.found, nil
}

// referenceTo reads a term's value as a reference to a type that is wanted. What
// begins otherwise costs nothing.
func referenceTo(value []byte, wanted func(fhir.Type) bool) (fhir.Key, bool) {
	slash := bytes.IndexByte(value, '/')
	if slash <= 0 || value[0] < 'A' || value[0] > 'Z' {
		return fhir.Key{}, false
	}
	key, err := fhir.ParseKey(string(value))
	return key, err == nil && wanted(key.Type)
}
