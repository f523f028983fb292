package pgstore

import (
	"bytes"
	"context"
	"errors"
	"strconv"
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
// in front of them: in a View both see the same snapshot.
func (r *reader) run(list ...statement) error {
	if r.presumed.Failed() {
		return store.ErrPresumed
	}
	open := r.presumed.Open()
	if len(open) > 0 {
		list = append([]statement{comparison(open)}, list...)
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

// fewPresumed are listed in the text of a statement, which the server reads faster than
// arrays.
const fewPresumed = 16

// comparison is a statement that fails when a record is not what it was presumed to be.
func comparison(list []store.Presumed) statement {
	b := &builder{}
	b.write(`SELECT k.n, r.value, r.expires FROM `)
	if len(list) <= fewPresumed {
		for i, p := range list {
			word := `, (`
			if i == 0 {
				word = `(VALUES (`
			}
			b.write(word, strconv.Itoa(i+1), `::bigint, `, b.bytes(p.Kind), `, `, b.bytes(p.Key), `)`)
		}
		b.write(`) AS k(n, kind, key)`)
	} else {
		kinds, keys := make([][]byte, len(list)), make([][]byte, len(list))
		for i, p := range list {
			kinds[i], keys[i] = []byte(p.Kind), []byte(p.Key)
		}
		b.write(`unnest(`, b.list(kinds), `, `, b.list(keys), `) WITH ORDINALITY AS k(kind, key, n)`)
	}
	b.write(`, LATERAL (SELECT r.value, r.expires FROM record r WHERE r.kind = k.kind AND r.key = k.key OFFSET 0) r`)
	return statement{b.String(), b.args, func(rows pgx.Rows) error { return compareRows(rows, list) }}
}

// compareRows compares the records that are there with what was presumed.
func compareRows(rows pgx.Rows, list []store.Presumed) error {
	missing := 0
	for _, p := range list {
		if p.Record != nil {
			missing++
		}
	}
	for ; rows.Next(); missing-- {
		var n int64
		var value []byte
		var expires *int64
		if err := rows.Scan(&n, &value, &expires); err != nil || n < 1 || n > int64(len(list)) {
			return errCorrupt
		}
		if !sameRecord(list[n-1].Record, value, expires) {
			return store.ErrPresumed
		}
	}
	if missing > 0 {
		return store.ErrPresumed
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
