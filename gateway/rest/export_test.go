package rest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/gateway/rest"
)

const async = "respond-async"

// A manifest is what the status of an export tells.
type manifest struct {
	TransactionTime, Request string
	RequiresAccessToken      *bool
	Output                   []struct{ Type, URL string }
	Error                    []any
}

func (w *world) kickOff(method, path, token, body string) (status string) {
	w.t.Helper()
	a := w.do(method, path, token, body, "Prefer", async, "Accept", "application/fhir+json").status(202)
	if a.body != "" {
		w.t.Errorf("a kick-off says %s", a.body)
	}
	status, ok := strings.CutPrefix(a.Header.Get("Content-Location"), site)
	if !ok {
		w.t.Fatalf("Content-Location is %q", a.Header.Get("Content-Location"))
	}
	return status
}

func (a *answer) manifest() (m manifest) {
	a.t.Helper()
	a.status(200).header("Content-Type", "application/json; charset=utf-8").header("Cache-Control", "no-store")
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || m.RequiresAccessToken == nil || !*m.RequiresAccessToken || m.Output == nil || m.Error == nil || len(m.Error) > 0 {
		a.t.Fatalf("got %s, %v", a.body, err)
	}
	return m
}

// lines gives "Patient/1" for each line of all files.
func (w *world) lines(m manifest, token string) (all []string) {
	w.t.Helper()
	for _, f := range m.Output {
		a := w.get(strings.TrimPrefix(f.URL, site), token).status(200).header("Content-Type", "application/fhir+ndjson").header("Cache-Control", "no-store")
		if !strings.HasSuffix(a.body, "\n") {
			w.t.Errorf("a file ends in the middle: %s", a.body)
		}
		for line := range strings.Lines(a.body) {
			var r struct{ ResourceType, ID string }
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.ResourceType != f.Type {
				w.t.Errorf("a line of %s: %s, %v", f.Type, line, err)
			}
			all = append(all, r.ResourceType+"/"+r.ID)
		}
	}
	return all
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	w.do("PUT", "/fhir/Group/g", "system", `{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/1"}}]}`).status(201)
	record := []string{"Group/g", "Observation/a", "Observation/b", "Observation/c", "Patient/1"}
	everything := []string{"Group/g", "Observation/a", "Observation/b", "Observation/c", "Patient/1", "Practitioner/adams", "Practitioner/okafor"}
	for _, tt := range []struct {
		path, token string
		want        []string
	}{
		{"/fhir/$export", "system", everything}, {"/fhir/$export", "adams", everything}, {"/fhir/%24export", "adams", everything},
		{"/fhir/$export", "okafor", []string{"Practitioner/adams", "Practitioner/okafor"}},
		{"/fhir/Patient/$export", "system", record}, {"/fhir/Patient/$export", "adams", record}, {"/fhir/Patient/$export", "okafor", nil},
		{"/fhir/Group/g/$export", "system", record}, {"/fhir/Group/g/$export", "adams", record},
		{"/fhir/Group/g/$export?_type=Patient&_outputFormat=application/fhir%2Bndjson&_since=2031-05-07T12:00:00.120Z", "adams", []string{"Patient/1"}},
		{"/fhir/Patient/$export?_since=2031-05-07T12:00:00.121Z", "adams", nil},
	} {
		for _, method := range []string{"GET", "POST"} {
			status := w.kickOff(method, tt.path, tt.token, "")
			a := w.get(status, tt.token, "Accept", "application/json")
			m := a.manifest()
			if got := w.lines(m, tt.token); !slices.Equal(got, tt.want) {
				t.Errorf("%s %s for %s: got %v, want %v", method, tt.path, tt.token, got, tt.want)
			}
			if m.TransactionTime != "2031-05-07T11:59:00.120Z" || m.Request != site+strings.Replace(tt.path, "%24", "$", 1) {
				t.Errorf("got %+v", m)
			}
			a.header("Expires", "Wed, 07 May 2031 18:00:00 GMT")
			w.do("DELETE", status, tt.token, "").status(202)
			w.do("DELETE", status, tt.token, "").outcome(404, "not-found")
			w.get(status, tt.token).outcome(404, "not-found")
			for _, f := range m.Output {
				w.get(strings.TrimPrefix(f.URL, site), tt.token).outcome(404, "not-found")
			}
		}
	}
	for _, path := range []string{"/fhir/Group/absent/$export", "/fhir/Group/g/$export"} {
		w.get(path, "okafor", "Prefer", async).outcome(404, "not-found")
	}
}

