package engine_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// synthea are real records, those of the gateway's own tests.
const synthea = "../../gateway/testdata/synthea/"

// load imports paths and gives the report and the refusals.
func (w *world) load(paths ...string) (engine.LoadReport, []string) {
	w.t.Helper()
	var refused []string
	l := w.NewLoader(engine.LoadOptions{Slice: 50, Refused: func(r engine.Refusal) {
		refused = append(refused, fmt.Sprintf("%s:%d: %v", filepath.Base(r.Source), r.Line, r.Err))
	}})
	report, err := l.Load(w.t.Context(), paths...)
	if err != nil {
		w.t.Fatal(err)
	}
	return report, refused
}

func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func counts(r engine.LoadReport) [4]int {
	return [4]int{r.Created, r.Updated, r.Unchanged, r.Refused}
}

func TestLoadRealRecords(t *testing.T) {
	w := newWorld(t)
	var files []string
	for _, name := range []string{"CareTeam", "Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "AllergyIntolerance", "Device"} {
		files = append(files, synthea+name+".ndjson.gz")
	}
	report, refused := w.load(files...)
	want := 516 + 112 + 195 + 195 + 194 + 194 + 60 + 28
	if counts(report) != [4]int{want} || len(refused) > 0 {
		t.Fatalf("got %+v, %v, want %d created", report, refused, want)
	}
	page, err := w.search("CareTeam?_summary=count", engine.Everything)
	if err != nil || total(page) != "516" {
		t.Errorf("got %v care teams, %v, want 516", total(page), err)
	}
	before := w.versions()
	report, refused = w.load(files...)
	if counts(report) != [4]int{0, 0, want} || len(refused) > 0 {
		t.Errorf("a second time: got %+v, %v, want %d unchanged", report, refused, want)
	}
	if after := w.versions(); after != before {
		t.Errorf("a second time wrote %d versions", after-before)
	}
}

// versions counts what the log holds.
func (w *world) versions() (n int) {
	w.view(func(tx *engine.Tx) error {
		q := store.LogQuery{Limit: 1000}
		for {
			rows, err := tx.Reader().Log(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			n += len(rows)
			q.After = rows[len(rows)-1].Position
		}
	})
	return n
}

func TestLoadReportsBrokenLines(t *testing.T) {
	w := newWorld(t)
	lines := []string{
		ada,
		`{"resourceType":"Patient","id":"x"`,
		``,
		`  ` + strings.ReplaceAll(bob, ",", " , ") + "\r",
		`{"resourceType":"Patient","birthDate":"2000-01-01"}`,
		`{"resourceType":"Patient","id":"y","birthDate":"x","gender":"mail"}`,
		"\"\xff\"",
		`{"resourceType":"Patient","id":"z","id":"z"}`,
		strings.Replace(ada, "ada", "last", 1), // without an end
	}
	path := w.file("people.ndjson", strings.Join(lines, "\n"))
	report, refused := w.load(path)
	if counts(report) != [4]int{3, 0, 0, 5} {
		t.Errorf("got %+v, want 3 created and 5 refused", report)
	}
	want := []string{
		"people.ndjson:2: invalid: At byte 35: the end, too early.",
		"people.ndjson:5: invalid: Patient.id: A resource to be imported needs an id.",
		"people.ndjson:6: invalid: Patient.birthDate: Expected date.; Patient.gender: This is not one of the codes that are allowed here.",
		"people.ndjson:7: ", "people.ndjson:8: ",
	}
	for i, row := range refused {
		if !strings.HasPrefix(row, want[i]) {
			t.Errorf("got  %s\nwant %s", row, want[i])
		}
	}
	if r, err := w.read("Patient/bob", engine.Everything); err != nil || !strings.HasPrefix(string(r.JSON), `{"resourceType":"Patient","id":"bob","meta":`) {
		t.Errorf("got %v, %v, want a compact body", r, err)
	}
	if report, _ := w.load(path); counts(report) != [4]int{0, 0, 3, 5} {
		t.Errorf("a second time: got %+v", report)
	}
}

func TestLoadChanges(t *testing.T) {
	w := newWorld(t)
	w.load(w.file("a.ndjson", ada+"\n"+bob))
	changed := strings.Replace(ada, "Lovelace", "King", 1)
	// the last line of a resource counts, also when the first equals what is there
	report, refused := w.load(w.file("b.ndjson", strings.Join([]string{ada, changed, bob, changed, ada, changed}, "\n")))
	if counts(report) != [4]int{0, 3, 3, 0} || len(refused) > 0 {
		t.Errorf("got %+v, %v", report, refused)
	}
	r, err := w.read("Patient/ada", engine.Everything)
	if err != nil || !bytes.Contains(r.JSON, []byte("King")) || r.Version != 4 {
		t.Errorf("got %s, %v, want the last line in version 4", r.JSON, err)
	}
	w.delete("Patient/ada")
	if report, _ := w.load(w.file("c.ndjson", changed)); counts(report) != [4]int{1} {
		t.Errorf("after a deletion: got %+v, want a creation", report)
	}
}

func TestLoadRefusedByHook(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) {
		c.OnWrite = func(_ *engine.Tx, _, after *store.Version) error {
			if strings.HasPrefix(after.ID, "bad") {
				return fhir.Errorf(fhir.Unprocessable, "not this one")
			}
			return nil
		}
	})
	var lines []string
	for i := range 120 {
		id := fmt.Sprintf("good%d", i)
		if i%50 == 7 {
			id = fmt.Sprintf("bad%d", i)
		}
		lines = append(lines, strings.Replace(ada, `"ada"`, `"`+id+`"`, 1))
	}
	report, refused := w.load(w.file("a.ndjson", strings.Join(lines, "\n")))
	want := []string{"a.ndjson:8: unprocessable: not this one", "a.ndjson:58: unprocessable: not this one", "a.ndjson:108: unprocessable: not this one"}
	if counts(report) != [4]int{117, 0, 0, 3} || !reflect.DeepEqual(refused, want) {
		t.Errorf("got %+v, %q, want the three bad lines alone refused", report, refused)
	}
}

