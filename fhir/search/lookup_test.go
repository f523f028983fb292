package search_test

import (
	"net/url"
	"testing"

	"mypatients/fhir/search"
)

// A query with a look-up holds for nothing where nothing can be looked up, as in
// the limits of a scope.
func TestLookUpsWithoutSources(t *testing.T) {
	r := registry(t)
	m := newModel(t, r, []byte(`{"resourceType":"List","id":"l","status":"current","mode":"working","entry":[{"item":{"reference":"Patient/1"}}]}
{"resourceType":"Patient","id":"1","gender":"male"}`))
	for _, query := range []string{"_list=l", "gender:not-in=urn:absent", "gender:in=urn:absent", "gender:below=male", "organization:below=1"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		q, err := r.Parse("Patient", values, search.Options{Base: base})
		if err != nil {
			t.Fatal(err)
		}
		if !q.Joins() {
			t.Errorf("%s: does not tell that it looks elsewhere", query)
		}
		if hits, err := m.Search(q.Plan(everything)); len(hits) != 0 || err != nil {
			t.Errorf("%s: got %d rows, %v", query, len(hits), err)
		}
	}
}
