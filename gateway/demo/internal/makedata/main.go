// Command makedata writes the demo's histories, ../../data/histories.ndjson.gz,
// from Synthea output: the folder given must hold a pediatric-bundles folder of
// transaction Bundles and one NDJSON file (.ndjson.gz) for each type.
//
//	go run ./gateway/demo/internal/makedata -source DIR -out gateway/demo/data/histories.ndjson.gz
//
// What it changes: patients become those of the demo; ids are new; doctors and
// hospitals become the demo's; financial resources, care teams and provenance
// are left out; each history is cut at the age that its patient has in the demo;
// every date becomes a distance from the date of birth (see [dates]), which the
// demo turns into a date when it loads the data.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A subject is a patient of the demo and the Synthea patient behind it.
type subject struct {
	id     string // of the demo's Patient
	given  string
	source string // id of the Synthea Patient
	bundle string // file in pediatric-bundles; empty: from the NDJSON files
	years  int    // age in the demo: years, and
	days   int    // days after that birthday
	pcp    string // Practitioner
	office string // Organization and Location of the practice: org-…, loc-…
}

var subjects = []subject{
	{"pt-1", "Mateo", "7278ffc8-5b59-8cb5-8419-294639a9908f", "2012-01-20_male", 8, 60, "pr-adams", "longwood"},
	{"pt-2", "Sofia", "24d82e9b-4114-f230-4318-60474031ec4d", "2015-09-05_female", 5, 270, "pr-adams", "longwood"},
	{"pt-3", "Ava", "7277a553-d195-6596-0124-b482d859691e", "2006-02-15_female", 15, 60, "pr-baker", "riverside"},
	{"pt-4", "Noah", "36ab6ed1-e43f-2903-2a7e-62df3a06702c", "", 18, 40, "pr-baker", "riverside"},
	{"pt-5", "Lily", "5035bbae-27fc-b927-4a9b-7af7fdd536eb", "2017-05-16_female", 3, 200, "pr-baker", "riverside"},
}

func main() {
	source := flag.String("source", "", "folder of Synthea output")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if err := run(*source, *out); err != nil {
		fmt.Fprintln(os.Stderr, "makedata:", err)
		os.Exit(1)
	}
}

func run(source, out string) error {
	names, err := readPractitioners(source)
	if err != nil {
		return err
	}
	staff := newStaff(names)
	var lines []string
	for _, s := range subjects {
		resources, err := read(source, s)
		if err != nil {
			return err
		}
		kept, err := retell(s, resources, staff)
		if err != nil {
			return fmt.Errorf("%s: %w", s.given, err)
		}
		fmt.Fprintln(os.Stderr, s.given, len(kept), count(kept))
		for _, r := range kept {
			line, err := encode(r)
			if err != nil {
				return err
			}
			lines = append(lines, s.id+" "+line)
		}
	}
	for _, r := range staff.resources() {
		line, err := encode(r)
		if err != nil {
			return err
		}
		lines = append(lines, "- "+line)
	}
	return write(out, lines)
}

func encode(r map[string]any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func write(name string, lines []string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	z.ModTime = time.Time{} // the same input gives the same file
	if _, err := z.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

func count(resources []map[string]any) string {
	n := map[string]int{}
	for _, r := range resources {
		n[r["resourceType"].(string)]++
	}
	var parts []string
	for t, c := range n {
		parts = append(parts, fmt.Sprintf("%s %d", t, c))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
