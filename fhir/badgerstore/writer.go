package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"mypatients/fhir/store"
)

// A writer adds to the overlay of the commit round.
type writer struct {
	*reader
	round *round
}

var _ store.Writer = writer{}

func (w writer) put(key, value []byte, meta byte) {
	w.over.set(key, change{value: value, meta: meta})
}

func (w writer) remove(key []byte) { w.over.set(key, change{removed: true}) }

func (w writer) PutResource(v *store.Version) error {
	if err := w.check(v); err != nil {
		return err
	}
	old, err := w.newest(v.Key, false)
	if err != nil && err != store.ErrNotFound {
		return err
	}
	next := int64(1)
	if old != nil {
		next = old.Version + 1
	}
	if v.Version != next {
		return fmt.Errorf("badgerstore: version %d of a resource cannot follow version %d", v.Version, next-1)
	}
	if old != nil {
		w.put(historyKey(nil, v.Key, old.Version), encodeVersion(old), 0)
	}
	w.put(resourceKey(nil, v.Key), encodeVersion(v), deletedByte(v.Deleted))
	w.index(old, v)
	entry := encodeLog(v)
	w.put(logKey(nil, "", w.round.next), entry, 0)
	w.put(logKey(nil, v.Type, w.round.next), entry, 0)
	for owner := range v.Terms.Values(store.Owner) {
		w.put(binary.BigEndian.AppendUint64(ownerLogPrefix(owner), w.round.next), entry, 0)
	}
	w.round.next++
	return w.room()
}

func (w writer) Rewrite(key store.Key, version int64, terms store.Terms, body []byte) error {
	old, err := w.ResourceVersion(key, version)
	if err != nil {
		return err
	}
	newest, err := w.newest(key, false)
	if err != nil {
		return err
	}
	v := *old
	v.Terms, v.Body = terms, body
	if err := w.check(&v); err != nil {
		return err
	}
	if version != newest.Version {
		w.put(historyKey(nil, key, version), encodeVersion(&v), 0)
		return w.room()
	}
	w.put(resourceKey(nil, key), encodeVersion(&v), deletedByte(v.Deleted))
	w.index(old, &v)
	return w.room()
}

// room ends a transaction that has grown too big before it takes all memory.
func (w writer) room() error {
	if len(w.over.undo) > w.store.tune.keys || w.over.size-w.over.before > maxTransaction {
		return store.ErrTooBig
	}
	return nil
}

// check refuses what the layout of the keys cannot tell apart or hold.
func (w writer) check(v *store.Version) error {
	if v.Type == "" || v.ID == "" {
		return errors.New("badgerstore: a resource needs a type and an id")
	}
	if strings.IndexByte(v.Type, 0) >= 0 || strings.IndexByte(v.ID, 0) >= 0 {
		return store.ErrNUL
	}
	// An index key has a tag, three NULs, and the number that Badger adds.
	room := maxKey - len(v.Type) - len(v.ID) - 16
	if room < 0 {
		return fmt.Errorf("badgerstore: type and id are too long: %w", store.ErrTooBig)
	}
	if w.tooLarge(len(v.Terms) + len(v.Body)) {
		return fmt.Errorf("badgerstore: a resource is too large: %w", store.ErrTooBig)
	}
	return v.Terms.Check(func(name, value []byte) error {
		if len(name)+len(value) > room {
			return fmt.Errorf("badgerstore: an index term is too long: %w", store.ErrTooBig)
		}
		return nil
	})
}

// tooLarge tells whether a value is too large for a file of the value log.
func (w writer) tooLarge(size int) bool { return size > w.store.tune.logFile-1<<20 }

