package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// entries makes a Bundle of entries, each a full one or "METHOD url".
func entries(kind string, list ...string) string {
	for i, e := range list {
		if method, url, found := strings.Cut(e, " "); found && e[0] != '{' {
			list[i] = `{"request":{"method":"` + method + `","url":"` + url + `"}}`
		}
	}
	return `{"resourceType":"Bundle","type":"` + kind + `","entry":[` + strings.Join(list, ",") + `]}`
}

func entryOf(fullURL, method, url, resource string) string {
	if fullURL != "" {
		fullURL = `"fullUrl":"` + fullURL + `",`
	}
	return `{` + fullURL + `"resource":` + resource + `,"request":{"method":"` + method + `","url":"` + url + `"}}`
}

const (
	urnPatient = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"
	urnWeight  = "urn:uuid:aafdaf49-a8b7-4ccb-8f5c-7d9e9c6f0000"
)

func (w *world) transaction(list ...string) *answer {
	w.t.Helper()
	return w.do("POST", "/fhir", "system", entries("transaction", list...), "Prefer", "return=representation")
}

func TestTransaction(t *testing.T) {
	w := newWorld(t)
	weight := `{"resourceType":"Observation","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"` + urnPatient + `\">x</a> <a href='` + urnWeight + `'>me</a></div>"},` +
		`"identifier":[{"system":"urn:ietf:rfc:3986","value":"` + urnPatient + `"}],"extension":[{"url":"http://example.org/e","valueUri":"` + urnPatient + `"},{"url":"http://example.org/c","valueCanonical":"` + urnPatient + `"}],` +
		`"status":"final","code":{"text":"weight"},"subject":{"reference":"` + urnPatient + `"},"focus":[{"reference":"` + urnWeight + `"},{"reference":"` + urnPatient + `/_history/1"}],"hasMember":[{"reference":"Observation/a"}]}`
	a := w.transaction(
		"GET Observation?code:text=weight",
		entryOf(urnWeight, "POST", "Observation", weight), // before what it refers to
		"DELETE Observation/c",
		entryOf(urnPatient, "POST", "Patient", `{"resourceType":"Patient","id":"given","birthDate":"2020-01-01","managingOrganization":{"display":"none"},"link":[{"type":"seealso","other":{"reference":"`+urnPatient+`"}}]}`),
		entryOf("", "PUT", "Observation/b", strings.Replace(glucose, `"Observation"`, `"Observation","id":"b"`, 1)),
		`{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zdGF0dXMiLCJ2YWx1ZSI6ImFtZW5kZWQifV0="},"request":{"method":"PATCH","url":"Observation/a"}}`,
		"GET Observation/a",
		"HEAD Patient/1",
		"GET Observation/b/_history/1",
		`{"request":{"method":"GET","url":"Practitioner/adams","ifNoneMatch":"W/\"1\""}}`,
		`{"request":{"method":"GET","url":"Practitioner/adams","ifModifiedSince":"2031-05-07T12:00:00Z"}}`,
		"DELETE Observation?code=nothing",
		"GET Practitioner/adams?_elements=id", "GET Practitioner?_id=adams&_summary=text",
	).header("Preference-Applied", "return=representation")
	b := a.bundle()
	if b.Type != "transaction-response" || len(b.Entry) != 14 {
		t.Fatalf("got %s", a.body)
	}
	want := []string{"200 OK", "201 Created", "204 No Content", "201 Created", "200 OK", "200 OK", "200 OK", "200 OK", "200 OK", "304 Not Modified", "304 Not Modified", "204 No Content", "200 OK", "200 OK"}
	for i, e := range b.Entry {
		if e.Response.Status != want[i] {
			t.Errorf("entry %d: got %s, want %s", i, e.Response.Status, want[i])
		}
	}
	patient, found := strings.CutSuffix(strings.TrimPrefix(b.Entry[3].Response.Location, base+"/"), "/_history/1")
	if !found || b.Entry[3].Response.Etag != `W/"1"` || b.Entry[3].Response.LastModified != "2031-05-07T12:00:00.120Z" || b.Entry[3].FullURL != base+"/"+patient {
		t.Errorf("got %+v", b.Entry[3])
	}
	stored := w.get("/fhir/Observation?code:text=weight", "system")
	self := "Observation/" + stored.bundle().Entry[0].Resource.ID
	stored.has(`"subject":{"reference":"`+patient+`"}`, `"focus":[{"reference":"`+self+`"},{"reference":"`+patient+`/_history/1"}]`, `<a href=\"`+patient+`\">x</a> <a href='`+self+`'>`,
		`"valueUri":"`+patient+`"`, `"valueCanonical":"`+urnPatient+`"`, `"value":"`+urnPatient+`"`, `{"reference":"Observation/a"}`)
	w.get("/fhir/"+patient, "system").status(200).has(`"other":{"reference":"` + patient + `"}`)
	w.get("/fhir/Patient/given", "system").status(404)
	w.get("/fhir/Observation/c", "system").status(410)
	a.has(`"type":"searchset"`, `"status":"amended"`, "SUBSETTED")
	if n := strings.Count(a.body, "Adams"); n != 0 {
		t.Errorf("a part of a resource holds the rest: %s", a.body)
	}
	if b.Entry[6].Resource.ID != "a" || b.Entry[7].Resource.ID != "" || b.Entry[8].Resource.ID != "b" {
		t.Errorf("reads: got %+v", b.Entry[6:9])
	}

	// what is answered when nothing is preferred
	a = w.do("POST", "/fhir/", "system", entries("transaction", entryOf("", "POST", "Observation", glucose))).header("Preference-Applied", "")
	a.lacks("5.10").has(`"location":"`+base+"/Observation/", `"etag":"W/\"1\""`)
	w.do("POST", "/fhir", "system", entries("transaction", entryOf("", "POST", "Observation", glucose)), "Prefer", "return=OperationOutcome").has(`"outcome":{"resourceType":"OperationOutcome"`)
	w.do("POST", "/fhir?_pretty=true", "system", `{"resourceType":"Bundle","type":"transaction"}`).status(200).has("\n  \"type\": \"transaction-response\"")
}

