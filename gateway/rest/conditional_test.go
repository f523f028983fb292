package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const pat = `{"resourceType":"Patient","identifier":[{"system":"urn:x","value":%q}],"birthDate":"2020-01-01"}`

func TestConditionalCreate(t *testing.T) {
	w := newWorld(t)
	body := fmt.Sprintf(pat, "1")
	first := w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", "identifier=urn:x|1").status(201)
	again := w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", "?identifier=urn:x|1").status(200).header("ETag", `W/"1"`)
	if first.Header.Get("Location") != again.Header.Get("Location") {
		t.Errorf("got %q, then %q", first.Header.Get("Location"), again.Header.Get("Location"))
	}
	again.has(`"value":"1"`)
	w.do("POST", "/fhir/Patient", "system", body).status(201)
	w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", "identifier=urn:x|1").outcome(412, "multiple-matches")

	for query, want := range map[string]string{
		"":                             "If-None-Exist",
		"colour=red":                   "http.colour",
		"identifier=urn:x|1&_count=1":  "http._count",
		"identifier=1&_sort=birthdate": "http._sort",
		"_include=Patient:link":        "http._include",
		"birthdate=never":              "http.birthdate",
		"identifier=%zz":               "http.identifier",
	} {
		for _, handling := range []string{"handling=strict", "handling=lenient"} { // what is ignored would widen the match
			a := w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", query, "Prefer", handling)
			if query == "" {
				a = w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", "?", "Prefer", handling)
			}
			if a.StatusCode != 400 || !strings.Contains(a.body, want) {
				t.Errorf("%q: got %d %s, want 400 and %s", query, a.StatusCode, a.body, want)
			}
		}
	}
}

func TestConditionalUpdate(t *testing.T) {
	w := newWorld(t)
	body := fmt.Sprintf(pat, "1")
	const at = "/fhir/Patient?identifier=urn:x|1"
	w.do("PUT", at, "system", body, "If-Match", `W/"1"`).outcome(412, "conflict") // none has this version
	first := w.do("PUT", at, "system", body).status(201)
	w.do("PUT", at, "system", body, "If-None-Match", "*").outcome(412, "conflict")
	w.do("PUT", at, "system", body, "If-None-Match", `W/"1"`).status(400).has("If-None-Match")
	w.do("PUT", at, "system", strings.Replace(body, "2020", "2021", 1), "If-Match", `W/"1"`).status(200).
		header("ETag", `W/"2"`).header("Location", strings.Replace(first.Header.Get("Location"), "_history/1", "_history/2", 1)).has("2021-01-01")
	w.do("PUT", at, "system", body, "If-Match", `W/"1"`).outcome(412, "conflict")

	withID := strings.Replace(body, `"Patient"`, `"Patient","id":"mine"`, 1)
	w.do("PUT", at, "system", withID).status(400).has("Patient.id")
	w.do("PUT", "/fhir/Patient?identifier=urn:x|2", "system", withID).status(201).header("Location", base+"/Patient/mine/_history/1")
	w.do("PUT", "/fhir/Patient?identifier=urn:x|3", "system", withID).status(409).has("Patient.id") // taken by one that does not match
	w.do("PUT", "/fhir/Patient?birthdate=2020-01-01,2021-01-01", "system", body).outcome(412, "multiple-matches")
	w.do("PUT", "/fhir/Patient", "system", body).status(400)
	w.do("PUT", "/fhir/Patient?colour=red", "system", body, "Prefer", "handling=lenient").status(400).has("http.colour")
	w.do("PUT", "/fhir/Patient?identifier=urn:x|9", "system", glucose).status(400).has("resourceType")

	w.do("PUT", "/fhir/Observation/new", "system", strings.Replace(glucose, `"Observation"`, `"Observation","id":"new"`, 1), "If-None-Match", "*").status(201)
	w.do("PUT", "/fhir/Observation/new", "system", strings.Replace(glucose, `"Observation"`, `"Observation","id":"new"`, 1), "If-None-Match", "*").outcome(412, "conflict")
}

