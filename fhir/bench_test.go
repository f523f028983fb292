package fhir_test

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"

	"mypatients/fhir"
	"mypatients/fhir/profile"
)

// BenchmarkParse compares google/fhir's parser alone, Parse, and Parse with the
// checks of a write, on lines of the 112-patient set: every 400th of each file.
//
//	go test ./fhir -run - -bench Parse -count 6
func BenchmarkParse(b *testing.B) {
	lines, bytes := everyNth(b, 400)
	google, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name  string
		parse func([]byte) error
	}{
		{"google", func(body []byte) error { _, err := google.Unmarshal(body); return err }},
		{"structure", func(body []byte) error { _, err := fhir.Parse(body); return err }},
		{"write", func(body []byte) error { _, err := fhir.Parse(body, profile.Check); return err }},
	} {
		b.Run(way.name, func(b *testing.B) {
			if err := way.parse(lines[0]); err != nil { // loads definitions
				b.Fatal(err)
			}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				for _, line := range lines {
					if err := way.parse(line); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// everyNth gives every nth line of each file of the set, and their size together.
func everyNth(b *testing.B, nth int) (lines [][]byte, size int) {
	files, err := filepath.Glob("../gateway/testdata/synthea/*.ndjson.gz")
	if err != nil || len(files) == 0 {
		b.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			b.Fatal(err)
		}
		in := bufio.NewScanner(z)
		in.Buffer(nil, 10<<20)
		for n := 0; in.Scan(); n++ {
			if n%nth == 0 {
				lines = append(lines, append([]byte(nil), in.Bytes()...))
				size += len(in.Bytes())
			}
		}
		_ = f.Close()
	}
	return lines, size
}
