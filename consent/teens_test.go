package consent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/smart"
)

// born gives Ava another birth date.
func (w *world) born(date string, more ...string) {
	w.t.Helper()
	w.put(`{"resourceType":"Patient","id":"ava"%s,"identifier":[{"system":%q,"value":"1003"}],"name":[{"family":"Thompson","given":["Ava"]}],"birthDate":%q,"generalPractitioner":[{"reference":"Practitioner/baker"}]}`,
		strings.Join(more, ""), mrnSystem, date)
}

// Every age begins at 00:00 of the day in the site's zone, for callers who have
// been there before; what is not known of a birth date is read so that nobody sees
// more than they may.
func TestAges(t *testing.T) {
	const closed, child, teen, adult = "closed to both", "child", "teen", "adult"
	sees := func(w *world) string {
		got := ""
		for _, what := range []struct{ who, ref string }{{"helen", "Patient/ava"}, {"helen", "Observation/ava-secret"}, {"ava", "Observation/ava-secret"}} {
			got += map[bool]string{true: "y", false: "n"}[w.read(w.as(what.who), what.ref) == nil]
		}
		return map[string]string{"yyn": child, "yny": teen, "nny": adult, "ynn": closed}[got] + strings.Repeat("?"+got, map[bool]int{true: 1}[!slices.Contains([]string{"yyn", "yny", "nny", "ynn"}, got)])
	}
	w := newWorld(t)
	for _, tt := range []struct{ born, at, before, after string }{
		{"2010-09-09", "2023-09-09T00:00:00-04:00", child, teen},
		{"2010-09-09", "2028-09-09T00:00:00-04:00", teen, adult},
		{"2010-03-14", "2023-03-14T00:00:00-04:00", child, teen}, // two days after the clocks changed
		{"2012-02-29", "2025-03-01T00:00:00-05:00", child, teen},
		{"2012-02-29", "2030-03-01T00:00:00-05:00", teen, adult},
		{"2010-09", "2023-09-01T00:00:00-04:00", child, closed},
		{"2010-09", "2023-09-30T00:00:00-04:00", closed, teen},
		{"2010-09", "2028-09-01T00:00:00-04:00", teen, adult},
		{"2010", "2023-01-01T00:00:00-05:00", child, closed},
		{"2010", "2023-12-31T00:00:00-05:00", closed, teen},
		{"2010", "2028-01-01T00:00:00-05:00", teen, adult},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.set(at.Add(-time.Hour))
		w.born(tt.born)
		w.clock.set(at.Add(-time.Second))
		if got := sees(w); got != tt.before {
			t.Errorf("born %s, a second before %s: %s, want %s", tt.born, tt.at, got, tt.before)
		}
		w.clock.set(at)
		if got := sees(w); got != tt.after {
			t.Errorf("born %s, at %s: %s, want %s", tt.born, tt.at, got, tt.after)
		}
	}
	w.site(func(p *consent.Policy) { p.TeenAge, p.AdultAge = 15, 16 })
	w.born("2010-09-09")
	w.clock.set(time.Date(2025, 9, 8, 23, 59, 59, 0, w.zone))
	if got := sees(w); got != child {
		t.Errorf("another site: %s", got)
	}
	w.clock.set(time.Date(2026, 9, 9, 0, 0, 0, 0, w.zone))
	if got := sees(w); got != adult {
		t.Errorf("another site: %s", got)
	}
}

