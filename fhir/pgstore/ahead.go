package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

var _ store.Ahead = (*reader)(nil)

const (
	selectResources = `SELECT k.type, k.id, ` + versionColumns + ` FROM unnest($1::bytea[], $2::bytea[]) AS k(type, id),
LATERAL (SELECT * FROM resource r WHERE r.type = k.type AND r.id = k.id OFFSET 0) r`

	selectSeveralRecords = `SELECT r.key, r.value, r.expires FROM unnest($2::bytea[]) AS k(key),
LATERAL (SELECT * FROM record r WHERE r.kind = $1 AND r.key = k.key OFFSET 0) r`
)

// ReadAhead implements store.Ahead, up to what a reader keeps.
func (r *reader) ReadAhead(resources []store.Key, kind string, records []string) error {
	var list []statement
	if one := r.aheadResources(resources); one != nil {
		list = append(list, *one)
	}
	if one := r.aheadRecords(kind, records); one != nil {
		list = append(list, *one)
	}
	if len(list) == 0 {
		return nil
	}
	return r.run(list...)
}

func (r *reader) aheadResources(keys []store.Key) *statement {
	var types, ids [][]byte
	for _, k := range keys {
		if _, known := r.versions[k]; !known && !(r.writes != nil && r.writes.resources[k] != nil) {
			types, ids = append(types, []byte(k.Type)), append(ids, []byte(k.ID))
		}
	}
	if len(ids) == 0 || len(ids) > keep/2 {
		return nil
	}
	return &statement{selectResources, []any{types, ids}, func(rows pgx.Rows) error {
		for i := range ids {
			r.know(store.Key{Type: string(types[i]), ID: string(ids[i])}, nil)
		}
		for rows.Next() {
			var typ, id []byte
			var millis int64
			v := &store.Version{}
			if err := rows.Scan(&typ, &id, &v.Version, &millis, &v.Deleted, (*[]byte)(&v.Terms), &v.Body); err != nil {
				return errCorrupt
			}
			v.Key, v.Time = store.Key{Type: string(typ), ID: string(id)}, time.UnixMilli(millis).UTC()
			r.know(v.Key, v)
		}
		return nil
	}}
}

func (r *reader) aheadRecords(kind string, keys []string) *statement {
	var missing [][]byte
	for _, key := range keys {
		k := recordKey{kind, key}
		if _, known := r.records[k]; !known && !r.presume(k) {
			missing = append(missing, []byte(key))
		}
	}
	if len(missing) == 0 || len(missing) > keepRecords/2 {
		return nil
	}
	return &statement{selectSeveralRecords, []any{[]byte(kind), missing}, func(rows pgx.Rows) error {
		list, err := scanRecords(rows, kind)
		if err != nil {
			return err
		}
		there := make(map[string]*store.Record, len(list))
		for _, record := range list {
			there[record.Key] = record
		}
		for _, key := range missing {
			r.learn(recordKey{kind, string(key)}, there[string(key)])
		}
		return nil
	}}
}
