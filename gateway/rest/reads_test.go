package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
)

// rows gives the entries of a bundle: "match Patient/1", or of a history
// "POST 201 Patient/1".
func (b bundle) rows() []string {
	rows := []string{}
	for _, e := range b.Entry {
		head := e.Search.Mode
		if b.Type == "history" {
			head = e.Request.Method + " " + e.Response.Status
		}
		rows = append(rows, head+" "+strings.TrimPrefix(e.FullURL, base+"/"))
	}
	return rows
}

func TestConditionalRead(t *testing.T) {
	w := newWorld(t)
	const path, at, before = "/fhir/Observation/a", "Wed, 07 May 2031 12:00:00 GMT", "Wed, 07 May 2031 11:59:59 GMT"
	for _, path := range []string{path, path + "/_history/1", path + "?_summary=true"} {
		for _, tt := range []struct {
			headers []string
			status  int
		}{
			{[]string{"If-None-Match", `W/"1"`}, 304},
			{[]string{"If-None-Match", `"1"`}, 304},
			{[]string{"If-None-Match", `W/"4",W/"1"`}, 304},
			{[]string{"If-None-Match", `*`}, 304},
			{[]string{"If-None-Match", `W/"2"`}, 200},
			{[]string{"If-None-Match", `nonsense`}, 200},
			{[]string{"If-None-Match", `W/"2"`, "If-Modified-Since", at}, 200}, // RFC 9110 section 13.2.2: the tag goes before
			{[]string{"If-None-Match", `W/"1"`, "If-Modified-Since", before}, 304},
			{[]string{"If-Modified-Since", at}, 304},
			{[]string{"If-Modified-Since", before}, 200},
			{[]string{"If-Modified-Since", "yesterday"}, 200},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := w.do(method, path, "system", "", tt.headers...).status(tt.status)
				a.header("ETag", `W/"1"`).header("Last-Modified", at).header("Cache-Control", "no-store").header("Vary", "Origin")
				if tt.status == 304 && (a.body != "" || a.Header.Get("Content-Type") != "") {
					t.Errorf("%s %s %v: a 304 with a body: %s", method, path, tt.headers, a.body)
				}
			}
		}
	}
	w.get("/fhir/Observation/absent", "system", "If-None-Match", "*").outcome(404, "not-found")
	w.get("/fhir/Patient/1", "okafor", "If-None-Match", "*").outcome(404, "not-found")
}

func TestParts(t *testing.T) {
	w := newWorld(t)
	const tag = `"code":"SUBSETTED"`
	for _, path := range []string{"/fhir/Patient/1?", "/fhir/Patient/1/_history/1?", "/fhir/Patient?", "/fhir/Patient/1/_history?", "/fhir/Patient/_history?", "/fhir/_history?", "/fhir?_type=Patient&", "/fhir/Patient/1/$everything?_type=Patient&"} {
		w.get(path+"_summary=true", "system").status(200).has(tag, `"birthDate"`).lacks(`"generalPractitioner"`)
		w.get(path+"_elements=generalPractitioner", "system").status(200).has(tag, `"generalPractitioner"`).lacks(`"birthDate"`, `"name"`)
		w.get(path+"_summary=text", "system").status(200).has(tag).lacks(`"birthDate"`)
		w.get(path+"_summary=false", "system").status(200).has(`"birthDate"`, `"generalPractitioner"`).lacks(tag)
		w.get(path+"_summary=maybe", "system").outcome(400, "value").has("http._summary")
		w.get(path+"_summary=true&_elements=name", "system").outcome(400, "invalid").has("http._elements")
		w.get(path+"_elements=birthDate,nosuch", "system").outcome(400, "value").has("http._elements", "nosuch")
		lenient := w.get(path+"_elements=birthDate,nosuch", "system", "Prefer", "handling=lenient").status(200).has(tag, `"birthDate"`).lacks(`"name"`)
		if strings.Contains(lenient.body, `"link":[{"relation"`) {
			lenient.has("_elements=birthDate").lacks("nosuch")
		}
	}
	w.transaction("GET Patient/1?_elements=nosuch").status(400).has("Bundle.entry[0].request.url")
	w.get("/fhir/metadata?_elements=nosuch", "").outcome(400, "value").has("http._elements", "nosuch")
	w.get("/fhir/Patient/1?_summary=count", "system").outcome(400, "value").has("http._summary")
	w.get("/fhir/Patient?_summary=count", "system").status(200).has(`"total":1`).lacks(`"entry"`)
	next := w.get("/fhir/Observation?_elements=code&_count=2", "system").bundle().link("next")
	if !strings.Contains(next, "_elements=code") {
		t.Errorf("the next link forgets _elements: %s", next)
	}
	w.get(next, "system").status(200).has(tag).lacks("valueQuantity")
	part := w.get("/fhir/Observation/a?_elements=code", "system").body
	w.do("PUT", "/fhir/Observation/a", "system", part).outcome(422, "processing").has("Observation.meta.tag[0]")
}