// index brings the index from the terms of the old version to those of the new
// one, touching only what differs.
func (w writer) index(old, v *store.Version) {
	if (old == nil || old.Deleted) && !v.Deleted {
		for name, value := range v.Terms.All() {
			enter(w, v, name, value)
		}
		return
	}
	var before, after []store.Term
	if old != nil && !old.Deleted {
		before = old.Terms.List()
	}
	if !v.Deleted {
		after = v.Terms.List()
	}
	for len(before) > 0 || len(after) > 0 {
		switch c := compareHeads(before, after); {
		case c < 0:
			w.unindex(v.Key, before[0])
			before = before[1:]
		case c > 0:
			w.enter(v, after[0])
			after = after[1:]
		default:
			if after[0].Name == store.Owner {
				w.enter(v, after[0]) // the row holds the other terms too
			}
			before, after = before[1:], after[1:]
		}
	}
}

func compareHeads(a, b []store.Term) int {
	if len(a) == 0 {
		return 1
	}
	if len(b) == 0 {
		return -1
	}
	if c := strings.Compare(a[0].Name, b[0].Name); c != 0 {
		return c
	}
	return strings.Compare(a[0].Value, b[0].Value)
}

func (w writer) enter(v *store.Version, t store.Term) {
	enter(w, v, t.Name, t.Value)
}

// enter takes names and values as they come: making strings of the bytes of packed
// terms would be half of the work.
func enter[S string | []byte](w writer, v *store.Version, name, value S) {
	if string(name) == store.Owner {
		w.round.key = append(ownerPrefix(w.round.key[:0], value, v.Type), v.ID...)
		w.put(w.round.key, bytes.Clone(v.Terms), 0)
		return
	}
	w.round.key = indexKey(w.round.key[:0], v.Type, name, value, v.ID)
	w.put(w.round.key, nil, 0)
}

func (w writer) unindex(k store.Key, t store.Term) {
	if t.Name == store.Owner {
		w.remove(append(ownerPrefix(nil, t.Value, k.Type), k.ID...))
		return
	}
	w.remove(indexKey(nil, k.Type, t.Name, t.Value, k.ID))
}

func (w writer) PutRecord(r *store.Record) error {
	if strings.IndexByte(r.Kind, 0) >= 0 {
		return store.ErrNUL
	}
	if len(r.Kind)+len(r.Key) > maxKey-16 || w.tooLarge(len(r.Value)) {
		return fmt.Errorf("badgerstore: a record is too large: %w", store.ErrTooBig)
	}
	if err := w.forget(r.Kind, r.Key); err != nil {
		return err
	}
	w.put(recordKey(nil, r.Kind, r.Key), encodeRecord(r), 0)
	if !r.Expires.IsZero() {
		w.put(expiryKey(nil, r.Expires.UnixMilli(), r.Kind, r.Key), nil, 0)
	}
	return w.room()
}

func (w writer) DeleteRecord(kind, key string) error {
	if _, err := w.Record(kind, key); err != nil {
		if err == store.ErrNotFound {
			return nil
		}
		return err
	}
	if err := w.forget(kind, key); err != nil {
		return err
	}
	w.remove(recordKey(nil, kind, key))
	return nil
}

// forget removes the expiry entry of a record, if there is one.
func (w writer) forget(kind, key string) error {
	old, err := w.record(kind, key, false) // most records are new: that they are not there is of no use to the cache
	if err == store.ErrNotFound {
		return nil
	}
	if err == nil && !old.Expires.IsZero() {
		w.remove(expiryKey(nil, old.Expires.UnixMilli(), kind, key))
	}
	return err
}

// sweep removes at most limit records that expired before the time given.
func (w writer) sweep(before time.Time, limit int) (int, error) {
	millis := before.UnixMilli()
	if before.Nanosecond()%int(time.Millisecond) != 0 {
		millis++ // what expired within this millisecond is past
	}
	var past [][]byte
	s := span{[]byte{tagExpiry}, expiryKey(nil, millis, "", "")[:9]}
	for row := range w.scan(s, false) {
		if past = append(past, bytes.Clone(row.key)); len(past) >= limit {
			break
		}
	}
	for _, key := range past {
		kind, name := splitExpiry(key)
		if err := w.DeleteRecord(kind, name); err != nil {
			return 0, err
		}
		w.remove(key)
	}
	return len(past), nil
}
