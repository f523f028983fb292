package fhir_test

import (
	"errors"
	"net/url"
	"reflect"
	"testing"

	"mypatients/fhir"
)

func TestParseQuery(t *testing.T) {
	for query, want := range map[string]url.Values{
		"":                                 {},
		"name=a;b&name=c":                  {"name": {"a;b", "c"}},
		"_format=json;fhirVersion=4.0&x=1": {"_format": {"json;fhirVersion=4.0"}, "x": {"1"}},
		"a%3Bb=%26+;":                      {"a;b": {"& ;"}},
	} {
		if got, err := fhir.ParseQuery(query); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", query, got, err, want)
		}
	}
	for query, at := range map[string]string{
		"gender=male&name=%zz":          "http.name",
		"name:exact=50%&gender=male":    "http.name:exact",
		"gender=male&na%zzme=x&birth=1": "",
		"=%":                            "http.",
	} {
		got, err := fhir.ParseQuery(query)
		var refused *fhir.Error
		if !errors.As(err, &refused) || refused.Kind != fhir.Invalid || refused.Issues[0].Expression != at {
			t.Errorf("%s: got %v, want a refusal at %q", query, err, at)
		}
		if query != "=%" && got.Get("gender") != "male" {
			t.Errorf("%s: got %v, want the rest", query, got)
		}
	}
}
