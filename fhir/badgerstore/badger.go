// Package badgerstore is the storage port on an embedded Badger database, for
// one process on one folder.
//
// Writing: the functions given to Update run one after the other, each on top of
// what those before it wrote (so the store is serializable by construction, and
// no function has to run again). Those that succeed while the disk is busy form a
// round, which is stored and flushed as one Badger transaction; then all of them
// are answered (update.go). A round that is too large for that is stored in
// parts, and taken back on opening should the process die between two of them
// (commit.go). A transaction may have a million keys and 512 MB.
//
// Reading: a View is a snapshot that waits for nothing, not even for a commit
// that is being flushed. Badger runs in its managed mode for this: commits are
// numbered here, and a number becomes readable when all of it is on disk.
//
// Layout (keys.go): the newest version of a resource is one value; older ones
// stand apart. Each live resource has a row per owner that holds its terms, so
// that a search within one record is a short scan, judged in memory (block.go),
// and an index key per term for all other searches (plan.go).
//
// The package knows no FHIR: types, names and values are bytes to it.
package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	badgeroptions "github.com/dgraph-io/badger/v4/options"

	"mypatients/fhir/store"
)

// Config says where the data is. Dir and Now are required.
type Config struct {
	Dir    string           // created if it is missing; one process at a time
	Now    func() time.Time // to notice a slow disk; data is never judged by it
	Logger *slog.Logger     // nil: silent. What is logged names no data.

	// CacheBytes bounds the cache of decoded resources, records, owner rows and entries
	// of the index.
	// 0: 32 MB.
	CacheBytes int

	// Bulk is for a process that writes very much and little else: larger tables in
	// memory, so transactions may be larger, and tables on disk that are merged when
	// they are many, so less is written again and again. What a later process merges
	// is compressed then.
	Bulk bool
}

const (
	defaultCache = 32 << 20

	// Values from this size on live in the value log: a body does, a row of terms
	// or a record mostly does not, so scans stay within the key tables.
	valueThreshold = 1 << 10

	diskTable = 4 << 20 // bytes of a table on disk

	collectEvery = 5 * time.Minute // value log garbage
	layoutMagic  = 0x4d02          // changes with the layout of the keys
)

// A tuning says when which way pays. Efforts are in units of fetching and judging
// one version.
type tuning struct {
	owner     int // effort to judge the rows of one owner
	little    int // effort not worth looking for something better
	much      int // effort that is worth trying to join
	countUpTo int // index entries counted to tell efforts
	owners    int // from here on, walking in order and stopping early is better
	joinUpTo  int // resources that a Ref or Back is replaced by
	block     int // rows in a block, at most blockRows
	keys      int // in one transaction
	part      int // keys in one Badger transaction, if they fit
	logFile   int // bytes in a file of the value log; a value must be smaller

	// How much is written between two calls of letGo, as the overlay counts it: some
	// three times what reaches the disk at first; and how often it is called while
	// tables are merged after that.
	letGo     int64
	slimEvery time.Duration

	// Bytes in a table in memory. A Badger transaction may have a seventh of that:
	// of 8 MB about 10,000 keys, or 170 resources of the sample data. What is larger
	// is stored in parts.
	memTable int64

	levelZero int   // tables, as they were in memory, that are merged at a time
	baseLevel int64 // bytes of tables on disk from which on there are two levels
	plain     bool  // tables on disk are not compressed
}

func defaultTuning() tuning {
	return tuning{
		owner: 10, little: 50, much: 500, countUpTo: 4096, owners: 1024, joinUpTo: 1000,
		block: blockRows, keys: 1_000_000, part: math.MaxInt, logFile: 64 << 20, memTable: 8 << 20,
		letGo: 8 << 20, slimEvery: 200 * time.Millisecond,
		levelZero: 5, baseLevel: 32 << 20, // few levels, so less is written again and again
	}
}

// bulkTuning costs some hundred megabytes more of memory and makes reading slower.
func bulkTuning() tuning {
	t := defaultTuning()
	t.memTable = 32 << 20
	t.levelZero, t.baseLevel = 20, 1<<30
	t.plain = true
	t.letGo, t.slimEvery = 64<<20, 2*time.Second
	return t
}

