package engine

import (
	"net/url"
	"strconv"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// historyCount is the size of a page of history when none is asked for.
const historyCount = 50

// HistoryQuery says which part of a history is wanted
// (https://hl7.org/fhir/R4/http.html#history).
type HistoryQuery struct {
	Count  int       // versions of a page; 0: 50
	Cursor string    // _cursor of a Next; empty: from the newest
	Since  time.Time // only versions made at or after it; zero: all
}

// ParseHistory reads _count, _since and _cursor; _count is cut to 1000. Any other
// parameter is refused. _since is an instant.
func ParseHistory(values url.Values) (HistoryQuery, error) {
	var q HistoryQuery
	for name, list := range values {
		if len(list) != 1 {
			return q, fhir.ElementErrorf(fhir.Invalid, name, "The parameter is given more than once.")
		}
		var err error
		switch name {
		case "_count":
			if q.Count, err = strconv.Atoi(list[0]); err == nil && q.Count < 1 {
				err = strconv.ErrRange
			}
			q.Count = min(q.Count, 1000)
		case "_since":
			q.Since, err = time.Parse(time.RFC3339, list[0])
		case "_cursor":
			q.Cursor = list[0]
		default:
			return q, fhir.ElementErrorf(fhir.Invalid, name, "A history does not know this parameter.")
		}
		if err != nil {
			return q, fhir.ElementErrorf(fhir.Invalid, name, "The value of the parameter cannot be read.")
		}
	}
	return q, nil
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
			return nil, fhir.ElementErrorf(fhir.Invalid, "_cursor", "This is not a place in the history.")
		}
	}
	if _, err := tx.visible(key, sight); err != nil {
		return nil, err
	}
	rows, err := tx.versions(key, q, before, sight)
	if err != nil {
		return nil, err
	}
	page := &fhir.Page{Applied: q.values("").Encode()}
	if len(rows) > q.Count {
		rows = rows[:q.Count]
		page.Next = q.values(strconv.FormatInt(rows[q.Count-1].Version, 10)).Encode()
	} else if before == 0 {
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
			if v.Time.Before(q.Since) {
				return rows, nil // older ones are older still
			}
			ok, err := tx.allowed(v, sight)
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

func (q HistoryQuery) values(cursor string) url.Values {
	values := url.Values{"_count": {strconv.Itoa(q.Count)}}
	if !q.Since.IsZero() {
		values.Set("_since", q.Since.UTC().Format(fhir.InstantLayout))
	}
	if cursor != "" {
		values.Set("_cursor", cursor)
	}
	return values
}
