package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/store"
)

func modelTests() map[string]func(*testing.T, store.Store) {
	tests := map[string]func(*testing.T, store.Store){}
	for seed := range uint64(3) {
		tests[fmt.Sprint("random operations, seed ", seed)] = func(t *testing.T, s store.Store) {
			randomOperations(t, s, seed, 120)
		}
	}
	return tests
}

// randomOperations runs random transactions, of which some fail, on the store
// and on the model, and compares all that can be read, also half way through a
// transaction.
func randomOperations(t *testing.T, s store.Store, seed uint64, rounds int) {
	d := newDice(seed, 7)
	m := newModel()
	for round := range rounds {
		fail := d.one(5)
		next := m.clone()
		err := s.Update(t.Context(), func(w store.Writer) error {
			for range 1 + d.IntN(6) {
				if err := d.operation(w, next); err != nil {
					return err
				}
				if d.one(3) {
					if err := d.compare(w, next); err != nil {
						return fmt.Errorf("inside a transaction: %w", err)
					}
				}
			}
			if fail {
				return errStop
			}
			return nil
		})
		switch {
		case fail && err == errStop:
		case err != nil:
			t.Fatalf("round %d: %v", round, err)
		default:
			m = next
		}
		if d.one(10) {
			before := clock.Add(time.Duration(d.IntN(9)) * time.Millisecond)
			if n, err := s.Sweep(t.Context(), before); n != m.sweep(before) || err != nil {
				t.Fatalf("round %d: swept %d, %v", round, n, err)
			}
		}
		view(t, s, func(r store.Reader) error {
			for range 4 {
				if err := d.compare(r, m); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			return nil
		})
	}
	view(t, s, func(r store.Reader) error { return compareLogs(r, m) })
}

func (m *model) sweep(before time.Time) (n int) {
	for k, r := range m.records {
		if !r.Expires.IsZero() && r.Expires.Before(before) {
			delete(m.records, k)
			n++
		}
	}
	return n
}

// long is longer than some indexes take whole.
var long = strings.Repeat("al", 1500)

// dice make random things out of few names, so that they meet.
type dice struct {
	*rand.Rand
	standing []*store.Standing // asked again and again
}

func newDice(seed, stream uint64) dice {
	d := dice{Rand: rand.New(rand.NewPCG(seed, stream))}
	for range 6 {
		d.standing = append(d.standing, &store.Standing{Expr: d.expr(2)})
	}
	return d
}

func (d dice) one(in int) bool { return d.IntN(in) == 0 }

func (d dice) pick(of ...string) string { return of[d.IntN(len(of))] }

func (d dice) typ() string   { return d.pick("A", "B", "AB") }
func (d dice) id() string    { return d.pick("1", "2", "3", "10", "11", "4", "5", "x\xff", "y\x01", "y") }
func (d dice) key() string   { return d.typ() + "/" + d.id() }
func (d dice) owner() string { return d.pick("p", "q", "r", "p1") }

func (d dice) name() string {
	return d.pick("a", "a", "b", "ab", "ref", "ref", store.Owner, store.ID)
}

func (d dice) value(name string) string {
	switch name {
	case "ref":
		return d.key()
	case store.Owner:
		return d.owner()
	case store.ID:
		return d.id()
	}
	return d.pick("", "a", "aa", "ab", "b", "ba", "\x01", "a\x01", "\xff", "c", "cd", long, long+"a", long+"b")
}

func (d dice) version(k store.Key) *store.Version {
	var terms []store.Term
	for range d.IntN(9) {
		if name := d.name(); name != store.ID {
			terms = append(terms, store.Term{Name: name, Value: d.value(name)})
		}
	}
	return &store.Version{
		Key: k, Time: clock.Add(time.Duration(d.IntN(1000)) * time.Millisecond), Deleted: d.one(5),
		Terms: store.NewTerms(terms), Body: bytes.Repeat([]byte{byte(d.IntN(256))}, d.IntN(3)*700),
	}
}

// operation does the same to both.
func (d dice) operation(w store.Writer, m *model) error {
	kind, key := d.pick("k", "l"), d.pick("1", "2", "3", "12")
	switch d.IntN(6) {
	case 0:
		return errors.Join(w.DeleteRecord(kind, key), m.DeleteRecord(kind, key))
	case 1:
		r := &store.Record{Kind: kind, Key: key, Value: []byte(d.pick("", "x", "yy"))}
		if d.one(2) {
			r.Expires = clock.Add(time.Duration(d.IntN(10)) * time.Millisecond)
		}
		return errors.Join(w.PutRecord(r), m.PutRecord(r))
	case 2:
		v := d.version(store.Key{Type: d.typ(), ID: d.id()})
		if n := int64(len(m.versions[v.Key])); n > 0 {
			n -= int64(d.IntN(int(min(n, 3))))
			return errors.Join(w.Rewrite(v.Key, n, v.Terms, v.Body), m.Rewrite(v.Key, n, v.Terms, v.Body))
		}
	}
	v := d.version(store.Key{Type: d.typ(), ID: d.id()})
	v.Version = int64(len(m.versions[v.Key]) + 1)
	return errors.Join(w.PutResource(v), m.PutResource(v))
}

func (d dice) expr(depth int) store.Expr {
	n := 12
	if depth == 0 {
		n = 7
	}
	name := d.name()
	switch d.IntN(n) {
	case 0:
		return store.Equal{Name: name, Value: d.value(name)}
	case 1:
		in := store.In{Name: name}
		for range d.IntN(12) {
			in.Values = append(in.Values, d.value(name))
		}
		return in
	case 2:
		return store.Prefix{Name: name, Prefix: d.value(name)}
	case 3:
		return store.Contains{Name: name, Part: d.pick("a", "b", "1", "/", "")}
	case 4:
		return store.Range{Name: name, From: d.value(name), To: d.value(name)}
	case 5:
		return store.Span{Name: name, Split: d.IntN(3), HeadFrom: d.pick("", "a"), HeadTo: d.pick("", "b", "aa"), TailFrom: d.pick("", "a"), TailTo: d.pick("", "b")}
	case 6:
		return store.Exists{Name: name}
	case 7:
		return store.Not{Expr: d.expr(depth - 1)}
	case 8:
		return store.Ref{Name: "ref", Type: d.typ(), Where: d.maybe(depth - 1)}
	case 9:
		return store.Back{Type: d.typ(), Name: "ref", Where: d.maybe(depth - 1)}
	case 10:
		or := store.Or{}
		for range d.IntN(4) {
			or = append(or, d.expr(depth-1))
		}
		return or
	}
	and := store.And{}
	for range d.IntN(4) {
		and = append(and, d.expr(depth-1))
	}
	return and
}

func (d dice) maybe(depth int) store.Expr {
	if d.one(4) {
		return nil
	}
	return d.expr(depth)
}

// query makes a query; half of them are limited to owners, as most will be, and to some
// a condition is added that others had before.
func (d dice) query() store.Query {
	q := store.Query{Type: d.typ(), Where: d.maybe(3), Limit: 1 + d.IntN(6)}
	switch d.IntN(4) {
	case 0:
		q.Where = store.And{store.Equal{Name: store.Owner, Value: d.owner()}, q.Where}
	case 1:
		one := store.And{store.In{Name: store.Owner, Values: []string{d.owner(), d.owner()}}, d.maybe(1)}
		two := store.And{store.Equal{Name: store.Owner, Value: d.owner()}, d.maybe(1)}
		q.Where = store.And{q.Where, store.Or{one, two}}
	}
	if d.one(3) {
		q.Where = store.And{q.Where, d.standing[d.IntN(len(d.standing))]}
	}
	for range d.IntN(3) {
		q.Sort = append(q.Sort, store.Sort{Name: d.name(), Descending: d.one(2)})
	}
	return q
}

// compare reads the same from both.
func (d dice) compare(r store.Reader, m *model) error {
	if err := d.compareSearch(r, m); err != nil {
		return err
	}
	k := store.Key{Type: d.typ(), ID: d.id()}
	n := int64(d.IntN(6))
	got, err1 := r.ResourceVersion(k, n)
	want, err2 := m.ResourceVersion(k, n)
	if !sameVersion(got, want) || !errors.Is(err1, err2) {
		return fmt.Errorf("version %d of %v: got %+v, %v, want %+v, %v", n, k, got, err1, want, err2)
	}
	list, err := r.History(k, n, 1+d.IntN(4))
	if err != nil {
		return err
	}
	wantList, _ := m.History(k, n, max(len(list), 1))
	if len(list) != len(wantList) {
		return fmt.Errorf("history of %v before %d: got %d, want %d", k, n, len(list), len(wantList))
	}
	for i := range list {
		if !sameVersion(list[i], wantList[i]) {
			return fmt.Errorf("history of %v before %d: got %+v, want %+v", k, n, list[i], wantList[i])
		}
	}
	kind, prefix, after := d.pick("k", "l"), d.pick("", "1", "2"), d.pick("", "1", "12", "2")
	records, err := r.Records(kind, prefix, after, 3)
	if err != nil {
		return err
	}
	wantRecords, _ := m.Records(kind, prefix, after, 3)
	if len(records) != len(wantRecords) {
		return fmt.Errorf("records %s %q after %q: got %d, want %d", kind, prefix, after, len(records), len(wantRecords))
	}
	for i, g := range records {
		w := wantRecords[i]
		if g.Key != w.Key || !bytes.Equal(g.Value, w.Value) || !g.Expires.Equal(w.Expires) {
			return fmt.Errorf("record: got %+v, want %+v", g, w)
		}
	}
	return nil
}

func (d dice) compareSearch(r store.Reader, m *model) error {
	q := d.query()
	count, err := r.Count(q)
	if err != nil {
		return fmt.Errorf("count %s: %w", show(q), err)
	}
	if want, _ := m.Count(q); count != want {
		return fmt.Errorf("count %s: got %d, want %d", show(q), count, want)
	}
	for {
		got, err := r.Search(q)
		if err != nil {
			return fmt.Errorf("%s: %w", show(q), err)
		}
		want, err := m.Search(q)
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("%s: got %d rows, want %d", show(q), len(got), len(want))
		}
		for i := range got {
			if !sameVersion(got[i].Version, want[i].Version) || got[i].Position != want[i].Position {
				return fmt.Errorf("%s: row %d: got %+v, want %+v", show(q), i, got[i].Version, want[i].Version)
			}
		}
		if len(got) < q.Limit {
			return nil
		}
		q.After = got[len(got)-1].Position
	}
}

func sameVersion(a, b *store.Version) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Key == b.Key && a.Version == b.Version && a.Time.Equal(b.Time) && a.Deleted == b.Deleted &&
		bytes.Equal(a.Terms, b.Terms) && bytes.Equal(a.Body, b.Body)
}

func compareLogs(r store.Reader, m *model) error {
	for _, q := range []store.LogQuery{{}, {Type: "A"}, {Type: "AB"}, {Owner: "p"}, {Owner: "p1"}, {Owner: "q", Type: "A"}, {Owner: "none"}} {
		for _, reverse := range []bool{false, true} {
			q.Reverse, q.Limit = reverse, 1<<20
			got, err := r.Log(q)
			if err != nil {
				return err
			}
			want, _ := m.Log(q)
			if len(got) != len(want) {
				return fmt.Errorf("log %+v: got %d entries, want %d", q, len(got), len(want))
			}
			for i, g := range got {
				w := want[i]
				if g.Key != w.Key || g.Version != w.Version || !g.Time.Equal(w.Time) || g.Deleted != w.Deleted {
					return fmt.Errorf("log: got %+v, want %+v", g, w)
				}
			}
		}
	}
	return nil
}