func TestHistories(t *testing.T) {
	w := newWorld(t)
	w.do("PUT", "/fhir/Observation/a", "system", records[3]).status(200)
	w.do("DELETE", "/fhir/Observation/b", "system", "").status(204)
	b := w.get("/fhir/Observation/_history", "system").bundle()
	want := []string{"DELETE 204 Observation/b", "PUT 200 Observation/a", "POST 201 Observation/c", "POST 201 Observation/b", "POST 201 Observation/a"}
	if got := b.rows(); !slices.Equal(got, want) || b.Type != "history" || b.Total == nil || *b.Total != 5 {
		t.Errorf("got %v, want %v", got, want)
	}
	if e := b.Entry[0]; e.Resource.ID != "" || e.Request.URL != "Observation/b" || e.Response.Etag != `W/"2"` || e.Response.LastModified != "2031-05-07T12:00:00.120Z" {
		t.Errorf("got %+v", e)
	}
	if _, err := fhir.Parse([]byte(w.get("/fhir/_history", "system").body)); err != nil {
		t.Errorf("not a valid Bundle: %v", err)
	}
	var got []string
	pages := 0
	for path := "/fhir/_history?_count=2&_pretty=true"; path != ""; pages++ {
		b := w.get(path, "system").bundle()
		if !strings.Contains(b.link("self"), "_pretty=true") {
			t.Errorf("self is %s", b.link("self"))
		}
		if pages > 0 && (b.link("first") != "/fhir/_history?_count=2&_pretty=true" || w.get(b.link("self"), "system").bundle().Entry[0].FullURL != b.Entry[0].FullURL) {
			t.Errorf("the links of page %d: first %s, self %s", pages, b.link("first"), b.link("self"))
		}
		got, path = append(got, b.rows()...), b.link("next")
	}
	if len(got) != 8 || pages != 4 {
		t.Errorf("got %d rows on %d pages: %v", len(got), pages, got)
	}
	if b := w.get("/fhir/Observation/a/_history?_count=0", "system").bundle(); b.Total == nil || *b.Total != 2 || b.Type != "history" || len(b.Entry) != 0 || b.link("self") != "/fhir/Observation/a/_history?_count=0" || b.link("next") != "" {
		t.Errorf("only how many there are: got %+v", b)
	}
	for _, path := range []string{"/fhir/_history?_count=0", "/fhir/Observation/_history?_count=0"} {
		w.get(path, "system").outcome(400, "too-costly").has("http._count")
	}
	w.get("/fhir/Observation/a/_history?_count=-1", "system").outcome(400, "value").has("http._count")
	w.get("/fhir/_history?_since=x", "system").outcome(400, "value").has("http._since")
	w.get("/fhir/Patient/_history?_at=x", "system").outcome(400, "value").has("http._at")
	w.get("/fhir/_history?_cursor=x", "system").outcome(400, "invalid").has("http._cursor")
	for path, parameter := range map[string]string{"/fhir/Patient/1/_history?_sort=_id": "http._sort", "/fhir/_history?_type=Patient": "http._type"} {
		w.get(path, "system").outcome(400, "not-supported").has(parameter)
		if self := w.get(path, "system", "Prefer", "handling=lenient").bundle().link("self"); strings.Contains(self, "?") {
			t.Errorf("%s: self says %s", path, self)
		}
	}
	w.get("/fhir/AuditEvent/_history", "system").outcome(400, "not-supported")
	w.get("/fhir/Observation/_history", "narrow").outcome(403, "forbidden")
	w.get("/fhir/_history", "narrow").outcome(403, "forbidden")
	w.get("/fhir/Patient/1/_history", "narrow").status(200)
	if got := w.get("/fhir/Patient/_history", "okafor").bundle(); len(got.Entry) != 0 || *got.Total != 0 {
		t.Errorf("a stranger is told %v", got.rows())
	}
}

