package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mypatients/fhir/store"
)

// A model is the port on plain maps, judged by store.Eval: slow, and too simple
// to be wrong.
type model struct {
	versions map[store.Key][]*store.Version
	records  map[[2]string]*store.Record
	log      []logged
}

// A logged entry knows its owners; positions are not compared.
type logged struct {
	store.LogEntry
	owners []string
}

var _ store.Writer = (*model)(nil)

func newModel() *model {
	return &model{versions: map[store.Key][]*store.Version{}, records: map[[2]string]*store.Record{}}
}

func (m *model) clone() *model {
	c := &model{maps.Clone(m.versions), maps.Clone(m.records), slices.Clone(m.log)}
	for k, list := range c.versions {
		c.versions[k] = slices.Clone(list)
	}
	return c
}

func (m *model) PutResource(v *store.Version) error {
	list := m.versions[v.Key]
	if v.Version != int64(len(list)+1) {
		return fmt.Errorf("model: version %d after %d", v.Version, len(list))
	}
	m.versions[v.Key] = append(list, v)
	entry := logged{LogEntry: store.LogEntry{Key: v.Key, Version: v.Version, Time: v.Time, Deleted: v.Deleted}}
	for owner := range v.Terms.Values(store.Owner) {
		entry.owners = append(entry.owners, string(owner))
	}
	m.log = append(m.log, entry)
	return nil
}

func (m *model) Rewrite(k store.Key, version int64, terms store.Terms, body []byte) error {
	list := slices.Clone(m.versions[k])
	if version < 1 || version > int64(len(list)) {
		return store.ErrNotFound
	}
	changed := *list[version-1]
	changed.Terms, changed.Body = terms, body
	list[version-1] = &changed
	m.versions[k] = list
	return nil
}

func (m *model) PutRecord(r *store.Record) error {
	m.records[[2]string{r.Kind, r.Key}] = r
	return nil
}

func (m *model) DeleteRecord(kind, key string) error {
	delete(m.records, [2]string{kind, key})
	return nil
}

func (m *model) Resource(k store.Key) (*store.Version, error) {
	list := m.versions[k]
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return list[len(list)-1], nil
}

func (m *model) ResourceVersion(k store.Key, n int64) (*store.Version, error) {
	list := m.versions[k]
	if n < 1 || n > int64(len(list)) {
		return nil, store.ErrNotFound
	}
	return list[n-1], nil
}

func (m *model) History(k store.Key, before int64, limit int) (out []*store.Version, _ error) {
	for _, v := range slices.Backward(m.versions[k]) {
		if (before == 0 || v.Version < before) && len(out) < limit {
			out = append(out, v)
		}
	}
	return out, nil
}

func (m *model) Record(kind, key string) (*store.Record, error) {
	if r := m.records[[2]string{kind, key}]; r != nil {
		return r, nil
	}
	return nil, store.ErrNotFound
}

func (m *model) Records(kind, prefix, after string, limit int) (out []*store.Record, _ error) {
	for _, r := range m.records {
		if r.Kind == kind && strings.HasPrefix(r.Key, prefix) && (after == "" || r.Key > after) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *store.Record) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(limit, len(out))], nil
}

func (m *model) Log(q store.LogQuery) (out []store.LogEntry, _ error) {
	for _, e := range m.log {
		if (q.Type == "" || q.Type == e.Key.Type) && (q.Owner == "" || slices.Contains(e.owners, q.Owner)) {
			out = append(out, e.LogEntry)
		}
	}
	if q.Reverse {
		slices.Reverse(out)
	}
	return out[:min(q.Limit, len(out))], nil
}

func (m *model) Count(q store.Query) (int, error) {
	q.After, q.Sort, q.Limit = "", nil, 1<<30
	hits, err := m.Search(q)
	return len(hits), err
}

func (m *model) Search(q store.Query) ([]store.Hit, error) {
	type row struct {
		place store.Place
		v     *store.Version
	}
	var rows []row
	for k, list := range m.versions {
		v := list[len(list)-1]
		if k.Type != q.Type || v.Deleted {
			continue
		}
		ok, err := store.Eval(m, v, q.Where)
		if err != nil {
			return nil, err
		}
		if ok {
			rows = append(rows, row{placeOf(v, q.Sort), v})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return comparePlaces(a.place, b.place, q.Sort) })
	var hits []store.Hit
	for _, r := range rows {
		if q.After != "" {
			after, err := store.ParsePosition(q.After, len(q.Sort))
			if err != nil {
				return nil, err
			}
			if comparePlaces(r.place, after, q.Sort) <= 0 {
				continue
			}
		}
		if len(hits) < q.Limit {
			hits = append(hits, store.Hit{Version: r.v, Position: r.place.Position()})
		}
	}
	return hits, nil
}

func placeOf(v *store.Version, sorts []store.Sort) store.Place {
	p := store.Place{ID: v.ID}
	for _, s := range sorts {
		var values []string
		for _, t := range append(v.Terms.List(), store.Term{Name: store.ID, Value: v.ID}) {
			if t.Name == s.Name {
				values = append(values, t.Value)
			}
		}
		var value *string
		if len(values) > 0 {
			best := slices.Min(values)
			if s.Descending {
				best = slices.Max(values)
			}
			value = &best
		}
		p.Values = append(p.Values, value)
	}
	return p
}

func comparePlaces(a, b store.Place, sorts []store.Sort) int {
	for i, s := range sorts {
		x, y := a.Values[i], b.Values[i]
		c := 0
		switch {
		case x == nil && y == nil:
		case x == nil:
			return 1
		case y == nil:
			return -1
		case s.Descending:
			c = strings.Compare(*y, *x)
		default:
			c = strings.Compare(*x, *y)
		}
		if c != 0 {
			return c
		}
	}
	return strings.Compare(a.ID, b.ID)
}
