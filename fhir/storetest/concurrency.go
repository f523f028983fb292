package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"mypatients/fhir/store"
)

func concurrencyTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"create if absent makes one":       createOnce,
		"a code is taken once":             takeOnce,
		"no increment is lost":             counter,
		"no write skew":                    writeSkew,
		"views are consistent":             consistentViews,
		"a follower of the log sees all":   follower,
		"one failure does not harm others": oneFails,
	}
}

// parallel runs fn n times at once and fails the test on any error.
func parallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func createOnce(t *testing.T, s store.Store) {
	q := store.Query{Type: "T", Where: store.Equal{Name: "mrn", Value: "1001"}, Limit: 1}
	var made atomic.Int32
	parallel(t, 16, func(i int) error {
		created := false
		err := s.Update(context.Background(), func(w store.Writer) error {
			created = false
			hits, err := w.Search(q)
			if err != nil || len(hits) > 0 {
				return err
			}
			created = true
			return putAll(w, res("T", fmt.Sprint(i), "mrn=1001"))
		})
		if created && err == nil {
			made.Add(1)
		}
		return err
	})
	view(t, s, func(r store.Reader) error {
		n, err := r.Count(q)
		if n != 1 || made.Load() != 1 {
			t.Errorf("%d were told that they made one, %d exist", made.Load(), n)
		}
		return err
	})
}

