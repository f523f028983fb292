package pgstore

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir/store"
)

// flush gives the statements that store what has been gathered, to be sent in one
// go. New rows are inserted many at a time; rows that change or go are looked up one
// by one, as whether a join would do so is for the planner to say. A resource that
// was taken to be absent, and is not, is a unique violation.
func (r *reader) flush() []statement {
	w := r.writes
	var f flush
	for _, k := range slices.SortedFunc(maps.Keys(w.resources), compareKeys) {
		c := w.resources[k]
		f.add(k, c)
		r.know(k, c.newest())
	}
	for _, v := range w.log {
		w.seq++
		f.logged(v, w.seq)
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.records), compareRecordKeys) {
		f.record(k, w.records[k])
		r.knowRecord(k, w.records[k])
	}
	clear(w.resources)
	clear(w.records)
	w.log, w.size = nil, 0
	return f.statements()
}

func compareKeys(a, b store.Key) int {
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func compareRecordKeys(a, b recordKey) int {
	if c := strings.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	return strings.Compare(a.key, b.key)
}

// A flush gathers columns of rows.
type flush struct {
	single          []statement // one row each
	created, old    versionColumn
	entered         termColumn
	live            [][]any
	log, logOfOwner logColumn
	put             recordColumn
}

func (f *flush) one(sql string, args ...any) {
	f.single = append(f.single, statement{sql: sql, args: args})
}

type versionColumn struct {
	types, ids, terms, bodies [][]byte
	versions, times           []int64
	deleted                   []bool
}

func (c *versionColumn) add(v *store.Version) {
	c.types, c.ids = append(c.types, []byte(v.Type)), append(c.ids, []byte(v.ID))
	c.terms, c.bodies = append(c.terms, full(v.Terms)), append(c.bodies, full(v.Body))
	c.versions, c.times = append(c.versions, v.Version), append(c.times, v.Time.UnixMilli())
	c.deleted = append(c.deleted, v.Deleted)
}

// full makes nil an empty string: nil would be NULL.
func full(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (c *versionColumn) args() []any {
	return []any{c.types, c.ids, c.versions, c.times, c.deleted, c.terms, c.bodies}
}

type termColumn struct{ types, names, values, ids, rests [][]byte }

func (c *termColumn) add(k store.Key, e entry) {
	c.types, c.ids = append(c.types, []byte(k.Type)), append(c.ids, []byte(k.ID))
	c.names, c.values, c.rests = append(c.names, full(e.name)), append(c.values, full(e.value)), append(c.rests, e.rest)
}

func (c *termColumn) args() []any { return []any{c.types, c.names, c.values, c.ids, c.rests} }

type logColumn struct {
	owners, types, ids    [][]byte
	seqs, versions, times []int64
	deleted               []bool
}

func (c *logColumn) add(owner []byte, v *store.Version, seq int64) {
	c.owners = append(c.owners, full(owner))
	c.types, c.ids = append(c.types, []byte(v.Type)), append(c.ids, []byte(v.ID))
	c.seqs, c.versions, c.times = append(c.seqs, seq), append(c.versions, v.Version), append(c.times, v.Time.UnixMilli())
	c.deleted = append(c.deleted, v.Deleted)
}

type recordColumn struct {
	kinds, keys, values [][]byte
	expires             []*int64
}

func (f *flush) add(k store.Key, c *change) {
	newest := c.newest()
	older := c.next[:len(c.next)-1]
	switch {
	case c.stored == nil:
		f.created.add(newest)
	default:
		if c.next[0].Version > c.stored.Version {
			f.one(insertOutdated, []byte(k.Type), []byte(k.ID))
		}
		f.one(updateResource, []byte(k.Type), []byte(k.ID), newest.Version, newest.Time.UnixMilli(), newest.Deleted, full(newest.Terms), full(newest.Body))
	}
	for _, v := range older {
		f.old.add(v)
	}
	f.index(k, c.stored, newest)
}

// index brings the rows of the index from one version to another, touching only
// what differs, and makes those that are judged anew.
func (f *flush) index(k store.Key, before, after *store.Version) {
	gone, entered := entries(before), entries(after)
	for len(gone) > 0 || len(entered) > 0 {
		c := 0
		switch {
		case len(gone) == 0:
			c = 1
		case len(entered) == 0:
			c = -1
		default:
			c = compareEntries(gone[0], entered[0])
		}
		if c < 0 {
			f.one(deleteTerm, []byte(k.Type), full(gone[0].name), full(gone[0].value), []byte(k.ID), gone[0].rest)
		} else if c > 0 {
			f.entered.add(k, entered[0])
		}
		if c <= 0 {
			gone = gone[1:]
		}
		if c >= 0 {
			entered = entered[1:]
		}
	}
	now := owners(after)
	for _, owner := range owners(before) {
		if !slices.Contains(now, owner) {
			f.one(deleteLive, []byte(owner), []byte(k.Type), []byte(k.ID))
		}
	}
	for i, owner := range now {
		f.live = append(f.live, []any{[]byte(owner), []byte(k.Type), []byte(k.ID), i == 0, elements(after.Terms)})
	}
}

func (f *flush) logged(v *store.Version, seq int64) {
	f.log.add(nil, v, seq)
	for owner := range v.Terms.Values(store.Owner) {
		f.logOfOwner.add(owner, v, seq)
	}
}

func (f *flush) record(k recordKey, r *store.Record) {
	if r == nil {
		f.one(deleteRecord, []byte(k.kind), []byte(k.key))
		return
	}
	f.put.kinds, f.put.keys = append(f.put.kinds, []byte(k.kind)), append(f.put.keys, []byte(k.key))
	f.put.values = append(f.put.values, full(r.Value))
	var expires *int64
	if !r.Expires.IsZero() {
		millis := r.Expires.UnixMilli()
		expires = &millis
	}
	f.put.expires = append(f.put.expires, expires)
}

const (
	selectVersions = `SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[], $7::bytea[])`

	insertOutdated = `INSERT INTO history (type, id, version, time, deleted, terms, body)
SELECT r.type, r.id, r.version, r.time, r.deleted, r.terms, r.body FROM resource r WHERE r.type = $1 AND r.id = $2`

	insertOld = `INSERT INTO history (type, id, version, time, deleted, terms, body) ` + selectVersions

	insertResource = `INSERT INTO resource (type, id, version, time, deleted, terms, body) ` + selectVersions

	updateResource = `UPDATE resource SET version = $3, time = $4, deleted = $5, terms = $6, body = $7 WHERE type = $1 AND id = $2`

	updateOld = `UPDATE history SET terms = $4, body = $5 WHERE type = $1 AND id = $2 AND version = $3`

	deleteTerm = `DELETE FROM term WHERE type = $1 AND name = $2 AND value = $3 AND id = $4 AND rest = $5`

	insertTerms = `INSERT INTO term (type, name, value, id, rest)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])`

	deleteLive = `DELETE FROM live WHERE owner = $1 AND type = $2 AND id = $3`

	insertLog = `INSERT INTO log (era, xid, seq, type, id, version, time, deleted)
SELECT ` + currentEra + `, ` + newTransaction + `, n.* FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::boolean[]) AS n`

	insertLogOfOwner = `INSERT INTO log_of_owner (owner, era, xid, seq, type, id, version, time, deleted)
SELECT n.owner, ` + currentEra + `, ` + newTransaction + `, n.seq, n.type, n.id, n.version, n.time, n.deleted
FROM unnest($7::bytea[], $1::integer[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::boolean[]) AS n(owner, seq, type, id, version, time, deleted)`

	putRecords = `INSERT INTO record (kind, key, value, expires)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[])
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, expires = excluded.expires`

	deleteRecord = `DELETE FROM record WHERE kind = $1 AND key = $2`
)

func (f *flush) statements() (list []statement) {
	do := func(rows int, sql string, args ...any) {
		if rows > 0 {
			list = append(list, statement{sql: sql, args: args})
		}
	}
	list = append(list, f.single...)
	do(len(f.old.ids), insertOld, f.old.args()...)
	do(len(f.created.ids), insertResource, f.created.args()...)
	do(len(f.entered.ids), insertTerms, f.entered.args()...)
	list = append(list, putLive(f.live)...)
	l := f.log
	do(len(l.ids), insertLog, l.seqs, l.types, l.ids, l.versions, l.times, l.deleted)
	l = f.logOfOwner
	do(len(l.ids), insertLogOfOwner, l.seqs, l.types, l.ids, l.versions, l.times, l.deleted, l.owners)
	do(len(f.put.keys), putRecords, f.put.kinds, f.put.keys, f.put.values, f.put.expires)
	return list
}

// putLive stores rows with lists in them, which cannot be passed as columns: so
// many in a statement, to have few different ones.
func putLive(rows [][]any) (list []statement) {
	for _, size := range []int{50, 10, 1} {
		for len(rows) >= size {
			var args []any
			for _, row := range rows[:size] {
				args = append(args, row...)
			}
			list = append(list, statement{sql: liveSQL(size), args: args})
			rows = rows[size:]
		}
	}
	return list
}

func liveSQL(rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO live (owner, type, id, first, terms) VALUES `)
	for i := range rows {
		if i > 0 {
			b.WriteString(`, `)
		}
		for j := range 5 {
			b.WriteString([]string{`($`, `, $`, `, $`, `, $`, `, $`}[j] + strconv.Itoa(5*i+j+1))
		}
		b.WriteString(`)`)
	}
	return b.String() + ` ON CONFLICT (owner, type, id) DO UPDATE SET first = excluded.first, terms = excluded.terms`
}
