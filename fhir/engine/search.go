package engine

import (
	"net/url"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Search gives a page of the resources that match and may be seen
// (https://hl7.org/fhir/R4/search.html), then what its includes ask for. The
// sight is part of the plan: rows, total, order, chains and includes know
// nothing of what it hides. q.Cursor, when set, is the _cursor of a Next.
//
// Total is counted for _total=accurate and _summary=count, not for _total=none,
// and otherwise set only when the page is known to hold all. Next is empty on
// the last page, also when that is full.
func (tx *Tx) Search(q *search.Query, sight Sight) (*fhir.Page, error) {
	subset := fhir.Subset{Summary: q.Summary, Elements: q.Elements}
	if err := subset.Check(); err != nil {
		return nil, err
	}
	sight = sight.closed()
	plan, err := tx.Plan(q, sight)
	if err != nil {
		return nil, err
	}
	plan.After = q.Cursor
	if q.Cursor != "" {
		if _, err := store.ParsePosition(q.Cursor, len(plan.Sort)); err != nil {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This is not a place in the result of this search.")
		}
	}
	page := &fhir.Page{Applied: q.Applied.Encode(), Subset: subset}
	var hits []store.Hit
	if q.Count > 0 {
		plan.Limit = q.Count + 1
		if hits, err = tx.reader.Search(plan); err != nil {
			return nil, err
		}
	}
	more := len(hits) > q.Count
	if more {
		hits = hits[:q.Count]
		page.Next = withCursor(page.Applied, hits[q.Count-1].Position)
	}
	matches := make([]*store.Version, len(hits))
	for i, h := range hits {
		matches[i] = h.Version
	}
	count := func() (int, error) { return tx.reader.Count(plan) }
	if err := tx.fill(page, q, matches, more, count, sight); err != nil {
		return nil, err
	}
	return page, nil
}

// fill puts matches and what their includes ask for onto a page, and the total
// where there is one; more tells that matches are left for the next page.
func (tx *Tx) fill(page *fhir.Page, q *search.Query, matches []*store.Version, more bool, count func() (int, error), sight Sight) error {
	switch {
	case q.Count == 0 || q.Total == "accurate" || q.Total == "estimate" && more:
		n, err := count()
		if err != nil {
			return err
		}
		page.Total = &n
	case q.Total != "none" && !more && q.Cursor == "":
		n := len(matches)
		page.Total = &n
	}
	for _, v := range matches {
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(v), Mode: "match"})
	}
	included, err := tx.include(q, matches, sight)
	for _, v := range included {
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(v), Mode: "include"})
	}
	return err
}

// withCursor gives the query of the page behind a position; applied is that of this one,
// without a cursor.
func withCursor(applied, position string) string {
	return strings.TrimPrefix(applied+"&_cursor="+url.QueryEscape(position), "&")
}
