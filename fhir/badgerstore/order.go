package badgerstore

import (
	"bytes"
	"iter"
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
			s.from = append(value, 0)
		}
	}
	part := groupPart
	if first.Descending || len(q.sorts) > 1 {
		part = 1 << 62
	}
	return func(yield func(group) bool) {
		var g group
		flush := func() bool {
			if first.Descending {
				slices.Reverse(g.ids)
			}
			return len(g.ids) == 0 || yield(g)
		}
		for row := range q.scan(s, first.Descending) {
			id := lastID(row.key)
			value := row.key[len(prefix) : len(row.key)-len(id)-1]
			if !bytes.Equal(value, g.value) || len(g.ids) >= part {
				if !flush() {
					return
				}
				g = group{value: bytes.Clone(value)}
			}
			g.ids = append(g.ids, string(id))
			if q.step() != nil {
				return
			}
		}
		flush()
	}
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
