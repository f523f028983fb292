package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

var key = bytes.Repeat([]byte("k"), 32)

// A clock shows what it was set to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)} }

// onStores runs a test on both engines; on PostgreSQL if there is one.
func onStores(t *testing.T, test func(t *testing.T, db store.Store, c *clock)) {
	t.Run("badger", func(t *testing.T) {
		c := newClock()
		db, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		test(t, db, c)
	})
	t.Run("postgres", func(t *testing.T) {
		db, err := pgstore.Open(t.Context(), pgstore.Options{DSN: pgtest.Open(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		test(t, db, newClock())
	})
}

func open(t testing.TB, db store.Store, c *clock) *audit.Log {
	t.Helper()
	l, err := audit.Open(audit.Config{Store: db, Now: c.Now, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entry(who, patient string, n int) *audit.Entry {
	return &audit.Entry{When: time.Date(2026, 3, 10, 15, 0, n, 0, time.UTC), Person: who, Action: "read", Type: "Observation",
		Returned: []string{fmt.Sprintf("Observation/%d", n)}, Patients: []string{patient}, Bases: map[string][]string{patient: {"pcp"}}, Outcome: "", Address: "192.0.2.1", Request: "r"}
}

// fill writes reads and transactions through a log.
func fill(t testing.TB, l *audit.Log, db store.Store, rounds int) {
	fillAt(t, l, db, newClock(), rounds)
}

func fillAt(t testing.TB, l *audit.Log, db store.Store, c *clock, rounds int) {
	t.Helper()
	for n := range rounds {
		list := []*audit.Entry{entry("Practitioner/a", "Patient/1", n), entry("Practitioner/b", "Patient/2", n), entry("Practitioner/a", "Patient/2", n), entry("Practitioner/a", "Patient/1", n), entry("Practitioner/c", "Patient/3", n)}
		for _, e := range list {
			e.When = c.Now()
		}
		if err := l.Write(t.Context(), list[0]); err != nil {
			t.Fatal(err)
		}
		put(t, l, db, list[1:]...)
	}
	if err := l.Link(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// put writes entries as a transaction does.
func put(t testing.TB, l *audit.Log, db store.Store, entries ...*audit.Entry) {
	t.Helper()
	var ended func(error)
	end := func(err error) {
		if ended != nil { // the last run came as far as that
			ended(err)
		}
	}
	err := db.Update(t.Context(), func(w store.Writer) (err error) {
		end(errors.New("again"))
		ended, err = l.Put(w, entries)
		return err
	})
	end(err)
	if err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, l *audit.Log, c audit.Check) (audit.Report, []audit.Damage) {
	t.Helper()
	var list []audit.Damage
	r, err := l.Verify(t.Context(), c, func(d audit.Damage) { list = append(list, d) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Damages != len(list) {
		t.Errorf("the report counts %d damages of %d", r.Damages, len(list))
	}
	return r, list
}

func sound(t testing.TB, l *audit.Log, entries int) audit.Report {
	t.Helper()
	r, damages := verify(t, l, audit.Check{})
	if len(damages) > 0 {
		t.Errorf("an untouched log is damaged: %v", damages)
	}
	if r.Entries != entries {
		t.Errorf("verified %d entries, want %d", r.Entries, entries)
	}
	return r
}

var kinds = []string{"audit", "audit-of", "audit-by", "audit-linked", "audit-link", "audit-head"}

// dump gives all that the log has in a store.
func dump(t testing.TB, db store.Store) map[string][]*store.Record {
	t.Helper()
	all := map[string][]*store.Record{}
	if err := db.View(t.Context(), func(r store.Reader) error {
		for _, kind := range kinds {
			list, err := r.Records(kind, "", "", 100_000)
			if err != nil {
				return err
			}
			all[kind] = list
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// restore brings the log back to what it was.
func restore(t testing.TB, db store.Store, to map[string][]*store.Record) {
	t.Helper()
	now := dump(t, db)
	if err := db.Update(t.Context(), func(w store.Writer) error {
		for _, kind := range kinds {
			for _, r := range now[kind] {
				if err := w.DeleteRecord(kind, r.Key); err != nil {
					return err
				}
			}
			for _, r := range to[kind] {
				if err := w.PutRecord(r); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func update(t testing.TB, db store.Store, do func(w store.Writer) error) {
	t.Helper()
	if err := db.Update(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

func TestTampering(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		l := open(t, db, c)
		fill(t, l, db, 3)
		early := dump(t, db)
		fill(t, l, db, 3)
		fill(t, l, db, 3)
		closed := open(t, db, c)
		fill(t, closed, db, 3)
		closed.Close()
		c.pass(11 * time.Second)
		fill(t, l, db, 1) // refers to the end of the other
		c.pass(time.Hour)
		l.Close()
		l = open(t, db, c) // which has written nothing
		defer l.Close()
		report := sound(t, l, 5*13)
		if report.Segments != 2 || report.Waiting != 0 || len(report.Heads) != 1 {
			t.Errorf("got %+v", report)
		}
		good := dump(t, db)
		other := strings.SplitN(good["audit-link"][len(good["audit-link"])-1].Key, "/", 2)[0]
		for name, do := range tamperings(good, early, other) {
			t.Run(name, func(t *testing.T) {
				update(t, db, do)
				_, damages := verify(t, l, audit.Check{})
				if len(damages) == 0 {
					t.Error("not noticed")
				}
				for _, d := range damages {
					if d.When.IsZero() || d.ID == "" || d.Text == "" {
						t.Errorf("a damage without a place: %+v", d)
					}
				}
				restore(t, db, good)
			})
		}
		sound(t, l, 5*13)
	})
}

type tampering = func(store.Writer) error

// tamperings are ways to change a log from outside; other is its second segment.
func tamperings(good, early map[string][]*store.Record, other string) map[string]tampering {
	records, links, heads := good["audit"], good["audit-link"], good["audit-head"]
	newest := records[len(records)-1]
	remove := func(list ...*store.Record) tampering {
		return func(w store.Writer) error {
			for _, r := range list {
				if err := w.DeleteRecord(r.Kind, r.Key); err != nil {
					return err
				}
			}
			return nil
		}
	}
	write := func(list ...*store.Record) tampering {
		return func(w store.Writer) error {
			for _, r := range list {
				if err := w.PutRecord(r); err != nil {
					return err
				}
			}
			return nil
		}
	}
	both := func(list ...tampering) tampering {
		return func(w store.Writer) error {
			for _, do := range list {
				if err := do(w); err != nil {
					return err
				}
			}
			return nil
		}
	}
	under := func(r *store.Record, key string) *store.Record {
		return &store.Record{Kind: r.Kind, Key: key, Value: r.Value}
	}
	swap := func(a, b *store.Record) tampering { return write(under(a, b.Key), under(b, a.Key)) }
	of := func(list []*store.Record, in func(*store.Record) bool) []*store.Record {
		return slices.DeleteFunc(slices.Clone(list), func(r *store.Record) bool { return !in(r) })
	}
	tag := other[16:]
	inOther := func(r *store.Record) bool { return strings.Contains(r.Key, tag) }
	since := func(list []*store.Record) []*store.Record { // what was written since early
		return of(list, func(r *store.Record) bool {
			return !slices.ContainsFunc(early[r.Kind], func(e *store.Record) bool { return e.Key == r.Key })
		})
	}
	own := heads[0]
	oldHead := early["audit-head"][0]
	ways := map[string]tampering{
		"remove an entry":                       remove(records[4]),
		"remove the newest entry":               remove(newest),
		"remove the newest and its pointers":    both(remove(newest), remove(of(good["audit-of"], func(r *store.Record) bool { return strings.HasSuffix(r.Key, newest.Key[16:34]) })...)),
		"swap two":                              swap(records[2], records[5]),
		"copy one from elsewhere":               write(under(records[2], records[5].Key[:33]+"f")),
		"replace by another":                    write(under(records[2], records[5].Key)),
		"remove a segment":                      both(remove(of(links, inOther)...), remove(of(records, inOther)...), remove(of(good["audit-of"], inOther)...), remove(of(good["audit-by"], inOther)...), remove(of(good["audit-linked"], inOther)...)),
		"remove the links of a segment":         remove(of(links, inOther)...),
		"remove the records of a segment":       remove(of(records, inOther)...),
		"remove a link":                         remove(links[2]),
		"remove the first link":                 remove(links[0]),
		"remove the newest link":                remove(of(links, func(r *store.Record) bool { return !inOther(r) })[len(of(links, func(r *store.Record) bool { return !inOther(r) }))-1]),
		"swap two links":                        swap(links[1], links[2]),
		"remove the head":                       remove(own),
		"restore an old head":                   write(oldHead),
		"restore an old head and its links":     both(write(oldHead), remove(since(of(links, func(r *store.Record) bool { return !inOther(r) }))...)),
		"restore an old head without the other": both(write(oldHead), remove(since(links)...)),
		"remove what leads from a patient":      remove(good["audit-of"][3]),
		"shorten what leads from a patient":     write(under(good["audit-of"][0], good["audit-of"][3].Key)),
		"remove what leads from a person":       remove(good["audit-by"][1]),
		"remove what leads by time":             remove(good["audit-linked"][1]),
	}
	for at := 0; at < len(records[3].Value); at += 7 {
		changed := under(records[3], records[3].Key)
		changed.Value = bytes.Clone(changed.Value)
		changed.Value[at] ^= 1
		ways[fmt.Sprintf("change an entry at %d", at)] = write(changed)
	}
	for field, to := range map[string]string{`"p":"Practitioner/b"`: `"p":"Practitioner/z"`, `"x":"read"`: `"x":"rear"`, `"y":"Observation"`: `"y":"Condition"`,
		`"i":["Observation/0"]`: `"i":["Observation/7"]`, `"w":["Patient/2"]`: `"w":["Patient/9"]`, `"pcp"`: `"team"`, `"a":"192.0.2.1"`: `"a":"192.0.2.9"`, `"q":"r"`: `"q":"s"`, `"t":"2026-03-10`: `"t":"2026-03-11`} {
		for _, r := range records {
			if bytes.Contains(r.Value, []byte(field)) {
				changed := under(r, r.Key)
				changed.Value = bytes.Replace(r.Value, []byte(field), []byte(to), 1)
				ways["change "+field] = write(changed)
				break
			}
		}
	}
	for i, r := range slices.Concat(links[:2], heads) {
		changed := under(r, r.Key)
		changed.Value = bytes.Clone(r.Value)
		changed.Value[len(r.Value)/2] ^= 1
		ways[fmt.Sprintf("change link or head %d", i)] = write(changed)
	}
	return ways
}

// TestKeptHeads: a log that was brought back to what it was, whole, is missed by a
// head that was kept elsewhere, and by the process that wrote it.
func TestKeptHeads(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		l := open(t, db, c)
		fill(t, l, db, 2)
		early := dump(t, db)
		first := sound(t, l, 10)
		fill(t, l, db, 2)
		second := sound(t, l, 20)
		reader := open(t, db, c)
		defer reader.Close()
		if _, damages := verify(t, reader, audit.Check{Heads: slices.Concat(first.Heads, second.Heads)}); len(damages) > 0 {
			t.Errorf("kept heads: %v", damages)
		}
		restore(t, db, early)
		if _, damages := verify(t, reader, audit.Check{Heads: first.Heads}); len(damages) > 0 {
			t.Errorf("an old head: %v", damages)
		}
		if _, damages := verify(t, reader, audit.Check{Heads: second.Heads}); len(damages) != 1 {
			t.Errorf("a newer head: got %v, want one damage", damages)
		}
		if _, damages := verify(t, l, audit.Check{}); len(damages) != 1 {
			t.Errorf("by the process itself: got %v, want one damage", damages)
		}
		if _, err := l.Verify(t.Context(), audit.Check{Heads: []string{"nonsense"}}, nil); err == nil {
			t.Error("nonsense passed for a head")
		}
		// It goes on, and what it writes then tells of what was there.
		fill(t, l, db, 1)
		l.Close()
		if _, damages := verify(t, reader, audit.Check{}); len(damages) == 0 {
			t.Error("not noticed after it went on")
		}
	})
}

// TestLeftBehind: what a process leaves that was killed is no damage, and another
// takes it over when it has been silent for long enough.
func TestLeftBehind(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		dead := open(t, db, c)
		fill(t, dead, db, 2)
		put(t, dead, db, entry("Practitioner/a", "Patient/1", 7)) // and is never linked
		l := open(t, db, c)
		fill(t, l, db, 1)
		if r := sound(t, l, 16); r.Waiting != 1 {
			t.Errorf("got %+v, want one that waits", r)
		}
		c.pass(time.Minute)
		if err := l.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := sound(t, l, 16); r.Waiting != 1 || r.Left != 0 {
			t.Errorf("got %+v, want one that waits still", r)
		}
		c.pass(time.Second)
		if err := l.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := sound(t, l, 16); r.Waiting != 0 || r.Left != 1 {
			t.Errorf("got %+v, want nothing that waits", r)
		}
		// Who was taken for dead goes on in a new segment.
		put(t, dead, db, entry("Practitioner/a", "Patient/1", 8))
		fill(t, dead, db, 1)
		sound(t, l, 22)
		c.pass(time.Hour)
		dead.Close()
		l.Close()
		last := open(t, db, c)
		defer last.Close()
		if r := sound(t, last, 22); r.Segments != 3 || r.Waiting != 0 {
			t.Errorf("got %+v, want three segments", r)
		}
		found := 0
		for range walk(t, last, db, audit.Query{Person: "Practitioner/a"}) {
			found++
		}
		if want := 2*3 + 1 + 3 + 1 + 3; found != want {
			t.Errorf("by person there are %d entries, want %d", found, want)
		}
	})
}

func walk(t testing.TB, l *audit.Log, db store.Store, q audit.Query) (list []audit.Row) {
	t.Helper()
	cursor := ""
	for page := 0; page == 0 || cursor != ""; page++ {
		n := 0
		if err := db.View(t.Context(), func(r store.Reader) (err error) {
			cursor, err = l.Walk(r, q, cursor, func(row audit.Row) (bool, error) {
				if n == 2 {
					return false, nil
				}
				n++
				list = append(list, row)
				return true, nil
			})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestWalk finds the same rows by all ways, two a page, newest first.
func TestWalk(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		l := open(t, db, c)
		for range 3 {
			fillAt(t, l, db, c, 2)
			c.pass(time.Minute)
		}
		for name, q := range map[string]audit.Query{
			"by patient": {Patient: "Patient/1"}, "by person": {Person: "Practitioner/b"}, "by both": {Patient: "Patient/2", Person: "Practitioner/a"}, "all": {},
			"none":          {Person: "Practitioner/nobody"},
			"by time":       {Since: newClock().Now().Add(time.Second), Until: newClock().Now().Add(2 * time.Minute)},
			"patient, time": {Patient: "Patient/1", Since: newClock().Now(), Until: newClock().Now().Add(time.Second)},
			"by condition":  {Match: func(e *audit.Entry) bool { return slices.Contains(e.Returned, "Observation/1") }},
		} {
			var want []string
			if err := l.Export(t.Context(), time.Time{}, time.Time{}, func(r audit.Row) error {
				if q.Patient != "" && !slices.Contains(r.Patients, q.Patient) || q.Person != "" && r.Person != q.Person || q.Match != nil && !q.Match(r.Entry) ||
					!q.Since.IsZero() && r.When.Before(q.Since) || !q.Until.IsZero() && !r.When.Before(q.Until) {
					return nil
				}
				want = append(want, r.ID)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			slices.Reverse(want)
			var got []string
			for _, r := range walk(t, l, db, q) {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, want) || name != "none" && len(got) == 0 {
				t.Errorf("%s: got %d rows %v, want %d %v", name, len(got), got, len(want), want)
			}
		}
		var ids []string
		middle := newClock().Now().Add(time.Minute)
		if err := l.Export(t.Context(), middle, middle.Add(time.Minute), func(r audit.Row) error { ids = append(ids, r.ID); return nil }); err != nil || len(ids) != 10 {
			t.Errorf("export of the second minute: %d rows, %v", len(ids), err)
		}
		l.Close()
	})
}

// TestSince verifies only what is newer.
func TestSince(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		l := open(t, db, c)
		for range 5 {
			fill(t, l, db, 2)
			c.pass(time.Hour)
		}
		l.Close()
		l = open(t, db, c)
		fill(t, l, db, 1)
		defer l.Close()
		good := dump(t, db)
		since := audit.Check{Since: newClock().Now().Add(3 * time.Hour)}
		if r, damages := verify(t, l, since); r.Entries != 25 || len(damages) > 0 {
			t.Errorf("got %+v, %v", r, damages)
		}
		update(t, db, func(w store.Writer) error { return w.DeleteRecord("audit", good["audit"][1].Key) })
		if _, damages := verify(t, l, since); len(damages) > 0 {
			t.Errorf("what is older: %v", damages)
		}
		if _, damages := verify(t, l, audit.Check{}); len(damages) != 1 {
			t.Errorf("all: %v", damages)
		}
		update(t, db, func(w store.Writer) error {
			return w.DeleteRecord("audit", good["audit"][len(good["audit"])-1].Key)
		})
		if _, damages := verify(t, l, since); len(damages) != 1 {
			t.Errorf("what is newer: %v", damages)
		}
	})
}

// TestTogether writes from several logs on one store at a time, while it is
// verified; nobody waits for anybody, and nothing is amiss at any time.
func TestTogether(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		const logs, each = 3, 60
		var all sync.WaitGroup
		list := make([]*audit.Log, logs)
		for i := range list {
			list[i] = open(t, db, c)
			for n := range each {
				all.Go(func() {
					if err := list[i].Write(context.WithoutCancel(t.Context()), entry(fmt.Sprintf("Practitioner/%d", n%5), fmt.Sprintf("Patient/%d", n%7), n)); err != nil {
						t.Error(err)
					}
				})
			}
			for n := range 10 {
				all.Go(func() {
					put(t, list[i], db, entry("Practitioner/x", "Patient/1", n))
					if err := list[i].Link(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		for range 5 {
			if _, damages := verify(t, list[0], audit.Check{}); len(damages) > 0 {
				t.Errorf("while it is written: %v", damages)
			}
		}
		all.Wait()
		for _, l := range list {
			l.Close()
		}
		l := open(t, db, c)
		defer l.Close()
		if r := sound(t, l, logs*(each+10)); r.Waiting != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

// TestNothingWithoutEntries: opening a log writes nothing.
func TestNothingWithoutEntries(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		open(t, db, c).Close()
		for kind, list := range maps.All(dump(t, db)) {
			if len(list) > 0 {
				t.Errorf("%d records of kind %s", len(list), kind)
			}
		}
	})
}