func TestTransactionReferences(t *testing.T) {
	w := newWorld(t)
	obs := func(subject string) string {
		return `{"resourceType":"Observation","status":"final","code":{"text":"w"},"subject":{"reference":"` + subject + `"}}`
	}
	t.Run("addresses of another server", func(t *testing.T) {
		const there = "http://other.example/r4"
		w.transaction(entryOf(there+"/Observation/7", "POST", "Observation", obs("Patient/9")), entryOf(there+"/Patient/9", "POST", "Patient", fmt.Sprintf(pat, "there")),
			entryOf(there+"/Observation/8", "POST", "Observation", obs(there+"/Patient/9/_history/5"))).status(200)
		id := w.get("/fhir/Patient?identifier=there", "system").bundle().Entry[0].Resource.ID
		if n := len(w.get("/fhir/Observation?patient="+id, "system").has(`"Patient/` + id + `/_history/1"`).bundle().Entry); n != 2 {
			t.Errorf("%d refer to it", n)
		}
	})
	t.Run("conditional", func(t *testing.T) {
		w.transaction(entryOf("", "POST", "Observation", obs("Patient?identifier=urn:mrn|1001"))).status(200).has(`"reference":"Patient/1"`)
		// to what the transaction itself creates, in whatever order
		w.transaction(entryOf("", "POST", "Observation", obs("Patient?identifier=urn:x|self")), entryOf(urnPatient, "POST", "Patient", fmt.Sprintf(pat, "self"))).status(200)
		id := w.get("/fhir/Patient?identifier=self", "system").bundle().Entry[0].Resource.ID
		w.get("/fhir/Observation?patient="+id, "system").has(`"reference":"Patient/` + id + `"`)
		// to what it deletes: nothing
		w.transaction("DELETE Patient/"+id, entryOf("", "POST", "Observation", obs("Patient?identifier=urn:x|self"))).outcome(422, "not-found").has("Bundle.entry[1].resource.subject.reference")
		w.get("/fhir/Patient/"+id, "system").status(200)
		w.transaction(entryOf("", "POST", "Observation", obs("Patient?identifier=nobody"))).outcome(422, "not-found").has("Bundle.entry[0].resource.subject.reference")
		w.transaction(entryOf("", "POST", "Observation", strings.Replace(obs("x"), `"subject":{"reference":"x"}`, `"hasMember":[{"reference":"Observation?code=8302-2"}]`, 1))).
			outcome(412, "multiple-matches").has("Bundle.entry[0].resource.hasMember[0].reference")
		w.transaction(entryOf("", "POST", "Observation", obs("Patient?colour=red"))).status(400).has("http.colour", "Bundle.entry[0].resource.subject.reference")
		w.do("POST", "/fhir/Observation", "system", obs("Patient?identifier=urn:mrn|1001")).status(422) // alone it means nothing
	})
	t.Run("nobody's", func(t *testing.T) {
		w.transaction(entryOf("", "POST", "Observation", obs(urnPatient))).outcome(422, "not-found").has("Bundle.entry[0].resource.subject.reference")
	})
	t.Run("conditional creation", func(t *testing.T) {
		body := func() []string {
			return []string{
				`{"fullUrl":"` + urnPatient + `","resource":` + fmt.Sprintf(pat, "ce") + `,"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=urn:x|ce"}}`,
				entryOf("", "POST", "Observation", obs(urnPatient)),
				// criteria in other words, which the first entry fulfils
				`{"resource":` + fmt.Sprintf(pat, "ce") + `,"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=ce"}}`,
			}
		}
		first := w.transaction(body()...).bundle()
		second := w.transaction(body()...).bundle()
		for i, want := range []string{"201 Created", "201 Created", "200 OK"} {
			if got := first.Entry[i].Response.Status; got != want {
				t.Errorf("entry %d: got %s, want %s", i, got, want)
			}
		}
		if second.Entry[0].Response.Status != "200 OK" || second.Entry[0].Response.Location != first.Entry[0].Response.Location || first.Entry[2].Response.Location != first.Entry[0].Response.Location {
			t.Errorf("got %+v and %+v", first.Entry, second.Entry)
		}
		if b := w.get("/fhir/Observation?patient.identifier=ce", "system").bundle(); len(b.Entry) != 2 {
			t.Errorf("%d refer to it, want 2", len(b.Entry))
		}
	})
	t.Run("conditional update and deletion", func(t *testing.T) {
		b := w.transaction(
			`{"fullUrl":"`+urnPatient+`","resource":`+fmt.Sprintf(pat, "cu")+`,"request":{"method":"PUT","url":"Patient?identifier=urn:x|cu"}}`,
			entryOf("", "POST", "Observation", obs(urnPatient)), "DELETE Observation?code=8302-2&date=2031-02-01").bundle()
		if b.Entry[0].Response.Status != "201 Created" || b.Entry[2].Response.Status != "204 No Content" {
			t.Errorf("got %+v", b.Entry)
		}
		w.get("/fhir/Observation/c", "system").status(410)
	})
}

