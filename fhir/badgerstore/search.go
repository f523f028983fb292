package badgerstore

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"mypatients/fhir/store"
)

// A searcher is a reader at work on one search and those nested in it.
type searcher struct {
	*reader
	steps int
}

// step ends a long search when nobody waits for it any more.
func (s *searcher) step() error {
	if s.steps++; s.steps%256 == 0 {
		return s.ctx.Err()
	}
	return nil
}

// A query is a search made ready.
type query struct {
	*searcher
	typ   string
	expr  store.Expr // what plan looks at
	test  condition  // what rows are judged by; nil until it is planned
	sorts []store.Sort
	after *found // begin behind this one
	limit int    // 0: all
}

// A found resource, with its values for the sorts, nil where it has none.
type found struct {
	id      string
	values  [][]byte
	version *store.Version // nil if it was not read yet
}

func (r *reader) Search(q store.Query) ([]store.Hit, error) {
	if q.Limit <= 0 {
		return nil, errors.New("badgerstore: a search needs a limit")
	}
	work := r.query(q)
	work.limit = q.Limit
	work.sorts = q.Sort
	if q.After != "" {
		place, err := store.ParsePosition(q.After, len(q.Sort))
		if err != nil {
			return nil, err
		}
		work.after = &found{id: place.ID, values: make([][]byte, len(q.Sort))}
		for i, v := range place.Values {
			if v != nil {
				work.after.values[i] = []byte(*v)
			}
		}
	}
	list, err := work.find()
	if err != nil {
		return nil, err
	}
	return work.hits(list)
}

func (r *reader) query(q store.Query) *query {
	return &query{searcher: &searcher{reader: r}, typ: q.Type, expr: q.Where}
}

// prepare plans the search, and makes ready what its candidates are judged by.
func (q *query) prepare() (d driver, err error) {
	if d, err = q.plan(); err != nil || q.test != nil {
		return d, err
	}
	where := q.expr
	if d.by == byOwner {
		where = store.Beside(where, d.values)
	}
	q.test, err = compile(where)
	return d, err
}

// hits fetches what was found.
func (q *query) hits(list []found) ([]store.Hit, error) {
	hits := make([]store.Hit, len(list))
	for i, f := range list {
		v, err := q.newest(store.Key{Type: q.typ, ID: f.id}, true)
		if err == nil && v.Deleted {
			err = errCorrupt
		}
		if err != nil {
			return nil, errors.Join(errors.New("badgerstore: the index names a resource that is not there"), err)
		}
		place := store.Place{ID: f.id}
		for _, value := range f.values {
			var s *string
			if value != nil {
				text := string(value)
				s = &text
			}
			place.Values = append(place.Values, s)
		}
		hits[i] = store.Hit{Version: v, Position: place.Position()}
	}
	return hits, nil
}

// find gives the first matches behind after, in the order asked for.
func (q *query) find() ([]found, error) {
	d, err := q.prepare()
	if err != nil {
		return nil, err
	}
	if d.by == bySort {
		return q.walkSort()
	}
	c := collector{query: q, limit: q.limit}
	inOrder := len(q.sorts) == 0 && d.by != byOwner
	err = q.each(d, func(f found) bool {
		c.add(f)
		return !inOrder || len(c.kept) < q.limit
	})
	return c.finish(), err
}

// Count implements store.Reader.
func (r *reader) Count(sq store.Query) (int, error) {
	q := r.query(sq)
	parts := store.Parts(q.expr)
	if len(parts) == 0 || parts[0] == nil && len(parts) == 1 {
		return q.countLive()
	}
	if e, ok := parts[0].(store.Equal); ok && len(parts) == 1 && e.Name != store.ID {
		return q.countEntries([]piece{q.equal(e.Name, e.Value)}, 1<<62)
	}
	d, err := q.prepare()
	if err != nil {
		return 0, err
	}
	var ids []string // of several owners: a resource may belong to more than one
	n := 0
	err = q.each(d, func(f found) bool {
		if n++; d.by == byOwner && len(d.values) > 1 {
			ids = append(ids, f.id)
		}
		return true
	})
	if ids != nil {
		slices.Sort(ids)
		n = len(slices.Compact(ids))
	}
	return n, err
}

