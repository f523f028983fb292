// Package storetest is the conformance suite of the storage port. An engine
// passes it from a test of its own:
//
//	func TestStore(t *testing.T) { storetest.Run(t, open) }
//	func TestDurable(t *testing.T) { storetest.RunDurable(t, openAt) }
//
// Each subtest gets a fresh, empty store. The suite knows no engine and looks
// only through the port.
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/store"
)

// An OpenFunc opens an empty store and closes it in the cleanup of the test.
type OpenFunc func(t *testing.T) store.Store

// Run runs the suite.
func Run(t *testing.T, open OpenFunc) {
	for _, topic := range []struct {
		name  string
		tests map[string]func(*testing.T, store.Store)
	}{
		{"versions", versionTests()},
		{"search", searchTests()},
		{"order", orderTests()},
		{"joins", joinTests()},
		{"records", recordTests()},
		{"log", logTests()},
		{"transactions", transactionTests()},
		{"concurrency", concurrencyTests()},
		{"model", modelTests()},
	} {
		t.Run(topic.name, func(t *testing.T) {
			for name, test := range topic.tests {
				t.Run(name, func(t *testing.T) { test(t, open(t)) })
			}
		})
	}
}

// clock is the time of everything that the suite writes.
var clock = time.Date(2026, 3, 1, 12, 0, 0, int(250*time.Millisecond), time.UTC)

// res makes the first version of a resource; terms are "name=value".
func res(typ, id string, terms ...string) *store.Version {
	var list []store.Term
	for _, term := range terms {
		name, value, ok := strings.Cut(term, "=")
		if !ok {
			panic("not a term: " + term)
		}
		list = append(list, store.Term{Name: name, Value: value})
	}
	return &store.Version{
		Key: store.Key{Type: typ, ID: id}, Version: 1, Time: clock,
		Terms: store.NewTerms(list), Body: []byte(typ + " " + id),
	}
}

// put writes versions in one transaction and numbers them.
func put(t *testing.T, s store.Store, versions ...*store.Version) {
	t.Helper()
	update(t, s, func(w store.Writer) error { return putAll(w, versions...) })
}

func putAll(w store.Writer, versions ...*store.Version) error {
	for _, v := range versions {
		v.Version = 1
		old, err := w.Resource(v.Key)
		if err == nil {
			v.Version = old.Version + 1
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := w.PutResource(v); err != nil {
			return err
		}
	}
	return nil
}

// gone makes a deletion of a resource.
func gone(typ, id string) *store.Version {
	v := res(typ, id)
	v.Deleted, v.Body = true, nil
	return v
}

func update(t *testing.T, s store.Store, fn func(store.Writer) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, s store.Store, fn func(store.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

// find checks that a query gives these ids in this order: in one page, in pages
// of every small size, inside a transaction too, and that Count agrees.
func find(t *testing.T, s store.Store, q store.Query, want ...string) {
	t.Helper()
	check := func(where string) func(store.Reader) error {
		return func(r store.Reader) error {
			for _, page := range []int{1000, 1, 2, 3} {
				got, err := pages(r, q, page)
				if err != nil {
					return err
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, pages of %d: %s\ngot  %q\nwant %q", where, page, show(q), got, want)
					return nil
				}
			}
			n, err := r.Count(q)
			if err == nil && n != len(want) {
				t.Errorf("%s: Count of %s: got %d, want %d", where, show(q), n, len(want))
			}
			return err
		}
	}
	view(t, s, check("View"))
	update(t, s, func(w store.Writer) error { return check("Update")(w) })
}

// pages gives the ids of all pages of a query.
func pages(r store.Reader, q store.Query, size int) ([]string, error) {
	var ids []string
	q.Limit = size
	for {
		hits, err := r.Search(q)
		if err != nil {
			return nil, err
		}
		if len(hits) > size {
			return nil, fmt.Errorf("a page of %d holds %d", size, len(hits))
		}
		for _, h := range hits {
			if h.Deleted || h.Type != q.Type {
				return nil, fmt.Errorf("found %v, deleted %v", h.Key, h.Deleted)
			}
			if string(h.Body) != h.Type+" "+h.ID {
				return nil, fmt.Errorf("%v has the body %q", h.Key, h.Body)
			}
			ids = append(ids, h.ID)
		}
		if len(hits) < size {
			return ids, nil
		}
		q.After = hits[len(hits)-1].Position
	}
}

func show(q store.Query) string {
	return fmt.Sprintf("%s where %+v sort %+v", q.Type, q.Where, q.Sort)
}

// wantErr checks an error against a sentinel of the port.
func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}
