package consent_test

import (
	"encoding/json"
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

const (
	privacy = `"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"policy":[{"uri":"http://example.org/p"}]`
	secretR = `"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]`
)

// TestCourtOrderHoldsHoweverItIsWritten: a deny that names a guardian in a way we
// cannot be sure of holds all the same.
func TestCourtOrderHoldsHoweverItIsWritten(t *testing.T) {
	luis := "RelatedPerson/luis-mateo"
	for name, provision := range map[string]string{
		"plain":            `"actor":[{` + role + `,"reference":{"reference":"` + luis + `"}}]`,
		"absolute":         `"actor":[{` + role + `,"reference":{"reference":"` + base + `/fhir/` + luis + `"}}]`,
		"with a version":   `"actor":[{` + role + `,"reference":{"reference":"` + luis + `/_history/1"}}]`,
		"an unknown role":  `"actor":[{"role":{"coding":[{"code":"PAT"}]},"reference":{"reference":"` + luis + `"}}]`,
		"a role in words":  `"actor":[{"role":{"text":"father"},"reference":{"reference":"` + luis + `"}}]`,
		"another purpose":  `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"FAMRQT"}],"actor":[{` + role + `,"reference":{"reference":"` + luis + `"}}]`,
		"action disclose":  `"action":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":"disclose"}]}],"actor":[{` + role + `,"reference":{"reference":"` + luis + `"}}]`,
		"by an identifier": `"actor":[{` + role + `,"reference":{"identifier":{"value":"7"}}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(`{"resourceType":"Consent","id":"order","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{"type":"deny",%s}}`, privacy, provision)
			w.mayNot("luis", "Patient/mateo")
			if name != "by an identifier" {
				w.mayNot("luis", "Consent/order")
				w.may("grace", "Patient/mateo", "Consent/order")
			}
		})
	}
}

