package rest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// oddTexts are what stores and parsers stumble over.
var oddTexts = []string{"\x00", "a\x00b", "\xff", "\xc3\x28", "\ufffe", "\ud7ff", "\u200b", strings.Repeat("é", 3000), strings.Repeat("(a+)+", 400), "%", "_", `\`, "'", `"`, "\u2028", "*", "{}"}

// TestOddTextsAreNoFaultOfOurs: nothing that a caller sends is answered with 5xx.
func TestOddTextsAreNoFaultOfOurs(t *testing.T) {
	w := newWorldFor(t, 1<<20)
	for _, odd := range oddTexts {
		e := url.QueryEscape(odd)
		for _, path := range []string{
			"Patient?name=" + e, "Patient?name:exact=" + e, "Patient?name:contains=" + e, "Patient?identifier=" + e, "Patient?identifier=urn:mrn|" + e, "Patient?identifier=" + e + "|1",
			"Patient?_id=" + e, "Patient?_sort=" + e, "Patient?" + e + "=1", "Patient?_include=" + e, "Patient?_elements=" + e, "Patient?_cursor=" + e, "Patient?_count=" + e,
			"Patient?general-practitioner=" + e, "Patient?_profile=" + e, "Patient?_profile:below=" + e, "Patient?_has:Observation:patient:code=" + e, "Patient?general-practitioner:Practitioner.name=" + e,
			"Patient?birthdate=" + e, "Patient?_list=" + e, "Observation?code:in=" + e, "Observation?code:below=" + e, "Observation?code=" + e + "&_summary=count", "Observation?value-quantity=1|" + e, "Observation?code:text=" + e,
			"Observation?code-value-quantity=" + e + "$1", "Observation?_content=" + e, "Observation?_text=" + e, "Location?near=" + e, "Location?organization:below=" + e,
			"_history?_since=" + e, "Observation/_history?_at=" + e, "Observation/_history?_cursor=" + e, "Patient/1/$everything?_type=" + e, "?_type=" + e, "?_type=Patient&name=" + e,
			"Patient/" + url.PathEscape(odd), "Patient/1/_history/" + url.PathEscape(odd), "Patient/1/" + url.PathEscape(odd), url.PathEscape(odd), "Consent/" + url.PathEscape(odd) + "/$approve", "OperationDefinition/" + url.PathEscape(odd),
		} {
			for _, token := range []string{"adams", "system"} {
				if a := w.get("/fhir/"+path, token); a.StatusCode >= 500 {
					t.Errorf("GET %.80q: %d %s", path, a.StatusCode, a.body)
				}
			}
		}
		text, _ := json.Marshal(odd)
		parameter := func(name string) string { return `{"name":"` + name + `","valueString":` + string(text) + `}` }
		for _, r := range []struct{ method, path, body string }{
			{"POST", "Observation", `{"resourceType":"Observation","status":"final","code":{"text":` + string(text) + `,"coding":[{"system":"urn:x","code":` + string(text) + `}]},"subject":{"reference":"Patient/1"}}`},
			{"POST", "Observation", `{"resourceType":"Observation","status":"final","identifier":[{"system":"urn:x","value":` + string(text) + `}],"code":{"text":"x"},"subject":{"reference":` + string(text) + `}}`},
			{"POST", "Observation", `{"resourceType":"Observation","meta":{"tag":[{"system":` + string(text) + `,"code":"a"}],"profile":[` + string(text) + `]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/1"},"note":[{"text":` + string(text) + `}]}`},
			{"PATCH", "Observation/a", `[{"op":"add","path":"/note","value":[{"text":` + string(text) + `}]}]`},
			{"PATCH", "Observation/a", `[{"op":"add","path":` + string(text) + `,"value":1}]`},
			{"POST", "Patient/$redeem-invitation", `{"resourceType":"Parameters","parameter":[` + parameter("token") + `,` + parameter("mrn") + `,` + parameter("client_id") + `]}`},
			{"POST", "Patient/$request-access", `{"resourceType":"Parameters","parameter":[` + parameter("patient") + `,` + parameter("reason") + `]}`},
			{"POST", "Patient/1/$invite", `{"resourceType":"Parameters","parameter":[` + parameter("email") + `,` + parameter("npi") + `]}`},
			{"POST", "Patient/$validate?profile=" + e, `{"resourceType":"Patient"}`},
			{"POST", "", entries("transaction", entryOf("urn:x", "POST", "Observation", `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient?name=`+e+`"}}`))},
			{"POST", "", entries("batch", `{"request":{"method":`+string(text)+`,"url":`+string(text)+`,"ifNoneMatch":`+string(text)+`,"ifMatch":`+string(text)+`}}`, `{"request":{"method":"GET","url":"Patient/1","ifNoneMatch":`+string(text)+`}}`)},
		} {
			kind := "application/fhir+json"
			if r.method == "PATCH" {
				kind = "application/json-patch+json"
			}
			for _, token := range []string{"adams", "system"} {
				a := w.do(r.method, "/fhir/"+r.path, token, r.body, "Content-Type", kind, "If-None-Exist", "")
				if a.StatusCode >= 500 || strings.Contains(a.body, `"status":"5`) {
					t.Errorf("%s %s %.200q: %d %s", r.method, r.path, r.body, a.StatusCode, a.body)
				}
			}
		}
		if a := w.do("POST", "/fhir/Observation", "adams", glucose, "If-None-Exist", "code="+e); a.StatusCode >= 500 {
			t.Errorf("If-None-Exist %q: %s", odd, a.body)
		}
	}
}

// TestOddAddressesInABatch lead nowhere but where they would alone.
func TestOddAddressesInABatch(t *testing.T) {
	w := newWorld(t)
	for _, address := range []string{
		"../oauth/token", "..", ".", "../appstate/Basic?code=a|b&subject:missing=true", "//evil.example/Patient/1", "/fhir/Patient/1", "/Patient/1", "http://gateway.example.org/fhir/Patient/1", site + "/fhir/Patient/1",
		"Patient/../Patient/1", "Patient//1", "Patient/1/", "%2e%2e/fhir/Patient/1", "Patient/1#x", "Patient/1;a=b", "?", "#", "%", "Patient/%zz", "\\fhir", "javascript:alert(1)", "Patient/1/_history/1/2", "$export", "Patient/1/$access/", "_search", "Patient/_search",
		"metadata/x", "fhir/Patient/1", "Patient%2f1%2f_history", "patient/1", "Bundle/..%2f..",
	} {
		for _, method := range []string{"GET", "get", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "HEAD", "GET /fhir/Patient/1 HTTP/1.1\r\nX: y"} {
			m, _ := json.Marshal(method)
			u, _ := json.Marshal(address)
			a := w.do("POST", "/fhir", "okafor", entries("batch", `{"request":{"method":`+string(m)+`,"url":`+string(u)+`}}`))
			if a.StatusCode >= 500 || strings.Contains(a.body, `"status":"5`) || strings.Contains(a.body, "Rivera") || strings.Contains(a.body, "<html") {
				t.Errorf("%s %s: %d %s", method, address, a.StatusCode, a.body)
			}
			if strings.Contains(a.body, `"status":"2`) {
				t.Logf("%s %s: %.300s", method, address, a.body)
			}
		}
	}
}
