//go:build ignore

// Generate writes r4/params.tsv, r4/choices.tsv and r4/compartment.tsv from
// HL7's official R4 (4.0.1) definitions, which are in the public domain (CC0).
//
//	go run generate.go -definitions DIR
//
// DIR holds search-parameters.json.gz, compartmentdefinition-patient.json.gz,
// profiles-resources.json.gz, profiles-types.json.gz and the package
// hl7.fhir.r4.core-4.0.1.tgz.
package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type searchParameter struct {
	URL, Code, Type, Expression string
	Base, Target                []string
	Component                   []struct{ Definition, Expression string }
}

type element struct {
	Path    string
	Type    []elementType
	Binding *struct{ Strength, ValueSet string }
}

type elementType struct {
	Code          string
	TargetProfile []string
}

type structure struct {
	Snapshot struct{ Element []element }
}

type bundle[T any] struct {
	Entry []struct{ Resource T }
}

func main() {
	dir := flag.String("definitions", "", "folder of the official definitions")
	flag.Parse()
	var params bundle[searchParameter]
	readJSON(filepath.Join(*dir, "search-parameters.json.gz"), &params)
	elements := map[string]element{}
	for _, name := range []string{"profiles-resources.json.gz", "profiles-types.json.gz"} {
		var b bundle[structure]
		readJSON(filepath.Join(*dir, name), &b)
		for _, e := range b.Entry {
			for _, el := range e.Resource.Snapshot.Element {
				elements[el.Path] = el
			}
		}
	}
	writeChoices(elements)
	systems := valueSetSystems(filepath.Join(*dir, "hl7.fhir.r4.core-4.0.1.tgz"))
	var rows []string
	for _, e := range params.Entry {
		for _, base := range e.Resource.Base {
			if row := paramRow(e.Resource, base, elements, systems); row != "" {
				rows = append(rows, row)
			}
		}
	}
	slices.Sort(rows)
	header := "# type\tname\tkind\ttargets\texpression\turl\tcode systems\tcomponents\n"
	write("r4/params.tsv", header+strings.Join(rows, "\n")+"\n")
	writeCompartment(filepath.Join(*dir, "compartmentdefinition-patient.json.gz"))
}

// paramRow gives the line of one parameter for one of its types.
func paramRow(p searchParameter, base string, elements map[string]element, systems map[string]string) string {
	var parts []string
	for _, part := range splitUnion(p.Expression) {
		if base == "InsurancePlan" && !strings.Contains(part, ".") {
			part = base + "." + part // this one expression lacks the type
		}
		head := strings.TrimLeft(part, "(")
		if head == base || strings.HasPrefix(head, base+".") {
			parts = append(parts, part)
		}
	}
	if p.Expression != "" && len(parts) == 0 {
		log.Printf("%s has no expression for %s: %s", p.Code, base, p.Expression)
		return ""
	}
	var components []string
	if p.URL == "http://hl7.org/fhir/SearchParameter/DocumentReference-relationship" {
		// The definitions of its two components are interchanged.
		p.Component[0].Definition, p.Component[1].Definition = p.Component[1].Definition, p.Component[0].Definition
	}
	for _, c := range p.Component {
		components = append(components, c.Definition+"="+c.Expression)
	}
	p.Target = narrow(p.Target, parts, elements)
	targets := strings.Join(p.Target, ",")
	if len(p.Target) > 100 {
		targets = "*"
	}
	code := ""
	if p.Type == "token" && len(parts) == 1 {
		if el, ok := elements[parts[0]]; ok && len(el.Type) == 1 && el.Type[0].Code == "code" && el.Binding != nil && el.Binding.Strength == "required" {
			url, _, _ := strings.Cut(el.Binding.ValueSet, "|")
			code = systems[url]
		}
	}
	return strings.Join([]string{base, p.Code, p.Type, targets, strings.Join(parts, " | "), p.URL, code, strings.Join(components, ";")}, "\t")
}

// narrow keeps those targets of a reference that the elements can have: a
// parameter shared by several types names the targets of all of them.
func narrow(targets, parts []string, elements map[string]element) []string {
	possible := map[string]bool{}
	for _, part := range parts {
		if _, after, ok := strings.Cut(part, ".where(resolve() is "); ok {
			possible[strings.TrimSuffix(after, ")")] = true
			continue
		}
		path, isChoice := strings.CutSuffix(strings.TrimPrefix(part, "("), " as Reference)")
		if isChoice {
			path += "[x]"
		}
		el, ok := elements[path]
		if !ok {
			return targets
		}
		for _, t := range el.Type {
			for _, profile := range t.TargetProfile {
				possible[profile[strings.LastIndex(profile, "/")+1:]] = true
			}
		}
	}
	if len(possible) == 0 || possible["Resource"] {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t string) bool { return !possible[t] })
}

// splitUnion cuts an expression at its outer bars.
func splitUnion(s string) []string {
	var parts []string
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}

// writeChoices lists the choice elements (value[x]) of all resources and
// datatypes with their types.
func writeChoices(elements map[string]element) {
	var b strings.Builder
	b.WriteString("# element\ttypes\n")
	for _, path := range slices.Sorted(maps.Keys(elements)) {
		name, ok := strings.CutSuffix(path, "[x]")
		if !ok {
			continue
		}
		types := map[string]bool{}
		for _, t := range elements[path].Type {
			types[t.Code] = true
		}
		b.WriteString(name + "\t" + strings.Join(slices.Sorted(maps.Keys(types)), ",") + "\n")
	}
	write("r4/choices.tsv", b.String())
}

// writeCompartment lists for each type the parameters that put a resource into
// the compartment of a patient.
func writeCompartment(path string) {
	var def struct {
		Resource []struct {
			Code  string
			Param []string
		}
	}
	readJSON(path, &def)
	slices.SortFunc(def.Resource, func(a, b struct {
		Code  string
		Param []string
	}) int {
		return cmp.Compare(a.Code, b.Code)
	})
	var b strings.Builder
	b.WriteString("# type\tparameters\n")
	for _, r := range def.Resource {
		if len(r.Param) > 0 {
			b.WriteString(r.Code + "\t" + strings.Join(r.Param, ",") + "\n")
		}
	}
	write("r4/compartment.tsv", b.String())
}

// valueSetSystems gives for each value set of the core package the code
// systems that it draws from, joined by commas.
func valueSetSystems(path string) map[string]string {
	f, err := os.Open(path)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	found := map[string]string{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		check(err)
		if !strings.HasPrefix(filepath.Base(h.Name), "ValueSet-") {
			continue
		}
		var vs struct {
			URL     string
			Compose struct{ Include []struct{ System string } }
		}
		check(json.NewDecoder(t).Decode(&vs))
		var systems []string
		for _, i := range vs.Compose.Include {
			if i.System != "" && !slices.Contains(systems, i.System) {
				systems = append(systems, i.System)
			}
		}
		found[vs.URL] = strings.Join(systems, ",")
	}
}

func readJSON(path string, v any) {
	f, err := os.Open(path)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	check(json.NewDecoder(z).Decode(v))
}

func write(path, text string) { check(os.WriteFile(path, []byte(text), 0o644)) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
