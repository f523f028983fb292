package pgstore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"mypatients/fhir/store"
)

const (
	maxKey    = 700       // type and id, and a name: what an index row takes
	maxRecord = 2000      // kind and key
	maxTerm   = 65000     // type, id, name and value, as in the other engine
	maxValue  = 256 << 20 // a body with its terms, or a record

	maxTransaction = 512 << 20 // bytes
	flushAt        = 8 << 20   // bytes gathered before they are sent
)

// writes are what a transaction has written and not sent yet.
type writes struct {
	resources map[store.Key]*change
	records   map[recordKey]*store.Record // nil: removed
	log       []*store.Version
	seq       int64 // entries of the log sent before

	size, total int64 // bytes gathered, and of all the transaction
	keys        int   // rows of all the transaction
	careful     bool  // take nothing to be absent that was not looked for
}

// A change is what happens to one resource.
type change struct {
	stored *store.Version   // in the database; nil: none
	next   []*store.Version // what comes after it; the first may be stored with other terms
}

func (c *change) newest() *store.Version { return c.next[len(c.next)-1] }

func (w *writes) empty() bool { return len(w.resources) == 0 && len(w.records) == 0 }

// A writer adds to the writes of a transaction.
type writer struct{ *reader }

var _ store.Writer = writer{}

func (w writer) PutResource(v *store.Version) error {
	if err := check(v); err != nil {
		return err
	}
	old, err := w.before(v)
	if err != nil {
		return err
	}
	next := int64(1)
	if old != nil {
		next = old.Version + 1
	}
	if v.Version != next {
		return fmt.Errorf("pgstore: version %d of a resource cannot follow version %d", v.Version, next-1)
	}
	own := *v
	own.Terms, own.Body = bytes.Clone(v.Terms), bytes.Clone(v.Body)
	c := w.writes.change(v.Key, old)
	c.next = append(c.next, &own)
	w.writes.log = append(w.writes.log, &own)
	return w.room(len(v.Terms)+len(v.Body), 4+countTerms(v.Terms))
}

// before gives the newest version, nil if there is none. Whoever writes a first
// version mostly knows that: the database will say if not, and then it is asked.
func (w writer) before(v *store.Version) (*store.Version, error) {
	if c := w.writes.resources[v.Key]; c != nil {
		return c.newest(), nil
	}
	if _, known := w.versions[v.Key]; !known && v.Version == 1 && !w.writes.careful {
		return nil, nil
	}
	old, err := w.Resource(v.Key)
	if err == store.ErrNotFound {
		return nil, nil
	}
	return old, err
}

// change gives the change of a resource whose newest version is old.
func (w *writes) change(k store.Key, old *store.Version) *change {
	c := w.resources[k]
	if c == nil {
		c = &change{stored: old}
		w.resources[k] = c
	}
	return c
}

func (w writer) Rewrite(key store.Key, version int64, terms store.Terms, body []byte) error {
	newest, err := w.Resource(key)
	if err != nil {
		return err
	}
	old := newest
	if version != newest.Version {
		if old, err = w.ResourceVersion(key, version); err != nil {
			return err
		}
	}
	v := *old
	v.Terms, v.Body = bytes.Clone(terms), bytes.Clone(body)
	if err := check(&v); err != nil {
		return err
	}
	if version != newest.Version { // it may wait to be sent
		w.writes.total += int64(len(terms) + len(body))
		return w.ask(statement{sql: updateOld, args: []any{[]byte(key.Type), []byte(key.ID), version, full(v.Terms), full(v.Body)}})
	}
	c := w.writes.change(key, old)
	if n := len(c.next); n > 0 {
		c.next[n-1] = &v
	} else {
		c.next = append(c.next, &v)
	}
	return w.room(len(terms)+len(body), 1+countTerms(terms))
}

func (w writer) PutRecord(r *store.Record) error {
	if strings.IndexByte(r.Kind, 0) >= 0 {
		return store.ErrNUL
	}
	if len(r.Kind)+len(r.Key) > maxRecord || len(r.Value) > maxValue {
		return fmt.Errorf("pgstore: a record is too large: %w", store.ErrTooBig)
	}
	own := *r
	own.Value = bytes.Clone(r.Value)
	if !r.Expires.IsZero() {
		own.Expires = time.UnixMilli(r.Expires.UnixMilli()).UTC()
	}
	w.writes.records[recordKey{r.Kind, r.Key}] = &own
	return w.room(len(r.Kind)+len(r.Key)+len(r.Value), 2)
}

func (w writer) DeleteRecord(kind, key string) error {
	k := recordKey{kind, key}
	if r, known := w.records[k]; known && r == nil {
		if _, changed := w.writes.records[k]; !changed {
			return nil // it was looked for and not found
		}
	}
	w.writes.records[k] = nil
	return w.room(len(kind)+len(key), 1)
}

// room counts what was written, ends a transaction that has grown too big before
// it takes all memory, and sends what has gathered.
func (w writer) room(size, rows int) error {
	n := int64(size + 150*rows)
	w.writes.size += n
	w.writes.total += n
	w.writes.keys += rows
	switch {
	case w.writes.over():
		return store.ErrTooBig
	case w.writes.size > flushAt:
		return w.run(w.flush()...)
	}
	return nil
}

// over tells whether a transaction is too big.
func (w *writes) over() bool { return w.keys > 1_000_000 || w.total > maxTransaction }

func countTerms(terms store.Terms) (n int) {
	for range terms.All() {
		n++
	}
	return n
}

// check refuses what the tables cannot tell apart or hold.
func check(v *store.Version) error {
	if v.Type == "" || v.ID == "" {
		return errors.New("pgstore: a resource needs a type and an id")
	}
	if strings.IndexByte(v.Type, 0) >= 0 || strings.IndexByte(v.ID, 0) >= 0 {
		return store.ErrNUL
	}
	key := len(v.Type) + len(v.ID)
	if key > maxKey {
		return fmt.Errorf("pgstore: type and id are too long: %w", store.ErrTooBig)
	}
	if len(v.Terms)+len(v.Body) > maxValue {
		return fmt.Errorf("pgstore: a resource is too large: %w", store.ErrTooBig)
	}
	return v.Terms.Check(func(name, value []byte) error {
		owner := string(name) == store.Owner
		if len(name) > maxKey || key+len(name)+len(value) > maxTerm || owner && len(value) > maxRecord-maxKey {
			return fmt.Errorf("pgstore: an index term is too long: %w", store.ErrTooBig)
		}
		return nil
	})
}
