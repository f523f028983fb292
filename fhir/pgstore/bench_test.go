package pgstore_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
	"mypatients/fhir/storetest"
)

// BenchmarkStores measures both engines, which wait for the disk, in one run: with
// 1,000 patients, and with 10,000 when LONG is set.
func BenchmarkStores(b *testing.B) {
	sizes := []int{1000}
	if os.Getenv("LONG") != "" {
		sizes = append(sizes, 10_000)
	}
	for _, patients := range sizes {
		b.Run(fmt.Sprint("badger/", patients), func(b *testing.B) {
			storetest.Bench(b, patients, func(t testing.TB) store.Store {
				s, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: time.Now})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				return s
			})
		})
		b.Run(fmt.Sprint("postgres/", patients), func(b *testing.B) {
			storetest.Bench(b, patients, func(t testing.TB) store.Store {
				return openAt(t, pgtest.Start(t, "shared_buffers=2GB", "max_wal_size=4GB").DSN())
			})
		})
	}
}