// A Store is an open database.
type Store struct {
	db    *badger.DB
	now   func() time.Time
	log   *slog.Logger
	cache *cache
	long  store.Long // stretches of the index, by key
	tune  tuning

	turn  chan struct{} // held by whoever runs a function or commits
	round *round        // under turn; nil when nothing waits
	next  uint64        // under turn: number of the next log entry that is committed
	stuck error         // under turn: a failed commit; no writing after it

	dir     string        // absolute, without links
	written int64         // under turn: since files were let go
	full    chan struct{} // much was written
	chores  sync.Mutex    // held by who removes or lets go of files

	last atomic.Uint64 // the newest readable commit

	mu      sync.Mutex
	views   map[uint64]int // under mu: how many read from each snapshot
	changed chan struct{}  // under mu
	closed  bool           // under mu
	running sync.WaitGroup // Views and Updates; joined under mu
	stop    context.CancelFunc
	workers sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open opens the database in a folder. It returns store.ErrInUse, wrapped, when
// another process has it open.
func Open(c Config) (*Store, error) {
	if c.Bulk {
		return open(c, bulkTuning())
	}
	return open(c, defaultTuning())
}

func open(c Config, tune tuning) (*Store, error) {
	if c.Dir == "" || c.Now == nil {
		return nil, errors.New("badgerstore: Dir and Now are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCache
	}
	db, err := badger.OpenManaged(options(c, tune))
	if err != nil {
		// Badger has no error value for this.
		if strings.Contains(err.Error(), "Cannot acquire directory lock") {
			return nil, fmt.Errorf("the data folder %s is open in another process; stop that one or choose another folder: %w", c.Dir, store.ErrInUse)
		}
		return nil, fmt.Errorf("badgerstore: opening %s: %w", c.Dir, err)
	}
	dir, err := realPath(c.Dir)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{
		dir: dir, full: make(chan struct{}, 1),
		db: db, now: c.Now, log: c.Logger, cache: newCache(c.CacheBytes), tune: tune, stop: cancel,
		turn: make(chan struct{}, 1), views: map[uint64]int{}, changed: make(chan struct{}),
	}
	if err := errors.Join(s.mend(), s.findNext()); err != nil {
		cancel()
		return nil, errors.Join(err, db.Close())
	}
	s.workers.Go(func() { s.collect(ctx) })
	s.workers.Go(func() { s.slim(ctx) })
	return s, nil
}

func options(c Config, tune tuning) badger.Options {
	o := badger.DefaultOptions(c.Dir)
	o.SyncWrites = true       // an acknowledged write is on disk
	o.DetectConflicts = false // there is one writer
	o.ValueThreshold = valueThreshold
	o.ValueLogFileSize = int64(tune.logFile) // all of the last one is read on opening
	o.MemTableSize = tune.memTable
	o.NumMemtables = 2
	o.BlockCacheSize = 16 << 20
	o.BaseLevelSize = tune.baseLevel
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = tune.levelZero, 3*tune.levelZero
	// A dozen tables are built at a time, each in twice its size of memory and more,
	// so they stay small at every level. A process may map 65,530 files by default:
	// enough for a quarter of a terabyte.
	o.BaseTableSize, o.TableSizeMultiplier = diskTable, 1
	o.NumCompactors = 2
	o.Compression = badgeroptions.Snappy
	if tune.plain {
		o.Compression = badgeroptions.None
	}
	o.MetricsEnabled = false // Badger's are global
	o.ExternalMagicVersion = layoutMagic
	o.Logger = badgerLog{c.Logger}
	return o
}

func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// findNext reads the number of the last log entry.
func (s *Store) findNext() error {
	return s.View(context.Background(), func(r store.Reader) error {
		newest, err := r.Log(store.LogQuery{Reverse: true, Limit: 1})
		if err != nil || len(newest) == 0 {
			s.next = 1
			return err
		}
		_, err = fmt.Sscanf(newest[0].Position, "%x", &s.next)
		s.next++
		return err
	})
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	snapshot, err := s.enter(true)
	if err != nil {
		return err
	}
	defer s.leave(snapshot)
	txn := s.db.NewTransactionAt(snapshot, false)
	defer txn.Discard()
	return fn(&reader{store: s, ctx: ctx, txn: txn, snapshot: snapshot})
}

var errClosed = fmt.Errorf("badgerstore: closed: %w", store.ErrUnavailable)

// enter keeps the store open and, for a View, the newest snapshot readable until
// leave is called.
func (s *Store) enter(view bool) (snapshot uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errClosed
	}
	s.running.Add(1)
	if !view {
		return 0, nil
	}
	snapshot = s.last.Load()
	s.views[snapshot]++
	return snapshot, nil
}

func (s *Store) leave(snapshot uint64) {
	s.mu.Lock()
	if s.views[snapshot]--; s.views[snapshot] == 0 {
		delete(s.views, snapshot)
	}
	s.mu.Unlock()
	s.running.Done()
}

// publish makes a commit readable and lets Badger forget what no reader can see.
func (s *Store) publish(commit uint64, logged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Store(commit)
	oldest := commit
	for snapshot := range s.views {
		oldest = min(oldest, snapshot)
	}
	s.db.SetDiscardTs(oldest)
	if logged {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// Changed implements store.Store.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
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
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("badgerstore: closing: %w", err)
	}
	return nil
}

// collect frees space in the value log from time to time.
func (s *Store) collect(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.free(ctx); err != nil {
			s.log.Warn("freeing space in the value log failed", "error", err)
		}
	}
}

// free rewrites files of the value log that are mostly garbage.
func (s *Store) free(ctx context.Context) error {
	s.chores.Lock()
	defer s.chores.Unlock()
	for ctx.Err() == nil {
		err := s.db.RunValueLogGC(0.5)
		if errors.Is(err, badger.ErrNoRewrite) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// badgerLog passes on what Badger says of its workings, most of it as debug.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.say(slog.LevelError, f, a) }
func (l badgerLog) Warningf(f string, a ...any) { l.say(slog.LevelWarn, f, a) }
func (l badgerLog) Infof(f string, a ...any)    { l.say(slog.LevelDebug, f, a) }
func (l badgerLog) Debugf(f string, a ...any)   {}

func (l badgerLog) say(level slog.Level, f string, a []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(f, a...)))
	}
}
