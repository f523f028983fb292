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

func TestParseRefuses(t *testing.T) {
	for _, test := range refusals {
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

// accepted are bodies that come near a refusal.
var accepted = map[string]string{
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

func TestParseAccepts(t *testing.T) {
	for name, body := range accepted {
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
