package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dgraph-io/badger/v4"

	"mypatients/fhir/store"
)

// slow is how long a commit may take before the log tells of it.
const slow = 2 * time.Second

// A round gathers functions whose writes are committed together. Whoever began
// it commits it, after those who were already waiting have had their turn.
type round struct {
	reader *reader
	next   uint64 // number of the next log entry
	joined int    // functions that are part of it
	done   chan struct{}
	err    error // good when done is closed
}

// Update implements store.Store. The function runs on the calling goroutine,
// while no other runs; it must not call Update. A panic becomes an error.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.enter(false); err != nil {
		return err
	}
	defer s.running.Done()

	r, first, err := s.join(ctx, fn)
	if r == nil {
		return err
	}
	if first {
		s.turn <- struct{}{} // behind those who wait already
		s.commit(r)
		<-s.turn
	}
	<-r.done
	if r.err != nil {
		return r.err
	}
	return err
}

// join runs fn in its turn. It gives the round whose outcome must be awaited
// before the error is answered, which is that of fn too: what fn saw may not be
// on disk before. No round: nothing to wait for. first: the caller must commit.
func (s *Store) join(ctx context.Context, fn func(store.Writer) error) (r *round, first bool, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	defer func() { <-s.turn }()
	for {
		if s.stuck != nil {
			return nil, false, s.stuck
		}
		r := s.open()
		r.reader.ctx = ctx
		next := r.next
		wrote, err := s.run(r, fn)
		switch {
		case err == nil && !s.fits(r.reader.over.changes.Len(), r.reader.over.size):
			r.reader.over.rollback()
			r.next = next
			if r.joined == 0 {
				return nil, false, store.ErrTooBig
			}
			s.commit(r) // and once more, with all the room
			continue
		case r.joined == 0 && (err != nil || !wrote):
			return nil, false, err
		}
		if err == nil {
			r.joined++
		}
		return r, r.joined == 1 && err == nil, err
	}
}

// open gives the round that can be joined.
func (s *Store) open() *round {
	if s.round == nil {
		snapshot := s.last.Load()
		s.round = &round{next: s.next, done: make(chan struct{})}
		s.round.reader = &reader{
			store: s, txn: s.db.NewTransactionAt(snapshot, false), snapshot: snapshot, over: &overlay{},
		}
	}
	return s.round
}

// run calls fn on top of the round and takes back what it wrote if it fails,
// panics or ends its goroutine.
func (s *Store) run(r *round, fn func(store.Writer) error) (wrote bool, err error) {
	over, next := r.reader.over, r.next
	over.begin()
	good := false
	defer func() {
		if good {
			return
		}
		over.rollback()
		r.next = next
		if p := recover(); p != nil {
			// The value may hold data; the stack does not.
			s.log.Error("a transaction function panicked", "stack", string(debug.Stack()))
			err = errors.New("badgerstore: a transaction function panicked")
		}
	}()
	err = fn(writer{r.reader, r})
	good = err == nil
	return len(over.undo) > 0, err
}

// fits tells whether so many keys, of this size together, can be one Badger
// transaction.
func (s *Store) fits(keys int, size int64) bool {
	const slack = 1 << 10 // for the mark that Badger adds
	return int64(keys) < s.db.MaxBatchCount()-slack && size < s.db.MaxBatchSize()-slack
}

// commit stores a round and answers all who joined it, unless that was done. The
// caller holds the turn.
func (s *Store) commit(r *round) {
	if s.round != r {
		return
	}
	s.round = nil
	r.reader.txn.Discard()
	began := s.now()
	r.err = s.write(r)
	if took := s.now().Sub(began); took > slow {
		s.log.Warn("a commit was slow", "seconds", took.Seconds(), "keys", r.reader.over.changes.Len())
	}
	close(r.done)
}

func (s *Store) write(r *round) error {
	commit := s.last.Load() + 1
	txn := s.db.NewTransactionAt(commit-1, true)
	defer txn.Discard()
	var err error
	r.reader.over.changes.Scan(func(key string, c change) bool {
		k := []byte(key)
		s.invalidate(k, commit)
		if c.removed {
			err = txn.Delete(k)
		} else {
			err = txn.SetEntry(badger.NewEntry(k, c.value).WithMeta(c.meta))
		}
		return err == nil
	})
	if err != nil { // nothing has left this process
		return fmt.Errorf("badgerstore: gathering a commit: %w", err)
	}
	if err := txn.CommitAt(commit, nil); err != nil {
		// What is on disk is not known, and a later commit could make half of it
		// visible. Opening again sorts it out.
		s.stuck = fmt.Errorf("badgerstore: writing has stopped after a failed commit: %w", store.ErrUnavailable)
		s.log.Error("a commit failed; nothing will be written until restart", "error", err)
		return fmt.Errorf("badgerstore: commit failed: %w", store.ErrUnavailable)
	}
	logged := r.next != s.next
	s.next = r.next
	s.publish(commit, logged)
	return nil
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	const batch = 1000
	for total := 0; ; {
		var n int
		err := s.Update(ctx, func(w store.Writer) (err error) {
			n, err = w.(writer).sweep(before, batch)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; n < batch {
			return total, nil
		}
	}
}
