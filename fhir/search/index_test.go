package search_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// version indexes one resource.
func version(tb testing.TB, r *search.Registry, body string) *store.Version {
	tb.Helper()
	tree := decode(tb, []byte(body))
	m := &model{versions: map[store.Key]*store.Version{}}
	key := store.Key{Type: tree["resourceType"].(string), ID: tree["id"].(string)}
	m.put(tb, r, fhir.Key{Type: fhir.Type(key.Type), ID: key.ID}, tree)
	return m.versions[key]
}

// values gives the values under a name.
func values(v *store.Version, name string) []string {
	var list []string
	for value := range v.Terms.Values(name) {
		list = append(list, string(value))
	}
	return list
}

func TestOwners(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ name, body, want string }{
		{"a patient owns itself", `{"resourceType":"Patient","id":"1"}`, "Patient/1"},
		{"a linked patient too", `{"resourceType":"Patient","id":"1","link":[{"other":{"reference":"Patient/2"},"type":"seealso"}]}`, "Patient/1 Patient/2"},
		{"subject", `{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1"}}`, "Patient/1"},
		{"subject and performer", `{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1"},"performer":[{"reference":"Patient/2"},{"reference":"Practitioner/3"}]}`, "Patient/1 Patient/2"},
		{"absolute under the base", `{"resourceType":"Observation","id":"1","subject":{"reference":"https://example.org/fhir/Patient/1"}}`, "Patient/1"},
		{"another server's patient", `{"resourceType":"Observation","id":"1","subject":{"reference":"https://other.org/fhir/Patient/1"}}`, "https://other.org/fhir/Patient/1"},
		{"a version of a patient", `{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1/_history/2"}}`, "Patient/1"},
		{"a group is no patient", `{"resourceType":"Observation","id":"1","subject":{"reference":"Group/1"}}`, ""},
		{"encounter", `{"resourceType":"Encounter","id":"1","subject":{"reference":"Patient/1"}}`, "Patient/1"},
		{"task, for", `{"resourceType":"Task","id":"1","for":{"reference":"Patient/1"},"owner":{"reference":"Patient/2"}}`, "Patient/1"},
		{"device", `{"resourceType":"Device","id":"1","patient":{"reference":"Patient/1"}}`, "Patient/1"},
		{"binary of a patient", `{"resourceType":"Binary","id":"1","contentType":"text/plain","securityContext":{"reference":"Patient/1"}}`, "Patient/1"},
		{"binary of a document", `{"resourceType":"Binary","id":"1","contentType":"text/plain","securityContext":{"reference":"DocumentReference/1"}}`, "DocumentReference/1"},
		{"binary of nobody", `{"resourceType":"Binary","id":"1","contentType":"text/plain"}`, ""},
		{"group members", `{"resourceType":"Group","id":"1","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/1"}},{"entity":{"reference":"Patient/2"}}]}`, "Patient/1 Patient/2"},
		{"list", `{"resourceType":"List","id":"1","subject":{"reference":"Patient/1"}}`, "Patient/1"},
		{"provenance by its targets", `{"resourceType":"Provenance","id":"1","target":[{"reference":"Consent/1"},{"reference":"Patient/1"}]}`, "Patient/1"},
		{"audit event", `{"resourceType":"AuditEvent","id":"1","entity":[{"what":{"reference":"Patient/1"}}],"agent":[{"who":{"reference":"Patient/2"}}]}`, "Patient/1 Patient/2"},
		{"consent", `{"resourceType":"Consent","id":"1","patient":{"reference":"Patient/1"}}`, "Patient/1"},
		{"coverage", `{"resourceType":"Coverage","id":"1","beneficiary":{"reference":"Patient/1"},"subscriber":{"reference":"Patient/2"},"payor":[{"reference":"Organization/1"}]}`, "Patient/1 Patient/2"},
		{"related person", `{"resourceType":"RelatedPerson","id":"1","patient":{"reference":"Patient/1"}}`, "Patient/1"},
		{"care team", `{"resourceType":"CareTeam","id":"1","subject":{"reference":"Patient/1"},"participant":[{"member":{"reference":"Practitioner/1"}}]}`, "Patient/1"},
		{"practitioner", `{"resourceType":"Practitioner","id":"1"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(values(version(t, r, c.body), store.Owner), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestClinicalTime(t *testing.T) {
	r := registry(t)
	day := func(s string) time.Time {
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct{ name, body, from, to string }{ // to excluded; empty: open; both empty: none
		{"effective", `{"resourceType":"Observation","id":"1","effectiveDateTime":"2020-01-02","issued":"2021-01-01T00:00:00Z"}`, "2020-01-02", "2020-01-03"},
		{"issued", `{"resourceType":"Observation","id":"1","issued":"2021-01-01T00:00:00Z"}`, "2021-01-01", "2021-01-02"},
		{"condition without end", `{"resourceType":"Condition","id":"1","onsetDateTime":"2020-01","recordedDate":"2022"}`, "2020-01-01", "2020-02-01"},
		{"condition with end", `{"resourceType":"Condition","id":"1","onsetDateTime":"2020-01","abatementDateTime":"2021"}`, "2020-01-01", "2022-01-01"},
		{"condition by age", `{"resourceType":"Condition","id":"1","onsetAge":{"value":5},"recordedDate":"2022"}`, "2022-01-01", "2023-01-01"},
		{"performed", `{"resourceType":"Procedure","id":"1","performedPeriod":{"start":"2020-01-02","end":"2020-01-03"}}`, "2020-01-02", "2020-01-04"},
		{"open period", `{"resourceType":"Encounter","id":"1","period":{"start":"2020-01-02"}}`, "2020-01-02", ""},
		{"authored", `{"resourceType":"MedicationRequest","id":"1","authoredOn":"2020-01-02"}`, "2020-01-02", "2020-01-03"},
		{"occurrence", `{"resourceType":"Immunization","id":"1","occurrenceDateTime":"2020-01-02","recorded":"2021"}`, "2020-01-02", "2020-01-03"},
		{"appointment", `{"resourceType":"Appointment","id":"1","start":"2020-01-02T00:00:00.000Z","end":"2020-01-02T23:59:59.999Z"}`, "2020-01-02", "2020-01-03"},
		{"document", `{"resourceType":"DocumentReference","id":"1","date":"2021-01-01T00:00:00Z","context":{"period":{"start":"2020-01-02","end":"2020-01-02"}}}`, "2020-01-02", "2020-01-03"},
		{"consent", `{"resourceType":"Consent","id":"1","dateTime":"2020-01-02"}`, "2020-01-02", "2020-01-03"},
		{"patient", `{"resourceType":"Patient","id":"1","birthDate":"2020-01-02"}`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := version(t, r, c.body)
			holds := func(e store.Expr) bool {
				ok, err := store.Eval(nil, v, e)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			if there := holds(store.Exists{Name: search.Clinical}); there != (c.from != "") {
				t.Fatalf("has a time: %v", there)
			}
			if c.from == "" {
				return
			}
			from, to := day(c.from), day("3000-01-01")
			if c.to != "" {
				to = day(c.to)
			}
			for _, check := range []struct {
				what string
				expr store.Expr
				want bool
			}{
				{"within itself", search.DateWithin(search.Clinical, from, to), c.to != ""},
				{"within all time", search.DateWithin(search.Clinical, time.Time{}, time.Time{}), true},
				{"within from its start", search.DateWithin(search.Clinical, from, time.Time{}), true},
				{"within less at the start", search.DateWithin(search.Clinical, from.Add(time.Microsecond), to), false},
				{"within less at the end", search.DateWithin(search.Clinical, from, to.Add(-24*time.Hour)), false},
				{"overlaps before", search.DateOverlaps(search.Clinical, time.Time{}, from), false},
				{"overlaps its first moment", search.DateOverlaps(search.Clinical, time.Time{}, from.Add(time.Microsecond)), true},
				{"overlaps after", search.DateOverlaps(search.Clinical, to, time.Time{}), c.to == ""},
				{"overlaps all time", search.DateOverlaps(search.Clinical, time.Time{}, time.Time{}), true},
			} {
				if got := holds(check.expr); got != check.want {
					t.Errorf("%s: got %v, want %v", check.what, got, check.want)
				}
			}
		})
	}
}

func TestConditionsWithoutAQuery(t *testing.T) {
	r := registry(t)
	v := version(t, r, `{"resourceType":"CareTeam","id":"1","meta":{"security":[{"system":"urn:s","code":"R"},{"system":"urn:s|x","code":"N"},{"code":"urn:s|V"}]},
		"status":"active","subject":{"reference":"Patient/1"}}`)
	for _, c := range []struct {
		expr store.Expr
		want bool
	}{
		{search.TokenTerm("status", "", "active"), true},
		{search.TokenTerm("status", "", "inactive"), false},
		{search.TokenTerm("_security", "urn:s", "R"), true},
		{search.TokenTerm("_security", "", "R"), true},
		{search.TokenTerm("_security", "urn:t", "R"), false},
		{search.TokenTerm("_security", "urn:s", "N"), false},
		{search.TokenTerm("_security", "urn:s", "V"), false}, // a code cannot pass for a code with a system
		{search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: "1"}), true},
		{search.ReferenceTerm("subject", fhir.Key{Type: "Patient", ID: "1"}), true},
		{search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: "2"}), false},
	} {
		if got, err := store.Eval(nil, v, c.expr); got != c.want || err != nil {
			t.Errorf("%v: got %v (%v), want %v", c.expr, got, err, c.want)
		}
	}
}

// What a typical resource costs: how many terms, and how long they are.
func TestTermsAreFew(t *testing.T) {
	v := version(t, registry(t), observation)
	list := v.Terms.List()
	if len(list) > 20 || len(v.Terms) > 800 {
		t.Errorf("%d terms, %d bytes: %v", len(list), len(v.Terms), list)
	}
}

// Long and odd values still make short terms, and find what they came from.
func TestLongValues(t *testing.T) {
	r := registry(t)
	long := strings.Repeat("Long Ångström ", 200)
	v := version(t, r, `{"resourceType":"Patient","id":"1","name":[{"family":"`+long+`"}],"identifier":[{"system":"urn:s","value":"`+long+`"}],
		"link":[{"other":{"reference":"http://other.org/`+strings.Repeat("x", 999)+`"},"type":"seealso"}]}`)
	other := strings.TrimSpace(long) + "er"
	for _, c := range []struct {
		query string
		want  bool
	}{
		{"family:exact=" + long, true},
		{"family:exact=" + other, false},
		{"family=long ang", true},
		{"identifier=" + long, true},
		{"identifier=urn:s|" + long, true},
		{"identifier=" + other, false},
		{"link=http://other.org/" + strings.Repeat("x", 999), true},
		{"link=http://other.org/" + strings.Repeat("x", 998), false},
	} {
		name, value, _ := strings.Cut(c.query, "=")
		q, err := r.Parse("Patient", map[string][]string{name: {value}}, search.Options{Base: base})
		if err != nil {
			t.Fatalf("%.40s: %v", c.query, err)
		}
		if got, err := store.Eval(nil, v, q.Plan(everything).Where); got != c.want || err != nil {
			t.Errorf("%.40s: got %v (%v), want %v", c.query, got, err, c.want)
		}
	}
}

func TestControlCharacters(t *testing.T) {
	v := version(t, registry(t), `{"resourceType":"Patient","id":"1","name":[{"family":"A\u0001\u0000B\nC"}],"identifier":[{"value":"x\u0000y\u0001z"}]}`)
	for name, value := range v.Terms.All() {
		if strings.IndexByte(string(value), 0) >= 0 {
			t.Errorf("%s holds a NUL", name)
		}
	}
	if got := values(v, "identifier"); !slices.Equal(got, []string{"x y z"}) {
		t.Errorf("identifier: got %q", got)
	}
}

const observation = `{"resourceType":"Observation","id":"8e5c","meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"]},
"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"laboratory"}]}],
"code":{"coding":[{"system":"http://loinc.org","code":"2339-0","display":"Glucose"}],"text":"Glucose"},
"subject":{"reference":"Patient/057aa36e-b892-9964-75b9-ffb46b097e34"},"encounter":{"reference":"Encounter/81cae753-0a21-1b89-cadb-e82844f952e8"},
"effectiveDateTime":"2012-05-31T11:33:42+02:00","issued":"2012-05-31T11:33:42.012+02:00",
"valueQuantity":{"value":75.97,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}`

func BenchmarkIndexObservation(b *testing.B) {
	r := registry(b)
	tree := decode(b, []byte(observation))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Index("Observation", tree, base); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkR4(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		registry(b)
	}
}
