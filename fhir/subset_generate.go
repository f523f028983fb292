//go:build ignore

// Subset_generate writes r4/elements.tsv from HL7's official R4 (4.0.1)
// definitions, which are in the public domain (CC0).
//
//	go run subset_generate.go -definitions DIR
//
// DIR holds profiles-resources.json.gz and profiles-types.json.gz.
package main

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type element struct {
	Path             string
	Min              int
	IsSummary        bool
	IsModifier       bool
	ContentReference string
	Type             []struct{ Code string }
}

type definition struct {
	ResourceType, Name, Kind, Derivation string
	Abstract                             bool
	Snapshot                             struct{ Element []element }
}

func main() {
	dir := flag.String("definitions", "", "folder of the official definitions")
	flag.Parse()
	structures := map[string][]element{} // by the path of what holds the elements
	inner := map[string]bool{}           // structures of their own: backbones, and types that a summary cuts down
	for _, file := range []string{"profiles-types.json.gz", "profiles-resources.json.gz"} {
		for _, d := range read(filepath.Join(*dir, file)) {
			if d.ResourceType != "StructureDefinition" || d.Derivation == "constraint" || d.Abstract || d.Kind == "primitive-type" {
				continue
			}
			for _, e := range d.Snapshot.Element {
				at := strings.LastIndexByte(e.Path, '.')
				if at < 0 {
					continue
				}
				holder, name := e.Path[:at], e.Path[at+1:]
				structures[holder] = append(structures[holder], e)
				if holder != d.Name || d.Kind == "complex-type" && !e.IsSummary && name != "id" && name != "extension" {
					inner[holder] = true
				}
			}
			if d.Name == "Extension" || d.Name == "Narrative" { // whole or not at all
				delete(inner, d.Name)
			}
			if d.Kind == "resource" {
				inner[d.Name] = true
			}
		}
	}
	var lines []string
	for holder, elements := range structures {
		if inner[holder] {
			lines = append(lines, line(holder, elements, inner))
		}
	}
	slices.Sort(lines)
	header := "# structure\telements that are in a summary (s), mandatory (r) or modifiers (m), and the structure, or for choices the types, of their values\n"
	if err := os.WriteFile("r4/elements.tsv", []byte(header+strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
}

// line describes one structure: "Patient.link<tab>other:srm type:sr".
func line(holder string, elements []element, inner map[string]bool) string {
	var fields []string
	for _, e := range elements {
		flags := ""
		for flag, has := range map[string]bool{"s": e.IsSummary, "r": e.Min > 0, "m": e.IsModifier} {
			if has {
				flags += flag
			}
		}
		if flags == "" {
			continue
		}
		letters := []byte(flags)
		slices.Sort(letters)
		field := e.Path[len(holder)+1:] + ":" + string(letters)
		var kinds []string
		for _, t := range e.Type {
			if strings.HasSuffix(e.Path, "[x]") || inner[t.Code] && strings.ToUpper(t.Code[:1]) == t.Code[:1] {
				kinds = append(kinds, t.Code)
			}
		}
		switch {
		case e.ContentReference != "":
			kinds = []string{strings.TrimPrefix(e.ContentReference, "#")}
		case inner[e.Path]:
			kinds = []string{e.Path}
		}
		if len(kinds) > 0 {
			field += ":" + strings.Join(kinds, ",")
		}
		fields = append(fields, field)
	}
	return holder + "\t" + strings.Join(fields, " ")
}

func read(name string) []definition {
	f, err := os.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		log.Fatal(err)
	}
	var b struct {
		Entry []struct{ Resource definition }
	}
	if err := json.NewDecoder(z).Decode(&b); err != nil {
		log.Fatal(err)
	}
	var list []definition
	for _, e := range b.Entry {
		list = append(list, e.Resource)
	}
	return list
}
