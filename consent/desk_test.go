package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// desk has sam at the desk, who also practises at a clinic, and ana as administrator.
func desk(t *testing.T) *world {
	w := newWorld(t)
	w.link("sam", smart.Staff, "Practitioner/sam")
	w.link("ana", smart.Admin, "Practitioner/ana")
	w.put(`{"resourceType":"Organization","id":"clinic","name":"Clinic"}`)
	w.put(`{"resourceType":"Organization","id":"other","name":"Other"}`)
	return w
}

func lily(born, extra string) []byte {
	return fmt.Appendf(nil, `{"resourceType":"Patient","id":"lily","identifier":[{"system":%q,"value":"1005"}],"name":[{"family":"Nguyen","given":["Lily"]}],"birthDate":%q%s}`, mrnSystem, born, extra)
}

func (w *world) rewrite(who string, body []byte) error {
	_, _, err := w.guard.Update(w.t.Context(), w.as(who), fhir.Key{Type: "Patient", ID: "lily"}, body, nil)
	return err
}

func TestDeskDoesNotMoveBirthdays(t *testing.T) {
	w := desk(t)
	const pcp = `,"generalPractitioner":[{"reference":"Practitioner/baker"}]`
	if err := w.rewrite("sam", lily("2022-12-24", pcp+`,"gender":"female"`)); err != nil {
		t.Errorf("other demographics: %v", err)
	}
	for name, body := range map[string][]byte{
		"a birth date":      lily("2002-12-24", pcp),
		"a day":             lily("2022-12-25", pcp),
		"a death":           lily("2022-12-24", pcp+`,"deceasedBoolean":true`),
		"a time of death":   lily("2022-12-24", pcp+`,"deceasedDateTime":"2026-01-01"`),
		"an extension":      lily("2022-12-24", pcp+`,"_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"2022-12-24T10:00:00Z"}]}`),
		"without its birth": []byte(strings.Replace(string(lily("2022-12-24", pcp)), `,"birthDate":"2022-12-24"`, "", 1)),
	} {
		err := w.rewrite("sam", body)
		if fhir.KindOf(err) != fhir.Forbidden || !strings.Contains(fmt.Sprintf("%+v", err), "birth date or a death") {
			t.Errorf("%s: got %v, want Forbidden", name, err)
		}
	}
	patch := []byte(`[{"op":"replace","path":"/birthDate","value":"2002-12-24"}]`)
	_, err := w.guard.Write(t.Context(), w.as("sam"), consent.Write{Method: consent.Patch, Type: "Patient", ID: "lily", Body: patch})
	wantKind(t, err, fhir.Forbidden)
	if _, err := w.guard.Transaction(t.Context(), w.as("sam"), []consent.Step{{Write: consent.Write{Method: consent.Update, Type: "Patient", ID: "lily", Body: lily("2022-12-24", pcp)}}}); err != nil {
		t.Errorf("the same in a transaction: %v", err)
	}
	_, err = w.guard.Transaction(t.Context(), w.as("sam"), []consent.Step{{Write: consent.Write{Method: consent.Update, Type: "Patient", ID: "lily", Body: lily("2002-12-24", pcp)}}})
	wantKind(t, err, fhir.Forbidden)
	// Nor by deleting and writing it anew.
	if err := w.guard.Delete(t.Context(), w.as("sam"), fhir.Key{Type: "Patient", ID: "lily"}, nil); err == nil {
		if err := w.rewrite("sam", lily("2002-12-24", pcp)); err == nil {
			t.Error("a deleted patient came back with another birth date")
		}
		if err := w.rewrite("ana", lily("2022-12-24", pcp)); err != nil {
			t.Error(err)
		}
	}
	if err := w.rewrite("ana", lily("2022-12-25", pcp)); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	w.link("ana", smart.Proxy, "RelatedPerson/nobody-lily")
	wantKind(t, w.rewrite("ana", lily("2010-12-25", pcp)), fhir.Forbidden)
	if _, _, err := w.guard.Create(t.Context(), w.as("sam"), "Patient", lily("2022-12-24", pcp)); err != nil {
		t.Errorf("a new patient: %v", err)
	}
}

