package fhir_test

import (
	"errors"
	"testing"
	"time"

	"mypatients/fhir"
)

func TestWithMeta(t *testing.T) {
	const stamp = `"versionId":"3","lastUpdated":"2024-02-29T12:00:00.007Z"`
	tests := []struct{ name, in, want string }{
		{"nothing there", `{"resourceType":"Patient"}`, `{"resourceType":"Patient","id":"x","meta":{` + stamp + `}}`},
		{"more behind", `{"resourceType":"Patient","active":true}`, `{"resourceType":"Patient","id":"x","meta":{` + stamp + `},"active":true}`},
		{"type last", `{"active":true,"resourceType":"Patient"}`, `{"active":true,"resourceType":"Patient","id":"x","meta":{` + stamp + `}}`},
		{"id there", `{"resourceType":"Patient","id":"old","active":true}`, `{"resourceType":"Patient","id":"x","meta":{` + stamp + `},"active":true}`},
		{"id far behind", `{"resourceType":"Patient","active":true,"id":"old"}`, `{"resourceType":"Patient","active":true,"id":"x","meta":{` + stamp + `}}`},
		{"meta there", `{"resourceType":"Patient","id":"old","meta":{"versionId":"1","lastUpdated":"2000-01-01T00:00:00Z"}}`, `{"resourceType":"Patient","id":"x","meta":{` + stamp + `}}`},
		{"meta with more", `{"resourceType":"Patient","id":"old","meta":{"profile":["http://p"],"versionId":"1","tag":[{"code":"a"}]}}`, `{"resourceType":"Patient","id":"x","meta":{` + stamp + `,"profile":["http://p"],"tag":[{"code":"a"}]}}`},
		{"meta before id", `{"meta":{"source":"s"},"id":"old","resourceType":"Patient"}`, `{"meta":{` + stamp + `,"source":"s"},"id":"x","resourceType":"Patient"}`},
		{"meta and no id", `{"meta":{"source":"s"},"resourceType":"Patient","active":true}`, `{"meta":{` + stamp + `,"source":"s"},"resourceType":"Patient","id":"x","active":true}`},
		{"meta last and no id", `{"resourceType":"Patient","active":true,"meta":{"source":"s"}}`, `{"resourceType":"Patient","id":"x","active":true,"meta":{` + stamp + `,"source":"s"}}`},
		{"the same names below", `{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"c","meta":{"versionId":"9"}}],"identifier":[{"id":"e","value":"\"id\":\"\\"}],"id":"old"}`,
			`{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"c","meta":{"versionId":"9"}}],"identifier":[{"id":"e","value":"\"id\":\"\\"}],"id":"x","meta":{` + stamp + `}}`},
		{"numbers stay", `{"resourceType":"Observation","valueQuantity":{"value":1.500E+2},"id":"old"}`, `{"resourceType":"Observation","valueQuantity":{"value":1.500E+2},"id":"x","meta":{` + stamp + `}}`},
	}
	at := time.Date(2024, 2, 29, 12, 0, 0, 7_900_000, time.UTC)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := []byte(test.in)
			got := fhir.WithMeta(in, "x", 3, at)
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if string(in) != test.in {
				t.Errorf("the argument was changed: %s", in)
			}
			if again := fhir.WithMeta(got, "x", 3, at); string(again) != test.want {
				t.Errorf("a second time: got %s", again)
			}
			stored := &fhir.Resource{Key: fhir.Key{Type: "Patient", ID: "x"}, Version: 3, Updated: at, JSON: got}
			if !fhir.SameContent(stored, in) || !fhir.SameContent(stored, got) {
				t.Error("SameContent is false for what was stored")
			}
			if fhir.SameContent(stored, []byte(`{"resourceType":"Patient","id":"x","active":false}`)) {
				t.Error("SameContent is true for something else")
			}
		})
	}
}

