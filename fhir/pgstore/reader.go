package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

// A reader reads from one snapshot and, inside an Update, from the writes on top
// of it. It keeps what it has read.
type reader struct {
	*session
	writes   *writes             // nil in a View
	presumed *store.Presumptions // nil: none are allowed
	versions map[store.Key]*store.Version
	records  map[recordKey]*store.Record
}

type recordKey struct{ kind, key string }

var _ store.Reader = (*reader)(nil)

// How much a reader keeps. Records are small, and decisions rest on many.
const (
	keep        = 1000
	keepRecords = 10_000
)

// ask runs statements behind the writes that are not sent yet, if they are about
// resources or records.
func (r *reader) ask(list ...statement) error {
	if r.writes == nil || r.writes.empty() {
		return r.run(list...)
	}
	return r.run(append(r.flush(), list...)...)
}

func (r *reader) Resource(k store.Key) (*store.Version, error) {
	if r.writes != nil {
		if c := r.writes.resources[k]; c != nil {
			return c.newest(), nil
		}
	}
	v, known := r.versions[k]
	if !known {
		var err error
		if v, err = r.fetch(k); err != nil {
			return nil, err
		}
	}
	if v == nil {
		return nil, store.ErrNotFound
	}
	return v, nil
}

// versionColumns are what scanVersion reads, of a table r.
const versionColumns = `r.version, r.time, r.deleted, r.terms, r.body`

const selectResource = `SELECT ` + versionColumns + ` FROM resource r WHERE r.type = $1 AND r.id = $2`

// fetch reads the newest version, nil if there is none.
func (r *reader) fetch(k store.Key) (v *store.Version, err error) {
	err = r.run(statement{selectResource, []any{[]byte(k.Type), []byte(k.ID)}, func(rows pgx.Rows) error {
		v = nil
		list, err := scanVersions(rows, k)
		if len(list) > 0 {
			v = list[0]
		}
		return err
	}})
	if err != nil {
		return nil, err
	}
	r.know(k, v)
	return v, nil
}

// know keeps a newest version; nil: there is none.
func (r *reader) know(k store.Key, v *store.Version) {
	if r.versions == nil || len(r.versions) >= keep {
		r.versions = map[store.Key]*store.Version{}
	}
	r.versions[k] = v
}

func scanVersions(rows pgx.Rows, k store.Key) (list []*store.Version, err error) {
	for rows.Next() {
		v := &store.Version{Key: k}
		var millis int64
		if err := rows.Scan(&v.Version, &millis, &v.Deleted, (*[]byte)(&v.Terms), &v.Body); err != nil {
			return nil, errCorrupt
		}
		v.Time = time.UnixMilli(millis).UTC()
		list = append(list, v)
	}
	return list, nil
}

func (r *reader) ResourceVersion(k store.Key, version int64) (*store.Version, error) {
	v, err := r.Resource(k)
	if err != nil || v.Version == version {
		return v, err
	}
	if version < 1 || version > v.Version {
		return nil, store.ErrNotFound
	}
	list, err := r.older(k, version+1, 1)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Version != version {
		return nil, errCorrupt
	}
	return list[0], nil
}

func (r *reader) History(k store.Key, before int64, limit int) ([]*store.Version, error) {
	newest, err := r.Resource(k)
	if err == store.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*store.Version
	if limit > 0 && (before == 0 || newest.Version < before) {
		list = append(list, newest)
	}
	if len(list) >= limit || newest.Version == 1 {
		return list, nil
	}
	if before == 0 || before > newest.Version {
		before = newest.Version
	}
	old, err := r.older(k, before, limit-len(list))
	return append(list, old...), err
}

const selectHistory = `SELECT ` + versionColumns + ` FROM history r WHERE r.type = $1 AND r.id = $2 AND r.version < $3 ORDER BY r.version DESC LIMIT $4`

// older lists old versions below one, newest first.
func (r *reader) older(k store.Key, below int64, limit int) (list []*store.Version, err error) {
	err = r.ask(statement{selectHistory, []any{[]byte(k.Type), []byte(k.ID), below, limit}, func(rows pgx.Rows) (err error) {
		list, err = scanVersions(rows, k)
		return err
	}})
	return list, err
}

const selectRecord = `SELECT r.key, r.value, r.expires FROM record r WHERE r.kind = $1 AND r.key = $2`

func (r *reader) Record(kind, key string) (*store.Record, error) {
	k := recordKey{kind, key}
	if r.writes != nil {
		if c, ok := r.writes.records[k]; ok {
			return found(c)
		}
	}
	if _, known := r.records[k]; known || r.presume(k) {
		return found(r.records[k])
	}
	var record *store.Record
	err := r.run(statement{selectRecord, []any{[]byte(kind), []byte(key)}, func(rows pgx.Rows) error {
		record = nil
		list, err := scanRecords(rows, kind)
		if len(list) > 0 {
			record = list[0]
		}
		return err
	}})
	if err != nil {
		return nil, err
	}
	r.learn(k, record)
	return found(record)
}

func (r *reader) knowRecord(k recordKey, record *store.Record) {
	if r.records == nil || len(r.records) >= keepRecords {
		r.records = map[recordKey]*store.Record{}
	}
	r.records[k] = record
}

func found(r *store.Record) (*store.Record, error) {
	if r == nil {
		return nil, store.ErrNotFound
	}
	return r, nil
}

func scanRecords(rows pgx.Rows, kind string) (list []*store.Record, err error) {
	for rows.Next() {
		var key []byte
		var expires *int64
		record := &store.Record{Kind: kind}
		if err := rows.Scan(&key, &record.Value, &expires); err != nil {
			return nil, errCorrupt
		}
		record.Key = string(key)
		if expires != nil {
			record.Expires = time.UnixMilli(*expires).UTC()
		}
		list = append(list, record)
	}
	return list, nil
}

const selectAllRecords = `SELECT r.key, r.value, r.expires FROM record r
WHERE r.kind = $1 AND r.key >= $2 ORDER BY r.key LIMIT $3`

const selectRecordsTo = `SELECT r.key, r.value, r.expires FROM record r
WHERE r.kind = $1 AND r.key >= $2 AND r.key < $3 ORDER BY r.key LIMIT $4`

func (r *reader) Records(kind, prefix, after string, limit int) (list []*store.Record, err error) {
	if limit <= 0 {
		return nil, nil
	}
	from := []byte(prefix)
	if after >= prefix && after != "" {
		from = append([]byte(after), 0) // the next string there can be
	}
	one := statement{selectAllRecords, []any{[]byte(kind), from, limit}, func(rows pgx.Rows) (err error) {
		list, err = scanRecords(rows, kind)
		return err
	}}
	if to := store.Beyond([]byte(prefix)); to != nil {
		one.sql, one.args = selectRecordsTo, []any{[]byte(kind), from, to, limit}
	}
	err = r.ask(one)
	return list, err
}