// The desk gives nobody access who is themself, however they are named.
func TestDeskGivesItselfNoAccess(t *testing.T) {
	w := desk(t)
	w.link("sam", smart.Provider, "Practitioner/sam-md")
	w.put(`{"resourceType":"Practitioner","id":"sam-md","active":true}`)
	w.put(`{"resourceType":"PractitionerRole","id":"sam-clinic","practitioner":{"reference":"Practitioner/sam-md"},"organization":{"reference":"Organization/clinic"},"period":{"start":"2027-01-01"}}`)
	pcp := func(ref string) []byte {
		return lily("2022-12-24", `,"generalPractitioner":[{"reference":"`+ref+`"}]`)
	}
	sam := w.as("sam")
	sam.Identity.Role = smart.Staff
	sam.Identity.FHIRUser, sam.Identity.Persons = "Practitioner/sam", []string{"Practitioner/sam"}
	update := func(body []byte) error {
		_, _, err := w.guard.Update(t.Context(), sam, fhir.Key{Type: "Patient", ID: "lily"}, body, nil)
		return err
	}
	for _, ref := range []string{"Practitioner/sam-md", "PractitionerRole/sam-clinic", "Organization/clinic", base + "/fhir/Organization/clinic"} {
		wantKind(t, update(pcp(ref)), fhir.Forbidden)
	}
	if err := update(pcp("Organization/other")); err != nil {
		t.Errorf("another organisation: %v", err)
	}
	word := &consent.CallersWord{Caller: "a", Check: "b", Asked: "c"}
	wantKind(t, w.guard.AddToCareTeam(t.Context(), sam, "lily", fhir.Key{Type: "Practitioner", ID: "sam-md"}, word), fhir.Forbidden)
	// What a colleague wrote may stay.
	if _, _, err := w.guard.Update(t.Context(), w.as("ana"), fhir.Key{Type: "Patient", ID: "lily"}, pcp("Organization/clinic"), nil); err != nil {
		t.Fatal(err)
	}
	if err := update(lily("2022-12-24", `,"gender":"female","generalPractitioner":[{"reference":"Organization/clinic"}]`)); err != nil {
		t.Errorf("what stands may stay: %v", err)
	}
	// Who sponsors them counts as themself.
	offer, err := w.guard.SponsorStaff(t.Context(), w.as("okafor"), "Sam", "sam@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.TakeUpSponsorship(t.Context(), sam.Identity.Login, offer.Code, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, update(pcp("Practitioner/okafor")), fhir.Forbidden)
	wantKind(t, w.guard.AddToCareTeam(t.Context(), sam, "lily", fhir.Key{Type: "Practitioner", ID: "okafor"}, word), fhir.Forbidden)
	if err := w.guard.AddToCareTeam(t.Context(), sam, "lily", fhir.Key{Type: "Practitioner", ID: "chen"}, word); err != nil {
		t.Error(err)
	}
}

// A practice is PCP for those who hold an active role in it, by every path, and
// not for those in organisations around it.
func TestPracticeAsPCP(t *testing.T) {
	w := desk(t)
	w.put(`{"resourceType":"Organization","id":"ward","name":"Ward","partOf":{"reference":"Organization/clinic"}}`)
	w.put(`{"resourceType":"PractitionerRole","id":"okafor-clinic","active":true,"practitioner":{"reference":"Practitioner/okafor"},"organization":{"reference":"Organization/clinic"},"period":{"start":"2026-03-10T16:00:00-04:00","end":"2026-03-10T17:00:00-04:00"}}`)
	w.put(`{"resourceType":"PractitionerRole","id":"other-ward","active":true,"practitioner":{"reference":"Practitioner/other"},"organization":{"reference":"Organization/ward"}}`)
	w.put(`{"resourceType":"PractitionerRole","id":"chen-clinic","active":false,"practitioner":{"reference":"Practitioner/chen"},"organization":{"reference":"Organization/clinic"}}`)
	w.put("%s", lily("2022-12-24", `,"generalPractitioner":[{"reference":"Organization/clinic"}]`))
	check := func(who string, want bool) {
		t.Helper()
		c := w.as(who)
		opens(t, w.guard, c, "Patient/lily", want)
		opens(t, w.guard, c, "Observation/lily-weight", want)
		for _, q := range []struct {
			t          fhir.Type
			query, hit string
		}{
			{"Patient", "family=Nguyen", "lily"}, {"Observation", "", "lily-weight"}, {"Observation", "patient=Patient/lily", "lily-weight"},
			{"Observation", "patient.family=Nguyen", "lily-weight"}, {"Patient", "_has:Observation:patient:code=29463-7", "lily"},
		} {
			ids, err := w.search(c, q.t, q.query)
			if err != nil || slices.Contains(ids, q.hit) != want {
				t.Errorf("%s at %v: %s?%s: %v, %v; want %s %v", who, w.clock.Now(), q.t, q.query, ids, err, q.hit, want)
			}
		}
		if _, err := w.guard.Everything(t.Context(), c, "lily", nil, false); (err == nil) != want {
			t.Errorf("%s at %v: $everything: %v", who, w.clock.Now(), err)
		}
	}
	for _, who := range []string{"okafor", "other", "chen"} {
		check(who, false)
	}
	at := time.Date(2026, 3, 10, 16, 0, 0, 0, w.zone)
	for _, c := range []struct {
		at   time.Time
		want bool
	}{{at.Add(-time.Second), false}, {at, true}, {at.Add(time.Hour - time.Second), true}, {at.Add(time.Hour + time.Second), false}} {
		w.clock.set(c.at)
		check("okafor", c.want)
	}
	check("other", false)
	check("chen", false)
}

// An organisation on a care team opens a record to those in it only where the site
// says so.
func TestCareTeamOrganizations(t *testing.T) {
	w := desk(t)
	on := w.on(w.node(func(c *consent.Config) { c.Policy.CareTeamOrganizations = true }))
	w.put(`{"resourceType":"PractitionerRole","id":"okafor-clinic","active":true,"practitioner":{"reference":"Practitioner/okafor"},"organization":{"reference":"Organization/clinic"}}`)
	w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Organization/clinic"}}]}`)
	w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"CareTeam/inner"}}]}`)
	for _, ref := range []string{"Observation/sofia-weight", "Observation/lily-weight"} {
		opens(t, w.guard, w.as("okafor"), ref, false)
		opens(t, on.guard, w.as("okafor"), ref, true)
	}
	if ids, err := w.search(w.as("okafor"), "Patient", ""); err != nil || len(ids) != 0 {
		t.Errorf("off: %v, %v", ids, err)
	}
	if ids, err := on.search(w.as("okafor"), "Patient", "_sort=_id"); err != nil || !slices.Equal(ids, []string{"lily", "sofia"}) {
		t.Errorf("on: %v, %v", ids, err)
	}
	w.put(`{"resourceType":"PractitionerRole","id":"okafor-clinic","active":false,"practitioner":{"reference":"Practitioner/okafor"},"organization":{"reference":"Organization/clinic"}}`)
	opens(t, on.guard, w.as("okafor"), "Observation/lily-weight", false)
}
