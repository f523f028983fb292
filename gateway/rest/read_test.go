package rest_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestReadAnswersWithWhatIsStored(t *testing.T) {
	w := newWorld(t)
	a := w.get("/fhir/Observation/a", "system").status(http.StatusOK)
	a.header("ETag", `W/"1"`).header("Last-Modified", "Wed, 07 May 2031 12:00:00 GMT").header("Cache-Control", "no-store")
	a.header("Content-Type", "application/fhir+json; charset=utf-8").header("X-Request-Id", "request-1")
	a.has(`"value":1.20,`, `"versionId":"1"`)

	w.get("/fhir/Observation/a", "system", "If-None-Match", `W/"1"`).status(http.StatusNotModified).header("ETag", `W/"1"`)
	w.get("/fhir/Observation/a", "system", "If-None-Match", `W/"7", "1"`).status(http.StatusNotModified)
	w.get("/fhir/Observation/a", "system", "If-None-Match", `W/"2"`).status(http.StatusOK)
	w.get("/fhir/Observation/a", "system", "If-Modified-Since", "Wed, 07 May 2031 12:00:00 GMT").status(http.StatusNotModified)
	w.get("/fhir/Observation/a", "system", "If-Modified-Since", "Wed, 07 May 2031 11:59:59 GMT").status(http.StatusOK)

	w.get("/fhir/Observation/a/_history/1", "system").status(http.StatusOK).has(`"value":1.20,`)
	w.get("/fhir/Observation/a/_history/2", "system").outcome(http.StatusNotFound, "not-found")
	w.get("/fhir/Observation/a/_history/x", "system").outcome(http.StatusNotFound, "not-found")
	w.get("/fhir/Observation/a?_pretty=true", "system").status(http.StatusOK).has("\n  \"id\": \"a\"")
	w.do("HEAD", "/fhir/Observation/a", "system", "").status(http.StatusOK).header("ETag", `W/"1"`)
}

func TestHiddenLooksAbsent(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/fhir/Patient/%s", "/fhir/Patient/%s/_history/1", "/fhir/Patient/%s/_history"} {
		hidden := w.get(strings.ReplaceAll(path, "%s", "1"), "okafor").outcome(http.StatusNotFound, "not-found")
		absent := w.get(strings.ReplaceAll(path, "%s", "2"), "okafor").outcome(http.StatusNotFound, "not-found")
		if hidden.body != absent.body {
			t.Errorf("%s: hidden %s, absent %s", path, hidden.body, absent.body)
		}
	}
	w.get("/fhir/Patient/1", "adams").status(http.StatusOK)
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.get("/fhir/Patient/1", "").outcome(http.StatusUnauthorized, "login").header("WWW-Authenticate", `Bearer realm="fhir"`)
	a := w.get("/fhir/Patient/1", "stale").outcome(http.StatusUnauthorized, "login")
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("got %q", got)
	}
	w.get("/fhir/Patient/1", "", "Authorization", "Basic c3lzdGVtOg==").outcome(http.StatusUnauthorized, "login")
	w.get("/fhir/Patient/1", "", "Authorization", "bearer system").status(http.StatusOK)
	w.get("/fhir/Patient/1?access_token=system", "").outcome(http.StatusUnauthorized, "login")
	a = w.get("/fhir/Observation/a", "narrow").outcome(http.StatusForbidden, "forbidden")
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_scope"`) {
		t.Errorf("got %q", got)
	}
}

func TestUnknownErrorsSayNothing(t *testing.T) {
	w := newWorld(t)
	w.get("/fhir/Patient/1", "broken").outcome(http.StatusInternalServerError, "exception").
		has("request-1").lacks("pq", "password", "db.go", "gateway at")
}

func TestAddresses(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]int{
		"/fhir/Nothing":                     http.StatusNotFound,
		"/fhir/$nothing":                    http.StatusNotFound,
		"/fhir/patient/1":                   http.StatusNotFound,
		"/fhir/DomainResource/1":            http.StatusNotFound,
		"/fhir//Patient":                    http.StatusBadRequest,
		"/fhir/Patient//1":                  http.StatusBadRequest,
		"/fhir/Patient/":                    http.StatusBadRequest,
		"/fhir/Patient%2F1":                 http.StatusBadRequest,
		"/fhir/Patient/a_b":                 http.StatusBadRequest,
		"/fhir/Patient/1?x=%zz":             http.StatusBadRequest,
		"/fhir/Patient/$nothing":            http.StatusNotFound,
		"/fhir/Patient/1/$nothing":          http.StatusNotFound,
		"/fhir/Patient/1/Observation":       http.StatusNotFound,
		"/fhir/Patient/1/_history/1/2":      http.StatusNotFound,
		"/fhir/Patient/1/_history/1/2/3/4/": http.StatusBadRequest,
		"/fhir/_nothing":                    http.StatusNotFound,
		"/fhir/Observation/a/$everything":   http.StatusNotFound,
		"/fhir/_history/1":                  http.StatusNotFound,
		"/fhir/Patient/_history/1":          http.StatusNotFound,
		"/fhir/Observation/%24lastn":        http.StatusNotFound,
	} {
		if a := w.get(path, "system"); a.StatusCode != want || !strings.Contains(a.body, "OperationOutcome") {
			t.Errorf("%s: got %d %s, want %d", path, a.StatusCode, a.body, want)
		}
	}
	w.do("POST", "/fhir/Patient/1", "system", "{}").outcome(http.StatusMethodNotAllowed, "not-supported").
		header("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
	for _, base := range []string{"/fhir", "/fhir/"} {
		w.do("PUT", base, "system", "{}").outcome(http.StatusMethodNotAllowed, "not-supported").header("Allow", "GET, HEAD, OPTIONS, POST")
	}
	w.get("/fhir/Patient/_search", "system").status(http.StatusMethodNotAllowed).header("Allow", "OPTIONS, POST")
	w.get("/fhir/Patient/1/$invite", "system").status(http.StatusMethodNotAllowed)
}

