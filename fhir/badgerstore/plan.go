package badgerstore

import (
	"bytes"
	"math"
	"slices"

	"mypatients/fhir/store"
)

// A driver says where candidates come from. Whatever it is, each candidate is
// judged by the whole condition, so a driver only has to miss none.
type driver struct {
	by     way
	values []string // ids, or owners
	pieces []piece
}

type way int

const (
	byType  way = iota // all rows of the type, by id
	byID               // the ids named
	byOwner            // the rows of the owners named
	byIndex            // stretches of the index
	bySort             // the index of the first sort, in its order
)

// A piece is a stretch of the index: the entries of one name from one value to
// another, or the rows of one owner.
type piece struct {
	span span
	head int               // length of the key before the value; 0: the value is given
	test func([]byte) bool // of the value; nil: all
}

// plan finds the driver that promises the least work.
func (q *query) plan() (driver, error) {
	tune := q.store.tune
	best, effort := driver{by: byType}, math.MaxInt
	if ids, ok := store.ValuesOf(q.expr, store.ID); ok {
		best, effort = driver{by: byID, values: ids}, len(ids)
	}
	if owners, ok := store.ValuesOf(q.expr, store.Owner); ok && len(owners)*tune.owner < effort {
		best, effort = driver{by: byOwner, values: owners}, len(owners)*tune.owner
	}
	if effort <= tune.little {
		return best, nil
	}
	parts := store.Parts(q.expr)
	if best.by == byType {
		if d, ok := q.only(parts); ok {
			return d, nil
		}
	}
	found, n, exact, err := q.bestIndex(parts, effort)
	if err != nil {
		return driver{}, err
	}
	if found.by == byIndex && n < effort && exact {
		best, effort = found, n
	}
	if effort > tune.much {
		joined, n, err := q.join(parts, min(effort, tune.countUpTo))
		if err != nil {
			return driver{}, err
		}
		if n < effort && joined.by != byType {
			best, effort = joined, n
		}
	}
	if effort <= tune.countUpTo || best.by == byOwner && len(best.values) <= tune.owners {
		return best, nil
	}
	return q.inOrder(found), nil
}

// only gives the stretches of the index that can be walked in the order asked for,
// if nothing else could be better.
func (q *query) only(parts []store.Expr) (d driver, ok bool) {
	if len(q.sorts) > 0 {
		return driver{}, false
	}
	for _, part := range parts {
		switch part.(type) {
		case store.Ref, store.Back:
			return driver{}, false
		}
		pieces, has := q.pieces(part)
		if !has {
			continue
		}
		if d.pieces != nil || !byIDs(pieces) {
			return driver{}, false
		}
		d = driver{by: byIndex, pieces: pieces}
	}
	return d, d.pieces != nil
}

// maxWalked is how many stretches of the index are walked side by side at most.
const maxWalked = 16

// byIDs tells whether stretches can be walked in the order of the ids: those of
// single values can, side by side.
func byIDs(pieces []piece) bool {
	return len(pieces) > 0 && len(pieces) <= maxWalked && !slices.ContainsFunc(pieces, func(p piece) bool { return p.head != 0 })
}

// inOrder gives a driver that yields rows in the order asked for, so that a page
// ends early, for conditions that hold for much.
func (q *query) inOrder(index driver) driver {
	switch {
	case len(q.sorts) > 0 && q.limit > 0 && q.sorts[0].Name != store.Owner && q.sorts[0].Name != store.ID:
		return driver{by: bySort}
	case byIDs(index.pieces):
		return index
	}
	return driver{by: byType}
}

// bestIndex gives the part of an And with the fewest index entries, and how many
// it has. It gives up counting at what is promised already; then exact is false, and
// the driver is the part that looks most promising.
func (q *query) bestIndex(parts []store.Expr, effort int) (best driver, n int, exact bool, err error) {
	limit := min(effort, q.store.tune.countUpTo)
	var drivers, all []driver
	for _, part := range parts {
		// To find the beginning of a piece costs what judging an owner's rows does.
		most := effort / q.store.tune.owner
		if in, ok := part.(store.In); ok && effort <= limit && len(in.Values) >= most {
			continue
		}
		pieces, ok := q.pieces(part)
		if !ok {
			continue
		}
		d := driver{by: byIndex, pieces: pieces}
		all = append(all, d)
		if len(pieces) < most && !q.store.long.Is(d.stretch(), limit) {
			drivers = append(drivers, d)
		}
	}
	if len(all) == 0 {
		return driver{by: byType}, 0, false, nil
	}
	fewest := func(a, b driver) int { return len(a.pieces) - len(b.pieces) }
	slices.SortStableFunc(drivers, fewest)
	// All are counted a little before one is counted far.
	for upTo := min(64, limit); len(drivers) > 0; upTo = min(upTo*8, limit) {
		n = upTo
		for _, d := range drivers {
			if exact && n <= q.store.tune.little/5 {
				break // another look costs more
			}
			c, err := q.countEntries(d.pieces, n)
			if err != nil {
				return driver{}, 0, false, err
			}
			switch {
			case c < n:
				best, n, exact = d, c, true
			case c == limit:
				q.store.long.Found(d.stretch(), limit)
			}
		}
		if exact || upTo == limit {
			break
		}
	}
	if !exact {
		best = slices.MinFunc(all, fewest)
	}
	return best, n, exact, nil
}

// stretch names what a driver of the index walks.
func (d driver) stretch() string {
	var b []byte
	for _, p := range d.pieces {
		b = append(append(b, p.span.from...), 0xff)
		b = append(append(b, p.span.to...), 0xff)
	}
	return string(b)
}

