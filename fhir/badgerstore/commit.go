package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"mypatients/fhir/store"
)

// A parts writer stores changes in as many Badger transactions as they need,
// under rising commit numbers. Nobody reads them before the last one is stored.
// So that a half stored commit is known when the store is opened again, the
// first part says where it began and the last one takes that back.
type parts struct {
	store  *Store
	base   uint64 // the newest readable commit
	commit uint64 // of the current part
	txn    *badger.Txn
	count  int // keys in the current part
}

func (s *Store) newParts() *parts {
	base := s.last.Load()
	return &parts{store: s, base: base, commit: base + 1, txn: s.db.NewTransactionAt(base, true)}
}

// fitsOne tells whether so many changes are surely one part.
func (p *parts) fitsOne(o *overlay) bool {
	db, n := p.store.db, o.changes.Len()
	return n < p.store.tune.part && int64(n) < db.MaxBatchCount()-8 && o.size < db.MaxBatchSize()-1024
}

func (p *parts) begin() error {
	return p.add([]byte{tagCommit}, change{value: binary.BigEndian.AppendUint64(nil, p.base)})
}

func (p *parts) end() error {
	return p.add([]byte{tagCommit}, change{removed: true})
}

func (p *parts) add(key []byte, c change) error {
	if p.count >= p.store.tune.part {
		if err := p.flush(); err != nil {
			return err
		}
	}
	err := p.try(key, c)
	if errors.Is(err, badger.ErrTxnTooBig) && p.count > 0 {
		if err := p.flush(); err != nil {
			return err
		}
		err = p.try(key, c)
	}
	return err
}

func (p *parts) try(key []byte, c change) error {
	p.count++
	if c.removed {
		return p.txn.Delete(key)
	}
	return p.txn.SetEntry(badger.NewEntry(key, c.value).WithMeta(c.meta))
}

// flush stores the current part and begins another.
func (p *parts) flush() error {
	if err := p.txn.CommitAt(p.commit, nil); err != nil {
		return err
	}
	p.commit++
	p.count = 0
	p.txn = p.store.db.NewTransactionAt(p.base, true)
	return nil
}

// write stores the changes of a round and makes them readable.
func (s *Store) write(r *round) error {
	p := s.newParts()
	defer func() { p.txn.Discard() }()
	over := r.reader.over
	one := p.fitsOne(over)
	var err error
	if !one {
		err = p.begin()
	}
	over.changes.Scan(func(key string, c change) bool {
		if err == nil {
			k := []byte(key)
			s.invalidate(k, p.base+1)
			err = p.add(k, c)
		}
		return err == nil
	})
	if err == nil && !one {
		err = p.end()
	}
	if err == nil {
		err = p.txn.CommitAt(p.commit, nil)
	}
	if err != nil {
		// What is on disk is not known, and a later commit could make half of it
		// readable. Opening again sorts it out.
		s.stuck = fmt.Errorf("badgerstore: writing has stopped after a failed commit: %w", store.ErrUnavailable)
		s.log.Error("a commit failed; nothing will be written until restart", "error", err)
		return fmt.Errorf("badgerstore: commit failed: %w", store.ErrUnavailable)
	}
	s.wrote(over.size)
	logged := r.next != s.next
	s.next = r.next
	s.publish(p.commit, logged)
	return nil
}

// mend finds the newest commit. If its last part is missing, it writes the
// state before it on top of what there is; dying while at it does no harm.
func (s *Store) mend() error {
	newest := s.db.MaxVersion()
	before, err := s.torn(newest)
	if err != nil {
		return fmt.Errorf("badgerstore: recovering: %w", err)
	}
	s.last.Store(newest)
	if before == nil {
		s.db.SetDiscardTs(newest)
		return nil
	}
	p := s.newParts()
	defer func() { p.txn.Discard() }()
	if err := s.undo(p, *before, newest); err != nil {
		return fmt.Errorf("badgerstore: recovering: %w", err)
	}
	s.log.Info("a transaction that was cut short has been taken back")
	s.last.Store(p.commit)
	s.db.SetDiscardTs(p.commit)
	return nil
}

// torn gives the commit to go back to, nil when all are whole.
func (s *Store) torn(newest uint64) (*uint64, error) {
	txn := s.db.NewTransactionAt(newest, false)
	defer txn.Discard()
	item, err := txn.Get([]byte{tagCommit})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := item.ValueCopy(nil)
	if err != nil || len(b) != 8 {
		return nil, errors.Join(err, errCorrupt)
	}
	before := binary.BigEndian.Uint64(b)
	return &before, nil
}

// undo writes what each key held at the commit before, if it changed since.
func (s *Store) undo(p *parts, before, newest uint64) error {
	now := s.db.NewTransactionAt(newest, false)
	defer now.Discard()
	then := s.db.NewTransactionAt(before, false)
	defer then.Discard()
	it := now.NewIterator(badger.IteratorOptions{AllVersions: true, SinceTs: before})
	defer it.Close()
	last := ""
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if string(key) == last || key[0] == tagCommit {
			continue
		}
		last = string(key)
		c := change{removed: true}
		item, err := then.Get(key)
		if err == nil {
			c = change{meta: item.UserMeta()}
			c.value, err = item.ValueCopy(nil)
		}
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		if err := p.add(key, c); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	return p.txn.CommitAt(p.commit, nil)
}