const birth = `{ "resourceType": "Bundle", "type": "transaction", "entry": [
	{"fullUrl": "urn:uuid:11111111-1111-1111-1111-111111111111", "resource": {"resourceType":"Patient","id":"kid","generalPractitioner":[{"reference":"Practitioner?identifier=npi|7"}]}, "request": {"method":"POST","url":"Patient"}},
	{"fullUrl": "urn:uuid:22222222-2222-2222-2222-222222222222", "resource": {"resourceType":"Observation","status":"final","code":{"text":"urn:uuid:1 stays"},"subject":{"reference":"urn:uuid:11111111-1111-1111-1111-111111111111"},"derivedFrom":[{"reference":"urn:uuid:33333333-3333-3333-3333-333333333333"}],"valueQuantity":{"value":3.50}}, "request": {"method":"POST","url":"Observation"}},
	{"fullUrl": "urn:uuid:33333333-3333-3333-3333-333333333333", "resource": {"resourceType":"Observation","status":"final","code":{"text":"x"}}, "request": {"method":"POST","url":"Observation"}},
	{"resource": {"resourceType":"Organization","name":"made once"}, "request": {"method":"POST","url":"Organization"}},
	{"resource": {"resourceType":"Practitioner","identifier":[{"system":"npi","value":"7"}]}, "request": {"method":"POST","url":"Practitioner","ifNoneExist":"identifier=npi|7"}},
	{"resource": {"resourceType":"Location","id":"away"}, "request": {"method":"PUT","url":"Location/here"}}
] }`

