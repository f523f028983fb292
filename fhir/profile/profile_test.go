package profile_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mypatients/fhir"
	"mypatients/fhir/profile"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// archive reads the files of an archive by name.
func archive(t testing.TB, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for a := tar.NewReader(z); ; {
		head, err := a.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Ext(head.Name) != ".json" {
			continue
		}
		if all[path.Base(head.Name)], err = io.ReadAll(a); err != nil {
			t.Fatal(err)
		}
	}
}

// faults gives the issues that are more than warnings, as "expression: text".
func faults(issues []fhir.Issue) []string {
	var list []string
	for _, i := range issues {
		if i.Severity == "" {
			list = append(list, i.Expression+": "+i.Text)
		}
	}
	slices.Sort(list)
	return list
}

func find(t testing.TB, canonical string) *profile.Profile {
	t.Helper()
	p, err := profile.Find(canonical)
	if err != nil {
		t.Fatalf("%s: %v", canonical, err)
	}
	return p
}

func treeOf(t testing.TB, body []byte) map[string]any {
	t.Helper()
	tree, err := fhir.Tree(body)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func claims(tree map[string]any) []string {
	var list []string
	meta, _ := tree["meta"].(map[string]any)
	profiles, _ := meta["profile"].([]any)
	for _, p := range profiles {
		url, _, _ := strings.Cut(p.(string), "|")
		list = append(list, url)
	}
	return list
}

// TestOfficialExamplesKeepEveryRule: no rule is told of wrongly.
func TestOfficialExamplesKeepEveryRule(t *testing.T) {
	all := archive(t, "../testdata/r4-examples.tar.gz")
	if len(all) != 373 {
		t.Fatalf("got %d examples", len(all))
	}
	for name, body := range all {
		doc, err := fhir.Parse(body, profile.Check)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := fhir.Parse(doc.JSON, profile.Check)
		if err != nil || !bytes.Equal(again.JSON, doc.JSON) {
			t.Errorf("%s: the second time: %v", name, err)
		}
	}
}

// TestExamplesKeepTheirProfiles: those of the packages, but for the ones that the
// golden file and testdata/README.md explain.
func TestExamplesKeepTheirProfiles(t *testing.T) {
	var refused strings.Builder
	for version, want := range map[string]int{"3.1.1": 79, "6.1.0": 174, "7.0.0": 202} {
		checked := 0
		all := archive(t, "testdata/us.core-"+version+"-examples.tar.gz")
		for _, name := range slices.Sorted(maps.Keys(all)) {
			tree := treeOf(t, all[name])
			if _, err := fhir.Parse(all[name], profile.Check); err != nil {
				fmt.Fprintf(&refused, "%s %s %v\n", version, name, err)
			}
			for _, url := range claims(tree) {
				p, err := profile.Find(url + "|" + version)
				if err != nil {
					if p, err = profile.Find(url); err != nil {
						t.Errorf("%s %s: %v", version, name, err)
						continue
					}
				}
				checked++
				issues, err := p.Check(tree)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range faults(issues) {
					fmt.Fprintf(&refused, "%s %s %s\n", version, name, f)
				}
			}
		}
		if checked != want {
			t.Errorf("%s: %d claims checked, want %d", version, checked, want)
		}
	}
	lines := strings.SplitAfter(refused.String(), "\n")
	slices.Sort(lines)
	golden(t, "testdata/us.core-refused.golden", strings.Join(lines, ""))
}

// TestSyntheaKeepsItsProfiles counts, of a set that claims US Core 3.1.1, who
// keeps it; a part of the set unless LONG is set.
func TestSyntheaKeepsItsProfiles(t *testing.T) {
	step := 25
	if os.Getenv("LONG") != "" || *update {
		step = 1
	}
	kept, broken := map[string]int{}, map[string]int{}
	files, err := filepath.Glob("../../gateway/testdata/synthea/*.ndjson.gz")
	if err != nil || len(files) != 24 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, name := range files {
		eachLine(t, name, func(n int, line []byte) {
			if n%step != 0 {
				return
			}
			tree := treeOf(t, line)
			issues, err := profile.Check(tree)
			if err != nil || len(faults(issues)) > 0 {
				t.Errorf("%s line %d: %v %v", name, n+1, faults(issues), err)
			}
			for _, url := range claims(tree) {
				p, err := profile.Find(url + "|3.1.1")
				if err != nil {
					p = find(t, url) // R4's own, of vital signs
				}
				issues, err := p.Check(tree)
				if err != nil {
					t.Fatal(err)
				}
				kept[url]++
				if list := faults(issues); len(list) > 0 {
					kept[url]--
					broken[url]++
					t.Logf("%s line %d: %s: %v", name, n+1, url, list)
				}
			}
		})
	}
	if len(broken) > 0 {
		t.Errorf("not kept: %v", broken)
	}
	if step > 1 {
		return
	}
	var b strings.Builder
	for _, url := range slices.Sorted(maps.Keys(kept)) {
		fmt.Fprintf(&b, "%d of %d\t%s\n", kept[url], kept[url]+broken[url], url)
	}
	golden(t, "testdata/synthea.golden", b.String())
}

func eachLine(t testing.TB, name string, do func(n int, line []byte)) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 10<<20)
	for n := 0; lines.Scan(); n++ {
		do(n, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestInvariantsAreThese(t *testing.T) {
	list, err := profile.Invariants()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/invariants.golden", strings.Join(list, "\n")+"\n")
}

func TestFind(t *testing.T) {
	const usCore = "http://hl7.org/fhir/us/core/StructureDefinition/"
	const patient = usCore + "us-core-patient"
	for canonical, version := range map[string]string{
		patient: "7.0.0", patient + "|6.1.0": "6.1.0", patient + "|3.1.1": "3.1.1",
		"http://hl7.org/fhir/StructureDefinition/Patient":          "4.0.1",
		"http://hl7.org/fhir/StructureDefinition/vitalsigns|4.0.1": "4.0.1",
	} {
		if p := find(t, canonical); p.Version != version {
			t.Errorf("%s: got %s, want %s", canonical, p.Version, version)
		}
	}
	for _, canonical := range []string{"x", patient + "|5.0.0", patient + "|", "http://hl7.org/fhir/StructureDefinition/Pat",
		"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "http://hl7.org/fhir/StructureDefinition/Patient|3.0"} {
		_, err := profile.Find(canonical)
		var e *fhir.Error
		if canonical == patient+"|" {
			if err != nil {
				t.Errorf("%s: %v", canonical, err)
			}
			continue
		}
		if !errors.As(err, &e) || e.Kind != fhir.Unprocessable || e.Issues[0].Expression != "profile" {
			t.Errorf("%s: got %v, want a refusal of profile", canonical, err)
		}
	}
	list, err := profile.Supported("Condition")
	if want := []string{usCore + "us-core-condition", usCore + "us-core-condition-encounter-diagnosis", usCore + "us-core-condition-problems-health-concerns"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("of Condition: got %v, %v", list, err)
	}
	if list, err := profile.Supported("Account"); err != nil || len(list) != 0 {
		t.Errorf("of Account: got %v, %v", list, err)
	}
}

// A value set comes with all its codes, by its URL and its version.
func TestValueSet(t *testing.T) {
	const clinical = "http://hl7.org/fhir/ValueSet/condition-clinical"
	for canonical, codes := range map[string]int{
		clinical: 6, clinical + "|4.0.1": 6, clinical + "|3": 0, "http://example.org/x": 0, "": 0,
		"http://hl7.org/fhir/us/core/ValueSet/us-core-vital-signs":          19,
		"http://hl7.org/fhir/us/core/ValueSet/us-core-vital-signs|6.1.0":    19,
		"http://hl7.org/fhir/us/core/ValueSet/us-core-vital-signs|7.0.0":    0,
		"http://hl7.org/fhir/us/core/ValueSet/us-core-condition-code|7.0.0": 0, // of SNOMED CT: not all of it is here
	} {
		set, err := profile.ValueSet(canonical)
		if err != nil {
			t.Fatal(err)
		}
		expansion, _ := set["expansion"].(map[string]any)
		contains, _ := expansion["contains"].([]any)
		if len(contains) != codes {
			t.Errorf("%s: got %d codes, want %d", canonical, len(contains), codes)
		}
	}
}

// TestWrongType: a profile of one type says nothing of another.
func TestWrongType(t *testing.T) {
	p := find(t, "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient")
	issues, err := p.Check(map[string]any{"resourceType": "Observation"})
	if err != nil || len(issues) != 1 || issues[0].Expression != "Observation" {
		t.Errorf("got %v, %v", issues, err)
	}
}