func TestTeenApproval(t *testing.T) {
	world := func(t *testing.T, mode quorum.Mode) *world {
		w := newWorld(t)
		w.site(func(p *consent.Policy) { p.TeenApproval = mode })
		return w
	}
	t.Run("guardian", func(t *testing.T) {
		w := world(t, quorum.Guardian)
		id := w.ask("okafor", "1003", consent.AccessRequest{}).ID
		if got := w.notices("Patient/ava"); len(got) != 0 {
			t.Errorf("asked: %v", got)
		}
		wantKind(t, w.approve("ava", id), fhir.Forbidden)
		wantKind(t, w.decline("ava", id), fhir.Forbidden)
		_, err := w.guard.Invite(t.Context(), w.as("ava"), "ava", consent.Invitation{})
		wantKind(t, err, fhir.Forbidden)
		wantKind(t, w.guard.AddToCareTeam(t.Context(), w.as("ava"), "ava", fhir.Key{Type: "Practitioner", ID: "other"}, nil), fhir.Forbidden)
		deny := fmt.Sprintf(`{"resourceType":"Consent","status":"active",%s,"patient":{"reference":"Patient/ava"},"performer":[{"reference":"Patient/ava"}],"provision":{"type":"deny"}}`, privacy)
		_, _, err = w.guard.Create(t.Context(), w.as("ava"), "Consent", []byte(deny))
		wantKind(t, err, fhir.Forbidden)
		_, _, err = w.guard.Create(t.Context(), w.as("ava"), "CareTeam", []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/ava"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`))
		wantKind(t, err, fhir.Forbidden)
		w.may("ava", "Observation/ava-secret") // she still sees, and may know who looked
		if _, err := w.guard.WhoLooked(t.Context(), w.as("ava"), "ava", 10); err != nil {
			t.Error(err)
		}
		if view, err := w.guard.Request(t.Context(), w.as("ava"), id); err != nil || view.May {
			t.Errorf("%+v, %v", view, err)
		}
		if err := w.approve("helen", id); err != nil {
			t.Error(err)
		}
		w.may("okafor", "Patient/ava")
	})
	t.Run("either: what the young person says stands", func(t *testing.T) {
		w := world(t, quorum.Either)
		id := w.ask("okafor", "1003", consent.AccessRequest{}).ID
		if err := w.decline("helen", id); err != nil {
			t.Fatal(err)
		}
		w.stands(id, "proposed", "answered helen ava")
		if err := w.approve("ava", id); err != nil {
			t.Fatal(err)
		}
		w.may("okafor", "Patient/ava")
		if _, err := w.guard.Revoke(t.Context(), w.as("helen"), id, "", nil); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(time.Hour)
		if id = w.ask("okafor", "1003", consent.AccessRequest{}).ID; w.decline("ava", id) != nil {
			t.Fatal("declining")
		}
		w.stands(id, "rejected", "")
	})
	t.Run("both", func(t *testing.T) {
		w := world(t, quorum.Both)
		id := w.ask("okafor", "1003", consent.AccessRequest{Narrowing: consent.Narrowing{Label: "R"}}).ID
		r, err := w.guard.Approve(t.Context(), w.as("ava"), id, consent.Narrowing{Classes: []fhir.Type{"Patient", "Observation"}}, nil)
		if err != nil || state(t, r) != "proposed waiting" {
			t.Fatalf("%v %v", r, err)
		}
		w.mayNot("okafor", "Patient/ava")
		if r, err = w.guard.Approve(t.Context(), w.as("helen"), id, consent.Narrowing{Label: "N"}, nil); err != nil || status(t, r) != "active" {
			t.Fatalf("%v %v", r, err)
		}
		w.may("okafor", "Patient/ava", "Observation/ava-weight")
		w.mayNot("okafor", "Observation/ava-secret")
		if _, err := w.guard.Revoke(t.Context(), w.as("ava"), id, "", nil); err != nil {
			t.Fatal(err)
		}
		for _, no := range [][2]string{{"ava", "helen"}, {"helen", "ava"}} { // either says no for both
			w.clock.pass(consent.DefaultPolicy().CoolDown)
			id = w.ask("okafor", "1003", consent.AccessRequest{}).ID
			if err := errors.Join(w.approve(no[1], id), w.decline(no[0], id)); err != nil {
				t.Fatal(err)
			}
			w.stands(id, "rejected", "")
		}
		wantKind(t, w.guard.AddToCareTeam(t.Context(), w.as("helen"), "ava", fhir.Key{Type: "Practitioner", ID: "other"}, nil), fhir.Forbidden)
		made, err := w.guard.Invite(t.Context(), w.as("helen"), "ava", consent.Invitation{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.guard.Redeem(t.Context(), w.as("other"), made.Token, made.MRN, "")
		wantKind(t, err, fhir.Unprocessable)
		if err := w.approve("ava", made.Consent.ID); err != nil {
			t.Fatal(err)
		}
		if _, err = w.guard.Redeem(t.Context(), w.as("other"), made.Token, made.MRN, ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("both, one without a login", func(t *testing.T) {
		w := world(t, quorum.Both)
		if _, err := w.guard.UnlinkAccount(t.Context(), w.as("ava").Identity.Login, consent.Link{Role: smart.Patient, Person: "Patient/ava"}); err != nil {
			t.Fatal(err)
		}
		if got, err := w.search(w.as("okafor"), "Patient", "identifier=1003"); err != nil || !slices.Equal(got, []string{"outcome:no-portal-account"}) {
			t.Errorf("selection: %v, %v", got, err)
		}
		_, _, err := w.guard.RequestAccess(t.Context(), w.as("okafor"), consent.AccessRequest{Patient: "Patient/ava"})
		wantKind(t, err, fhir.Unprocessable)
	})
}

// A request that waits while the patient turns 13 or 18 is answered by whoever may
// then.
func TestRequestsOverABirthday(t *testing.T) {
	w := newWorld(t)
	w.site(func(p *consent.Policy) { p.TeenApproval = quorum.Both })
	w.clock.set(time.Date(2023, 9, 8, 23, 0, 0, 0, w.zone))
	id := w.ask("okafor", "1003", consent.AccessRequest{}).ID
	w.clock.set(time.Date(2023, 9, 8, 23, 59, 59, 0, w.zone))
	wantKind(t, w.approve("ava", id), fhir.NotFound)
	w.clock.pass(time.Second)
	if err := w.approve("helen", id); err != nil {
		t.Fatal(err)
	}
	w.stands(id, "proposed", "answered helen ava") // it needs both now
	if err := w.approve("ava", id); err != nil {
		t.Fatal(err)
	}
	w.stands(id, "active", "")

	w.clock.set(time.Date(2028, 9, 8, 23, 59, 59, 0, w.zone))
	second := w.ask("other", "1003", consent.AccessRequest{}).ID
	both := w.ask("chen", "1003", consent.AccessRequest{}).ID
	if err := errors.Join(w.approve("helen", second), w.approve("helen", both), w.approve("ava", both)); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Second)
	wantKind(t, w.approve("helen", second), fhir.NotFound)
	w.stands(second, "proposed", "waiting ava")
	if err := w.approve("ava", second); err != nil {
		t.Fatal(err)
	}
	r, err := w.guard.Read(t.Context(), w.as("ava"), fhir.Key{Type: "Consent", ID: second})
	if err != nil || strings.Contains(string(r.JSON), "helen") {
		t.Errorf("%s, %v", r.JSON, err)
	}
	w.may("other", "Patient/ava")
	w.may("chen", "Patient/ava") // what she gave with her mother is hers
}

func TestGuardianGrantsEndAtMajority(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept %t", keep), func(t *testing.T) {
			w := newWorld(t)
			w.site(func(p *consent.Policy) { p.KeepGuardianGrants = keep })
			w.clock.set(time.Date(2028, 9, 8, 20, 0, 0, 0, w.zone))
			id := w.ask("okafor", "1003", consent.AccessRequest{Narrowing: consent.Narrowing{Label: "R"}}).ID
			own := w.ask("other", "1003", consent.AccessRequest{}).ID
			if err := errors.Join(w.approve("helen", id), w.approve("ava", own)); err != nil {
				t.Fatal(err)
			}
			w.clock.set(time.Date(2028, 9, 8, 23, 59, 59, 0, w.zone))
			w.may("okafor", "Patient/ava")
			wantKind(t, w.approve("ava", id), fhir.Unprocessable) // not yet
			w.clock.pass(time.Second)
			w.may("other", "Patient/ava")
			list, err := w.guard.WhoCanSee(t.Context(), w.as("ava"), "ava")
			if err != nil {
				t.Fatal(err)
			}
			shown := slices.IndexFunc(list, func(e consent.AccessEntry) bool { return e.ConsentID == id })
			view, err := w.guard.Request(t.Context(), w.as("ava"), id)
			if err != nil {
				t.Fatal(err)
			}
			if keep {
				w.may("okafor", "Patient/ava")
				if shown < 0 || !list[shown].LeftOver || !view.LeftOver {
					t.Errorf("%+v, %+v", list, view)
				}
			} else {
				w.mayNot("okafor", "Patient/ava")
				if shown >= 0 || view.State != consent.StateEnded {
					t.Errorf("%+v, %+v", list, view)
				}
			}
			w.mayNot("okafor", "Observation/ava-secret") // what the mother could not give
			if err := w.approve("ava", id); err != nil { // she keeps it, as it stands
				t.Fatal(err)
			}
			w.may("okafor", "Patient/ava", "Observation/ava-secret")
			wantKind(t, w.approve("ava", id), fhir.Unprocessable)
			if _, err := w.guard.Revoke(t.Context(), w.as("ava"), id, "", nil); err != nil {
				t.Fatal(err)
			}
			w.mayNot("okafor", "Patient/ava")
		})
	}
}

func TestEmancipation(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"DocumentReference","id":"order","status":"current","subject":{"reference":"Patient/ava"},"content":[{"attachment":{"title":"Order"}}]}`)
	w.put(`{"resourceType":"DocumentReference","id":"foreign","status":"current","subject":{"reference":"Patient/mateo"},"content":[{"attachment":{"title":"Order"}}]}`)
	flag := func(document, date, more string) string {
		return fmt.Sprintf(`,"extension":[{"url":"%s/fhir/StructureDefinition/emancipation","extension":[{"url":"document","valueReference":{"reference":"DocumentReference/%s"}},{"url":"date","valueDate":%q}%s]}]`, base, document, date, more)
	}
	body := func(ext string) []byte {
		return fmt.Appendf(nil, `{"resourceType":"Patient","id":"ava"%s,"identifier":[{"system":%q,"value":"1003"}],"name":[{"family":"Thompson","given":["Ava"]}],"birthDate":"2010-09-09","generalPractitioner":[{"reference":"Practitioner/baker"}]}`, ext, mrnSystem)
	}
	staff := w.admin()
	staff.Identity.Role = smart.Staff
	scopes, _ := smart.ParseScopes("system/*.cruds")
	system := consent.Caller{Grant: smart.Grant{ClientID: "ehr", Identity: smart.Identity{Role: smart.System}, Scopes: scopes}}
	put := func(c consent.Caller, ext string) error {
		_, _, err := w.guard.Update(t.Context(), c, fhir.Key{Type: "Patient", ID: "ava"}, body(ext), nil)
		return err
	}
	today := w.clock.Now().Format(time.DateOnly)
	wantKind(t, put(system, flag("order", today, "")), fhir.Forbidden)
	wantKind(t, put(w.as("helen"), flag("order", today, "")), fhir.Forbidden)
	wantKind(t, put(staff, flag("foreign", today, "")), fhir.Unprocessable)
	wantKind(t, put(staff, flag("nothing", today, "")), fhir.Unprocessable)
	wantKind(t, put(staff, flag("order", "2026", "")), fhir.Unprocessable)
	wantKind(t, put(staff, strings.Replace(flag("order", today, ""), "DocumentReference/", "Observation/", 1)), fhir.Unprocessable)

	id := w.ask("okafor", "1003", consent.AccessRequest{}).ID
	if err := w.approve("helen", id); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/ava")
	tomorrow := w.clock.Now().AddDate(0, 0, 1)
	if err := put(staff, flag("order", tomorrow.Format(time.DateOnly), "")); err != nil {
		t.Fatal(err)
	}
	w.clock.set(time.Date(tomorrow.Year(), tomorrow.Month(), tomorrow.Day(), 0, 0, 0, 0, w.zone).Add(-time.Second))
	w.may("helen", "Patient/ava")
	w.clock.pass(time.Second)
	w.mayNot("helen", "Patient/ava")
	w.mayNot("okafor", "Patient/ava")
	w.may("ava", "Patient/ava")
	second := w.ask("other", "1003", consent.AccessRequest{}).ID
	if err := w.approve("ava", second); err != nil {
		t.Fatal(err)
	}
	// Nobody drops it who does not know of it, and only an administrator takes it back.
	wantKind(t, put(system, ""), fhir.Unprocessable)
	wantKind(t, put(staff, ""), fhir.Unprocessable)
	if err := put(system, flag("order", tomorrow.Format(time.DateOnly), "")); err != nil { // who knows of it keeps it
		t.Error(err)
	}
	withdrawn := flag("order", tomorrow.Format(time.DateOnly), `,{"url":"withdrawn","valueBoolean":true}`)
	wantKind(t, put(staff, withdrawn), fhir.Forbidden)
	w.mayNot("helen", "Patient/ava")
	if err := put(w.admin(), withdrawn); err != nil {
		t.Fatal(err)
	}
	w.may("helen", "Patient/ava")
	p, err := w.eng.Prepare(body(""))
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.load(p), fhir.Unprocessable)
}

// What is between a teenager and a provider is nowhere to be seen by the parent.
func TestConfidentialRequests(t *testing.T) {
	w := newWorld(t)
	helen := w.as("helen")
	see := func() string {
		t.Helper()
		var all []string
		for _, kind := range []fhir.Type{"Consent", "Provenance", "Communication", "CareTeam", "Observation"} {
			page, err := w.guard.Search(t.Context(), helen, kind, map[string][]string{"patient": {"ava"}, "_total": {"accurate"}}, true)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				all = append(all, string(e.Resource.JSON))
			}
			if page.Total != nil {
				all = append(all, fmt.Sprint(kind, *page.Total))
			}
		}
		waiting, err1 := w.guard.WaitingRequests(t.Context(), helen, "ava")
		invitations, err2 := w.guard.Invitations(t.Context(), helen, "ava")
		access, err3 := w.guard.WhoCanSee(t.Context(), helen, "ava")
		looks, err4 := w.guard.WhoLooked(t.Context(), helen, "ava", 1000)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		looks = slices.DeleteFunc(looks, func(l consent.Look) bool { return strings.HasPrefix(l.Person, "helen") })
		b, err := json.Marshal([]any{all, waiting, invitations, access, looks, w.notices("RelatedPerson/helen-ava")})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := see()
	if sel, err := w.guard.Select(t.Context(), w.as("okafor"), consent.Selection{MRN: "1003"}); err != nil || len(sel.Outcomes) != 1 {
		t.Fatal(sel, err)
	}
	w.mayNot("okafor", "Patient/ava", "Observation/ava-weight")
	r, created, err := w.guard.RequestAccess(t.Context(), w.as("okafor"), consent.AccessRequest{Patient: "Patient/ava", Confidential: true, Reason: "after your visit"})
	if err != nil || !created {
		t.Fatal(err)
	}
	if got := w.notices("Patient/ava"); len(got) != 1 {
		t.Errorf("notices: %v", got)
	}
	wantKind(t, w.approve("helen", r.ID), fhir.NotFound)
	if got := see(); got != before {
		t.Errorf("asked:\n%s\nwas\n%s", got, before)
	}
	if err := w.approve("ava", r.ID); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Observation/ava-weight", "Patient/ava")
	made, err := w.guard.Invite(t.Context(), w.as("ava"), "ava", consent.Invitation{Email: "other@example.org", Confidential: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Redeem(t.Context(), w.as("other"), made.Token, made.MRN, ""); err != nil {
		t.Fatal(err)
	}
	w.may("other", "Observation/ava-weight")
	w.may("ava", "Observation/ava-weight", "Observation/ava-secret")
	if _, err := w.guard.Revoke(t.Context(), w.as("ava"), r.ID, "", nil); err != nil {
		t.Fatal(err)
	}
	if got := see(); got != before {
		t.Errorf("approved, looked, invited, revoked:\n%s\nwas\n%s", got, before)
	}
	// Ava sees it all.
	looks, err := w.guard.WhoLooked(t.Context(), w.as("ava"), "ava", 1000)
	if err != nil || !slices.ContainsFunc(looks, func(l consent.Look) bool { return l.Person == "Dr Okafor" && l.What == "Observation" }) {
		t.Errorf("%+v, %v", looks, err)
	}
	// By a Consent that is posted it is the same.
	w.clock.pass(time.Hour)
	posted := fmt.Sprintf(`{"resourceType":"Consent","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]},"status":"proposed",%s,"patient":{"reference":"Patient/ava"},"provision":{"type":"permit","actor":[{%s,"reference":{"reference":"Practitioner/okafor"}}]}}`, privacy, role)
	if _, _, err = w.guard.Create(t.Context(), w.as("okafor"), "Consent", []byte(posted)); err != nil {
		t.Fatal(err)
	}
	if got := see(); got != before {
		t.Errorf("posted:\n%s\nwas\n%s", got, before)
	}
	// There is no such thing about a child, nor where guardians have a part.
	_, _, err = w.guard.RequestAccess(t.Context(), w.as("okafor"), consent.AccessRequest{Patient: "Patient/mateo", Confidential: true})
	wantKind(t, err, fhir.Unprocessable)
	_, err = w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{Confidential: true})
	wantKind(t, err, fhir.Unprocessable)
	w.site(func(p *consent.Policy) { p.TeenApproval = quorum.Both })
	_, _, err = w.guard.RequestAccess(t.Context(), w.as("other"), consent.AccessRequest{Patient: "Patient/ava", Confidential: true})
	wantKind(t, err, fhir.Unprocessable)
}