// TestNobodyGivesAwayWhatTheyDoNotSee.
func TestNobodyGivesAwayWhatTheyDoNotSee(t *testing.T) {
	w := newWorld(t)
	restricted := consent.Narrowing{Label: "R"}
	redeem := func(who string, inv *consent.Invited) error {
		_, err := w.guard.Redeem(t.Context(), w.as(who), inv.Token, "1003", "")
		return err
	}
	invite := func(c consent.Caller, i consent.Invitation) *consent.Invited {
		inv, err := w.guard.Invite(t.Context(), c, "ava", i)
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	if err := redeem("okafor", invite(w.as("helen"), consent.Invitation{Narrowing: restricted})); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Observation/ava-weight")
	w.mayNot("okafor", "Observation/ava-secret") // helen does not see it either
	if err := redeem("other", invite(w.as("baker"), consent.Invitation{Narrowing: restricted})); err != nil {
		t.Fatal(err)
	}
	w.may("other", "Observation/ava-weight")
	w.mayNot("other", "Observation/ava-secret") // the practice gives normal data only
	if err := redeem("okafor", invite(w.as("ava"), consent.Invitation{Narrowing: restricted})); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Observation/ava-secret") // Ava herself may

	wantKind(t, redeem("baker", invite(w.as("baker"), consent.Invitation{})), fhir.Unprocessable) // one's own invitation
	_, err := w.guard.Invite(t.Context(), w.as("ava"), "ava", consent.Invitation{Narrowing: consent.Narrowing{Label: "V"}})
	wantKind(t, err, fhir.Unprocessable)
}

func TestInvitationsNeedTheirGround(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	redeem := func() error {
		_, err := w.guard.Redeem(t.Context(), w.as("okafor"), inv.Token, "1001", "")
		return err
	}
	related := `{"resourceType":"RelatedPerson","id":"grace-mateo","active":%s,"patient":{"reference":"Patient/mateo"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}]}`
	w.put(related, "false")
	wantKind(t, redeem(), fhir.Unprocessable)
	w.put(related, "true")
	if err := redeem(); err != nil {
		t.Error(err)
	}

	// A PCP's, as long as they are the PCP.
	if inv, err = w.guard.Invite(t.Context(), w.as("adams"), "mateo", consent.Invitation{}); err != nil {
		t.Fatal(err)
	}
	pcp := `{"resourceType":"Patient","id":"mateo","identifier":[{"system":"urn:test:mrn","value":"1001"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":"2018-01-05","generalPractitioner":[{"reference":"Practitioner/%s"}]}`
	redeem = func() error {
		_, err := w.guard.Redeem(t.Context(), w.as("other"), inv.Token, "1001", "")
		return err
	}
	w.put(pcp, "baker")
	wantKind(t, redeem(), fhir.Unprocessable)
	w.put(pcp, "adams")
	if err := redeem(); err != nil {
		t.Error(err)
	}
}

func TestStaffActOnAWordOnly(t *testing.T) {
	w := newWorld(t)
	staff := w.as("adams")
	staff.Identity.Role = smart.Staff
	_, err := w.guard.Invite(t.Context(), staff, "sofia", consent.Invitation{})
	wantKind(t, err, fhir.Unprocessable)
	if _, err := w.guard.Invite(t.Context(), staff, "sofia", consent.Invitation{Word: &consent.CallersWord{Caller: "mother", Check: "call-back", Asked: "invite"}}); err != nil {
		t.Error(err)
	}
	_, _, err = w.guard.Create(t.Context(), staff, "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`))
	wantKind(t, err, fhir.Forbidden)
}

// TestTheLogOfOnePatientTellsNothingOfAnother.
func TestTheLogOfOnePatientTellsNothingOfAnother(t *testing.T) {
	w := newWorld(t)
	if _, err := w.search(w.as("baker"), "Observation", ""); err != nil { // Ava's, Noah's and Lily's in one call
		t.Fatal(err)
	}
	if _, err := w.guard.History(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "ava-secret"}, nil, false); err != nil {
		t.Fatal(err)
	}
	page, err := w.guard.Search(t.Context(), w.as("helen"), "AuditEvent", map[string][]string{"patient": {"ava"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, e := range page.Entries {
		body := string(e.Resource.JSON)
		seen = seen || strings.Contains(body, "Observation/ava-weight")
		for _, hidden := range []string{"noah", "lily", "ava-secret"} {
			if strings.Contains(body, hidden) {
				t.Errorf("the log that helen reads names %q: %s", hidden, body)
			}
		}
	}
	if !seen {
		t.Error("the log does not name what helen may know of")
	}
}

// Whether a provider has other patients does not show in the log of one: what they find
// does, and what they ask about this one.
func TestTheLogDoesNotTellWhetherThereAreOthers(t *testing.T) {
	w := newWorld(t)
	rows := func(query string) int {
		t.Helper()
		count := func() int {
			page, err := w.guard.Search(t.Context(), w.as("grace"), "AuditEvent", url.Values{"patient": {"mateo"}, "agent": {"Practitioner/chen"}}, false)
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Entries)
		}
		before := count()
		if got, err := w.search(w.as("chen"), "Condition", query); err != nil || len(got) != 0 {
			t.Fatalf("got %v, %v", got, err)
		}
		return count() - before
	}
	for _, others := range []bool{false, true} {
		if others {
			w.put(`{"resourceType":"CareTeam","id":"ava-team","status":"active","subject":{"reference":"Patient/ava"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
		}
		if all, one := rows(""), rows("patient=mateo"); all != 0 || one != 1 {
			t.Errorf("others %v: got %d rows of a search of all patients, and %d of this one", others, all, one)
		}
	}
}

func TestPagesOfTheLog(t *testing.T) {
	w := newWorld(t)
	for range 7 {
		w.may("adams", "Observation/mateo-weight")
		w.clock.pass(time.Second)
	}
	grace := w.as("grace")
	ids, query := []string{}, "patient=mateo&_count=3"
	for pages := 0; query != ""; pages++ {
		values, err := url.ParseQuery(query)
		if err != nil || pages > 10 {
			t.Fatalf("page %d: %v", pages, err)
		}
		page, err := w.guard.Search(t.Context(), grace, "AuditEvent", values, false)
		if err != nil || len(page.Entries) > 3 {
			t.Fatalf("got %d entries, %v", len(page.Entries), err)
		}
		for _, e := range page.Entries {
			if strings.Contains(string(e.Resource.JSON), "Practitioner/adams") {
				ids = append(ids, e.Resource.ID)
			}
		}
		query = page.Next
	}
	slices.Sort(ids)
	if n := len(ids); n != 7 || len(slices.Compact(ids)) != n {
		t.Errorf("got %v, want 7 different rows", ids)
	}
}

func TestLeavingEndsAccess(t *testing.T) {
	permit := `{"resourceType":"Consent","id":"c","status":"active",` + privacy + `,"patient":{"reference":"Patient/mateo"},"provision":{"type":"permit","actor":[{` + role + `,"reference":{"reference":%q}}]}}`
	t.Run("a team that a consent names, by role", func(t *testing.T) {
		w := newWorld(t)
		team := `{"resourceType":"CareTeam","id":"tumor","status":"active","participant":[%s]}`
		w.put(`{"resourceType":"PractitionerRole","id":"ro","active":true,"practitioner":{"reference":"Practitioner/okafor"}}`)
		w.put(team, `{"member":{"reference":"PractitionerRole/ro"}}`)
		w.put(permit, "CareTeam/tumor")
		w.may("okafor", "Patient/mateo")
		w.put(team, `{"member":{"reference":"Practitioner/chen"}}`)
		w.mayNot("okafor", "Patient/mateo")
	})
	t.Run("a group", func(t *testing.T) {
		w := newWorld(t)
		group := `{"resourceType":"Group","id":"g","active":true,"type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/okafor"},"inactive":%s}]}`
		w.put(group, "false")
		w.put(permit, "Group/g")
		w.may("okafor", "Patient/mateo")
		w.put(group, "true")
		w.mayNot("okafor", "Patient/mateo")
	})
	t.Run("a team inside a team, in time", func(t *testing.T) {
		w := newWorld(t)
		w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
		w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"CareTeam/inner"},"period":{"end":"2026-03-10T16:00:00-04:00"}}]}`)
		w.may("okafor", "Patient/mateo")
		w.clock.set(time.Date(2026, 3, 10, 16, 0, 0, 0, w.zone))
		w.mayNot("okafor", "Patient/mateo")
	})
	t.Run("a Practitioner marked inactive", func(t *testing.T) {
		w := newWorld(t)
		w.may("adams", "Patient/mateo")
		w.put(`{"resourceType":"Practitioner","id":"adams","active":false,"name":[{"family":"Adams"}]}`)
		w.mayNot("adams", "Patient/mateo")
	})
}

