package engine

import (
	"net/url"
	"strconv"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// The size of a page of history when none is asked for, and the most.
const (
	historyCount = 50
	maxHistory   = 1000
)

// HistoryQuery says which part of a history is wanted
// (https://hl7.org/fhir/R4/http.html#history).
type HistoryQuery struct {
	Count     int       // versions of a page; 0: 50
	TotalOnly bool      // no versions, only how many there are; of one resource's history
	Cursor    string    // _cursor of a Next; empty: from the newest
	Since     time.Time // only versions made at or after it; zero: all

	// From and To are of _at: only versions that were current at some time from
	// From, before To. A zero To: all. A deletion counts when it was made in it.
	From, To time.Time

	Subset  fhir.Subset
	Applied url.Values // as it was asked for, for the links, without _cursor
}

// History gives versions of one resource, newest first, deletions included. The
// newest must be allowed by the sight, or the answer is NotFound; of the others
// those that it does not allow are left out. Total is set when a page holds all.
func (tx *Tx) History(key fhir.Key, q HistoryQuery, sight Sight) (*fhir.Page, error) {
	if q.Count <= 0 {
		q.Count = historyCount
	}
	before := int64(0)
	if q.Cursor != "" {
		var err error
		if before, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil || before < 1 {
			return nil, fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This is not a place in the history.")
		}
	}
	if _, err := tx.visible(key, sight); err != nil {
		return nil, err
	}
	if q.TotalOnly {
		total, err := tx.countVersions(key, q, sight)
		return &fhir.Page{Applied: q.Applied.Encode(), Subset: q.Subset, Total: &total}, err
	}
	rows, err := tx.versions(key, q, before, sight)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(rows) > q.Count {
		next = strconv.FormatInt(rows[q.Count-1].Version, 10)
	}
	return tx.historyPage(q, rows, next)
}

// historyPage makes a page of at most Count of some versions; next is the place
// behind them when there are more.
func (tx *Tx) historyPage(q HistoryQuery, rows []*store.Version, next string) (*fhir.Page, error) {
	page := &fhir.Page{Applied: q.Applied.Encode(), Subset: q.Subset}
	if next != "" {
		rows = rows[:q.Count]
		page.Next = withCursor(page.Applied, next)
	} else if q.Cursor == "" {
		total := len(rows)
		page.Total = &total
	}
	for _, v := range rows {
		created, err := tx.created(v)
		if err != nil {
			return nil, err
		}
		page.Entries = append(page.Entries, fhir.Entry{Resource: resource(v), Created: created})
	}
	return page, nil
}

// versions gives one more row than a page holds, if there is one.
func (tx *Tx) versions(key fhir.Key, q HistoryQuery, before int64, sight Sight) ([]*store.Version, error) {
	var rows []*store.Version
	for {
		batch, err := tx.reader.History(storeKey(key), before, q.Count+1)
		if err != nil {
			return nil, absent(err)
		}
		for _, v := range batch {
			if q.over(v.Time) {
				return rows, nil
			}
			ok, err := tx.inHistory(v, q)
			if ok {
				ok, err = tx.allowed(v, sight)
			}
			if err != nil {
				return nil, err
			}
			if ok {
				rows = append(rows, v)
			}
			if len(rows) > q.Count {
				return rows, nil
			}
		}
		if len(batch) <= q.Count {
			return rows, nil
		}
		before = batch[len(batch)-1].Version
	}
}

// countVersions counts what [Tx.versions] gives on all pages, some at a time.
func (tx *Tx) countVersions(key fhir.Key, q HistoryQuery, sight Sight) (total int, err error) {
	q.Count = maxHistory
	for before := int64(0); ; {
		rows, err := tx.versions(key, q, before, sight)
		if err != nil || len(rows) <= q.Count {
			return total + len(rows), err
		}
		total += q.Count
		before = rows[q.Count-1].Version
	}
}

// disorder is by how much the times of versions may go against the order of
// commits: what a transaction lasts, and how far the clocks of machines differ.
const disorder = 5 * time.Minute

// over reports whether the versions behind one of this time are too old.
func (q *HistoryQuery) over(t time.Time) bool { return t.Before(q.Since.Add(-disorder)) }

// early reports whether a version of this time is out by its time alone.
func (q *HistoryQuery) early(t time.Time) bool {
	return t.Before(q.Since) || !q.To.IsZero() && !t.Before(q.To)
}

// inHistory reports whether a version is in the part of a history that is wanted.
func (tx *Tx) inHistory(v *store.Version, q HistoryQuery) (bool, error) {
	switch {
	case q.early(v.Time):
		return false, nil
	case q.To.IsZero() || !v.Time.Before(q.From):
		return true, nil
	case v.Deleted:
		return false, nil
	}
	next, err := tx.reader.ResourceVersion(v.Key, v.Version+1)
	if err == store.ErrNotFound {
		return true, nil // it is the newest
	}
	return err == nil && next.Time.After(q.From), err
}

// created reports whether a version is the first or follows a deletion.
func (tx *Tx) created(v *store.Version) (bool, error) {
	if v.Deleted {
		return false, nil
	}
	if v.Version == 1 {
		return true, nil
	}
	before, err := tx.reader.ResourceVersion(v.Key, v.Version-1)
	if err != nil {
		return false, err
	}
	return before.Deleted, nil
}
