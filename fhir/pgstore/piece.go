package pgstore

import (
	"bytes"
	"slices"

	"mypatients/fhir/store"
)

// A piece is a stretch of the index: the entries of one name with a value, with
// one of several, or from one to another; or the rows of an owner.
type piece struct {
	name     string
	equal    *string
	in       []string
	from, to string // an empty to has no end
}

// pieces gives stretches of the index in which each match has an entry.
func (q *query) pieces(e store.Expr) ([]piece, bool) {
	switch e := e.(type) {
	case store.Equal:
		return []piece{{name: e.Name, equal: &e.Value}}, e.Name != store.ID
	case store.In:
		if e.Name == store.ID || len(e.Values) > q.store.tune.countUpTo {
			return nil, false
		}
		return []piece{{name: e.Name, in: append([]string{}, e.Values...)}}, true
	case store.Prefix:
		return ranged(e.Name, e.Prefix, string(store.Beyond([]byte(e.Prefix))))
	case store.Range:
		return ranged(e.Name, e.From, e.To)
	case store.Span:
		to := e.HeadTo
		if len(to) > e.Split {
			to = "" // a value may be longer than its head and so lie behind
		}
		return ranged(e.Name, e.HeadFrom, to)
	case store.Contains:
		return ranged(e.Name, "", "")
	case store.Exists:
		return ranged(e.Name, "", "")
	case store.Or:
		list := []piece{}
		for _, part := range e {
			pieces, ok := q.pieces(part)
			if !ok {
				return nil, false
			}
			list = append(list, pieces...)
		}
		return list, len(list) > 0
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

func ranged(name, from, to string) ([]piece, bool) {
	return []piece{{name: name, from: from, to: to}}, name != store.ID && name != store.Owner
}

// sql gives table and condition of a piece, the table under a name.
func (p piece) sql(b *builder, typ, t string) string {
	switch {
	case p.name == store.Owner && p.equal != nil:
		return `live ` + t + ` WHERE ` + t + `.owner = ` + b.bytes(*p.equal) + ` AND ` + t + `.type = ` + b.bytes(typ)
	case p.name == store.Owner:
		return owned(b, typ, p.in, t) + ` WHERE true`
	case p.in != nil:
		heads := make([][]byte, len(p.in))
		for i, v := range p.in {
			heads[i], _ = split([]byte(v))
		}
		return `unnest(` + b.list(distinct(heads)) + `) AS v(value), LATERAL (SELECT i.id FROM term i WHERE i.type = ` + b.bytes(typ) +
			` AND i.name = ` + b.bytes(p.name) + ` AND i.value = v.value OFFSET 0) ` + t + ` WHERE true`
	}
	text := `term ` + t + ` WHERE ` + t + `.type = ` + b.bytes(typ) + ` AND ` + t + `.name = ` + b.bytes(p.name)
	if p.equal != nil {
		head, rest := split([]byte(*p.equal))
		return text + ` AND ` + t + `.value = ` + b.bytes(string(head)) + ` AND ` + t + `.rest = ` + b.bytes(string(rest))
	}
	// Heads are compared: of what is longer, a little more is let in.
	if p.from != "" {
		head, _ := split([]byte(p.from))
		text += ` AND ` + t + `.value >= ` + b.bytes(string(head))
	}
	if head, rest := split([]byte(p.to)); p.to != "" && len(rest) == 0 {
		text += ` AND ` + t + `.value < ` + b.bytes(string(head))
	} else if p.to != "" {
		text += ` AND ` + t + `.value <= ` + b.bytes(string(head))
	}
	return text
}

// owned is a table t of the rows of several owners, looked up one by one: whether
// a list is used to search an index is for the planner to say.
func owned(b *builder, typ string, owners []string, t string) string {
	return `unnest(` + b.list(distinct(all(owners))) + `) AS o(owner), LATERAL (SELECT r.id, r.terms FROM live r WHERE r.owner = o.owner AND r.type = ` +
		b.bytes(typ) + ` OFFSET 0) ` + t
}

// distinct sorts a list and leaves out repetitions.
func distinct(list [][]byte) [][]byte {
	slices.SortFunc(list, bytes.Compare)
	return slices.CompactFunc(list, bytes.Equal)
}

// repeats tells whether a driver may give a resource more than once.
func (d driver) repeats() bool {
	return d.by == byOwner && len(d.values) > 1
}

// beside gives what is left to judge candidates of a condition by.
func (d driver) beside(where store.Expr) store.Expr {
	if d.by == byOwner {
		return store.Beside(where, d.values)
	}
	return where
}

// id is where the id of a candidate stands, in the order of the driver.
func (d driver) id() string {
	if d.by == byID || d.by == byIndex {
		return `c.id`
	}
	return `l.id`
}

// rows gives the candidates of a driver, as rows l, and conditions on them, each
// ended by AND.
func (d driver) rows(b *builder, q *query) (from, where string) {
	switch d.by {
	case byID:
		return `unnest(` + b.list(distinct(all(d.values))) + `) AS c(id), ` + b.judged(q.typ, `c.id`, "l"), ``
	case byOwner:
		if len(d.values) == 1 {
			return `live l`, `l.owner = ` + b.bytes(d.values[0]) + ` AND l.type = ` + b.bytes(q.typ) + ` AND `
		}
		return owned(b, q.typ, d.values, "l"), ``
	case byIndex:
		if len(d.pieces) == 1 && d.pieces[0].equal != nil {
			return `(SELECT t.id FROM ` + d.pieces[0].sql(b, q.typ, "t") + `) c, ` + b.judged(q.typ, `c.id`, "l"), ``
		}
		text := `(SELECT DISTINCT u.id FROM (`
		for i, p := range d.pieces {
			if i > 0 {
				text += ` UNION ALL `
			}
			text += `SELECT t.id FROM ` + p.sql(b, q.typ, "t")
		}
		return text + `) u) c, ` + b.judged(q.typ, `c.id`, "l"), ``
	}
	return `live l`, `l.type = ` + b.bytes(q.typ) + ` AND l.first AND `
}
