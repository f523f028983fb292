package pgstore

import (
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

// A query is a search made ready.
type query struct {
	*reader
	typ   string
	where store.Expr
	sorts []store.Sort
	after *store.Place
	limit int // 0: all, without an order

	judge  *store.Judge // of what was left out of where; nil: nothing was
	failed bool         // there are rows for which that does not hold
}

// Search implements store.Reader.
func (r *reader) Search(sq store.Query) ([]store.Hit, error) {
	if sq.Limit <= 0 {
		return nil, errors.New("pgstore: a search needs a limit")
	}
	q := &query{reader: r, typ: sq.Type, where: sq.Where, sorts: sq.Sort, limit: sq.Limit}
	if sq.After != "" {
		place, err := store.ParsePosition(sq.After, len(sq.Sort))
		if err != nil {
			return nil, err
		}
		q.after = &place
	}
	d, err := q.plan()
	if err != nil {
		return nil, err
	}
	list, err := q.looks(d)
	if errors.Is(err, errUnordered) {
		d = q.inOrder(driver{by: byIndex, pieces: d.pieces}, false)
		list, err = q.looks(d)
	}
	return list, err
}

// walk finds a page in one look.
func (q *query) walk(d driver) ([]store.Hit, error) {
	if d.by == bySort {
		return q.walkSort(d)
	}
	return q.hits(func(b *builder) (string, error) { return q.page(b, d) })
}

// hits fetches the versions behind the rows of a page: their ids and sort keys. What
// else is asked is sent in front, in the same round trip.
func (q *query) hits(page func(*builder) (string, error), also ...statement) (list []store.Hit, err error) {
	b := build("l", q.typ)
	inner, err := page(b)
	if err != nil {
		return nil, err
	}
	keys := ``
	for i := range q.sorts {
		keys += `, p.` + keyName(i)
	}
	b.write(`SELECT p.id, `, versionColumns, keys, ` FROM (`, inner, `) p, LATERAL (SELECT * FROM resource r WHERE r.type = `,
		b.bytes(q.typ), ` AND r.id = p.id OFFSET 0) r ORDER BY `, q.order(`p.`))
	err = q.ask(append(also, statement{b.String(), b.args, func(rows pgx.Rows) (err error) {
		list, err = q.scanHits(rows)
		return err
	}})...)
	if err != nil {
		return nil, err
	}
	if q.writes == nil || q.writes.empty() {
		for _, h := range list {
			q.know(h.Key, h.Version)
		}
	}
	return list, nil
}

func (q *query) scanHits(rows pgx.Rows) (list []store.Hit, err error) {
	for rows.Next() {
		v := &store.Version{}
		var id []byte
		var millis int64
		keys := make([][]byte, len(q.sorts))
		targets := []any{&id, &v.Version, &millis, &v.Deleted, (*[]byte)(&v.Terms), &v.Body}
		for i := range keys {
			targets = append(targets, &keys[i])
		}
		if err := rows.Scan(targets...); err != nil || v.Deleted {
			return nil, errCorrupt
		}
		v.Key, v.Time = store.Key{Type: q.typ, ID: string(id)}, time.UnixMilli(millis).UTC()
		if q.judge != nil && !q.judge.Holds(v) {
			q.failed = true
			return nil, nil
		}
		place := store.Place{ID: v.ID}
		for i, s := range q.sorts {
			value := elementValue(s.Name, keys[i])
			if s.Name == store.ID {
				value = &v.ID
			}
			place.Values = append(place.Values, value)
		}
		list = append(list, store.Hit{Version: v, Position: place.Position()})
	}
	return list, nil
}

// page gives the SQL of the first matches of a driver, in order: ids and keys.
func (q *query) page(b *builder, d driver) (string, error) {
	from, more := d.rows(b, q)
	where, err := b.condition(d.beside(q.where), "l")
	if err != nil {
		return "", err
	}
	text := `SELECT`
	if d.repeats() {
		text += ` DISTINCT`
	}
	text += ` ` + d.id() + q.keys(b, "l")
	text += ` FROM ` + from + ` WHERE ` + more + where + q.behind(b, d.id(), "l")
	return text + ` ORDER BY ` + q.order(``) + ` LIMIT ` + b.arg(q.limit), nil
}

// Count implements store.Reader.
func (r *reader) Count(sq store.Query) (n int, err error) {
	q := &query{reader: r, typ: sq.Type, where: sq.Where}
	b := build("l", q.typ)
	parts := store.Parts(q.where)
	if e, ok := single(parts); ok && e.Name != store.ID && e.Name != store.Owner {
		p, _ := q.pieces(e)
		b.write(`SELECT count(*) FROM `, p[0].sql(b, q.typ, "t"))
	} else {
		d, err := q.plan()
		if err != nil {
			return 0, err
		}
		from, more := d.rows(b, q)
		where, err := b.condition(d.beside(q.where), "l")
		if err != nil {
			return 0, err
		}
		what := `*`
		if d.repeats() {
			what = `DISTINCT l.id`
		}
		b.write(`SELECT count(`, what, `) FROM `, from, ` WHERE `, more, where)
	}
	err = r.ask(statement{b.String(), b.args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return errCorrupt
			}
		}
		return nil
	}})
	return n, err
}

// single gives the one Equal that a condition consists of.
func single(parts []store.Expr) (store.Equal, bool) {
	if len(parts) != 1 {
		return store.Equal{}, false
	}
	e, ok := parts[0].(store.Equal)
	return e, ok
}

// few gives the ids of the resources that match and what stands under a name in a
// stretch of their elements; nil if they are too many.
func (r *reader) few(typ string, where store.Expr, s *stretch) (ids []string, elements [][]byte, err error) {
	q := &query{reader: r, typ: typ, where: where, limit: r.store.tune.joinUpTo + 1}
	d, err := q.plan()
	if err != nil {
		return nil, nil, err
	}
	b := build("l", typ)
	from, more := d.rows(b, q)
	what := ``
	if s != nil {
		what = `, ` + b.slice("l", s.from, s.to)
	}
	condition, err := b.condition(d.beside(where), "l")
	if err != nil {
		return nil, nil, err
	}
	b.write(`SELECT l.id`, what, ` FROM `, from, ` WHERE `, more, condition, ` LIMIT `, b.arg(q.limit))
	n := 0
	err = r.ask(statement{b.String(), b.args, func(rows pgx.Rows) error {
		for ; rows.Next(); n++ {
			var id []byte
			var list [][]byte
			targets := []any{&id}
			if s != nil {
				targets = append(targets, &list)
			}
			if err := rows.Scan(targets...); err != nil {
				return errCorrupt
			}
			ids, elements = append(ids, string(id)), append(elements, list...)
		}
		return nil
	}})
	if err != nil || n > r.store.tune.joinUpTo {
		return nil, nil, err
	}
	slices.Sort(ids)
	return append([]string{}, slices.Compact(ids)...), elements, nil
}
