package badgerstore

import (
	"slices"

	"mypatients/fhir/store"
)

// A standing condition is made ready when a block is met of whose rows it is not known
// yet. It comes first in an And, so that it is soon known of all of them.
type standing struct {
	of    *store.Standing
	where inner
}

func (c *standing) effort() int { return 0 }

func (c *standing) row(s *searcher, v *store.Version) (bool, error) {
	where, err := c.where.condition()
	if err != nil {
		return false, err
	}
	return where.row(s, v)
}

func (c *standing) rows(s *searcher, b *block, among bits) (bits, error) {
	if held, ok := b.known(c.of, among); ok {
		return held, nil
	}
	where, err := c.where.condition()
	if err != nil {
		return bits{}, err
	}
	held, err := where.rows(s, b, among)
	if err == nil && !asked(where) {
		b.learn(verdict{c.of, among, held})
	}
	return held, err
}

// asked tells whether rows got so far that a condition asked for other resources: what
// it says of them may then be otherwise in another snapshot.
func asked(c condition) bool {
	switch c := c.(type) {
	case all:
		return slices.ContainsFunc(c, asked)
	case some:
		return slices.ContainsFunc(c, asked)
	case not:
		return asked(c.inner)
	case *match:
		return false
	case *ref:
		return c.where.ready != nil
	case *back:
		return c.where.ready != nil
	}
	return true
}

// A verdict is what a standing condition says of some rows of a block: those among them
// for which it holds.
type verdict struct {
	of          *store.Standing
	among, held bits
}

// maxVerdicts is how many conditions a block remembers the verdicts of, the newest: those
// of the few people who look at one record at a time.
const maxVerdicts = 4

// verdictSize is what a verdict takes in memory, in bytes.
const verdictSize = 8 + 2*blockRows/8

// known gives the rows for which a condition holds, if that was found before.
func (b *block) known(of *store.Standing, among bits) (held bits, ok bool) {
	list := b.verdicts.Load()
	if list == nil {
		return held, false
	}
	for i := range *list {
		if v := &(*list)[i]; v.of == of {
			rest := among.without(v.among)
			return among.without(among.without(v.held)), rest.empty()
		}
	}
	return held, false
}

// learn remembers a verdict. Of two that are learned at once one may be lost.
func (b *block) learn(v verdict) {
	list := []verdict{v}
	if before := b.verdicts.Load(); before != nil {
		for _, other := range *before {
			switch {
			case other.of == v.of:
				list[0].among, list[0].held = v.among.with(other.among), v.held.with(other.held)
			case len(list) < maxVerdicts:
				list = append(list, other)
			}
		}
	}
	b.verdicts.Store(&list)
}