func TestTransactionRefusals(t *testing.T) {
	w := newWorld(t)
	good := func() string { return entryOf("", "POST", "Observation", glucose) }
	put := func(id string) string {
		return entryOf("", "PUT", "Observation/"+id, strings.Replace(glucose, `"Observation"`, `"Observation","id":"`+id+`"`, 1))
	}
	for name, c := range map[string]struct {
		entry  string
		status int
		want   string
	}{
		"faulty body":             {entryOf("", "POST", "Observation", strings.Replace(glucose, "final", "done", 1)), 422, "Bundle.entry[1].resource.status"},
		"broken body":             {entryOf("", "POST", "Observation", strings.Replace(glucose, `"status"`, `"colour":1,"status"`, 1)), 400, "Bundle.entry[1].resource"},
		"other type":              {entryOf("", "POST", "Patient", glucose), 400, "Bundle.entry[1].resource"},
		"no resource":             {"POST Observation", 400, "Bundle.entry[1].resource"},
		"resource of a deletion":  {entryOf("", "DELETE", "Observation/c", glucose), 400, "Bundle.entry[1].resource"},
		"method":                  {"BREW Observation", 400, "Bundle.entry[1].request.method"},
		"no method":               {`{"request":{"url":"Patient"}}`, 400, "Bundle.entry[1].request.method"},
		"no request":              {`{"resource":` + glucose + `}`, 400, "Bundle.entry[1].request.method"},
		"absolute address":        {"DELETE http://elsewhere/Observation/c", 400, "Bundle.entry[1].request.url"},
		"rooted address":          {"DELETE /Observation/c", 400, "Bundle.entry[1].request.url"},
		"no such type":            {"GET Nothing", 400, "Bundle.entry[1].request.url"},
		"operation":               {"GET Patient/1/$access", 400, "Bundle.entry[1].request.url"},
		"POST to an id":           {entryOf("", "POST", "Observation/c", glucose), 400, "Bundle.entry[1].request.url"},
		"POST search":             {entryOf("", "POST", "Observation/_search", glucose), 400, "Bundle.entry[1].request.url"},
		"PUT without criteria":    {entryOf("", "PUT", "Observation", glucose), 400, "Bundle.entry[1]"},
		"unknown parameter":       {"GET Observation?colour=red", 400, "Bundle.entry[1].request.url"},
		"unknown criterion":       {"DELETE Observation?colour=red", 400, "Bundle.entry[1].request.url"},
		"unknown ifNoneExist":     {`{"resource":` + glucose + `,"request":{"method":"POST","url":"Observation","ifNoneExist":"colour=red"}}`, 400, "Bundle.entry[1].request.ifNoneExist"},
		"empty ifNoneExist":       {`{"resource":` + glucose + `,"request":{"method":"POST","url":"Observation","ifNoneExist":"?"}}`, 400, "Bundle.entry[1].request.ifNoneExist"},
		"several match":           {"DELETE Observation?code=8302-2", 412, "Bundle.entry[1]"},
		"ifMatch":                 {`{"request":{"method":"DELETE","url":"Observation/c","ifMatch":"W/\"9\""}}`, 412, "Bundle.entry[1]"},
		"bad ifMatch":             {`{"request":{"method":"DELETE","url":"Observation/c","ifMatch":"9"}}`, 400, "Bundle.entry[1].request.ifMatch"},
		"bad ifNoneMatch":         {`{"resource":` + glucose + `,"request":{"method":"PUT","url":"Observation/c","ifNoneMatch":"W/\"1\""}}`, 400, "Bundle.entry[1].request.ifNoneMatch"},
		"bad ifModifiedSince":     {`{"request":{"method":"GET","url":"Observation/c","ifModifiedSince":"yesterday"}}`, 400, "Bundle.entry[1].request.ifModifiedSince"},
		"what is absent":          {"GET Observation/nobody", 404, "Bundle.entry[1]"},
		"the same twice":          {put("a"), 400, "Bundle.entry[1].request.url"},
		"the same by criteria":    {"DELETE Observation?_id=a", 400, "Bundle.entry[1].request.url"},
		"an unknown element":      {`{"colour":"red"}`, 400, "Bundle.entry[1]"},
		"a modifier":              {`{"modifierExtension":[{"url":"http://x/y","valueBoolean":true}],"request":{"method":"GET","url":"Patient/1"}}`, 400, "Bundle.entry[1]"},
		"a patch that is none":    {entryOf("", "PATCH", "Observation/c", glucose), 400, "Bundle.entry[1].resource"},
		"a patch that fails":      {entryOf("", "PATCH", "Observation/c", `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL3gifV0="}`), 422, "Bundle.entry[1]"},
		"the log":                 {"GET AuditEvent?patient=1", 400, "Bundle.entry[1]"},
		"a name twice":            {`{"request":{"method":"GET","url":"Patient/1"},"request":{"method":"DELETE","url":"Patient/1"}}`, 400, "before in the same object"},
		"history of the resource": {"GET Observation/a/_history", 400, "Bundle.entry[1].request.url"},
	} {
		t.Run(name, func(t *testing.T) {
			list := []string{put("a"), c.entry, good()}
			if a := w.transaction(list...); a.StatusCode != c.status || !strings.Contains(a.body, c.want) || !strings.Contains(a.body, "OperationOutcome") {
				t.Errorf("got %d %s, want %d and %s", a.StatusCode, a.body, c.status, c.want)
			}
		})
	}
	if n := len(w.get("/fhir/Observation?code=2339-0", "system").bundle().Entry); n != 0 {
		t.Errorf("%d of refused transactions are stored", n)
	}
	w.get("/fhir/Observation/a", "system").has(`"versionId":"1"`)
	w.transaction(entryOf("urn:uuid:1", "POST", "Observation", glucose), entryOf("urn:uuid:1", "POST", "Observation", glucose)).status(400).has("Bundle.entry[1].fullUrl")

	for body, want := range map[string]string{
		`{"resourceType":"Bundle","type":"collection"}`:        "Bundle.type",
		`{"resourceType":"Bundle"}`:                            "Bundle.type",
		`{"resourceType":"Patient"}`:                           "",
		`{"resourceType":"Patient","type":"batch"}`:            "resourceType",
		`{"resourceType":"Bundle","type":"batch","entry":{}}`:  "Bundle.entry",
		`{"resourceType":"Bundle","type":"batch","entry":[1]}`: "Bundle.entry[0]",
		`{"resourceType":"Bundle","type":7}`:                   "Bundle.type",
		`{"resourceType":"Bundle","type":"batch"} {}`:          "behind",
		`[]`: "Bundle",
		`{"resourceType":"Bundle","type":"batch","type":"batch"}`:    "type",
		`{"resourceType":"Bundle","type":"batch","entry":[{"x":1}]}`: "Bundle.entry[0]",
		`{"resourceType":"Bundle","type":"batch"`:                    "",
	} {
		if a := w.do("POST", "/fhir", "system", body); a.StatusCode != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s, want 400 and %s", body, a.StatusCode, a.body, want)
		}
	}
	w.do("POST", "/fhir?x=1", "system", entries("batch")).status(400).has("http.x")
	w.do("POST", "/fhir", "", entries("batch")).status(401)
	w.do("POST", "/fhir/Bundle", "system", `{"resourceType":"Bundle","type":"collection"}`).status(201) // stored as what it is
}

