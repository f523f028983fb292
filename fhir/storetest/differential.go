package storetest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"mypatients/fhir/store"
)

// Differential runs the same random transactions and the same random questions on
// two stores, and compares the answers byte for byte, positions of searches among
// them.
func Differential(t *testing.T, a, b store.Store, seed uint64, rounds int) {
	d := newDice(seed, 11)
	numbers := map[store.Key]int64{}
	for round := range rounds {
		writes := d.writes(numbers)
		for _, s := range []store.Store{a, b} {
			update(t, s, func(w store.Writer) error {
				for _, do := range writes {
					if err := do(w); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if d.one(10) {
			before := clock.Add(time.Duration(d.IntN(9)) * time.Millisecond)
			n, err1 := a.Sweep(t.Context(), before)
			m, err2 := b.Sweep(t.Context(), before)
			if n != m || err1 != nil || err2 != nil {
				t.Fatalf("round %d: swept %d, %v and %d, %v", round, n, err1, m, err2)
			}
		}
		view(t, a, func(r store.Reader) error {
			view(t, b, func(o store.Reader) error {
				for range 6 {
					if err := d.same(r, o); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
				}
				return nil
			})
			return nil
		})
	}
}

// writes makes the writes of a transaction, which can be repeated.
func (d dice) writes(numbers map[store.Key]int64) (list []func(store.Writer) error) {
	for range 1 + d.IntN(6) {
		kind, key := d.pick("k", "l"), d.pick("1", "2", "3", "12")
		switch v := d.version(store.Key{Type: d.typ(), ID: d.id()}); d.IntN(6) {
		case 0:
			list = append(list, func(w store.Writer) error { return w.DeleteRecord(kind, key) })
		case 1:
			r := &store.Record{Kind: kind, Key: key, Value: []byte(d.pick("", "x", "yy"))}
			if d.one(2) {
				r.Expires = clock.Add(time.Duration(d.IntN(10)) * time.Millisecond)
			}
			list = append(list, func(w store.Writer) error { return w.PutRecord(r) })
		case 2:
			if n := numbers[v.Key]; n > 0 {
				n -= int64(d.IntN(int(min(n, 3))))
				list = append(list, func(w store.Writer) error { return w.Rewrite(v.Key, n, v.Terms, v.Body) })
			}
		default:
			numbers[v.Key]++
			v.Version = numbers[v.Key]
			list = append(list, func(w store.Writer) error { return w.PutResource(v) })
		}
	}
	return list
}

// same asks both the same.
func (d dice) same(a, b store.Reader) error {
	q := d.query()
	n, err1 := a.Count(q)
	m, err2 := b.Count(q)
	if n != m || err1 != nil || err2 != nil {
		return fmt.Errorf("count %s: %d, %v and %d, %v", show(q), n, err1, m, err2)
	}
	for {
		x, err1 := a.Search(q)
		y, err2 := b.Search(q)
		if len(x) != len(y) || err1 != nil || err2 != nil {
			return fmt.Errorf("%s: %d rows, %v and %d rows, %v", show(q), len(x), err1, len(y), err2)
		}
		for i := range x {
			if !sameVersion(x[i].Version, y[i].Version) || x[i].Position != y[i].Position {
				return fmt.Errorf("%s: row %d: %+v and %+v", show(q), i, x[i].Version, y[i].Version)
			}
		}
		if len(x) < q.Limit {
			break
		}
		q.After = x[len(x)-1].Position
	}
	k := store.Key{Type: d.typ(), ID: d.id()}
	before, limit := int64(d.IntN(6)), 1+d.IntN(4)
	x, err1 := a.History(k, before, limit)
	y, err2 := b.History(k, before, limit)
	if len(x) != len(y) || err1 != nil || err2 != nil {
		return fmt.Errorf("history of %v before %d: %d, %v and %d, %v", k, before, len(x), err1, len(y), err2)
	}
	for i := range x {
		if !sameVersion(x[i], y[i]) {
			return fmt.Errorf("history of %v before %d: %+v and %+v", k, before, x[i], y[i])
		}
	}
	return d.sameLists(a, b)
}

func (d dice) sameLists(a, b store.Reader) error {
	kind, prefix, after := d.pick("k", "l"), d.pick("", "1", "2"), d.pick("", "1", "12", "2")
	r1, err1 := a.Records(kind, prefix, after, 3)
	r2, err2 := b.Records(kind, prefix, after, 3)
	if len(r1) != len(r2) || err1 != nil || err2 != nil {
		return fmt.Errorf("records %s %q after %q: %d, %v and %d, %v", kind, prefix, after, len(r1), err1, len(r2), err2)
	}
	for i := range r1 {
		if r1[i].Key != r2[i].Key || !bytes.Equal(r1[i].Value, r2[i].Value) || !r1[i].Expires.Equal(r2[i].Expires) {
			return fmt.Errorf("records: %+v and %+v", r1[i], r2[i])
		}
	}
	q := store.LogQuery{Reverse: d.one(2), Type: d.pick("", "A", "AB"), Owner: d.pick("", "p", "q"), Limit: 1 + d.IntN(20)}
	l1, err1 := a.Log(q)
	l2, err2 := b.Log(q)
	if len(l1) != len(l2) && q.Reverse || err1 != nil || err2 != nil {
		return fmt.Errorf("log %+v: %d, %v and %d, %v", q, len(l1), err1, len(l2), err2)
	}
	for i := range min(len(l1), len(l2)) { // oldest first, one may end before commits of a moment ago
		x, y := l1[i], l2[i]
		if x.Key != y.Key || x.Version != y.Version || x.Deleted != y.Deleted || !x.Time.Equal(y.Time) {
			return fmt.Errorf("log %+v: %+v and %+v", q, x, y)
		}
	}
	return nil
}
