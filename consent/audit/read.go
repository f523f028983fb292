package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir/store"
)

// A Query says which rows are wanted. What is empty does not narrow.
type Query struct {
	Patient string // "Patient/1"
	Person  string // who acted: "Practitioner/1"
	Login   string // id of the account that acted
	Since   time.Time
	Until   time.Time         // rows before it
	Match   func(*Entry) bool // nil: all
}

// maxSteps is how many rows a walk looks at, at most, before it rests.
const maxSteps = 10_000

// Walk gives the rows that match to each, newest first (rows of different
// processes within a second or so in any order), until it wants no more, and where
// to go on: after what was given, but before a row that was not wanted. It goes by
// the patient, if one is named, else by who acted, else by time; in the latter two
// cases what was written within the last second may be missing. next is also set
// when many rows that do not match were looked at; it is empty at the end.
func (l *Log) Walk(r store.Reader, q Query, cursor string, each func(Row) (more bool, err error)) (next string, err error) {
	w := walk{log: l, r: r, q: q, each: each}
	kind, prefix := kindPatient, q.Patient+"/"
	switch {
	case q.Patient != "":
	case q.Person != "":
		kind, prefix = kindWho, q.Person+"/"
	case q.Login != "":
		kind, prefix = kindWho, loginName(q.Login)+"/"
	default:
		kind, prefix = kindLinked, ""
	}
	// A cursor is the last pointer that was gone through, and how many rows of the
	// one after it were.
	after, done, _ := strings.Cut(cursor, "+")
	skip, _ := strconv.Atoi(done)
	if after == "" && !q.Until.IsZero() {
		// What is named up to a minute later may have been written before.
		after = backwards(fmt.Sprintf("%016x", q.Until.Add(lateness).UnixNano()))
	}
	for {
		from := ""
		if after != "" {
			from = prefix + after
		}
		page, err := r.Records(kind, prefix, from, walkPage)
		if err != nil {
			return "", err
		}
		for _, pointer := range page {
			key := pointer.Key[len(prefix):]
			if w.past(key) {
				return "", nil
			}
			w.skip, w.taken = skip, 0
			skip = 0
			if err := w.pointer(kind, pointer); err != nil {
				return "", err
			}
			if w.rest {
				return after + "+" + strconv.Itoa(w.taken), nil
			}
			after = key
		}
		if len(page) < walkPage {
			return "", nil
		}
	}
}

const (
	walkPage = 20
	lateness = time.Minute // between the writing of a row and the link that names it
)

// A walk is on its way.
type walk struct {
	log  *Log
	r    store.Reader
	q    Query
	each func(Row) (bool, error)

	skip  int  // rows of this pointer that were given before
	taken int  // rows of this pointer that are done with
	steps int  // rows looked at
	rest  bool // it ends before the row at hand

	key     string // of the record read last
	entries []*Entry
}

// past tells whether all that follows is older than what is wanted.
func (w *walk) past(key string) bool {
	if w.q.Since.IsZero() || len(key) < timeLen {
		return false
	}
	t, err := strconv.ParseUint(key[:timeLen], 16, 64)
	return err == nil && int64(math.MaxInt64-t) < w.q.Since.UnixNano()
}

// pointer goes through the rows that a pointer leads to.
func (w *walk) pointer(kind string, p *store.Record) error {
	switch kind {
	case kindPatient:
		return rows(p.Value).each(func(record string, row int) (bool, error) { return w.row(whole(p.Key, record), row) })
	case kindWho:
		return rows(p.Value).each(w.row)
	}
	_, name, _ := strings.Cut(p.Key, " ")
	segment, number, _ := strings.Cut(name, "/")
	n, err := strconv.ParseUint(number, 16, 64)
	if err != nil {
		return errors.New("audit: damaged pointer")
	}
	k, _, err := w.log.readLink(w.r, segment, n)
	if err != nil {
		return fmt.Errorf("audit: reading a link: %w", err)
	}
	for _, key := range slices.Backward(k.Keys) {
		entries, err := w.record(key)
		if err != nil {
			return err
		}
		for i := range slices.Backward(entries) {
			if more, err := w.row(key, i); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// record reads a record, of which often several rows are wanted.
func (w *walk) record(key string) ([]*Entry, error) {
	if key != w.key {
		entries, err := readRecord(w.r, key)
		if err != nil {
			return nil, fmt.Errorf("audit: reading a record: %w", err)
		}
		w.key, w.entries = key, entries
	}
	return w.entries, nil
}

func (w *walk) row(key string, i int) (more bool, err error) {
	if w.taken < w.skip {
		w.taken++
		return true, nil
	}
	if w.steps == maxSteps {
		w.rest = true
		return false, nil
	}
	w.steps++
	entries, err := w.record(key)
	if err != nil {
		return false, err
	}
	if i < 0 || i >= len(entries) {
		return false, errors.New("audit: damaged pointer")
	}
	e := entries[i]
	if w.q.matches(e) {
		row, err := w.log.row(key, i, e)
		if err != nil {
			return false, err
		}
		if more, err := w.each(row); err != nil || !more {
			w.rest = true
			return false, err
		}
	}
	w.taken++
	return true, nil
}

func (q *Query) matches(e *Entry) bool {
	switch {
	case q.Patient != "" && !slices.Contains(e.Patients, q.Patient),
		q.Person != "" && e.Person != q.Person,
		q.Login != "" && e.Login != q.Login,
		!q.Since.IsZero() && e.When.Before(q.Since),
		!q.Until.IsZero() && !e.When.Before(q.Until):
		return false
	}
	return q.Match == nil || q.Match(e)
}

// Export gives all rows that were recorded since a time and before another, zero:
// without a limit, in the order in which they were recorded, until ended by an
// error of each.
func (l *Log) Export(ctx context.Context, since, until time.Time, each func(Row) error) error {
	from, to := "", ""
	if !since.IsZero() {
		from = fmt.Sprintf("%016x", max(0, since.UnixNano()))
	}
	if !until.IsZero() {
		to = fmt.Sprintf("%016x", max(0, until.UnixNano()))
	}
	return l.scan(ctx, from, to, func(_ store.Reader, page []*store.Record) error {
		for _, rec := range page {
			body, _, err := l.unsealed(rec)
			if err != nil {
				return fmt.Errorf("audit: record %s: %w", rec.Key, err)
			}
			_, entries, err := unpack(body)
			if err != nil {
				return err
			}
			for i, e := range entries {
				row, err := l.row(rec.Key, i, e)
				if err != nil {
					return err
				}
				if err := each(row); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	})
}
