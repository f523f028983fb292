package badgerstore

import (
	"bytes"

	"mypatients/fhir/store"
)

// Conditions on other resources: references forward and backward.

func (c *ref) row(s *searcher, v *store.Version) (bool, error) {
	for value := range v.Terms.Values(c.name) {
		if ok, err := c.target(s, value); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (c *ref) rows(s *searcher, b *block, among bits) (found bits, _ error) {
	for _, cell := range b.column(c.name) {
		if row := int(cell.row); !among.has(row) || found.has(row) {
			continue
		}
		ok, err := c.target(s, b.value(cell))
		if err != nil {
			return bits{}, err
		}
		if ok {
			found.set(int(cell.row))
		}
	}
	return found, nil
}

// target judges the resource that a value names, once in a search.
func (c *ref) target(s *searcher, value []byte) (bool, error) {
	id, ok := bytes.CutPrefix(value, c.prefix)
	if !ok {
		return false, nil
	}
	if held, known := c.known[string(id)]; known {
		return held, nil
	}
	if err := s.step(); err != nil {
		return false, err
	}
	where, err := c.where.condition()
	if err != nil {
		return false, err
	}
	held := false
	v, err := s.newest(store.Key{Type: c.typ, ID: string(id)}, true)
	if err == nil && !v.Deleted {
		held, err = where.row(s, v)
	}
	if err != nil && err != store.ErrNotFound {
		return false, err
	}
	if c.known == nil {
		c.known = map[string]bool{}
	}
	c.known[string(id)] = held
	return held, nil
}

func (c *back) row(s *searcher, v *store.Version) (bool, error) {
	return c.named(s, v.Key)
}

func (c *back) rows(s *searcher, b *block, among bits) (found bits, _ error) {
	for i, id := range b.ids {
		if !among.has(i) {
			continue
		}
		ok, err := c.named(s, store.Key{Type: b.typ, ID: id})
		if err != nil {
			return bits{}, err
		}
		if ok {
			found.set(i)
		}
	}
	return found, nil
}

// named tells whether a resource that the condition asks for names this one.
func (c *back) named(s *searcher, k store.Key) (bool, error) {
	if err := s.step(); err != nil {
		return false, err
	}
	where, err := c.where.condition()
	if err != nil {
		return false, err
	}
	if c.expr.Name == store.Owner {
		return s.owns(k.String(), c.expr.Type, where)
	}
	names := store.Equal{Name: c.expr.Name, Value: k.String()}
	test, err := compile(names)
	if err != nil {
		return false, err
	}
	q := query{
		searcher: s, typ: c.expr.Type, limit: 1,
		expr: store.And{names, c.expr.Where}, test: all{test, where},
	}
	found, err := q.find()
	return len(found) > 0, err
}

// owns tells whether something of a type belongs to an owner and satisfies a
// condition.
func (s *searcher) owns(owner, typ string, where condition) (bool, error) {
	for after := ""; ; {
		b, err := s.block(owner, typ, after)
		if err != nil || len(b.ids) == 0 {
			return false, err
		}
		hits, err := where.rows(s, b, between(0, len(b.ids)))
		if err != nil || !hits.empty() {
			return err == nil, err
		}
		if !b.more {
			return false, nil
		}
		after = b.ids[len(b.ids)-1]
	}
}
