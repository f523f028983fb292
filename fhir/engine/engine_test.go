package engine_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

const base = "https://ehr.example.org/fhir"

// registry is read once: it takes some milliseconds, more with -race.
var registry = sync.OnceValues(search.R4)

// A world is an engine on a database of its own, with a clock that stands still.
type world struct {
	*engine.Engine
	t     testing.TB
	dir   string
	on    engineOf
	store store.Store

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB, with ...func(*engine.Config)) *world {
	t.Helper()
	return newWorldOn(stores()[cmp.Or(os.Getenv("STORE"), "badger")], t, with...)
}

func newWorldOn(on engineOf, t testing.TB, with ...func(*engine.Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), on: on, now: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)}
	w.open(with...)
	return w
}

func (w *world) open(with ...func(*engine.Config)) {
	w.t.Helper()
	s, err := w.on(w)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	w.t.Cleanup(func() { s.Close() })
	r, err := registry()
	if err != nil {
		w.t.Fatal(err)
	}
	config := engine.Config{Store: s, Registry: r, Now: w.clock, Base: base}
	for _, change := range with {
		change(&config)
	}
	if w.Engine, err = engine.New(config); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// prepare is Prepare for bodies that must be right.
func (w *world) prepare(body string) *engine.Prepared {
	w.t.Helper()
	p, err := w.Prepare([]byte(body))
	if err != nil {
		w.t.Fatalf("%s: %v", body, err)
	}
	return p
}

// put writes bodies under their own ids.
func (w *world) put(bodies ...string) {
	w.t.Helper()
	for _, body := range bodies {
		p := w.prepare(body)
		w.update(func(tx *engine.Tx) error {
			_, _, err := tx.Update(p, nil)
			return err
		})
	}
}

func (w *world) update(fn func(*engine.Tx) error) {
	w.t.Helper()
	if err := w.Update(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view(fn func(*engine.Tx) error) {
	w.t.Helper()
	if err := w.View(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(key string) {
	w.t.Helper()
	w.update(func(tx *engine.Tx) error {
		_, err := tx.Delete(keyOf(w.t, key), nil)
		return err
	})
}

func (w *world) read(key string, sight engine.Sight) (r *fhir.Resource, err error) {
	w.t.Helper()
	w.view(func(tx *engine.Tx) error {
		r, err = tx.Read(keyOf(w.t, key), sight)
		return nil
	})
	return r, err
}

// search runs a query such as "Patient?name=x".
func (w *world) search(query string, sight engine.Sight) (*fhir.Page, error) {
	w.t.Helper()
	name, parameters, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(parameters)
	if err != nil {
		w.t.Fatal(err)
	}
	q, err := w.Registry().Parse(fhir.Type(name), values, search.Options{Base: base, Now: w.clock()})
	if err != nil {
		return nil, err
	}
	var page *fhir.Page
	err = w.View(w.t.Context(), func(tx *engine.Tx) error {
		page, err = tx.Search(q, sight)
		return err
	})
	return page, err
}

// list gives the entries of a page: "match Patient/1".
func list(page *fhir.Page) []string {
	rows := []string{}
	for _, e := range page.Entries {
		rows = append(rows, e.Mode+" "+e.Resource.Key.String())
	}
	return rows
}

func total(page *fhir.Page) string {
	if page.Total == nil {
		return "unknown"
	}
	return fmt.Sprint(*page.Total)
}

func keyOf(t testing.TB, s string) fhir.Key {
	t.Helper()
	key, err := fhir.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func wantKind(t *testing.T, err error, want fhir.Kind) {
	t.Helper()
	if err == nil || fhir.KindOf(err) != want {
		t.Errorf("got error %v, want one of kind %v", err, want)
	}
}

// nothing hides everything; owned shows the record of one patient.
func nothing(fhir.Type) store.Expr { return store.None() }

func owned(patient string) engine.Sight {
	return func(fhir.Type) store.Expr { return store.Equal{Name: store.Owner, Value: patient} }
}

func member(t *testing.T, body []byte, path ...string) string {
	t.Helper()
	var here any
	if err := json.Unmarshal(body, &here); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		object, _ := here.(map[string]any)
		here = object[name]
	}
	return fmt.Sprint(here)
}

func TestNewWantsWhatItNeeds(t *testing.T) {
	w := newWorld(t)
	good := engine.Config{Store: w.store, Registry: w.Registry(), Now: w.clock, Base: base}
	for name, spoil := range map[string]func(*engine.Config){
		"no store":        func(c *engine.Config) { c.Store = nil },
		"no registry":     func(c *engine.Config) { c.Registry = nil },
		"no clock":        func(c *engine.Config) { c.Now = nil },
		"slash at end":    func(c *engine.Config) { c.Base += "/" },
		"no absolute URL": func(c *engine.Config) { c.Base = "fhir" },
	} {
		config := good
		spoil(&config)
		if _, err := engine.New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
