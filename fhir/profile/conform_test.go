package profile_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/profile"
)

// mutations are changes of the packages' own examples that break a profile, with
// the element that must be named and a word of the text.
var mutations = []struct {
	version, example string
	change           func(tree map[string]any)
	at, says         string
}{
	{"6.1.0", "Patient-example.json", without("gender"), "Patient.gender", "requires this"},
	{"6.1.0", "Patient-example.json", without("name"), "Patient.name", "requires this"},
	{"6.1.0", "Patient-example.json", without("identifier", 0, "system"), "Patient.identifier[0].system", "requires this"},
	{"6.1.0", "Patient-example.json", with(map[string]any{"use": "old"}, "name", 0), "Patient.name[0]", "us-core-6"},
	{"6.1.0", "Patient-example.json", without("extension", 0, "extension", 5), "Patient.extension[0].extension", `"text"`},
	{"6.1.0", "Patient-example.json", doubled("extension", 0), "Patient.extension", `1 of the slice "race"`},
	{"6.1.0", "Patient-example.json", with("x", "extension", 0, "valueString"), "Patient.extension[0].value", "does not allow"},
	{"3.1.1", "Patient-example.json", with("9999-9", "extension", 0, "extension", 0, "valueCoding", "code"), "Patient.extension[0].extension[0].value", "omb-race-category"},
	{"3.1.1", "Patient-example.json", with("X", "extension", 2, "valueCode"), "Patient.extension[2].value", "birthsex"},
	{"7.0.0", "Patient-example.json", without("identifier"), "Patient.identifier", "requires this"},

	{"6.1.0", "Condition-condition-duodenal-ulcer.json", with("bogus", "category", 0, "coding", 0, "code"), "Condition.category", "slice"},
	{"6.1.0", "Condition-condition-duodenal-ulcer.json", without("category"), "Condition.category", `slice "us-core"`},
	{"6.1.0", "Condition-condition-duodenal-ulcer.json", without("code"), "Condition.code", "requires this"},
	{"6.1.0", "Condition-condition-duodenal-ulcer.json", with("Group/1", "subject", "reference"), "Condition.subject.reference", "reference to Group"},

	{"6.1.0", "Observation-blood-pressure.json", without("component", 0), "Observation.component", `slice "systolic"`},
	{"6.1.0", "Observation-blood-pressure.json", with("mmHg", "component", 0, "valueQuantity", "code"), "Observation.component[0].value.code", `"mm[Hg]"`},
	{"6.1.0", "Observation-blood-pressure.json", with("85354-0", "code", "coding", 0, "code"), "Observation.code", "85354-9"},
	{"6.1.0", "Observation-blood-pressure.json", with("laboratory", "category", 0, "coding", 0, "code"), "Observation.category", "VSCat"},
	{"6.1.0", "Observation-blood-pressure.json", without("effectiveDateTime"), "Observation.effective", "requires this"},
	{"6.1.0", "Observation-blood-pressure.json", with("2021", "effectiveDateTime"), "Observation.effective", "vs-1"},
	{"6.1.0", "Observation-serum-glucose.json", without("valueQuantity"), "Observation", "us-core-2"},
	{"6.1.0", "Observation-weight.json", without("valueQuantity", "unit"), "Observation.value.unit", "requires this"},
	{"3.1.1", "Observation-blood-pressure.json", both(with([]any{"http://hl7.org/fhir/StructureDefinition/bp"}, "meta", "profile"), without("component", 1)), "Observation.component", "Diastolic"},
	{"3.1.1", "Observation-some-day-smoker.json", with("preliminary", "status"), "Observation.status", "smoking-status-status"},

	{"6.1.0", "MedicationRequest-medicationrequest-coded-oral-axid.json", without("requester"), "MedicationRequest", "us-core-21"},
	{"6.1.0", "Procedure-rehab.json", without("performedDateTime"), "Procedure", "us-core-7"},
	{"6.1.0", "Organization-acme-lab.json", without("active"), "Organization.active", "requires this"},
	{"6.1.0", "RelatedPerson-shaw-niece.json", without("active"), "RelatedPerson.active", "requires this"},
	{"6.1.0", "DocumentReference-episode-summary.json", without("category"), "DocumentReference.category", "requires this"},
	{"6.1.0", "DocumentReference-episode-summary.json", without("content", 0, "attachment", "url"), "DocumentReference.content[0].attachment", "us-core-6"},
	{"6.1.0", "Encounter-example-1.json", without("type"), "Encounter.type", "requires this"},
}

