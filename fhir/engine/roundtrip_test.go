package engine_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// TestExamplesComeBack stores the official examples, and reads each as it was but
// for what the server says in meta.
func TestExamplesComeBack(t *testing.T) {
	bodies := officialExamples(t)
	for name, on := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(on, t)
			stored := map[fhir.Key][]byte{}
			for file, body := range bodies {
				p, err := w.Prepare(body)
				if err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				key := fhir.Key{Type: p.Type, ID: p.ID}
				if stored[key] != nil || p.ID == "" {
					continue
				}
				stored[key] = body
				if err := w.Update(t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err }); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
			if len(stored) < 300 {
				t.Errorf("%d examples only", len(stored))
			}
			w.unchanged(stored)
		})
	}
}

// TestSampleComesBack imports the records of the sample set and reads each back.
// All 112 patients with all that is theirs only when LONG is set.
func TestSampleComesBack(t *testing.T) {
	files, err := filepath.Glob(synthea + "*.ndjson.gz")
	if err != nil || len(files) != 24 {
		t.Fatalf("got %v, %v", files, err)
	}
	most := 25 // lines of a file
	if os.Getenv("LONG") != "" {
		most = 1 << 20
	}
	for name, on := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(on, t)
			sent, paths := map[fhir.Key][]byte{}, []string{}
			for _, file := range files {
				some, path := w.someOf(file, most)
				maps.Copy(sent, some)
				paths = append(paths, path)
			}
			if report, refused := w.load(paths...); report.Created != len(sent) || len(refused) > 0 {
				t.Fatalf("got %+v, %v, want %d created", report, refused, len(sent))
			}
			w.unchanged(sent)
			if most > 100 && len(sent) != 89522 {
				t.Errorf("got %d records", len(sent))
			}
		})
	}
}

// unchanged asserts that what was stored reads as it was sent.
func (w *world) unchanged(sent map[fhir.Key][]byte) {
	w.t.Helper()
	w.view(func(tx *engine.Tx) error {
		for key, body := range sent {
			got, err := tx.Read(key, engine.Everything)
			if err != nil {
				w.t.Errorf("%s: %v", key, err)
				continue
			}
			if was, is := withoutStamp(w.t, body), withoutStamp(w.t, got.JSON); !reflect.DeepEqual(was, is) {
				w.t.Errorf("%s (-sent +read):\n%s", key, cmp.Diff(was, is))
			}
		}
		return nil
	})
}

// withoutStamp decodes a resource, numbers as they are written, without the version
// and the time of meta.
func withoutStamp(t testing.TB, body []byte) (tree map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	if meta, ok := tree["meta"].(map[string]any); ok {
		delete(meta, "versionId")
		delete(meta, "lastUpdated")
		if len(meta) == 0 {
			delete(tree, "meta")
		}
	}
	return tree
}

// someOf gives the first lines of a file by their keys, and a file of them.
func (w *world) someOf(file string, most int) (map[fhir.Key][]byte, string) {
	w.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	sent, kept := map[fhir.Key][]byte{}, bytes.Buffer{}
	for len(sent) < most && lines.Scan() {
		line := bytes.Clone(lines.Bytes())
		sent[fhir.Header(line)] = line
		kept.Write(append(line, '\n'))
	}
	if err := lines.Err(); err != nil {
		w.t.Fatal(err)
	}
	return sent, w.file(strings.TrimSuffix(filepath.Base(file), ".gz"), kept.String())
}

// officialExamples reads HL7's examples of R4 by their file names.
func officialExamples(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("../testdata/r4-examples.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for archive := tar.NewReader(z); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag != tar.TypeReg || filepath.Ext(head.Name) != ".json" {
			continue
		}
		if all[filepath.Base(head.Name)], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
