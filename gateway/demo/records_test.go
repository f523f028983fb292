package demo_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/gateway/demo"
)

var newYork = func() *time.Location {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	return zone
}()

func load(t *testing.T, now time.Time) map[fhir.Key]map[string]any {
	t.Helper()
	list, err := demo.Resources(now, newYork)
	if err != nil {
		t.Fatal(err)
	}
	all := map[fhir.Key]map[string]any{}
	for _, r := range list {
		var tree map[string]any
		if err := json.Unmarshal(r.JSON, &tree); err != nil {
			t.Fatalf("%v: %v", r.Key, err)
		}
		if all[r.Key] != nil || !r.Key.Type.Valid() || !fhir.ValidID(r.ID) {
			t.Fatalf("%v is there twice, or is no key", r.Key)
		}
		all[r.Key] = tree
	}
	return all
}

// moments are awkward days: a leap day, the days around it, a change of clocks,
// a year's end, just before and after midnight.
var moments = []time.Time{
	time.Date(2028, 2, 29, 12, 0, 0, 0, newYork), time.Date(2028, 3, 1, 0, 0, 1, 0, newYork), time.Date(2027, 2, 28, 23, 59, 59, 0, newYork),
	time.Date(2026, 11, 1, 1, 30, 0, 0, newYork), time.Date(2030, 12, 31, 23, 59, 0, 0, newYork), time.Date(2031, 1, 1, 0, 1, 0, 0, newYork),
}

func TestAges(t *testing.T) {
	want := map[string]int{"pt-1": 8, "pt-2": 5, "pt-3": 15, "pt-4": 18, "pt-5": 3}
	for _, now := range moments {
		list, err := demo.Resources(now, newYork)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			age, ok := want[r.ID]
			if !ok || r.Type != "Patient" {
				continue
			}
			var patient struct{ BirthDate string }
			if err := json.Unmarshal(r.JSON, &patient); err != nil {
				t.Fatal(err)
			}
			birth, err := time.Parse(time.DateOnly, patient.BirthDate)
			if err != nil {
				t.Fatal(err)
			}
			y, m, d := now.Date()
			got := y - birth.Year()
			if m < birth.Month() || m == birth.Month() && d < birth.Day() {
				got--
			}
			if got != age {
				t.Errorf("on %v %s is %d, want %d", now, r.ID, got, age)
			}
		}
	}
}