func TestSearchOfTheSystem(t *testing.T) {
	w := newWorld(t)
	want := []string{"match Patient/1", "match Observation/a", "match Observation/b", "match Observation/c"}
	for _, a := range []*answer{
		w.get("/fhir?_type=Patient,Observation", "system"),
		w.get("/fhir/?_type=Patient,Observation", "system"),
		w.do("POST", "/fhir/_search", "system", "_type=Patient,Observation", "Content-Type", "application/x-www-form-urlencoded"),
		w.do("POST", "/fhir/_search?_type=Patient,Observation", "system", "_count=50", "Content-Type", "application/x-www-form-urlencoded"),
	} {
		b := a.bundle()
		if got := b.rows(); !slices.Equal(got, want) || b.Type != "searchset" || *b.Total != 4 {
			t.Errorf("got %v, want %v", got, want)
		}
		if self := b.link("self"); !strings.HasPrefix(self, "/fhir?") || !strings.Contains(self, "_type=Patient%2CObservation") {
			t.Errorf("self is %s", self)
		}
	}
	b := w.do("POST", "/fhir/_search", "system", "_type=Observation&_sort=-_lastUpdated&_count=2&_format=json&_total=accurate", "Content-Type", "application/x-www-form-urlencoded").bundle()
	next := b.link("next")
	if *b.Total != 3 || !strings.Contains(next, "_format=json") {
		t.Errorf("got total %d, next %s", *b.Total, next)
	}
	if got := w.get(next, "system").bundle().rows(); !slices.Equal(got, []string{"match Observation/c"}) {
		t.Errorf("got %v", got)
	}
	w.get(next, "adams").outcome(400, "invalid").has("http._cursor")
	if got := w.get("/fhir?_id=1", "adams").bundle().rows(); !slices.Equal(got, []string{"match Patient/1"}) {
		t.Errorf("got %v", got)
	}
	if got := w.get("/fhir", "okafor").bundle().rows(); slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "match Practitioner/") }) {
		t.Errorf("a stranger is told %v", got)
	}
	w.get("/fhir?_type=Patient,Observation&birthdate=2020", "system").outcome(400, "not-supported").has("http.birthdate")
	if self := w.get("/fhir?_type=Patient,Observation&birthdate=2020", "system", "Prefer", "handling=lenient").bundle().link("self"); strings.Contains(self, "birthdate") {
		t.Errorf("self says %s", self)
	}
	w.get("/fhir?_type=Patient,Nothing", "system").outcome(400, "invalid").has("http._type")
	w.get("/fhir?_type=Patient,AuditEvent", "system").outcome(400, "not-supported").has("http._type")
	w.get("/fhir?_type=Patient", "narrow").outcome(403, "forbidden").has("http._type", "Patient")
	w.get("/fhir", "").outcome(401, "login")
	w.do("POST", "/fhir/_search", "system", "{}").outcome(415, "not-supported")
	w.get("/fhir/_search", "system").status(405).header("Allow", "OPTIONS, POST")
}

