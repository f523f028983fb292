package badgerstore

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"mypatients/fhir/store"
)

const (
	slow      = 2 * time.Second // the log tells of a commit that takes longer
	fullRound = 50_000          // keys of a round that nobody joins any more
)

// A round gathers functions whose writes are committed together. Whoever began
// it commits it, after those who were already waiting have had their turn.
type round struct {
	reader *reader
	next   uint64 // number of the next log entry
	joined int    // functions that are part of it
	key    []byte // room to make keys in
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
	if s.stuck != nil {
		return nil, false, s.stuck
	}
	r = s.open()
	if r.reader.over.changes.Len() > fullRound {
		if s.commit(r); s.stuck != nil {
			return nil, false, s.stuck
		}
		r = s.open()
	}
	r.reader.ctx = ctx
	wrote, err := s.run(r, fn)
	if r.joined == 0 && (err != nil || !wrote) {
		return nil, false, err
	}
	if err == nil {
		r.joined++
	}
	return r, r.joined == 1 && err == nil, err
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
	w := writer{r.reader, r}
	if err = fn(w); err == nil {
		err = w.room() // should fn have passed over that error
	}
	good = err == nil
	return len(over.undo) > 0, err
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