// TestBatch: each entry is answered as it would be alone.
func TestBatch(t *testing.T) {
	w := newWorld(t)
	for _, token := range []string{"system", "adams", "okafor", "narrow"} {
		list := []string{
			"GET Observation/a", "GET Observation/nobody", "GET Patient?_id=1", "GET Observation/a/_history", "GET Observation?colour=red", "GET Patient/1/$access",
			"GET metadata", "HEAD Patient/1", "GET Patient/1/_history/1", "GET AuditEvent?patient=1", "POST Patient/1", "PUT Patient/1", "GET Patient/1/$invite",
			`{"request":{"method":"GET","url":"Observation/a","ifNoneMatch":"W/\"1\""}}`,
			entryOf("", "POST", "Observation", strings.Replace(glucose, "final", "done", 1)),
			entryOf("", "POST", "Observation", strings.Replace(glucose, "final", "done", 1)),
			"DELETE Observation?code=8302-2", "GET ?_type=Practitioner", "GET Nothing", "GET Patient//1",
			entryOf("", "POST", "Patient/$request-access", `{"resourceType":"Parameters"}`),
		}
		alone := make([]*answer, len(list))
		for i, e := range list {
			method, url, found := strings.Cut(e, " ")
			if !found || e[0] == '{' {
				continue
			}
			if alone[i] = w.do(method, "/fhir/"+url, token, "", "Prefer", "return=minimal"); method == "HEAD" {
				alone[i].body = ""
			}
		}
		alone[13] = w.get("/fhir/Observation/a", token, "If-None-Match", `W/"1"`)
		alone[14] = w.do("POST", "/fhir/Observation", token, strings.Replace(glucose, "final", "done", 1))
		alone[15] = alone[14]
		alone[20] = w.do("POST", "/fhir/Patient/$request-access", token, `{"resourceType":"Parameters"}`)
		var b struct {
			Entry []struct {
				Resource json.RawMessage
				Response struct {
					Status, Etag, LastModified string
					Outcome                    json.RawMessage
				}
			}
		}
		a := w.do("POST", "/fhir", token, entries("batch", list...)).status(200)
		if err := json.Unmarshal([]byte(a.body), &b); err != nil || len(b.Entry) != len(list) {
			t.Fatalf("%v: %s", err, a.body)
		}
		for i, e := range b.Entry {
			if got := string(e.Resource) + string(e.Response.Outcome); got != alone[i].body && i != 9 { // the log grows
				t.Errorf("%s, %s: got %s, alone %s", token, list[i], got, alone[i].body)
			}
			var r struct{ Meta struct{ LastUpdated string } }
			if err := json.Unmarshal(e.Resource, &r); err == nil && r.Meta.LastUpdated != e.Response.LastModified {
				t.Errorf("%s, %s: modified %s, in the resource %s", token, list[i], e.Response.LastModified, r.Meta.LastUpdated)
			}
			if want := fmt.Sprintf("%d %s", alone[i].StatusCode, http.StatusText(alone[i].StatusCode)); e.Response.Status != want || e.Response.Etag != alone[i].Header.Get("ETag") {
				t.Errorf("%s, %s: got %+v, want %s", token, list[i], e.Response, want)
			}
		}
	}
}

