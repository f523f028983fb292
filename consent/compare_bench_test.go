//go:build unix

package consent_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// compare measures two calls in turn, and reports the medians and their ratio,
// which is to be at most so much. Taking turns call by call, both meet the same
// machine; before is called before each and not measured.
func compare(b *testing.B, most float64, one, other func() error, before func()) {
	b.Helper()
	var times [2][]time.Duration
	for b.Loop() {
		for i, call := range []func() error{one, other} {
			before()
			start := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(start))
		}
	}
	ratio := median(times[1]) / median(times[0])
	b.ReportMetric(median(times[0]), "ns/one")
	b.ReportMetric(median(times[1]), "ns/other")
	b.ReportMetric(ratio, "ratio")
	if ratio > most {
		b.Logf("ratio %.2f, want at most %.2f", ratio, most)
	}
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2])
}

// compareTogether measures many calls at a time of one and of another, in turn.
// What others do on the machine changes the ratio of the times, and hardly that of
// the processor time, which holds the work of all goroutines.
func compareTogether(b *testing.B, one, other func() error) {
	b.Helper()
	const calls = 1024
	var times, work [2][]time.Duration
	for b.Loop() {
		for i, call := range []func() error{one, other} {
			start, used := time.Now(), processorTime(b)
			together256(b, calls, call)
			times[i] = append(times[i], time.Since(start))
			work[i] = append(work[i], processorTime(b)-used)
		}
	}
	b.ReportMetric(median(times[1])/median(times[0]), "ratio")
	b.ReportMetric(median(work[1])/median(work[0]), "cpu-ratio")
	b.ReportMetric(median(work[0])/calls, "cpu-ns/one")
	b.ReportMetric(median(work[1])/calls, "cpu-ns/other")
}

// together256 carries out calls, of which 256 are under way at a time.
func together256(b *testing.B, calls int64, call func() error) {
	var left atomic.Int64
	left.Store(calls)
	var all sync.WaitGroup
	for range 256 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// processorTime is how long this process has worked, on all processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
