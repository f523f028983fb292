package badgerstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/store"
)

func TestOpenInUse(t *testing.T) {
	dir := t.TempDir()
	openAt(t, dir)
	_, err := badgerstore.Open(badgerstore.Config{Dir: dir, Now: time.Now})
	if !errors.Is(err, store.ErrInUse) {
		t.Fatalf("got %v, want %v", err, store.ErrInUse)
	}
	if strings.Contains(err.Error(), "Badger") || strings.Contains(err.Error(), "resource temporarily") {
		t.Errorf("the sentence tells of the engine: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]badgerstore.Config{
		"no folder": {Now: time.Now},
		"no clock":  {Dir: t.TempDir()},
		"a file":    {Dir: file, Now: time.Now},
	} {
		if s, err := badgerstore.Open(c); err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

// A panic in a View is the caller's; the store must not be harmed by it.
func TestViewPanics(t *testing.T) {
	s := openAt(t, t.TempDir())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not arrive")
			}
		}()
		_ = s.View(t.Context(), func(store.Reader) error { panic("stop") })
	}()
	if err := s.Close(); err != nil { // waits for running views
		t.Fatal(err)
	}
}

// Overwritten values are freed on the disk, but not those that a view which
// began before can still see.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	const openings, rounds = 8, 6 // each closing makes a table
	for n := range openings {
		s := openTidy(t, dir)
		for round := range rounds {
			writeRound(t, s, n*rounds+round)
		}
		if n < openings-1 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		last := openings * rounds
		err := s.View(context.Background(), func(old store.Reader) error {
			writeRound(t, s, last)
			fillTables(t, s)
			if err := s.Tidy(); err != nil {
				return err
			}
			return checkRound(old, last-1)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Tidy(); err != nil {
			t.Fatal(err)
		}
		if err := s.View(t.Context(), func(r store.Reader) error { return checkRound(r, last) }); err != nil {
			t.Error(err)
		}
	}
	const written = openings * rounds * tidyKeys * 40_000
	if left := sizeOf(t, dir); left > written/2 {
		t.Errorf("of %d KB written, all but %d KB overwritten, %d KB are left", written>>10, tidyKeys*40, left>>10)
	}
}

const tidyKeys = 20

func openTidy(t *testing.T, dir string) *badgerstore.Store {
	t.Helper()
	s, err := badgerstore.OpenSmall(badgerstore.Config{Dir: dir, Now: time.Now}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func roundValue(round, key int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%03d ", round), 10_000+key)
}

// fillTables writes small records until what was written before is in tables.
func fillTables(t *testing.T, s store.Store) {
	t.Helper()
	for n := range 6 {
		err := s.Update(context.Background(), func(w store.Writer) error {
			for i := range 5000 {
				if err := w.PutRecord(&store.Record{Kind: "fill", Key: fmt.Sprintf("%d %050d", n, i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// writeRound writes the same keys with other values in each round.
func writeRound(t *testing.T, s store.Store, round int) {
	t.Helper()
	err := s.Update(context.Background(), func(w store.Writer) error {
		for i := range tidyKeys {
			if err := w.PutRecord(&store.Record{Kind: "k", Key: fmt.Sprint(i), Value: roundValue(round, i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkRound(r store.Reader, round int) error {
	for i := range tidyKeys {
		rec, err := r.Record("k", fmt.Sprint(i))
		if err != nil {
			return err
		}
		if !bytes.Equal(rec.Value, roundValue(round, i)) {
			return fmt.Errorf("key %d: got %.4s…, want round %d", i, rec.Value, round)
		}
	}
	return nil
}

// sizeOf is what the files of a folder take on the disk.
func sizeOf(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".vlog") {
			info, err := e.Info()
			if err != nil {
				return err
			}
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
