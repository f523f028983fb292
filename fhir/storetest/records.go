package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"mypatients/fhir/store"
)

func recordTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"put, replace, delete":       records,
		"listing by prefix":          recordPages,
		"expiry and sweep":           sweep,
		"sweeping very many":         sweepMany,
		"replacing moves the expiry": moveExpiry,
	}
}

func putRecord(t *testing.T, s store.Store, kind, key, value string, expires time.Time) {
	t.Helper()
	update(t, s, func(w store.Writer) error {
		return w.PutRecord(&store.Record{Kind: kind, Key: key, Value: []byte(value), Expires: expires})
	})
}

// keys lists all keys of a kind.
func keys(t *testing.T, s store.Store, kind string) (list []string) {
	t.Helper()
	view(t, s, func(r store.Reader) error {
		records, err := r.Records(kind, "", "", 1_000_000)
		for _, r := range records {
			list = append(list, r.Key)
		}
		return err
	})
	return list
}

func records(t *testing.T, s store.Store) {
	want := func(kind, key, value string) {
		t.Helper()
		check := func(r store.Reader) error {
			got, err := r.Record(kind, key)
			if value == "absent" {
				wantErr(t, kind+" "+key, err, store.ErrNotFound)
				return nil
			}
			if err != nil {
				return err
			}
			if got.Kind != kind || got.Key != key || string(got.Value) != value {
				t.Errorf("got %+v, want %s %s %s", got, kind, key, value)
			}
			return nil
		}
		view(t, s, check)
		update(t, s, func(w store.Writer) error { return check(w) })
	}
	want("code", "1", "absent")
	putRecord(t, s, "code", "1", "one", time.Time{})
	putRecord(t, s, "cod", "e1", "other", clock)
	putRecord(t, s, "empty", "", "", time.Time{})
	want("code", "1", "one")
	want("cod", "e1", "other")
	want("empty", "", "")
	putRecord(t, s, "code", "1", "two", clock)
	want("code", "1", "two")
	large := string(bytes.Repeat([]byte("large"), 20_000))
	putRecord(t, s, "code", "2", large, clock)
	want("code", "2", large)
	update(t, s, func(w store.Writer) error {
		for range 2 {
			if err := w.DeleteRecord("code", "1"); err != nil {
				return err
			}
		}
		_, err := w.Record("code", "1")
		wantErr(t, "deleted in the same transaction", err, store.ErrNotFound)
		return nil
	})
	want("code", "1", "absent")
	want("cod", "e1", "other")
	value := []byte("mine")
	update(t, s, func(w store.Writer) error {
		err := w.PutRecord(&store.Record{Kind: "code", Key: "3", Value: value})
		value[0] = 'x'
		return err
	})
	want("code", "3", "mine")
}

func recordPages(t *testing.T, s store.Store) {
	all := []string{"", "\x00", "\x01", "a", "a\x00", "a\x00b", "a\x01", "aa", "ab", "ab\xff", "ac", "b", "\xff", "\xffa"}
	for _, k := range all {
		putRecord(t, s, "list", k, "v"+k, time.Time{})
		putRecord(t, s, "lis", k, "x", time.Time{})
		putRecord(t, s, "list2", k, "x", time.Time{})
	}
	if got := keys(t, s, "list"); !slices.Equal(got, slices.Sorted(slices.Values(all))) {
		t.Errorf("got %q", got)
	}
	for _, prefix := range all {
		for _, after := range append(all, "zz") {
			for _, limit := range []int{1, 2, 100} {
				var want, got []string
				for _, k := range slices.Sorted(slices.Values(all)) {
					if len(want) < limit && len(k) >= len(prefix) && k[:len(prefix)] == prefix && (after == "" || k > after) {
						want = append(want, k)
					}
				}
				view(t, s, func(r store.Reader) error {
					list, err := r.Records("list", prefix, after, limit)
					for _, r := range list {
						got = append(got, r.Key)
						if string(r.Value) != "v"+r.Key || r.Kind != "list" {
							t.Errorf("got %+v", r)
						}
					}
					return err
				})
				if !slices.Equal(got, want) {
					t.Errorf("prefix %q after %q limit %d: got %q, want %q", prefix, after, limit, got, want)
				}
			}
		}
	}
}

func sweep(t *testing.T, s store.Store) {
	for i := range 10 {
		putRecord(t, s, "code", fmt.Sprint(i), "v", clock.Add(time.Duration(i)*time.Millisecond))
	}
	putRecord(t, s, "code", "never", "v", time.Time{})
	putRecord(t, s, "code", "old", "v", time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC))
	putRecord(t, s, "code", "epoch", "v", time.UnixMilli(0))
	view(t, s, func(r store.Reader) error {
		got, err := r.Record("code", "3")
		if err == nil && !got.Expires.Equal(clock.Add(3*time.Millisecond)) {
			t.Errorf("got expiry %v", got.Expires)
		}
		return err
	})
	for _, c := range []struct {
		before time.Time
		want   int
		left   int
	}{
		{time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), 0, 13},
		{clock, 2, 11},
		{clock.Add(3 * time.Millisecond), 3, 8},
		{clock.Add(3*time.Millisecond + 1), 1, 7},
		{clock.Add(3*time.Millisecond + 1), 0, 7},
		{clock.Add(time.Hour), 6, 1},
		{clock.AddDate(1000, 0, 0), 0, 1},
	} {
		n, err := s.Sweep(t.Context(), c.before)
		left := keys(t, s, "code")
		if err != nil || n != c.want || len(left) != c.left {
			t.Errorf("Sweep(%v): got %d, error %v, left %q; want %d, %d left", c.before, n, err, left, c.want, c.left)
		}
	}
}

func sweepMany(t *testing.T, s store.Store) {
	const n = 2500
	update(t, s, func(w store.Writer) error {
		for i := range n {
			if err := w.PutRecord(&store.Record{Kind: "k", Key: fmt.Sprint(i), Expires: clock}); err != nil {
				return err
			}
		}
		return nil
	})
	if got, err := s.Sweep(t.Context(), clock.Add(time.Second)); got != n || err != nil {
		t.Errorf("got %d, %v, want %d", got, err, n)
	}
	if left := keys(t, s, "k"); len(left) > 0 {
		t.Errorf("%d are left", len(left))
	}
}

func moveExpiry(t *testing.T, s store.Store) {
	later := clock.Add(time.Hour)
	putRecord(t, s, "k", "longer", "v", clock)
	putRecord(t, s, "k", "longer", "v", later)
	putRecord(t, s, "k", "shorter", "v", later)
	putRecord(t, s, "k", "shorter", "v", clock)
	putRecord(t, s, "k", "forever", "v", clock)
	putRecord(t, s, "k", "forever", "v", time.Time{})
	putRecord(t, s, "k", "again", "v", clock)
	update(t, s, func(w store.Writer) error {
		if err := w.DeleteRecord("k", "again"); err != nil {
			return err
		}
		return w.PutRecord(&store.Record{Kind: "k", Key: "again", Expires: later})
	})
	n, err := s.Sweep(t.Context(), clock.Add(time.Second))
	if got := keys(t, s, "k"); n != 1 || err != nil || !slices.Equal(got, []string{"again", "forever", "longer"}) {
		t.Errorf("swept %d, error %v, left %q", n, err, got)
	}
}
