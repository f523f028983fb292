package badgerstore

import (
	"bytes"
	"iter"
	"math"
	"slices"
)

// A collector keeps the first matches in the order of the query, whatever order
// they come in.
type collector struct {
	*query
	limit int
	kept  []found
	bound *found // the last of the first: what is not before it is of no use
}

func (c *collector) add(f found) {
	if c.after != nil && c.compare(f, *c.after) <= 0 {
		return
	}
	if c.bound != nil && c.compare(f, *c.bound) >= 0 {
		return
	}
	if c.kept = append(c.kept, f); len(c.kept) >= 2*c.limit+64 {
		c.trim()
	}
}

func (c *collector) trim() {
	slices.SortFunc(c.kept, c.compare)
	// A resource of two owners comes twice.
	c.kept = slices.CompactFunc(c.kept, func(a, b found) bool { return a.id == b.id })
	if len(c.kept) >= c.limit {
		c.kept = c.kept[:c.limit]
		last := c.kept[c.limit-1]
		c.bound = &last
	}
}

func (c *collector) finish() []found {
	c.trim()
	return c.kept
}

// walkSort finds matches by walking the index of the first sort: resources with
// equal values form a group, which is put into the order of the other sorts; last
// come those without a value.
func (q *query) walkSort() ([]found, error) {
	var list []found
	if q.after == nil || q.after.values[0] != nil {
		for group := range q.groups() {
			more, err := q.addGroup(&list, group)
			if err != nil {
				return nil, err
			}
			if !more {
				return list, nil
			}
		}
	}
	if err := q.ctx.Err(); err != nil {
		return nil, err
	}
	rest := collector{query: q, limit: q.limit - len(list)}
	from := ""
	if q.after != nil && q.after.values[0] == nil && len(q.sorts) == 1 {
		from = q.after.id
	}
	err := q.eachRow(from, func(f found) bool {
		if f.values[0] == nil {
			rest.add(f)
		}
		// Without another sort the rows come in their final order.
		return len(q.sorts) > 1 || len(rest.kept) < rest.limit
	})
	return append(list, rest.finish()...), err
}

// A group is some of the ids with one value, ascending. Groups that are in their
// final order by id come in parts.
type group struct {
	value []byte
	ids   []string
}

// groupPart is how many ids of a group are judged at a time, if that is possible.
const groupPart = 128

// groups walks the index of the first sort from the value of after on.
func (q *query) groups() iter.Seq[group] {
	first := q.sorts[0]
	prefix := namePrefix(nil, q.typ, first.Name)
	s := under(prefix)
	if q.after != nil {
		value := append(bytes.Clone(prefix), q.after.values[0]...)
		if first.Descending {
			s.to = append(value, 1) // behind all with this value: no id has a NUL
		} else {
			s.from = q.behindAfter(append(value, 0))
		}
	}
	part := math.MaxInt
	if len(q.sorts) == 1 {
		part = min(groupPart, 2*q.limit)
	}
	return func(yield func(group) bool) {
		if first.Descending {
			q.groupsBackwards(s, len(prefix), part, yield)
		} else {
			q.groupsForwards(s, len(prefix), part, yield)
		}
	}
}

// groupsForwards visits the groups of a span, and tells whether visit wants more.
func (q *query) groupsForwards(s span, head, part int, visit func(group) bool) bool {
	var g group
	for row := range q.scan(s, false) {
		value, id := splitEntry(row.key, head)
		if !bytes.Equal(value, g.value) || len(g.ids) >= part {
			if len(g.ids) > 0 && !visit(g) {
				return false
			}
			g = group{value: bytes.Clone(value)}
		}
		g.ids = append(g.ids, string(id))
		if q.step() != nil {
			return false
		}
	}
	return len(g.ids) == 0 || visit(g)
}

// groupsBackwards does so from the end of the span. The ids of a group come backwards
// then, too. One that has more than a part is walked forwards, as far as it is needed.
func (q *query) groupsBackwards(s span, head, part int, visit func(group) bool) {
	for {
		var g group
		long := false
		for row := range q.scan(s, true) {
			value, id := splitEntry(row.key, head)
			if !bytes.Equal(value, g.value) {
				if !q.visitReversed(g, visit) {
					return
				}
				g = group{value: bytes.Clone(value)}
			}
			if long = len(g.ids) >= part; long {
				break
			}
			g.ids = append(g.ids, string(id))
			if q.step() != nil {
				return
			}
		}
		if !long {
			q.visitReversed(g, visit)
			return
		}
		of := under(append(append(bytes.Clone(s.from[:head]), g.value...), 0))
		s.to = of.from
		if q.after != nil && bytes.Equal(g.value, q.after.values[0]) {
			of.from = q.behindAfter(of.from)
		}
		if !q.groupsForwards(of, head, part, visit) {
			return
		}
	}
}

// behindAfter gives where the ids behind that of after begin in a group that after is
// in; from is where all do, and is to be kept if there are other sorts.
func (q *query) behindAfter(from []byte) []byte {
	if len(q.sorts) > 1 {
		return from
	}
	return append(append(bytes.Clone(from), q.after.id...), 0)
}

// visitReversed visits a group whose ids have come backwards.
func (q *query) visitReversed(g group, visit func(group) bool) bool {
	slices.Reverse(g.ids)
	return len(g.ids) == 0 || visit(g)
}

// splitEntry gives the value and the id of a key of the index, of which the value
// begins at head.
func splitEntry(key []byte, head int) (value, id []byte) {
	id = lastID(key)
	return key[head : len(key)-len(id)-1], id
}

// addGroup adds the matches of a group to the list and tells whether there is
// room for more.
func (q *query) addGroup(list *[]found, g group) (more bool, err error) {
	c := collector{query: q, limit: q.limit - len(*list)}
	full := false
	for _, id := range g.ids {
		_, err := q.judge(id, func(f found) bool {
			// A resource with several values counts where it is sorted.
			if bytes.Equal(f.values[0], g.value) {
				c.add(f)
			}
			full = len(q.sorts) == 1 && len(c.kept) >= c.limit
			return true
		})
		if err != nil {
			return false, err
		}
		if full {
			break
		}
	}
	*list = append(*list, c.finish()...)
	return len(*list) < q.limit, nil
}
