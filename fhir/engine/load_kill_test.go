package engine_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/sample"
	"mypatients/fhir/store"
)

// engines open a store in a place that outlives it: a folder of the test, which a
// database is named after.
var engines = map[string]func(t testing.TB, place string) store.Store{
	"badger": func(t testing.TB, place string) store.Store {
		s, err := badgerstore.Open(badgerstore.Config{Dir: filepath.Join(place, "db"), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"postgres": func(t testing.TB, place string) store.Store {
		s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: pgtest.At(t, place)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
}

// Variables of the child process: which store, and the folder with the file to
// import.
const (
	killEngine = "LOADTEST_ENGINE"
	killPlace  = "LOADTEST_PLACE"
)

// TestLoadSurvivesKilling kills a process that imports, again and again, and lets
// it go on. What it had reported as done must be there, and in the end everything,
// once. With LONG set, more and larger.
func TestLoadSurvivesKilling(t *testing.T) {
	if name := os.Getenv(killEngine); name != "" {
		loadUntilKilled(t, engines[name], os.Getenv(killPlace))
		return
	}
	size, kills := int64(1<<20), 2
	if os.Getenv("LONG") != "" {
		size, kills = 24<<20, 25
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			place := t.TempDir()
			if err := open(t, place).Close(); err != nil { // also starts a server, if it needs one
				t.Fatal(err)
			}
			file, err := os.Create(filepath.Join(place, "in.ndjson"))
			if err != nil {
				t.Fatal(err)
			}
			lines, err := sample.Copies(file, size, synthea+"Patient.ndjson.gz", synthea+"Immunization.ndjson.gz", synthea+"Condition.ndjson.gz")
			if err != nil || file.Close() != nil {
				t.Fatal(err)
			}
			keys := keysOf(t, file.Name())
			survived := 0
			for round := 0; round < kills && survived < lines; round++ {
				reported := killWhileLoading(t, name, place, rand.IntN(lines/(kills+1))+1, lines)
				s := open(t, place)
				before := survived
				survived = countStored(t, s, keys)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				t.Logf("killed after %d of %d were reported: %d are there", reported, lines, survived)
				if survived < reported || survived < before {
					t.Fatalf("%d were reported as done and %d were there before; %d are there", reported, before, survived)
				}
			}
			finishLoading(t, open, place, keys, survived)
		})
	}
}

// keysOf lists what an NDJSON file holds.
func keysOf(t *testing.T, path string) (keys []fhir.Key) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		keys = append(keys, fhir.Header(bytes.TrimSpace(line)))
	}
	return keys
}

// loaderOn makes a loader in slices that are small, so that there are many.
func loaderOn(t testing.TB, s store.Store, progress func(*engine.Loader)) *engine.Loader {
	r, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Store: s, Registry: r, Now: time.Now, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	var l *engine.Loader
	l = e.NewLoader(engine.LoadOptions{Slice: 40, Progress: func(int64, int64) { progress(l) }})
	return l
}

// loadUntilKilled is the child: it says how much is done, and waits when all is.
func loadUntilKilled(t *testing.T, open func(testing.TB, string) store.Store, place string) {
	say := func(l *engine.Loader) {
		r := l.Report()
		fmt.Printf("done %d\n", r.Created+r.Updated+r.Unchanged)
	}
	l := loaderOn(t, open(t, place), say)
	if _, err := l.Load(t.Context(), filepath.Join(place, "in.ndjson")); err != nil {
		t.Fatal(err)
	}
	say(l)
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until killed
}

// killWhileLoading runs a child and kills it at some moment after it reported so
// many new resources; it gives the last number that was reported.
func killWhileLoading(t *testing.T, name, place string, after, all int) (reported int) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoadSurvivesKilling$")
	child.Env = append(os.Environ(), killEngine+"="+name, killPlace+"="+place)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	first, killed := -1, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "done ")
		if !ok {
			t.Errorf("the child said %q", lines.Text())
			continue
		}
		if reported, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		if first < 0 {
			first = reported
		}
		if !killed && (reported >= first+after || reported == all) {
			killed = true // what it says until then is still read
			time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Wait() // it was killed
	if !killed {
		t.Fatal("the child ended by itself")
	}
	return reported
}

// countStored counts how many of the keys are stored and demands that these are
// the first ones, whole and in version 1.
func countStored(t *testing.T, s store.Store, keys []fhir.Key) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		n = 0
		for i, key := range keys {
			v, err := r.Resource(store.Key{Type: string(key.Type), ID: key.ID})
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil || v.Version != 1 || fhir.Header(v.Body) != key || len(v.Terms) == 0 {
				return fmt.Errorf("%s: %+v, %w", key, v, err)
			}
			if n != i {
				return fmt.Errorf("%s is there and %s is not", key, keys[n])
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantLog demands that the log has each of the keys once, in their order. What a
// killed process left running in the database may keep the log back for a while.
func wantLog(t *testing.T, s store.Store, keys []fhir.Key) {
	t.Helper()
	var entries []store.LogEntry
	for end := time.Now().Add(time.Minute); len(entries) < len(keys) && time.Now().Before(end); {
		changed := s.Changed()
		err := s.View(t.Context(), func(r store.Reader) (err error) {
			entries, err = r.Log(store.LogQuery{Limit: len(keys) + 1})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) < len(keys) {
			select {
			case <-changed:
			case <-time.After(time.Second):
			}
		}
	}
	if len(entries) != len(keys) {
		t.Fatalf("the log has %d entries, want %d", len(entries), len(keys))
	}
	for i, e := range entries {
		if e.Key.Type != string(keys[i].Type) || e.Key.ID != keys[i].ID || e.Version != 1 {
			t.Fatalf("entry %d of the log is %s version %d", i, e.Key, e.Version)
		}
	}
}

// finishLoading runs the import to its end and once more.
func finishLoading(t *testing.T, open func(testing.TB, string) store.Store, place string, keys []fhir.Key, survived int) {
	s := open(t, place)
	defer func() { _ = s.Close() }()
	path := filepath.Join(place, "in.ndjson")
	for _, want := range []engine.LoadReport{
		{Created: len(keys) - survived, Unchanged: survived},
		{Unchanged: len(keys)},
	} {
		l := loaderOn(t, s, func(*engine.Loader) {})
		got, err := l.Load(t.Context(), path)
		if err != nil || got.Created != want.Created || got.Unchanged != want.Unchanged || got.Updated+got.Refused > 0 {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if n := countStored(t, s, keys); n != len(keys) {
		t.Errorf("%d are stored, want %d", n, len(keys))
	}
	wantLog(t, s, keys)
}
