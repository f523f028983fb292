package profile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/profile"
)

func observation(members string) string {
	return `{"resourceType":"Observation","status":"final","code":{"text":"x"},` + members + `}`
}

func patient(members string) string { return `{"resourceType":"Patient",` + members + `}` }

func condition(members string) string {
	return `{"resourceType":"Condition","subject":{"reference":"Patient/1"},` + members + `}`
}

func extended(value string) string {
	return patient(`"extension":[{"url":"http://x",` + value + `}]`)
}

const active = `{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}`

// broken are bodies that break one rule, with the element and a word of the text.
var broken = []struct{ body, at, says string }{
	{patient(`"contact":[{"relationship":[{"text":"x"}]}]`), "Patient.contact[0]", "pat-1"},
	{patient(`"name":[{"id":"x"}]`), "Patient.name[0]", "ele-1"},
	{patient(`"_birthDate":{"id":"x"}`), "Patient.birthDate", "ele-1"},
	{patient(`"name":[{"given":["a",null],"_given":[null,{"id":"x"}]}]`), "Patient.name[0].given[1]", "ele-1"},
	{patient(`"extension":[{"url":"http://x"}]`), "Patient.extension[0]", "ext-1"},
	{extended(`"valueString":"x","extension":[{"url":"y","valueString":"z"}]`), "Patient.extension[0]", "ext-1"},
	{patient(`"_birthDate":{"extension":[{"url":"http://x"}]}`), "Patient.birthDate.extension[0]", "ext-1"},
	{patient(`"photo":[{"data":"AAAA"}]`), "Patient.photo[0]", "att-1"},
	{patient(`"telecom":[{"value":"1"}]`), "Patient.telecom[0]", "cpt-2"},
	{patient(`"name":[{"period":{"start":"2021","end":"2020"}}]`), "Patient.name[0].period", "per-1"},
	{patient(`"name":[{"period":{"start":"2020-01-01T10:00:00+02:00","end":"2020-01-01T07:59:59Z"}}]`), "Patient.name[0].period", "per-1"},
	{observation(`"effectivePeriod":{"start":"2021-02","end":"2020-12-31T00:00:00Z"}`), "Observation.effective", "per-1"},
	{observation(`"valueString":"x","dataAbsentReason":{"text":"x"}`), "Observation", "obs-6"},
	{`{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"a"}]},"valueString":"x","component":[{"code":{"coding":[{"code":"a"}]}}]}`, "Observation", "obs-7"},
	{observation(`"referenceRange":[{"appliesTo":[{"text":"x"}]}]`), "Observation.referenceRange[0]", "obs-3"},
	{observation(`"valueQuantity":{"value":1,"code":"kg"}`), "Observation.value", "qty-3"},
	{observation(`"valueRange":{"low":{"value":1e1},"high":{"value":9.5}}`), "Observation.value", "rng-2"},
	{observation(`"valueRatio":{"numerator":{"value":1}}`), "Observation.value", "rat-1"},
	{observation(`"referenceRange":[{"low":{"value":1,"comparator":"<"}}]`), "Observation.referenceRange[0].low", "comparator"},
	{condition(`"abatementString":"x","clinicalStatus":{"coding":[` + active + `]}`), "Condition", "con-4"},
	{condition(`"clinicalStatus":{"coding":[` + active + `]},"verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-ver-status","code":"entered-in-error"}]}`), "Condition", "con-5"},
	{condition(`"stage":[{"type":{"text":"x"}}]`), "Condition.stage[0]", "con-1"},
	{condition(`"clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"bogus"}]}`), "Condition.clinicalStatus", "condition-clinical"},
	{condition(`"clinicalStatus":{"coding":[{"code":"active"}]}`), "Condition.clinicalStatus", "condition-clinical"},
	{condition(`"clinicalStatus":{"text":"active"}`), "Condition.clinicalStatus", "text is not enough"},
	{`{"resourceType":"AllergyIntolerance","patient":{"reference":"Patient/1"}}`, "AllergyIntolerance", "ait-1"},
	{`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/1"},"activity":[{"detail":{"status":"completed"},"reference":{"reference":"Task/1"}}]}`, "CarePlan.activity[0]", "cpl-3"},
	{`{"resourceType":"Appointment","status":"booked","participant":[{"status":"accepted","type":[{"text":"x"}]}]}`, "Appointment", "app-3"},
	{`{"resourceType":"Appointment","status":"proposed","participant":[{"status":"accepted"}]}`, "Appointment.participant[0]", "app-1"},
	{`{"resourceType":"CareTeam","participant":[{"member":{"reference":"Organization/1"},"onBehalfOf":{"reference":"Organization/2"}}]}`, "CareTeam.participant[0]", "ctm-1"},
	{`{"resourceType":"Bundle","type":"collection","total":1}`, "Bundle", "bdl-1"},
	{`{"resourceType":"Bundle","type":"collection","entry":[{"search":{"mode":"match"},"resource":{"resourceType":"Patient"}}]}`, "Bundle", "bdl-2"},
	{`{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient"}}]}`, "Bundle", "bdl-3"},
	{`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://x/1"}]}`, "Bundle.entry[0]", "bdl-5"},
	{`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://x/1","resource":{"resourceType":"Patient"}},{"fullUrl":"http://x/1","resource":{"resourceType":"Patient"}}]}`, "Bundle", "bdl-7"},
	{`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://x/Patient/1/_history/1","resource":{"resourceType":"Patient"}}]}`, "Bundle.entry[0]", "bdl-8"},
	{`{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"Patient"}}]}`, "Bundle", "bdl-12"},
	{`{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","contact":[{"gender":"male"}]}}]}`, "Bundle.entry[0].resource.contact[0]", "pat-1"},
	{`{"resourceType":"Parameters","parameter":[{"name":"a"}]}`, "Parameters.parameter[0]", "inv-1"},
	{`{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"1","type":"string","item":[{"linkId":"1","type":"string"}]}]}`, "Questionnaire", "que-2"},
	{`{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"1","type":"group"}]}`, "Questionnaire.item[0]", "que-1"},
	{`{"resourceType":"Organization","active":true}`, "Organization", "org-1"},
	{`{"resourceType":"Organization","name":"x","telecom":[{"system":"phone","use":"home"}]}`, "Organization.telecom[0]", "org-3"},
	{`{"resourceType":"Invoice","status":"draft","totalNet":{"value":1,"currency":"Euro"}}`, "Invoice.totalNet.currency", "4217"},
	{`{"resourceType":"Task","status":"draft","intent":"order","authoredOn":"2021-01-01","lastModified":"2020-01-01"}`, "Task", "inv-1"},
	{`{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"reference":"Patient/1"},"medicationCodeableConcept":{"text":"x"},"dosageInstruction":[{"timing":{"repeat":{"period":1}}}]}`, "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-2"},
	{`{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"reference":"Patient/1"},"medicationCodeableConcept":{"text":"x"},"dosageInstruction":[{"timing":{"repeat":{"duration":-1,"durationUnit":"d"}}}]}`, "MedicationRequest.dosageInstruction[0].timing.repeat", "tim-4"},
	{`{"resourceType":"StructureDefinition","url":"http://x","name":"x","status":"draft","kind":"resource","abstract":false,"type":"Patient"}`, "StructureDefinition", "sdf-4"},
	{patient(`"contained":[{"resourceType":"Organization","id":"o","name":"x"}]`), "Patient.contained[0]", "dom-3"},
	{patient(`"contained":[{"resourceType":"Organization","id":"o","name":"x","meta":{"versionId":"1"}}],"managingOrganization":{"reference":"#o"}`), "Patient", "dom-4"},
	{patient(`"contained":[{"resourceType":"Organization","id":"o","name":"x"},{"resourceType":"Organization","id":"o","name":"y"}],"managingOrganization":{"reference":"#o"}`), "Patient.contained[1]", "same id"},
	{patient(`"contained":[{"resourceType":"Organization","id":"o","active":true}],"managingOrganization":{"reference":"#o"}`), "Patient.contained[0]", "org-1"},
	{patient(`"photo":[{"contentType":"picture","url":"http://x"}]`), "Patient.photo[0].contentType", "media type"},
	{extended(`"valueUri":"a b"`), "Patient.extension[0].value", "white space"},
	{extended(`"valueDate":"0000-01-01"`), "Patient.extension[0].value", "year 0"},
	{extended(`"valueAge":{"value":-1,"code":"a","system":"http://unitsofmeasure.org"}`), "Patient.extension[0].value", "age-1"},
	{patient(`"extension":[{"url":"a b","valueString":"x"}]`), "Patient.extension[0].url", "white space"},
}

