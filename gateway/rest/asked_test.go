package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSearchFormOfNothing: a search by POST may have all its parameters in the
// address, and no body.
func TestSearchFormOfNothing(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]int{"/fhir/Observation/_search?patient=1&_count=2": 2, "/fhir/_search?_type=Patient": 1} {
		if b := w.do("POST", path, "adams", "").bundle(); len(b.Entry) != want {
			t.Errorf("%s: got %d entries, want %d", path, len(b.Entry), want)
		}
	}
	w.do("POST", "/fhir", "adams", entries("batch", "POST Observation/_search?patient=1&_count=1")).status(200).
		has(`"searchset"`, "Observation/a").lacks("OperationOutcome")
}

// TestOddQueries: a semicolon belongs to a value, and what cannot be read is named.
func TestOddQueries(t *testing.T) {
	w := newWorld(t)
	w.get("/fhir/Patient/1?_format=application/fhir+json;fhirVersion=4.0", "adams").status(200)
	w.get("/fhir/Patient/1?_format=application/fhir%2Bjson;fhirVersion=3.0", "adams").outcome(406, "not-supported")
	if b := w.get("/fhir/Patient?family=riv;era", "adams").bundle(); len(b.Entry) != 0 || !strings.HasSuffix(b.link("self"), "family=riv%3Bera") {
		t.Errorf("got %+v", b)
	}
	w.get("/fhir/Patient?gender=male&family=50%", "adams").outcome(400, "invalid").has(`"http.family"`)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	w.do("POST", "/fhir/Patient/_search", "adams", "family=%zz", form...).outcome(400, "invalid").has(`"http.family"`)
	w.do("POST", "/fhir/Patient/_search", "adams", "family=riv;&gender:missing=true", form...).status(200).has("family=riv%3B")
	w.do("POST", "/fhir/Patient", "system", `{"resourceType":"Patient"}`, "If-None-Exist", "identifier=%zz").outcome(400, "invalid").has(`"http.identifier"`)
	w.do("POST", "/fhir", "adams", entries("transaction", "GET Patient?family=a;b")).status(200)
	w.get("/fhir/Patient?_id=1&_count=1", "adams").has(base + "/Patient?_count=1&_id=1")
}

// TestPartsOfDocuments: what is public is cut as resources are, and its parameters
// are not ignored.
func TestPartsOfDocuments(t *testing.T) {
	w := newWorld(t)
	whole := w.get("/fhir/metadata", "").status(200)
	for query, want := range map[string]string{"_elements=fhirVersion": "", "_summary=text": "", "mode=full&_elements=rest": "rest"} {
		a := w.get("/fhir/metadata?"+query, "").status(200).has("SUBSETTED", `"fhirVersion":"4.0.1"`)
		var got struct{ Rest []json.RawMessage }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || (len(got.Rest) == 1) != (want != "") || len(a.body) >= len(whole.body) && want == "" {
			t.Errorf("%s: got %d bytes, %d rest, %v", query, len(a.body), len(got.Rest), err)
		}
	}
	w.get("/fhir/metadata?mode=terminology", "").outcome(400, "not-supported").has(`"http.mode"`)
	w.get("/fhir/metadata?x=1&_summary=false", "").outcome(400, "invalid").has(`"http.x"`)
	w.get("/fhir/metadata?x=1", "", "Prefer", "handling=lenient").status(200)
	w.get("/fhir/metadata?_summary=count", "").outcome(400, "value").has(`"http._summary"`)
	w.get("/fhir/OperationDefinition/Consent-approve?_elements=url", "").status(200).has("SUBSETTED").lacks(`"parameter"`)
	w.get("/fhir/OperationDefinition/Consent-approve?x=1", "").outcome(400, "invalid").has(`"http.x"`)
}

// TestUUIDsStay: an element of type uuid cannot hold what an entry is called here.
func TestUUIDsStay(t *testing.T) {
	w := newWorld(t)
	const urn = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"
	patient := `{"resourceType":"Patient","extension":[{"url":"http://example.org/a","valueUuid":"` + urn + `"},{"url":"http://example.org/b","valueUri":"` + urn + `"}]}`
	w.do("POST", "/fhir", "system", entries("transaction", entryOf(urn, "POST", "Patient", patient)), "Prefer", "return=representation").status(200).
		has(`"valueUuid":"`+urn+`"`, `"valueUri":"Patient/`)
}
