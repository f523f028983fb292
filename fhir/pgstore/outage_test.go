package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// A server that stops and comes back needs no new Store.
func TestServerRestarts(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := openAt(t, server.DSN())
	put(t, s, "1")
	for _, id := range []string{"2", "3"} {
		server.Stop(t)
		for range 3 {
			err := s.Update(t.Context(), func(w store.Writer) error { return w.PutResource(version(id)) })
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Update without a server: got %v", err)
			}
			err = s.View(t.Context(), func(r store.Reader) error {
				_, err := r.Resource(store.Key{Type: "T", ID: "1"})
				return err
			})
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("View without a server: got %v", err)
			}
		}
		server.Restart(t)
		put(t, s, id)
	}
	// Connections that died while nobody looked are passed over.
	server.Stop(t)
	server.Restart(t)
	count(t, s, 3)
}

func count(t *testing.T, s store.Store, want int) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		n, err := r.Count(store.Query{Type: "T"})
		if n != want {
			t.Errorf("got %d resources, want %d", n, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A wire passes on what is said between a store and a server, and can be cut
// when the server says a word.
type wire struct {
	dir string
	cut atomic.Pointer[string]
}

func newWire(t *testing.T, server *pgtest.Server) *wire {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &wire{dir: dir}
	const socket = ".s.PGSQL.5432"
	listener, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	there := filepath.Join(strings.TrimPrefix(strings.Fields(server.DSN())[0], "host="), socket)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", there)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go w.answers(near, far)
		}
	}()
	return w
}

func (w *wire) answers(near, far net.Conn) {
	defer func() { _, _ = near.Close(), far.Close() }()
	part := make([]byte, 64<<10)
	for {
		n, err := far.Read(part)
		if word := w.cut.Load(); word != nil && bytes.Contains(part[:n], []byte(*word)) {
			return
		}
		if _, failed := near.Write(part[:n]); err != nil || failed != nil {
			return
		}
	}
}

// When the answer to a commit is lost, it is not said that nothing was stored, and
// the function does not run again.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	w := newWire(t, server)
	s := openAt(t, server.DSN()+" host="+w.dir)
	put(t, s, "1")
	for name, cut := range map[string]string{"behind the commit": "COMMIT\x00", "before it": "BEGIN\x00"} {
		w.cut.Store(&cut)
		ran := 0
		err := s.Update(t.Context(), func(tx store.Writer) error {
			ran++
			return tx.PutRecord(&store.Record{Kind: "k", Key: name})
		})
		w.cut.Store(nil)
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrContention) || ran != 1 {
			t.Errorf("%s: got %v after %d runs", name, err, ran)
		}
	}
	// Without a commit at stake, a lost answer is asked for again.
	cut := "BEGIN\x00"
	w.cut.Store(&cut)
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Record("k", "behind the commit")
		return err
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a view on a line that is always cut: got %v", err)
	}
	w.cut.Store(nil)
	err = s.View(t.Context(), func(r store.Reader) error {
		_, err := r.Record("k", "behind the commit")
		return err
	})
	if err != nil {
		t.Errorf("what was committed: %v", err)
	}
}

// A statement that takes too long is given up; so is one that nobody waits for.
func TestStatementsAreBounded(t *testing.T) {
	dsn := pgtest.Open(t)
	s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: dsn, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	put(t, s, "1")
	release := lock(t, dsn, `LOCK TABLE resource IN ACCESS EXCLUSIVE MODE`)
	read := func(ctx context.Context) error {
		return s.View(ctx, func(r store.Reader) error {
			_, err := r.Resource(store.Key{Type: "T", ID: "1"})
			return err
		})
	}
	if err := read(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a table that is locked: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that goes: got %v", err)
	}
	release()
	if err := read(t.Context()); err != nil {
		t.Error(err)
	}
}

// No personal data is in an error.
func TestErrorsNameNoData(t *testing.T) {
	dsn := pgtest.Open(t)
	s := openAt(t, dsn)
	sql(t, dsn, `ALTER TABLE record ADD CHECK (value <> 'secret')`)
	err := s.Update(t.Context(), func(w store.Writer) error {
		return w.PutRecord(&store.Record{Kind: "k", Key: "secret", Value: []byte("secret")})
	})
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "record") {
		t.Errorf("got %v", err)
	}
}
