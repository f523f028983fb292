package engine

import (
	"container/heap"
	"errors"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// A Source is a stretch of the commit log: the versions of a type, of what
// belongs to an owner ("Patient/1"), or both. What is empty limits nothing.
type Source struct {
	Type  fhir.Type
	Owner string
}

// LogHistory gives the history of many resources, of a type or of the whole
// system (https://hl7.org/fhir/R4/http.html#history): newest first, in the order
// of commits, deletions included. The sources say where to look; each version is
// given once. They must reach all that the sight opens, and what they hold
// besides costs time only.
//
// A version must be allowed by its own terms and by those of the newest version,
// as in [Tx.VRead]; what is not leaves no trace. The cost is that of the sources:
// one look-up for each, and the rows down to the last of the page. As with every
// list that is newest first, _at reaches further back than the period it names.
func (tx *Tx) LogHistory(sources []Source, q HistoryQuery, sight Sight) (*fhir.Page, error) {
	if q.TotalOnly {
		return nil, &fhir.Error{Kind: fhir.Invalid, Issues: []fhir.Issue{{Code: "too-costly", Expression: "http._count",
			Text: "The versions of many resources are not counted, only those of one: ask for a _count of 1 or more."}}}
	}
	if q.Count <= 0 {
		q.Count = historyCount
	}
	logs, err := tx.openLogs(sources, q)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{} // by type: whether there is anything to see
	sight = sight.closed()
	var rows []*store.Version
	next, last := "", ""
	for len(logs) > 0 {
		e, err := logs.next(tx)
		if err != nil {
			return nil, err
		}
		if q.over(e.Time) {
			break
		}
		if e.Position == last || q.early(e.Time) { // of several owners; out of time
			continue
		}
		last = e.Position
		if _, known := open[e.Key.Type]; !known {
			none, is := sight(fhir.Type(e.Key.Type)).(store.Or)
			open[e.Key.Type] = !is || len(none) > 0
		}
		if !open[e.Key.Type] {
			continue
		}
		v, err := tx.logged(e, q, sight)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		if rows = append(rows, v); len(rows) > q.Count {
			return tx.historyPage(q, rows, next)
		}
		next = e.Position
	}
	return tx.historyPage(q, rows, "")
}

// logged gives the version of an entry, nil when it is not wanted or not allowed.
func (tx *Tx) logged(e store.LogEntry, q HistoryQuery, sight Sight) (*store.Version, error) {
	v, err := tx.reader.ResourceVersion(e.Key, e.Version)
	if err != nil {
		return nil, err
	}
	if ok, err := tx.allowed(v, sight); !ok || err != nil {
		return nil, err
	}
	newest, err := tx.reader.Resource(e.Key)
	if err != nil {
		return nil, err
	}
	if newest.Version != v.Version {
		if ok, err := tx.allowed(newest, sight); !ok || err != nil {
			return nil, err
		}
	}
	if ok, err := tx.inHistory(v, q); !ok || err != nil {
		return nil, err
	}
	return v, nil
}

// A logReader walks one source, newest first, some entries at a time.
type logReader struct {
	query store.LogQuery
	rows  []store.LogEntry // those not given yet, never empty
	last  bool             // there are no more behind them
}

// fill reads on; more is false at the end.
func (l *logReader) fill(tx *Tx) (more bool, err error) {
	if l.last {
		return false, nil
	}
	if l.rows, err = tx.reader.Log(l.query); err != nil {
		return false, err
	}
	l.last = len(l.rows) < l.query.Limit
	if len(l.rows) == 0 {
		return false, nil
	}
	l.query.After = l.rows[len(l.rows)-1].Position
	return true, nil
}

// logs are sources to be merged: a heap, the newest entry on top.
type logs []*logReader

func (l logs) Len() int           { return len(l) }
func (l logs) Less(i, j int) bool { return l[i].rows[0].Position > l[j].rows[0].Position }
func (l logs) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *logs) Push(x any)        { *l = append(*l, x.(*logReader)) }
func (l *logs) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// openLogs reads the first entries of each source. The fewer sources there are,
// the more of each is read at once.
func (tx *Tx) openLogs(sources []Source, q HistoryQuery) (logs, error) {
	batch := max(4, 2*(q.Count+1)/max(1, len(sources)))
	var all logs
	for _, s := range sources {
		l := &logReader{query: store.LogQuery{Type: string(s.Type), Owner: s.Owner, After: q.Cursor, Reverse: true, Limit: batch}}
		more, err := l.fill(tx)
		if errors.Is(err, store.ErrPosition) {
			err = fhir.ElementErrorf(fhir.Invalid, "http._cursor", "This is not a place in the history.")
		}
		if err != nil {
			return nil, err
		}
		if more {
			all = append(all, l)
		}
	}
	heap.Init(&all)
	return all, nil
}

// next takes the newest entry of all.
func (l *logs) next(tx *Tx) (store.LogEntry, error) {
	top := (*l)[0]
	e := top.rows[0]
	if top.rows = top.rows[1:]; len(top.rows) == 0 {
		more, err := top.fill(tx)
		if err != nil {
			return e, err
		}
		if !more {
			heap.Pop(l)
			return e, nil
		}
	}
	heap.Fix(l, 0)
	return e, nil
}