func (q *query) countLive() (n int, err error) {
	for row := range q.scan(under(resourceKey(nil, store.Key{Type: q.typ})), false) {
		if row.meta() != deletedMark {
			n++
		}
		if err := q.step(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// behind tells whether a row comes behind after, as far as its id alone says.
func (q *query) behind(id string) bool {
	return q.after == nil || len(q.sorts) > 0 || id > q.after.id
}

// each visits the matches of a driver until visit has enough: by id, each once,
// but for owners, who are visited one after the other.
func (q *query) each(d driver, visit func(found) bool) error {
	switch d.by {
	case byID:
		return q.eachID(d.values, visit)
	case byOwner:
		for _, owner := range d.values {
			if err := q.eachOwned(owner, visit); err != nil {
				return err
			}
		}
		return nil
	case byIndex:
		switch {
		case len(d.pieces) == 1 && d.pieces[0].head == 0:
			return q.eachEqual(d.pieces[0], visit)
		case byIDs(d.pieces):
			return q.eachMerged(d.pieces, visit)
		}
		return q.eachEntry(d.pieces, visit)
	}
	from := ""
	if q.after != nil && len(q.sorts) == 0 {
		from = q.after.id
	}
	return q.eachRow(from, visit)
}

// keptFirst is how many of the candidates of a page stay in the cache, whether they match
// or not: who asks again meets them again.
const keptFirst = 128

// judge reads a candidate and tells whether to go on.
func (q *query) judge(id string, visit func(found) bool) (more bool, err error) {
	if err := q.step(); err != nil {
		return false, err
	}
	v, err := q.newest(store.Key{Type: q.typ, ID: id}, q.limit > 0 && q.steps <= keptFirst)
	if err == store.ErrNotFound || err == nil && v.Deleted {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return q.judgeVersion(v, visit)
}

func (q *query) judgeVersion(v *store.Version, visit func(found) bool) (more bool, err error) {
	ok, err := q.test.row(q.searcher, v)
	if !ok || err != nil {
		return err == nil, err
	}
	return visit(found{id: v.ID, values: q.sortValues(v), version: v}), nil
}

func (q *query) sortValues(v *store.Version) [][]byte {
	if len(q.sorts) == 0 {
		return nil
	}
	values := make([][]byte, len(q.sorts))
	for i, s := range q.sorts {
		values[i] = sortValue(v, s)
	}
	return values
}

// sortValue gives the value that a version is sorted by, nil if it has none.
func sortValue(v *store.Version, s store.Sort) (value []byte) {
	if s.Name == store.ID {
		return []byte(v.ID)
	}
	for value = range v.Terms.Values(s.Name) {
		if !s.Descending {
			break
		}
	}
	return value
}

func (q *query) eachID(ids []string, visit func(found) bool) error {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if !q.behind(id) {
			continue
		}
		if more, err := q.judge(id, visit); !more || err != nil {
			return err
		}
	}
	return nil
}

// eachEntry gathers the ids of several pieces first, to visit each once.
func (q *query) eachEntry(pieces []piece, visit func(found) bool) error {
	var ids []string
	for _, p := range pieces {
		if p.head == 0 {
			for id := range q.entries(p) {
				if err := q.step(); err != nil {
					return err
				}
				ids = append(ids, id)
			}
			continue
		}
		for row := range q.scan(p.span, false) {
			id := lastID(row.key)
			if p.test != nil && !p.test(row.key[p.head:len(row.key)-len(id)-1]) {
				continue
			}
			if err := q.step(); err != nil {
				return err
			}
			ids = append(ids, string(id))
		}
	}
	return q.eachID(ids, visit)
}

// eachRow walks the rows of the type behind an id.
func (q *query) eachRow(after string, visit func(found) bool) error {
	prefix := resourceKey(nil, store.Key{Type: q.typ})
	s := under(prefix)
	s.from = append(append(bytes.Clone(prefix), after...), 0)
	for row := range q.scan(s, false) {
		if row.meta() == deletedMark {
			continue
		}
		if err := q.step(); err != nil {
			return err
		}
		v, err := q.version(&row, len(prefix))
		if err != nil {
			return err
		}
		if more, err := q.judgeVersion(v, visit); !more || err != nil {
			return err
		}
	}
	return q.ctx.Err()
}

// version gives what a row of the type holds: what is found stays in the cache, and is
// mostly what the search before found.
func (q *query) version(row *row, head int) (*store.Version, error) {
	if row.item != nil && q.limit > 0 {
		cache := q.store.cache
		if v, ok := cache.get(row.key, cache.slot(row.key), q.snapshot); ok && v != nil {
			return v.(*store.Version), nil
		}
	}
	b, err := row.value()
	if err != nil {
		return nil, err
	}
	return decodeVersion(store.Key{Type: q.typ, ID: string(row.key[head:])}, b)
}

// eachOwned visits the rows of one owner, block by block.
func (q *query) eachOwned(owner string, visit func(found) bool) error {
	after, count := "", 0
	for {
		b, err := q.block(owner, q.typ, after)
		if err != nil || len(b.ids) == 0 {
			return err
		}
		if err := q.step(); err != nil {
			return err
		}
		if after = b.ids[len(b.ids)-1]; q.behind(after) {
			n, err := q.eachInBlock(b, count, visit)
			if err != nil {
				return err
			}
			if count += n; q.limit > 0 && len(q.sorts) == 0 && count >= q.limit {
				return nil
			}
		}
		if !b.more {
			return nil
		}
	}
}

// eachInBlock visits the matches in a block, a part of it at a time when a few
// are enough; count were visited before.
func (q *query) eachInBlock(b *block, count int, visit func(found) bool) (n int, err error) {
	step := blockRows
	if q.limit > 0 && len(q.sorts) == 0 {
		step = 128
	}
	first, _ := slices.BinarySearchFunc(b.ids, q, func(id string, q *query) int {
		if q.behind(id) {
			return 1
		}
		return -1
	})
	values := b.sortValues(q.sorts)
	for from := first; from < len(b.ids); from += step {
		to := min(from+step, len(b.ids))
		hits, err := q.test.rows(q.searcher, b, between(from, to))
		if err != nil {
			return n, err
		}
		for row := from; row < to; row++ {
			if !hits.has(row) {
				continue
			}
			sorts := len(q.sorts)
			f := found{id: b.ids[row], values: values[row*sorts : row*sorts+sorts : row*sorts+sorts]}
			n++
			if !visit(f) || q.limit > 0 && len(q.sorts) == 0 && count+n >= q.limit {
				return n, nil
			}
		}
	}
	return n, nil
}

// compare orders two found resources as the query asks.
func (q *query) compare(a, b found) int {
	for i, s := range q.sorts {
		x, y := a.values[i], b.values[i]
		switch {
		case x == nil && y == nil:
			continue
		case x == nil:
			return 1
		case y == nil:
			return -1
		}
		if c := bytes.Compare(x, y); c != 0 {
			if s.Descending {
				return -c
			}
			return c
		}
	}
	return strings.Compare(a.id, b.id)
}
