package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/store"
)

func versionTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"a version comes back as it was written": roundTrip,
		"an absent resource is not found":        absent,
		"old versions stay readable":             oldVersions,
		"history pages backwards":                history,
		"a version number must follow":           versionNumbers,
		"a deletion is a version":                deletion,
		"a version is rewritten":                 rewritten,
		"large bodies":                           largeBodies,
		"what a key cannot hold is refused":      refusals,
	}
}

func roundTrip(t *testing.T, s store.Store) {
	want := res("Patient", "1", "name=ann", "name=bob", "_owner=Patient/1")
	want.Time = time.Date(2031, 12, 31, 23, 59, 59, int(7*time.Millisecond), time.UTC)
	want.Body = []byte{0, 1, 255, '{', 0}
	put(t, s, want)
	want.Body[0] = 'x' // the store must not hold on to the caller's bytes
	view(t, s, func(r store.Reader) error {
		got, err := r.Resource(want.Key)
		if err != nil {
			return err
		}
		if got.Key != want.Key || got.Version != 1 || !got.Time.Equal(want.Time) || got.Time.Location() != time.UTC || got.Deleted {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if !bytes.Equal(got.Terms, want.Terms) || !bytes.Equal(got.Body, []byte{0, 1, 255, '{', 0}) {
			t.Errorf("got terms %q body %q", got.Terms, got.Body)
		}
		return nil
	})
}

func absent(t *testing.T, s store.Store) {
	put(t, s, res("Patient", "1"))
	view(t, s, func(r store.Reader) error {
		for _, k := range []store.Key{{Type: "Patient", ID: "2"}, {Type: "Patien", ID: "t1"}, {Type: "Patient1", ID: ""}, {Type: "Observation", ID: "1"}} {
			_, err := r.Resource(k)
			wantErr(t, k.String(), err, store.ErrNotFound)
			_, err = r.ResourceVersion(k, 1)
			wantErr(t, k.String(), err, store.ErrNotFound)
			list, err := r.History(k, 0, 10)
			if err != nil || len(list) != 0 {
				t.Errorf("History of %v: got %d versions, error %v", k, len(list), err)
			}
		}
		for _, n := range []int64{-1, 0, 2, 1 << 40} {
			_, err := r.ResourceVersion(store.Key{Type: "Patient", ID: "1"}, n)
			wantErr(t, fmt.Sprint("version ", n), err, store.ErrNotFound)
		}
		return nil
	})
}

// putMany writes n versions of Patient/1, of which each third is a deletion.
func putMany(t *testing.T, s store.Store, n int) store.Key {
	for i := 1; i <= n; i++ {
		v := res("Patient", "1", fmt.Sprintf("n=%d", i))
		v.Body = fmt.Appendf(nil, "body %d", i)
		v.Deleted = i%3 == 0
		put(t, s, v)
	}
	return store.Key{Type: "Patient", ID: "1"}
}

func oldVersions(t *testing.T, s store.Store) {
	key := putMany(t, s, 7)
	put(t, s, res("Patient", "10"), res("Patient", "1\x01"))
	view(t, s, func(r store.Reader) error {
		for n := int64(1); n <= 7; n++ {
			v, err := r.ResourceVersion(key, n)
			if err != nil {
				return err
			}
			body := fmt.Sprintf("body %d", n)
			terms := store.NewTerms([]store.Term{{Name: "n", Value: fmt.Sprint(n)}})
			if v.Version != n || v.Deleted != (n%3 == 0) || string(v.Body) != body || !bytes.Equal(v.Terms, terms) {
				t.Errorf("version %d: got %+v", n, v)
			}
		}
		return nil
	})
}

func history(t *testing.T, s store.Store) {
	key := putMany(t, s, 7)
	put(t, s, res("Patient", "10"), res("Patient", "11"))
	put(t, s, res("Patient", "10"), res("Patient", "11"))
	for _, c := range []struct {
		before int64
		limit  int
		want   string
	}{
		{0, 100, "7 6 5 4 3 2 1"}, {0, 3, "7 6 5"}, {5, 3, "4 3 2"}, {2, 3, "1"}, {1, 3, ""},
		{8, 1, "7"}, {100, 2, "7 6"}, {7, 1, "6"}, {0, 7, "7 6 5 4 3 2 1"}, {0, 1, "7"},
	} {
		check := func(r store.Reader) error {
			list, err := r.History(key, c.before, c.limit)
			var got []string
			for _, v := range list {
				got = append(got, fmt.Sprint(v.Version))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("before %d, limit %d: got %q, want %q", c.before, c.limit, s, c.want)
			}
			return err
		}
		view(t, s, check)
		update(t, s, func(w store.Writer) error { return check(w) })
	}
}

func versionNumbers(t *testing.T, s store.Store) {
	put(t, s, res("Patient", "1"), res("Patient", "1"))
	for _, c := range []struct {
		id      string
		version int64
		ok      bool
	}{{"2", 0, false}, {"2", 2, false}, {"2", -1, false}, {"1", 1, false}, {"1", 2, false}, {"1", 4, false}, {"1", 3, true}, {"2", 1, true}} {
		err := s.Update(t.Context(), func(w store.Writer) error {
			v := res("Patient", c.id)
			v.Version = c.version
			return w.PutResource(v)
		})
		if (err == nil) != c.ok {
			t.Errorf("version %d of %s: got error %v, want ok %v", c.version, c.id, err, c.ok)
		}
	}
}

func deletion(t *testing.T, s store.Store) {
	put(t, s, res("Patient", "1", "name=ann", "_owner=Patient/1"))
	where := store.Query{Type: "Patient", Where: store.Equal{Name: "name", Value: "ann"}}
	find(t, s, where, "1")
	dead := res("Patient", "1", "name=ann", "_owner=Patient/1")
	dead.Deleted = true
	put(t, s, dead)
	find(t, s, where)
	find(t, s, store.Query{Type: "Patient"})
	find(t, s, store.Query{Type: "Patient", Where: store.Equal{Name: store.Owner, Value: "Patient/1"}})
	find(t, s, store.Query{Type: "Patient", Where: store.Equal{Name: store.ID, Value: "1"}})
	view(t, s, func(r store.Reader) error {
		v, err := r.Resource(dead.Key)
		if err == nil && (!v.Deleted || v.Version != 2 || !bytes.Equal(v.Terms, dead.Terms)) {
			t.Errorf("got %+v, want a deletion with terms", v)
		}
		return err
	})
	put(t, s, res("Patient", "1", "name=bea"))
	find(t, s, where)
	find(t, s, store.Query{Type: "Patient", Where: store.Equal{Name: "name", Value: "bea"}}, "1")
}

func largeBodies(t *testing.T, s store.Store) {
	sizes := []int{0, 1, 1000, 1023, 1024, 1025, 5000, 70_000, 3 << 20}
	for _, n := range sizes {
		v := res("Binary", fmt.Sprint("b", n))
		v.Body = bytes.Repeat([]byte{byte(n), 0, 'x'}, n/3+1)[:n]
		put(t, s, v)
	}
	view(t, s, func(r store.Reader) error {
		for _, n := range sizes {
			v, err := r.Resource(store.Key{Type: "Binary", ID: fmt.Sprint("b", n)})
			if err != nil {
				return err
			}
			if !bytes.Equal(v.Body, bytes.Repeat([]byte{byte(n), 0, 'x'}, n/3+1)[:n]) {
				t.Errorf("body of %d bytes came back as %d bytes, or other ones", n, len(v.Body))
			}
		}
		return nil
	})
}

func refusals(t *testing.T, s store.Store) {
	try := func(what string, fn func(store.Writer) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	for what, v := range map[string]*store.Version{
		"an empty type":          res("", "1"),
		"an empty id":            res("Patient", ""),
		"a NUL in a type":        res("Pat\x00ient", "1"),
		"a NUL in an id":         res("Patient", "1\x00"),
		"a NUL in a name":        res("Patient", "1", "na\x00me=x"),
		"a NUL in a value":       res("Patient", "1", "name=x\x00"),
		"an owner with a NUL":    res("Patient", "1", "_owner=Patient/1\x00Observation"),
		"terms out of order":     {Key: store.Key{Type: "Patient", ID: "1"}, Version: 1, Time: clock, Terms: store.Terms("\x01b\x01x\x01a\x01x")},
		"a term that is doubled": {Key: store.Key{Type: "Patient", ID: "1"}, Version: 1, Time: clock, Terms: store.Terms("\x01b\x01x\x01b\x01x")},
		"terms cut short":        {Key: store.Key{Type: "Patient", ID: "1"}, Version: 1, Time: clock, Terms: store.Terms("\x01b\x05x")},
	} {
		try(what, func(w store.Writer) error { return w.PutResource(v) })
	}
	try("a NUL in a kind", func(w store.Writer) error { return w.PutRecord(&store.Record{Kind: "a\x00b", Key: "c"}) })
	huge := strings.Repeat("x", 100_000)
	wantErr(t, "a huge term", s.Update(t.Context(), func(w store.Writer) error {
		return w.PutResource(res("Patient", "1", "name="+huge))
	}), store.ErrTooBig)
	wantErr(t, "a huge id", s.Update(t.Context(), func(w store.Writer) error {
		return w.PutResource(res("Patient", huge))
	}), store.ErrTooBig)
	find(t, s, store.Query{Type: "Patient"})
}

func rewritten(t *testing.T, s store.Store) {
	put(t, s, res("A", "1", "x=1", "_owner=p"), res("A", "2", "x=1"))
	put(t, s, res("A", "1", "x=2", "_owner=p"))
	key := store.Key{Type: "A", ID: "1"}
	terms := store.NewTerms([]store.Term{{Name: "x", Value: "3"}, {Name: "y", Value: "1"}, {Name: store.Owner, Value: "p"}})
	update(t, s, func(w store.Writer) error {
		for _, n := range []int64{0, 3} {
			if err := w.Rewrite(key, n, terms, nil); err == nil {
				t.Errorf("version %d, which is not there, was rewritten", n)
			}
		}
		if err := w.Rewrite(store.Key{Type: "A", ID: "9"}, 1, terms, nil); err == nil {
			t.Error("an absent resource was rewritten")
		}
		if err := w.Rewrite(key, 2, store.Terms("not terms"), nil); err == nil {
			t.Error("terms that are none were taken")
		}
		return nil
	})
	var entries []store.LogEntry
	view(t, s, func(r store.Reader) (err error) {
		entries, err = r.Log(store.LogQuery{Limit: 10})
		return err
	})
	update(t, s, func(w store.Writer) error {
		return errors.Join(w.Rewrite(key, 2, terms, []byte("new")), w.Rewrite(key, 1, terms, []byte("old")))
	})
	view(t, s, func(r store.Reader) error {
		v, err := r.Resource(key)
		if err != nil {
			return err
		}
		if v.Version != 2 || !bytes.Equal(v.Terms, terms) || string(v.Body) != "new" || !v.Time.Equal(clock) {
			t.Errorf("got %+v", v)
		}
		old, err := r.History(key, 2, 1)
		if err != nil || len(old) != 1 {
			return errors.Join(err, errors.New("the old version is gone"))
		}
		if v := old[0]; v.Version != 1 || !bytes.Equal(v.Terms, terms) || string(v.Body) != "old" || !v.Time.Equal(clock) {
			t.Errorf("got %+v", v)
		}
		now, err := r.Log(store.LogQuery{Limit: 10})
		if len(now) != len(entries) {
			t.Errorf("the log has %d entries, had %d", len(now), len(entries))
		}
		return err
	})
	update(t, s, func(w store.Writer) error { return w.Rewrite(key, 2, terms, []byte("A 1")) }) // what find looks for
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: "x", Value: "2"}})
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: "x", Value: "3"}}, "1")
	find(t, s, store.Query{Type: "A", Where: store.And{store.Equal{Name: store.Owner, Value: "p"}, store.Equal{Name: "y", Value: "1"}}}, "1")
}
