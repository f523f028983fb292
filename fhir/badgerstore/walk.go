package badgerstore

import (
	"bytes"
	"iter"
	"slices"
)

// ids walks the entries of one value behind the place where the page begins: they
// are in the order of their ids.
func (q *query) ids(p piece) iter.Seq[string] {
	if q.after == nil || len(q.sorts) > 0 {
		return q.entries(p)
	}
	s := p.span
	s.from = append(append(bytes.Clone(s.from), q.after.id...), 0)
	return func(yield func(string) bool) {
		for row := range q.scan(s, false) {
			if !yield(string(lastID(row.key))) {
				return
			}
		}
	}
}

// fewEntries is how many entries of the index the cache keeps of one value.
const fewEntries = 64

// entries walks all entries of one value. When they are few they stay in the cache:
// decisions ask again and again for what names a person, and to find the beginning of a
// stretch costs the more the larger the store is.
func (r *reader) entries(p piece) iter.Seq[string] {
	if ids, ok := r.cachedEntries(p); ok {
		return slices.Values(ids)
	}
	return func(yield func(string) bool) {
		r.walkEntries(p, func(id []byte) bool { return yield(string(id)) })
	}
}

// keepsEntries tells whether the entries of a piece may be in the cache, under the key
// that it begins with.
func (r *reader) keepsEntries(p piece) bool {
	return p.head == 0 && p.span.from[0] == tagIndex && (r.over == nil || !r.over.touches(p.span))
}

func (r *reader) cachedEntries(p piece) (ids []string, ok bool) {
	if !r.keepsEntries(p) {
		return nil, false
	}
	key, cache := p.span.from, r.store.cache
	v, ok := cache.get(key, cache.slot(key), r.snapshot)
	if ok {
		ids = v.([]string)
	}
	return ids, ok
}

// walkEntries visits all entries of a piece, until visit has enough.
func (r *reader) walkEntries(p piece, visit func(id []byte) bool) {
	var ids []string
	n, size := 0, 0
	for row := range r.scan(p.span, false) {
		id := lastID(row.key)
		if n++; n <= fewEntries {
			ids, size = append(ids, string(id)), size+len(id)+16
		}
		if !visit(id) {
			return
		}
	}
	if n <= fewEntries && r.keepsEntries(p) {
		r.store.cache.put(p.span.from, r.snapshot, ids, size)
	}
}

func (q *query) eachEqual(p piece, visit func(found) bool) error {
	for id := range q.ids(p) {
		if more, err := q.judge(id, visit); !more || err != nil {
			return err
		}
	}
	return q.ctx.Err()
}

// eachMerged walks the entries of several values side by side, so that all come in
// the order of their ids, each once.
func (q *query) eachMerged(pieces []piece, visit func(found) bool) error {
	type walk struct {
		id   string
		ok   bool
		next func() (string, bool)
	}
	walks := make([]walk, len(pieces))
	for i, p := range pieces {
		next, stop := iter.Pull(q.ids(p))
		defer stop()
		id, ok := next()
		walks[i] = walk{id, ok, next}
	}
	for {
		id, any := "", false
		for _, w := range walks {
			if w.ok && (!any || w.id < id) {
				id, any = w.id, true
			}
		}
		if !any {
			return q.ctx.Err()
		}
		for i := range walks {
			if w := &walks[i]; w.ok && w.id == id {
				w.id, w.ok = w.next()
			}
		}
		if more, err := q.judge(id, visit); !more || err != nil {
			return err
		}
	}
}
