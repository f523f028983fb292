package badgerstore

import (
	"bytes"
	"iter"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// A row is a key with its value, met on a scan. It is good until the next step.
type row struct {
	key    []byte
	change change // the value, when it comes from the overlay
	item   *badger.Item
}

// meta gives the user byte of the value.
func (r *row) meta() byte {
	if r.item == nil {
		return r.change.meta
	}
	return r.item.UserMeta()
}

// value gives a copy of the value.
func (r *row) value() ([]byte, error) {
	if r.item == nil {
		return r.change.value, nil
	}
	return r.item.ValueCopy(nil)
}

// read lends the value to fn.
func (r *row) read(fn func([]byte) error) error {
	if r.item == nil {
		return fn(r.change.value)
	}
	return r.item.Value(fn)
}

// scan walks the keys of a span, as this reader sees them: what is in Badger,
// with the overlay on top.
func (r *reader) scan(s span, reverse bool) iter.Seq[row] {
	return func(yield func(row) bool) {
		if bytes.Compare(s.from, s.to) >= 0 {
			return
		}
		base := r.walk(s, reverse)
		defer base.it.Close()
		if r.over == nil {
			for ; base.ok; base.next() {
				if !yield(row{key: base.key(), item: base.it.Item()}) {
					return
				}
			}
			return
		}
		r.merge(&base, r.over.walk(s, reverse), yield)
	}
}

func (r *reader) merge(base *baseLayer, over layer, yield func(row) bool) {
	for base.ok || over.ok {
		order := 0
		switch {
		case !base.ok:
			order = 1
		case !over.ok:
			order = -1
		default:
			order = strings.Compare(string(base.key()), over.iter.Key())
			if base.reverse {
				order = -order
			}
		}
		if order < 0 {
			if !yield(row{key: base.key(), item: base.it.Item()}) {
				return
			}
			base.next()
			continue
		}
		c := over.iter.Value()
		if !c.removed && !yield(row{key: []byte(over.iter.Key()), change: c}) {
			return
		}
		over.next()
		if order == 0 {
			base.next()
		}
	}
}

// A baseLayer walks what Badger holds inside a span.
type baseLayer struct {
	it      *badger.Iterator
	span    span
	reverse bool
	ok      bool
}

func (r *reader) walk(s span, reverse bool) baseLayer {
	// Values are fetched by whoever wants them: Badger's own prefetching starts a
	// goroutine for each.
	l := baseLayer{span: s, reverse: reverse}
	l.it = r.txn.NewIterator(badger.IteratorOptions{Prefix: s.common(), Reverse: reverse})
	if !reverse {
		l.it.Seek(s.from)
		l.check()
		return l
	}
	l.it.Seek(s.to)
	for l.it.Valid() && bytes.Compare(l.it.Item().Key(), s.to) >= 0 {
		l.it.Next()
	}
	l.check()
	return l
}

func (l *baseLayer) key() []byte { return l.it.Item().Key() }

func (l *baseLayer) next() {
	l.it.Next()
	l.check()
}

func (l *baseLayer) check() {
	l.ok = l.it.Valid()
	if !l.ok {
		return
	}
	if l.reverse {
		l.ok = bytes.Compare(l.key(), l.span.from) >= 0
	} else {
		l.ok = bytes.Compare(l.key(), l.span.to) < 0
	}
}
