// Package audit keeps the log of who did what on whose record: compact records
// that are only ever added, and a chain over them by which it is noticed when one
// is changed, removed, added or moved behind the gateway's back. It knows nothing
// of decisions, of HTTP and of how an entry is shown.
//
// # Records
//
// The entries of one round (reads that end at the same time, or all of one
// transaction) are written together, a few to a record, in the transaction that
// makes what they tell of, or before the answer they tell of leaves. Each record
// carries a MAC over its key and its content, and a pointer leads to it from each
// patient concerned.
//
// # Chain
//
// One head of a chain that all who write read would make every transaction
// conflict with every other. So writers touch nothing that they share. Each
// process has a segment of its own, and links what it has written to it within
// about a second of the commit: a link names the records, sums their MACs up,
// carries the MAC of the link before, and that of the newest links of the other
// segments. Beside the links stands the head of each segment, which says which is
// the newest. When a process ends it closes its segment; the next link of any other
// refers to the end of it, and then its head goes.
//
// A process that was killed between writing and linking leaves records that no
// link names. Its head says that it lived, and the links up to when all was named;
// another process (after it has been silent for a minute) names the rest and closes
// the segment. Who is taken for dead and lives finds the segment closed, and goes on
// in a new one.
//
// # What is noticed
//
// [Log.Verify] walks records and links side by side. It notices any change of a
// record, pointer, link or head, any record that is missing, was added, or was
// copied from elsewhere, links that are missing, and heads that are older than what
// they lead to. Everything after a moment can be taken away unnoticed only together:
// records, links and heads, from all segments, while no gateway runs; one that runs
// notices when it links next. Against that, heads are meant to be kept elsewhere:
// they go to the program's log, and Verify takes them back.
//
// Records that were written less than a second before a process was killed and
// removed before another could name them are not missed.
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mypatients/fhir/store"
)

// Kinds of records of the store.
const (
	kindRecord  = "audit"        // entries, by time
	kindPatient = "audit-of"     // patient/newest first → rows
	kindWho     = "audit-by"     // person or login/newest first → rows; written with links
	kindLinked  = "audit-linked" // newest first → nothing: the links in order of time
	kindLink    = "audit-link"   // segment/number
	kindHead    = "audit-head"   // segment
)

// Config is what a Log needs.
type Config struct {
	Store  store.Store
	Now    func() time.Time
	Key    []byte       // at least 16 bytes, for MACs
	Logger *slog.Logger // told of heads and of damage; nil: nobody is
}

// A Log is the audit log of a store. It is safe for concurrent use.
type Log struct {
	store store.Store
	now   func() time.Time
	key   []byte
	ids   ids
	log   *slog.Logger

	rounds chan *waiting // reads that wait for their entry
	stop   chan struct{}
	wake   chan struct{} // something is to be linked
	ended  sync.WaitGroup

	sealing sync.Mutex // one link at a time is made

	mu      sync.Mutex
	segment *segment
	last    int64            // the newest time given out, in nanoseconds
	seq     uint32           // of the newest round
	flying  map[string]int64 // rounds whose transaction has not ended, and their times
	written []written        // what is to be linked
	unsure  []unsure         // what may or may not have been written
}

// Open makes a log; Close it to end its goroutines. Nothing is written before the
// first entry is.
func Open(c Config) (*Log, error) {
	if c.Store == nil || c.Now == nil || len(c.Key) < 16 {
		return nil, errors.New("audit: Store, Now and Key are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ids, err := newIDs(c.Key)
	if err != nil {
		return nil, err
	}
	l := &Log{store: c.Store, now: c.Now, key: c.Key, ids: ids, log: c.Logger,
		rounds: make(chan *waiting, roundSize), stop: make(chan struct{}), wake: make(chan struct{}, 1), flying: map[string]int64{}}
	l.segment = l.newSegment()
	l.ended.Go(l.runRounds)
	l.ended.Go(l.runLinks)
	return l, nil
}

// Close writes what is left, links it and closes the segment. No call may be
// running. When that does not succeed, it is another process's to do: nothing that
// was recorded is lost by it.
func (l *Log) Close() {
	close(l.rounds)
	close(l.stop)
	l.ended.Wait()
	if err := l.closeSegment(context.Background()); err != nil {
		l.log.Warn("the audit log could not be closed", "error", err)
	}
}

// tick gives a time, later than all that it gave before.
func (l *Log) tick() int64 {
	l.last = max(l.last+1, l.now().UnixNano())
	return l.last
}

// macSize is the size of a MAC in bytes.
const macSize = sha256.Size

// mac is over what a value is, under which key, and the value itself.
func (l *Log) mac(kind, key string, body []byte) []byte {
	h := hmac.New(sha256.New, l.key)
	fmt.Fprintf(h, "%d %s %d %s ", len(kind), kind, len(key), key)
	h.Write(body)
	return h.Sum(nil)
}

// format is the first byte of all values with a MAC.
const format = 1

// sealed puts the MAC before a body.
func (l *Log) sealed(kind, key string, body []byte) (value, mac []byte) {
	mac = l.mac(kind, key, body)
	value = make([]byte, 0, 1+macSize+len(body))
	value = append(value, format)
	value = append(value, mac...)
	return append(value, body...), mac
}

var errMAC = errors.New("audit: this was not written by the gateway, or changed since")

// unsealed gives the body of a value that is what was written.
func (l *Log) unsealed(r *store.Record) (body, mac []byte, err error) {
	if len(r.Value) < 1+macSize || r.Value[0] != format {
		return nil, nil, errMAC
	}
	mac, body = r.Value[1:1+macSize], r.Value[1+macSize:]
	if !hmac.Equal(mac, l.mac(r.Kind, r.Key, body)) {
		return nil, nil, errMAC
	}
	return body, mac, nil
}

// randomHex gives n random bytes as text.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
