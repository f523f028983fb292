package search_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

const base = "https://example.org/fhir"

// stamp is when every resource of a test was last updated.
var stamp = time.Date(2024, 5, 6, 7, 8, 9, 123e6, time.UTC)

func registry(tb testing.TB) *search.Registry {
	tb.Helper()
	r, err := search.R4()
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func decode(tb testing.TB, body []byte) map[string]any {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		tb.Fatalf("%s: %v", body, err)
	}
	return tree
}

// A model is the plainest possible store: all versions in a map, every search a
// look at each of them. It reads only; of the Reader it has what searching needs.
type model struct {
	store.Reader
	versions map[store.Key]*store.Version
}

// newModel indexes resources, one JSON object per line.
func newModel(tb testing.TB, r *search.Registry, lines []byte) *model {
	tb.Helper()
	m := &model{versions: map[store.Key]*store.Version{}}
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		tree := decode(tb, line)
		t, _ := tree["resourceType"].(string)
		id, _ := tree["id"].(string)
		m.put(tb, r, fhir.Key{Type: fhir.Type(t), ID: id}, tree)
	}
	return m
}

func (m *model) put(tb testing.TB, r *search.Registry, key fhir.Key, tree map[string]any) {
	tb.Helper()
	terms, err := r.Index(key.Type, tree, base)
	if err != nil {
		tb.Fatalf("%s: %v", key, err)
	}
	for _, t := range terms {
		if strings.IndexByte(t.Name+t.Value, 0) >= 0 || t.Value == "" || len(t.Value) > 600 {
			tb.Fatalf("%s: bad term %s=%q", key, t.Name, t.Value)
		}
	}
	k := store.Key{Type: string(key.Type), ID: key.ID}
	m.versions[k] = &store.Version{Key: k, Version: 1, Time: stamp, Terms: store.NewTerms(append(terms, search.StampTerms(key, stamp)...))}
	m.versions[k].Body, _ = json.Marshal(tree) // of what was JSON before
}

func (m *model) Resource(k store.Key) (*store.Version, error) {
	if v, ok := m.versions[k]; ok {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (m *model) Search(q store.Query) ([]store.Hit, error) {
	var hits []store.Hit
	for _, v := range m.versions {
		if v.Type != q.Type {
			continue
		}
		ok, err := store.Eval(m, v, q.Where)
		if err != nil {
			return nil, err
		}
		if ok {
			hits = append(hits, store.Hit{Version: v})
		}
	}
	slices.SortFunc(hits, func(a, b store.Hit) int { return compare(q.Sort, a.Version, b.Version) })
	if q.Limit > 0 && len(hits) > q.Limit {
		hits = hits[:q.Limit]
	}
	return hits, nil
}

// find is the [search.Sources] of the model: everything may be seen.
func (m *model) find(t fhir.Type, where store.Expr, limit int) ([]*store.Version, error) {
	hits, err := m.Search(store.Query{Type: string(t), Where: where, Limit: limit})
	var found []*store.Version
	for _, h := range hits {
		found = append(found, h.Version)
	}
	return found, err
}

// compare is the order of a query: what has no value comes last, ties go by id.
func compare(sorts []store.Sort, a, b *store.Version) int {
	for _, s := range sorts {
		x, okX := sortValue(a, s)
		y, okY := sortValue(b, s)
		switch {
		case okX != okY && okX:
			return -1
		case okX != okY:
			return 1
		case x != y && s.Descending:
			return strings.Compare(y, x)
		case x != y:
			return strings.Compare(x, y)
		}
	}
	return strings.Compare(a.ID, b.ID)
}

func sortValue(v *store.Version, s store.Sort) (value string, ok bool) {
	if s.Name == store.ID {
		return v.ID, true
	}
	for b := range v.Terms.Values(s.Name) {
		if !ok || s.Descending {
			value, ok = string(b), true
		}
	}
	return value, ok
}

// refusal gives the expressions of the issues of an error, which must be a
// refusal of a query.
func refusal(tb testing.TB, err error) []string {
	tb.Helper()
	var e *fhir.Error
	if !errors.As(err, &e) || e.Kind != fhir.Invalid {
		tb.Fatalf("got error %v, want a fhir.Error of kind Invalid", err)
	}
	var list []string
	for _, i := range e.Issues {
		list = append(list, i.Expression)
	}
	return list
}
