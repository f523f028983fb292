// Package store is the storage port: what the gateway asks of a database, and
// nothing else. It holds three kinds of things: versions of resources with the
// index terms they are found by, expiring records, and the commit log.
//
// The port knows no FHIR, no people and no OAuth. Bodies are opaque bytes;
// types, ids, names, values and keys are opaque strings, compared byte by byte.
// Two engines implement it, fhir/badgerstore and fhir/pgstore; both pass
// fhir/storetest and give the same answers in the same order.
//
// The transaction is the only atomic tool: "take a code once", "create if
// absent" and "resource, provenance, audit and notice together" are a few
// lines on [Store.Update].
package store

import (
	"context"
	"errors"
	"time"
)

// Errors that every engine returns, possibly wrapped.
var (
	ErrNotFound    = errors.New("store: not found")
	ErrPosition    = errors.New("store: not a position of this store's log")
	ErrNUL         = errors.New("store: a type, id, kind, name or value holds a NUL byte")
	ErrTooBig      = errors.New("store: transaction too big")            // nothing was stored
	ErrUnavailable = errors.New("store: unavailable")                    // may succeed later
	ErrInUse       = errors.New("store: in use by another process")      // on opening
	ErrContention  = errors.New("store: gave up after repeated retries") // nothing was stored
)

// A Store is an open database. It is safe for concurrent use.
type Store interface {
	// View runs fn on one snapshot of the data, taken when it begins or when fn first
	// reads. The Reader is good until fn returns and must be used by one goroutine at
	// a time.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs fn in a serializable transaction and returns when its writes are
	// durable. An error of fn is returned as it is, and nothing is stored. fn may be
	// run more than once, each time on fresh data: it must change nothing outside
	// itself but what it sets anew on each run. It should compute, not wait: no I/O,
	// no parsing of large inputs.
	Update(ctx context.Context, fn func(Writer) error) error

	// Changed gives a channel that is closed at some time after the next commit that
	// adds to the log, on this process or another. It is a hint: one may be late,
	// never missing for more than a few seconds.
	Changed() <-chan struct{}

	// Sweep removes records that expired before the time given and returns how many.
	Sweep(ctx context.Context, before time.Time) (int, error)

	// Close waits for running transactions and closes the database.
	Close() error
}

// A Key names a resource.
type Key struct{ Type, ID string }

// String gives "Type/id", the form in which one resource's term names another.
func (k Key) String() string { return k.Type + "/" + k.ID }

// A Version is one version of a resource. What a Reader returns shares memory:
// it must not be changed, and may be kept.
type Version struct {
	Key
	Version int64
	Time    time.Time // UTC, milliseconds
	Deleted bool
	Terms   Terms // what it is found by; kept for old versions too
	Body    []byte
}

// A Reader reads from one snapshot.
type Reader interface {
	// Resource gives the newest version, which may be a deletion, or ErrNotFound.
	Resource(Key) (*Version, error)
	// ResourceVersion gives one version or ErrNotFound.
	ResourceVersion(Key, int64) (*Version, error)
	// History lists versions of one resource, newest first: those below version
	// before (0: from the newest), at most limit. An unknown resource has none.
	History(key Key, before int64, limit int) ([]*Version, error)
	// Search gives the live resources that match, in the order asked for.
	Search(Query) ([]Hit, error)
	// Count gives how many live resources match; Sort, After and Limit are ignored.
	Count(Query) (int, error)
	// Log lists commits in their order. Newest first, it has all of them; oldest
	// first, it may end before commits of a moment ago, if others may still come in
	// front of those. A position that is none of this engine's is an ErrPosition.
	Log(LogQuery) ([]LogEntry, error)
	// Record gives a record or ErrNotFound. An expired record that was not swept is
	// returned like any other: the caller judges by its own clock.
	Record(kind, key string) (*Record, error)
	// Records lists records of a kind whose keys begin with prefix and are greater
	// than after (empty: from the first), in ascending order of key, at most limit.
	Records(kind, prefix, after string, limit int) ([]*Record, error)
}

// A Writer reads and writes inside a transaction; it sees its own writes,
// through Search too.
type Writer interface {
	Reader
	// PutResource adds a version. Its number must be one above the newest version's
	// (1 for the first); anything else is an error. The version is entered in the
	// log, in the order of the calls.
	PutResource(*Version) error
	// Rewrite replaces the terms and the body of one version, the newest or an older
	// one, which must be there (else an error). Its time and whether it is a deletion
	// stay. It makes no version, enters nothing in the log, and leaves alone what the
	// log knows of owners: it is for what is said about a version, not what it says.
	Rewrite(key Key, version int64, terms Terms, body []byte) error
	// PutRecord creates or replaces a record.
	PutRecord(*Record) error
	// DeleteRecord removes a record; removing none is no error.
	DeleteRecord(kind, key string) error
}

// A Record is a value under a kind and a key, with an optional expiry.
type Record struct {
	Kind    string
	Key     string
	Value   []byte
	Expires time.Time // zero: never; to the millisecond
}

// A Hit is a match of a search. Position leads to the rows after it.
type Hit struct {
	*Version
	Position string
}

// A LogQuery selects a stretch of the commit log.
type LogQuery struct {
	After   string // the position to start behind; empty: the first (Reverse: the newest)
	Reverse bool   // newest first
	Type    string // only this type; empty: all
	Owner   string // only versions that had this value under Owner; empty: all. Costs what the owner holds
	Limit   int    // more than 0
}

// A LogEntry tells of one version in the order of commits. Positions are opaque,
// sort as strings in commit order, and never appear behind one already seen.
type LogEntry struct {
	Position string
	Key      Key
	Version  int64
	Time     time.Time
	Deleted  bool
}
