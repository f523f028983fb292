package consent_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// outcome is what a caller is told of an error, to the byte.
func outcome(err error) string {
	var known *fhir.Error
	if errors.As(err, &known) {
		return fmt.Sprint(known.Kind) + string(fhir.OutcomeJSON(known.Issues))
	}
	return fmt.Sprint(err)
}

// sameAnswer asserts that what is hidden is answered like what is absent, but for
// the ids.
func sameAnswer(t *testing.T, name string, hidden, absent error) {
	t.Helper()
	if outcome(hidden) != outcome(absent) {
		t.Errorf("%s:\nhidden: %s\nabsent: %s", name, outcome(hidden), outcome(absent))
	}
}

// TestLabelsSurviveTheFullURLsOfATransaction: a fullUrl that equals a code system
// must not rewrite the labels that an update keeps.
func TestLabelsSurviveTheFullURLsOfATransaction(t *testing.T) {
	w := newWorld(t)
	trick := create("Observation", weightOf("ava"))
	trick.FullURL = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	plain := update("Observation/ava-secret", `{"resourceType":"Observation","id":"ava-secret","status":"amended","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`)
	if _, err := w.transaction(w.as("baker"), trick, plain); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Observation/ava-secret")
	if _, err := w.transaction(w.as("baker"), trick, patch("Observation/ava-secret", `[{"op":"remove","path":"/meta"}]`)); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Observation/ava-secret")
	w.may("ava", "Observation/ava-secret")
}

func TestWritesTellNothingOfWhatIsHidden(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Consent","id":"order","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny","class":[{"system":"http://hl7.org/fhir/resource-types","code":"Goal"}],"actor":[{%s,"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`, privacy, role)
	asked := w.ask("other", "1001", consent.AccessRequest{})
	request := func(id string) []byte {
		return []byte(strings.Replace(string(asked.JSON), asked.ID, id, 1))
	}
	write := func(who string, m consent.Method, ref, body string) error {
		key, _ := fhir.ParseKey(ref)
		_, err := w.guard.Write(t.Context(), w.as(who), consent.Write{Method: m, Type: key.Type, ID: key.ID, Body: []byte(body)})
		return err
	}
	for _, who := range []string{"okafor", "luis", "helen"} {
		for _, hidden := range []string{"order", asked.ID} {
			if who == "luis" && hidden == asked.ID {
				continue
			}
			for name, body := range map[string]func(string) []byte{"request": request, "directive": func(id string) []byte {
				return fmt.Appendf(nil, `{"resourceType":"Consent","id":%q,"status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny"}}`, id, privacy)
			}} {
				sameAnswer(t, who+" puts a "+name, write(who, consent.Update, "Consent/"+hidden, string(body(hidden))), write(who, consent.Update, "Consent/nowhere", string(body("nowhere"))))
			}
			sameAnswer(t, who+" patches", write(who, consent.Patch, "Consent/"+hidden, `[{"op":"replace","path":"/status","value":"inactive"}]`), write(who, consent.Patch, "Consent/nowhere", `[{"op":"replace","path":"/status","value":"inactive"}]`))
			sameAnswer(t, who+" deletes", write(who, consent.Delete, "Consent/"+hidden, ""), write(who, consent.Delete, "Consent/nowhere", ""))
		}
	}
	for name, body := range map[string]string{
		"labels":       `{"resourceType":"Observation","id":%q,"meta":{"security":[{"system":"a b"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`,
		"no list":      `{"resourceType":"Observation","id":%q,"meta":{"security":{}},"status":"final","code":{"text":"x"}}`,
		"null":         `{"resourceType":"Observation","id":%q,"meta":{"security":null},"status":"final","code":{"text":"x"}}`,
		"meta null":    `{"resourceType":"Observation","id":%q,"meta":null,"status":"final","code":{"text":"x"}}`,
		"empty meta":   `{"resourceType":"Observation","id":%q,"meta":{},"status":"final","code":{"text":"x"}}`,
		"empty labels": `{"resourceType":"Observation","id":%q,"meta":{"security":[]},"status":"final","code":{"text":"x"}}`,
		"twice":        `{"resourceType":"Observation","id":%q,"meta":{"versionId":"1","versionId":"2"},"status":"final","code":{"text":"x"}}`,
		"meta twice":   `{"resourceType":"Observation","id":%q,"meta":{},"meta":{},"status":"final","code":{"text":"x"}}`,
		"an extension": `{"resourceType":"Observation","id":%q,"meta":{"_security":[null]},"status":"final","code":{"text":"x"}}`,
		"odd escapes":  `{"resourceType":"Observation","id":%q,"meta":{"source":"\ud800"},"status":"final","code":{"text":"x"}}`,
		"good":         `{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`,
		"of nobody":    `{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"x"}}`,
	} {
		for _, who := range []string{"okafor", "adams"} {
			sameAnswer(t, name, write(who, consent.Update, "Observation/ava-secret", fmt.Sprintf(body, "ava-secret")), write(who, consent.Update, "Observation/nowhere", fmt.Sprintf(body, "nowhere")))
		}
	}
}

