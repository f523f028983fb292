package audit_test

import (
	"fmt"
	"testing"
	"time"

	"mypatients/consent/audit"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/store"
)

// BenchmarkLog measures writing entries, many at a time, linking them, and
// verifying a log of a hundred thousand.
func BenchmarkLog(b *testing.B) {
	b.Run("engine=badger", func(b *testing.B) {
		db, err := badgerstore.Open(badgerstore.Config{Dir: b.TempDir(), Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		benchmark(b, db)
	})
	b.Run("engine=postgres", func(b *testing.B) {
		db, err := pgstore.Open(b.Context(), pgstore.Options{DSN: pgtest.Open(b)})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		benchmark(b, db)
	})
}

func benchmark(b *testing.B, db store.Store) {
	l, err := audit.Open(audit.Config{Store: db, Now: time.Now, Key: key})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	write := func(n int) {
		e := entry(fmt.Sprintf("Practitioner/%d", n%200), fmt.Sprintf("Patient/%d", n%5000), n)
		e.When, e.Name, e.Login, e.Client = time.Now(), "Dr. Somebody", "abcdefghijklmnopqrstuvwx", "Portal"
		if err := l.Write(b.Context(), e); err != nil {
			b.Error(err)
		}
	}
	b.Run("op=write", func(b *testing.B) {
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			for n := 0; pb.Next(); n += 7 {
				write(n)
			}
		})
	})
	b.Run("op=link", func(b *testing.B) { // of a thousand entries
		for b.Loop() {
			b.StopTimer()
			many(1000, write)
			b.StartTimer()
			if err := l.Link(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("op=verify", func(b *testing.B) {
		r := count(b, l)
		many(max(0, 100_000-r.Entries), write)
		b.ResetTimer()
		entries := 0
		for b.Loop() {
			r := count(b, l)
			entries += r.Entries
		}
		b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
	})
}

// many calls do n times, 200 at a time.
func many(n int, do func(int)) {
	slots := make(chan struct{}, 200)
	for i := range n {
		slots <- struct{}{}
		go func() { do(i); <-slots }()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}

func count(b *testing.B, l *audit.Log) audit.Report {
	r, err := l.Verify(b.Context(), audit.Check{}, func(d audit.Damage) { b.Error(d) })
	if err != nil {
		b.Fatal(err)
	}
	return r
}
