package consent_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"mypatients/consent"
)

// BenchmarkComparison compares policies by which everything changes for two of three
// people of each patient. It reports the pairs that are compared in a second, and how
// far the heap grows meanwhile, which is not to depend on the number of patients:
// five hundred and two thousand, and with LONG set eight thousand.
func BenchmarkComparison(b *testing.B) {
	sizes := []int{500, 2_000}
	if os.Getenv("LONG") != "" {
		sizes = append(sizes, 8_000)
	}
	for _, patients := range sizes {
		b.Run(fmt.Sprintf("patients=%d", patients), func(b *testing.B) {
			w := newWorld(b)
			w.panels(patients)
			to := consent.DefaultPolicy()
			to.Bases = map[consent.BasisCode]consent.Ceiling{consent.BasisPCP: {Off: true}}
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			pairs, before, most := 0, heap(), uint64(0)
			for b.Loop() {
				seen := 0
				report, err := w.guard.ComparePolicy(b.Context(), to, "", func(consent.AccessChange) error {
					if seen++; seen%1000 == 0 {
						most = max(most, heap())
					}
					return nil
				})
				if err != nil || report.Patients < patients {
					b.Fatal(report, err)
				}
				pairs += report.Pairs
			}
			b.ReportMetric(float64(pairs)/b.Elapsed().Seconds(), "pairs/s")
			b.ReportMetric(float64(int64(max(most, before)-before))/1e6, "MB-grown")
		})
	}
}
