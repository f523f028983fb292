package badgerstore_test

import (
	"testing"
	"time"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/store"
	"mypatients/fhir/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, t.TempDir()) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, place string) store.Store { return openAt(t, place) })
}

// openAt opens the store in a folder and closes it at the end of the test.
func openAt(t testing.TB, dir string) store.Store {
	t.Helper()
	s, err := badgerstore.Open(badgerstore.Config{Dir: dir, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The same, with thresholds so low that all plans are made.
func TestStoreSmall(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openSmallAt(t, t.TempDir(), 20) })
}

// The same, with nearly every transaction stored in parts.
func TestDurableSmall(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, place string) store.Store { return openSmallAt(t, place, 3) })
}

func openSmallAt(t *testing.T, dir string, part int) store.Store {
	t.Helper()
	s, err := badgerstore.OpenSmall(badgerstore.Config{Dir: dir, Now: time.Now, CacheBytes: 100_000}, part)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
