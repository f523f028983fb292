package consent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mypatients/consent"
	labelling "mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// labels lists the labels that a stored resource has, by "CODE", "CODE content" or
// "CODE reference", sorted.
func (w *world) labels(ref string, version int64) string {
	w.t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	var body []byte
	if err := w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		r, err := tx.Read(key, engine.Everything)
		if version > 0 {
			r, err = tx.VRead(key, version, engine.Everything)
		}
		if err == nil {
			body = r.JSON
		}
		return err
	}); err != nil {
		w.t.Fatalf("%s: %v", ref, err)
	}
	return labelsIn(w.t, body)
}

func labelsIn(t testing.TB, body []byte) string {
	t.Helper()
	var r struct {
		Meta struct {
			Security []struct {
				Code      string
				Extension []struct{ ValueCode string }
			}
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, s := range r.Meta.Security {
		if len(s.Extension) > 0 {
			s.Code += " " + s.Extension[0].ValueCode
		}
		list = append(list, s.Code)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// condition is one of Ava's, with a code of ICD-10-CM.
func condition(id, code string) string {
	return fmt.Sprintf(`{"resourceType":"Condition","id":%q,"subject":{"reference":"Patient/ava"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":%q}]}}`, id, code)
}

// TestSensitiveDataIsLabelledOnWrite: through the guard, whatever the way; a teen's
// guardian does not see it, the teen and the PCP do.
func TestSensitiveDataIsLabelledOnWrite(t *testing.T) {
	w := newWorld(t)
	for code, want := range map[string]string{
		"J45.20": "", "F10.20": "ETHUD", "F11.10": "OPIOIDUD", "F12.10": "SUD", "F32.1": "PSY", "B20": "HIV", "A54.9": "STD", "Z30.011": "SEX", "F64.0": "GENDER",
	} {
		id := strings.ToLower(strings.ReplaceAll(code, ".", "-"))
		r, _, err := w.guard.Update(t.Context(), w.system("system/*.cruds"), fhir.Key{Type: "Condition", ID: id}, []byte(condition(id, code)), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := labelsIn(t, r.JSON)
		if want == "" {
			w.may("helen", "Condition/"+id)
			if got != "" {
				t.Errorf("%s: got %s", code, got)
			}
			continue
		}
		if got != want+" content" {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
		w.may("ava", "Condition/"+id)
		w.may("baker", "Condition/"+id)
		w.mayNot("helen", "Condition/"+id)
		if ids, err := w.search(w.as("helen"), "Condition", "patient=ava&_total=accurate"); err != nil || slices.Contains(ids, id) {
			t.Errorf("%s: helen found %v, %v", code, ids, err)
		}
		if ids, err := w.search(w.as("baker"), "Condition", "patient=ava&_security="+want); err != nil || !slices.Contains(ids, id) {
			t.Errorf("%s: by its label baker found %v, %v", code, ids, err)
		}
	}
}

// TestConsentsOpenWhatTheRulesLabelled: an access up to normal does not reach it, one
// that names the sensitivity does.
func TestConsentsOpenWhatTheRulesLabelled(t *testing.T) {
	w := newWorld(t)
	w.put("%s", condition("hiv", "B20"))
	w.put("%s", condition("psy", "F32.1"))
	grant := func(label string) {
		w.put(`{"resourceType":"Consent","id":"c","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},`+
			`"category":[{"text":"x"}],"patient":{"reference":"Patient/ava"},"dateTime":"2026-01-01T00:00:00Z","performer":[{"reference":"Patient/ava"}],"policy":[{"uri":"urn:p"}],`+
			`"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/okafor"}}]%s}}`, label)
	}
	grant("")
	w.may("okafor", "Observation/ava-weight")
	w.mayNot("okafor", "Condition/hiv", "Condition/psy")
	grant(`,"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"STD"}]`) // comprises HIV
	w.may("okafor", "Condition/hiv")
	w.mayNot("okafor", "Condition/psy")
}

// TestLabelsOfTheRulesAreNotAClients: dropping them, faking them and saying who gave
// them changes nothing; with what a resource says they go, unlike a person's.
func TestLabelsOfTheRulesAreNotAClients(t *testing.T) {
	w := newWorld(t)
	key := fhir.Key{Type: "Condition", ID: "c"}
	put := func(security, code string) {
		t.Helper()
		body := strings.Replace(condition("c", code), `"id":"c"`, `"id":"c","meta":{"security":[`+security+`]}`, 1)
		if security == "" {
			body = condition("c", code)
		}
		if _, _, err := w.guard.Update(t.Context(), w.as("baker"), key, []byte(body), nil); err != nil {
			t.Fatal(err)
		}
	}
	want := func(labels string) {
		t.Helper()
		if got := w.labels("Condition/c", 0); got != labels {
			t.Errorf("got %q, want %q", got, labels)
		}
	}
	const act = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"%s"%s}`
	mark := `,"extension":[{"url":"` + base + `/fhir/StructureDefinition/labelled-by","valueCode":"content"}]`
	w.put("%s", condition("c", "F32.1"))
	put("", "F32.1") // labels left out
	want("PSY content")
	put(fmt.Sprintf(act, "HIV", mark), "F32.1") // somebody else's under the mark
	want("PSY content")
	put(fmt.Sprintf(act, "PSY", strings.Replace(mark, "content", "reference", 1)), "F32.1")
	want("PSY content")
	put("", "J45.20") // corrected
	want("")
	w.may("helen", "Condition/c")
	if err := w.vread(w.as("helen"), key, 1); fhir.KindOf(err) != fhir.NotFound {
		t.Errorf("what it said before is %v", err)
	}
	put(fmt.Sprintf(act, "SEX", ""), "J45.20") // a person's stays
	put("", "F32.1")
	want("PSY content, SEX")
	put(fmt.Sprintf(act, "PSY", ""), "J45.20") // so does one that a person gives though the rules gave it
	put("", "J45.20")
	want("PSY, SEX")
	w.mayNot("helen", "Condition/c")

	patch := func(ops string) {
		t.Helper()
		if _, err := w.guard.Write(t.Context(), w.as("baker"), consent.Write{Method: consent.Patch, Type: "Condition", ID: "d", Body: []byte(ops)}); err != nil {
			t.Fatal(err)
		}
	}
	w.put("%s", condition("d", "J45.20"))
	patch(`[{"op":"replace","path":"/code/coding/0/code","value":"F32.1"}]`)
	w.mayNot("helen", "Condition/d")
	patch(`[{"op":"remove","path":"/meta/security"}]`)
	w.mayNot("helen", "Condition/d")
}

func (w *world) vread(c consent.Caller, key fhir.Key, version int64) error {
	_, err := w.guard.VRead(w.t.Context(), c, key, version)
	return err
}

// TestLabelsFlow: what refers to something sensitive is labelled, whichever is
// written first; not what refers to another patient's.
func TestLabelsFlow(t *testing.T) {
	w := newWorld(t)
	const rx = `{"resourceType":"MedicationRequest","id":%q,"status":"active","intent":"order","subject":{"reference":"Patient/ava"},"medicationReference":{"reference":"Medication/m"}}`
	const drug = `{"resourceType":"Medication","id":"m","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":%q}]}}`
	want := func(ref, labels string) {
		t.Helper()
		if got := w.labels(ref, 0); got != labels {
			t.Errorf("%s: got %q, want %q", ref, got, labels)
		}
	}
	w.put(rx, "first")
	want("MedicationRequest/first", "")
	w.put(drug, "6813")
	want("MedicationRequest/first", "OPIOIDUD reference")
	w.mayNot("helen", "MedicationRequest/first")
	w.put(rx, "then")
	want("MedicationRequest/then", "OPIOIDUD reference")
	w.put(drug, "198440")
	want("MedicationRequest/first", "")
	w.may("helen", "MedicationRequest/first", "MedicationRequest/then")

	w.put(`{"resourceType":"Encounter","id":"visit","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ava"},"serviceType":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/service-type","code":"67"}]}}`)
	w.put(`{"resourceType":"DocumentReference","id":"note","status":"current","subject":{"reference":"Patient/ava"},"content":[{"attachment":{"title":"x"}}],"context":{"encounter":[{"reference":"Encounter/visit"}]}}`)
	w.put(`{"resourceType":"Observation","id":"lab","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"encounter":{"reference":"Encounter/visit"}}`)
	w.put(`{"resourceType":"DiagnosticReport","id":"report","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"result":[{"reference":"Observation/lab"},{"reference":"Observation/ava-secret"}]}`)
	w.put(`{"resourceType":"Observation","id":"other","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"encounter":{"reference":"Encounter/visit"}}`)
	want("DocumentReference/note", "SEX reference")
	want("Observation/lab", "SEX reference")
	w.put(`{"resourceType":"DiagnosticReport","id":"of-lab","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"result":[{"reference":"Observation/lab"}]}`)
	want("DiagnosticReport/report", "SEX reference") // of the secret
	want("DiagnosticReport/of-lab", "")              // one step only
	want("Observation/other", "")

	w.put("%s", condition("why", "F11.10"))
	w.put(`{"resourceType":"MedicationRequest","id":"because","status":"active","intent":"order","subject":{"reference":"Patient/ava"},"medicationCodeableConcept":{"text":"x"},"reasonReference":[{"reference":"%s/fhir/Condition/why"}]}`, base)
	w.put(`{"resourceType":"Claim","id":"bill","status":"active","type":{"text":"x"},"use":"claim","patient":{"reference":"Patient/ava"},"created":"2026-01-01","provider":{"display":"x"},"priority":{"text":"x"},` +
		`"insurance":[{"sequence":1,"focal":true,"coverage":{"display":"x"}}],"diagnosis":[{"sequence":1,"diagnosisReference":{"reference":"Condition/why"}}]}`)
	want("MedicationRequest/because", "OPIOIDUD reference")
	want("Claim/bill", "OPIOIDUD reference")
}

// TestLabelsFlowToMany: what is too much for one transaction is done afterwards.
func TestLabelsFlowToMany(t *testing.T) {
	w := newWorld(t)
	const many = 1130
	if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
		for i := range many {
			p, err := w.eng.Prepare(fmt.Appendf(nil, `{"resourceType":"MedicationRequest","id":"rx%d","status":"active","intent":"order","subject":{"reference":"Patient/ava"},"medicationReference":{"reference":"Medication/m"}}`, i))
			if err != nil {
				return err
			}
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.put(`{"resourceType":"Medication","id":"m","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"6813"}]}}`)
	if err := w.rules.FlowLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if got := w.labels(fmt.Sprintf("MedicationRequest/rx%d", i), 0); got != "OPIOIDUD reference" {
			t.Fatalf("number %d has %q", i, got)
		}
	}
}

// reopened is the same store with rules of a site's, as after a restart.
func (w *world) reopened(site string) *world {
	w.t.Helper()
	rules, err := labelling.Standard().With("site.txt", []byte(site))
	if err != nil {
		w.t.Fatal(err)
	}
	reg, err := registry()
	if err != nil {
		w.t.Fatal(err)
	}
	next := *w
	next.rules = consent.NewRules(base, base, w.zone).WithLabels(rules)
	if next.eng, err = next.rules.Engine(engine.Config{Store: w.db, Registry: reg, Now: w.clock.Now}); err != nil {
		w.t.Fatal(err)
	}
	next.guard, err = consent.New(consent.Config{Rules: next.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := next.guard.Close(); err != nil {
			w.t.Error(err)
		}
	})
	if _, _, err := next.eng.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return &next
}

const (
	asthmaIsSecret = "ADOL http://hl7.org/fhir/sid/icd-10-cm J45 asthma, here\ndrop PSY icd10 F20..F48\n"
	newCode        = `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/ava"},"code":{"text":"another"}}`
)

// TestRulesChange: all that is stored follows, old versions and what was deleted too,
// without new versions.
func TestRulesChange(t *testing.T) {
	w := newWorld(t)
	w.relabel(0)
	w.put("%s", condition("c", "J45.20"))
	w.put(newCode)
	w.put("%s", condition("gone", "J45.20"))
	if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
		_, err := tx.Delete(fhir.Key{Type: "Condition", ID: "gone"}, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.put("%s", condition("psy", "F32.1"))
	w.put(`{"resourceType":"MedicationRequest","id":"rx","status":"active","intent":"order","subject":{"reference":"Patient/ava"},"medicationCodeableConcept":{"text":"x"},"reasonReference":[{"reference":"Condition/psy"}]}`)
	key := fhir.Key{Type: "Condition", ID: "c"}
	if err := w.vread(w.as("helen"), key, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.History(t.Context(), w.as("helen"), fhir.Key{Type: "Condition", ID: "gone"}, nil, false); err != nil {
		t.Fatal(err)
	}

	next := w.reopened(asthmaIsSecret)
	if l := next.eng.Labels(); !l.Pending {
		t.Errorf("got %+v", l)
	}
	next.relabel(4) // asthma in both, the deletion, the depression; its prescription comes along with it
	if got := next.labels("Condition/c", 1); got != "ADOL content" {
		t.Errorf("got %q", got)
	}
	wantKind(t, next.vread(next.as("helen"), key, 1), fhir.NotFound)
	if err := next.vread(next.as("baker"), key, 1); err != nil {
		t.Error(err)
	}
	next.may("helen", "Condition/c", "Condition/psy", "MedicationRequest/rx")
	page, err := next.guard.History(t.Context(), next.as("helen"), key, nil, false)
	if err != nil || len(page.Entries) != 1 {
		t.Errorf("got %v, %v", page, err)
	}
	_, err = next.guard.History(t.Context(), next.as("helen"), fhir.Key{Type: "Condition", ID: "gone"}, nil, false)
	wantKind(t, err, fhir.NotFound)
	next.relabel(0)

	back := w.reopened("")
	back.relabel(4)
	if err := back.vread(back.as("helen"), key, 1); err != nil {
		t.Error(err)
	}
	back.mayNot("helen", "Condition/psy", "MedicationRequest/rx")
}

// relabel re-labels and wants so many versions changed by the walk, or any if -1.
func (w *world) relabel(changed int) {
	w.t.Helper()
	done, err := w.eng.Relabel(w.t.Context(), nil)
	if err != nil || changed >= 0 && done.Changed != changed {
		w.t.Errorf("re-labelling: got %+v, %v, want %d changed", done, err, changed)
	}
	if l := w.eng.Labels(); l.Pending || !l.Mine {
		w.t.Errorf("after re-labelling: got %+v", l)
	}
}

// TestRelabelGoesOn: one that is broken off goes on where it was, and others write
// meanwhile.
func TestRelabelGoesOn(t *testing.T) {
	w := newWorld(t)
	n := 900
	if os.Getenv("LONG") != "" {
		n = 20_000
	}
	for from := 0; from < n; from += 100 {
		if err := w.eng.Update(t.Context(), func(tx *engine.Tx) error {
			for i := from; i < from+100; i++ {
				p, err := w.eng.Prepare([]byte(condition(fmt.Sprintf("c%d", i), "J45.20")))
				if err != nil {
					return err
				}
				if _, _, err := tx.Update(p, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	next := w.reopened(asthmaIsSecret)
	ctx, stop := context.WithCancel(t.Context())
	var writes atomic.Int64
	written := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				written <- nil
				return
			default:
			}
			p, err := next.eng.Prepare([]byte(condition(fmt.Sprintf("c%d", n-1-i%n), "J45.30")))
			if err == nil {
				err = next.load(p)
			}
			if err != nil {
				written <- err
				return
			}
			writes.Add(1)
		}
	}()
	slices := 0
	first, err := next.eng.Relabel(ctx, func(engine.Relabelled) {
		if slices++; slices >= 2 && writes.Load() > 0 {
			stop()
		}
	})
	stop()
	if w := <-written; w != nil {
		t.Fatal(w)
	}
	if !errors.Is(err, context.Canceled) || first.Looked == 0 { // how much depends on whom it met
		t.Fatalf("got %+v, %v", first, err)
	}
	again := w.reopened(asthmaIsSecret)
	second, err := again.eng.Relabel(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []store.LogEntry
	if err := w.db.View(t.Context(), func(r store.Reader) (err error) {
		all, err = r.Log(store.LogQuery{Limit: 1 << 20})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if first.Looked+second.Looked > len(all) {
		t.Errorf("looked at %d and then at %d of %d", first.Looked, second.Looked, len(all))
	}
	for i := range n {
		if got := again.labels(fmt.Sprintf("Condition/c%d", i), 1); got != "ADOL content" {
			t.Fatalf("number %d has %q", i, got)
		}
	}
}

// TestProcessesOfOtherRules: while an old process writes, a labelling by the new
// rules has to be done again; the old one takes nothing back.
func TestProcessesOfOtherRules(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.eng.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := w.reopened(asthmaIsSecret)
	next.relabel(-1)
	w.put("%s", condition("c", "J45.20")) // by the old rules
	if got := next.labels("Condition/c", 0); got != "" {
		t.Fatalf("got %q", got)
	}
	if l := w.eng.Labels(); !l.Pending || l.Mine {
		t.Errorf("the old process: got %+v", l)
	}
	if _, _, err := next.eng.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := next.eng.Labels(); !l.Pending || !l.Mine {
		t.Errorf("the new process: got %+v", l)
	}
	next.relabel(1)
	next.mayNot("helen", "Condition/c")
}

// TestImportAgainChangesNothing: labels of the rules are no difference.
func TestImportAgainChangesNothing(t *testing.T) {
	w := newWorld(t)
	text := condition("a", "F32.1") + "\n" + condition("b", "J45.20") + "\n" +
		strings.Replace(condition("c", "B20"), `"id":"c"`, `"id":"c","meta":{"profile":["urn:p"],"security":[{"code":"R","system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}]}`, 1) + "\n"
	text += `{"resourceType":"MedicationRequest","id":"rx","status":"active","intent":"order","subject":{"reference":"Patient/ava"},"reasonReference":[{"reference":"Condition/c"}],` +
		`"medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"6813"}]}}` + "\n"
	for round, want := range []engine.LoadReport{{Created: 4}, {Unchanged: 4}, {Unchanged: 4}} {
		l := w.eng.NewLoader(engine.LoadOptions{})
		file := t.TempDir() + "/in.ndjson"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := l.Load(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if got.Created != want.Created || got.Unchanged != want.Unchanged || got.Updated != 0 {
			t.Errorf("round %d: got %+v, want %+v", round, got, want)
		}
	}
	if got := w.labels("Condition/a", 0) + "; " + w.labels("Condition/c", 0) + "; " + w.labels("MedicationRequest/rx", 0); got != "PSY content; HIV content, R; HIV reference, OPIOIDUD content, R reference" {
		t.Errorf("got %s", got)
	}
}
