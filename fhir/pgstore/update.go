package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

	"mypatients/fhir/store"
)

const (
	attempts  = 60                     // of one transaction
	firstWait = 2 * time.Millisecond   // before it is repeated; doubled each time
	longWait  = 150 * time.Millisecond // at most
)

// Update implements store.Store. The function runs on the calling goroutine. A
// panic becomes an error.
//
// What the database refuses is repeated, with pauses, at first beside the others,
// then one at a time in this process: under contention everybody would else stand
// in everybody's way.
func (s *Store) Update(ctx context.Context, fn func(store.Writer) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	careful, inLane := false, false
	defer func() {
		if inLane {
			<-s.lane
		}
	}()
	for n := 1; ; n++ {
		err := s.attempt(ctx, fn, careful)
		var again *errAgain
		if !errors.As(err, &again) {
			return err
		}
		if n == attempts {
			return store.ErrContention
		}
		careful = careful || again.careful
		if n > 1 && !inLane {
			select {
			case s.lane <- struct{}{}:
				inLane = true
			case <-ctx.Done():
				return ctx.Err()
			}
			continue // having waited for the others
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}

// pause waits before the n+1th attempt.
func pause(ctx context.Context, n int) error {
	wait := min(firstWait<<min(n-1, 10), longWait)
	timer := time.NewTimer(wait/2 + rand.N(wait/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt runs fn in a transaction of its own. An *errAgain says that nothing was
// stored and that it may run again.
func (s *Store) attempt(ctx context.Context, fn func(store.Writer) error, careful bool) error {
	w := writer{&reader{
		session: &session{store: s, ctx: ctx, begin: beginUpdate}, presumed: store.PresumptionsOf(ctx),
		writes: &writes{resources: map[store.Key]*change{}, records: map[recordKey]*store.Record{}, careful: careful},
	}}
	defer w.leave() // also when fn ends its goroutine
	w.presumed.Settle()
	err := w.Compare()
	if err == nil {
		err = s.call(fn, w)
	}
	var again *errAgain
	if errors.As(w.bad, &again) {
		return again // whatever fn made of it
	}
	switch {
	case err != nil:
		return err
	case w.bad != nil:
		return w.bad
	case w.writes.over():
		return store.ErrTooBig // should fn have passed over that error
	}
	logged := len(w.writes.log) > 0 || w.writes.seq > 0
	if err := w.commit(); err != nil {
		return err
	}
	if logged {
		s.announce()
	}
	return nil
}

// call runs fn and makes a panic an error.
func (s *Store) call(fn func(store.Writer) error, w writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold data; the stack does not.
			s.log.Error("a transaction function panicked", "stack", string(debug.Stack()))
			err = errors.New("pgstore: a transaction function panicked")
		}
	}()
	return fn(w)
}

// commit sends what was written together with the commit. It is not broken off by
// the caller: whoever has asked for it wants to know how it ended. When the answer
// is lost, nobody knows whether it was stored, and it must not run again.
func (w writer) commit() error {
	list := w.flush()
	if len(list) == 0 && w.conn == nil {
		return nil
	}
	committed := false
	list = append(list, statement{sql: "COMMIT", read: func(rows pgx.Rows) error {
		rows.Close()
		committed = rows.CommandTag().String() == "COMMIT"
		return nil
	}})
	ctx := context.WithoutCancel(w.ctx)
	err := w.send(ctx, list)
	switch {
	case err == nil && committed:
		return nil
	case err == nil:
		return fmt.Errorf("pgstore: the database took the transaction back: %w", store.ErrUnavailable)
	case w.conn == nil: // nothing was sent
		return translate(w.ctx, "connecting", err)
	case lost(err):
		return fmt.Errorf("pgstore: the answer to a commit was lost, it may be stored or not: %w", store.ErrUnavailable)
	}
	return translate(ctx, "committing", err)
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	const batch = 1000
	millis := before.UnixMilli()
	if before.Nanosecond()%int(time.Millisecond) != 0 {
		millis++ // what expired within this millisecond is past
	}
	for total := 0; ; {
		n := 0
		err := s.Update(ctx, func(w store.Writer) (err error) {
			n, err = w.(writer).sweep(millis, batch)
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

const selectExpired = `SELECT r.kind, r.key FROM record r WHERE r.expires < $1 ORDER BY r.expires LIMIT $2`

// sweep removes at most limit records that expired before a millisecond.
func (w writer) sweep(before int64, limit int) (n int, err error) {
	var past []recordKey
	err = w.ask(statement{selectExpired, []any{before, limit}, func(rows pgx.Rows) error {
		past = nil
		for rows.Next() {
			var kind, key []byte
			if err := rows.Scan(&kind, &key); err != nil {
				return errCorrupt
			}
			past = append(past, recordKey{string(kind), string(key)})
		}
		return nil
	}})
	for _, k := range past {
		if err == nil {
			err = w.DeleteRecord(k.kind, k.key)
		}
	}
	return len(past), err
}
