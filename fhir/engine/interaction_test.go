package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

const (
	ada   = `{"resourceType":"Patient","id":"ada","name":[{"family":"Lovelace"}]}`
	bob   = `{"resourceType":"Patient","id":"bob","name":[{"family":"Stone"}]}`
	pulse = `{"resourceType":"Observation","id":"pulse","status":"final","code":{"text":"pulse"},"subject":{"reference":"Patient/ada"},"valueQuantity":{"value":60.00}}`
)

func TestCreateAndRead(t *testing.T) {
	w := newWorld(t)
	p := w.prepare(`{ "resourceType": "Observation", "id": "mine", "meta": {"versionId":"9","profile":["http://p"]},
		"status": "final", "code": {"text": "x\u0041"}, "valueQuantity": {"value": 1.500} }`)
	var made *fhir.Resource
	w.update(func(tx *engine.Tx) (err error) {
		made, err = tx.Create(p, "")
		return err
	})
	if made.ID == "mine" || !fhir.ValidID(made.ID) || len(made.ID) != 36 || made.Version != 1 || !made.Updated.Equal(w.now) {
		t.Errorf("got %+v, want a new id, version 1, and the time", made)
	}
	want := fmt.Sprintf(`{"resourceType":"Observation","id":"%s","meta":{"versionId":"1","lastUpdated":"2024-02-29T12:00:00.000Z","profile":["http://p"]},"status":"final","code":{"text":"x\u0041"},"valueQuantity":{"value":1.500}}`, made.ID)
	got, err := w.read(made.Key.String(), engine.Everything)
	if err != nil || string(got.JSON) != want {
		t.Errorf("got  %s, %v\nwant %s", got.JSON, err, want)
	}
	w.update(func(tx *engine.Tx) error {
		r, err := tx.Create(p, "chosen")
		if err != nil || r.ID != "chosen" {
			t.Errorf("got %v, %v, want the id chosen", r, err)
		}
		_, err = tx.Create(p, "chosen")
		wantKind(t, err, fhir.Conflict)
		_, err = tx.Create(p, "no id")
		wantKind(t, err, fhir.Invalid)
		return nil
	})
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	p := w.prepare(ada)
	one, two := int64(1), int64(2)
	w.update(func(tx *engine.Tx) error {
		_, _, err := tx.Update(p, &one)
		wantKind(t, err, fhir.Precondition) // nothing there to have version 1
		r, created, err := tx.Update(p, nil)
		if err != nil || !created || r.Version != 1 {
			t.Errorf("got %+v, %v, %v, want a creation", r, created, err)
		}
		return err
	})
	w.wait(time.Second)
	w.update(func(tx *engine.Tx) error {
		_, _, err := tx.Update(p, &two)
		wantKind(t, err, fhir.Precondition)
		r, created, err := tx.Update(p, &one)
		if err != nil || created || r.Version != 2 {
			t.Errorf("got %+v, %v, %v, want version 2", r, created, err)
		}
		return err
	})
	w.delete("Patient/ada")
	w.update(func(tx *engine.Tx) error {
		r, created, err := tx.Update(p, nil)
		if err != nil || !created || r.Version != 4 {
			t.Errorf("got %+v, %v, %v, want version 4, created again", r, created, err)
		}
		return err
	})
	w.update(func(tx *engine.Tx) error {
		_, _, err := tx.Update(w.prepare(`{"resourceType":"Patient"}`), nil)
		wantKind(t, err, fhir.Invalid)
		return nil
	})
}