func TestExportByParameters(t *testing.T) {
	w := newWorld(t)
	body := func(list ...string) string {
		return `{"resourceType":"Parameters","parameter":[` + strings.Join(list, ",") + `]}`
	}
	patient := func(ref string) string { return `{"name":"patient","valueReference":{"reference":"` + ref + `"}}` }
	for _, tt := range []struct {
		body string
		want []string
	}{
		{body(`{"name":"_type","valueString":"Patient"}`, `{"name":"_type","valueString":"Observation"}`, `{"name":"_typeFilter","valueString":"Observation?date=gt2031-01-15"}`, patient("Patient/1")), []string{"Patient/1", "Observation/c"}},
		{body(`{"name":"_since","valueInstant":"2030-01-01T00:00:00Z"}`, patient(base+"/Patient/1"), `{"name":"_type","valueString":"Patient"}`, `{"name":"_outputFormat","valueString":"ndjson"}`), []string{"Patient/1"}},
		{body(patient("Patient/absent")), nil},
	} {
		if got := w.lines(w.get(w.kickOff("POST", "/fhir/Patient/$export", "adams", tt.body), "adams").manifest(), "adams"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.body, got, tt.want)
		}
	}
	m := w.get(w.kickOff("POST", "/fhir/$export?_type=Patient,Observation", "system", body(`{"name":"_elements","valueString":"Patient.birthDate"}`)), "system").manifest()
	for _, f := range m.Output {
		a := w.get(strings.TrimPrefix(f.URL, site), "system").status(200)
		if f.Type == "Patient" {
			a.has(`"birthDate"`, "SUBSETTED").lacks("Rivera")
		} else {
			a.has("8302-2", "valueQuantity").lacks("SUBSETTED")
		}
	}
	post := func(path, body string) *answer { return w.do("POST", path, "system", body, "Prefer", async) }
	post("/fhir/Patient/$export", body(patient("Practitioner/adams"))).outcome(400, "invalid").has("http.patient")
	post("/fhir/Patient/$export", body(`{"name":"patient","valueString":"1"}`)).outcome(400, "invalid").has("Parameters.parameter[0]")
	post("/fhir/$export", body(patient("Patient/1"))).outcome(400, "invalid").has("Parameters.parameter[0]")
	post("/fhir/Patient/$export", body(`{"name":"nothing","valueString":"1"}`)).outcome(400, "invalid").has("Parameters.parameter[0]")
	w.do("POST", "/fhir/Patient/$export", "system", body(`{"name":"nothing","valueString":"1"}`), "Prefer", async+", handling=lenient").status(202)
	post("/fhir/Patient/$export", `{"resourceType":"Patient"}`).outcome(400, "invalid")
}

