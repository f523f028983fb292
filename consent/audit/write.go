package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mypatients/fhir/store"
)

// written is a record that is on disk and that no link names yet.
type written struct {
	key string
	mac []byte
	who map[string]rows // by person and by login
}

// unsure are the records of a transaction of which nobody knows how it ended.
type unsure struct {
	list  []written
	since int64
}

// Put adds entries inside a transaction. When it gives no error, ended must be
// called once, with what became of the transaction; of one that is run again, for
// each run.
func (l *Log) Put(w store.Writer, entries []*Entry) (ended func(error), err error) {
	l.mu.Lock()
	s, link := l.segment, l.segment.n
	begin := !s.begun
	rounds := make([]string, 0, 1+len(entries)/roundSize)
	for range slices.Chunk(entries, roundSize) {
		l.seq++
		t := l.tick()
		rounds = append(rounds, roundKey(t, s.tag(), l.seq))
		l.flying[rounds[len(rounds)-1]] = t
	}
	l.mu.Unlock()

	var list []written
	if begin {
		err = s.begin(w)
	}
	for i := 0; i < len(rounds) && err == nil; i++ {
		var more []written
		more, err = l.putRound(w, rounds[i], entries[i*roundSize:min((i+1)*roundSize, len(entries))], link)
		list = append(list, more...)
	}
	if err != nil {
		l.landed(s, rounds, nil, err)
		return nil, err
	}
	return func(err error) { l.landed(s, rounds, list, err) }, nil
}

// putRound writes the records of a round and their pointers.
func (l *Log) putRound(w store.Writer, round string, entries []*Entry, link uint64) ([]written, error) {
	pointers := map[string]rows{}
	var list []written
	for first := 0; first < len(entries); {
		body, next, err := pack(entries, first, link)
		if err != nil {
			return nil, err
		}
		key := fmt.Sprintf("%s%02x", round, len(list))
		value, mac := l.sealed(kindRecord, key, body)
		if err := w.PutRecord(&store.Record{Kind: kindRecord, Key: key, Value: value}); err != nil {
			return nil, err
		}
		list = append(list, written{key, mac, whoIn(key, entries[first:next])})
		for i, e := range entries[first:next] {
			for _, p := range e.Patients {
				pointers[p] = pointers[p].add(key[roundLen:], i)
			}
		}
		first = next
	}
	for p, rows := range pointers {
		if err := w.PutRecord(&store.Record{Kind: kindPatient, Key: pointerKey(p, round), Value: rows}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// pointerKey is where a round is found from a patient. What stands there names records
// by what the round's key lacks of theirs, or whole.
func pointerKey(patient, round string) string { return patient + "/" + backwards(round) }

// whole gives the key of a record as a pointer names it.
func whole(pointer, record string) string {
	if at := len(pointer) - roundLen; len(record) == recordLen-roundLen && at > 0 {
		return backwards(pointer[at:]) + record
	}
	return record
}

func whoIn(record string, entries []*Entry) map[string]rows {
	who := map[string]rows{}
	for i, e := range entries {
		for _, name := range e.who() {
			who[name] = who[name].add(record, i)
		}
	}
	return who
}

// landed takes note of how a transaction ended.
func (l *Log) landed(s *segment, rounds []string, list []written, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		if len(list) > 0 {
			s.begun = true
		}
		l.written = append(l.written, list...)
	case errors.Is(err, store.ErrUnavailable) && len(list) > 0:
		l.unsure = append(l.unsure, unsure{list, l.tick()})
	}
	for _, r := range rounds {
		delete(l.flying, r)
	}
	if len(l.written) > 0 || len(l.unsure) > 0 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// A waiting is a read that waits for its entry to be on disk.
type waiting struct {
	entry *Entry
	err   chan error
}

// roundSize is the most entries that one round takes.
const roundSize = 256

// Write adds an entry and returns when it is on disk. The entries of calls that
// come at the same time share a transaction: no entry, no answer, yet one flush
// for many.
func (l *Log) Write(ctx context.Context, e *Entry) error {
	w := &waiting{e, make(chan error, 1)}
	select {
	case l.rounds <- w:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-w.err
}

func (l *Log) runRounds() {
	busy := false
	for first := range l.rounds {
		round := l.gather(first, busy)
		busy = len(round) >= busyRound
		entries := make([]*Entry, len(round))
		for i, w := range round {
			entries[i] = w.entry
		}
		err := l.writeRound(entries)
		for _, w := range round {
			w.err <- err
		}
	}
}

func (l *Log) writeRound(entries []*Entry) error {
	var ended func(error)
	err := l.store.Update(context.Background(), func(w store.Writer) (err error) {
		if ended != nil {
			ended(errAgain)
		}
		ended, err = l.Put(w, entries)
		return err
	})
	if ended != nil {
		ended(err)
	}
	return err
}

var errAgain = errors.New("audit: the transaction is run again")

// When many wait, those who were just answered come back at once: waiting a
// moment for them makes one flush of what would be two.
const (
	busyRound = 32
	linger    = 200 * time.Microsecond
)

// gather takes what waits, and when it is busy, what comes within a moment.
func (l *Log) gather(first *waiting, busy bool) []*waiting {
	round := []*waiting{first}
	var late <-chan time.Time
	if busy {
		late = time.After(linger)
	}
	for len(round) < roundSize {
		select {
		case next, ok := <-l.rounds:
			if !ok {
				return round
			}
			round = append(round, next)
			continue
		default:
		}
		if late == nil {
			return round
		}
		select {
		case next, ok := <-l.rounds:
			if !ok {
				return round
			}
			round = append(round, next)
		case <-late:
			late = nil
		}
	}
	return round
}