func TestLimitsTellAGuardianNothingOfAnOrder(t *testing.T) {
	w := newWorld(t)
	limits := func() []string {
		r, err := w.guard.Access(t.Context(), w.as("luis"), "mateo")
		if err != nil || !r.Permitted {
			t.Fatalf("%+v, %v", r, err)
		}
		return r.Limits
	}
	before := limits()
	w.put(`{"resourceType":"Consent","id":"order","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny",%s,"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}],"actor":[{%s,"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`, privacy, secretR, role)
	if after := limits(); !slices.Equal(before, after) {
		t.Errorf("an order shows in the limits: %v, before %v", after, before)
	}
}

func TestIfNoneMatchHoldsForRequestsToo(t *testing.T) {
	w := newWorld(t)
	asked := w.ask("okafor", "1001", consent.AccessRequest{})
	body := bytes.Replace(asked.JSON, []byte(`"status":"proposed"`), []byte(`"status":"rejected"`), 1)
	_, err := w.guard.Write(t.Context(), w.as("grace"), consent.Write{Method: consent.Update, Type: "Consent", ID: asked.ID, Body: body, OnlyNew: true})
	wantKind(t, err, fhir.Precondition)
	_, err = w.guard.Write(t.Context(), w.as("grace"), consent.Write{Method: consent.Update, Type: "Consent", Criteria: "status=active", Body: body})
	wantKind(t, err, fhir.Conflict)
	view, err := w.guard.Request(t.Context(), w.as("grace"), asked.ID)
	if err != nil || view.State != consent.StateWaiting {
		t.Errorf("got %v, %v", view, err)
	}
}

