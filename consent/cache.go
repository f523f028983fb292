package consent

import (
	"container/list"
	"maps"
	"slices"
	"sync"
	"time"

	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// A stamp is the epochs that a cached value rests on.
type stamp map[string]uint64

func stampOf(r store.Reader, keys []string) (stamp, error) {
	if err := store.ReadRecords(r, recordEpoch, slices.Values(keys)); err != nil {
		return nil, err
	}
	s := make(stamp, len(keys))
	for _, k := range keys {
		n, err := epochOf(r, k)
		if err != nil {
			return nil, err
		}
		s[k] = n
	}
	return s, nil
}

func (s stamp) holds(r store.Reader) (bool, error) {
	if err := store.ReadRecords(r, recordEpoch, maps.Keys(s)); err != nil {
		return false, err
	}
	for k, n := range s {
		now, err := epochOf(r, k)
		if err != nil || now != n {
			return false, err
		}
	}
	return true, nil
}

// A cache keeps values with the epochs and the time until which they hold. Every
// look-up compares both in the snapshot of the call that uses the value.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	items map[K]*list.Element
	order *list.List // most recently used first
}

type cached[K comparable, V any] struct {
	key   K
	value V
	stamp stamp
	from  time.Time
	until time.Time // zero: no boundary
	as    uint64    // under mu: as of which state of all epochs the stamp was found to hold; 0: unknown
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	return &cache[K, V]{max: size, items: map[K]*list.Element{}, order: list.New()}
}

// get gives the value under a key, made by fill when there is none that holds.
// fill says which epochs and until when its value rests on. What is made inside a
// transaction that has written rests on epochs that may never come to be, or come
// to mean something else: it is kept for that transaction alone.
func (c *cache[K, V]) get(tx *engine.Tx, key K, fill func() (v V, rests []string, until time.Time, err error)) (V, error) {
	if v, ok, err := c.held(tx, key); ok || err != nil {
		return v, err
	}
	v, rests, until, err := fill()
	if err == nil {
		err = c.keep(tx, key, v, rests, until)
	}
	if err != nil {
		var zero V
		return zero, err
	}
	return v, nil
}

// keep puts a value under a key, with what it rests on.
func (c *cache[K, V]) keep(tx *engine.Tx, key K, v V, rests []string, until time.Time) error {
	s, err := stampOf(tx.Reader(), rests)
	if err == nil {
		err = store.Compare(tx.Reader())
	}
	if err != nil {
		return err
	}
	item := &cached[K, V]{key: key, value: v, stamp: s, from: tx.Now(), until: until, as: store.StateOf(tx.Reader(), recordEpoch)}
	if tx.Wrote() {
		tx.Memo()[memoKey[K]{c, key}] = item
	} else {
		c.put(item)
	}
	return nil
}

// held gives the value under a key if there is one that holds.
func (c *cache[K, V]) held(tx *engine.Tx, key K) (v V, ok bool, err error) {
	item, as := c.find(tx, key)
	if item == nil || tx.Now().Before(item.from) || !item.until.IsZero() && !tx.Now().Before(item.until) {
		return v, false, nil
	}
	if ok, err = c.holds(tx, item, as); !ok || err != nil {
		return v, false, err
	}
	return item.value, true, nil
}

// holds compares a value's epochs, unless that was done since any epoch moved.
func (c *cache[K, V]) holds(tx *engine.Tx, item *cached[K, V], as uint64) (bool, error) {
	now := store.StateOf(tx.Reader(), recordEpoch)
	if now != 0 && now == as {
		return true, nil
	}
	ok, err := item.stamp.holds(tx.Reader())
	if ok && now != 0 {
		c.mu.Lock()
		item.as = now
		c.mu.Unlock()
	}
	return ok, err
}

// has tells whether there is a value under a key, which may hold or not.
func (c *cache[K, V]) has(key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.items[key] != nil
}

// A memoKey is where a transaction that has written keeps a value of a cache.
type memoKey[K comparable] struct {
	cache any
	key   K
}

// find gives what is kept under a key, and as of which state it was found to hold.
func (c *cache[K, V]) find(tx *engine.Tx, key K) (item *cached[K, V], as uint64) {
	if tx.Wrote() {
		if own, ok := tx.Memo()[memoKey[K]{c, key}].(*cached[K, V]); ok {
			return own, 0
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[key]
	if e == nil {
		return nil, 0
	}
	c.order.MoveToFront(e)
	item = e.Value.(*cached[K, V])
	return item, item.as
}

func (c *cache[K, V]) put(item *cached[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.items[item.key]; e != nil {
		e.Value = item
		c.order.MoveToFront(e)
		return
	}
	c.items[item.key] = c.order.PushFront(item)
	if len(c.items) > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.items, last.Value.(*cached[K, V]).key)
	}
}
