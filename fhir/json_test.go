package fhir_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mypatients/fhir"
)

var update = flag.Bool("update", false, "write golden files")

// examples reads the official examples by their file names.
func examples(t testing.TB) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/r4-examples.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for archive := tar.NewReader(unpacked); ; {
		head, err := archive.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeReg && path.Ext(head.Name) == ".json" {
			all[path.Base(head.Name)] = body
		}
	}
}

func TestExamplesComeBackUnchanged(t *testing.T) {
	all := examples(t)
	if len(all) != 373 {
		t.Fatalf("got %d examples, want 373", len(all))
	}
	var refused bytes.Buffer
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		doc, err := fhir.Parse(all[name])
		if err != nil {
			fmt.Fprintf(&refused, "%s\t%v\n", name, err)
			continue
		}
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			if err := json.Compact(&want, all[name]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want.Bytes(), doc.JSON) {
				t.Errorf("the body changed:\n%s", cmp.Diff(want.String(), string(doc.JSON)))
			}
			stored := fhir.WithMeta(doc.JSON, "new-id", 7, time.UnixMilli(1_700_000_000_123))
			if before, after := withoutStamp(t, doc.JSON), withoutStamp(t, stored); !reflect.DeepEqual(before, after) {
				t.Errorf("what is stored differs:\n%s", cmp.Diff(before, after))
			}
			again, err := fhir.Parse(stored)
			if err != nil {
				t.Fatalf("what is stored is refused: %v", err)
			}
			if again.ID != "new-id" {
				t.Errorf("got id %q, want new-id", again.ID)
			}
			if tree, err := fhir.Tree(doc.JSON); err != nil || !reflect.DeepEqual(tree, doc.Tree) {
				t.Errorf("Tree differs from Document.Tree: %v", cmp.Diff(tree, doc.Tree))
			}
		})
	}
	golden(t, "testdata/r4-refused.golden", refused.Bytes())
}

