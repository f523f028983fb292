package fhir_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
)

const teen = `{"resourceType":"Patient","id":"ava","meta":{"versionId":"2","security":[{"code":"R"}],"tag":[{"code":"own"}]},` +
	`"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">Ava {\"}]</div>"},"extension":[{"url":"http://x","valueString":"y"}],` +
	`"identifier":[{"system":"urn:mrn","value":"1003"}],"active":true,"name":[{"family":"Thompson","given":["Ava"]}],"birthDate":"2010-09-09",` +
	`"_birthDate":{"extension":[{"url":"http://t","valueTime":"10:00:00"}]},"deceasedBoolean":false,"photo":[{"contentType":"image/png","data":"AAAA"}],` +
	`"contact":[{"name":{"family":"T"}}],"communication":[{"language":{"text":"en"}}],"link":[{"other":{"reference":"Patient/b"},"type":"seealso","extension":[{"url":"http://z","valueCode":"q"}]}]}`

func subset(t *testing.T, query string) fhir.Subset {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fhir.ParseSubset(values, false, "Patient", "Observation", "Media")
	if err != nil || len(values) != 0 {
		t.Fatalf("%s: %v, left %v", query, err, values)
	}
	return s
}

// members gives the names of the members of an object.
func members(t *testing.T, body []byte) []string {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return slices.Sorted(maps.Keys(object))
}

func TestSubsetOf(t *testing.T) {
	for query, want := range map[string]string{
		"_summary=true":                      "_birthDate active birthDate deceasedBoolean id identifier link meta name resourceType",
		"_summary=text":                      "id meta resourceType text",
		"_summary=data":                      "_birthDate active birthDate communication contact deceasedBoolean extension id identifier link meta name photo resourceType",
		"_elements=name":                     "active deceasedBoolean id link meta name resourceType",
		"_elements=birthDate,photo":          "_birthDate active birthDate deceasedBoolean id link meta photo resourceType",
		"_elements=Patient.contact.name":     "active contact deceasedBoolean id link meta resourceType",
		"_elements=Observation.code":         "active deceasedBoolean id link meta resourceType",
		"_elements=deceased,code":            "active deceasedBoolean id link meta resourceType",
		"_elements=name&_elements=contact":   "active contact deceasedBoolean id link meta name resourceType",
		"_summary=false&_elements=telecom":   "active deceasedBoolean id link meta resourceType",
		"_elements=id,meta,implicitRules,id": "active deceasedBoolean id link meta resourceType",
	} {
		part := subset(t, query).Of("Patient", []byte(teen))
		if got := strings.Join(members(t, part), " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
		}
		if !strings.Contains(string(part), `"tag":[{"code":"own"},{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}`) {
			t.Errorf("%s: no tag in %s", query, part)
		}
		tree, err := fhir.Tree(part)
		if err != nil || fhir.Subsetted(tree) != 1 {
			t.Errorf("%s: not known as a part: %v", query, err)
		}
	}
	for _, all := range []string{"", "_summary=false"} {
		if got := subset(t, all).Of("Patient", []byte(teen)); string(got) != teen {
			t.Errorf("%q: got %s", all, got)
		}
	}
	if tree, err := fhir.Tree([]byte(teen)); err != nil || fhir.Subsetted(tree) != -1 {
		t.Errorf("all of it counts as a part: %v", err)
	}
	if part := subset(t, "_summary=true").Of("Patient", []byte(teen)); !strings.Contains(string(part), `"link":[{"other":{"reference":"Patient/b"},"type":"seealso"}]`) {
		t.Errorf("a backbone element is not cut down: %s", part)
	}
}

func TestSubsetInside(t *testing.T) {
	for _, tt := range []struct{ typ, query, body, want string }{
		{"Media", "_summary=true",
			`{"resourceType":"Media","id":"m","status":"completed","content":{"contentType":"image/png","data":"AAAA","extension":[{"url":"u","valueCode":"c"}]}}`,
			`{"resourceType":"Media","id":"m","status":"completed","content":{"contentType":"image/png","extension":[{"url":"u","valueCode":"c"}]},"meta":{"tag":[TAG]}}`},
		{"Media", "_summary=true",
			`{"resourceType":"Media","id":"m","meta":{},"status":"completed","content":{"data":"AAAA"}}`,
			`{"resourceType":"Media","id":"m","meta":{"tag":[TAG]},"status":"completed"}`},
		{"Observation", "_summary=true",
			`{"resourceType":"Observation","id":"o","meta":{"versionId":"1"},"status":"final","code":{"text":"a"},"component":[{"code":{"text":"b"},"valueString":"c","interpretation":[{"text":"H"}]},{"referenceRange":[{"text":"d"}]}],"note":[{"text":"n"}]}`,
			`{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[TAG]},"status":"final","code":{"text":"a"},"component":[{"code":{"text":"b"},"valueString":"c"}]}`},
		{"Observation", "_elements=value",
			`{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{"code":"SUBSETTED"}]},"status":"final","code":{"text":"a"},"valueQuantity":{"value":1.20},"note":[{"text":"n"}]}`,
			`{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{"code":"SUBSETTED"}]},"status":"final","code":{"text":"a"},"valueQuantity":{"value":1.20}}`},
	} {
		want := strings.ReplaceAll(tt.want, "TAG", `{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}`)
		if got := subset(t, tt.query).Of(fhir.Type(tt.typ), []byte(tt.body)); string(got) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.query, got, want)
		}
	}
}