// without drops what a path of names and indexes leads to.
func without(path ...any) func(map[string]any) {
	return func(tree map[string]any) { walk(tree, path, func(any) any { return nil }) }
}

// with puts a value there.
func with(value any, path ...any) func(map[string]any) {
	return func(tree map[string]any) { walk(tree, path, func(any) any { return value }) }
}

func both(first, second func(map[string]any)) func(map[string]any) {
	return func(tree map[string]any) { first(tree); second(tree) }
}

// doubled repeats an item of a list.
func doubled(name string, index int) func(map[string]any) {
	return func(tree map[string]any) {
		list := tree[name].([]any)
		tree[name] = append(list, list[index])
	}
}

func walk(here any, path []any, change func(any) any) {
	for ; len(path) > 1; path = path[1:] {
		switch step := path[0].(type) {
		case string:
			if index, ok := path[1].(int); ok && len(path) == 2 { // an item of a list may go
				object := here.(map[string]any)
				list := object[step].([]any)
				if value := change(list[index]); value == nil {
					object[step] = slices.Delete(slices.Clone(list), index, index+1)
				} else {
					list[index] = value
				}
				return
			}
			here = here.(map[string]any)[step]
		case int:
			here = here.([]any)[step]
		}
	}
	object, name := here.(map[string]any), path[0].(string)
	if value := change(object[name]); value != nil {
		object[name] = value
	} else {
		delete(object, name)
	}
}

func TestMutatedExamples(t *testing.T) {
	archives := map[string]map[string][]byte{}
	for _, tt := range mutations {
		t.Run(tt.version+" "+tt.example+" "+tt.at+" "+tt.says, func(t *testing.T) {
			if archives[tt.version] == nil {
				archives[tt.version] = archive(t, "testdata/us.core-"+tt.version+"-examples.tar.gz")
			}
			body := archives[tt.version][tt.example]
			if body == nil {
				t.Fatalf("no such example; there are %v", slices.Sorted(maps.Keys(archives[tt.version])))
			}
			tree := treeOf(t, body)
			tt.change(tree)
			var found []string
			for _, url := range claims(tree) {
				p, err := profile.Find(url + "|" + tt.version)
				if err != nil {
					p = find(t, url)
				}
				issues, err := p.Check(tree)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, faults(issues)...)
			}
			if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, tt.at+": ") && strings.Contains(f, tt.says) }) {
				t.Errorf("got %q, want %s at %s", found, tt.says, tt.at)
			}
		})
	}
}

// TestRequiredElements drops every element of every example once: where the
// element stands in the profile's own list of requirements the check must say so,
// and it must never say less than before of anything else.
// TestDroppedElementsAreMissed takes every element off every example in turn.
func TestDroppedElementsAreMissed(t *testing.T) {
	for _, version := range []string{"3.1.1", "6.1.0", "7.0.0"} {
		missed := map[string]bool{}
		for _, body := range archive(t, "testdata/us.core-"+version+"-examples.tar.gz") {
			tree := treeOf(t, body)
			p, err := profile.Find(claims(tree)[0] + "|" + version)
			if err != nil {
				continue
			}
			for name, value := range tree {
				if name == "resourceType" {
					continue
				}
				delete(tree, name)
				issues, err := p.Check(tree)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range faults(issues) {
					missed[f[:strings.Index(f, ":")]] = true
				}
				tree[name] = value
			}
		}
		for _, want := range strings.Fields("Patient.identifier Patient.name Patient.gender Observation.category Observation.subject Condition.code Practitioner.name Practitioner.identifier Organization.name CareTeam.participant Location.name DiagnosticReport.category Encounter.type") {
			if !missed[want] {
				t.Errorf("%s: nobody missed %s", version, want)
			}
		}
	}
}

func TestWarningsAreNoFaults(t *testing.T) {
	p := find(t, "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient|3.1.1")
	tree := treeOf(t, []byte(`{"resourceType":"Patient","identifier":[{"system":"http://x","value":"1"}],"name":[{"family":"x"}],"gender":"male","address":[{"state":"Bavaria"}]}`))
	issues, err := p.Check(tree)
	if err != nil || len(issues) != 1 || issues[0].Severity != "warning" || issues[0].Expression != "Patient.address[0].state" {
		t.Errorf("got %+v, %v", issues, err)
	}
	if _, err := fhir.Parse([]byte(`{"resourceType":"Patient","gender":"male"}`), profile.Check, p.Check); fhir.KindOf(err) != fhir.Unprocessable {
		t.Errorf("got %v", err)
	}
}
