package fhir_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"

	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/search"
)

// BenchmarkImport imports a file into an empty database, and has google/fhir alone
// parse the same file on as many cores: one half before the import and one half
// after it, so that work that the store does behind the import counts for none but
// the import. The metric ratio is how many times longer the import takes, cpu-ratio
// how many times more of the processors it uses. With LONG set the file has a
// gigabyte.
func BenchmarkImport(b *testing.B) {
	if os.Getenv("LONG") != "" {
		b.Run("size=1GB", func(b *testing.B) { benchmarkImport(b, 1<<30) })
		return
	}
	b.Run("size=96MB", func(b *testing.B) { benchmarkImport(b, 96<<20) })
}

func benchmarkImport(b *testing.B, size int64) {
	path, size, lines := copies(b, size)
	b.SetBytes(size)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(importMemory))
	var alone, whole usage
	for range b.N {
		b.StopTimer()
		alone.of(func() { parseAlone(b, path, 0, size/2) })
		db, err := badgerstore.Open(badgerstore.Config{Dir: b.TempDir(), Now: time.Now, Bulk: true})
		if err != nil {
			b.Fatal(err)
		}
		registry, err := search.R4()
		if err != nil {
			b.Fatal(err)
		}
		e, err := engine.New(engine.Config{Store: db, Registry: registry, Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		loader := e.NewLoader(engine.LoadOptions{Slice: 512})
		b.StartTimer()
		whole.of(func() {
			_, err = loader.Load(b.Context(), path)
			err = errors.Join(err, db.Close())
		})
		b.StopTimer()
		if report := loader.Report(); err != nil || report.Created != lines {
			b.Fatalf("got %+v, %v, want %d created", report, err, lines)
		}
		alone.of(func() { parseAlone(b, path, size/2, size) })
	}
	b.ReportMetric(whole.wall.Seconds()/alone.wall.Seconds(), "ratio")
	b.ReportMetric(whole.cpu.Seconds()/alone.cpu.Seconds(), "cpu-ratio")
	b.ReportMetric(float64(b.N)*float64(size)/1e6/alone.wall.Seconds(), "google-MB/s")
	b.ReportMetric(float64(b.N*lines)/whole.wall.Seconds(), "resources/s")
}

// importMemory is the limit of the garbage collector that the gateway imports under.
const importMemory = 1 << 30

// copies writes an NDJSON file of about a size, and gives its exact size and its
// lines.
func copies(b *testing.B, about int64) (path string, size int64, lines int) {
	b.Helper()
	sources, err := filepath.Glob("../gateway/testdata/synthea/*.ndjson.gz")
	if err != nil || len(sources) == 0 {
		b.Fatal("no sample data", err)
	}
	path = filepath.Join(b.TempDir(), "sample.ndjson")
	out, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if lines, err = sample.Copies(out, about, sources...); err != nil {
		b.Fatal(err)
	}
	if size, err = out.Seek(0, io.SeekCurrent); err != nil || out.Close() != nil {
		b.Fatal(err)
	}
	return path, size, lines
}

// A usage sums up time that passed and time of all processors.
type usage struct{ wall, cpu time.Duration }

func (u *usage) of(fn func()) {
	runtime.GC()
	began, before := time.Now(), processorTime()
	fn()
	u.wall += time.Since(began)
	u.cpu += processorTime() - before
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for this process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// parseAlone has google/fhir unmarshal and validate, on all cores, the lines of a
// file that begin behind the first offset and not behind the second.
func parseAlone(b *testing.B, path string, from, to int64) {
	google, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		b.Fatal(err)
	}
	lines := make(chan [][]byte, 16)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for batch := range lines {
				for _, line := range batch {
					if _, err := google.Unmarshal(line); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	in := bufio.NewReaderSize(file, 256<<10)
	if from > 0 {
		skipped, err := in.ReadBytes('\n')
		if err != nil {
			b.Fatal(err)
		}
		from += int64(len(skipped))
	}
	for err = nil; err == nil && from <= to; {
		var batch [][]byte
		for len(batch) < 64 && err == nil && from <= to {
			var line []byte
			if line, err = in.ReadBytes('\n'); len(line) > 0 {
				batch = append(batch, line)
				from += int64(len(line))
			}
		}
		lines <- batch
	}
	close(lines)
	workers.Wait()
}