func TestConditionalDelete(t *testing.T) {
	w := newWorld(t)
	w.do("DELETE", "/fhir/Observation?code=8302-2", "system", "").outcome(412, "multiple-matches")
	w.do("DELETE", "/fhir/Observation?code=8302-2&date=2031-02-01", "system", "", "If-Match", `W/"7"`).outcome(412, "conflict")
	w.do("DELETE", "/fhir/Observation?code=8302-2&date=2031-02-01", "system", "").status(204).header("ETag", `W/"2"`)
	w.do("DELETE", "/fhir/Observation?code=8302-2&date=2031-02-01", "system", "").status(204) // nothing is left
	w.do("DELETE", "/fhir/Observation?code=8302-2&date=2031-01-01", "system", "", "Prefer", "return=OperationOutcome").outcome(200, "informational")
	w.get("/fhir/Observation/b", "system").status(410)
	w.get("/fhir/Observation/a", "system").status(200)
	w.do("DELETE", "/fhir/Observation", "system", "").status(400)
	w.do("DELETE", "/fhir/Observation?_count=1", "system", "").status(400).has("http._count")
}

// If-Match: * wants a resource that is there, of whatever version (RFC 9110 section
// 13.1.1); one that is hidden is like none.
func TestIfMatchOfAnyVersion(t *testing.T) {
	w := newWorld(t)
	any := []string{"If-Match", "*"}
	patch := []string{"If-Match", "*", "Content-Type", "application/json-patch+json"}
	of := func(id string) string {
		return strings.Replace(glucose, `"Observation"`, `"Observation","id":"`+id+`"`, 1)
	}
	const status = `[{"op":"replace","path":"/status","value":"amended"}]`
	w.do("PUT", "/fhir/Observation/new", "system", of("new"), any...).outcome(412, "conflict")
	w.get("/fhir/Observation/new", "system").status(404)
	w.do("PUT", "/fhir/Observation?identifier=urn:x|none", "system", glucose, any...).outcome(412, "conflict")
	w.do("DELETE", "/fhir/Observation?identifier=urn:x|none", "system", "", any...).outcome(412, "conflict")
	w.do("PUT", "/fhir/Observation/a", "system", of("a"), any...).status(200).header("ETag", `W/"2"`)
	w.do("PATCH", "/fhir/Observation/a", "system", status, patch...).status(200).header("ETag", `W/"3"`)
	w.do("PATCH", "/fhir/Observation/nobody", "system", status, patch...).status(404)
	w.do("DELETE", "/fhir/Observation?_id=a", "system", "", any...).status(204)
	for _, method := range []string{"PUT", "DELETE"} { // deleted is none
		w.do(method, "/fhir/Observation/a", "system", of("a"), any...).outcome(412, "conflict")
	}
	w.get("/fhir/Observation/a", "system").status(410)
	w.transaction(`{"request":{"method":"DELETE","url":"Observation/a","ifMatch":"*"}}`).status(412).has("Bundle.entry[0]")
	w.transaction(`{"resource":`+of("b")+`,"request":{"method":"PUT","url":"Observation/b","ifMatch":"*"}}`,
		`{"resource":`+of("c")+`,"request":{"method":"PUT","url":"Observation/c","ifMatch":"W/\"1\""}}`).status(200)
	twice := []string{`{"request":{"method":"DELETE","url":"Observation/b","ifMatch":"*"}}`, `{"request":{"method":"DELETE","url":"Observation/b","ifMatch":"*"}}`}
	if got := w.do("POST", "/fhir", "system", entries("batch", twice...)).bundle(); got.Entry[0].Response.Status[:3] != "204" || got.Entry[1].Response.Status[:3] != "412" {
		t.Errorf("a batch: got %+v", got.Entry)
	}
}