func TestWhatOneSaysOfOneselfProvesNothing(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{Email: "famous@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.guard.SignIn(t.Context(), "https://idp.test", "stranger", "Stranger", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Register(t.Context(), a.ID, consent.Registration{Given: "Fay", Family: "Famous", NPI: "1993999998", Email: "famous@example.org", Organization: "Children's"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.ProveEmail(t.Context(), a.ID, w.lastCode()); err != nil { // whoever reads the mail is not yet who they say
		t.Fatal(err)
	}
	_, err = w.guard.Redeem(t.Context(), w.as("stranger"), inv.Token, "1001", "")
	wantKind(t, err, fhir.Unprocessable)
	r := w.ask("stranger", "1001", consent.AccessRequest{})
	view, err := w.guard.Request(t.Context(), w.as("grace"), r.ID)
	if err != nil || !view.Provider.SelfClaimed {
		t.Errorf("the family is not told that nobody checked: %+v, %v", view, err)
	}
}

func TestAppsOfOnePatientReachNoOther(t *testing.T) {
	w := newWorld(t)
	app := w.app("okafor", "patient/Patient.rs patient/Consent.cruds", "mateo")
	if got, err := w.search(app, "Patient", "identifier=1003"); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	_, _, err := w.guard.RequestAccess(t.Context(), app, consent.AccessRequest{Patient: "Patient/ava"})
	wantKind(t, err, fhir.Forbidden)
	_, err = w.search(w.app("grace", "patient/AuditEvent.rs user/Observation.rs", "mateo"), "AuditEvent", "patient=mateo")
	if err != nil {
		t.Error(err)
	}
	got, err := w.search(w.app("grace", "patient/AuditEvent.rs user/AuditEvent.c", "mateo"), "AuditEvent", "patient=sofia")
	if err != nil || len(got) != 0 {
		t.Errorf("another child's log: %v, %v", got, err)
	}
	_, err = w.search(w.app("grace", "user/AuditEvent.rs?date=1999-01-01", ""), "AuditEvent", "patient=mateo")
	wantKind(t, err, fhir.Forbidden)
}

func TestAnUpdateKeepsLabels(t *testing.T) {
	w := newWorld(t)
	body := []byte(`{"resourceType":"Observation","id":"ava-secret","status":"amended","code":{"text":"confidential"},"subject":{"reference":"Patient/ava"}}`)
	if _, _, err := w.guard.Update(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "ava-secret"}, body, nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("helen", "Observation/ava-secret")
	w.may("ava", "Observation/ava-secret")
}