// withoutStamp decodes a body, numbers to the digit, and takes off what the
// server sets.
func withoutStamp(t *testing.T, body []byte) map[string]any {
	t.Helper()
	tree, err := fhir.Tree(body)
	if err != nil {
		t.Fatal(err)
	}
	delete(tree, "id")
	if meta, ok := tree["meta"].(map[string]any); ok {
		delete(meta, "versionId")
		delete(meta, "lastUpdated")
		if len(meta) == 0 {
			delete(tree, "meta")
		}
	}
	return tree
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

const narrative = `"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">%s</div>"}`

func TestParseRefuses(t *testing.T) {
	patient := func(members string) string { return `{"resourceType":"Patient",` + members + `}` }
	observation := func(members string) string {
		return `{"resourceType":"Observation","status":"final","code":{"text":"x"},` + members + `}`
	}
	text := func(inner string) string { return patient(fmt.Sprintf(narrative, inner)) }
	tests := []struct {
		name, body string
		kind       fhir.Kind
		elements   string // of the issues, in order
	}{
		{"nothing", ``, fhir.Invalid, ""},
		{"not JSON", `<Patient/>`, fhir.Invalid, ""},
		{"an array", `[]`, fhir.Invalid, ""},
		{"null", `null`, fhir.Invalid, ""},
		{"cut off", `{"resourceType":"Patient","name":[{"family":"x"`, fhir.Invalid, "name[0]"},
		{"something behind it", patient(`"active":true`) + `{}`, fhir.Invalid, ""},
		{"no type", `{"id":"1"}`, fhir.Invalid, "resourceType"},
		{"unknown type", `{"resourceType":"Patent"}`, fhir.Invalid, "resourceType"},
		{"abstract type", `{"resourceType":"DomainResource"}`, fhir.Invalid, "resourceType"},
		{"broken UTF-8", patient("\"id\":\"a\xffb\""), fhir.Invalid, "id"},
		{"half a surrogate pair", patient(`"id":"\ud800"`), fhir.Invalid, "id"},
		{"NUL", patient(`"language":"a\u0000"`), fhir.Invalid, "Patient.language"},
		{"duplicate name", patient(`"id":"a","id":"b"`), fhir.Invalid, "id"},
		{"duplicate below", observation(`"subject":{"reference":"Patient/1","reference":"Patient/2"}`), fhir.Invalid, "subject.reference"},
		{"duplicate by another case", observation(`"subject":{"reference":"Patient/1","Reference":"Patient/2"}`), fhir.Invalid, "Observation.subject"},
		{"wrong case", patient(`"BirthDate":"2000-01-01"`), fhir.Invalid, "Patient"},
		{"wrong case of an extension", patient(`"_BirthDate":{"id":"x"}`), fhir.Invalid, "Patient"},
		{"wrong case inside", patient(`"birthdate":"2000-01-01"`), fhir.Invalid, "Patient"},
		{"choice in wrong case", observation(`"valuestring":"x"`), fhir.Invalid, "Observation"},
		{"escaped name", patient(`"\u0069d":"x"`), fhir.Invalid, "Patient"},
		{"empty string", patient(`"id":""`), fhir.Invalid, "Patient.id"},
		{"empty array and object", patient(`"name":[],"contact":[{}]`), fhir.Invalid, "Patient.contact[0] Patient.name"},
		{"null value", patient(`"birthDate":null`), fhir.Invalid, "Patient.birthDate"},
		{"null in an array", patient(`"name":[{"given":["a",null]}]`), fhir.Invalid, "Patient.name[0].given[1]"},
		{"null in an array of objects", patient(`"name":[null]`), fhir.Invalid, "Patient.name[0]"},
		{"too few extensions", patient(`"name":[{"given":["a","b"],"_given":[{"id":"x"}]}]`), fhir.Invalid, "Patient.name[0].given"},
		{"nested too deep", patient(`"extension":[` + strings.Repeat(`{"url":"http://x","extension":[`, 30) + strings.Repeat(`]}`, 30) + `]`), fhir.Invalid, "deep"},
		{"nested far too deep", `{"a":` + strings.Repeat("[", 100_000), fhir.Invalid, "deep"},
		{"huge number", observation(`"valueQuantity":{"value":1e999999999}`), fhir.Invalid, "Observation.valueQuantity.value"},
		{"oversized", `{"resourceType":"Patient","id":"` + strings.Repeat("x", fhir.MaxBody) + `"}`, fhir.TooBig, ""},

		{"unknown element", patient(`"shoeSize":42`), fhir.Invalid, "Patient"},
		{"unknown element inside", patient(`"contact":[{"name":{"nick":"x"}}]`), fhir.Invalid, "Patient.contact[0].name"},
		{"field of the proto", observation(`"subject":{"patientId":"1"}`), fhir.Invalid, "Observation.subject"},
		{"object for array", patient(`"name":{"family":"x"}`), fhir.Invalid, "Patient.name"},
		{"array for object", observation(`"subject":[{"display":"x"}]`), fhir.Invalid, "Observation.subject"},
		{"object for primitive", patient(`"birthDate":{"extension":[{"url":"http://x","valueString":"u"}]}`), fhir.Invalid, "Patient.birthDate"},
		{"string for boolean", patient(`"active":"true"`), fhir.Invalid, "Patient.active"},
		{"string for number", observation(`"valueQuantity":{"value":"1"}`), fhir.Invalid, "Observation.value.value"},
		{"number for string", patient(`"id":1`), fhir.Invalid, "Patient.id"},
		{"fraction for integer", patient(`"multipleBirthInteger":1.5`), fhir.Invalid, "Patient.multipleBirth"},
		{"integer too large", patient(`"multipleBirthInteger":99999999999`), fhir.Invalid, "Patient.multipleBirth"},
		{"bad date", patient(`"birthDate":"1.2.2000"`), fhir.Invalid, "Patient.birthDate"},
		{"no such day", patient(`"birthDate":"2001-02-29"`), fhir.Invalid, "Patient.birthDate"},
		{"bad dateTime", observation(`"effectiveDateTime":"2020-01-01T10:00"`), fhir.Invalid, "Observation.effective"},
		{"bad base64", patient(`"photo":[{"data":"***"}]`), fhir.Invalid, "Patient.photo[0].data"},
		{"two types of one element", observation(`"valueString":"x","valueInteger":1`), fhir.Invalid, "Observation.value"},
		{"code that is none", patient(`"gender":"mail"`), fhir.Unprocessable, "Patient.gender"},
		{"code in wrong case", patient(`"gender":"MALE"`), fhir.Unprocessable, "Patient.gender"},
		{"required element missing", `{"resourceType":"Observation","status":"final"}`, fhir.Unprocessable, "Observation.code"},
		{"bad id", patient(`"id":"a b"`), fhir.Unprocessable, "Patient.id"},
		{"long id", patient(`"id":"` + strings.Repeat("x", 65) + `"`), fhir.Unprocessable, "Patient.id"},

		{"reference to a wrong type", observation(`"subject":{"reference":"Observation/1"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"absolute reference to a wrong type", observation(`"subject":{"reference":"https://x.org/fhir/Observation/1/_history/2"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"reference to no type", observation(`"subject":{"reference":"Pat/1"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"reference to a bad id", observation(`"subject":{"reference":"Patient/a b"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"dangling fragment", observation(`"subject":{"reference":"#p"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"fragment of a wrong type", observation(`"contained":[{"resourceType":"Medication","id":"p"}],"subject":{"reference":"#p"}`), fhir.Unprocessable, "Observation.subject.reference"},
		{"conditional reference outside a Bundle", observation(`"subject":{"reference":"Patient?identifier=1"}`), fhir.Unprocessable, "Observation.subject.reference"},

		{"fault in a contained resource", patient(`"contained":[{"resourceType":"Organization","id":"o","name":5}]`), fhir.Invalid, "Patient.contained[0].name"},
		{"contained without a type", patient(`"contained":[{"id":"o"}]`), fhir.Invalid, "Patient.contained[0].resourceType"},
		{"contained twice over", patient(`"contained":[{"resourceType":"Patient","id":"o","contained":[{"resourceType":"Patient","id":"q"}]}]`), fhir.Invalid, "Patient.contained[0].contained"},
		{"required binding in a contained resource", patient(`"contained":[{"resourceType":"Patient","id":"o","gender":"x"}]`), fhir.Unprocessable, "Patient.contained[0].gender"},
		{"fault in an entry", `{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","birthDate":"x"}}]}`, fhir.Invalid, "Bundle.entry[0].resource.birthDate"},
		{"missing in an entry", `{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Observation","status":"final"},"request":{"method":"POST"}}]}`, fhir.Unprocessable, "Bundle.entry[0].request.url Bundle.entry[0].resource.code"},
		{"fault in a parameter", `{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"name":"b","resource":{"resourceType":"Patient","gender":"x"}}]}]}`, fhir.Unprocessable, "Parameters.parameter[0].part[0].resource.gender"},

		{"script", text(`<script>x</script>`), fhir.Unprocessable, "Patient.text.div"},
		{"handler", text(`<p onclick='x()'>a</p>`), fhir.Unprocessable, "Patient.text.div"},
		{"frame", text(`<iframe src='https://x'/>`), fhir.Unprocessable, "Patient.text.div"},
		{"form", text(`<form action='https://x'><input/></form>`), fhir.Unprocessable, "Patient.text.div"},
		{"script in a link", text(`<a href='java&#10;script:x()'>a</a>`), fhir.Unprocessable, "Patient.text.div"},
		{"document in an image", text(`<img src='data:image/svg+xml,x'/>`), fhir.Unprocessable, "Patient.text.div"},
		{"style that loads", text(`<p style='background:url(https://x)'>a</p>`), fhir.Unprocessable, "Patient.text.div"},
		{"svg", text(`<svg xmlns='http://www.w3.org/2000/svg'/>`), fhir.Unprocessable, "Patient.text.div"},
		{"not well-formed", text(`<b>`), fhir.Unprocessable, "Patient.text.div"},
		{"two roots", patient(`"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a</div><div/>"}`), fhir.Unprocessable, "Patient.text.div"},
		{"no namespace", patient(`"text":{"status":"generated","div":"<div>a</div>"}`), fhir.Unprocessable, "Patient.text.div"},
		{"doctype", patient(`"text":{"status":"generated","div":"<!DOCTYPE div><div xmlns=\"http://www.w3.org/1999/xhtml\">a</div>"}`), fhir.Unprocessable, "Patient.text.div"},

		{"all at once", patient(`"x":1,"birthDate":"x","gender":"MALE","active":"yes","contact":[{"gender":1}],"link":[{"other":{"reference":"Observation/1"}}]`), fhir.Invalid,
			"Patient Patient.active Patient.birthDate Patient.contact[0].gender Patient.gender Patient.link[0].other.reference Patient.link[0].type"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			doc, err := fhir.Parse([]byte(test.body))
			var e *fhir.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v and error %v, want refusal", doc, err)
			}
			if e.Kind != test.kind {
				t.Errorf("got kind %v, want %v", e.Kind, test.kind)
			}
			var got []string
			for _, i := range e.Issues {
				got = append(got, i.Expression)
				if i.Text == "" {
					t.Errorf("no text for %q", i.Expression)
				}
			}
			if test.elements == "deep" {
				if len(got) != 1 || e.Issues[0].Code != "too-costly" || len(got[0]) > 200 {
					t.Errorf("got %v, want one issue too-costly with a short path", e.Issues)
				}
				return
			}
			if joined := strings.Join(got, " "); joined != test.elements {
				t.Errorf("got elements %q, want %q\n%v", joined, test.elements, err)
			}
			if outcome := fhir.Outcome(err); !json.Valid(outcome) {
				t.Errorf("outcome is not JSON: %s", outcome)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	tests := map[string]string{
		"null where an extension stands":  `{"resourceType":"Patient","name":[{"given":[null,"x"],"_given":[{"extension":[{"url":"http://x","valueString":"u"}]},null]}]}`,
		"null among dates":                `{"resourceType":"PlanDefinition","status":"draft","action":[{"timingTiming":{"event":[null,"2020-01-01"],"_event":[{"extension":[{"url":"http://x","valueString":"u"}]},null]}}]}`,
		"extension without value":         `{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://x","valueString":"u"}]}}`,
		"base64 with white space":         `{"resourceType":"Patient","photo":[{"data":"aGVs\n bG8="}]}`,
		"leap second":                     `{"resourceType":"Observation","status":"final","code":{"text":"x"},"issued":"2016-12-31T23:59:60Z"}`,
		"many digits of a second":         `{"resourceType":"Observation","status":"final","code":{"text":"x"},"effectiveDateTime":"2016-12-31T23:59:59.1234567890Z"}`,
		"digits of a number":              `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50E+02}}`,
		"parameter with a resource":       `{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Patient"}}]}`,
		"contained that refers to outer":  `{"resourceType":"Patient","contained":[{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"#"}}]}`,
		"conditional reference in Bundle": `{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient?identifier=1"},"partOf":{"reference":"urn:uuid:2"}},"request":{"method":"POST","url":"Encounter"}}]}`,
		"nested Bundle":                   `{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient"}}]}}]}`,
		"odd codes":                       `{"resourceType":"Observation","status":"entered-in-error","code":{"text":"x"},"valueQuantity":{"value":1,"comparator":"<="}}`,
		"narrative":                       `{"resourceType":"Patient",` + fmt.Sprintf(narrative, `<h1 class='a'>&lt;x&gt;</h1><table><tr><td style='color:red'>&#160;&nbsp;</td></tr></table><a href='Patient/1'>x</a><img src='data:image/png;base64,AA=='/>`) + `}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			doc, err := fhir.Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if string(doc.JSON) != body {
				t.Errorf("got %s\nwant %s", doc.JSON, body)
			}
		})
	}
}

func TestIssuesAreCapped(t *testing.T) {
	body := `{"resourceType":"Patient","name":[` + strings.TrimSuffix(strings.Repeat(`{"family":1},`, 500), ",") + `]}`
	_, err := fhir.Parse([]byte(body))
	var e *fhir.Error
	if !errors.As(err, &e) || len(e.Issues) != 51 {
		t.Fatalf("got %v issues, want 50 and one that says there are more", err)
	}
}
