package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// fillRecord puts two patients down who refer to each other, and the directory.
func fillRecord(w *world) {
	w.put(
		`{"resourceType":"Organization","id":"oak","name":"Oak","partOf":{"reference":"Organization/big"}}`, `{"resourceType":"Organization","id":"big","name":"Big"}`, `{"resourceType":"Organization","id":"far","name":"Far"}`,
		`{"resourceType":"Practitioner","id":"adams"}`, `{"resourceType":"PractitionerRole","id":"ra","practitioner":{"reference":"Practitioner/adams"},"organization":{"reference":"Organization/oak"}}`,
		`{"resourceType":"Medication","id":"ibu"}`, `{"resourceType":"Device","id":"shelf"}`,
		`{"resourceType":"Patient","id":"ada","link":[{"other":{"reference":"Patient/bob"},"type":"seealso"}]}`, `{"resourceType":"Patient","id":"bob"}`,
		`{"resourceType":"Observation","id":"a1","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ada"},"effectiveDateTime":"2020-05-05","performer":[{"reference":"PractitionerRole/ra"}],"focus":[{"reference":"Patient/bob"}],"device":{"reference":"Device/shelf"}}`,
		`{"resourceType":"Observation","id":"b1","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/bob"},"hasMember":[{"reference":"Observation/a1"}]}`,
		`{"resourceType":"AllergyIntolerance","id":"al","verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-verification","code":"entered-in-error"}]},"patient":{"reference":"Patient/ada"}}`,
		`{"resourceType":"Appointment","id":"both","status":"proposed","participant":[{"actor":{"reference":"Patient/ada"},"status":"accepted"},{"actor":{"reference":"Patient/bob"},"status":"accepted"}]}`,
	)
	w.wait(time.Hour) // 13:00
	w.put(`{"resourceType":"MedicationRequest","id":"m1","status":"active","intent":"order","subject":{"reference":"Patient/ada"},"authoredOn":"2021-06-01","medicationReference":{"reference":"Medication/ibu"}}`)
}

func (w *world) everything(query string, sight engine.Sight, patients ...string) ([]string, *fhir.Page) {
	w.t.Helper()
	q, err := engine.ParseEverything(queryOf(w.t, query), false, time.UTC)
	if err != nil {
		w.t.Fatal(err)
	}
	var page *fhir.Page
	w.view(func(tx *engine.Tx) error {
		page, err = tx.PatientEverything(patients, q, sight)
		return err
	})
	return list(page), page
}