// TestSubsetsAreResources cuts the official examples down: what is left is still
// a valid resource, and nothing is in it that was not there before.
func TestSubsetsAreResources(t *testing.T) {
	for name, body := range examples(t) {
		doc, err := fhir.Parse(body)
		if err != nil {
			continue // TestExamples knows which
		}
		for _, query := range []string{"_summary=true", "_summary=data", "_elements=identifier", "_summary=text"} {
			part := subset(t, query).Of(doc.Type, doc.JSON)
			again, err := fhir.Parse(part)
			if err != nil {
				t.Errorf("%s %s: %v\n%s", name, query, err, part)
				continue
			}
			delete(again.Tree, "meta")
			if path := more(again.Tree, doc.Tree, ""); path != "" {
				t.Errorf("%s %s: %s was not there", name, query, path)
			}
		}
	}
}

// more finds something in a that is not in b; items of arrays may be missing.
func more(a, b any, path string) string {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return path
		}
		for name, value := range a {
			if found := more(value, b[name], path+"."+name); found != "" {
				return found
			}
		}
		return ""
	case []any:
		b, _ := b.([]any)
		for _, item := range a {
			if !slices.ContainsFunc(b, func(other any) bool { return more(item, other, path) == "" }) {
				return path + "[]"
			}
		}
		return ""
	}
	if a != b {
		return path
	}
	return ""
}

func TestParseSubsetRefuses(t *testing.T) {
	for query, parameter := range map[string]string{
		"_summary=count": "http._summary", "_summary=": "http._summary", "_summary=true&_summary=text": "http._summary", "_elements=": "http._elements",
		"_elements=a,,b": "http._elements", "_elements=na me": "http._elements", "_summary=true&_elements=name": "http._elements",
		"_elements=name,nosuch": "nosuch", "_elements=code": "code", "_elements=Patient.nosuch": "Patient.nosuch", "_elements=Patient": "element Patient", "_elements=contact.nosuch": "http._elements", "_elements=name.": "http._elements",
		"_elements=" + strings.Repeat("id,", 200) + "id": "http._elements", strings.Repeat("_elements=id&", 21): "http._elements",
	} {
		values, _ := url.ParseQuery(query)
		_, err := fhir.ParseSubset(values, false, "Patient")
		if fhir.KindOf(err) != fhir.Invalid || !strings.Contains(err.Error(), parameter) {
			t.Errorf("%s: got %v, want a refusal that names %s", query, err, parameter)
		}
	}
}

// What no type has is refused, or left out when lenient; what one has is taken, for
// several types are asked for together.
func TestElementsThatThereAreNot(t *testing.T) {
	const any = "Observation.code resourceType name.family id extension Practitioner.qualification lensSpecification"
	values := url.Values{"_elements": {strings.ReplaceAll(any, " ", ",")}}
	if s, err := fhir.ParseSubset(values, false); err != nil || strings.Join(s.Elements, " ") != any {
		t.Errorf("of any type: got %v, %v", s.Elements, err)
	}
	values = url.Values{"_elements": {"nosuch,name", "Patient.nosuch", "lensSpecification,birthDate"}}
	s, err := fhir.ParseSubset(values, true, "Patient", "Observation")
	if err != nil || strings.Join(s.Elements, " ") != "name birthDate" || s.Values().Encode() != "_elements=name%2CbirthDate" {
		t.Errorf("lenient: got %v, %v", s.Elements, err)
	}
	if s, err := fhir.ParseSubset(url.Values{"_elements": {"nosuch"}}, true, "Patient"); err != nil || !s.All() {
		t.Errorf("lenient, nothing is left: got %v, %v", s.Elements, err)
	}
}

func BenchmarkSubset(b *testing.B) {
	s := fhir.Subset{Summary: "true"}
	body := []byte(teen)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s.Of("Patient", body)
	}
}
