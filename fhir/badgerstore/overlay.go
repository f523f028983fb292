package badgerstore

import (
	"slices"

	"github.com/tidwall/btree"
)

// An overlay holds the writes of the transactions of one commit round, which
// are not in Badger yet, in the order of their keys. A transaction starts with begin;
// rollback leaves no trace of it.
type overlay struct {
	changes btree.Map[string, change]
	undo    []undo
	size    int64 // about the memory it takes
	before  int64 // the size when the transaction began
}

// A change is what will be stored under a key.
type change struct {
	value   []byte
	meta    byte
	removed bool
}

type undo struct {
	key   string
	prior change
	had   bool
}

// begin starts a transaction.
func (o *overlay) begin() {
	clear(o.undo)
	o.undo = o.undo[:0]
	o.before = o.size
}

// rollback takes back all that was written since begin.
func (o *overlay) rollback() {
	for _, u := range slices.Backward(o.undo) {
		if u.had {
			o.changes.Set(u.key, u.prior)
		} else {
			o.changes.Delete(u.key)
		}
	}
	o.size = o.before
	o.begin()
}

func (o *overlay) set(key []byte, c change) {
	k := string(key)
	prior, had := o.changes.Set(k, c)
	o.undo = append(o.undo, undo{k, prior, had})
	o.size += cost(k, c)
	if had {
		o.size -= cost(k, prior)
	}
}

func (o *overlay) get(key []byte) (change, bool) {
	return o.changes.Get(string(key))
}

// cost is about the memory that a change takes.
func cost(key string, c change) int64 { return int64(len(key)+len(c.value)) + 150 }

// A layer walks the changes inside a span, forwards or backwards.
type layer struct {
	iter    btree.MapIter[string, change]
	span    span
	reverse bool
	ok      bool
}

func (o *overlay) walk(s span, reverse bool) layer {
	l := layer{iter: o.changes.Iter(), span: s, reverse: reverse}
	switch {
	case !reverse:
		l.ok = l.iter.Seek(string(s.from))
	case l.iter.Seek(string(s.to)):
		l.ok = l.iter.Prev()
	default:
		l.ok = l.iter.Last()
	}
	l.check()
	return l
}

func (l *layer) next() {
	if l.reverse {
		l.ok = l.iter.Prev()
	} else {
		l.ok = l.iter.Next()
	}
	l.check()
}

func (l *layer) check() {
	if !l.ok {
		return
	}
	k := l.iter.Key()
	l.ok = k >= string(l.span.from) && k < string(l.span.to)
}

// touches tells whether there is a change inside the span.
func (o *overlay) touches(s span) bool {
	l := o.walk(s, false)
	return l.ok
}