func TestEverything(t *testing.T) {
	w := newWorld(t)
	want := []string{"match Patient/1", "match Observation/a", "match Observation/b", "match Observation/c", "include Practitioner/adams"}
	post := `{"resourceType":"Parameters","parameter":[{"name":"start","valueDate":"2031-01-15"},{"name":"_type","valueCode":"Observation"},{"name":"_type","valueCode":"Patient"},{"name":"_count","valueInteger":10}]}`
	for _, tt := range []struct {
		a    *answer
		want []string
	}{
		{w.get("/fhir/Patient/1/$everything", "system"), want},
		{w.get("/fhir/Patient/1/$everything", "adams"), want},
		{w.do("POST", "/fhir/Patient/1/$everything", "adams", ""), want},
		{w.do("POST", "/fhir/Patient/1/$everything", "adams", post), []string{want[0], want[3]}},
		{w.get("/fhir/Patient/1/$everything?_type=Observation&end=2030", "adams"), want[1:2]},
	} {
		b := tt.a.bundle()
		if got := b.rows(); !slices.Equal(got, tt.want) || b.Type != "searchset" {
			t.Errorf("got %v, want %v", got, tt.want)
		}
		if _, err := fhir.Parse([]byte(tt.a.body)); err != nil {
			t.Errorf("not a valid Bundle: %v", err)
		}
	}
	if b := w.get("/fhir/Patient/1/$everything?_count=0", "adams").bundle(); b.Total == nil || *b.Total != 4 || len(b.Entry) != 0 || b.link("self") != "/fhir/Patient/1/$everything?_count=0" {
		t.Errorf("only how many there are: got %+v", b)
	}
	w.get("/fhir/Patient/1/$everything?_count=0", "okafor").outcome(404, "not-found")
	var got []string
	for path := "/fhir/Patient/1/$everything?_count=3"; path != ""; {
		b := w.get(path, "adams").bundle()
		got, path = append(got, b.rows()...), b.link("next")
	}
	if want := []string{"match Patient/1", "match Observation/a", "match Observation/b", "include Practitioner/adams", "match Observation/c"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	hidden, absent := w.get("/fhir/Patient/1/$everything", "okafor").outcome(404, "not-found"), w.get("/fhir/Patient/2/$everything", "okafor").outcome(404, "not-found")
	if hidden.body != absent.body {
		t.Errorf("hidden %s, absent %s", hidden.body, absent.body)
	}
	w.get("/fhir/Patient/$everything", "adams").outcome(400, "too-costly")
	w.get("/fhir/Patient/1/$everything?start=x", "adams").outcome(400, "value").has("http.start")
	w.get("/fhir/Patient/1/$everything?x=1", "adams").outcome(400, "not-supported").has("http.x")
	w.get("/fhir/Patient/1/$everything?x=1", "adams", "Prefer", "handling=lenient").status(200).lacks("x=1")
	w.do("POST", "/fhir/Patient/1/$everything", "adams", `{"resourceType":"Parameters","parameter":[{"name":"x","valueString":"y"}]}`).outcome(400, "invalid").has("Parameters.parameter[0]")
	w.do("POST", "/fhir/Patient/1/$everything", "adams", `{"resourceType":"Parameters","parameter":[{"name":"start","valuePeriod":{"start":"2020"}}]}`).outcome(400, "invalid").has("Parameters.parameter[0]")
	w.get("/fhir/Patient/1/$everything", "narrow").status(200).lacks("Observation/")
	w.get("/fhir/metadata", "").has(`"name":"everything"`, "http://hl7.org/fhir/OperationDefinition/Patient-everything", `"history-system"`, `"search-system"`, `"history-type"`)
}

// TestGeneralParametersHoldEverywhere: _pretty and _format shape refusals too,
// early ones among them.
func TestGeneralParametersHoldEverywhere(t *testing.T) {
	w := newWorld(t)
	for path, status := range map[string]int{
		"/fhir//x": 400, "/fhir/Nothing": 404, "/fhir/Patient/1": 200, "/fhir/Patient/2": 404, "/fhir/Patient?x=1": 400, "/fhir/_history?_since=x": 400, "/fhir/metadata": 200, "/fhir/Patient/_search": 405,
		"/fhir/Patient/1/$everything": 200, "/fhir?_type=Patient": 200, "/fhir/OperationDefinition/Patient-access": 200, "/fhir/Patient/1?y=%zz": 400,
	} {
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		a := w.get(path+mark+"_pretty=true&_format=application/json", "system").status(status)
		if !strings.HasPrefix(a.body, "{\n  ") {
			t.Errorf("%s: not pretty: %s", path, a.body)
		}
		if got := w.get(path+mark+"_format=xml&_pretty=true", "system"); got.StatusCode < 400 || !strings.HasPrefix(got.body, "{\n  ") {
			t.Errorf("%s as XML: got %d %s", path, got.StatusCode, got.body)
		}
	}
	for _, path := range []string{"/fhir/Patient/1", "/fhir/Patient/1/_history/1"} {
		w.get(path+"?a=1&b=2", "system").outcome(http.StatusBadRequest, "invalid").has("http.a", "http.b")
		w.get(path+"?a=1", "system", "Prefer", "handling=lenient").status(200)
		w.get(path+"?a=1", "system", "Prefer", "handling=strict").status(400)
	}
	for mode, want := range map[string]string{"none": "", "estimate": `"total":3`, "accurate": `"total":3`} {
		a := w.get(fmt.Sprintf("/fhir/Observation?_count=1&_total=%s", mode), "system").status(200)
		if want == "" {
			a.lacks(`"total"`)
			continue
		}
		a.has(want)
	}
}

// TestLinksOfAnotherStore: gateways that share a key and not a store, as after a
// move, refuse each other's places in the log. The other links hold.
func TestLinksOfAnotherStore(t *testing.T) {
	t.Setenv("STORE", "postgres")
	worlds := []*world{newWorld(t)}
	t.Setenv("STORE", "badger")
	worlds = append(worlds, newWorld(t))
	for _, path := range []string{"/fhir/_history?_count=1", "/fhir/Observation/_history?_count=1", "/fhir/Observation?_count=1", "/fhir/Observation?_count=1&_sort=date", "/fhir?_type=Patient,Observation&_count=1",
		"/fhir?_type=Patient,Observation&_count=1&_sort=_lastUpdated", "/fhir/Patient/1/$everything?_count=1", "/fhir/Observation/a/_history?_count=1"} {
		for n, w := range worlds {
			w.do("PUT", "/fhir/Observation/a", "system", records[3]).status(200)
			next, other := w.get(path, "system").bundle().link("next"), worlds[1-n]
			w.get(next, "system").status(200)
			if strings.Contains(path, "_history") && !strings.Contains(path, "/a/") {
				other.get(next, "system").outcome(400, "invalid").has("http._cursor")
			} else {
				other.get(next, "system").status(200)
			}
		}
	}
}