func TestPatch(t *testing.T) {
	w := newWorld(t)
	const media = "application/json-patch+json"
	patch := func(path, ops string, headers ...string) *answer {
		t.Helper()
		return w.do("PATCH", "/fhir/"+path, "system", ops, append([]string{"Content-Type", media}, headers...)...)
	}
	status := `[{"op":"test","path":"/status","value":"final"},{"op":"replace","path":"/status","value":"amended"}]`
	patch("Observation/a", status, "If-Match", `W/"1"`).status(200).header("ETag", `W/"2"`).has(`"status":"amended"`, `"value":1.20`)
	patch("Observation/a", status, "If-Match", `W/"1"`).outcome(412, "conflict")
	patch("Observation/a", status).outcome(422, "processing").has(`"expression":["[0]"]`)
	w.get("/fhir/Observation/a", "system").has(`"versionId":"2"`) // nothing of it was stored
	patch("Observation/a", `[{"op":"remove","path":"/note"}]`).outcome(422, "processing").has(`["[0]"]`)
	patch("Observation/a", `[{"op":"replace","path":"/id","value":"z"}]`).status(400).has("Observation.id")
	patch("Observation/a", `[{"op":"replace","path":"/resourceType","value":"Patient"}]`).status(400)
	patch("Observation/a", `[{"op":"replace","path":"/status","value":"perhaps"}]`).status(422).has("Observation.status")
	patch("Observation/a", `[{"op":"replace","path":"/meta/versionId","value":"77"},{"op":"add","path":"/note","value":[{"text":"<b> & é"}]}]`).
		status(200).header("ETag", `W/"3"`).has(`"versionId":"3"`, "<b> & é")
	patch("Observation/nobody", status).outcome(404, "not-found")
	for ops, want := range map[string]string{
		"{": "not JSON", "{}": "array", "null": "array", `[1]`: "array", `[{"op":"eat","path":"/x"}]`: "[0].op", `[{"op":"remove"}]`: "[0].path",
		`[{"op":"remove","path":"x"}]`: "[0].path", `[{"op":"add","path":"/x"}]`: "[0].value", `[{"op":"copy","path":"/x"}]`: "[0].from",
		`[{"op":"test","path":"/a~2","value":1}]`: "[0].path", `[{"op":"replace","path":"","value":{}}]`: "[0].path",
		`[{"op":"test","op":"remove","path":"/status"}]`: "not JSON",
	} {
		if a := patch("Observation/a", ops); a.StatusCode != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s, want 400 and %s", ops, a.StatusCode, a.body, want)
		}
	}
	for _, other := range []string{"application/fhir+json", "application/json", "application/xml-patch+xml", "application/fhir+xml"} {
		w.do("PATCH", "/fhir/Observation/a", "system", "[]", "Content-Type", other).outcome(415, "not-supported").header("Accept-Patch", media)
	}

	patch("Observation?code=8302-2", status).outcome(412, "multiple-matches")
	patch("Observation?code=nothing", status).outcome(404, "not-found")
	patch("Observation?code=8302-2&date=2031-01-01", status, "Prefer", "return=minimal").status(200).
		header("Location", base+"/Observation/b/_history/2").header("Preference-Applied", "return=minimal")
	w.do("DELETE", "/fhir/Observation/c", "system", "").status(204)
	patch("Observation/c", status).outcome(410, "deleted")
}

// TestPatchesStaySmall: a small patch makes no giant.
func TestPatchesStaySmall(t *testing.T) {
	w := newWorldFor(t, 5<<20)
	ops := []string{`{"op":"add","path":"/note","value":[{"text":"` + strings.Repeat("x", 1000) + `"}]}`}
	for range 40 { // doubles each time
		ops = append(ops, `{"op":"copy","from":"/note","path":"/note/-"}`)
	}
	w.do("PATCH", "/fhir/Observation/a", "system", "["+strings.Join(ops, ",")+"]", "Content-Type", "application/json-patch+json").
		outcome(413, "too-costly")
	many := strings.Repeat(`{"op":"test","path":"/status","value":"final"},`, 1001)
	w.do("PATCH", "/fhir/Observation/a", "system", "["+many[:len(many)-1]+"]", "Content-Type", "application/json-patch+json").outcome(413, "too-costly")
	deep := strings.Repeat(`{"extension":[`, 5000) + strings.Repeat(`]}`, 5000)
	w.do("PATCH", "/fhir/Observation/a", "system", `[{"op":"add","path":"/subject","value":`+deep+`}]`, "Content-Type", "application/json-patch+json").status(400)
}

