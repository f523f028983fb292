package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
	"mypatients/fhir/storetest"
)

// A pair is two stores on one database, asked in turn.
type pair struct {
	stores [2]store.Store
	turn   atomic.Int64
}

func (p *pair) next() store.Store { return p.stores[p.turn.Add(1)%2] }

func (p *pair) View(ctx context.Context, fn func(store.Reader) error) error {
	return p.next().View(ctx, fn)
}

func (p *pair) Update(ctx context.Context, fn func(store.Writer) error) error {
	return p.next().Update(ctx, fn)
}

func (p *pair) Sweep(ctx context.Context, before time.Time) (int, error) {
	return p.next().Sweep(ctx, before)
}

func (p *pair) Changed() <-chan struct{} { return p.stores[0].Changed() }

func (p *pair) Close() error { return errors.Join(p.stores[0].Close(), p.stores[1].Close()) }

// Two stores on one database behave as one.
func TestPair(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		p, dsn := new(pair), pgtest.Open(t)
		for i := range p.stores {
			s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: dsn, PoolSize: 6, Poll: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			p.stores[i] = s
		}
		return p
	})
}

// A commit on one store wakes those who wait at the other.
func TestChangedElsewhere(t *testing.T) {
	dsn := pgtest.Open(t)
	one, other := openAt(t, dsn), openAt(t, dsn)
	for n := range 2 {
		changed := other.Changed()
		put(t, one, fmt.Sprint(n))
		select {
		case <-changed:
		case <-t.Context().Done():
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was woken")
		}
	}
}

func version(id string) *store.Version {
	return &store.Version{Key: store.Key{Type: "T", ID: id}, Version: 1, Body: []byte("{}"), Terms: store.NewTerms([]store.Term{{Name: "id", Value: id}})}
}

func put(t *testing.T, s store.Store, id string) {
	t.Helper()
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.PutResource(version(id)) }); err != nil {
		t.Fatal(err)
	}
}

// Both engines give the same answers, byte for byte.
func TestDifferential(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			storetest.Differential(t, b, openAt(t, pgtest.Open(t)), seed, 60)
		})
	}
}

// Several that start at once make the tables once.
func TestOpenAtOnce(t *testing.T) {
	dsn := pgtest.Open(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := pgstore.Open(context.Background(), pgstore.Options{DSN: dsn, PoolSize: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	put(t, openAt(t, dsn), "1")
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dsn := pgtest.Open(t)
	openAt(t, dsn)
	sql(t, dsn, `INSERT INTO schema_version (version) VALUES (99)`)
	s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: dsn})
	if err == nil {
		_ = s.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), "version 99 by a newer program") || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func sql(t *testing.T, dsn, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// lock does something in a transaction that lasts until release is called.
func lock(t *testing.T, dsn, text string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN; "+text); err != nil {
		t.Fatal(err)
	}
	return func() {
		// The server notices a connection that is closed when it gets to it.
		_, err := conn.Exec(context.Background(), "ROLLBACK")
		if err := errors.Join(err, conn.Close(context.Background())); err != nil {
			t.Error(err)
		}
	}
}

// A dump that is restored into another cluster holds larger numbers of
// transactions than that has given out.
func TestLogGoesOnAfterRestoring(t *testing.T) {
	dsn := pgtest.Open(t)
	s := openAt(t, dsn)
	put(t, s, "1")
	put(t, s, "2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sql(t, dsn, `UPDATE log SET xid = xid + 1000000000`)
	for _, id := range []string{"3", "4"} {
		s := openAt(t, dsn)
		put(t, s, id)
		err := s.View(t.Context(), func(r store.Reader) error {
			list, err := r.Log(store.LogQuery{Limit: 10})
			got, last := "", ""
			for _, e := range list {
				if e.Position <= last {
					t.Errorf("position %s follows %s", e.Position, last)
				}
				got, last = got+e.Key.ID, e.Position
			}
			if want := "1234"[:len(got)]; got != want || len(got) < 3 || got[len(got)-1:] != id {
				t.Errorf("got %s", got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
