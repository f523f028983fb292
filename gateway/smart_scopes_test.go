package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	conditionCategory   = "http://terminology.hl7.org/CodeSystem/condition-category|"
	usConditionCategory = "http://hl7.org/fhir/us/core/CodeSystem/condition-category|"
	observationCategory = "http://terminology.hl7.org/CodeSystem/observation-category|"
	usCategory          = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category|"
)

// compartment are the types that a standalone launch must cover.
var compartment = strings.Fields("Patient AllergyIntolerance CarePlan CareTeam Condition DiagnosticReport DocumentReference Goal Immunization MedicationRequest " +
	"Observation Procedure Provenance ServiceRequest Coverage MedicationDispense Specimen Location Device Encounter Organization Practitioner")

func listed(level string, types []string, rights string) string {
	var scopes []string
	for _, typ := range types {
		scopes = append(scopes, level+"/"+typ+"."+rights)
	}
	return strings.Join(scopes, " ")
}

func scopeRows(t *testing.T, w *smartWorld) {
	t.Run("SC-1 SC-4 v2 scopes and wildcards", func(t *testing.T) {
		for _, scope := range []string{"patient/Observation.rs", "patient/Observation.r", "patient/*.cruds", "user/*.rs"} {
			if r := w.enter("grace", "public", "launch/patient "+scope, mateo); r.str("scope") != "launch/patient "+scope {
				t.Errorf("%s: got %q", scope, r.str("scope"))
			}
		}
	})
	t.Run("SC-2 v1 scopes stay and mean the same", func(t *testing.T) {
		r := w.enter("grace", "public", "launch/patient patient/Patient.read patient/Observation.read", mateo)
		if r.str("scope") != "launch/patient patient/Patient.read patient/Observation.read" {
			t.Errorf("got %q", r.str("scope"))
		}
		expect(t, w.fhir("Patient/pt-1", r.str("access_token")), 200)
		expect(t, w.fhir("Observation?patient=pt-1", r.str("access_token")), 200)
		expect(t, w.fhir("Condition?patient=pt-1", r.str("access_token")), 403)
	})
	t.Run("SC-3 echoed to the letter", func(t *testing.T) {
		scope := "launch/patient patient/Condition.rs?category=" + usConditionCategory + "health-concern patient/Observation.rs?category=" + observationCategory + "survey"
		if r := w.enter("grace", "public", scope, mateo); r.str("scope") != scope {
			t.Errorf("got %q", r.str("scope"))
		}
	})
	t.Run("SC-5 SC-7 SC-8 standalone, all granted", func(t *testing.T) {
		scope := "openid fhirUser launch/patient offline_access " + listed("patient", compartment, "rs")
		r := w.enter("grace", "public", scope, mateo)
		if m := lacking(scopesIn(r), strings.Fields(scope)...); m != nil || strings.Contains(r.str("scope"), "user/") {
			t.Errorf("no %v in %q", m, r.str("scope"))
		}
		for _, typ := range []string{"Device", "Encounter"} {
			expect(t, w.fhir(typ+"?patient=pt-1", r.str("access_token")), 200)
		}
	})
	t.Run("SC-6 practitioner, only user scopes", func(t *testing.T) {
		l := w.ehr("public", "Practitioner/pr-adams", nil)
		scope := "openid fhirUser launch offline_access " + listed("user", compartment, "rs")
		r := w.enter("dr.adams", "public", scope, nil, "launch", l.str("launch"))
		if r.str("scope") != scope {
			t.Errorf("got %q", r.str("scope"))
		}
	})
	t.Run("SC-9 SC-10 A-8 types that were deselected", func(t *testing.T) {
		scope := "openid fhirUser launch/patient offline_access patient/*.rs"
		parts := []string{"patient/*.rs Patient"}
		for _, c := range []string{"encounter-diagnosis", "problem-list-item", "health-concern"} {
			parts = append(parts, "patient/*.rs Condition "+c)
		}
		for _, c := range []string{"laboratory", "vital-signs", "social-history", "survey", "clinical-test", "sdoh"} {
			parts = append(parts, "patient/*.rs Observation "+c)
		}
		r := w.enter("grace", "public", scope, url.Values{"patient": {"pt-1"}, "part": parts})
		if r.str("scope") != "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs" {
			t.Errorf("got %q", r.str("scope"))
		}
		for _, typ := range compartment {
			path, want := typ+"?patient=pt-1", 403
			switch typ {
			case "Patient":
				path, want = "Patient/pt-1", 200
			case "Condition", "Observation":
				want = 200
			case "Provenance", "Location", "Organization", "Practitioner":
				path = typ + "?_id=x"
			}
			if got := w.fhir(path, r.str("access_token")); got.status != want {
				t.Errorf("%s: got %d", typ, got.status)
			}
		}
	})
	t.Run("SC-18 whole types become categories", func(t *testing.T) {
		scope := "openid fhirUser launch/patient offline_access patient/Condition.rs patient/Observation.rs patient/Patient.rs"
		r := w.enter("grace", "public", scope, url.Values{"patient": {"pt-1"}, "part": {
			"patient/Condition.rs Condition problem-list-item", "patient/Observation.rs Observation laboratory", "patient/Observation.rs Observation sdoh"}})
		want := "openid fhirUser launch/patient offline_access patient/Condition.rs?category=" + conditionCategory + "problem-list-item patient/Observation.rs?category=" +
			observationCategory + "laboratory patient/Observation.rs?category=" + usCategory + "sdoh patient/Patient.rs"
		if r.str("scope") != want {
			t.Errorf("got  %q\nwant %q", r.str("scope"), want)
		}
	})
	t.Run("SC-19 clinical-test", func(t *testing.T) {
		scope := "launch/patient patient/Observation.rs?category=" + observationCategory + "clinical-test"
		if r := w.enter("grace", "public", scope, mateo); r.str("scope") != scope {
			t.Errorf("got %q", r.str("scope"))
		}
	})
}

