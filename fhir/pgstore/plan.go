package pgstore

import (
	"bytes"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

// A tuning says when which way pays. Efforts are in units of fetching and judging
// one resource.
type tuning struct {
	owner      int // effort to judge the rows of one owner
	little     int // effort not worth looking for something better
	much       int // effort that is worth trying to join
	countFirst int // index entries counted first, and if that is not enough
	countUpTo  int // index entries counted to tell efforts
	owners     int // from here on, walking in order and stopping early is better
	joinUpTo   int // resources that a Ref or Back is replaced by
}

func defaultTuning() tuning {
	return tuning{owner: 10, little: 500, much: 500, countFirst: 200, countUpTo: 3000, owners: 1024, joinUpTo: 1000}
}

// A driver says where candidates come from. Whatever it is, each candidate is
// judged by the whole condition, so a driver only has to miss none.
type driver struct {
	by     way
	values []string // ids, or owners
	pieces []piece
	unsure bool // of bySort: nobody has asked whether that index can be walked
}

type way int

const (
	byType  way = iota // all rows of the type, by id
	byID               // the ids named
	byOwner            // the rows of the owners named
	byIndex            // stretches of the index
	bySort             // the index of the first sort, in its order
)

// plan finds the driver that promises the least work.
func (q *query) plan() (driver, error) {
	tune := q.store.tune
	best, effort := driver{by: byType}, math.MaxInt
	if ids, ok := store.ValuesOf(q.where, store.ID); ok {
		best, effort = driver{by: byID, values: ids}, len(ids)
	}
	if owners, ok := store.ValuesOf(q.where, store.Owner); ok && len(owners)*tune.owner < effort {
		best, effort = driver{by: byOwner, values: owners}, len(owners)*tune.owner
	}
	if effort <= tune.little {
		return best, nil
	}
	parts := store.Parts(q.where)
	if d, ok := q.only(parts); ok && best.by == byType {
		return d, nil
	}
	index, n, walk, err := q.bestIndex(parts, min(effort, tune.countUpTo))
	if err != nil {
		return driver{}, err
	}
	if index.by == byIndex && n < effort && n < tune.countUpTo {
		best, effort = index, n
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
	d := q.inOrder(index, walk)
	d.unsure = index.unsure
	return d, nil
}

// only gives the one stretch of the index that can be walked in the order asked
// for, if nothing else could be better.
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
		if d.pieces != nil || len(pieces) != 1 || pieces[0].equal == nil {
			return driver{}, false
		}
		d = driver{by: byIndex, pieces: pieces}
	}
	return d, d.pieces != nil
}

// inOrder gives a driver that yields rows in the order asked for, so that a page
// ends early, for conditions that hold for much.
func (q *query) inOrder(index driver, walk bool) driver {
	switch {
	case len(q.sorts) > 0 && q.limit > 0 && walk:
		return driver{by: bySort, pieces: index.pieces}
	case len(index.pieces) == 1 && index.pieces[0].equal != nil:
		return index
	}
	return driver{by: byType}
}

// bestIndex gives the part of an And with the fewest index entries, and how many
// it has, counted up to limit. Walk tells whether the index of the first sort can
// be walked: all of its values stand there whole, unless best is unsure of it.
func (q *query) bestIndex(parts []store.Expr, limit int) (best driver, n int, walk bool, err error) {
	var drivers, long []driver
	for _, part := range parts {
		pieces, ok := q.pieces(part)
		if !ok {
			continue
		}
		if d := (driver{by: byIndex, pieces: pieces}); q.store.long.Is(d.stretch(q.typ), limit) {
			long = append(long, d)
		} else {
			drivers = append(drivers, d)
		}
	}
	walk = len(q.sorts) > 0 && q.sorts[0].Name != store.Owner && q.sorts[0].Name != store.ID
	if len(drivers) == 0 && (!walk || !q.store.long.Is(q.heads(), 1)) {
		best = fewest(long)
		best.unsure = walk
		return best, limit, walk, nil
	}
	// All are counted a little before they are counted far.
	for upTo := min(q.store.tune.countFirst, limit); ; upTo = limit {
		counts, whole, err := q.count(drivers, upTo, walk)
		if err != nil {
			return driver{}, 0, false, err
		}
		n, best = upTo, driver{}
		for i, d := range drivers {
			if int(counts[i]) == limit {
				q.store.long.Found(d.stretch(q.typ), limit)
			}
			if c := int(counts[i]); c < n || best.pieces == nil || c == n && len(d.pieces) < len(best.pieces) {
				best, n = d, c
			}
		}
		if n < upTo || upTo == limit || len(drivers) == 0 {
			if n == upTo {
				best, n = fewest(append(long, drivers...)), limit
			}
			return best, n, walk && whole, nil
		}
	}
}