func takeOnce(t *testing.T, s store.Store) {
	for round := range 5 {
		putRecord(t, s, "code", fmt.Sprint(round), "v", clock)
		var taken atomic.Int32
		parallel(t, 16, func(int) error {
			err := s.Update(context.Background(), func(w store.Writer) error {
				if _, err := w.Record("code", fmt.Sprint(round)); err != nil {
					return err
				}
				return w.DeleteRecord("code", fmt.Sprint(round))
			})
			if err == nil {
				taken.Add(1)
			} else if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		if n := taken.Load(); n != 1 {
			t.Errorf("taken %d times", n)
		}
	}
}

func counter(t *testing.T, s store.Store) {
	const goroutines, each = 32, 10
	add := func(w store.Writer) error {
		n := 0
		r, err := w.Record("counter", "c")
		if err == nil {
			n, err = strconv.Atoi(string(r.Value))
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
		if err := putAll(w, res("Count", "c", fmt.Sprintf("n=%d", n+1))); err != nil {
			return err
		}
		return w.PutRecord(&store.Record{Kind: "counter", Key: "c", Value: []byte(strconv.Itoa(n + 1))})
	}
	parallel(t, goroutines, func(int) error {
		for range each {
			if err := s.Update(context.Background(), add); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r store.Reader) error {
		got, err := r.Record("counter", "c")
		v, err2 := r.Resource(store.Key{Type: "Count", ID: "c"})
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if want := strconv.Itoa(goroutines * each); string(got.Value) != want || fmt.Sprint(v.Version) != want {
			t.Errorf("got %s and version %d, want %s", got.Value, v.Version, want)
		}
		return nil
	})
}

// Each doctor leaves if another stays on duty: serially, one must stay.
func writeSkew(t *testing.T, s store.Store) {
	const doctors = 8
	for range 3 {
		var on []*store.Version
		for i := range doctors {
			on = append(on, res("Doctor", fmt.Sprint(i), "duty=yes", "_owner=ward"))
		}
		put(t, s, on...)
		parallel(t, doctors, func(i int) error {
			return s.Update(context.Background(), func(w store.Writer) error {
				var where store.Expr = store.Equal{Name: "duty", Value: "yes"}
				if i%2 == 0 {
					where = store.And{store.Equal{Name: store.Owner, Value: "ward"}, where}
				}
				n, err := w.Count(store.Query{Type: "Doctor", Where: where})
				if err != nil || n < 2 {
					return err
				}
				return putAll(w, res("Doctor", fmt.Sprint(i), "duty=no", "_owner=ward"))
			})
		})
		view(t, s, func(r store.Reader) error {
			n, err := r.Count(store.Query{Type: "Doctor", Where: store.Equal{Name: "duty", Value: "yes"}})
			if n != 1 {
				t.Errorf("%d are on duty, want 1", n)
			}
			return err
		})
	}
}

// Pairs of resources and a record always carry the same number; views must never
// see them differ, nor go back.
func consistentViews(t *testing.T, s store.Store) {
	const writes = 60
	write := func(n int) error {
		return s.Update(context.Background(), func(w store.Writer) error {
			term := fmt.Sprintf("n=%d", n)
			if err := putAll(w, res("T", "1", term, "_owner=p"), res("T", "2", term, "_owner=p", "_owner=q")); err != nil {
				return err
			}
			return w.PutRecord(&store.Record{Kind: "n", Key: "n", Value: []byte(strconv.Itoa(n))})
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	parallel(t, 5, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for n := 1; n <= writes; n++ {
				if err := write(n); err != nil {
					return err
				}
			}
			return nil
		}
		last := 0
		for !done.Load() {
			err := s.View(context.Background(), func(r store.Reader) error {
				n, err := sameNumber(r, i)
				if n < last {
					return fmt.Errorf("saw %d after %d", n, last)
				}
				last = n
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func sameNumber(r store.Reader, i int) (int, error) {
	rec, err := r.Record("n", "n")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(rec.Value))
	if err != nil {
		return 0, err
	}
	where := store.Expr(store.Equal{Name: store.Owner, Value: "p"})
	if i%2 == 0 {
		where = store.Equal{Name: "n", Value: string(rec.Value)}
	}
	hits, err := r.Search(store.Query{Type: "T", Where: where, Limit: 10})
	if err != nil {
		return 0, err
	}
	if len(hits) != 2 {
		return 0, fmt.Errorf("found %d of 2 resources with number %d", len(hits), n)
	}
	for _, h := range hits {
		v, err := r.Resource(h.Key)
		if err != nil {
			return 0, err
		}
		if h.Version.Version != int64(n+1) || v.Version != int64(n+1) {
			return 0, fmt.Errorf("number %d, but versions %d and %d of %v", n, h.Version.Version, v.Version, h.Key)
		}
	}
	return n, nil
}

func follower(t *testing.T, s store.Store) {
	const writers, each = 8, 15
	var seen []string
	var writing sync.WaitGroup
	writing.Add(writers)
	stopped := make(chan struct{})
	go func() { writing.Wait(); close(stopped) }()
	parallel(t, writers+1, func(i int) error {
		if i > 0 {
			defer writing.Done()
			for n := range each {
				err := s.Update(context.Background(), func(w store.Writer) error {
					return putAll(w, res("T", fmt.Sprintf("%d-%d", i, n)), res("T", fmt.Sprint(i)))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		after, last := "", false
		for len(seen) < writers*each*2 {
			change := s.Changed()
			before := len(seen)
			err := s.View(context.Background(), func(r store.Reader) error {
				entries, err := r.Log(store.LogQuery{After: after, Limit: 10})
				for _, e := range entries {
					seen = append(seen, fmt.Sprintf("%v/%d", e.Key, e.Version))
					after = e.Position
				}
				return err
			})
			if err != nil {
				return err
			}
			if len(seen) > before {
				continue
			}
			select {
			case <-change:
			case <-stopped: // all is committed: look once more, then give up
				if last {
					return nil
				}
				last = true
			}
		}
		return nil
	})
	view(t, s, func(r store.Reader) error {
		all, err := logOf(r, store.LogQuery{Limit: 1000})
		if !slices.Equal(all, seen) {
			t.Errorf("the follower saw %d entries, the log has %d, or in another order", len(seen), len(all))
		}
		return err
	})
}

func oneFails(t *testing.T, s store.Store) {
	parallel(t, 32, func(i int) error {
		err := s.Update(context.Background(), func(w store.Writer) error {
			if err := putAll(w, res("T", fmt.Sprintf("%02d", i), "_owner=p")); err != nil {
				return err
			}
			switch {
			case i%8 == 1:
				return errStop
			case i%8 == 3:
				panic("stop")
			}
			return nil
		})
		if (err != nil) != (i%8 == 1 || i%8 == 3) {
			return fmt.Errorf("writer %d: %w", i, err)
		}
		return nil
	})
	var want []string
	for i := range 32 {
		if i%8 != 1 && i%8 != 3 {
			want = append(want, fmt.Sprintf("%02d", i))
		}
	}
	find(t, s, store.Query{Type: "T"}, want...)
	find(t, s, store.Query{Type: "T", Where: store.Equal{Name: store.Owner, Value: "p"}}, want...)
}
