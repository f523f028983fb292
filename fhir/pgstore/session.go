package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	beginView   = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	beginUpdate = "BEGIN ISOLATION LEVEL SERIALIZABLE"
)

// A session is a transaction on a connection. Both are taken when they are first
// needed.
type session struct {
	store *Store
	ctx   context.Context
	begin string
	conn  *pgxpool.Conn
	bad   error // the first error of the database; nothing works after it
}

// A statement is SQL with its arguments and what to do with the answer.
type statement struct {
	sql  string
	args []any
	read func(pgx.Rows) error // nil: nothing
}

// tries is how many connections that turn out to be dead are passed over, as
// after a restart of the server.
const tries = 3

// run sends statements in one round trip, the beginning of the transaction first
// if need be.
func (s *session) run(list ...statement) error {
	if s.bad != nil {
		return s.bad
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		fresh := s.conn == nil
		err := s.send(s.ctx, list)
		if err == nil {
			return nil
		}
		var own ownError
		if errors.As(err, &own) {
			return own.error
		}
		// Nothing has begun when a connection fails with the first statement.
		if fresh && lost(err) && s.ctx.Err() == nil && try < tries && s.conn != nil && list[0].read != nil {
			s.drop()
			s.store.pool.Reset()
			continue
		}
		s.bad = translate(s.ctx, "asking", err)
		return s.bad
	}
}

// An ownError comes from reading an answer, not from the database.
type ownError struct{ error }

// send does one round trip, in bounded time.
func (s *session) send(ctx context.Context, list []statement) error {
	ctx, cancel := context.WithTimeout(ctx, s.store.timeout+5*time.Second)
	defer cancel()
	b := &pgx.Batch{}
	if s.conn == nil {
		waiting, stop := context.WithTimeout(ctx, min(s.store.timeout, maxWait))
		defer stop()
		var err error
		if s.conn, err = s.store.pool.Acquire(waiting); err != nil {
			return err
		}
		b.Queue(s.begin)
	}
	begun := b.Len() == 0
	for _, one := range list {
		b.Queue(one.sql, one.args...)
	}
	results := s.conn.SendBatch(ctx, b)
	err := answers(results, begun, list)
	if closing := results.Close(); err == nil {
		err = closing
	}
	return err
}

// maxWait is how long a free connection is waited for.
const maxWait = 10 * time.Second

func answers(results pgx.BatchResults, begun bool, list []statement) error {
	if !begun {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, one := range list {
		if one.read == nil {
			if _, err := results.Exec(); err != nil {
				return err
			}
			continue
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		err = one.read(rows)
		rows.Close()
		if failed := rows.Err(); failed != nil {
			return failed
		}
		if err != nil {
			return ownError{err}
		}
	}
	return nil
}

// drop gives the connection up.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Conn().Close(context.Background())
	s.conn.Release()
	s.conn = nil
}

// leave ends the transaction without a commit. Nobody has to wait for that.
func (s *session) leave() {
	conn := s.conn
	s.conn = nil
	if conn == nil {
		return
	}
	if conn.Conn().IsClosed() || conn.Conn().PgConn().TxStatus() == 'I' {
		conn.Release()
		return
	}
	s.store.running.Add(1) // the caller has not left yet
	go func() {
		defer s.store.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, "ROLLBACK") // the pool closes what is still in a transaction
		conn.Release()
	}()
}