func TestNothingInTheFutureOrBeforeBirth(t *testing.T) {
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\d(T.*)?$`)
	for _, now := range moments[:4] {
		all := load(t, now)
		for key, tree := range all {
			var birth string
			if owner := owner(tree); owner != "" {
				birth = all[fhir.Key{Type: "Patient", ID: owner}]["birthDate"].(string)
			}
			each(tree, func(path string, v any) {
				s, ok := v.(string)
				if ok && strings.HasPrefix(s, "@") {
					t.Errorf("%v: %s is left as %s", key, path, s)
				}
				if !ok || !stamp.MatchString(s) {
					return
				}
				at, err := time.ParseInLocation(time.DateOnly, s, newYork)
				if len(s) > 10 {
					at, err = time.Parse(time.RFC3339, s)
				}
				if err != nil || at.After(now) || s[:10] < birth {
					t.Errorf("%v, %v: %s is %s, birth %s (%v)", now, key, path, s, birth, err)
				}
			})
		}
	}
}

func TestClosed(t *testing.T) {
	all := load(t, moments[0])
	for key, tree := range all {
		each(tree, func(path string, v any) {
			if !strings.HasSuffix(path, ".reference") {
				return
			}
			to, err := fhir.ParseKey(v.(string))
			if err != nil || all[to] == nil {
				t.Errorf("%v: %s points at %v, which is not in the set", key, path, v)
			}
		})
		// A history belongs to one patient, and its visits are that patient's.
		if e, ok := tree["encounter"].(map[string]any); ok {
			to, err := fhir.ParseKey(e["reference"].(string))
			if err != nil || owner(all[to]) != owner(tree) {
				t.Errorf("%v belongs to %s, its visit to %s", key, owner(tree), owner(all[to]))
			}
		}
	}
}

func TestHistories(t *testing.T) {
	counts, types := map[string]int{}, map[string]map[fhir.Type]int{}
	codes := map[string]map[string]int{}
	for key, tree := range load(t, moments[0]) {
		who := owner(tree)
		counts[who]++
		if types[who] == nil {
			types[who], codes[who] = map[fhir.Type]int{}, map[string]int{}
		}
		types[who][key.Type]++
		each(tree["code"], func(path string, v any) {
			if path == ".coding.code" {
				codes[who][v.(string)]++
			}
		})
	}
	for id := range 5 {
		who := fmt.Sprintf("pt-%d", id+1)
		if counts[who] < 200 || counts[who] > 600 {
			t.Errorf("%s has %d resources", who, counts[who])
		}
	}
	for _, typ := range []fhir.Type{"AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "DiagnosticReport", "DocumentReference", "Encounter",
		"Immunization", "MedicationRequest", "Observation", "Procedure"} {
		if types["pt-1"][typ] == 0 {
			t.Errorf("Mateo has no %s", typ)
		}
	}
	for _, series := range []string{"29463-7", "8302-2", "9843-4", "39156-5", "718-7"} { // weight, height, head, BMI, hemoglobin
		if codes["pt-1"][series] < 2 {
			t.Errorf("Mateo has %d observations of %s", codes["pt-1"][series], series)
		}
	}
	for who := range types {
		if n := types[who][fhir.Type("CareTeam")]; who != "pt-1" && n != 0 {
			t.Errorf("%q has %d care teams", who, n)
		}
	}
}

func TestConfidentialData(t *testing.T) {
	labels := map[string]int{}
	for key, tree := range load(t, moments[0]) {
		meta, _ := tree["meta"].(map[string]any)
		list, _ := meta["security"].([]any)
		for _, l := range list {
			if owner(tree) != "pt-3" {
				t.Errorf("%v is labelled", key)
			}
			labels[string(key.Type)]++
			labels[l.(map[string]any)["code"].(string)]++
		}
	}
	for _, want := range []string{"R", "ADOL", "SEX", "STD", "PSY", "SUD", "HIV", "Encounter", "Condition", "MedicationRequest", "Observation", "DocumentReference"} {
		if labels[want] == 0 {
			t.Errorf("nothing of Ava's is %s", want)
		}
	}
}

func TestNoTracesOfTheSource(t *testing.T) {
	digits := regexp.MustCompile(`[a-z]\d{2,3}\b`)
	check := func(key fhir.Key, path, s string) {
		if strings.Contains(s, "ynthea") || strings.HasSuffix(path, ".family") && digits.MatchString(s) || strings.HasSuffix(path, ".display") && regexp.MustCompile(`^Dr\. .*\d`).MatchString(s) {
			t.Errorf("%v: %s is %q", key, path, s)
		}
	}
	for key, tree := range load(t, moments[0]) {
		each(tree, func(path string, v any) {
			s, ok := v.(string)
			if !ok {
				return
			}
			if strings.HasSuffix(path, ".data") {
				note, err := base64.StdEncoding.DecodeString(s)
				if err != nil || len(note) == 0 || strings.ContainsAny(string(note), "{}") || digits.Match(note) {
					t.Errorf("%v: note %q (%v)", key, note, err)
				}
				s = string(note)
			}
			check(key, path, s)
		})
	}
}

func TestNPIs(t *testing.T) {
	seen := map[string]bool{}
	valid := func(npi string) bool {
		sum := 0
		for i, c := range []byte("80840" + npi) {
			d := int(c - '0')
			if i%2 == 1 { // 15 digits: the second, fourth … count double
				if d *= 2; d > 9 {
					d -= 9
				}
			}
			sum += d
		}
		return len(npi) == 10 && sum%10 == 0 && !seen[npi]
	}
	if !valid("1234567893") || valid("1234567890") {
		t.Fatal("the check is wrong")
	}
	check := func(npi string) {
		if !valid(npi) {
			t.Errorf("%s is not an NPI, or is used twice", npi)
		}
		seen[npi] = true
	}
	for key, tree := range load(t, moments[0]) {
		if key.Type == "Practitioner" && tree["identifier"] != nil {
			check(tree["identifier"].([]any)[0].(map[string]any)["value"].(string))
		}
	}
	for _, p := range demo.People() {
		if p.NPI != "" {
			check(p.NPI)
		}
	}
	if len(seen) < 6 {
		t.Errorf("only %d numbers", len(seen))
	}
}

func TestPeopleAreInTheRecords(t *testing.T) {
	all := load(t, moments[0])
	for _, p := range demo.People() {
		for _, link := range p.Links {
			key, err := fhir.ParseKey(link.Person)
			if err != nil || all[key] == nil {
				t.Errorf("%s is linked to %s, which is not in the set", p.Username, link.Person)
				continue
			}
			body, err := json.Marshal(all[key])
			if err != nil {
				t.Fatal(err)
			}
			given := strings.Fields(strings.TrimPrefix(p.Name, "Dr. "))
			for _, want := range []string{given[0], given[1], p.Email} {
				if !strings.Contains(string(body), `"`+want+`"`) {
					t.Errorf("%s: %s does not hold %s", p.Username, link.Person, want)
				}
			}
		}
	}
}

// owner gives the id of the patient that a resource belongs to, or "".
func owner(tree map[string]any) string {
	if tree["resourceType"] == "Patient" {
		return tree["id"].(string)
	}
	for _, name := range []string{"subject", "patient"} {
		if ref, ok := tree[name].(map[string]any); ok {
			return strings.TrimPrefix(ref["reference"].(string), "Patient/")
		}
	}
	return ""
}

// each visits every value with the names that lead to it.
func each(v any, visit func(path string, v any)) { walk("", v, visit) }

func walk(path string, v any, visit func(string, any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			walk(path+"."+name, value, visit)
		}
	case []any:
		for _, value := range v {
			walk(path, value, visit)
		}
	default:
		visit(path, v)
	}
}

func TestResourcesAreValid(t *testing.T) {
	list, err := demo.Resources(moments[0], newYork)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		doc, err := fhir.Parse(r.JSON)
		if err != nil {
			t.Errorf("%v: %v", r.Key, err)
			continue
		}
		if doc.Type != r.Type || doc.ID != r.ID {
			t.Errorf("%v says it is %v/%v", r.Key, doc.Type, doc.ID)
		}
	}
}

func BenchmarkResources(b *testing.B) {
	for b.Loop() {
		if _, err := demo.Resources(moments[0], newYork); err != nil {
			b.Fatal(err)
		}
	}
}
