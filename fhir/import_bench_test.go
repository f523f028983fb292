package fhir_test

import (
	"bufio"
	"bytes"
	"path/filepath"
	"runtime"
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
// parse the same file on as many cores. The two take turns, stretch by stretch, so
// that both meet the same machine. The metric ratio is how many times longer the
// import takes, cpu-ratio how many times more of the processors it uses.
func BenchmarkImport(b *testing.B) {
	const size, stretch = 96 << 20, 24 << 20
	text, lines := copies(b, size)
	google, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		b.Fatal(err)
	}
	registry, err := search.R4()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("size=96MB", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		var alone, whole usage
		for range b.N {
			b.StopTimer()
			db, err := badgerstore.Open(badgerstore.Config{Dir: b.TempDir(), Now: time.Now, Bulk: true})
			if err != nil {
				b.Fatal(err)
			}
			e, err := engine.New(engine.Config{Store: db, Registry: registry, Now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			loader := e.NewLoader(engine.LoadOptions{Slice: 512})
			for rest := text; len(rest) > 0; {
				part := rest[:min(stretch, len(rest))]
				part = rest[:bytes.LastIndexByte(part, '\n')+1]
				rest = rest[len(part):]
				alone.of(func() { parseAlone(b, google, part) })
				b.StartTimer()
				whole.of(func() { err = loader.LoadNDJSON(b.Context(), "sample", bytes.NewReader(part)) })
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
			}
			err = db.Close()
			if report := loader.Report(); err != nil || report.Created != lines {
				b.Fatalf("got %+v, %v, want %d created", report, err, lines)
			}
		}
		b.ReportMetric(whole.wall.Seconds()/alone.wall.Seconds(), "ratio")
		b.ReportMetric(whole.cpu.Seconds()/alone.cpu.Seconds(), "cpu-ratio")
		b.ReportMetric(float64(b.N*len(text))/1e6/alone.wall.Seconds(), "google-MB/s")
		b.ReportMetric(float64(b.N*lines)/whole.wall.Seconds(), "resources/s")
	})
}

// copies gives NDJSON of about a size, and its lines.
func copies(b *testing.B, size int64) (text []byte, lines int) {
	b.Helper()
	sources, err := filepath.Glob("../gateway/testdata/synthea/*.ndjson.gz")
	if err != nil || len(sources) == 0 {
		b.Fatal("no sample data", err)
	}
	var out bytes.Buffer
	lines, err = sample.Copies(&out, size, sources...)
	if err != nil {
		b.Fatal(err)
	}
	return out.Bytes(), lines
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

// parseAlone has google/fhir unmarshal and validate every line, on all cores.
func parseAlone(b *testing.B, google *jsonformat.Unmarshaller, text []byte) {
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
	in := bufio.NewReaderSize(bytes.NewReader(text), 256<<10)
	for err := error(nil); err == nil; {
		var batch [][]byte
		for len(batch) < 64 && err == nil {
			var line []byte
			if line, err = in.ReadBytes('\n'); len(line) > 0 {
				batch = append(batch, line)
			}
		}
		lines <- batch
	}
	close(lines)
	workers.Wait()
}
