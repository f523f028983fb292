package rest_test

import (
	"net/http"
	"strings"
	"testing"
)

const glucose = `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}]},"subject":{"reference":"Patient/1"},"valueQuantity":{"value":5.10}}`

func TestCreate(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/fhir/Observation", "system", glucose).status(http.StatusCreated).header("ETag", `W/"1"`).has(`"value":5.10`)
	location, ok := strings.CutPrefix(a.Header.Get("Location"), base)
	if !ok || !strings.HasSuffix(location, "/_history/1") {
		t.Fatalf("got Location %q", a.Header.Get("Location"))
	}
	w.get("/fhir"+location, "system").status(http.StatusOK)

	a = w.do("POST", "/fhir/Observation", "system", glucose, "Prefer", "return=minimal").status(http.StatusCreated).header("ETag", `W/"1"`)
	if a.body != "" || a.Header.Get("Location") == "" {
		t.Errorf("got %q, want no body", a.body)
	}
	w.do("POST", "/fhir/Observation", "system", glucose, "Prefer", "handling=strict; return=OperationOutcome").
		outcome(http.StatusCreated, "informational")
}

func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	big := strings.Replace(glucose, `"final"`, `"final","note":[{"text":"`+strings.Repeat("x", 20_000)+`"}]`, 1)
	for name, c := range map[string]struct {
		body, contentType string
		status            int
	}{
		"not json":        {"{", "application/fhir+json", 400},
		"unknown element": {strings.Replace(glucose, `"status"`, `"colour":"red","status"`, 1), "application/fhir+json", 400},
		"broken utf-8":    {strings.Replace(glucose, "final", "fin\xffal", 1), "application/fhir+json", 400},
		"too big":         {big, "application/fhir+json", 413},
		"xml":             {"<Observation/>", "application/fhir+xml", 415},
		"latin-1":         {glucose, "application/fhir+json; charset=iso-8859-1", 415},
		"no type":         {glucose, "", 415},
		"form":            {glucose, "application/x-www-form-urlencoded", 415},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do("POST", "/fhir/Observation", "system", c.body, "Content-Type", c.contentType)
			if a.StatusCode != c.status || !strings.Contains(a.body, "OperationOutcome") {
				t.Errorf("got %d %s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
	w.do("POST", "/fhir/Observation", "system", glucose, "Content-Encoding", "gzip").outcome(415, "not-supported")
	w.do("POST", "/fhir/Observation?x=1", "system", glucose).outcome(400, "invalid")
	if n := len(w.get("/fhir/Observation?code=2339-0", "system").bundle().Entry); n != 0 {
		t.Errorf("%d of the refused are stored", n)
	}
}

func TestUpdateAndDelete(t *testing.T) {
	w := newWorld(t)
	body := strings.Replace(glucose, `"Observation"`, `"Observation","id":"g"`, 1)
	w.do("PUT", "/fhir/Observation/g", "system", body).status(http.StatusCreated).header("Location", base+"/Observation/g/_history/1")
	changed := strings.Replace(body, "5.10", "5.20", 1)
	w.do("PUT", "/fhir/Observation/g", "system", changed, "If-Match", `W/"1"`).status(http.StatusOK).header("ETag", `W/"2"`)
	w.do("PUT", "/fhir/Observation/g", "system", body, "If-Match", `W/"1"`).outcome(http.StatusPreconditionFailed, "conflict")
	for _, bad := range []string{"2", `"x"`, "**", `W/"*"`, `W/"1", W/"2"`, `W/"0"`, `W/"-1"`} {
		w.do("PUT", "/fhir/Observation/g", "system", body, "If-Match", bad).outcome(http.StatusBadRequest, "invalid")
	}
	w.do("PUT", "/fhir/Observation/h", "system", body).status(http.StatusBadRequest)

	w.do("DELETE", "/fhir/Observation/g", "system", "").status(http.StatusNoContent)
	w.do("DELETE", "/fhir/Observation/g", "system", "").status(http.StatusNoContent)
	w.get("/fhir/Observation/g", "system").outcome(http.StatusGone, "deleted")

	b := w.get("/fhir/Observation/g/_history", "system").bundle()
	if b.Type != "history" || len(b.Entry) != 3 {
		t.Fatalf("got %+v", b)
	}
	for i, want := range []string{"DELETE", "PUT", "POST"} {
		e := b.Entry[i]
		if e.Request.Method != want || e.FullURL != base+"/Observation/g" || e.Response.Etag == "" || e.Response.LastModified != "2031-05-07T12:00:00.120Z" {
			t.Errorf("entry %d: got %+v, want %s", i, e, want)
		}
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	b := w.get("/fhir/Observation?patient=1&_count=2&_sort=-date&_total=accurate", "system").bundle()
	if b.Type != "searchset" || b.Total == nil || *b.Total != 3 || len(b.Entry) != 2 {
		t.Fatalf("got %+v", b)
	}
	if e := b.Entry[0]; e.FullURL != base+"/Observation/c" || e.Search.Mode != "match" || e.Resource.ID != "c" {
		t.Errorf("got %+v", e)
	}
	if self := b.link("self"); !strings.HasPrefix(self, "/fhir/Observation?") || !strings.Contains(self, "patient=") {
		t.Errorf("got self %q", self)
	}
	next := w.get(b.link("next"), "system").bundle()
	if len(next.Entry) != 1 || next.Entry[0].Resource.ID != "a" || next.link("next") != "" {
		t.Errorf("got %+v", next)
	}

	form := w.do("POST", "/fhir/Observation/_search?_sort=date", "system", "patient=1&_count=1", "Content-Type", "application/x-www-form-urlencoded").bundle()
	if len(form.Entry) != 1 || form.Entry[0].Resource.ID != "a" {
		t.Errorf("got %+v", form)
	}
	w.do("POST", "/fhir/Observation/_search", "system", "patient=1&_format=xml", "Content-Type", "application/x-www-form-urlencoded").status(406)
	w.do("POST", "/fhir/Observation/_search", "system", "patient=%zz", "Content-Type", "application/x-www-form-urlencoded").outcome(400, "invalid")
	w.do("POST", "/fhir/Observation/_search", "system", "{}").outcome(415, "not-supported")

	w.get("/fhir/Observation?colour=red", "system").status(400).has("colour")
	b = w.get("/fhir/Observation?colour=red&patient=1", "system", "Prefer", "handling=lenient").bundle()
	if len(b.Entry) != 3 || strings.Contains(b.link("self"), "colour") {
		t.Errorf("got %+v", b)
	}
	empty := w.get("/fhir/Condition?patient=1", "system")
	if empty.bundle(); strings.Contains(empty.body, `"entry"`) {
		t.Errorf("an empty array is not FHIR: %s", empty.body)
	}
	w.get("/fhir/Observation?patient=1&_pretty=true", "system").status(200).has("\n  \"type\": \"searchset\"")
}

// TestLargeBundle: a page of more than a megabyte is streamed, and whole.
func TestLargeBundle(t *testing.T) {
	w := newWorld(t)
	note := strings.Replace(glucose, `"final"`, `"final","note":[{"text":"`+strings.Repeat("x", 19_000)+`"}]`, 1)
	for range 60 {
		w.do("POST", "/fhir/Observation", "system", note).status(http.StatusCreated)
	}
	a := w.get("/fhir/Observation?code=2339-0&_count=100", "system")
	if n := len(a.bundle().Entry); n != 60 || len(a.body) < 60*19_000 {
		t.Errorf("got %d entries in %d bytes", n, len(a.body))
	}
	if n := len(w.get("/fhir/Observation?code=2339-0&_count=5", "system").bundle().Entry); n != 5 {
		t.Errorf("got %d entries, want 5", n)
	}
}

func TestOperationInput(t *testing.T) {
	w := newWorld(t)
	const path = "/fhir/Patient/$request-access"
	for name, c := range map[string]struct{ body, want string }{
		"nothing":         {"", `\"patient\" is required`},
		"no parameters":   {`{"resourceType":"Parameters"}`, `\"patient\" is required`},
		"not parameters":  {`{"resourceType":"Patient"}`, "Parameters"},
		"unknown":         {`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"Patient/1"},{"name":"colour","valueString":"red"}]}`, "Parameters.parameter[1]"},
		"twice":           {`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"Patient/1"},{"name":"patient","valueString":"Patient/2"}]}`, "Parameters.parameter[1]"},
		"period as text":  {`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"Patient/1"},{"name":"period","valueString":"a year"}]}`, "must be a Period"},
		"class unknown":   {`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"Patient/1"},{"name":"class","valueCode":"Everything"}]}`, "must be a resource type"},
		"reason a number": {`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"Patient/1"},{"name":"reason","valueInteger":3}]}`, "must be a text"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do("POST", path, "okafor", c.body)
			if a.StatusCode != 400 || !strings.Contains(a.body, c.want) {
				t.Errorf("got %d %s, want 400 and %s", a.StatusCode, a.body, c.want)
			}
		})
	}
	w.do("POST", "/fhir/Patient/$redeem-invitation", "okafor", `{"resourceType":"Parameters"}`).status(400).has(`\"token\"`, `\"mrn\"`)
}

func TestAccessOperation(t *testing.T) {
	w := newWorld(t)
	a := w.get("/fhir/Patient/1/$access", "adams").status(200)
	a.has(`"Parameters"`, `"name":"permitted","valueBoolean":true`, `"name":"basis"`, `"code":"pcp"`, base+"/CodeSystem/access-basis")
	w.do("POST", "/fhir/Patient/1/$access", "adams", "").status(200).has(`"valueBoolean":true`)
}
