package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// What is written comes back as it was, whatever it holds.
func TestEntriesComeBack(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		text := func() string {
			if r.IntN(3) == 0 {
				return ""
			}
			return []string{"a", "Ana Núñez", `"quoted" \ `, "<b>&\u2028\x00\n", "日本", "12:3", "0", "~", "\x7f"}[r.IntN(9)] + fmt.Sprint(r.IntN(50))
		}
		list := func(make func() string) (l []string) {
			for range r.IntN(6) {
				l = append(l, make())
			}
			return l
		}
		keys := func() string {
			return []string{"Observation/pt-1-", "Observation/ä", "Condition/", "4:", "7", "", `Basic/"`}[r.IntN(7)] + text()
		}
		var want []string
		l, err := audit.Open(audit.Config{Store: db, Now: c.Now, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 300 {
			e := &audit.Entry{When: c.Now().Add(time.Duration(n)), Login: text(), Name: text(), Person: text(), Client: text(), ClientID: text(), Org: text(), Address: text(), Request: fmt.Sprint(n),
				Action: "search", Query: text(), Returned: list(keys), About: list(keys), Asked: list(text), Patients: list(func() string { return fmt.Sprintf("Patient/%d", r.IntN(4)) }), Detail: text(), Purpose: text(), Outcome: text()}
			if r.IntN(2) == 0 {
				e.Bases = map[string][]string{"Patient/1": append(list(text), "x"), "Patient/2": {"pcp"}}
			}
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, string(b))
			whole := len(e.Returned) // from here on they are as if a page had shown them
			for whole > 0 && strings.Contains(e.Returned[whole-1], "/") && r.IntN(3) > 0 {
				whole--
			}
			for _, k := range e.Returned[whole:] {
				typ, id, _ := strings.Cut(k, "/")
				e.Page.Add(fhir.Type(typ), id)
			}
			e.Returned = e.Returned[:whole]
			if err := l.Write(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		if l, err = audit.Open(audit.Config{Store: db, Now: c.Now, Key: key}); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n := 0
		err = l.Export(context.Background(), time.Time{}, time.Time{}, func(row audit.Row) error {
			got, err := json.Marshal(row.Entry)
			if err == nil && n < len(want) && string(got) != want[n] {
				t.Errorf("got\n%s, want\n%s", got, want[n])
			}
			n++
			return err
		})
		if err != nil || n != len(want) {
			t.Errorf("got %d entries, %v", n, err)
		}
	})
}

// What leads from a patient may name records whole, as it did once.
func TestWholePointers(t *testing.T) {
	onStores(t, func(t *testing.T, db store.Store, c *clock) {
		l := open(t, db, c)
		defer l.Close()
		fill(t, l, db, 3)
		err := db.Update(t.Context(), func(w store.Writer) error {
			pointers, err := w.Records("audit-of", "", "", 100)
			if err != nil {
				return err
			}
			records, err := w.Records("audit", "", "", 100)
			if err != nil {
				return err
			}
			for _, p := range pointers {
				i := slices.IndexFunc(records, func(r *store.Record) bool { return strings.HasSuffix(p.Key, r.Key[16:34]) })
				short := records[i].Key[34:] + " "
				if !strings.HasPrefix(string(p.Value), short) {
					t.Errorf("%s holds %q", p.Key, p.Value)
				}
				p = &store.Record{Kind: p.Kind, Key: p.Key, Value: []byte(strings.Replace(string(p.Value), short, records[i].Key+" ", 1))}
				if err := w.PutRecord(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, damage := verify(t, l, audit.Check{}); damage != nil {
			t.Errorf("got %v", damage)
		}
		n := 0
		err = db.View(t.Context(), func(r store.Reader) error {
			_, err := l.Walk(r, audit.Query{Patient: "Patient/1"}, "", func(audit.Row) (bool, error) { n++; return true, nil })
			return err
		})
		if err != nil || n != 6 {
			t.Errorf("found %d entries, want 6: %v", n, err)
		}
	})
}
