package engine_test

import (
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

func TestReferences(t *testing.T) {
	const urn, there = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9", "http://other.example/r4/Patient/9"
	refs := engine.NewReferences(func(ref fhir.Reference) (fhir.Key, error) {
		if ref.Query == "identifier=1" {
			return fhir.Key{Type: ref.Key.Type, ID: "found"}, nil
		}
		return fhir.Key{}, fhir.Errorf(fhir.NotFound, "nothing")
	})
	refs.Add(urn, fhir.Key{Type: "Patient", ID: "p"}, 3)
	refs.Add(there, fhir.Key{Type: "Patient", ID: "q"}, 0)
	refs.Add("", fhir.Key{Type: "Patient", ID: "none"}, 1)
	ref := func(s string) string {
		return `{"resourceType":"Observation","subject":{"reference":"` + s + `"}}`
	}
	for _, c := range []struct{ from, body, want string }{
		{"", ref(urn), ref("Patient/p")},
		{"", ref(urn + "#x"), ref("Patient/p#x")},
		{"", ref(urn + "/_history/1"), ref("Patient/p/_history/3")},
		{"", ref(urn + "|1"), ref("Patient/p/_history/3")},
		{"", ref(there), ref("Patient/q")},
		{"", ref(there + "/_history/4"), ref("Patient/q/_history/4")},
		{"", ref("Patient/9"), ref("Patient/9")}, // nothing says where
		{"http://other.example/r4/Observation/1", ref("Patient/9"), ref("Patient/q")},
		{"http://other.example/r4/Observation/1", ref("Patient/8"), ref("Patient/8")},
		{"http://elsewhere.example/r4/Observation/1", ref("Patient/9"), ref("Patient/9")},
		{"", ref("#x"), ref("#x")},
		{"", ref("http://third.example/Patient/1"), ref("http://third.example/Patient/1")},
		{"", ref("Patient?identifier=1"), ref("Patient/found")},
		// contained resources, extensions of primitives, lists, choices
		{"", `{"resourceType":"Observation","contained":[` + ref(urn) + `],"_status":{"extension":[{"url":"x","valueReference":{"reference":"` + urn + `"}}]}}`,
			`{"resourceType":"Observation","contained":[` + ref("Patient/p") + `],"_status":{"extension":[{"url":"x","valueReference":{"reference":"Patient/p"}}]}}`},
		// what is a string is not a link, whatever it says
		{"", `{"resourceType":"Patient","identifier":[{"system":"` + urn + `","value":"` + urn + `"}],"name":[{"text":"` + urn + `"}]}`,
			`{"resourceType":"Patient","identifier":[{"system":"Patient/p","value":"` + urn + `"}],"name":[{"text":"` + urn + `"}]}`},
		{"", `{"resourceType":"Patient","photo":[{"url":"` + there + `"}],"extension":[{"url":"x","valueOid":"` + urn + `"},{"url":"y","valueUuid":"` + urn + `"},{"url":"y","valueCanonical":"` + urn + `"},{"url":"y","valueString":"` + urn + `"}]}`,
			`{"resourceType":"Patient","photo":[{"url":"Patient/q"}],"extension":[{"url":"x","valueOid":"` + urn + `"},{"url":"y","valueUuid":"` + urn + `"},{"url":"y","valueCanonical":"` + urn + `"},{"url":"y","valueString":"` + urn + `"}]}`},
		{"", `{"resourceType":"Patient","text":{"div":"<div xmlns=\"u\"><a href=\"` + urn + `\">é</a><img  src = '` + there + `'/><a title=\"` + urn + `\" href=\"#x\"/></div>"}}`,
			`{"resourceType":"Patient","text":{"div":"<div xmlns=\"u\"><a href=\"Patient/p\">é</a><img  src = 'Patient/q'/><a title=\"` + urn + `\" href=\"#x\"/></div>"}}`},
		{"", `{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"` + there + `","resource":` + ref(urn) + `}]}`,
			`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"Patient/q","resource":` + ref("Patient/p") + `}]}`},
		{"", `{"resourceType":"Nothing","subject":{"reference":"` + urn + `"}}`, `{"resourceType":"Nothing","subject":{"reference":"` + urn + `"}}`},
		{"", `[1,{"a":"` + urn + `"}]`, `[1,{"a":"` + urn + `"}]`},
		{"", `{}`, `{}`},
	} {
		got, err := refs.Rewrite(c.from, []byte(c.body))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.body, got, err, c.want)
		}
	}
	for body, at := range map[string]string{
		ref("urn:uuid:00000000-0000-0000-0000-000000000000"): "Observation.subject.reference",
		ref("urn:oid:1.2.3"):            "Observation.subject.reference",
		ref("Patient?identifier=other"): "Observation.subject.reference",
		`{"resourceType":"Observation","extension":[{},{"valueReference":{"reference":"urn:oid:1"}}]}`: "Observation.extension[1].value.reference",
	} {
		_, err := refs.Rewrite("", []byte(body))
		if known, ok := err.(*fhir.Error); !ok || known.Issues[0].Expression != at {
			t.Errorf("%s: got %v, want a refusal at %s", body, err, at)
		}
	}
	deep := strings.Repeat(`{"extension":[`, 5000) + strings.Repeat(`]}`, 5000)
	if _, err := refs.Rewrite("", []byte(`{"resourceType":"Patient","extension":[`+deep+`]}`)); err != nil {
		t.Error(err)
	}
}

func TestCriteria(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Patient","id":"1","identifier":[{"value":"a"}]}`, `{"resourceType":"Patient","id":"2","identifier":[{"value":"a"},{"value":"b"}]}`)
	for query, want := range map[string]string{"identifier=b": "2", "identifier=c": "", "_id=1": "1", "identifier=a&_id=1": "1"} {
		c, err := w.ParseCriteria("Patient", query)
		if err != nil {
			t.Fatal(err)
		}
		w.view(func(tx *engine.Tx) error {
			r, err := tx.Match(c, engine.Everything)
			if err != nil || (r == nil) != (want == "") || r != nil && r.ID != want {
				t.Errorf("%s: got %v, %v, want %q", query, r, err, want)
			}
			if r, err := tx.Match(c, nil); r != nil || err != nil {
				t.Errorf("without a sight: got %v, %v", r, err)
			}
			return nil
		})
	}
	c, err := w.ParseCriteria("Patient", "identifier=a")
	if err != nil {
		t.Fatal(err)
	}
	w.view(func(tx *engine.Tx) error {
		if _, err := tx.Match(c, engine.Everything); fhir.KindOf(err) != fhir.MultipleMatches {
			t.Errorf("got %v", err)
		}
		return nil
	})
	for _, bad := range []string{"", "_count=1", "identifier=a&_sort=_id", "_include:iterate=*", "_format=json", "colour=red", "%zz", "birthdate=x"} {
		if _, err := w.ParseCriteria("Patient", bad); fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if _, err := w.ParseCriteria("Nothing", "_id=1"); fhir.KindOf(err) != fhir.Invalid {
		t.Errorf("no such type: got %v", err)
	}
}