// countEntries counts the entries of pieces, up to limit.
func (q *query) countEntries(pieces []piece, limit int) (n int, err error) {
	for _, p := range pieces {
		if ids, ok := q.cachedEntries(p); ok {
			if n += len(ids); n >= limit {
				return limit, nil
			}
			continue
		}
		q.walkEntries(p, func([]byte) bool {
			n++
			err = q.step()
			return n < limit && err == nil
		})
		if n >= limit || err != nil {
			return n, err
		}
	}
	return n, nil
}

// join looks for a Ref or Back that few resources satisfy, and makes what they
// name the driver.
func (q *query) join(parts []store.Expr, limit int) (best driver, n int, err error) {
	n = limit
	for _, part := range parts {
		var d driver
		c := limit
		switch e := part.(type) {
		case store.Ref:
			d, c, err = q.joinRef(e, n)
		case store.Back:
			d, c, err = q.joinBack(e)
		}
		if err != nil {
			return driver{}, 0, err
		}
		if c < n && d.by != byType {
			best, n = d, c
		}
	}
	return best, n, nil
}

func (q *query) joinRef(e store.Ref, limit int) (driver, int, error) {
	if e.Where == nil {
		return driver{}, 0, nil
	}
	targets, err := q.few(e.Type, e.Where)
	if err != nil || targets == nil {
		return driver{}, 0, err
	}
	in := store.In{Name: e.Name}
	for _, t := range targets {
		in.Values = append(in.Values, store.Key{Type: e.Type, ID: t.id}.String())
	}
	pieces, ok := q.pieces(in)
	if !ok {
		return driver{}, 0, nil
	}
	n, err := q.countEntries(pieces, limit)
	return driver{by: byIndex, pieces: pieces}, n, err
}

func (q *query) joinBack(e store.Back) (driver, int, error) {
	sources, err := q.few(e.Type, store.And{store.Prefix{Name: e.Name, Prefix: q.typ + "/"}, e.Where})
	if err != nil || sources == nil {
		return driver{}, 0, err
	}
	prefix := []byte(q.typ + "/")
	ids := []string{}
	for _, f := range sources {
		v := f.version
		if v == nil {
			if v, err = q.newest(store.Key{Type: e.Type, ID: f.id}, false); err != nil {
				return driver{}, 0, err
			}
		}
		for value := range v.Terms.Values(e.Name) {
			if id, ok := bytes.CutPrefix(value, prefix); ok {
				ids = append(ids, string(id))
			}
		}
	}
	return driver{by: byID, values: ids}, len(ids), nil
}

// few gives the resources that match, nil if they are too many.
func (q *query) few(typ string, where store.Expr) ([]found, error) {
	inner := query{searcher: q.searcher, typ: typ, expr: where, limit: q.store.tune.joinUpTo + 1}
	list, err := inner.find()
	if err != nil || len(list) > q.store.tune.joinUpTo {
		return nil, err
	}
	return append([]found{}, list...), nil
}

// pieces gives stretches of the index in which each match has an entry.
func (q *query) pieces(e store.Expr) ([]piece, bool) {
	switch e := e.(type) {
	case store.Equal:
		return []piece{q.equal(e.Name, e.Value)}, e.Name != store.ID
	case store.In:
		return q.anyOf(e)
	case store.Prefix:
		return q.stretch(e.Name, span{[]byte(e.Prefix), store.Beyond([]byte(e.Prefix))}, nil)
	case store.Range:
		return q.stretch(e.Name, values(e.From, e.To), nil)
	case store.Span:
		to := e.HeadTo
		if len(to) > e.Split {
			to = "" // a value may be longer than its head and so lie behind
		}
		return q.stretch(e.Name, values(e.HeadFrom, to), func(v []byte) bool { return inSpan(e, v) })
	case store.Contains:
		part := []byte(e.Part)
		return q.stretch(e.Name, values("", ""), func(v []byte) bool { return bytes.Contains(v, part) })
	case store.Exists:
		return q.stretch(e.Name, values("", ""), nil)
	case store.Or:
		var list []piece
		for _, part := range e {
			pieces, ok := q.pieces(part)
			if !ok {
				return nil, false
			}
			list = append(list, pieces...)
		}
		return list, true
	case store.And:
		var best []piece
		for _, part := range e {
			if pieces, ok := q.pieces(part); ok && (best == nil || len(pieces) < len(best)) {
				best = pieces
			}
		}
		return best, best != nil
	}
	return nil, false
}

func (q *query) anyOf(e store.In) ([]piece, bool) {
	if e.Name == store.ID || len(e.Values) > q.store.tune.countUpTo {
		return nil, false
	}
	list := []piece{}
	values := slices.Clone(e.Values)
	slices.Sort(values)
	for _, v := range slices.Compact(values) {
		list = append(list, q.equal(e.Name, v))
	}
	return list, true
}

// equal is the stretch of one value: its entries are in the order of their ids.
func (q *query) equal(name, value string) piece {
	if name == store.Owner {
		return piece{span: under(ownerPrefix(nil, value, q.typ))}
	}
	return piece{span: under(indexKey(nil, q.typ, name, value, ""))}
}

// values is the span of values from <= value < to; an empty to has no end.
func values(from, to string) span {
	s := span{from: []byte(from)}
	if to != "" {
		s.to = []byte(to)
	}
	return s
}

// stretch is the piece of the index that holds the values of a span.
func (q *query) stretch(name string, values span, test func([]byte) bool) ([]piece, bool) {
	if name == store.ID || name == store.Owner {
		return nil, false
	}
	prefix := namePrefix(nil, q.typ, name)
	s := under(prefix)
	s.from = append(bytes.Clone(prefix), values.from...)
	if values.to != nil {
		s.to = append(bytes.Clone(prefix), values.to...)
	}
	return []piece{{s, len(prefix), test}}, true
}
