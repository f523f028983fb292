package consent

import (
	"container/list"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// recordEpoch is the kind of the records that count, for each patient, provider
// and team, the writes that could change a decision. A cached decision carries
// the epochs it was taken at, so a revocation holds for the next request, on
// every node that shares the store.
const recordEpoch = "epoch"

// Lists of patients carry epochs of their own, so that no write makes anybody look
// up theirs but those whom it names.
const (
	specialEpoch = "panel/*"      // consents that deny what terms cannot tell, or name a team or group
	nestedEpoch  = "panel/nested" // teams with others in them
)

// panelEpoch counts the writes by which a provider, role, organisation, team or
// group came to be named, or ceased to be.
func panelEpoch(key string) string { return "panel/" + key }

// onWrite is called by the engine for every version written, inside its
// transaction: it holds the state machine and moves the epochs.
func (r *Rules) onWrite(tx *engine.Tx, before, after *store.Version) error {
	check := map[string]func(*engine.Tx, *store.Version, *store.Version) error{"Consent": r.checkConsent, "Patient": r.checkPatient}[after.Type]
	if check != nil {
		if err := check(tx, before, after); err != nil {
			return err
		}
		if err := r.setTimers(tx, before, after); err != nil {
			return err
		}
	}
	keys := map[string]bool{}
	for _, v := range []*store.Version{before, after} {
		if v != nil {
			epochKeys(v, keys)
		}
	}
	panelKeys(before, after, keys)
	for k := range keys {
		if err := moveEpoch(tx.Writer(), k); err != nil {
			return err
		}
	}
	return r.flow(tx, before, after)
}

// epochKeys collects whose decisions a version may change.
func epochKeys(v *store.Version, keys map[string]bool) {
	switch v.Type {
	case "Patient", "Consent", "RelatedPerson", "CareTeam", "Practitioner", "PractitionerRole", "Group":
	default:
		return
	}
	keys[v.Key.String()] = true
	for name, value := range v.Terms.All() {
		if string(name) == store.Owner || string(name) == "practitioner" && strings.HasPrefix(string(value), "Practitioner/") {
			keys[string(value)] = true
		}
	}
}

// panelKeys collects whose list of patients a write may change.
func panelKeys(before, after *store.Version, keys map[string]bool) {
	was, is := map[string]bool{}, map[string]bool{}
	listed(before, was)
	listed(after, is)
	for _, from := range []map[string]bool{was, is} {
		for k := range from {
			// Who stays a patient's PCP keeps them, whatever else is written of them.
			if after.Type != "Patient" || was[k] != is[k] {
				keys[k] = true
			}
		}
	}
}

// panelTerms are the terms that name the people by whom a patient comes to be on a
// list, by type.
var panelTerms = map[string]string{"Patient": "general-practitioner", "CareTeam": "participant", "Group": "member", "Consent": termActors}

// listed collects the epochs of the lists that a version may put a patient on.
func listed(v *store.Version, keys map[string]bool) {
	if v == nil || v.Deleted || panelTerms[v.Type] == "" {
		return
	}
	for name, value := range v.Terms.All() {
		switch t, _, _ := strings.Cut(string(value), "/"); string(name) {
		case panelTerms[v.Type]:
			switch t {
			case "CareTeam", "Group":
				keys[panelEpoch(string(value))] = true
				if v.Type == "Consent" {
					keys[specialEpoch] = true
				}
			case "Practitioner", "PractitionerRole", "Organization":
				keys[panelEpoch(string(value))] = true
			}
		case termOdd:
			keys[specialEpoch] = true
		case termNested:
			keys[nestedEpoch] = true
		}
	}
}

func moveEpoch(w store.Writer, key string) error {
	n, err := epochOf(w, key)
	if err != nil {
		return err
	}
	return w.PutRecord(&store.Record{Kind: recordEpoch, Key: key, Value: binary.BigEndian.AppendUint64(nil, n+1)})
}

func epochOf(r store.Reader, key string) (uint64, error) {
	rec, err := r.Record(recordEpoch, key)
	if err == store.ErrNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(rec.Value) != 8 {
		return 0, fhir.Errorf(fhir.Internal, "An epoch is damaged.")
	}
	return binary.BigEndian.Uint64(rec.Value), nil
}

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
type cache[V any] struct {
	mu    sync.Mutex
	max   int
	items map[string]*list.Element
	order *list.List // most recently used first
}

type cached[V any] struct {
	key   string
	value V
	stamp stamp
	from  time.Time
	until time.Time // zero: no boundary
}

func newCache[V any](size int) *cache[V] {
	return &cache[V]{max: size, items: map[string]*list.Element{}, order: list.New()}
}

// get gives the value under a key, made by fill when there is none that holds.
// fill says which epochs and until when its value rests on. What is made inside a
// transaction that has written rests on epochs that may never come to be, or come
// to mean something else: it is kept for that transaction alone.
func (c *cache[V]) get(tx *engine.Tx, key string, fill func() (v V, rests []string, until time.Time, err error)) (V, error) {
	var zero V
	own := memoKey{c, key}
	item, _ := tx.Memo()[own].(*cached[V])
	if item == nil {
		item = c.find(key)
	}
	if item != nil && !tx.Now().Before(item.from) && (item.until.IsZero() || tx.Now().Before(item.until)) {
		ok, err := item.stamp.holds(tx.Reader())
		if err != nil {
			return zero, err
		}
		if ok {
			return item.value, nil
		}
	}
	v, rests, until, err := fill()
	if err != nil {
		return zero, err
	}
	s, err := stampOf(tx.Reader(), rests)
	if err != nil {
		return zero, err
	}
	if item = (&cached[V]{key, v, s, tx.Now(), until}); tx.Wrote() {
		tx.Memo()[own] = item
	} else {
		c.put(item)
	}
	return v, nil
}

// A memoKey is where a transaction that has written keeps a value of a cache.
type memoKey struct {
	cache any
	key   string
}

func (c *cache[V]) find(key string) *cached[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached[V])
}

func (c *cache[V]) put(item *cached[V]) {
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
		delete(c.items, last.Value.(*cached[V]).key)
	}
}
