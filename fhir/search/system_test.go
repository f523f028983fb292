package search_test

import (
	"net/url"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/search"
)

func TestParseTypes(t *testing.T) {
	for query, want := range map[string]string{
		"":                               "",
		"_type=Patient":                  "Patient",
		"_type=Patient,Observation":      "Patient Observation",
		"_type=Patient,Patient":          "Patient",
		"_type=":                         "! http._type",
		"_type=Patient,Foo":              "! http._type",
		"_type=patient":                  "! http._type",
		"_type=Patient&_type=Encounter":  "! http._type",
		"_type=Patient,":                 "! http._type",
		"_type=Patient%2CObservation&a=": "Patient Observation",
	} {
		values, _ := url.ParseQuery(query)
		types, err := search.ParseTypes(values)
		got := strings.Join(names(types), " ")
		if err != nil {
			got = "! " + strings.Join(refusal(t, err), " ")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func names(types []fhir.Type) []string {
	list := make([]string, len(types))
	for i, t := range types {
		list[i] = string(t)
	}
	return list
}

// What one of the types does not know is refused, or left out for all of them.
func TestParseSystem(t *testing.T) {
	r := registry(t)
	for _, c := range []struct {
		types, query string
		lenient      bool
		want         string // what is applied
	}{
		{"Patient Observation", "_id=1", false, "_id=1"},
		{"Patient Observation", "_type=Patient,Observation&_id=1", false, "_id=1&_type=Patient%2CObservation"},
		{"Patient Observation", "_lastUpdated=gt2020&_sort=-_lastUpdated&_count=3", false, "_count=3&_lastUpdated=gt2020&_sort=-_lastUpdated"},
		{"Observation Condition", "patient=1&code=x", false, "code=x&patient=1"},
		{"Observation Condition", "patient=1&value-quantity=5", false, "! http.value-quantity"},
		{"Observation Condition", "patient=1&value-quantity=5&onset-date=2020", true, "patient=1"},
		{"Observation Condition", "nonsense=1&_id=x", true, "_id=x"},
		{"Observation Condition", "nonsense=1&_id=x", false, "! http.nonsense"},
		{"Observation Condition", "_sort=date", false, "! http._sort"},
		{"Observation Condition", "_sort=date", true, ""},
		{"Observation Condition", "code=a&code:foo=b", true, "! http.code:foo"},
		{"Observation Condition", "_include=Condition:subject", false, "_include=Condition%3Asubject"},
		{"Observation Condition", "_include=Encounter:subject", false, "! http._include"},
		{"Observation Patient", "_revinclude=Encounter:subject", false, "_revinclude=Encounter%3Asubject"},
		{"Observation Condition", "_revinclude=Encounter:appointment", false, "! http._revinclude"},
	} {
		values, _ := url.ParseQuery(c.query)
		var types []fhir.Type
		for _, name := range strings.Fields(c.types) {
			types = append(types, fhir.Type(name))
		}
		queries, err := r.ParseSystem(types, values, search.Options{Base: base, Lenient: c.lenient})
		if err != nil {
			if got := "! " + strings.Join(refusal(t, err), " "); got != c.want {
				t.Errorf("%s?%s: got %q, want %q", c.types, c.query, got, c.want)
			}
			continue
		}
		if len(queries) != len(types) {
			t.Fatalf("%s?%s: %d queries", c.types, c.query, len(queries))
		}
		for i, q := range queries {
			if q.Type != types[i] || q.Applied.Encode() != c.want {
				t.Errorf("%s?%s: %s applies %q, want %q", c.types, c.query, q.Type, q.Applied.Encode(), c.want)
			}
		}
	}
	if _, err := r.ParseSystem(fhir.Types(), url.Values{"_id": {"1"}, "_lastUpdated": {"lt2030"}, "_tag": {"x"}, "_profile": {"http://p"}, "_security": {"s|"}}, search.Options{}); err != nil {
		t.Errorf("what all types have: %v", err)
	}
}
