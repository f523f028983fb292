package pgstore

import (
	"strings"
	"sync"

	"mypatients/fhir/store"
)

// What a caller may see holds for nearly all rows of a record, and costs the server more
// to judge than finding them does: it looks a name up in the terms of each row, and makes
// a condition on other resources ready also when no row asks for it. So a page is first
// looked for without, which finds no less and in the same order, and judged by the terms
// that come with it. When that holds for all rows, it is the right page; else none of it
// is given, and it is looked for with these conditions in the statement.

// leaving is what is left out of a first look.
type leaving int

const (
	nothing  leaving = iota
	halves           // conditions on other resources of which a first half tells enough
	standing         // those, and standing conditions
)

// without gives a condition that holds whenever e does, and what must hold of a row beside
// it for e to hold; nil if that is nothing. What is left out is on a row's own terms.
func without(what leaving, e store.Expr) (easy, left store.And) {
	if what == nothing {
		return store.And{e}, nil
	}
	for _, part := range store.Parts(e) {
		parts, stands := []store.Expr{part}, false
		if s, ok := part.(*store.Standing); ok {
			parts, stands = store.Parts(s.Expr), true
		}
		for _, one := range parts {
			half := firstHalf(one)
			switch {
			case half != nil:
				left = append(left, half)
			case stands && what == standing && !joins(one):
				left = append(left, one)
			default:
				easy = append(easy, one)
			}
		}
	}
	return easy, left
}

// firstHalf gives of "not shared, or nobody denies it" what says that something is not,
// which is true of nearly all rows and enough; nil of other conditions.
func firstHalf(e store.Expr) store.Expr {
	either, _ := e.(store.Or)
	var plain store.Or
	for _, one := range either {
		if not, ok := one.(store.Not); ok && !joins(not) {
			plain = append(plain, one)
		}
	}
	if plain == nil || !anyJoins(either) {
		return nil
	}
	return plain
}

// joins tells whether a condition is about other resources.
func joins(e store.Expr) bool {
	switch e := e.(type) {
	case store.And:
		return anyJoins(e)
	case store.Or:
		return anyJoins(e)
	case store.Not:
		return joins(e.Expr)
	case *store.Standing:
		return joins(e.Expr)
	case store.Ref, store.Back:
		return true
	}
	return false
}

func anyJoins(list []store.Expr) bool {
	for _, e := range list {
		if joins(e) {
			return true
		}
	}
	return false
}

// looks finds a page with as little in the statement as does.
func (q *query) looks(d driver) ([]store.Hit, error) {
	record, most := "", halves
	if owners, ok := store.ValuesOf(q.where, store.Owner); ok && len(owners) <= fewOwners {
		record = q.typ + "\x00" + strings.Join(owners, "\x00")
		most = q.store.doubts.most(record)
	}
	for what := most; what > nothing; what-- {
		first := *q
		var left store.And
		if first.where, left = without(what, q.where); left == nil {
			break
		}
		var ok bool
		if first.judge, ok = store.NewJudge(left); !ok {
			break
		}
		list, err := first.walk(d)
		if err != nil || !first.failed {
			return list, err
		}
		if _, less := without(what-1, q.where); len(less) == len(left) {
			what-- // which would be the same again
		}
		if record != "" {
			q.store.doubts.atMost(record, what-1)
		}
	}
	return q.walk(d)
}

// doubts remembers of whose rows, of which type, too much was left out of a first look.
// It is of no matter to what a search gives; now and then more is left out again. The
// zero value is ready.
type doubts struct {
	mu    sync.Mutex
	known map[string]doubt
}

// A doubt is what may be left out, and how often that is believed.
type doubt struct {
	most leaving
	left int
}

const (
	doubtsKept    = 4096
	doubtBelieved = 1000 // times
)

// most tells what to leave out of a first look at the rows of a record.
func (m *doubts) most(record string) leaving {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.known[record]
	if !ok {
		return standing
	}
	if one.left--; one.left == 0 {
		delete(m.known, record)
	} else {
		m.known[record] = one
	}
	return one.most
}

// atMost notes what may be left out.
func (m *doubts) atMost(record string, what leaving) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= doubtsKept {
		m.known = map[string]doubt{}
	}
	m.known[record] = doubt{what, doubtBelieved}
}