func TestBrokenRules(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.says, func(t *testing.T) {
			if _, err := fhir.Parse([]byte(tt.body)); err != nil && !strings.Contains(tt.says, "comparator") {
				t.Fatalf("refused for its structure: %v", err)
			}
			_, err := fhir.Parse([]byte(tt.body), profile.Check)
			var e *fhir.Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted: %s", tt.body)
			}
			for _, i := range e.Issues {
				if i.Expression == tt.at && strings.Contains(i.Text, tt.says) {
					return
				}
			}
			t.Errorf("got %v, want %s at %s", e, tt.says, tt.at)
		})
	}
}

// TestKeptRules are bodies that come near a rule and keep it, or of which it
// cannot be told.
func TestKeptRules(t *testing.T) {
	for _, body := range []string{
		patient(`"name":[{"period":{"start":"2020-06","end":"2020"}}]`),
		patient(`"name":[{"period":{"start":"2019-05","end":"2020-12-31T00:00:00Z"}}]`),
		patient(`"name":[{"period":{"start":"2020-01-02T01:00:00+10:00","end":"2020-01-01"}}]`),
		patient(`"name":[{"period":{"start":"2020-01-01T10:00:00+02:00","end":"2020-01-01T08:00:00Z"}}]`),
		patient(`"name":[{"given":["a",null],"_given":[{"id":"x"},{"extension":[{"url":"http://x","valueString":"u"}]}]}]`),
		patient(`"gender":"male","_gender":{"id":"x"}`),
		observation(`"valueRange":{"low":{"value":10,"unit":"mg"},"high":{"value":1,"unit":"g"}}`),
		observation(`"dataAbsentReason":{"text":"x"}`),
		condition(`"clinicalStatus":{"coding":[{"system":"http://example.org","code":"x"},` + active + `]}`),
		condition(`"clinicalStatus":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}`),
		`{"resourceType":"CareTeam","participant":[{"member":{"reference":"Practitioner/1"},"onBehalfOf":{"reference":"Organization/2"}},{"onBehalfOf":{"reference":"Organization/2"}}]}`,
		`{"resourceType":"Bundle","type":"history","entry":[{"fullUrl":"http://x/1","resource":{"resourceType":"Patient"},"request":{"method":"PUT","url":"x"},"response":{"status":"200"}},{"fullUrl":"http://x/1","resource":{"resourceType":"Patient"},"request":{"method":"PUT","url":"x"},"response":{"status":"200"}}]}`,
		patient(`"contained":[{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"#"}}]`),
		patient(`"contained":[{"resourceType":"Organization","id":"o","name":"x","partOf":{"reference":"#p"}},{"resourceType":"Organization","id":"p","name":"x"}],"managingOrganization":{"reference":"#o"}`),
	} {
		if _, err := fhir.Parse([]byte(body), profile.Check); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestAllAtOnce: faults of JSON, of structure, codes and rules in one answer, in
// the same order each time.
func TestAllAtOnce(t *testing.T) {
	body := []byte(patient(`"shoes":1,"gender":"x","name":[],"birthDate":"y","contact":[{"gender":"male"}],"telecom":[{"value":"1"}],"identifier":[{"system":"a b"}],"maritalStatus":{"id":"x"}`))
	want := "Patient Patient.birthDate Patient.contact[0] Patient.gender Patient.identifier[0].system Patient.maritalStatus Patient.name Patient.telecom[0]"
	for range 20 {
		_, err := fhir.Parse(body, profile.Check)
		var e *fhir.Error
		if !errors.As(err, &e) || e.Kind != fhir.Invalid {
			t.Fatalf("got %v", err)
		}
		var at []string
		for _, i := range e.Issues {
			at = append(at, i.Expression)
		}
		if got := strings.Join(at, " "); got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
}

// TestHostileBodies take a time in proportion to their size, whatever the rules
// make of them, and get a short answer that repeats nothing of theirs.
func TestHostileBodies(t *testing.T) {
	const secret = "Ahasver-Wandernder-Jude-1847"
	many := func(n int, item func(i int) string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(item(i))
		}
		return b.String()
	}
	long := strings.Repeat(secret, 10_000)
	bodies := map[string]string{
		"many faults":        patient(`"contact":[` + many(10_000, func(int) string { return `{"gender":"male"}` }) + `]`),
		"many of one rule":   `{"resourceType":"StructureDefinition","url":"http://x","name":"x","status":"draft","kind":"resource","abstract":false,"type":"Patient","baseDefinition":"http://x","derivation":"constraint","snapshot":{"element":[` + many(20_000, func(i int) string { return fmt.Sprintf(`{"id":"a","path":"Patient.a%d"}`, i) }) + `]}}`,
		"each against each":  `{"resourceType":"ImplementationGuide","url":"http://x","name":"x","status":"draft","packageId":"x","fhirVersion":["4.0.1"],"definition":{"grouping":[` + many(20_000, func(i int) string { return fmt.Sprintf(`{"id":"g%d","name":"x"}`, i) }) + `],"resource":[` + many(20_000, func(i int) string { return fmt.Sprintf(`{"reference":{"display":"x"},"groupingId":"h%d"}`, i) }) + `]}}`,
		"many contained":     patient(`"contained":[` + many(5_000, func(i int) string { return fmt.Sprintf(`{"resourceType":"Organization","id":"o%d"}`, i) }) + `]`),
		"deep":               `{"resourceType":"Questionnaire","status":"draft"` + strings.Repeat(`,"item":[{"linkId":"1","type":"group"`, 20) + strings.Repeat(`}]`, 20) + `}`,
		"long values":        patient(`"gender":"` + long + `","birthDate":"` + long + `","id":"` + long + `","language":"` + long + ` ","maritalStatus":{"coding":[{"code":" ` + long + `"}]},"photo":[{"contentType":"` + long + `","data":"` + long + `"}],"extension":[{"url":"x ` + long + `","valueUri":" ` + long + `"}],"link":[{"other":{"reference":"` + long + `"},"type":"` + long + `"}],"text":{"status":"generated","div":"` + long + `"}`),
		"names and values":   patient(`"` + long + `":"` + long + `","multipleBirthInteger":"` + long + `","active":"` + long + `"`),
		"type":               `{"resourceType":"` + long + `"}`,
		"secrets in a value": condition(`"clinicalStatus":{"coding":[{"code":"` + secret + `"}]},"recordedDate":"` + secret + `","note":[{"text":5}],"subject":{"reference":"` + secret + ` x"}`),
		"secrets in more":    patient(`"gender":"` + secret + `","birthDate":"` + secret + `","deceasedDateTime":"` + secret + `","photo":[{"data":"` + secret + `"}],"meta":{"lastUpdated":"` + secret + `","security":[{"system":"` + secret + ` x"}]}`),
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := fhir.Parse([]byte(body), profile.Check)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %v for %d bytes", took, len(body))
			}
			var e *fhir.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if len(e.Issues) > 51 {
				t.Errorf("%d issues", len(e.Issues))
			}
			outcome := string(fhir.Outcome(err))
			if len(outcome) > 60_000 {
				t.Errorf("the answer has %d bytes", len(outcome))
			}
			if strings.Contains(outcome, long) || strings.HasPrefix(name, "secrets") && strings.Contains(outcome, secret) {
				t.Errorf("the answer repeats what was sent: %.3000s", outcome)
			}
		})
	}
}
