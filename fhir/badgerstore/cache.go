package badgerstore

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A cache keeps decoded values for readers of any snapshot. An entry says from
// which snapshot it was read; a table of slots, shared by hash, says when keys
// were last written. An entry is right for a reader when its slot was not written
// behind either snapshot: then both see the same. So a commit invalidates by
// writing its number into the slots, before the first reader can see it, and
// nothing has to be removed.
type cache struct {
	seed   maphash.Seed
	slots  [1 << 16]atomic.Uint64
	shards [8]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
	oldest  entry // ring: oldest.next is the least recently used
	size    int
	limit   int
}

type entry struct {
	key        string
	value      any
	snapshot   uint64
	size       int
	prev, next *entry
}

// entryCost is about what an entry costs beside its value.
const entryCost = 160

func newCache(limit int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = map[string]*entry{}
		s.limit = limit / len(c.shards)
		s.oldest.next, s.oldest.prev = &s.oldest, &s.oldest
	}
	return c
}

// slot names the slot that a key shares with others.
func (c *cache) slot(key []byte) uint64 { return maphash.Bytes(c.seed, key) }

// invalidate notes that commits from this number on write to a key. Rows of an owner and
// entries of the index are cached by the stretch, so what counts is their prefix; so it
// is for the state of a kind of records.
func (s *Store) invalidate(key []byte, commit uint64) {
	switch key[0] {
	case tagResource:
		s.cache.touch(s.cache.slot(key), commit)
	case tagRecord:
		s.cache.touch(s.cache.slot(key), commit)
		s.cache.touch(s.cache.slot(key[:bytes.IndexByte(key, 0)+1]), commit)
	case tagOwner, tagIndex:
		s.cache.touch(s.cache.slot(key[:bytes.LastIndexByte(key, 0)+1]), commit)
	}
}

// touch notes that the commit with this number writes to the slot.
func (c *cache) touch(slot, commit uint64) {
	c.slots[slot%uint64(len(c.slots))].Store(commit)
}

// written gives the newest commit that wrote to the slot since the store was opened.
func (c *cache) written(slot uint64) uint64 { return c.slots[slot%uint64(len(c.slots))].Load() }

// get finds the value under key as a reader of the snapshot sees it.
func (c *cache) get(key []byte, slot, snapshot uint64) (any, bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[string(key)]
	if e == nil {
		return nil, false
	}
	written := c.written(slot)
	if written > e.snapshot || written > snapshot {
		return nil, false
	}
	e.unlink()
	s.append(e)
	return e.value, true
}

// put keeps a value that was read from the snapshot; size is about its bytes.
func (c *cache) put(key []byte, snapshot uint64, value any, size int) {
	size += len(key) + entryCost
	s := c.shard(key)
	if size > s.limit/4 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[string(key)]; e != nil {
		if e.snapshot > snapshot {
			return
		}
		s.drop(e)
	}
	e := &entry{key: string(key), value: value, snapshot: snapshot, size: size}
	s.entries[e.key] = e
	s.append(e)
	s.size += size
	for s.size > s.limit {
		s.drop(s.oldest.next)
	}
}

func (c *cache) shard(key []byte) *shard {
	return &c.shards[maphash.Bytes(c.seed, key)>>32%uint64(len(c.shards))]
}

func (s *shard) append(e *entry) {
	e.prev, e.next = s.oldest.prev, &s.oldest
	e.prev.next, e.next.prev = e, e
}

func (s *shard) drop(e *entry) {
	e.unlink()
	delete(s.entries, e.key)
	s.size -= e.size
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}
