package engine

import (
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// An ExportQuery says which resources of one type a bulk export gives
// (https://hl7.org/fhir/uv/bulkdata/STU2/export.html).
type ExportQuery struct {
	Type    fhir.Type
	Within  store.Expr      // whose they are; nil: anybody's
	Since   time.Time       // only what was changed at or after it; zero: all
	Filters []*search.Query // of which one must hold, all of them of the type; empty: all. Only their conditions count
	After   string          // where the page before ended, as Export gave it; empty: from the first
	Count   int             // resources of a page, more than 0
}

// Export gives a page of an export, by id, and where it ended; empty after the last
// page. The sight is part of the plan, as in [Tx.Search].
func (tx *Tx) Export(q ExportQuery, sight Sight) (page *fhir.Page, next string, err error) {
	where := store.And{}
	if q.Within != nil {
		where = append(where, q.Within)
	}
	if !q.Since.IsZero() {
		where = append(where, search.DateOverlaps(search.LastUpdated, q.Since, time.Time{}))
	}
	filtered := store.Or{}
	for _, f := range q.Filters {
		plan, err := tx.Plan(f, sight)
		if err != nil {
			return nil, "", err
		}
		filtered = append(filtered, plan.Where)
	}
	switch len(filtered) {
	case 0:
		where = append(where, sight.closed()(q.Type))
	case 1:
		where = append(where, filtered[0])
	default:
		where = append(where, filtered)
	}
	hits, err := tx.reader.Search(store.Query{Type: string(q.Type), Where: where, After: q.After, Limit: q.Count + 1})
	if err != nil {
		return nil, "", err
	}
	if len(hits) > q.Count {
		hits = hits[:q.Count]
		next = hits[q.Count-1].Position
	}
	page = &fhir.Page{}
	for _, h := range hits {
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(h.Version), Mode: "match"})
	}
	return page, next, nil
}
