package rest_test

import (
	"strings"
	"testing"
)

func TestValidateOperation(t *testing.T) {
	w := newWorld(t)
	const usCore = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		says                     string // all words must be in the outcome
	}{
		{"nothing wrong", "POST", "/Patient/$validate", `{"resourceType":"Patient"}`, 200, `"information"`},
		{"all at once", "POST", "/Patient/$validate", `{"resourceType":"Patient","gender":"x","name":[{"given":["a",5]}],"contact":[{"gender":"male"}]}`, 200, `"Patient.gender" "Patient.name[0].given[1]" "Patient.contact[0]" "details":{"text": "error"`},
		{"wrapped", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient","gender":"x"}},{"name":"mode","valueCode":"create"}]}`, 200, `"Patient.gender"`},
		{"by a profile in the query", "POST", "/Patient/$validate?profile=" + usCore, `{"resourceType":"Patient","gender":"male"}`, 200, `"Patient.identifier" "Patient.name" "required"`},
		{"by a profile and its version", "POST", "/Patient/$validate?profile=" + usCore + "%7C6.1.0", `{"resourceType":"Patient","gender":"male"}`, 200, `"Patient.identifier"`},
		{"by a profile in the body", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"profile","valueUri":"` + usCore + `"},{"name":"resource","resource":{"resourceType":"Patient"}}]}`, 200, `"Patient.gender"`},
		{"another type", "POST", "/Observation/$validate", `{"resourceType":"Patient"}`, 200, `"resourceType" "error"`},
		{"faulty Parameters", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":5}]}`, 200, `"resourceType" "error"`},
		{"Parameters themselves", "POST", "/Parameters/$validate", `{"resourceType":"Parameters","parameter":[{"name":"a"}]}`, 200, `inv-1`},
		{"an instance", "GET", "/Patient/1/$validate", "", 200, `"information"`},
		{"an instance by a profile", "GET", "/Patient/1/$validate?mode=profile&profile=" + usCore, "", 200, `"Patient.gender"`},
		{"an instance's next version", "POST", "/Patient/1/$validate?mode=update", `{"resourceType":"Patient","id":"2"}`, 200, `"Patient.id"`},
		{"a deletion", "POST", "/Patient/1/$validate?mode=delete", "", 200, `"information"`},

		{"no JSON", "POST", "/Patient/$validate", `<Patient/>`, 400, `"fatal"`},
		{"no FHIR", "POST", "/Patient/$validate", `{"a":1}`, 400, `"resourceType"`},
		{"nothing", "POST", "/Patient/$validate", "", 400, `"resource"`},
		{"unknown mode", "POST", "/Patient/$validate?mode=guess", `{"resourceType":"Patient"}`, 400, `"http.mode"`},
		{"delete of a type", "POST", "/Patient/$validate?mode=delete", `{"resourceType":"Patient"}`, 400, `"http.mode"`},
		{"unknown profile", "POST", "/Patient/$validate?profile=http://example.org/x", `{"resourceType":"Patient"}`, 422, `"http.profile"`},
		{"unknown version", "POST", "/Patient/$validate?profile=" + usCore + "%7C9", `{"resourceType":"Patient"}`, 422, `"http.profile"`},
		{"unknown parameter", "POST", "/Patient/$validate?x=1", `{"resourceType":"Patient"}`, 400, `"http.x"`},
		{"parameter twice", "POST", "/Patient/$validate?mode=create&mode=update", `{"resourceType":"Patient"}`, 400, `"http.mode"`},
		{"unknown mode in the body", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient"}},{"name":"mode","valueCode":"guess"}]}`, 400, `"Parameters.parameter[1]"`},
		{"unknown profile in the body", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"profile","valueUri":"http://example.org/x"},{"name":"resource","resource":{"resourceType":"Patient"}}]}`, 422, `"Parameters.parameter[0]"`},
		{"unknown parameter in the body", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"x","valueCode":"y"}]}`, 400, `"Parameters.parameter[0]"`},
		{"resource twice", "POST", "/Patient/$validate", `{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient"}},{"name":"resource","resource":{"resourceType":"Patient"}}]}`, 400, `"Parameters.parameter[1]"`},
		{"not there", "GET", "/Patient/nobody/$validate", "", 404, `"not-found"`},
		{"GET of a type", "GET", "/Patient/$validate", "", 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := w.do(tt.method, "/fhir"+tt.path, "adams", tt.body)
			if got.StatusCode != tt.status {
				t.Fatalf("got %d, want %d: %s", got.StatusCode, tt.status, got.body)
			}
			got.has(strings.Fields(tt.says)...)
		})
	}
	w.do("POST", "/fhir/Patient/$validate", "", `{"resourceType":"Patient"}`).status(401)
	hidden, absent := w.get("/fhir/Patient/1/$validate", "okafor").status(404), w.get("/fhir/Patient/none/$validate", "okafor")
	if hidden.body != absent.body {
		t.Errorf("hidden: %s, absent: %s", hidden.body, absent.body)
	}
}
