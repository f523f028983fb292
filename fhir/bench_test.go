package fhir_test

import (
	"bufio"
	"bytes"
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
// checks of a write, on lines of the 112-patient set: every 400th of each file, and
// in the next round those that follow, since what was seen before costs less.
//
//	go test ./fhir -run - -bench Parse -count 6
func BenchmarkParse(b *testing.B) {
	const nth = 400
	lines, size := everyLine(b)
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
			b.SetBytes(int64(size / nth))
			b.ReportAllocs()
			for round := 0; b.Loop(); round++ {
				for i := round % nth; i < len(lines); i += nth {
					if err := way.parse(lines[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// everyLine gives the lines of the set, and their size together.
func everyLine(b *testing.B) (lines [][]byte, size int) {
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
		for in.Scan() {
			lines = append(lines, bytes.Clone(in.Bytes()))
			size += len(in.Bytes())
		}
		_ = f.Close()
	}
	return lines, size
}