// A hit is what a test looks at in a search result.
type hit struct {
	Type     string `json:"resourceType"`
	ID       string `json:"id"`
	Category []struct {
		Coding []struct{ System, Code string }
	}
}

func (h hit) in(categories ...string) bool {
	for _, c := range h.Category {
		for _, coding := range c.Coding {
			if slices.Contains(categories, coding.System+"|"+coding.Code) {
				return true
			}
		}
	}
	return false
}

// all follows a search to its end.
func (w *smartWorld) all(path, token string) (hits []hit, status int) {
	w.t.Helper()
	for next := "/fhir/" + path; next != ""; {
		r := w.send("GET", next, "", "Authorization", "Bearer "+token)
		if r.status != 200 {
			return nil, r.status
		}
		var page struct {
			Link  []struct{ Relation, URL string }
			Entry []struct{ Resource hit }
		}
		if err := json.Unmarshal([]byte(r.body), &page); err != nil {
			w.t.Fatal(err)
		}
		next = ""
		for _, l := range page.Link {
			if l.Relation == "next" {
				next = l.URL
			}
		}
		for _, e := range page.Entry {
			hits = append(hits, e.Resource)
		}
	}
	return hits, 200
}

// categorised gives Sofia a resource in each of some categories.
func (w *smartWorld) categorised(t *testing.T) map[string]string {
	token := w.enter("dr.adams", "public", "openid user/*.cruds", nil).str("access_token")
	ids := map[string]string{}
	for _, category := range []string{observationCategory + "laboratory", observationCategory + "social-history", observationCategory + "vital-signs", conditionCategory + "encounter-diagnosis",
		conditionCategory + "problem-list-item", usConditionCategory + "health-concern"} {
		system, code, _ := strings.Cut(category, "|")
		typ, rest := "Observation", `"status":"final","effectiveDateTime":"2030-01-01",`
		if strings.Contains(system, "condition") {
			typ, rest = "Condition", ""
		}
		body := fmt.Sprintf(`{"resourceType":%q,%s"category":[{"coding":[{"system":%q,"code":%q}]}],"code":{"text":"x"},"subject":{"reference":"Patient/pt-2"}}`, typ, rest, system, code)
		r := w.send("POST", "/fhir/"+typ, body, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+token)
		if r.status != 201 {
			t.Fatalf("%s: %d %s", typ, r.status, r.body)
		}
		ids[category] = typ + "/" + r.str("id")
	}
	return ids
}

