package consent_test

import (
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

func expressions(issues []fhir.Issue) string {
	var list []string
	for _, i := range issues {
		list = append(list, i.Expression)
	}
	return strings.Join(list, " ")
}

func TestValidateABody(t *testing.T) {
	w := newWorld(t)
	bad := []byte(`{"resourceType":"Patient","gender":"x","contact":[{"gender":"male"}]}`)
	for _, c := range []consent.Caller{w.as("okafor"), w.as("grace"), w.app("chen", "user/Patient.s", "")} {
		issues, err := w.guard.Validate(t.Context(), c, consent.Validation{Type: "Patient", Body: bad})
		if err != nil || expressions(issues) != "Patient.contact[0] Patient.gender" {
			t.Errorf("got %v, %v", issues, err)
		}
	}
	_, err := w.guard.Validate(t.Context(), w.app("chen", "user/Observation.cruds", ""), consent.Validation{Type: "Patient", Body: bad})
	wantKind(t, err, fhir.Forbidden)
	_, err = w.guard.Validate(t.Context(), w.as("chen"), consent.Validation{Type: "Patient", Body: []byte("<x/>")})
	wantKind(t, err, fhir.Invalid)
	_, err = w.guard.Validate(t.Context(), w.as("chen"), consent.Validation{Type: "Patient"})
	wantKind(t, err, fhir.Invalid)
	_, err = w.guard.Validate(t.Context(), w.as("chen"), consent.Validation{Type: "Patient", Body: bad, Profile: "http://example.org/x"})
	wantKind(t, err, fhir.Unprocessable)
	issues, err := w.guard.Validate(t.Context(), w.as("chen"), consent.Validation{Type: "Observation", Body: bad})
	if err != nil || !strings.Contains(expressions(issues), "resourceType") {
		t.Errorf("got %v, %v", issues, err)
	}
	if err := w.read(w.as("chen"), "Patient/nobody"); fhir.KindOf(err) != fhir.NotFound {
		t.Error("something was stored")
	}
}

// TestValidateAnInstance: it is a read; what is hidden is as if it were not there.
func TestValidateAnInstance(t *testing.T) {
	w := newWorld(t)
	ask := func(who, id, mode, body string) ([]fhir.Issue, error) {
		v := consent.Validation{Type: "Patient", ID: id, Mode: mode}
		if body != "" {
			v.Body = []byte(body)
		}
		return w.guard.Validate(t.Context(), w.as(who), v)
	}
	for _, mode := range []string{"", "update", "delete"} {
		for _, body := range []string{"", `{"resourceType":"Patient","id":"mateo"}`, "{"} {
			_, hidden := ask("okafor", "mateo", mode, body)
			_, absent := ask("okafor", "nobody", mode, body)
			wantKind(t, hidden, fhir.NotFound)
			if string(fhir.Outcome(hidden)) != string(fhir.Outcome(absent)) {
				t.Errorf("hidden: %v, absent: %v", hidden, absent)
			}
		}
	}
	if issues, err := ask("adams", "mateo", "", ""); err != nil || len(issues) != 0 {
		t.Errorf("got %v, %v", issues, err)
	}
	if issues, err := ask("adams", "mateo", "update", `{"resourceType":"Patient","id":"other"}`); err != nil || expressions(issues) != "Patient.id" {
		t.Errorf("got %v, %v", issues, err)
	}
	_, err := ask("adams", "mateo", "create", `{"resourceType":"Patient"}`)
	wantKind(t, err, fhir.Invalid)
	_, err = w.guard.Validate(t.Context(), w.app("adams", "user/Patient.cuds", ""), consent.Validation{Type: "Patient", ID: "mateo"})
	wantKind(t, err, fhir.Forbidden)
	issues, err := w.guard.Validate(t.Context(), w.as("adams"), consent.Validation{Type: "Patient", ID: "mateo", Mode: "profile",
		Profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"})
	if err != nil || !strings.Contains(expressions(issues), "Patient.gender") {
		t.Errorf("got %v, %v", issues, err)
	}
}

// TestIntegrityTellsNothingHidden: to a writer, what they may not read is not there.
func TestIntegrityTellsNothingHidden(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Integrity = true })
	w.put(`{"resourceType":"Encounter","id":"ava-visit","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ava"}}`)
	w.put(`{"resourceType":"Encounter","id":"mateo-visit","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/mateo"}}`)
	write := func(to, performer string) error {
		_, _, err := w.guard.Create(t.Context(), w.as("adams"), "Observation", []byte(`{"resourceType":"Observation","status":"final","code":{"text":"x"},`+
			`"subject":{"reference":"Patient/mateo"},"performer":[{"reference":"`+performer+`"}],"encounter":{"reference":"`+to+`"}}`))
		return err
	}
	if err := write("Encounter/mateo-visit", "Practitioner/chen"); err != nil {
		t.Error(err)
	}
	wantKind(t, write("Encounter/mateo-visit", "Practitioner/nobody"), fhir.Unprocessable)
	hidden, absent := write("Encounter/ava-visit", "Practitioner/chen"), write("Encounter/nothing", "Practitioner/chen")
	wantKind(t, hidden, fhir.Unprocessable)
	if string(fhir.Outcome(hidden)) != string(fhir.Outcome(absent)) {
		t.Errorf("hidden: %v, absent: %v", hidden, absent)
	}

	about := func(patient string) error { // nor does the record that it would belong to
		_, _, err := w.guard.Create(t.Context(), w.as("okafor"), "Observation",
			[]byte(`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"`+patient+`"}}`))
		return err
	}
	hidden, absent = about("Patient/ava"), about("Patient/nobody")
	if hidden == nil || string(fhir.Outcome(hidden)) != string(fhir.Outcome(absent)) {
		t.Errorf("hidden: %v, absent: %v", hidden, absent)
	}

	w.put(`{"resourceType":"Observation","id":"ava-note","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"encounter":{"reference":"Encounter/mateo-visit"}}`)
	remove := func() error {
		return w.guard.Delete(t.Context(), w.as("adams"), fhir.Key{Type: "Encounter", ID: "mateo-visit"}, nil)
	}
	wantKind(t, remove(), fhir.Conflict) // by an Observation that adams wrote
	ids, err := w.search(w.as("adams"), "Observation", "encounter=mateo-visit")
	if err != nil || len(ids) != 1 {
		t.Fatalf("got %v, %v", ids, err)
	}
	if err := w.guard.Delete(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: ids[0]}, nil); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil { // what refers to it now is hidden from adams
		t.Error(err)
	}
}