func TestExportRefusals(t *testing.T) {
	w := newWorld(t)
	kickOff := func(path, token string, headers ...string) *answer {
		return w.get(path, token, append([]string{"Prefer", async}, headers...)...)
	}
	for _, path := range []string{"/fhir/$export", "/fhir/Patient/$export", "/fhir/Group/g/$export"} {
		w.get(path, "adams").outcome(400, "invalid").has("http.Prefer")
		w.get(path, "adams", "Prefer", "handling=lenient").outcome(400, "invalid").has("http.Prefer")
		kickOff(path, "").outcome(401, "login")
		kickOff(path, "nobody").outcome(401, "login")
		kickOff(path, "adams", "Accept", "application/fhir+xml").outcome(406, "not-supported")
		w.do("PUT", path, "adams", `{}`).outcome(405, "not-supported").header("Allow", "GET, HEAD, OPTIONS, POST")
	}
	kickOff("/fhir/$export?nothing=1", "adams").outcome(400, "not-supported").has("http.nothing")
	kickOff("/fhir/$export?patient=Patient/1", "adams").outcome(400, "not-supported").has("http.patient")
	kickOff("/fhir/$export?nothing=1", "adams", "Prefer", async+", handling=lenient").status(202)
	kickOff("/fhir/$export", "narrow").outcome(403, "forbidden")
	kickOff("/fhir/$export?_type=Patient,Observation", "narrow").outcome(403, "forbidden").has("http._type", "Observation")
	for _, path := range []string{"/fhir/Observation/$export", "/fhir/Patient/1/$export", "/fhir/Group/$export", "/fhir/$export/x/y", "/fhir/$export/x/Nothing", "/fhir/$export/x/Patient/y"} {
		kickOff(path, "adams").status(404)
	}

	status := w.kickOff("GET", "/fhir/$export", "adams", "")
	file := status + "/Patient"
	w.get(file, "adams", "Accept", "application/fhir+ndjson").status(200).has("Rivera")
	w.get(file, "adams", "Accept", "application/json").status(200).header("Content-Type", "application/fhir+ndjson")
	head := w.do("HEAD", file, "adams", "").status(200).header("Content-Type", "application/fhir+ndjson")
	if head.body != "" {
		t.Errorf("a HEAD says %s", head.body)
	}
	for _, path := range []string{status, file} {
		w.get(path, "").outcome(401, "login")
		w.get(path, "okafor").outcome(404, "not-found")
		w.get(path, "system").outcome(404, "not-found")
		w.get(path+"?x=1", "adams").outcome(400, "invalid").has("http.x")
		w.get(strings.Replace(path, "$export/", "$export/A", 1), "adams").outcome(404, "not-found")
		if a := w.get(path, "okafor"); a.body != w.get(strings.Replace(path, "$export/", "$export/A", 1), "okafor").body {
			t.Errorf("another's export and none differ: %s", a.body)
		}
	}
	w.do("HEAD", file, "okafor", "").status(404)
	w.do("DELETE", status, "okafor", "").outcome(404, "not-found")
	w.get(status+"/AuditEvent", "adams").outcome(404, "not-found")
	w.get(status, "adams", "Accept", "application/json").manifest()
	w.get(status, "adams", "Accept", "text/html").outcome(406, "not-supported")
	w.do("POST", status, "adams", "").outcome(405, "not-supported").header("Allow", "DELETE, GET, HEAD, OPTIONS")

	for _, path := range []string{"$export", "Patient/$export", strings.TrimPrefix(status, "/fhir/"), strings.TrimPrefix(file, "/fhir/")} {
		b := w.do("POST", "/fhir", "adams", entries("batch", "GET "+path)).bundle()
		if got := b.Entry[0].Response.Status; !strings.HasPrefix(got, "400") {
			t.Errorf("%s in a batch: %s", path, got)
		}
	}
	w.get("/fhir/metadata", "").has(`"http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"`, `"name":"export","definition":"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"`,
		`"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export"`, `"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export"`)
}

// TestExportThatBreaksOff: what was sent of a file that cannot go on is no whole answer.
// The connection is cut, so that no client takes it for all there is.
func TestExportThatBreaksOff(t *testing.T) {
	w := newWorldFor(t, 50<<20)
	many := make([]string, 501)
	for n := range many {
		many[n] = entryOf("", "POST", "Observation", strings.Replace(records[3], `"id":"a",`, "", 1))
	}
	w.do("POST", "/fhir", "system", entries("transaction", many...)).status(200)
	status := w.kickOff("GET", "/fhir/$export", "system", "")
	var during func()
	prolonged := 0
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Header(rest.RequestIDHeader, "request-1")
		c.Writer = &passing{c.Writer, func() {
			if during != nil {
				during()
			}
		}}
	})
	must(t, rest.Mount(r, rest.Config{Guard: w.guard, Authenticate: authenticate, Base: base, Zone: time.UTC, Prolong: func(http.ResponseWriter) { prolonged++ }}))
	server := httptest.NewServer(r)
	defer server.Close()
	read := func() (string, error) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+status+"/Observation", nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer system")
		response, err := server.Client().Do(request)
		must(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	if body, err := read(); err != nil || strings.Count(body, "\n") != 504 || prolonged != 2 {
		t.Errorf("%d lines, %d times given more time, %v", strings.Count(body, "\n"), prolonged, err)
	}
	during = func() {
		during = nil
		w.do("DELETE", status, "system", "").status(202)
	}
	if body, err := read(); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Count(body, "\n") > 500 {
		t.Errorf("a file that broke off: %d lines, %v", strings.Count(body, "\n"), err)
	}
}

// passing calls back after what is written.
type passing struct {
	gin.ResponseWriter
	after func()
}

func (p *passing) Write(b []byte) (int, error) {
	n, err := p.ResponseWriter.Write(b)
	p.after()
	return n, err
}