func TestHeader(t *testing.T) {
	tests := map[string]fhir.Key{
		`{"resourceType":"Patient","id":"1"}`:                  {Type: "Patient", ID: "1"},
		`{"a":[{"id":"2"}],"id":"1","resourceType":"Patient"}`: {Type: "Patient", ID: "1"},
		`{"resourceType":"Patient","contained":[{"id":"2"}]}`:  {Type: "Patient"},
		`{"resourceType":"Patient","id":"a\u0062"}`:            {Type: "Patient"},
		`{"resourceType":"Patient","id":5}`:                    {Type: "Patient"},
		`[]`:                                                   {},
		`{}`:                                                   {},
		`{"x":"}","y":"\\","resourceType":"Group","id":"g\\\""}`: {Type: "Group"},
	}
	for body, want := range tests {
		if got := fhir.Header([]byte(body)); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestWithID(t *testing.T) {
	tests := map[string]string{
		`{"resourceType":"Patient"}`:                     `{"resourceType":"Patient","id":"x"}`,
		`{"resourceType":"Patient","active":true}`:       `{"resourceType":"Patient","id":"x","active":true}`,
		`{"id":"old","resourceType":"Patient","a":[{}]}`: `{"id":"x","resourceType":"Patient","a":[{}]}`,
		`{"active":true}`:                                `{"id":"x","active":true}`,
	}
	for in, want := range tests {
		if got := fhir.WithID([]byte(in), "x"); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"kind gives the code", fhir.ErrNotFound(), `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found","details":{"text":"No such resource."},"diagnostics":"No such resource."}]}`},
		{"element and detail", &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Severity: "fatal", Code: "value", Text: "x", Expression: "Patient.id", Detail: fhir.Coding{System: "http://s", Code: "c"}}}},
			`{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"value","details":{"coding":[{"system":"http://s","code":"c"}],"text":"x"},"diagnostics":"x","expression":["Patient.id"]}]}`},
		{"a foreign error says nothing", errors.New("disk full"), `{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception","details":{"text":"The server failed to do this."},"diagnostics":"The server failed to do this."}]}`},
		{"an internal error says nothing", fhir.Errorf(fhir.Internal, "disk full"), `{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception","details":{"text":"The server failed to do this."},"diagnostics":"The server failed to do this."}]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := fhir.Outcome(test.err)
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if _, err := fhir.Parse(got); err != nil {
				t.Errorf("not a valid OperationOutcome: %v", err)
			}
		})
	}
	if _, err := fhir.Parse(fhir.OutcomeJSON(nil)); err != nil {
		t.Errorf("without issues: %v", err)
	}
}

func TestParseReference(t *testing.T) {
	tests := []struct {
		text string
		want fhir.Reference
	}{
		{"Patient/1", fhir.Reference{Form: fhir.Relative, Key: fhir.Key{Type: "Patient", ID: "1"}}},
		{"Patient/1/_history/2", fhir.Reference{Form: fhir.Relative, Key: fhir.Key{Type: "Patient", ID: "1"}, Version: "2"}},
		{"https://x.org/fhir/Patient/1", fhir.Reference{Form: fhir.Literal, Key: fhir.Key{Type: "Patient", ID: "1"}, Base: "https://x.org/fhir"}},
		{"https://x.org/Patient/1/_history/2", fhir.Reference{Form: fhir.Literal, Key: fhir.Key{Type: "Patient", ID: "1"}, Version: "2", Base: "https://x.org"}},
		{"https://x.org/Questionnaire/q|1", fhir.Reference{Form: fhir.Absolute}},
		{"https://x.org", fhir.Reference{Form: fhir.Absolute}},
		{"http://Patient/1", fhir.Reference{Form: fhir.Absolute}},
		{"urn:uuid:5", fhir.Reference{Form: fhir.Absolute}},
		{"urn:x/Patient/1", fhir.Reference{Form: fhir.Absolute}},
		{"#a", fhir.Reference{Form: fhir.Fragment}},
		{"#", fhir.Reference{Form: fhir.Fragment}},
		{"Patient?identifier=s|1", fhir.Reference{Form: fhir.Conditional, Key: fhir.Key{Type: "Patient"}, Query: "identifier=s|1"}},
		{"Pat?identifier=1", fhir.Reference{}},
		{"Patient?", fhir.Reference{}},
		{"patient/1", fhir.Reference{}},
		{"Patient/", fhir.Reference{}},
		{"/Patient/1", fhir.Reference{}},
		{"Patient/1/2", fhir.Reference{}},
		{"Patient/1/_history/", fhir.Reference{}},
		{"Patient/ 1", fhir.Reference{}},
		{"", fhir.Reference{}},
		{"http://%zz/Patient/1", fhir.Reference{}},
	}
	for _, test := range tests {
		test.want.Text = test.text
		if got := fhir.ParseReference(test.text); got != test.want {
			t.Errorf("%q: got %+v, want %+v", test.text, got, test.want)
		}
	}
	if key, local := fhir.ParseReference("https://x.org/fhir/Patient/1").Local("https://x.org/fhir"); !local || key.ID != "1" {
		t.Errorf("got %v %v, want Patient/1 under its base", key, local)
	}
	for _, text := range []string{"https://y.org/fhir/Patient/1", "https://x.org/fhir/sub/Patient/1", "urn:uuid:1", "#1"} {
		if _, local := fhir.ParseReference(text).Local("https://x.org/fhir"); local {
			t.Errorf("%s counts as local", text)
		}
	}
}

func BenchmarkWithMeta(b *testing.B) {
	doc, err := fhir.Parse(examples(b)["Patient-example.json"])
	if err != nil {
		b.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_000)
	b.SetBytes(int64(len(doc.JSON)))
	b.ReportAllocs()
	for b.Loop() {
		fhir.WithMeta(doc.JSON, "an-id", 12, at)
	}
}