func TestAdministratorsPermitNobody(t *testing.T) {
	w := newWorld(t)
	admin := w.as("baker")
	admin.Identity.Role = smart.Admin
	actor := func(ref string) string { return `{` + role + `,"reference":{"reference":"` + ref + `"}}` }
	for name, provision := range map[string]string{
		"permit":               `"type":"permit","actor":[` + actor("Practitioner/okafor") + `]`,
		"a permit in a deny":   `"type":"deny","actor":[` + actor("RelatedPerson/grace-mateo") + `],"provision":[{"type":"permit","actor":[` + actor("Practitioner/okafor") + `]}]`,
		"a provider in a deny": `"type":"deny","actor":[` + actor("RelatedPerson/grace-mateo") + `,` + actor("Practitioner/adams") + `]`,
	} {
		_, _, err := w.guard.Create(t.Context(), admin, "Consent", fmt.Appendf(nil, `{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"provision":{%s}}`, privacy, provision))
		if fhir.KindOf(err) != fhir.Unprocessable {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

func TestATeenagersDecisionIsTheirs(t *testing.T) {
	w := newWorld(t)
	r, _, err := w.guard.Create(t.Context(), w.as("ava"), "Consent", fmt.Appendf(nil, `{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/ava"},"performer":[{"reference":"Patient/ava"}],"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"Practitioner/baker"}}]}}`, privacy, role))
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.guard.Delete(t.Context(), w.as("helen"), r.Key, nil), fhir.Forbidden)
	w.mayNot("baker", "Patient/ava")
}

func TestConsentsStayCheapToJudge(t *testing.T) {
	w := newWorld(t)
	var nested []string
	for range 400 {
		nested = append(nested, `{"type":"deny",`+secretR+`}`)
	}
	body := fmt.Appendf(nil, `{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"provision":{"type":"deny","provision":[%s]}}`, privacy, strings.Join(nested, ","))
	if !json.Valid(body) {
		t.Fatal("the test's body is no JSON")
	}
	_, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", body)
	wantKind(t, err, fhir.Unprocessable)
}

func TestSharedResourcesNeedEveryOwner(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Appointment","id":"both","status":"proposed","participant":[{"actor":{"reference":"Patient/mateo"},"status":"accepted"},{"actor":{"reference":"Patient/sofia"},"status":"accepted"}]}`)
	w.may("chen", "Appointment/both") // by Mateo's care team
	w.put(`{"resourceType":"Consent","id":"c","status":"active",%s,"patient":{"reference":"Patient/sofia"},"provision":{"type":"deny","actor":[{%s,"reference":{"reference":"Practitioner/chen"}}]}}`, privacy, role)
	w.mayNot("chen", "Appointment/both")
	w.may("adams", "Appointment/both")
	if got, err := w.search(w.as("chen"), "Appointment", ""); err != nil || slices.Contains(got, "both") {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestTheLogNamesTheOrganisation under which a provider looked, also after they
// have left it.
func TestTheLogNamesTheOrganisation(t *testing.T) {
	w := newWorld(t)
	role := `{"resourceType":"PractitionerRole","id":"ra","active":%s,"practitioner":{"reference":"Practitioner/adams"},"organization":{"reference":"Organization/oak"}}`
	w.put(`{"resourceType":"Organization","id":"oak","name":"Oak Street Pediatrics"}`)
	w.put(role, "true")
	w.may("adams", "Patient/mateo")
	w.put(role, "false")
	looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 1)
	if err != nil || len(looks) != 1 || looks[0].Organization != "Oak Street Pediatrics" {
		t.Errorf("got %+v, %v", looks, err)
	}
	page, err := w.guard.Search(t.Context(), w.as("grace"), "AuditEvent", url.Values{"patient": {"mateo"}}, false)
	if err != nil || !slices.ContainsFunc(page.Entries, func(e fhir.Entry) bool { return strings.Contains(string(e.Resource.JSON), "Organization/oak") }) {
		t.Errorf("no AuditEvent names the organisation: %v", err)
	}
	for _, e := range page.Entries { // what is rendered is a valid resource
		if _, err := w.eng.Prepare(e.Resource.JSON); err != nil {
			t.Errorf("%v: %s", err, e.Resource.JSON)
		}
	}
}