func TestPrepareNamesTheElement(t *testing.T) {
	w := newWorld(t)
	_, err := w.Prepare([]byte(`{"resourceType":"Patient","birthDate":"x"}`))
	var e *fhir.Error
	if !errors.As(err, &e) || e.Kind != fhir.Invalid || e.Issues[0].Expression != "Patient.birthDate" {
		t.Errorf("got %v, want an invalid Patient.birthDate", err)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.put(ada)
	one, two := int64(1), int64(2)
	key := keyOf(t, "Patient/ada")
	w.update(func(tx *engine.Tx) error {
		_, err := tx.Delete(key, &two)
		wantKind(t, err, fhir.Precondition)
		r, err := tx.Delete(key, &one)
		if err != nil || r.Version != 2 || !r.Deleted || r.JSON != nil {
			t.Errorf("got %+v, %v, want a deletion", r, err)
		}
		return err
	})
	w.update(func(tx *engine.Tx) error {
		for _, key := range []fhir.Key{key, {Type: "Patient", ID: "nobody"}} {
			if r, err := tx.Delete(key, nil); r != nil || err != nil {
				t.Errorf("deleting again: got %+v, %v, want nothing", r, err)
			}
		}
		return nil
	})
	_, err := w.read("Patient/ada", engine.Everything)
	wantKind(t, err, fhir.Gone)
	_, err = w.read("Patient/ada", owned("Patient/ada"))
	wantKind(t, err, fhir.Gone)
	if page, err := w.search("Patient?_total=accurate", engine.Everything); err != nil || len(page.Entries) != 0 || total(page) != "0" {
		t.Errorf("got %v, %v, want nothing", page, err)
	}
}

// What may not be known must answer exactly as what is not there.
func TestHiddenEqualsAbsent(t *testing.T) {
	w := newWorld(t)
	w.put(ada, bob, pulse, pulse)
	w.delete("Patient/bob")
	absent := outcomes(w, fhir.Key{Type: "Observation", ID: "none"}, engine.Everything)
	for name, hidden := range map[string][]string{
		"live":                 outcomes(w, keyOf(t, "Observation/pulse"), owned("Patient/bob")),
		"deleted":              outcomes(w, keyOf(t, "Patient/bob"), owned("Patient/ada")),
		"sight of nothing":     outcomes(w, keyOf(t, "Observation/pulse"), nothing),
		"sight that is silent": outcomes(w, keyOf(t, "Observation/pulse"), func(fhir.Type) store.Expr { return nil }),
		"no sight":             outcomes(w, keyOf(t, "Observation/pulse"), nil),
	} {
		if !reflect.DeepEqual(absent, hidden) {
			t.Errorf("%s: got %q, want what is absent gives: %q", name, hidden, absent)
		}
	}
}

func outcomes(w *world, key fhir.Key, sight engine.Sight) []string {
	var all []string
	w.view(func(tx *engine.Tx) error {
		_, err := tx.Read(key, sight)
		_, err1 := tx.VRead(key, 1, sight)
		_, err2 := tx.VRead(key, 99, sight)
		_, err3 := tx.History(key, engine.HistoryQuery{}, sight)
		for _, err := range []error{err, err1, err2, err3} {
			all = append(all, fmt.Sprint(err), string(fhir.Outcome(err)))
		}
		return nil
	})
	return all
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	w.put(ada, bob, pulse)
	w.wait(time.Second)
	w.put(`{"resourceType":"Observation","id":"pulse","status":"final","code":{"text":"moved"},"subject":{"reference":"Patient/bob"}}`)
	key := keyOf(t, "Observation/pulse")
	w.view(func(tx *engine.Tx) error {
		r, err := tx.VRead(key, 1, engine.Everything)
		if err != nil || r.Version != 1 || member(t, r.JSON, "code", "text") != "pulse" {
			t.Errorf("got %+v, %v, want version 1", r, err)
		}
		_, err = tx.VRead(key, 3, engine.Everything)
		wantKind(t, err, fhir.NotFound)
		// Bob may see what is his now, not what it was when it was Ada's.
		if _, err = tx.VRead(key, 2, owned("Patient/bob")); err != nil {
			t.Error(err)
		}
		_, err = tx.VRead(key, 1, owned("Patient/bob"))
		wantKind(t, err, fhir.NotFound)
		// Ada may see neither: it is not hers any more.
		_, err = tx.VRead(key, 1, owned("Patient/ada"))
		wantKind(t, err, fhir.NotFound)
		page, err := tx.History(key, engine.HistoryQuery{}, owned("Patient/bob"))
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Resource.Version != 2 || page.Next != "" {
			t.Errorf("got %+v, %v, want version 2 alone", page, err)
		}
		if page, err = tx.History(key, engine.HistoryQuery{TotalOnly: true}, owned("Patient/bob")); err != nil || total(page) != "1" {
			t.Errorf("got %+v, %v, want a total of 1", page, err)
		}
		_, err = tx.History(key, engine.HistoryQuery{TotalOnly: true}, owned("Patient/cy"))
		wantKind(t, err, fhir.NotFound)
		return nil
	})
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.put(ada)
		w.wait(time.Minute)
	}
	w.delete("Patient/ada")
	w.wait(time.Minute)
	w.put(ada)
	key := keyOf(t, "Patient/ada")
	history := func(q engine.HistoryQuery) (rows []string, page *fhir.Page) {
		t.Helper()
		w.view(func(tx *engine.Tx) (err error) {
			page, err = tx.History(key, q, engine.Everything)
			return err
		})
		for _, e := range page.Entries {
			rows = append(rows, fmt.Sprint(e.Resource.Version, e.Resource.Deleted, e.Created))
		}
		return rows, page
	}
	want := []string{"5 false true", "4 true false", "3 false false", "2 false false", "1 false true"}
	rows, page := history(engine.HistoryQuery{})
	if !reflect.DeepEqual(rows, want) || total(page) != "5" || page.Next != "" {
		t.Errorf("got %v, total %s, next %q", rows, total(page), page.Next)
	}
	var all []string
	q, err := engine.ParseHistory(queryOf(t, "_count=2"), false, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for pages := 1; ; pages++ {
		rows, page := history(q)
		all = append(all, rows...)
		if page.Next == "" {
			if pages != 3 {
				t.Errorf("got %d pages, want 3", pages)
			}
			break
		}
		if q, err = engine.ParseHistory(queryOf(t, page.Next), false, time.UTC); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("page by page: got %v, want %v", all, want)
	}
	since := time.Date(2024, 2, 29, 12, 2, 0, 0, time.UTC)
	for query, want := range map[string]string{"_count=0": "5", "_count=0&_since=2024-02-29T12:02:00Z": "3", "_count=0&_since=2025": "0"} { // how many there are
		q, err := engine.ParseHistory(queryOf(t, query), false, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if rows, page := history(q); len(rows) != 0 || total(page) != want || page.Next != "" || page.Applied != q.Applied.Encode() {
			t.Errorf("%s: got %v, total %s, next %q, applied %q", query, rows, total(page), page.Next, page.Applied)
		}
	}
	if rows, _ := history(engine.HistoryQuery{Since: since}); !reflect.DeepEqual(rows, want[:3]) {
		t.Errorf("since: got %v, want %v", rows, want[:3])
	}
	for _, bad := range []string{"_count=-1", "_count=x", "_since=yesterday", "_at=soon", "_at=ne2020", "_sort=x", "_count=1&_count=2"} {
		_, err := engine.ParseHistory(queryOf(t, bad), false, time.UTC)
		wantKind(t, err, fhir.Invalid)
	}
	w.view(func(tx *engine.Tx) error {
		_, err := tx.History(key, engine.HistoryQuery{Cursor: "x"}, engine.Everything)
		wantKind(t, err, fhir.Invalid)
		return nil
	})
}

func TestOnWriteSeesEveryVersion(t *testing.T) {
	var log []string
	refuse := false
	w := newWorld(t, func(c *engine.Config) {
		c.OnWrite = func(tx *engine.Tx, before, after *store.Version) error {
			if refuse {
				return fhir.Errorf(fhir.Unprocessable, "no")
			}
			was := int64(0)
			if before != nil {
				was = before.Version
			}
			log = append(log, fmt.Sprint(after.Key, was, after.Version, after.Deleted, len(after.Terms) > 0))
			return nil
		}
	})
	w.put(ada, ada)
	w.delete("Patient/ada")
	want := []string{"Patient/ada 0 1 false true", "Patient/ada 1 2 false true", "Patient/ada 2 3 true true"}
	if !reflect.DeepEqual(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
	refuse = true
	err := w.Update(t.Context(), func(tx *engine.Tx) error {
		_, err := tx.Create(w.prepare(bob), "bob")
		return err
	})
	wantKind(t, err, fhir.Unprocessable)
	_, err = w.read("Patient/bob", engine.Everything)
	wantKind(t, err, fhir.NotFound)
}

func TestIntegrity(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Integrity = true })
	try := func(body string) error {
		p := w.prepare(body)
		return w.Update(t.Context(), func(tx *engine.Tx) error {
			_, _, err := tx.Update(p, nil)
			return err
		})
	}
	wantKind(t, try(pulse), fhir.Unprocessable)
	w.put(ada, pulse)
	if err := try(`{"resourceType":"Observation","id":"far","status":"final","code":{"text":"x"},"subject":{"reference":"https://other.example.org/Patient/1"}}`); err != nil {
		t.Errorf("a reference to another server: %v", err)
	}
	if err := try(`{"resourceType":"Patient","id":"self","link":[{"other":{"reference":"` + base + `/Patient/self"},"type":"seealso"}]}`); err != nil {
		t.Errorf("a reference to itself: %v", err)
	}
	err := w.Update(t.Context(), func(tx *engine.Tx) error {
		_, err := tx.Delete(keyOf(t, "Patient/ada"), nil)
		return err
	})
	wantKind(t, err, fhir.Conflict)
	w.delete("Observation/pulse")
	w.delete("Patient/ada")
}

func TestBytesAreTheStores(t *testing.T) {
	w := newWorld(t)
	w.put(ada)
	first, _ := w.read("Patient/ada", engine.Everything)
	second, _ := w.read("Patient/ada", engine.Everything)
	if !bytes.Equal(first.JSON, second.JSON) {
		t.Errorf("two reads differ: %s, %s", first.JSON, second.JSON)
	}
}
