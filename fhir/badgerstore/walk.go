package badgerstore

import (
	"bytes"
	"iter"
)

// ids walks the entries of one value behind the place where the page begins: they
// are in the order of their ids.
func (q *query) ids(p piece) iter.Seq[[]byte] {
	s := p.span
	if q.after != nil && len(q.sorts) == 0 {
		s.from = append(append(bytes.Clone(s.from), q.after.id...), 0)
	}
	return func(yield func([]byte) bool) {
		for row := range q.scan(s, false) {
			if !yield(lastID(row.key)) {
				return
			}
		}
	}
}

func (q *query) eachEqual(p piece, visit func(found) bool) error {
	for id := range q.ids(p) {
		if more, err := q.judge(string(id), visit); !more || err != nil {
			return err
		}
	}
	return q.ctx.Err()
}

// eachMerged walks the entries of several values side by side, so that all come in
// the order of their ids, each once.
func (q *query) eachMerged(pieces []piece, visit func(found) bool) error {
	type walk struct {
		id   []byte
		ok   bool
		next func() ([]byte, bool)
	}
	walks := make([]walk, len(pieces))
	for i, p := range pieces {
		next, stop := iter.Pull(q.ids(p))
		defer stop()
		id, ok := next()
		walks[i] = walk{id, ok, next}
	}
	for {
		var least []byte
		for _, w := range walks {
			if w.ok && (least == nil || bytes.Compare(w.id, least) < 0) {
				least = w.id
			}
		}
		if least == nil {
			return q.ctx.Err()
		}
		id := string(least)
		for i := range walks {
			if w := &walks[i]; w.ok && string(w.id) == id {
				w.id, w.ok = w.next()
			}
		}
		if more, err := q.judge(id, visit); !more || err != nil {
			return err
		}
	}
}