func TestAppsOfOnePatientWriteToNoOther(t *testing.T) {
	w := newWorld(t)
	app := w.app("adams", "patient/*.cruds", "mateo")
	both := `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"performer":[{"reference":"Patient/sofia"}]}`
	_, _, err := w.guard.Create(t.Context(), app, "Observation", []byte(both))
	wantKind(t, err, fhir.Forbidden)
	w.put(`{"resourceType":"Patient","id":"mateo2","birthDate":"2018-01-05","link":[{"type":"seealso","other":{"reference":"Patient/mateo"}}],"generalPractitioner":[{"reference":"Practitioner/adams"}]}`)
	w.may("adams", "Patient/mateo2")
	wantKind(t, w.read(app, "Patient/mateo2"), fhir.NotFound)
	if got, err := w.search(app, "Patient", ""); err != nil || !slices.Equal(got, []string{"mateo"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestALabelHoldsAfterDeletion.
func TestALabelHoldsAfterDeletion(t *testing.T) {
	w := newWorld(t)
	plain := `{"resourceType":"Observation","id":"late","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`
	w.put(`%s`, plain)
	w.may("helen", "Observation/late")
	w.put(`{"resourceType":"Observation","id":"late","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`)
	for range 2 {
		w.mayNot("helen", "Observation/late")
		_, err := w.guard.VRead(t.Context(), w.as("helen"), fhir.Key{Type: "Observation", ID: "late"}, 1)
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.History(t.Context(), w.as("helen"), fhir.Key{Type: "Observation", ID: "late"}, nil, false)
		wantKind(t, err, fhir.NotFound)
		for name, list := range map[string]func() (*fhir.Page, error){
			"type": func() (*fhir.Page, error) {
				return w.guard.TypeHistory(t.Context(), w.as("helen"), "Observation", nil, false)
			},
			"system": func() (*fhir.Page, error) { return w.guard.SystemHistory(t.Context(), w.as("helen"), nil, false) },
		} {
			page, err := list()
			if err != nil || slices.ContainsFunc(page.Entries, func(e fhir.Entry) bool { return e.Resource.ID == "late" }) {
				t.Errorf("%s history: %v", name, err)
			}
		}
		if err := w.guard.Delete(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "late"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	// written anew under the same id, without the label
	if _, _, err := w.guard.Update(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "late"}, []byte(plain), nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Observation/late")
	w.may("ava", "Observation/late")
	if err := w.guard.Delete(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "late"}, nil); err != nil {
		t.Fatal(err)
	}
	sameAnswer(t, "patching what is deleted", func() error {
		_, err := w.guard.Write(t.Context(), w.as("helen"), consent.Write{Method: consent.Patch, Type: "Observation", ID: "late", Body: []byte(`[]`)})
		return err
	}(), func() error {
		_, err := w.guard.Write(t.Context(), w.as("helen"), consent.Write{Method: consent.Patch, Type: "Observation", ID: "never", Body: []byte(`[]`)})
		return err
	}())
}

func TestEveryWriteLeavesAnEntry(t *testing.T) {
	w := newWorld(t)
	log := func() int {
		page, err := w.guard.Search(t.Context(), w.as("grace"), "AuditEvent", url.Values{"patient": {"mateo"}, "_count": {"1000"}}, false)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range page.Entries {
			if strings.Contains(string(e.Resource.JSON), "Practitioner/adams") {
				n++
			}
		}
		return n
	}
	r, _, err := w.guard.Create(t.Context(), w.as("adams"), "Observation", []byte(weightOf("mateo")))
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"delete": func() error { return w.guard.Delete(t.Context(), w.as("adams"), r.Key, nil) },
		"move away": func() error {
			_, _, err := w.guard.Create(t.Context(), w.as("adams"), "Observation", []byte(weightOf("mateo")))
			return err
		},
	} {
		before := log()
		if err := do(); err != nil {
			t.Fatal(name, err)
		}
		if log() != before+1 {
			t.Errorf("%s: %d entries, before %d", name, log(), before)
		}
	}
	moved, _, err := w.guard.Create(t.Context(), w.as("adams"), "Observation", []byte(weightOf("mateo")))
	if err != nil {
		t.Fatal(err)
	}
	before := log()
	if _, _, err := w.guard.Update(t.Context(), w.as("adams"), moved.Key, fmt.Appendf(nil, `{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"w"},"subject":{"reference":"Patient/sofia"}}`, moved.ID), nil); err != nil {
		t.Fatal(err)
	}
	if log() != before+1 {
		t.Errorf("moving a resource out of a record leaves no entry in its log: %d, %d", log(), before)
	}
}

func TestProvidersDoNotSayWhoIsWho(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{
		`{"resourceType":"Person","link":[{"target":{"reference":"Patient/mateo"}},{"target":{"reference":"Practitioner/adams"}}]}`,
		`{"resourceType":"Group","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/mateo"}},{"entity":{"reference":"Practitioner/okafor"}}]}`,
	} {
		_, _, err := w.guard.Create(t.Context(), w.as("adams"), fhir.Header([]byte(body)).Type, []byte(body))
		wantKind(t, err, fhir.Forbidden)
	}
}

// TestAppStateIsClosedWithTheRecord: a deny closes it, whatever the basis.
func TestAppStateIsClosedWithTheRecord(t *testing.T) {
	w := newWorld(t)
	const code = "http://app.test|settings"
	app := func(who string) consent.Caller { return w.app(who, "user/Basic.cruds", "") }
	body := []byte(`{"resourceType":"Basic","code":{"coding":[{"system":"http://app.test","code":"settings"}]},"subject":{"reference":"` + base + `/fhir/Patient/mateo"}}`)
	for _, who := range []string{"adams", "luis"} {
		if _, err := w.guard.CreateState(t.Context(), app(who), body); err != nil {
			t.Fatal(who, err)
		}
	}
	w.put(`{"resourceType":"Consent","id":"order","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"RelatedPerson/luis-mateo"}},{%s,"reference":{"reference":"Practitioner/adams"}}]}}`, privacy, role, role)
	for _, who := range []string{"adams", "luis", "helen", "okafor"} {
		_, err := w.guard.FindState(t.Context(), app(who), code, base+"/fhir/Patient/mateo")
		_, absent := w.guard.FindState(t.Context(), app(who), code, base+"/fhir/Patient/nobody")
		wantKind(t, err, fhir.Forbidden)
		sameAnswer(t, who, err, absent)
		_, err = w.guard.CreateState(t.Context(), app(who), body)
		wantKind(t, err, fhir.Forbidden)
	}
}

func TestATransactionLooksUpSoMuch(t *testing.T) {
	w := newWorld(t)
	search := consent.Step{Read: &consent.Read{Key: fhir.Key{Type: "Observation"}, Values: url.Values{"code": {"x"}}}}
	criteria := consent.Step{Write: consent.Write{Method: consent.Delete, Type: "Observation", Criteria: "code=x"}}
	chained := consent.Step{Read: &consent.Read{Key: fhir.Key{Type: "Observation"}, Values: url.Values{"subject:Patient.name": {"x"}}}}
	for name, steps := range map[string][]consent.Step{
		"chains": slices.Repeat([]consent.Step{chained}, 21), "searches": slices.Repeat([]consent.Step{search}, 1001), "criteria": slices.Repeat([]consent.Step{criteria}, 10_001),
		"reads": slices.Repeat([]consent.Step{get("Patient/mateo")}, 10_001),
	} {
		began := time.Now()
		_, err := w.transaction(w.as("adams"), steps...)
		if fhir.KindOf(err) != fhir.TooBig || time.Since(began) > 10*time.Second {
			t.Errorf("%s: got %v after %v", name, err, time.Since(began))
		}
	}
	chained.Read.Values["subject:Patient.general-practitioner:Practitioner.name"] = []string{"a", "b", "c", "d", "e"}
	_, err := w.transaction(w.as("adams"), chained)
	wantKind(t, err, fhir.Invalid)
	if _, err := w.transaction(w.as("adams"), slices.Repeat([]consent.Step{search}, 100)...); err != nil {
		t.Error(err)
	}
}

// TestFamiliesDoNotSlowDecisionsDown: what every decision about a patient reads
// stays small, however it is written.
func TestFamiliesDoNotSlowDecisionsDown(t *testing.T) {
	w := newWorld(t)
	grace := w.as("grace")
	long := strings.Repeat(`,{"url":"http://example.org/x","valueString":"x"}`, 3000)
	directive := `{"resourceType":"Consent","status":"active","extension":[{"url":"http://example.org/x","valueString":"x"}` + long + `],` + privacy + `,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"provision":{"type":"deny"}}`
	_, _, err := w.guard.Create(t.Context(), grace, "Consent", []byte(directive))
	wantKind(t, err, fhir.TooBig)
	_, err = w.transaction(grace, create("Consent", directive))
	wantKind(t, err, fhir.TooBig)
	team := func(extra string) []byte {
		return []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/okafor"}}` + extra + `]}`)
	}
	_, _, err = w.guard.Create(t.Context(), grace, "CareTeam", team(strings.Repeat(`,{"member":{"reference":"Practitioner/okafor"}}`, 3000)))
	wantKind(t, err, fhir.TooBig)
	var last *fhir.Resource
	n := 0
	for ; n < 60; n++ {
		r, _, err := w.guard.Create(t.Context(), grace, "CareTeam", team(""))
		if err != nil {
			wantKind(t, err, fhir.Unprocessable)
			break
		}
		last = r
	}
	if n != 49 { // and the one that was there
		t.Errorf("%d care teams fit", n)
	}
	_, err = w.guard.Write(t.Context(), grace, consent.Write{Method: consent.Patch, Type: "CareTeam", ID: last.ID, Body: []byte(`[{"op":"add","path":"/name","value":"x"}]`)})
	if err != nil {
		t.Error(err)
	}
}

// TestStaffOpenNoRecordToThemselves: somebody may be staff, a parent and a
// provider by one login.
func TestStaffOpenNoRecordToThemselves(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Practitioner","id":"sam","name":[{"family":"Sam"}]}`)
	w.put(`{"resourceType":"PractitionerRole","id":"sam-role","practitioner":{"reference":"Practitioner/sam"}}`)
	w.put(`{"resourceType":"PractitionerRole","id":"baker-role","practitioner":{"reference":"Practitioner/baker"}}`)
	w.link("sam", smart.Staff, "Practitioner/sam")
	w.link("sam", smart.Provider, "Practitioner/sam")
	w.link("sam", smart.Proxy, "RelatedPerson/nobody-lily")
	as := func(role smart.Role) consent.Caller {
		c := w.as("sam")
		c.Identity.Role = role
		return c
	}
	const add = `[{"op":"add","path":"/generalPractitioner/-","value":{"reference":%q}}]`
	const move = `[{"op":"replace","path":"/patient/reference","value":"Patient/mateo"}]`
	for _, tt := range []struct {
		ref, ops string
		ok       bool
	}{
		{"RelatedPerson/nobody-lily", move, false}, {"RelatedPerson/mark-noah", move, true},
		{"Patient/mateo", fmt.Sprintf(add, "Practitioner/sam"), false}, {"Patient/mateo", fmt.Sprintf(add, "PractitionerRole/sam-role"), false},
		{"Patient/mateo", fmt.Sprintf(add, base+"/fhir/Practitioner/sam"), false}, {"Patient/mateo", fmt.Sprintf(add, "Practitioner/baker"), true},
	} {
		for _, role := range []smart.Role{smart.Staff, smart.Admin} {
			_, err := w.transaction(as(role), patch(tt.ref, tt.ops))
			if tt.ok && err != nil {
				t.Errorf("%s of %s: %v", tt.ops, tt.ref, err)
			} else if !tt.ok {
				wantKind(t, err, fhir.Forbidden)
			}
		}
	}
	_, err := w.transaction(as(smart.Admin), patch("PractitionerRole/sam-role", `[{"op":"add","path":"/organization","value":{"reference":"Organization/x"}}]`))
	wantKind(t, err, fhir.Forbidden)
	_, err = w.transaction(as(smart.Admin), patch("PractitionerRole/baker-role", `[{"op":"replace","path":"/practitioner/reference","value":"Practitioner/sam"}]`))
	wantKind(t, err, fhir.Forbidden)
	word := &consent.CallersWord{Caller: "mother", Check: "call-back", Asked: "add"}
	wantKind(t, w.guard.AddToCareTeam(t.Context(), as(smart.Staff), "mateo", fhir.Key{Type: "Practitioner", ID: "sam"}, word), fhir.Forbidden)
	if err := w.guard.AddToCareTeam(t.Context(), as(smart.Staff), "mateo", fhir.Key{Type: "Practitioner", ID: "okafor"}, word); err != nil {
		t.Error(err)
	}
	w.put(`{"resourceType":"Patient","id":"own","birthDate":"2020-01-01","generalPractitioner":[{"reference":"Practitioner/sam"}]}`)
	if _, err := w.transaction(as(smart.Staff), patch("Patient/own", `[{"op":"add","path":"/gender","value":"male"}]`)); err != nil {
		t.Error(err)
	}
}