func TestEverything(t *testing.T) {
	w := newWorld(t)
	fillRecord(w)
	for query, want := range map[string]string{
		"": "match Patient/ada,match AllergyIntolerance/al,match Appointment/both,match MedicationRequest/m1,match Observation/a1," +
			"include Medication/ibu,include PractitionerRole/ra,include Organization/oak,include Practitioner/adams,include Organization/big",
		"_type=Observation,Patient":                         "match Patient/ada,match Observation/a1",
		"_type=Observation,Practitioner":                    "match Observation/a1",
		"_type=Observation&_type=Patient,MedicationRequest": "match Patient/ada,match MedicationRequest/m1,match Observation/a1",
		"_type=MedicationRequest":                           "match MedicationRequest/m1",
		"start=2021":                                        "match Patient/ada,match AllergyIntolerance/al,match Appointment/both,match MedicationRequest/m1,include Medication/ibu",
		"start=2020-05-05&end=2020-05-05&_type=Patient,Observation,MedicationRequest": "match Patient/ada,match Observation/a1",
		"end=2020-05-04":                              "match Patient/ada,match AllergyIntolerance/al,match Appointment/both",
		"_since=2024-02-29T12:30:00Z":                 "match MedicationRequest/m1",
		"_since=2024-03-01":                           "",
		"_type=MedicationRequest,Medication&_count=1": "match MedicationRequest/m1,include Medication/ibu",
	} {
		got, page := w.everything(query, engine.Everything, "Patient/ada")
		if strings.Join(got, ",") != want {
			t.Errorf("%s:\ngot  %v\nwant %v", query, strings.Join(got, ","), want)
		}
		if matches := strings.Count(want, "match"); total(page) != fmt.Sprint(matches) {
			t.Errorf("%s: got total %s, want %d", query, total(page), matches)
		}
		if strings.Contains(query, "_count") {
			continue
		}
		if got, counted := w.everything(query+"&_count=0", engine.Everything, "Patient/ada"); len(got) != 0 || counted.Next != "" || total(counted) != total(page) {
			t.Errorf("%s&_count=0: got %v of %s, next %q, want none of %s", query, got, total(counted), counted.Next, total(page))
		}
	}
	got, _ := w.everything("_type=Patient,Appointment,Observation", engine.Everything, "Patient/bob", "Patient/ada")
	if want := "match Patient/ada,match Patient/bob,match Appointment/both,match Observation/a1,match Observation/b1"; strings.Join(got, ",") != want {
		t.Errorf("two patients:\ngot  %v\nwant %s", got, want)
	}
	if got, _ := w.everything("_type=Patient", engine.Everything, "Patient/bob"); strings.Join(got, ",") != "match Patient/bob" { // whom ada is linked to
		t.Errorf("one patient: got %v", got)
	}
	hides := func(t fhir.Type) store.Expr {
		if t == "Practitioner" || t == "Observation" {
			return store.None()
		}
		return store.All()
	}
	got, page := w.everything("", hides, "Patient/ada")
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "Practitioner") || strings.Contains(s, "Observation") }) || total(page) != "4" {
		t.Errorf("what is hidden shows: %v of %s", got, total(page))
	}
	if _, page := w.everything("_count=0", hides, "Patient/ada"); total(page) != "4" {
		t.Errorf("what is hidden counts: %s", total(page))
	}
}

func TestPagesOfEverything(t *testing.T) {
	w := newWorld(t)
	fillRecord(w)
	whole, _ := w.everything("", engine.Everything, "Patient/ada", "Patient/bob")
	matches := slices.DeleteFunc(whole, func(s string) bool { return strings.HasPrefix(s, "include") })
	for count := 1; count < 8; count++ {
		var got []string
		for query := fmt.Sprintf("_count=%d", count); query != ""; {
			rows, page := w.everything(query, engine.Everything, "Patient/ada", "Patient/bob")
			for _, row := range rows {
				if strings.HasPrefix(row, "match") {
					got = append(got, row)
				}
			}
			if query = page.Next; query != "" && page.Total != nil {
				t.Error("a total on a page of several")
			}
		}
		if !slices.Equal(got, matches) {
			t.Errorf("pages of %d:\ngot  %v\nwant %v", count, got, matches)
		}
	}
	for query, parameter := range map[string]string{"start=soon": "http.start", "_type=Nothing": "http._type", "x=1": "http.x", "_count=-1": "http._count", "_since=1&_since=2": "http._since", "end=2020-13": "http.end"} {
		_, err := engine.ParseEverything(queryOf(t, query), false, time.UTC)
		if fhir.KindOf(err) != fhir.Invalid || !strings.Contains(err.Error(), parameter) {
			t.Errorf("%s: got %v, want a refusal that names %s", query, err, parameter)
		}
	}
	if _, err := engine.ParseEverything(queryOf(t, "x=1"), true, time.UTC); err != nil {
		t.Errorf("lenient: %v", err)
	}
	w.view(func(tx *engine.Tx) error {
		for _, cursor := range []string{"x", "Practitioner/adams", "Nothing/1"} {
			_, err := tx.PatientEverything([]string{"Patient/ada"}, engine.EverythingQuery{Cursor: cursor}, engine.Everything)
			wantKind(t, err, fhir.Invalid)
		}
		return nil
	})
}
