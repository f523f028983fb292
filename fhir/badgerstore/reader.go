package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/dgraph-io/badger/v4"

	"mypatients/fhir/store"
)

// A reader reads from one snapshot and, inside an Update, from the writes on
// top of it.
type reader struct {
	store    *Store
	ctx      context.Context
	txn      *badger.Txn
	snapshot uint64
	over     *overlay // nil in a View
	key      []byte   // scratch
}

var (
	_ store.Reader = (*reader)(nil)
	_ store.Dated  = (*reader)(nil)
)

// load gives the stored bytes under a key, or store.ErrNotFound.
func (r *reader) load(key []byte) ([]byte, error) {
	item, err := r.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("badgerstore: reading: %w", err)
	}
	b, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("badgerstore: reading: %w", err)
	}
	return b, nil
}

// written looks a key up in the overlay.
func (r *reader) written(key []byte) (change, bool) {
	if r.over == nil {
		return change{}, false
	}
	return r.over.get(key)
}

func (r *reader) Resource(k store.Key) (*store.Version, error) {
	return r.newest(k, true)
}

// newest gives the newest version, or store.ErrNotFound. With keep it stays in
// the cache.
func (r *reader) newest(k store.Key, keep bool) (*store.Version, error) {
	r.key = resourceKey(r.key[:0], k)
	if c, ok := r.written(r.key); ok {
		return decodeVersion(k, c.value) // newest versions are never removed
	}
	slot := r.store.cache.slot(r.key)
	if v, ok := r.store.cache.get(r.key, slot, r.snapshot); ok {
		if v, ok := v.(*store.Version); ok {
			return v, nil
		}
		return nil, store.ErrNotFound
	}
	b, err := r.load(r.key)
	if err != nil {
		if keep && err == store.ErrNotFound {
			r.store.cache.put(r.key, r.snapshot, nil, 0)
		}
		return nil, err
	}
	v, err := decodeVersion(k, b)
	if err == nil && keep {
		r.store.cache.put(r.key, r.snapshot, v, len(b)+entryCost)
	}
	return v, err
}

func (r *reader) ResourceVersion(k store.Key, version int64) (*store.Version, error) {
	v, err := r.Resource(k)
	if err != nil {
		return nil, err
	}
	if v.Version == version {
		return v, nil
	}
	r.key = historyKey(r.key[:0], k, version)
	if c, ok := r.written(r.key); ok {
		return decodeVersion(k, c.value)
	}
	b, err := r.load(r.key)
	if err != nil {
		return nil, err
	}
	return decodeVersion(k, b)
}

func (r *reader) History(k store.Key, before int64, limit int) ([]*store.Version, error) {
	newest, err := r.Resource(k)
	if err != nil {
		if err == store.ErrNotFound {
			return nil, nil
		}
		return nil, err
	}
	var list []*store.Version
	if limit > 0 && (before == 0 || newest.Version < before) {
		list = append(list, newest)
	}
	s := under(historyPrefix(nil, k))
	if before > 0 {
		s.from = historyKey(nil, k, before-1)
	}
	if len(list) >= limit {
		return list, nil
	}
	for row := range r.scan(s, false) {
		b, err := row.value()
		if err != nil {
			return nil, err
		}
		v, err := decodeVersion(k, b)
		if err != nil {
			return nil, err
		}
		if list = append(list, v); len(list) >= limit {
			break
		}
	}
	return list, r.ctx.Err()
}

// Positions in the log are numbers in 16 hexadecimal digits, so that they sort.

func logPosition(number uint64) string { return fmt.Sprintf("%016x", number) }

func (r *reader) Log(q store.LogQuery) ([]store.LogEntry, error) {
	prefix := logPrefix(nil, q.Type)
	if q.Owner != "" {
		prefix = ownerLogPrefix([]byte(q.Owner))
	}
	s := under(prefix)
	if q.After != "" {
		after, err := strconv.ParseUint(q.After, 16, 64)
		if err != nil || len(q.After) != 16 || after == math.MaxUint64 {
			return nil, store.ErrPosition
		}
		if q.Reverse {
			s.to = binary.BigEndian.AppendUint64(prefix, after)
		} else {
			s.from = binary.BigEndian.AppendUint64(prefix, after+1)
		}
	}
	var list []store.LogEntry
	if q.Limit <= 0 {
		return nil, nil
	}
	for row := range r.scan(s, q.Reverse) {
		number := binary.BigEndian.Uint64(row.key[len(prefix):])
		var e store.LogEntry
		err := row.read(func(b []byte) (err error) {
			e, err = decodeLog(number, b)
			return err
		})
		if err != nil {
			return nil, err
		}
		if q.Type != "" && e.Key.Type != q.Type { // the log of an owner has all types
			continue
		}
		if list = append(list, e); len(list) >= q.Limit {
			break
		}
	}
	return list, r.ctx.Err()
}

func (r *reader) Record(kind, key string) (*store.Record, error) { return r.record(kind, key, true) }

// record gives a record, or store.ErrNotFound. With keep that stays in the cache.
func (r *reader) record(kind, key string, keep bool) (*store.Record, error) {
	r.key = recordKey(r.key[:0], kind, key)
	if c, ok := r.written(r.key); ok {
		if c.removed {
			return nil, store.ErrNotFound
		}
		return decodeRecord(kind, key, c.value)
	}
	slot := r.store.cache.slot(r.key)
	if v, ok := r.store.cache.get(r.key, slot, r.snapshot); ok {
		if v, ok := v.(*store.Record); ok {
			return v, nil
		}
		return nil, store.ErrNotFound
	}
	b, err := r.load(r.key)
	if err == store.ErrNotFound && keep {
		r.store.cache.put(r.key, r.snapshot, nil, 0)
	}
	if err != nil {
		return nil, err
	}
	record, err := decodeRecord(kind, key, b)
	if err == nil && keep {
		r.store.cache.put(r.key, r.snapshot, record, len(b)+len(r.key))
	}
	return record, err
}

// StateOf implements store.Dated: what was last written to any record of the kind, of
// which all that a snapshot holds is known before anybody reads from it.
func (r *reader) StateOf(kind string) uint64 {
	if r.over != nil {
		return 0
	}
	r.key = kindPrefix(r.key[:0], kind)
	written := r.store.cache.written(r.store.cache.slot(r.key))
	if written > r.snapshot {
		return 0
	}
	return written + 1 // 0 is nothing since opening
}

func (r *reader) Records(kind, prefix, after string, limit int) ([]*store.Record, error) {
	head := len(kind) + 2
	s := under(recordKey(nil, kind, prefix))
	if after >= prefix && after != "" {
		s.from = append(recordKey(nil, kind, after), 0)
	}
	var list []*store.Record
	if limit <= 0 {
		return nil, nil
	}
	for row := range r.scan(s, false) {
		b, err := row.value()
		if err != nil {
			return nil, err
		}
		record, err := decodeRecord(kind, string(row.key[head:]), b)
		if err != nil {
			return nil, err
		}
		if list = append(list, record); len(list) >= limit {
			break
		}
	}
	return list, r.ctx.Err()
}
