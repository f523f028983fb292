package pgstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

var _ store.Presumer = (*Store)(nil)

// A memory holds what records were when they were last read. The zero value is ready.
type memory struct {
	mu         sync.Mutex
	young, old map[recordKey]*store.Record // nil: there was none
}

const (
	remembered    = 1 << 15 // records at most
	rememberBytes = 1 << 10 // of a record's value; larger ones are not remembered
)

func (m *memory) get(k recordKey) (record *store.Record, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if record, ok = m.young[k]; ok {
		return record, true
	}
	if record, ok = m.old[k]; ok {
		m.keep(k, record)
	}
	return record, ok
}

func (m *memory) put(k recordKey, record *store.Record) {
	if record != nil && len(record.Value) > rememberBytes {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(k, record)
}

func (m *memory) keep(k recordKey, record *store.Record) {
	if m.young == nil || len(m.young) >= remembered/2 {
		m.young, m.old = map[recordKey]*store.Record{}, m.young
	}
	m.young[k] = record
}

func (m *memory) forget(list []store.Presumed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		k := recordKey{p.Kind, p.Key}
		delete(m.young, k)
		delete(m.old, k)
	}
}

// presume goes by what is remembered of a record, if that may be.
func (r *reader) presume(k recordKey) (ok bool) {
	if r.writes != nil || !r.presumed.May() {
		return false
	}
	record, ok := r.store.memory.get(k)
	if ok {
		r.presumed.Presume(store.Presumed{Kind: k.kind, Key: k.key, Record: record})
		r.knowRecord(k, record)
	}
	return ok
}

// learn keeps a record that was read.
func (r *reader) learn(k recordKey, record *store.Record) {
	if r.writes == nil && r.presumed != nil {
		r.store.memory.put(k, record)
	}
	r.knowRecord(k, record)
}

// run sends statements in one round trip, and the comparison of what was presumed
// behind them: in a View both see the same snapshot, and what it takes passes while
// their answers are read.
func (r *reader) run(list ...statement) error {
	if r.presumed.Failed() {
		return store.ErrPresumed
	}
	open := r.presumed.Open()
	if len(open) > 0 {
		list = append(list, comparison(open))
	}
	if len(list) == 0 {
		return r.bad
	}
	err := r.session.run(list...)
	switch {
	case errors.Is(err, store.ErrPresumed):
		r.bad = err
		r.presumed.Fail()
		r.store.memory.forget(open)
	case err == nil && len(open) > 0:
		r.presumed.Held(len(open))
	}
	return err
}

// comparison is a statement that fails when a record is not what it was presumed to be.
// It gives the records of one kind after the other.
func comparison(list []store.Presumed) statement {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b store.Presumed) int { return strings.Compare(a.Kind, b.Kind) })
	b, kinds := &builder{}, make([]int, len(list))
	for from, to, n := 0, 0, 0; from < len(list); from, n = to, n+1 {
		var keys [][]byte
		for ; to < len(list) && list[to].Kind == list[from].Kind; to++ {
			keys, kinds[to] = append(keys, []byte(list[to].Key)), n
		}
		if n > 0 {
			b.write(` UNION ALL `)
		}
		b.write(`SELECT `, strconv.Itoa(n), `, k.key, r.value, r.expires FROM unnest(`, b.list(keys), `) AS k(key), `,
			`LATERAL (SELECT r.value, r.expires FROM record r WHERE r.kind = `, b.bytes(list[from].Kind), ` AND r.key = k.key OFFSET 0) r`)
	}
	return statement{b.String(), b.args, func(rows pgx.Rows) error { return compareRows(rows, list, kinds) }}
}

// compareRows compares records with what was presumed of them; kinds gives the number of
// the kind of each. Rows come in the order of the list, without those that are not there:
// in any other order they would not be found to be the same.
func compareRows(rows pgx.Rows, list []store.Presumed, kinds []int) error {
	at := 0
	for ; rows.Next(); at++ {
		var kind int
		var key, value []byte
		var expires *int64
		if err := rows.Scan(&kind, &key, &value, &expires); err != nil {
			return errCorrupt
		}
		for at < len(list) && list[at].Record == nil && (kinds[at] != kind || list[at].Key != string(key)) {
			at++
		}
		if at == len(list) || kinds[at] != kind || list[at].Key != string(key) || !sameRecord(list[at].Record, value, expires) {
			return store.ErrPresumed
		}
	}
	for ; at < len(list); at++ {
		if list[at].Record != nil {
			return store.ErrPresumed
		}
	}
	return nil
}

// sameRecord tells whether a record, nil for none, holds what was read.
func sameRecord(r *store.Record, value []byte, expires *int64) bool {
	if r == nil || !bytes.Equal(r.Value, value) || r.Expires.IsZero() != (expires == nil) {
		return false
	}
	return expires == nil || r.Expires.UnixMilli() == *expires
}

// Compare compares what was presumed and not compared yet; see store.Compare.
func (r *reader) Compare() error { return r.run() }

// compared gives the error of a View whose function has returned: what it presumed is
// compared in the snapshot that it has read from, if there is one yet.
func (r *reader) compared(err error) error {
	if r.conn != nil && len(r.presumed.Open()) > 0 {
		if failed := r.Compare(); failed != nil {
			return failed
		}
	}
	if r.presumed.Failed() {
		return store.ErrPresumed // whatever fn made of it
	}
	return err
}

// Confirm implements store.Presumer.
func (s *Store) Confirm(ctx context.Context) error {
	p := store.PresumptionsOf(ctx)
	p.Settle()
	switch {
	case p.Failed():
		return store.ErrPresumed
	case len(p.Open()) == 0:
		return nil
	}
	return s.View(ctx, func(r store.Reader) error { return store.Compare(r) })
}
