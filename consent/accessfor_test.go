package consent_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// boss is an administrator in the portal who has a name.
func (w *world) boss() consent.Caller {
	w.t.Helper()
	w.put(`{"resourceType":"Practitioner","id":"boss","name":[{"family":"Boss"}]}`)
	w.link("boss", smart.Admin, "Practitioner/boss")
	return w.as("boss")
}

func basesOf(r *consent.AccessReport) string {
	var list []string
	for _, b := range r.Bases {
		list = append(list, strings.TrimSpace(string(b.Code)+" "+b.Source))
	}
	return fmt.Sprint(r.Permitted, " ", r.As, " ", strings.Join(list, ", "), " ", strings.Join(r.Limits, ","))
}

func TestAdministratorsAskForOthers(t *testing.T) {
	w := comparisonWorld(t)
	boss := w.boss()
	helen, err := w.guard.SignIn(t.Context(), "https://idp.test", "helen", "", "")
	if err != nil {
		t.Fatal(err)
	}
	w.put(`{"resourceType":"Consent","id":"order","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2026-01-01","policy":[{"uri":"urn:x"}],
		"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`)
	nora := w.as("nora").Identity.FHIRUser
	for _, c := range []struct{ patient, as, want string }{
		{"mateo", "Practitioner/adams", "true provider pcp Patient/mateo not-restricted"},
		{"mateo", "Practitioner/chen", "true provider care-team CareTeam/mateo-team not-restricted"},
		{"mateo", base + "/fhir/Practitioner/chen", "true provider care-team CareTeam/mateo-team not-restricted"},
		{"mateo", "Practitioner/okafor", "true provider consent not-restricted"}, // what the family decided is not for administrators to read
		{"sofia", nora, "true sponsored sponsored Practitioner/adams not-restricted"},
		{"mateo", "Practitioner/baker", "false provider  "},
		{"nobody", "Practitioner/baker", "false provider  "},
		{"mateo", "RelatedPerson/grace-mateo", "true proxy proxy RelatedPerson/grace-mateo "},
		{"sofia", "RelatedPerson/grace-mateo", "true proxy proxy RelatedPerson/grace-sofia "}, // one login for both children
		{"ava", "RelatedPerson/helen-ava", "true proxy proxy RelatedPerson/helen-ava sensitive,not-restricted"},
		{"ava", helen.ID, "true proxy proxy RelatedPerson/helen-ava sensitive,not-restricted"},
		{"mateo", "RelatedPerson/luis-mateo", "false proxy  family-restriction"},
		{"lily", "RelatedPerson/nobody-lily", "true proxy proxy RelatedPerson/nobody-lily "}, // without a login
		{"ava", "Patient/ava", "true patient self Patient/ava "},
		{"mateo", "Patient/ava", "false patient  "},
		{"mateo", "Practitioner/boss", "true admin staff no-clinical"},
	} {
		r, err := w.guard.AccessFor(t.Context(), boss, c.patient, c.as)
		if err != nil {
			t.Errorf("%s as %s: %v", c.patient, c.as, err)
			continue
		}
		if got := basesOf(r); got != c.want {
			t.Errorf("%s as %s: got %q, want %q", c.patient, c.as, got, c.want)
		}
	}
	rows, _, err := w.guard.FindAudit(t.Context(), boss, consent.AuditQuery{Person: "Practitioner/boss", Patient: "Patient/mateo", Action: "access"})
	if err != nil || len(rows) == 0 {
		t.Fatalf("log: %v, %v", rows, err)
	}
	if last := rows[0]; last.Login != boss.Identity.Login || last.Detail != "Practitioner/boss" || !slices.Equal(last.Bases["Patient/mateo"], []string{"staff"}) {
		t.Errorf("log: got %+v", last)
	}
	// Families see that an administrator asked, and not about whom.
	page, err := w.guard.Search(t.Context(), w.as("grace"), "AuditEvent", map[string][]string{"patient": {"Patient/mateo"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, e := range page.Entries {
		if body := string(e.Resource.JSON); strings.Contains(body, `"access"`) && strings.Contains(body, "Practitioner/boss") {
			asked++
			if strings.Contains(body, "luis-mateo") || strings.Contains(body, "Practitioner/adams") {
				t.Errorf("grace reads %s", body)
			}
		}
	}
	if asked == 0 {
		t.Error("grace does not see that an administrator asked")
	}
}

// To everybody else the answer is one and the same, whoever is named, whoever exists.
func TestOthersMayNotAskForOthers(t *testing.T) {
	w := comparisonWorld(t)
	boss := w.boss()
	w.put(`{"resourceType":"Practitioner","id":"sam","name":[{"family":"Sam"}]}`)
	w.link("sam", smart.Staff, "Practitioner/sam")
	for _, who := range []string{"adams", "grace", "ava", "sam", "nora"} {
		var first error
		for _, patient := range []string{"mateo", "ava", "nobody"} {
			for _, as := range []string{"Practitioner/adams", "Practitioner/nobody", "RelatedPerson/luis-mateo", w.as(who).Identity.FHIRUser, w.as(who).Identity.Login, "", "x y"} {
				r, err := w.guard.AccessFor(t.Context(), w.as(who), patient, as)
				wantKind(t, err, fhir.Forbidden)
				if first == nil {
					first = err
				}
				if r != nil || !reflect.DeepEqual(err, first) {
					t.Errorf("%s asks about %s as %s: got %v, %v, and before %v", who, patient, as, r, err, first)
				}
			}
		}
		var known *fhir.Error
		if known, _ = first.(*fhir.Error); known == nil || known.Issues[0].Expression != "as" {
			t.Errorf("%s: the refusal does not name the parameter: %v", who, first)
		}
	}
	var first error
	for _, as := range []string{"Practitioner/nobody", "RelatedPerson/nobody", "Observation/mateo-weight", "Patient/", "no-such-account", "", "urn:x"} {
		_, err := w.guard.AccessFor(t.Context(), boss, "mateo", as)
		wantKind(t, err, fhir.Unprocessable)
		if first == nil {
			first = err
		}
		if !reflect.DeepEqual(err, first) {
			t.Errorf("as %q: got %v", as, err)
		}
	}
	scoped := boss
	scoped.Scopes, _ = smart.ParseScopes("patient/Patient.rs")
	scoped.Launch.Patient = "mateo"
	_, err := w.guard.AccessFor(t.Context(), scoped, "mateo", "Practitioner/adams")
	wantKind(t, err, fhir.Forbidden)
	rows, _, err := w.guard.FindAudit(t.Context(), boss, consent.AuditQuery{Person: "Practitioner/adams", Patient: "Patient/mateo", Action: "access"})
	if err != nil || len(rows) != 7 || rows[0].Outcome != "forbidden" || rows[0].Detail != "" {
		t.Errorf("log: got %d rows %+v, %v", len(rows), rows, err)
	}
}

// A source is named to those alone who may read it.
func TestAccessNamesSourcesThatMayBeRead(t *testing.T) {
	w := comparisonWorld(t)
	for _, c := range []struct{ who, scopes, patient, want string }{
		{"chen", "", "mateo", "care-team CareTeam/mateo-team"},
		{"chen", "user/Patient.rs", "mateo", "care-team"},
		{"chen", "user/Patient.rs user/CareTeam.r", "mateo", "care-team CareTeam/mateo-team"},
		{"adams", "user/Patient.rs", "mateo", "pcp Patient/mateo"},
		{"grace", "", "mateo", "proxy RelatedPerson/grace-mateo"},
		{"grace", "patient/Patient.rs", "mateo", "proxy"},
		{"grace", "patient/Patient.rs fhirUser openid", "mateo", "proxy RelatedPerson/grace-mateo"},
		{"nora", "user/Patient.rs", "mateo", "sponsored"},
		{"nora", "user/Patient.rs user/Practitioner.r", "mateo", "sponsored Practitioner/adams"},
		{"okafor", "", "mateo", "consent"}, // a consent that is no request of theirs
	} {
		caller := w.as(c.who)
		if c.scopes != "" {
			caller = w.app(c.who, c.scopes, c.patient)
		}
		r, err := w.guard.Access(t.Context(), caller, c.patient)
		if err != nil || !r.Permitted {
			t.Errorf("%s %s: %+v, %v", c.who, c.scopes, r, err)
			continue
		}
		if got := basesOf(r); !strings.HasPrefix(got, "true  "+c.want+" ") {
			t.Errorf("%s with %q: got %q, want %q", c.who, c.scopes, got, c.want)
		}
		for _, b := range r.Bases { // what is named can be read
			if b.Source == "" {
				continue
			}
			if err := w.read(caller, b.Source); err != nil {
				t.Errorf("%s with %q reads %s: %v", c.who, c.scopes, b.Source, err)
			}
		}
	}
	asked := w.ask("other", "1003", consent.AccessRequest{Reason: "x"})
	if _, err := w.guard.Approve(t.Context(), w.as("ava"), asked.Key.ID, consent.Narrowing{}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := w.guard.Access(t.Context(), w.as("other"), "ava")
	if err != nil || !slices.ContainsFunc(r.Bases, func(b consent.Basis) bool { return b.Code == consent.BasisConsent && b.Source == asked.Key.String() }) {
		t.Errorf("an approved request: %+v, %v", r, err)
	}
}
