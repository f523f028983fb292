package engine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/store"
)

const (
	few  = 1_000
	many = 100_000
)

// grown opens an engine on a store with so many patients. The first thousand are
// imported, the others copied. A large store in a folder is made once and kept
// in the user's cache folder for as long as the patients and their terms stay the
// same; tests work on a copy.
func grown(t testing.TB, name string, patients int) *engine.Engine {
	t.Helper()
	place := t.TempDir()
	if patients == few || name != "badger" {
		fill(t, name, place, patients)
	} else if err := os.CopyFS(place, os.DirFS(kept(t, name, patients))); err != nil {
		t.Fatal(err)
	}
	s := engines[name](t, place)
	t.Cleanup(func() { _ = s.Close() })
	return engineOn(t, s)
}

func engineOn(t testing.TB, s store.Store) *engine.Engine {
	t.Helper()
	r, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Store: s, Registry: r, Now: time.Now, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// fill makes a store in a place.
func fill(t testing.TB, name, place string, patients int) {
	t.Helper()
	began := time.Now()
	s := engines[name](t, place)
	l := engineOn(t, s).NewLoader(engine.LoadOptions{})
	if err := l.LoadNDJSON(t.Context(), "patients", bytes.NewReader(sample.Patients(0, few))); err != nil {
		t.Fatal(err)
	}
	if r := l.Report(); r.Created != few*sample.Resources {
		t.Fatalf("got %+v", r)
	}
	if err := sample.Grow(t.Context(), s, few, patients); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("made a store of %d patients in %v", patients, time.Since(began).Round(time.Second))
}

// kept gives the folder of a store that is kept between runs, made if need be.
func kept(t testing.TB, name string, patients int) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	folder := filepath.Join(cache, "mypatients-benchmarks")
	place := filepath.Join(folder, fmt.Sprintf("%s-%d-%s", name, patients, fingerprint(t)))
	if _, err := os.Stat(place); err == nil {
		return place
	}
	_ = os.RemoveAll(folder) // of other versions
	making := place + ".part"
	if err := os.MkdirAll(making, 0o700); err != nil {
		t.Fatal(err)
	}
	fill(t, name, making, patients)
	if err := os.Rename(making, place); err != nil {
		t.Fatal(err)
	}
	return place
}

// fingerprint changes when a patient's bodies or terms do, or how they are laid
// out in a store.
func fingerprint(t testing.TB) string {
	t.Helper()
	place := t.TempDir()
	s := engines["badger"](t, place)
	defer func() { _ = s.Close() }()
	l := engineOn(t, s).NewLoader(engine.LoadOptions{})
	if err := l.LoadNDJSON(t.Context(), "patients", bytes.NewReader(sample.Patients(0, 1))); err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	err := s.View(context.Background(), func(r store.Reader) error {
		entries, err := r.Log(store.LogQuery{Limit: sample.Resources})
		for _, e := range entries {
			v, err := r.Resource(e.Key)
			if err != nil {
				return err
			}
			_, _ = sum.Write(v.Terms)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := os.ReadFile("../badgerstore/keys.go"); err == nil {
		_, _ = sum.Write(code)
	}
	_, _ = sum.Write(sample.Patients(0, 10))
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
