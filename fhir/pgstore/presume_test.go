package pgstore_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// bump counts up a record and, in the same transaction, a resource.
func bump(t *testing.T, s store.Store) {
	t.Helper()
	key := store.Key{Type: "T", ID: "1"}
	err := s.Update(t.Context(), func(w store.Writer) error {
		version, n := int64(1), "1"
		old, err := w.Resource(key)
		if err == nil {
			version = old.Version + 1
			n = strconv.FormatInt(version, 10)
		} else if err != store.ErrNotFound {
			return err
		}
		v := &store.Version{Key: key, Version: version, Body: []byte(n), Terms: store.NewTerms([]store.Term{{Name: "id", Value: "1"}})}
		return errors.Join(w.PutResource(v), w.PutRecord(&store.Record{Kind: "k", Key: "n", Value: []byte(n)}))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func record(r store.Reader) (string, error) {
	rec, err := r.Record("k", "n")
	if err != nil {
		return "", err
	}
	return string(rec.Value), nil
}

func resource(r store.Reader) (string, error) {
	v, err := r.Resource(store.Key{Type: "T", ID: "1"})
	if err != nil {
		return "", err
	}
	return string(v.Body), nil
}

// What is remembered of a record is good for as long as nobody has written it, at
// another store neither; then all is asked anew.
func TestForesee(t *testing.T) {
	dsn := pgtest.Open(t)
	here, there := openAt(t, dsn), openAt(t, dsn)
	bump(t, there)
	for name, look := range map[string]func(context.Context) (string, error){
		"a record alone": func(ctx context.Context) (got string, err error) {
			return got, here.View(ctx, func(r store.Reader) error { got, err = record(r); return err })
		},
		"a record, and a resource in a view of its own": func(ctx context.Context) (got string, err error) {
			_ = here.View(ctx, func(r store.Reader) error { got, _ = record(r); return nil }) // an error of one view is an error of Foresee
			return got, here.View(ctx, func(r store.Reader) error { _, err := resource(r); return err })
		},
		"a record read ahead": func(ctx context.Context) (got string, err error) {
			return got, here.View(ctx, func(r store.Reader) error {
				if err := store.ReadRecords(r, "k", func(yield func(string) bool) { yield("n") }); err != nil {
					return err
				}
				got, err = record(r)
				return err
			})
		},
		"a record in an update": func(ctx context.Context) (got string, err error) {
			_ = here.View(ctx, func(r store.Reader) error { got, _ = record(r); return nil })
			return got, here.Update(ctx, func(w store.Writer) error {
				if inside, err := record(w); err != nil || inside != got {
					t.Errorf("an update runs on %s, %v, after %s", inside, err, got)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			ask := func() (got string) {
				runs = 0
				err := store.Foresee(t.Context(), here, func(ctx context.Context) (err error) {
					runs++
					got, err = look(ctx)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			ask()
			was := ask()
			if runs != 1 {
				t.Errorf("what is as it was is asked %d times", runs)
			}
			bump(t, there)
			n, _ := strconv.Atoi(was)
			if is := ask(); is != strconv.Itoa(n+1) || runs != 2 {
				t.Errorf("after %s, %s is found in %d runs", was, is, runs)
			}
		})
	}
}

// That a record was not there is remembered too.
func TestForeseeAbsent(t *testing.T) {
	dsn := pgtest.Open(t)
	here, there := openAt(t, dsn), openAt(t, dsn)
	ask := func() (got string) {
		err := store.Foresee(t.Context(), here, func(ctx context.Context) error {
			return here.View(ctx, func(r store.Reader) (err error) {
				if got, err = record(r); err == store.ErrNotFound {
					got, err = "absent", nil
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if one, two := ask(), ask(); one != "absent" || two != one {
		t.Errorf("got %s, then %s", one, two)
	}
	bump(t, there)
	if got := ask(); got != "1" {
		t.Errorf("got %s", got)
	}
}

// Whatever is presumed and in whatever order, a view shows one state.
func TestForeseeOneState(t *testing.T) {
	dsn := pgtest.Open(t)
	here, there := openAt(t, dsn), openAt(t, dsn)
	bump(t, there)
	var writing, reading sync.WaitGroup
	ended := make(chan struct{})
	writing.Go(func() {
		for range 200 {
			bump(t, there)
		}
		close(ended)
	})
	first := []func(store.Reader) (string, error){record, resource}
	for i := range 4 {
		reading.Go(func() {
			for {
				var got [2]string
				err := store.Foresee(t.Context(), here, func(ctx context.Context) error {
					return here.View(ctx, func(r store.Reader) (err error) {
						if got[0], err = first[i%2](r); err == nil {
							got[1], err = first[1-i%2](r)
						}
						return err
					})
				})
				if err != nil || got[0] != got[1] {
					t.Errorf("got %s and %s, %v", got[0], got[1], err)
					return
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
}

// What is presumed is compared before anything is kept of it or done by it.
func TestForeseeCompares(t *testing.T) {
	dsn := pgtest.Open(t)
	here, there := openAt(t, dsn), openAt(t, dsn)
	for name, before := range map[string]func(context.Context, store.Reader) error{
		"Compare": func(_ context.Context, r store.Reader) error { return store.Compare(r) },
		"Confirm": func(ctx context.Context, _ store.Reader) error { return store.Confirm(ctx, here) },
		"Update": func(ctx context.Context, _ store.Reader) error {
			return here.Update(ctx, func(store.Writer) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var kept []string
			keep := func() {
				err := store.Foresee(t.Context(), here, func(ctx context.Context) error {
					return here.View(ctx, func(r store.Reader) error {
						got, err := record(r)
						if err == nil {
							err = before(ctx, r)
						}
						if err == nil {
							kept = append(kept, got)
						}
						return err
					})
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			bump(t, there)
			keep()
			bump(t, there)
			keep()
			if len(kept) != 2 || kept[0] == kept[1] {
				t.Errorf("got %v", kept)
			}
		})
	}
}