func TestNegotiation(t *testing.T) {
	w := newWorld(t)
	const fhirJSON, plainJSON = "application/fhir+json; charset=utf-8", "application/json; charset=utf-8"
	for accept, want := range map[string]string{
		"":                                       fhirJSON,
		"*/*":                                    fhirJSON,
		"application/*":                          fhirJSON,
		"application/fhir+json":                  fhirJSON,
		"application/fhir+json; fhirVersion=4.0": fhirJSON,
		"application/json":                       plainJSON,
		"application/json, application/fhir+json;q=0.5": plainJSON,
		"application/fhir+json;q=0.9, application/json": plainJSON,
		"text/html, application/xml;q=0.9, */*;q=0.8":   fhirJSON,
		"application/fhir+json; fhirVersion=5.0":        "",
		"application/fhir+xml":                          "",
		"text/html":                                     "",
		"application/fhir+json;q=0":                     "",
	} {
		a := w.get("/fhir/Patient/1", "system", "Accept", accept)
		if want == "" {
			a.outcome(http.StatusNotAcceptable, "not-supported")
			continue
		}
		a.status(http.StatusOK).header("Content-Type", want)
	}
	for format, status := range map[string]int{
		"json": 200, "application/json": 200, "application/fhir+json": 200, "application/fhir%2Bjson": 200, "xml": 406, "application/fhir%2Bxml": 406,
	} {
		w.get("/fhir/Patient/1?_format="+format, "system", "Accept", "text/html").status(status)
	}
}

func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	const app = "https://app.example.org"
	a := w.do("OPTIONS", "/fhir/Patient/1", "", "", "Origin", app, "Access-Control-Request-Method", "PUT").status(http.StatusNoContent)
	a.header("Access-Control-Allow-Origin", app).header("Access-Control-Allow-Credentials", "")
	for _, name := range []string{"Authorization", "Prefer", "If-Match", "If-None-Match", "Content-Type"} {
		if !strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	for _, a := range []*answer{
		w.get("/fhir/Patient/1", "system", "Origin", app).status(200),
		w.get("/fhir/Patient/1", "", "Origin", app).status(401),
		w.get("/fhir/Patient/absent", "system", "Origin", app).status(404),
		w.get("/fhir//x", "system", "Origin", app).status(400),
	} {
		a.header("Access-Control-Allow-Origin", app).header("Access-Control-Allow-Credentials", "").header("Vary", "Origin")
		for _, name := range []string{"ETag", "Location", "WWW-Authenticate", "X-Request-Id"} {
			if !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed", name)
			}
		}
	}
	w.get("/fhir/metadata", "", "Origin", app).status(200).header("Access-Control-Allow-Origin", "*")
}

func TestPublicDocuments(t *testing.T) {
	w := newWorld(t)
	w.get("/fhir/metadata", "").status(200).has(`"CapabilityStatement"`, `"fhirVersion":"4.0.1"`, base, `"patchFormat":["application/json-patch+json"]`,
		`{"code":"transaction"},{"code":"batch"}`, `"conditionalCreate":true`, `"conditionalUpdate":true`, `"conditionalDelete":"single"`, `{"code":"patch"}`)
	w.get("/fhir/metadata?mode=terminology", "").outcome(http.StatusBadRequest, "not-supported")
	w.get("/fhir/metadata", "", "Accept", "application/fhir+xml").outcome(http.StatusNotAcceptable, "not-supported")
	for _, id := range []string{
		"Patient-request-access", "Patient-redeem-invitation", "Patient-invite", "Patient-access", "Patient-break-glass", "Patient-end-break-glass",
		"Consent-approve", "Consent-decline", "Consent-revoke", "Consent-withdraw",
	} {
		w.get("/fhir/OperationDefinition/"+id, "").status(200).has(`"OperationDefinition"`, base+"/OperationDefinition/"+id)
	}
	w.get("/fhir/OperationDefinition/absent", "").outcome(http.StatusUnauthorized, "login")
}