func TestBatchEntriesStandAlone(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/fhir", "system", entries("batch",
		entryOf("", "POST", "Observation", glucose),
		"DELETE Observation/nobody",
		`{"resource":`+glucose+`,"request":{"method":"POST","url":"Observation","ifNoneExist":"code=2339-0"}}`,
		`{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zdGF0dXMiLCJ2YWx1ZSI6ImFtZW5kZWQifV0="},"request":{"method":"PATCH","url":"Observation/a","ifMatch":"W/\"1\""}}`,
		`{"resource":{},"request":{"method":"PATCH","url":"Observation/a"}}`,
		`{"request":{"method":"DELETE","url":"Observation/c","ifMatch":"W/\"4\""}}`,
		entryOf("", "POST", "#x", entries("batch")), "GET http://elsewhere/Patient/1", "GET /Patient/1", "GET ../admin", `{"request":{"url":"x"}}`,
	), "Prefer", "return=representation")
	b := a.bundle()
	for i, want := range []string{"201 Created", "404 Not Found", "200 OK", "200 OK", "400 Bad Request", "412 Precondition Failed", "400 Bad Request", "400 Bad Request", "400 Bad Request", "404 Not Found", "400 Bad Request"} {
		if got := b.Entry[i].Response.Status; got != want {
			t.Errorf("entry %d: got %s, want %s", i, got, want)
		}
	}
	if b.Type != "batch-response" || b.Entry[0].Response.Location == "" || b.Entry[0].Response.Location != b.Entry[2].Response.Location || b.Entry[0].Resource.ID == "" {
		t.Errorf("got %s", a.body)
	}
	if o := b.Entry[10].Response.Outcome; o == nil || o.Issue[0].Expression[0] != "Bundle.entry[10].request.method" {
		t.Errorf("got %+v", o)
	}
	w.get("/fhir/Observation/a", "system").has(`"amended"`)
}

// TestLargeAnswers are sent on the way, and are whole.
func TestLargeAnswers(t *testing.T) {
	w := newWorld(t)
	list := make([]string, 12)
	for i := range list {
		list[i] = "GET metadata"
	}
	for _, path := range []string{"/fhir", "/fhir?_pretty=true"} {
		a := w.do("POST", path, "system", entries("batch", slices.Clone(list)...))
		if b := a.bundle(); len(b.Entry) != 12 || b.Entry[11].Resource.ResourceType != "CapabilityStatement" {
			t.Errorf("got %d entries", len(b.Entry))
		}
		if len(a.body) < 1<<20 {
			t.Skipf("%d bytes are not large", len(a.body))
		}
	}
}
