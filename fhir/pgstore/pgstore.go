// Package pgstore is the storage port on a PostgreSQL database (14 or newer), for
// any number of processes at once.
//
// Writing: an Update is a serializable transaction of the database. What it
// writes is gathered and sent in one go with the commit, or before a question
// whose answer it could change (writer.go, flush.go). The database refuses what
// would not be as if transactions had run one after the other; the function then
// runs again (update.go).
//
// Reading: a View is a repeatable-read transaction. It begins with its first
// question, in the same round trip; each further one costs one more. What a request
// only confirms, such as that a token is still there, rides on the question that
// follows: under a context of store.Foresee a View goes by what records were when they
// were last read, which is compared in the snapshot of that question (presume.go).
//
// Searching: a query is compiled to one statement (plan.go, condition.go) that
// begins where the fewest candidates are: at the rows of the owners, at a stretch
// of the index, or at the index of the first sort, which it walks until the page
// is full. How many candidates there are is counted, up to a bound, not guessed:
// statements are written, and sessions set (connect.go), so that the planner's
// statistics do not matter. Conditions that are dear and seldom of matter, standing ones
// among them, are judged by what a page brings with it, and asked of the database only
// when they hide something of it (doubt.go).
//
// Tables: see migrations. Schema changes are applied on opening. What only
// PostgreSQL itself has is in connect.go and order.go; all else is SQL that
// PostgreSQL-compatible databases run too.
//
// Limits beside the port's: a type and an id together have at most 700 bytes, a
// name 700, the kind and the key of a record together 2,000. A new entry of the
// log can be read when all transactions that began to write before it have ended,
// which is a matter of milliseconds. A connection pooler in front must not share a
// session between transactions.
//
// The package knows no FHIR: types, names and values are bytes to it.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"mypatients/fhir/store"
)

// Options say where the data is. DSN is required.
type Options struct {
	DSN      string        // URL or key=value; the database exists, its tables need not
	PoolSize int           // connections at most; 0: 16
	Timeout  time.Duration // of a statement, and of waiting for a connection; 0: 30 s
	Logger   *slog.Logger  // nil: silent. What is logged names no data.

	// Poll is how often a Store looks for commits of other processes while somebody
	// waits for them. 0: 1 s.
	Poll time.Duration
}

const (
	defaultPool    = 16
	defaultTimeout = 30 * time.Second
	defaultPoll    = time.Second
)

// A Store is an open database.
type Store struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	timeout time.Duration
	tune    tuning
	long    store.Long // stretches of the index
	doubts  doubts
	memory  memory
	lane    chan struct{} // held by whoever repeats a transaction

	mu      sync.Mutex
	changed chan struct{}  // under mu
	awaited bool           // under mu: somebody has this channel
	closed  bool           // under mu
	running sync.WaitGroup // Views and Updates; joined under mu
	stop    context.CancelFunc
	workers sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open connects and brings the tables up to date. It returns
// store.ErrUnavailable, wrapped, when the database cannot be reached.
func Open(ctx context.Context, o Options) (*Store, error) { return open(ctx, o, defaultTuning()) }

func open(ctx context.Context, o Options, tune tuning) (*Store, error) {
	if o.DSN == "" {
		return nil, errors.New("pgstore: DSN is required")
	}
	if o.PoolSize == 0 {
		o.PoolSize = defaultPool
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	pool, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		pool: pool, log: o.Logger, timeout: o.Timeout, tune: tune,
		lane: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	if err := s.migrate(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	newest, err := s.newest(ctx)
	if err != nil {
		pool.Close()
		return nil, err
	}
	watching, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.workers.Go(func() { s.watch(watching, o.Poll, newest) })
	return s, nil
}

var errClosed = fmt.Errorf("pgstore: closed: %w", store.ErrUnavailable)

// enter keeps the store open until s.running.Done is called.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.running.Add(1)
	return nil
}

// View implements store.Store. The snapshot is taken with the first question.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	r := &reader{session: &session{store: s, ctx: ctx, begin: beginView}, presumed: store.PresumptionsOf(ctx)}
	defer r.leave()
	return r.compared(fn(r))
}

// Close implements store.Store. Closing twice is an error.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	s.stop()
	s.workers.Wait()
	s.pool.Close()
	return nil
}
