package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"mypatients/fhir/store"
)

func transactionTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"an error leaves nothing":              atomicError,
		"a panic leaves nothing":               atomicPanic,
		"an ended goroutine leaves nothing":    atomicGoexit,
		"a transaction sees its own writes":    ownWrites,
		"a view is one snapshot":               snapshot,
		"too big a transaction is refused":     tooBig,
		"a cancelled context":                  cancelled,
		"a closed store refuses":               closedStore,
		"reading outlives what it was read of": keepReading,
	}
}

var errStop = errors.New("stop")

// failing writes all kinds of things and ends as it is told.
func failing(end func() error) func(store.Writer) error {
	return func(w store.Writer) error {
		if err := putAll(w, res("T", "1", "a=2", "_owner=p"), res("T", "2", "a=1", "_owner=p"), res("T", "2", "a=2"), gone("T", "3")); err != nil {
			return err
		}
		if err := w.PutRecord(&store.Record{Kind: "k", Key: "new", Expires: clock}); err != nil {
			return err
		}
		if err := w.PutRecord(&store.Record{Kind: "k", Key: "old", Value: []byte("changed")}); err != nil {
			return err
		}
		if err := w.DeleteRecord("k", "other"); err != nil {
			return err
		}
		return end()
	}
}

// nothingOf checks that failing has left nothing.
func nothingOf(t *testing.T, s store.Store, run func()) {
	put(t, s, res("T", "1", "a=1", "_owner=p"), res("T", "3", "a=3", "_owner=p"))
	putRecord(t, s, "k", "old", "value", clock)
	putRecord(t, s, "k", "other", "value", clock)
	for range 3 {
		run()
	}
	find(t, s, store.Query{Type: "T"}, "1", "3")
	find(t, s, store.Query{Type: "T", Where: store.Equal{Name: "a", Value: "1"}}, "1")
	find(t, s, store.Query{Type: "T", Where: store.Equal{Name: "a", Value: "2"}})
	find(t, s, store.Query{Type: "T", Where: store.Equal{Name: store.Owner, Value: "p"}}, "1", "3")
	if got := keys(t, s, "k"); !slices.Equal(got, []string{"old", "other"}) {
		t.Errorf("records: got %q", got)
	}
	view(t, s, func(r store.Reader) error {
		old, err := r.Record("k", "old")
		if err == nil && (string(old.Value) != "value" || !old.Expires.Equal(clock)) {
			t.Errorf("record: got %+v", old)
		}
		log, err2 := logOf(r, store.LogQuery{Limit: 100})
		if !slices.Equal(log, []string{"T/1/1", "T/3/1"}) {
			t.Errorf("log: got %q", log)
		}
		return errors.Join(err, err2)
	})
	put(t, s, res("T", "2"))
	find(t, s, store.Query{Type: "T"}, "1", "2", "3")
}

func atomicError(t *testing.T, s store.Store) {
	nothingOf(t, s, func() {
		err := s.Update(t.Context(), failing(func() error { return errStop }))
		if err != errStop {
			t.Errorf("got %v, want the error of the function as it is", err)
		}
	})
}

func atomicPanic(t *testing.T, s store.Store) {
	nothingOf(t, s, func() {
		err := s.Update(t.Context(), failing(func() error { panic("name of a patient") }))
		if err == nil {
			t.Error("a panic was no error")
		}
	})
}

func atomicGoexit(t *testing.T, s store.Store) {
	nothingOf(t, s, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Update(context.Background(), failing(func() error { runtime.Goexit(); return nil }))
		}()
		<-done
	})
}

func ownWrites(t *testing.T, s store.Store) {
	put(t, s, res("T", "1", "a=1", "_owner=p"), res("T", "2", "a=1", "_owner=p"))
	update(t, s, func(w store.Writer) error {
		one := store.Query{Type: "T", Where: store.Equal{Name: "a", Value: "1"}, Sort: []store.Sort{{Name: "b"}}}
		owned := store.Query{Type: "T", Where: store.And{store.Equal{Name: store.Owner, Value: "p"}, store.Equal{Name: "a", Value: "1"}}}
		check := func(q store.Query, want ...string) error {
			got, err := pages(w, q, 2)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("%s: got %q, want %q", show(q), got, want)
			}
			n, err2 := w.Count(q)
			if n != len(want) {
				err2 = fmt.Errorf("%s: counted %d, want %d", show(q), n, len(want))
			}
			return errors.Join(err, err2)
		}
		steps := []struct {
			v          *store.Version
			one, owned string
		}{
			{nil, "12", "12"},
			{res("T", "3", "a=1", "b=1"), "312", "12"},
			{res("T", "0", "a=1", "b=2", "_owner=p"), "3012", "012"},
			{gone("T", "1"), "302", "02"},
			{res("T", "2", "a=2", "_owner=p"), "30", "0"},
			{gone("T", "0"), "3", ""},
			{res("T", "1", "a=1", "b=0", "_owner=p", "_owner=q"), "13", "1"},
		}
		for _, step := range steps {
			if step.v != nil {
				if err := putAll(w, step.v); err != nil {
					return err
				}
				got, err := w.Resource(step.v.Key)
				if err != nil || got.Version != step.v.Version || got.Deleted != step.v.Deleted {
					return fmt.Errorf("own write: got %+v, %v", got, err)
				}
				list, err := w.History(step.v.Key, 0, 10)
				if err != nil || len(list) != int(step.v.Version) {
					return fmt.Errorf("own history: got %d versions, %v", len(list), err)
				}
			}
			if err := errors.Join(check(one, letters(step.one)...), check(owned, letters(step.owned)...)); err != nil {
				return err
			}
		}
		return nil
	})
	find(t, s, store.Query{Type: "T", Where: store.Equal{Name: "a", Value: "1"}}, "1", "3")
}