func granularRows(t *testing.T, w *smartWorld) {
	ids := w.categorised(t)
	sofia := url.Values{"patient": {"pt-2"}}
	granted := map[string][]string{
		"Condition":   {conditionCategory + "encounter-diagnosis", usConditionCategory + "health-concern"},
		"Observation": {observationCategory + "laboratory", observationCategory + "social-history"},
	}
	scope := "launch/patient openid fhirUser offline_access"
	for _, typ := range []string{"Condition", "Observation"} {
		for _, c := range granted[typ] {
			scope += " patient/" + typ + ".rs?category=" + c
		}
	}
	r := w.enter("grace", "public", scope, sofia)
	token := r.str("access_token")
	whole := w.enter("grace", "public", "launch/patient patient/*.rs", sofia).str("access_token")
	t.Run("SC-11 granted as they are", func(t *testing.T) {
		if r.str("scope") != scope {
			t.Errorf("got %q", r.str("scope"))
		}
	})
	t.Run("SC-12 SC-13 SC-14 SC-15 searches give exactly what the scopes open", func(t *testing.T) {
		for _, query := range []string{"Condition?patient=pt-2", "Condition?patient=pt-2&category=" + conditionCategory + "encounter-diagnosis", "Condition?patient=pt-2&category=" + conditionCategory + "problem-list-item",
			"Observation?patient=pt-2", "Observation?patient=pt-2&category=" + observationCategory + "laboratory", "Observation?patient=pt-2&category=laboratory", "Observation?patient=pt-2&category=vital-signs",
			"Observation?patient=pt-2&code=8302-2", "Observation?patient=pt-2&category=" + observationCategory + "laboratory&date=gt2020-01-01", "Observation?patient=pt-2&category=laboratory,vital-signs"} {
			typ, _, _ := strings.Cut(query, "?")
			query = strings.ReplaceAll(query, "|", "%7C") + "&_count=200"
			before, status := w.all(query, whole)
			if status != 200 {
				t.Errorf("%s: %d", query, status)
			}
			want := slices.DeleteFunc(before, func(h hit) bool { return !h.in(granted[typ]...) })
			got, status := w.all(query, token)
			same := slices.EqualFunc(want, got, func(a, b hit) bool { return a.ID == b.ID })
			if status != 200 || !same {
				t.Errorf("%s: got %d with %d, want %d", query, status, len(got), len(want))
			}
		}
	})
	t.Run("SC-16 reading one that matches", func(t *testing.T) {
		for _, categories := range granted {
			for _, c := range categories {
				expect(t, w.fhir(ids[c], token), 200)
			}
		}
	})
	t.Run("SC-17 reading one that does not", func(t *testing.T) {
		for _, c := range []string{observationCategory + "vital-signs", conditionCategory + "problem-list-item"} {
			if got := w.fhir(ids[c], token); got.status == 200 || got.str("resourceType") != "OperationOutcome" {
				t.Errorf("got %d %.200s", got.status, got.body)
			}
		}
	})
}

func resourceRows(t *testing.T, w *smartWorld) {
	token := w.enter("grace", "public", "launch/patient patient/Patient.rs "+listed("patient", compartment, "rs"), mateo).str("access_token")
	t.Run("R-1 without a token: exactly 401", func(t *testing.T) {
		expect(t, w.send("GET", "/fhir/Patient/pt-1", ""), 401)
	})
	t.Run("R-2 a type without scope", func(t *testing.T) {
		narrow := w.enter("grace", "public", "launch/patient patient/Patient.rs", mateo).str("access_token")
		expect(t, w.fhir("Observation?patient=pt-1", narrow), 403)
	})
	t.Run("R-3 searches of all types", func(t *testing.T) {
		for _, query := range []string{"Patient?_id=pt-1", "AllergyIntolerance?patient=pt-1", "CarePlan?patient=pt-1&category=assess-plan", "CareTeam?patient=pt-1&status=proposed", "Condition?patient=pt-1",
			"Device?patient=pt-1", "DiagnosticReport?patient=pt-1&category=LAB", "DocumentReference?patient=pt-1", "Goal?patient=pt-1", "Immunization?patient=pt-1", "MedicationRequest?patient=pt-1&intent=proposal",
			"Observation?patient=pt-1&code=2708-6", "Procedure?patient=pt-1", "Encounter?patient=pt-1", "ServiceRequest?patient=pt-1", "Coverage?patient=pt-1", "MedicationDispense?patient=pt-1"} {
			if got := w.fhir(query, token); got.status != 200 {
				t.Errorf("%s: %d %.200s", query, got.status, got.body)
			}
		}
	})
}
