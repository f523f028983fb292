package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"mypatients/fhir/store"
)

func logTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"order, direction, type, paging": logOrder,
		"by owner":                       logOfOwner,
		"a failed transaction is not in": logFailed,
		"changes are announced":          changed,
	}
}

// logOf gives the whole log as "Type/id/version", a "!" behind deletions.
func logOf(r store.Reader, q store.LogQuery) (list []string, err error) {
	last := q.After
	for {
		entries, err := r.Log(q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if last != "" && (e.Position <= last) != q.Reverse {
				return nil, fmt.Errorf("position %q follows %q", e.Position, last)
			}
			last = e.Position
			s := fmt.Sprintf("%v/%d", e.Key, e.Version)
			if e.Deleted {
				s += "!"
			}
			list = append(list, s)
		}
		if len(entries) < q.Limit {
			return list, nil
		}
		q.After = last
	}
}

func logOrder(t *testing.T, s store.Store) {
	put(t, s, res("B", "2"), res("A", "1"), res("AA", "1"))
	put(t, s, res("A", "1"))
	put(t, s, gone("A", "1"), res("B", "1"))
	all := []string{"B/2/1", "A/1/1", "AA/1/1", "A/1/2", "A/1/3!", "B/1/1"}
	check := func(r store.Reader) error {
		for typ, want := range map[string][]string{"": all, "A": {"A/1/1", "A/1/2", "A/1/3!"}, "AA": {"AA/1/1"}, "B": {"B/2/1", "B/1/1"}, "C": nil} {
			for _, limit := range []int{1, 2, 3, 100} {
				got, err := logOf(r, store.LogQuery{Type: typ, Limit: limit})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("type %q, limit %d: got %q, %v, want %q", typ, limit, got, err, want)
				}
				got, err = logOf(r, store.LogQuery{Type: typ, Limit: limit, Reverse: true})
				slices.Reverse(got)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("reverse, type %q, limit %d: got %q, %v, want %q", typ, limit, got, err, want)
				}
			}
		}
		entries, err := r.Log(store.LogQuery{Limit: 1})
		if err == nil && !entries[0].Time.Equal(clock) {
			t.Errorf("got time %v, want %v", entries[0].Time, clock)
		}
		const badgers, postgress = "00000000000000ff", "0000010000000000000abc00000001" // one of them is the other engine's
		refused := 0
		for _, after := range []string{"not a position", badgers, postgress, "-0000001"} {
			if _, err := r.Log(store.LogQuery{Limit: 1, After: after}); errors.Is(err, store.ErrPosition) {
				refused++
			} else if err != nil {
				return err
			}
		}
		if refused != 3 {
			t.Errorf("%d of 3 bad positions were refused", refused)
		}
		return err
	}
	view(t, s, check)
	update(t, s, func(w store.Writer) error { return check(w) })
	update(t, s, func(w store.Writer) error {
		if err := putAll(w, res("C", "1")); err != nil {
			return err
		}
		got, err := logOf(w, store.LogQuery{Limit: 2})
		if !slices.Equal(got, append(slices.Clone(all), "C/1/1")) {
			t.Errorf("in a transaction: got %q", got)
		}
		return err
	})
}

func logOfOwner(t *testing.T, s store.Store) {
	put(t, s, res("A", "1", "_owner=p"), res("B", "1", "_owner=p", "_owner=q"), res("A", "2", "_owner=p1"), res("A", "3"))
	moved, deleted := res("A", "1", "_owner=q"), gone("B", "1")
	deleted.Terms = store.NewTerms([]store.Term{{Name: store.Owner, Value: "p"}})
	put(t, s, moved, deleted)
	update(t, s, func(w store.Writer) error { // the log tells who owned a version when it was written
		return w.Rewrite(store.Key{Type: "A", ID: "3"}, 1, store.NewTerms([]store.Term{{Name: store.Owner, Value: "p"}}), []byte("A 3"))
	})
	check := func(r store.Reader) error {
		for _, c := range []struct {
			owner, typ string
			want       []string
		}{
			{"p", "", []string{"A/1/1", "B/1/1", "B/1/2!"}},
			{"p", "B", []string{"B/1/1", "B/1/2!"}},
			{"q", "", []string{"B/1/1", "A/1/2"}},
			{"q", "A", []string{"A/1/2"}},
			{"p1", "", []string{"A/2/1"}},
			{"r", "", nil},
		} {
			for _, limit := range []int{1, 2, 100} {
				got, err := logOf(r, store.LogQuery{Owner: c.owner, Type: c.typ, Limit: limit})
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("of %q, type %q, limit %d: got %q, %v, want %q", c.owner, c.typ, limit, got, err, c.want)
				}
				got, err = logOf(r, store.LogQuery{Owner: c.owner, Type: c.typ, Limit: limit, Reverse: true})
				slices.Reverse(got)
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("reverse, of %q, type %q, limit %d: got %q, %v, want %q", c.owner, c.typ, limit, got, err, c.want)
				}
			}
		}
		return nil
	}
	view(t, s, check)
	update(t, s, func(w store.Writer) error { return check(w) })
}

func logFailed(t *testing.T, s store.Store) {
	put(t, s, res("A", "1"))
	_ = s.Update(t.Context(), func(w store.Writer) error {
		if err := putAll(w, res("A", "2"), res("A", "1")); err != nil {
			return err
		}
		return errStop
	})
	put(t, s, res("A", "3"))
	view(t, s, func(r store.Reader) error {
		got, err := logOf(r, store.LogQuery{Limit: 10})
		if !slices.Equal(got, []string{"A/1/1", "A/3/1"}) {
			t.Errorf("got %q", got)
		}
		return err
	})
}

func changed(t *testing.T, s store.Store) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	first := s.Changed()
	if closed(first) {
		t.Error("closed before anything was written")
	}
	put(t, s, res("A", "1"))
	<-first // may be late, never missing
	second := s.Changed()
	put(t, s, res("A", "1"))
	<-second
}