func TestPreferences(t *testing.T) {
	w := newWorld(t)
	at := "/fhir/Observation/p"
	body := strings.Replace(glucose, `"Observation"`, `"Observation","id":"p"`, 1)
	for _, c := range []struct{ prefer, applied, body string }{
		{"", "", `"resourceType":"Observation"`},
		{"return=representation", "return=representation", `"resourceType":"Observation"`},
		{"return=minimal", "return=minimal", ""},
		{"return=OperationOutcome", "return=OperationOutcome", `"resourceType":"OperationOutcome"`},
		{"return=nonsense", "", `"resourceType":"Observation"`},
		{"respond-async, return=minimal", "return=minimal", ""},
	} {
		a := w.do("PUT", at+"?_pretty=false&_format=json", "system", body, "Prefer", c.prefer).header("Preference-Applied", c.applied)
		if a.StatusCode > 201 || !strings.Contains(a.body, c.body) || c.body == "" && a.body != "" {
			t.Errorf("%q: got %d %q", c.prefer, a.StatusCode, a.body)
		}
	}
	w.do("PUT", at+"?colour=red", "system", body).status(400).has("http.colour")
	w.do("PUT", at+"?colour=red", "system", body, "Prefer", "handling=lenient").status(200)
	w.do("PUT", at+"?_format=xml", "system", body).status(406)
	w.do("PUT", at+"?_pretty=true", "system", body).status(200).has("\n  \"resourceType\"")
}

// race runs a request many times at once and counts the statuses.
func race(n int, do func(i int) *answer) map[int]int {
	statuses := map[int]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			a := do(i)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
		})
	}
	wait.Wait()
	return statuses
}

func TestRaces(t *testing.T) {
	w := newWorld(t)
	body := fmt.Sprintf(pat, "race")
	transaction := func(method, url, extra, resource string) string {
		return `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":` + resource + `,"request":{"method":"` + method + `","url":"` + url + `"` + extra + `}}]}`
	}
	t.Run("conditional creates make one", func(t *testing.T) {
		got := race(64, func(i int) *answer {
			if i%2 == 0 {
				return w.do("POST", "/fhir", "system", transaction("POST", "Patient", `,"ifNoneExist":"identifier=urn:x|race"`, body))
			}
			return w.do("POST", "/fhir/Patient", "system", body, "If-None-Exist", "identifier=urn:x|race")
		})
		if got[200]+got[201] != 64 || got[201] > 1 {
			t.Errorf("got %v", got)
		}
		if n := len(w.get("/fhir/Patient?identifier=urn:x|race", "system").bundle().Entry); n != 1 {
			t.Errorf("%d are there, want one", n)
		}
	})
	t.Run("conditional updates make one", func(t *testing.T) {
		got := race(32, func(int) *answer {
			return w.do("PUT", "/fhir/Patient?identifier=urn:x|race2", "system", fmt.Sprintf(pat, "race2"))
		})
		if got[201] != 1 || got[200]+got[201]+got[409]+got[412] != 32 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("updates of one version", func(t *testing.T) {
		got := race(32, func(int) *answer {
			return w.do("PUT", "/fhir/Observation/a", "system", strings.Replace(glucose, `"Observation"`, `"Observation","id":"a"`, 1), "If-Match", `W/"1"`)
		})
		if got[200] != 1 || got[412] != 31 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("patches lose no update", func(t *testing.T) {
		w.do("PATCH", "/fhir/Observation/b", "system", `[{"op":"add","path":"/note","value":[]},{"op":"add","path":"/note/0","value":{"text":"first"}}]`, "Content-Type", "application/json-patch+json").status(200)
		got := race(16, func(i int) *answer {
			return w.do("PATCH", "/fhir/Observation/b", "system", fmt.Sprintf(`[{"op":"add","path":"/note/-","value":{"text":"note %d"}}]`, i), "Content-Type", "application/json-patch+json")
		})
		notes := strings.Count(w.get("/fhir/Observation/b", "system").body, `"text"`)
		if got[200]+got[409] != 16 || notes != got[200]+1 {
			t.Errorf("got %v and %d notes", got, notes)
		}
	})
	t.Run("transactions over one resource", func(t *testing.T) {
		got := race(32, func(i int) *answer {
			if i%2 == 0 {
				return w.do("POST", "/fhir", "system", `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Observation/c"}}]}`)
			}
			return w.do("POST", "/fhir", "system", transaction("PUT", "Observation/c", "", strings.Replace(glucose, `"Observation"`, `"Observation","id":"c"`, 1)))
		})
		if got[200]+got[409]+got[412] != 32 || got[200] == 0 {
			t.Errorf("got %v", got)
		}
	})
	w.get("/fhir/Observation/a", "system").status(http.StatusOK)
}
