package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// bundle sends one and gives the statuses of its entries, as far as they got.
func (w *smartWorld) bundle(token, kind string, entries ...string) (reply, []string) {
	w.t.Helper()
	r := w.send("POST", "/fhir", `{"resourceType":"Bundle","type":"`+kind+`","entry":[`+strings.Join(entries, ",")+`]}`,
		"Content-Type", "application/fhir+json", "Authorization", "Bearer "+token)
	var answer struct {
		Entry []struct{ Response struct{ Status string } }
	}
	_ = json.Unmarshal([]byte(r.body), &answer)
	var statuses []string
	for _, e := range answer.Entry {
		status, _, _ := strings.Cut(e.Response.Status, " ")
		statuses = append(statuses, status)
	}
	return r, statuses
}

func entryTo(method, path, resource string) string {
	e := `{"request":{"method":"` + method + `","url":"` + path + `"}`
	if resource != "" {
		e += `,"resource":` + resource
	}
	return e + "}"
}

// Each entry of a batch is judged by itself; one that no scope opens fails a whole
// transaction, and nothing of it stays.
func mixedEntries(t *testing.T, w *smartWorld) {
	token := w.enter("dr.adams", "public", "openid user/Patient.r user/Condition.cruds", nil).str("access_token")
	whole := w.enter("dr.adams", "public", "openid user/*.rs", nil).str("access_token")
	condition := `{"resourceType":"Condition","code":{"text":"mixed"},"subject":{"reference":"Patient/pt-1"}}`
	observation := `{"resourceType":"Observation","status":"final","code":{"text":"mixed"},"subject":{"reference":"Patient/pt-1"}}`
	count := func() (conditions, observations int) {
		c, _ := w.all("Condition?patient=pt-1&_count=200", whole)
		o, _ := w.all("Observation?patient=pt-1&_count=500", whole)
		return len(c), len(o)
	}
	c0, o0 := count()
	r, got := w.bundle(token, "batch", entryTo("GET", "Patient/pt-1", ""), entryTo("GET", "Observation?patient=pt-1", ""), entryTo("POST", "Condition", condition),
		entryTo("POST", "Observation", observation), entryTo("GET", "Condition?patient=pt-1", ""), entryTo("GET", "Patient?_id=pt-1", ""))
	if want := []string{"200", "403", "201", "403", "200", "403"}; r.status != 200 || !slices.Equal(got, want) {
		t.Errorf("a batch: got %d %v, want %v: %.500s", r.status, got, want, r.body)
	}
	c1, o1 := count()
	if c1 != c0+1 || o1 != o0 {
		t.Errorf("a batch wrote %d conditions and %d observations, want 1 and 0", c1-c0, o1-o0)
	}
	for name, entries := range map[string][]string{
		"a write":  {entryTo("POST", "Condition", condition), entryTo("POST", "Observation", observation)},
		"a search": {entryTo("POST", "Condition", condition), entryTo("GET", "Observation?patient=pt-1", "")},
		"a read":   {entryTo("POST", "Condition", condition), entryTo("GET", "Observation/x", "")},
		"a letter": {entryTo("POST", "Condition", condition), entryTo("GET", "Patient?_id=pt-1", "")},
	} {
		if r, _ := w.bundle(token, "transaction", entries...); r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), "insufficient_scope") || !strings.Contains(r.body, "Bundle.entry[1]") {
			t.Errorf("a transaction with %s: got %d %.300s", name, r.status, r.body)
		}
	}
	if c, o := count(); c != c1 || o != o1 {
		t.Errorf("a refused transaction wrote %d conditions and %d observations", c-c1, o-o1)
	}
	if r, got := w.bundle(token, "transaction", entryTo("GET", "Patient/pt-1", ""), entryTo("POST", "Condition", condition)); r.status != 200 || !slices.Equal(got, []string{"200", "201"}) {
		t.Errorf("what the scopes open: got %d %v", r.status, got)
	}
	// The launch patient bounds each entry too.
	launched := w.enter("grace", "public", "launch/patient patient/*.rs", mateo).str("access_token")
	if _, got := w.bundle(launched, "batch", entryTo("GET", "Patient/pt-1", ""), entryTo("GET", "Patient/pt-2", "")); !slices.Equal(got, []string{"200", "404"}) && !slices.Equal(got, []string{"200", "403"}) {
		t.Errorf("the launch patient in a batch: got %v", got)
	}
}

// Searches and histories of all types give what the scopes open, and nothing else.
func allTypes(t *testing.T, w *smartWorld) {
	lab := "patient/Observation.rs?category=" + observationCategory + "laboratory"
	for _, c := range []struct {
		person, scope string
		fill          url.Values
		types         []string
	}{
		{"grace", "launch/patient patient/Condition.rs patient/Encounter.rs", mateo, []string{"Condition", "Encounter"}},
		{"grace", "launch/patient patient/Condition.rs " + lab, mateo, []string{"Condition", "Observation"}},
		{"dr.adams", "openid user/Condition.rs", nil, []string{"Condition"}},
	} {
		token := w.enter(c.person, "public", c.scope, c.fill).str("access_token")
		for _, path := range []string{"?_count=200", "?_type=Condition,Observation,Encounter,Patient&_count=200", "_history?_count=200"} {
			r := w.fhir(path, token)
			if r.status == 403 && strings.Contains(path, "_type") {
				continue // a type that no scope opens was named
			}
			hits, _ := w.all(path, token)
			if r.status != 200 || len(hits) == 0 {
				t.Errorf("%s %s: got %d, %d hits", c.scope, path, r.status, len(hits))
			}
			for _, h := range hits {
				if !slices.Contains(c.types, h.Type) || h.Type == "Observation" && !h.in(observationCategory+"laboratory") {
					t.Fatalf("%s %s: gives %s/%s", c.scope, path, h.Type, h.ID)
				}
			}
			if c.fill != nil && strings.Contains(r.body, `Patient/pt-2"`) {
				t.Errorf("%s %s: gives another patient's", c.scope, path)
			}
		}
		for _, path := range []string{"Immunization/_history", "Patient/pt-1/_history"} {
			expect(t, w.fhir(path, token), 403)
		}
	}
	none := w.enter("grace", "public", "launch/patient openid patient/Patient.c", mateo).str("access_token")
	expect(t, w.fhir("?_count=1", none), 403)
	expect(t, w.fhir("_history", none), 403)
}
