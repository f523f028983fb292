package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// taken lists the types that make up a history, in the order written.
var taken = []string{"Encounter", "Condition", "AllergyIntolerance", "MedicationRequest", "Immunization", "Procedure",
	"Observation", "DiagnosticReport", "ImagingStudy", "DocumentReference", "CarePlan"}

// read gives a patient's resources of the types taken, and the Patient.
func read(dir string, s subject) ([]map[string]any, error) {
	if s.bundle == "" {
		return readLines(dir, s)
	}
	matches, err := filepath.Glob(filepath.Join(dir, "pediatric-bundles", s.bundle+"_*.json"))
	if err != nil || len(matches) != 1 {
		return nil, fmt.Errorf("%d bundles %s", len(matches), s.bundle)
	}
	body, err := os.ReadFile(matches[0])
	if err != nil {
		return nil, err
	}
	var bundle struct {
		Entry []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(body, &bundle); err != nil {
		return nil, err
	}
	var list []map[string]any
	for _, e := range bundle.Entry {
		r, err := decode(e.Resource)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func readLines(dir string, s subject) ([]map[string]any, error) {
	var list []map[string]any
	for _, t := range append([]string{"Patient"}, taken...) {
		err := eachLine(dir, t, func(line []byte) error {
			if !bytes.Contains(line, []byte(s.source)) {
				return nil
			}
			r, err := decode(line)
			list = append(list, r)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readPractitioners gives the names of the Practitioners under their NPIs and
// their ids.
func readPractitioners(dir string) (map[string]string, error) {
	names := map[string]string{}
	return names, eachLine(dir, "Practitioner", func(line []byte) error {
		var p struct {
			ID         string
			Identifier []struct{ Value string }
			Gender     string
			Name       []struct {
				Family string
				Given  []string
			}
		}
		if err := json.Unmarshal(line, &p); err != nil {
			return err
		}
		name := undigit(p.Name[0].Given[0]) + "|" + undigit(p.Name[0].Family) + "|" + p.Gender
		names[p.Identifier[0].Value], names[p.ID] = name, name
		return nil
	})
}

func eachLine(dir, typ string, do func([]byte) error) error {
	f, err := os.Open(filepath.Join(dir, typ+".ndjson.gz"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		if err := do(lines.Bytes()); err != nil {
			return fmt.Errorf("%s: %w", typ, err)
		}
	}
	return lines.Err()
}

// decode keeps numbers as they are written.
func decode(body []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var r map[string]any
	err := dec.Decode(&r)
	return r, err
}

// undigit drops the digits that Synthea puts behind names.
func undigit(name string) string { return strings.TrimRight(name, "0123456789") }