func TestLoadBundle(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Practitioner","id":"doc","identifier":[{"system":"npi","value":"7"}]}`)
	path := w.file("birth.json", birth)
	report, refused := w.load(path)
	if counts(report) != [4]int{5, 0, 1} || len(refused) > 0 {
		t.Fatalf("got %+v, %q, want 5 created and the practitioner found", report, refused)
	}
	kid, err := w.read("Patient/11111111-1111-1111-1111-111111111111", engine.Everything)
	if err != nil || !bytes.Contains(kid.JSON, []byte(`"reference":"Practitioner/doc"`)) {
		t.Errorf("got %s, %v, want the conditional reference resolved", kid.JSON, err)
	}
	o, err := w.read("Observation/22222222-2222-2222-2222-222222222222", engine.Everything)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"subject":{"reference":"Patient/11111111-`, `"derivedFrom":[{"reference":"Observation/33333333-`, `"urn:uuid:1 stays"`, `3.50`} {
		if !bytes.Contains(o.JSON, []byte(part)) {
			t.Errorf("no %s in %s", part, o.JSON)
		}
	}
	if _, err := w.read("Location/here", engine.Everything); err != nil {
		t.Error(err)
	}
	if report, refused := w.load(path); counts(report) != [4]int{0, 0, 6} {
		t.Errorf("a second time: got %+v, %q, want nothing new", report, refused)
	}
}

func TestLoadBundleRefuses(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Practitioner","id":"d1","identifier":[{"value":"7"}]}`, `{"resourceType":"Practitioner","id":"d2","identifier":[{"value":"7"}]}`)
	entry := func(resource, request string) string {
		return `{"resource":` + resource + `,"request":` + request + `}`
	}
	patient := func(reference string) string {
		return `{"resourceType":"Patient","generalPractitioner":[{"reference":"` + reference + `"}]}`
	}
	post := `{"method":"POST","url":"Patient"}`
	report, refused := w.load(w.file("b.json", `{"resourceType":"Bundle","type":"batch","entry":[`+strings.Join([]string{
		entry(patient("Practitioner?identifier=8"), post),
		entry(patient("Practitioner?identifier=7"), post),
		entry(patient("Practitioner?shoe=7"), post),
		entry(patient("urn:uuid:1"), post),
		entry(`{"resourceType":"Patient"}`, `{"method":"DELETE","url":"Patient/1"}`),
		entry(`{"resourceType":"Patient"}`, `{"method":"PUT","url":"Patient?identifier=1"}`),
		entry(`{"resourceType":"Patient","gender":"x"}`, post),
		entry(`{"resourceType":"Pat"}`, post),
		entry(ada, post),
	}, ",")+`]}`))
	if counts(report) != [4]int{1, 0, 0, 8} {
		t.Errorf("got %+v, want one created", report)
	}
	for i, kind := range []string{"not found", "multiple matches", "invalid", "unprocessable", "unsupported", "unsupported", "unprocessable", "invalid"} {
		if want := fmt.Sprintf("b.json:%d: %s", i+1, kind); !strings.HasPrefix(refused[i], want) {
			t.Errorf("got %q, want it to begin with %q", refused[i], want)
		}
	}
}

func TestLoadFolders(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(ada + "\n"))
	z.Close()
	for name, content := range map[string]string{
		"a/one.json":           pulse,
		"a/manifest.json":      `{"patients":1}`,
		"a/b/people.ndjson.gz": packed.String(),
		"cut.ndjson.gz":        packed.String()[:packed.Len()-9],
		"no.ndjson.gz":         "not packed",
		"readme.txt":           "x",
		"broken.json":          "{",
		"document.json": `{"resourceType":"Bundle","id":"d","type":"document","identifier":{"system":"http://x","value":"1"},"timestamp":"2020-01-01T00:00:00Z",` +
			`"entry":[{"resource":{"resourceType":"Composition","status":"final","type":{"text":"x"},"date":"2020","author":[{"display":"x"}],"title":"x"}}]}`,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var done, all int64
	l := w.NewLoader(engine.LoadOptions{Progress: func(d, a int64) {
		if d < done || a < d {
			t.Errorf("progress went from %d to %d of %d", done, d, a)
		}
		done, all = d, a
	}})
	report, err := l.Load(t.Context(), dir)
	if err != nil || report.Created != 3 || report.Refused != 3 || len(report.Skipped) != 1 {
		t.Errorf("got %+v, %v, want 3 created, 3 refused, 1 skipped", report, err)
	}
	if done != all || all == 0 {
		t.Errorf("progress ended at %d of %d", done, all)
	}
	if _, err := w.NewLoader(engine.LoadOptions{}).Load(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("a path that is not there: no error")
	}
	if _, err := w.NewLoader(engine.LoadOptions{}).Load(t.Context(), filepath.Join(dir, "readme.txt")); err == nil {
		t.Error("a file of another kind: no error")
	}
}

func TestLoadIsResumable(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	l := w.NewLoader(engine.LoadOptions{Slice: 20, Progress: func(int64, int64) { cancel() }})
	first, err := l.Load(ctx, synthea+"Organization.ndjson.gz")
	if !errors.Is(err, context.Canceled) || first.Created == 0 || first.Created == 194 {
		t.Fatalf("got %+v, %v, want it broken off", first, err)
	}
	w.store.Close()
	w.open()
	second, _ := w.load(synthea + "Organization.ndjson.gz")
	if second.Created+second.Unchanged != 194 || second.Unchanged < first.Created || second.Updated > 0 {
		t.Errorf("got %+v after %+v, want the rest", second, first)
	}
}

// Integrity is for clients: an import has forward references.
func TestLoadIgnoresIntegrity(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Integrity = true })
	if report, refused := w.load(w.file("a.ndjson", pulse)); report.Created != 1 {
		t.Errorf("got %+v, %q", report, refused)
	}
}