// fewest gives the driver of the fewest pieces; of none, the type.
func fewest(drivers []driver) driver {
	if len(drivers) == 0 {
		return driver{by: byType}
	}
	return slices.MinFunc(drivers, func(a, b driver) int { return len(a.pieces) - len(b.pieces) })
}

// stretch names what a driver of the index walks.
func (d driver) stretch(typ string) string {
	b := []byte(typ)
	for _, p := range d.pieces {
		for _, part := range append([]string{p.name, p.from, p.to}, p.in...) {
			b = append(append(b, 0), part...)
		}
		if b = append(b, 0); p.equal != nil {
			b = append(append(b, '='), *p.equal...)
		}
		b = append(b, 1)
	}
	return string(b)
}

// count counts the entries of drivers, each up to limit, and tells whether all
// values of the first sort stand whole in the index.
func (q *query) count(drivers []driver, limit int, walk bool) (counts []int64, whole bool, err error) {
	b := build("l", q.typ)
	b.write(`SELECT `)
	if walk {
		b.write(q.allWhole(b))
	} else {
		b.write(`false`)
	}
	b.write(`, ARRAY[`)
	for i, d := range drivers {
		if i > 0 {
			b.write(`, `)
		}
		b.write(countUpTo(b, q.typ, d.pieces, limit))
	}
	b.write(`]::bigint[]`)
	err = q.ask(statement{b.String(), b.args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&whole, &counts); err != nil {
				return errCorrupt
			}
		}
		return nil
	}})
	return counts, whole, err
}

// countUpTo counts the entries of pieces, up to limit.
func countUpTo(b *builder, typ string, pieces []piece, limit int) string {
	text := `(SELECT count(*) FROM (`
	for i, p := range pieces {
		if i > 0 {
			text += ` UNION ALL `
		}
		text += `SELECT 1 FROM ` + p.sql(b, typ, "t")
	}
	return text + ` LIMIT ` + b.arg(limit) + `) c)`
}

func (q *query) countEntries(pieces []piece, limit int) (n int, err error) {
	b := build("l", q.typ)
	b.write(`SELECT `, countUpTo(b, q.typ, pieces, limit))
	err = q.ask(statement{b.String(), b.args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return errCorrupt
			}
		}
		return nil
	}})
	return n, err
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
		return driver{}, limit, nil
	}
	targets, _, err := q.few(e.Type, e.Where, nil)
	if err != nil || targets == nil {
		return driver{}, limit, err
	}
	in := store.In{Name: e.Name}
	for _, id := range targets {
		in.Values = append(in.Values, store.Key{Type: e.Type, ID: id}.String())
	}
	pieces, ok := q.pieces(in)
	if !ok {
		return driver{}, limit, nil
	}
	n, err := q.countEntries(pieces, limit)
	return driver{by: byIndex, pieces: pieces}, n, err
}

func (q *query) joinBack(e store.Back) (driver, int, error) {
	s := prefixOf(e.Name, q.typ+"/")
	if e.Name == store.ID {
		return driver{}, math.MaxInt, nil
	}
	sources, elements, err := q.few(e.Type, store.And{store.Prefix{Name: e.Name, Prefix: q.typ + "/"}, e.Where}, &s)
	if err != nil || sources == nil {
		return driver{}, math.MaxInt, err
	}
	ids := []string{}
	for _, one := range elements {
		if id, ok := bytes.CutPrefix(one[:len(one)-1], s.from); ok {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return driver{by: byID, values: ids}, len(ids), nil
}