func snapshot(t *testing.T, s store.Store) {
	put(t, s, res("T", "1", "a=1", "_owner=p"))
	putRecord(t, s, "k", "1", "before", clock)
	where := store.Query{Type: "T", Where: store.Equal{Name: store.Owner, Value: "p"}, Limit: 9}
	view(t, s, func(old store.Reader) error {
		if _, err := old.Record("k", "1"); err != nil { // the snapshot is taken now, if it was not before
			return err
		}
		for i := range 3 {
			put(t, s, res("T", "1", "a=2", "_owner=p"), res("T", fmt.Sprint("n", i), "_owner=p"))
			putRecord(t, s, "k", "1", "after", clock)
			view(t, s, func(r store.Reader) error { // warms whatever is cached
				hits, err := r.Search(where)
				if len(hits) != i+2 {
					t.Errorf("a new view: got %d rows, want %d", len(hits), i+2)
				}
				return err
			})
			hits, err := old.Search(where)
			if err != nil || len(hits) != 1 || hits[0].Version.Version != 1 {
				t.Errorf("the old view sees %d rows, %v", len(hits), err)
			}
			v, err := old.Resource(store.Key{Type: "T", ID: "1"})
			if err != nil || v.Version != 1 {
				t.Errorf("the old view sees version %+v, %v", v, err)
			}
			rec, err := old.Record("k", "1")
			if err != nil || string(rec.Value) != "before" {
				t.Errorf("the old view sees record %+v, %v", rec, err)
			}
			log, err := old.Log(store.LogQuery{Limit: 100})
			if err != nil || len(log) != 1 {
				t.Errorf("the old view sees %d log entries, %v", len(log), err)
			}
		}
		return nil
	})
}

// A transaction is either stored whole or refused whole, whatever its size.
func tooBig(t *testing.T, s store.Store) {
	put(t, s, res("Small", "1"))
	var stored int
	for _, size := range []int{1000, 10_000, 40_000} {
		err := s.Update(t.Context(), func(w store.Writer) error {
			for i := range size {
				if err := w.PutRecord(&store.Record{Kind: fmt.Sprint("size", size), Key: fmt.Sprintf("%0100d", i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			wantErr(t, "a big transaction", err, store.ErrTooBig)
			if got := keys(t, s, fmt.Sprint("size", size)); len(got) != 0 {
				t.Errorf("a refused transaction left %d records", len(got))
			}
			break
		}
		stored = size
		if got := keys(t, s, fmt.Sprint("size", size)); len(got) != size {
			t.Errorf("a transaction of %d records stored %d", size, len(got))
		}
	}
	if stored < 10_000 {
		t.Errorf("a transaction of 10,000 small records was refused")
	}
	put(t, s, res("Small", "2"))
	find(t, s, store.Query{Type: "Small"}, "1", "2")
}

func cancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	if err := s.Update(ctx, func(w store.Writer) error { ran = true; return putAll(w, res("T", "1")) }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Update: got %v, ran %v", err, ran)
	}
	if err := s.View(ctx, func(store.Reader) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("View: got %v, ran %v", err, ran)
	}
	find(t, s, store.Query{Type: "T"})
}

func closedStore(t *testing.T, s store.Store) {
	put(t, s, res("T", "1"))
	reading, release, viewed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		viewed <- s.View(context.Background(), func(r store.Reader) error {
			close(reading)
			<-release
			_, err := r.Resource(store.Key{Type: "T", ID: "1"})
			return err
		})
	}()
	<-reading
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Error("Close did not wait for a view")
	default:
	}
	close(release)
	if err := <-viewed; err != nil {
		t.Errorf("a view that ran while closing: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.View(t.Context(), func(store.Reader) error { return nil }); err == nil {
		t.Error("a closed store can be viewed")
	}
	if err := s.Update(t.Context(), func(store.Writer) error { return nil }); err == nil {
		t.Error("a closed store can be updated")
	}
}

// What a reader returned may be kept when it is gone and the data has changed.
func keepReading(t *testing.T, s store.Store) {
	put(t, s, res("T", "1", "a=1", "_owner=p"))
	var kept *store.Version
	var hits []store.Hit
	view(t, s, func(r store.Reader) (err error) {
		if kept, err = r.Resource(store.Key{Type: "T", ID: "1"}); err != nil {
			return err
		}
		hits, err = r.Search(store.Query{Type: "T", Where: store.Equal{Name: store.Owner, Value: "p"}, Limit: 1})
		return err
	})
	for range 50 {
		v := res("T", "1", "b=2", "_owner=q")
		v.Body = []byte("XXXX")
		put(t, s, v)
	}
	if string(kept.Body) != "T 1" || string(hits[0].Body) != "T 1" || len(kept.Terms.List()) != 2 {
		t.Errorf("what was read has changed to %+v, %+v", kept, hits[0])
	}
}
