package label_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mypatients/consent/label"
)

// sensitive are words of displays that tell of something sensitive.
var sensitive = regexp.MustCompile(`(?i)pregnan|prenatal|contracep|abortion|miscarr|opioid|addict|alcoholism|overdose|detoxific|depress|psychiatr|mental|\bHIV\b|gonorrh|chlamyd|syphilis|intrauterine|28 day pack|buprenorphine|drugs of abuse|sexual`)

// harmless are displays that only sound so.
var harmless = regexp.MustCompile(`(?i)environmental|experimental`)

// TestSyntheticRecords: what sounds sensitive in the records that come with the tests
// is labelled.
func TestSyntheticRecords(t *testing.T) {
	files, err := filepath.Glob("../../gateway/testdata/synthea/*.ndjson.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no records: %v", err)
	}
	rules := label.Standard()
	given, missed := map[string]int{}, map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".ndjson.gz")
		if !slices.Contains(strings.Fields("CarePlan CareTeam Condition Encounter Medication MedicationRequest Procedure"), name) && (name != "Observation" || os.Getenv("LONG") == "") {
			continue
		}
		eachResource(t, file, func(tree map[string]any) {
			for _, l := range rules.Of(tree) {
				given[l.Code]++
			}
			eachCoding(tree, func(system, code, display string) {
				if sensitive.MatchString(display) && !harmless.MatchString(display) && rules.OfCode(system, code) == nil {
					missed[system+" "+code+" "+display] = true
				}
			})
		})
	}
	for m := range missed {
		t.Errorf("%s has no label", m)
	}
	for _, code := range []string{"SEX", "STD", "PSY", "SUD", "OPIOIDUD", "ETHUD"} {
		if given[code] == 0 {
			t.Errorf("nothing has the label %s", code)
		}
	}
	t.Logf("labels given: %v", given)
}

func eachResource(t *testing.T, file string, visit func(map[string]any)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(z)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		var tree map[string]any
		if err := json.Unmarshal(in.Bytes(), &tree); err != nil {
			t.Fatal(err)
		}
		visit(tree)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

func eachCoding(value any, visit func(system, code, display string)) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			eachCoding(item, visit)
		}
	case map[string]any:
		system, _ := v["system"].(string)
		code, _ := v["code"].(string)
		display, _ := v["display"].(string)
		if system != "" && code != "" {
			visit(system, code, display)
		}
		for _, item := range v {
			eachCoding(item, visit)
		}
	}
}
