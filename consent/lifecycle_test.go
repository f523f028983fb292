package consent_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

func TestRequestApproveRevoke(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1001", consent.AccessRequest{Reason: "second opinion"})
	if got := status(t, r); got != "proposed" {
		t.Fatalf("status %q", got)
	}
	w.mayNot("okafor", "Patient/mateo")
	if got, _ := w.search(w.as("okafor"), "Patient", "identifier=1001"); !slices.Equal(got, []string{"outcome:request-pending"}) {
		t.Errorf("selection after the request: %v", got)
	}
	for _, guardian := range []string{"RelatedPerson/grace-mateo", "RelatedPerson/luis-mateo"} {
		if got := w.notices(guardian); len(got) != 1 {
			t.Errorf("notices to %s: %v", guardian, got)
		}
	}
	waiting, err := w.guard.WaitingRequests(t.Context(), w.as("grace"), "mateo")
	if err != nil || len(waiting) != 1 || waiting[0].Reason != "second opinion" || waiting[0].Provider.Name != "Dr Okafor" {
		t.Fatalf("waiting: %+v, %v", waiting, err)
	}
	if _, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{}, nil); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo", "Observation/mateo-weight")
	if got := w.notices("Practitioner/okafor"); !slices.Equal(got, []string{"Your request was approved"}) {
		t.Errorf("notices: %v", got)
	}
	if _, err := w.guard.Revoke(t.Context(), w.as("luis"), r.ID, "", nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("okafor", "Patient/mateo", "Observation/mateo-weight")
	requests, err := w.guard.MyRequests(t.Context(), w.as("okafor"))
	if err != nil || len(requests) != 1 || requests[0].State != consent.StateStopped {
		t.Errorf("my requests: %+v, %v", requests, err)
	}
}

func TestOnlyOneRequestIsOpen(t *testing.T) {
	w := newWorld(t)
	first := w.ask("okafor", "1001", consent.AccessRequest{})
	again, created, err := w.guard.RequestAccess(t.Context(), w.as("okafor"), consent.AccessRequest{Patient: "Patient/mateo"})
	if err != nil || created || again.ID != first.ID {
		t.Errorf("got %v created %v %v, want the first again", again, created, err)
	}
}

func TestWhoMayAnswer(t *testing.T) {
	w := newWorld(t)
	w.link("okafor", smart.Proxy, "RelatedPerson/grace-mateo") // the requester is also a guardian
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	approve := func(c consent.Caller) error {
		_, err := w.guard.Approve(t.Context(), c, r.ID, consent.Narrowing{}, nil)
		return err
	}
	wantKind(t, approve(w.as("okafor")), fhir.Forbidden)
	asGuardian := w.as("okafor")
	asGuardian.Identity.Role, asGuardian.Identity.FHIRUser, asGuardian.Identity.Persons = smart.Proxy, "RelatedPerson/grace-mateo", nil
	wantKind(t, approve(asGuardian), fhir.Forbidden)
	wantKind(t, approve(w.as("helen")), fhir.NotFound) // a guardian of another child
	wantKind(t, approve(w.as("chen")), fhir.NotFound)
	wantKind(t, approve(w.as("adams")), fhir.NotFound)
	staff := w.as("adams")
	staff.Identity.Role = smart.Staff
	wantKind(t, approve(staff), fhir.Forbidden)
	_, err := w.guard.Withdraw(t.Context(), w.as("grace"), r.ID, "", nil)
	wantKind(t, err, fhir.Forbidden)
	if err := approve(w.as("luis")); err != nil { // a second guardian
		t.Error(err)
	}
}

func TestTeenagersAndAdultsAnswer(t *testing.T) {
	w := newWorld(t)
	teen := w.ask("okafor", "1003", consent.AccessRequest{})
	if _, err := w.guard.Approve(t.Context(), w.as("ava"), teen.ID, consent.Narrowing{}, nil); err != nil {
		t.Error(err)
	}
	adult := w.ask("okafor", "1004", consent.AccessRequest{})
	_, err := w.guard.Approve(t.Context(), w.as("mark"), adult.ID, consent.Narrowing{}, nil)
	wantKind(t, err, fhir.NotFound)
	if _, err := w.guard.Approve(t.Context(), w.as("noah"), adult.ID, consent.Narrowing{}, nil); err != nil {
		t.Error(err)
	}
	_, _, err = w.guard.RequestAccess(t.Context(), w.as("okafor"), consent.AccessRequest{Patient: "Patient/lily"})
	wantKind(t, err, fhir.Unprocessable)
}

func TestNarrowing(t *testing.T) {
	w := newWorld(t)
	until := w.clock.Now().AddDate(0, 3, 0)
	asked := consent.Narrowing{Until: until, Classes: []fhir.Type{"Patient", "Observation", "Condition"}, Label: "R"}
	r := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: asked})
	for name, n := range map[string]consent.Narrowing{
		"longer":         {Until: until.AddDate(0, 0, 1)},
		"more types":     {Classes: []fhir.Type{"Patient", "Immunization"}},
		"higher ceiling": {Label: "V"},
	} {
		if _, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, n, nil); fhir.KindOf(err) != fhir.Unprocessable {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if _, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{Until: w.clock.Now().AddDate(0, 1, 0), Classes: []fhir.Type{"Patient"}}, nil); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo")
	w.mayNot("okafor", "Observation/mateo-weight")
	w.clock.set(until.AddDate(0, -2, 0).Add(-time.Second))
	w.may("okafor", "Patient/mateo")
	w.clock.pass(time.Second)
	w.mayNot("okafor", "Patient/mateo")
}

func TestForbiddenTransitions(t *testing.T) {
	w := newWorld(t)
	grace, okafor := w.as("grace"), w.as("okafor")
	r := w.ask("okafor", "1002", consent.AccessRequest{})
	if _, err := w.guard.Decline(t.Context(), grace, r.ID, "not now", nil); err != nil {
		t.Fatal(err)
	}
	_, err := w.guard.Approve(t.Context(), grace, r.ID, consent.Narrowing{}, nil)
	wantKind(t, err, fhir.Unprocessable)
	_, err = w.guard.Withdraw(t.Context(), okafor, r.ID, "", nil)
	wantKind(t, err, fhir.Unprocessable)
	wantKind(t, w.guard.Delete(t.Context(), grace, r.Key, nil), fhir.Unprocessable)

	w.clock.pass(consent.DefaultPolicy().CoolDown)
	second := w.ask("okafor", "1002", consent.AccessRequest{})
	edit := func(c consent.Caller, change func(map[string]any)) error {
		var body map[string]any
		if err := json.Unmarshal(second.JSON, &body); err != nil {
			t.Fatal(err)
		}
		change(body)
		b, _ := json.Marshal(body)
		_, _, err := w.guard.Update(t.Context(), c, second.Key, b, nil)
		return err
	}
	activate := func(b map[string]any) { b["status"] = "active" }
	wantKind(t, edit(okafor, activate), fhir.Forbidden)
	wantKind(t, edit(w.as("helen"), activate), fhir.NotFound)
	wantKind(t, edit(grace, func(b map[string]any) { activate(b); b["patient"] = map[string]any{"reference": "Patient/mateo"} }), fhir.Unprocessable)
	wantKind(t, edit(grace, func(b map[string]any) {
		activate(b)
		b["provision"].(map[string]any)["actor"].([]any)[0].(map[string]any)["reference"] = map[string]any{"reference": "Practitioner/other"}
	}), fhir.Unprocessable)
	wantKind(t, edit(grace, func(b map[string]any) { activate(b); delete(b["provision"].(map[string]any), "period") }), fhir.Unprocessable)
	wantKind(t, edit(grace, func(b map[string]any) { b["status"] = "draft" }), fhir.Unprocessable)
	w.mayNot("okafor", "Patient/sofia")
	w.clock.pass(time.Second)
	if err := edit(grace, activate); err != nil { // a PUT means what $approve means
		t.Error(err)
	}
	w.may("okafor", "Patient/sofia")
	if got := w.notices("Practitioner/okafor"); !slices.Equal(got, []string{"Your request was declined", "Your request was approved"}) {
		t.Errorf("notices: %v", got)
	}
}

func TestStateMachineHoldsForLoading(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1002", consent.AccessRequest{})
	if _, err := w.guard.Decline(t.Context(), w.as("grace"), r.ID, "", nil); err != nil {
		t.Fatal(err)
	}
	p, err := w.eng.Prepare([]byte(strings.Replace(string(r.JSON), `"proposed"`, `"active"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.load(p), fhir.Unprocessable)
	w.mayNot("okafor", "Patient/sofia")
}

func TestConcurrentAnswers(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1002", consent.AccessRequest{})
	w.link("luis", smart.Proxy, "RelatedPerson/grace-sofia") // another login of the one guardian
	callers := []consent.Caller{w.as("grace"), w.as("luis")}
	callers[1].Identity.FHIRUser = "RelatedPerson/grace-sofia"
	var wg sync.WaitGroup
	results := make([]error, 16)
	for i := range results {
		wg.Go(func() {
			c := callers[i%2]
			if i%4 < 2 {
				_, results[i] = w.guard.Approve(t.Context(), c, r.ID, consent.Narrowing{}, nil)
			} else {
				_, results[i] = w.guard.Decline(t.Context(), c, r.ID, "", nil)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch kind := fhir.KindOf(err); {
		case err == nil:
			won++
		case kind != fhir.Conflict && kind != fhir.Unprocessable: // raced, or came after the answer
			t.Errorf("got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d answers won, want 1", won)
	}
	if got := w.notices("Practitioner/okafor"); len(got) != 1 {
		t.Errorf("notices: %v", got)
	}
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	stale := int64(7)
	_, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{}, &stale)
	wantKind(t, err, fhir.Precondition)
	if _, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{}, &r.Version); err != nil {
		t.Error(err)
	}
}

func TestWithdrawAndLapse(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	if _, err := w.guard.Withdraw(t.Context(), w.as("okafor"), r.ID, "", nil); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Second)
	second := w.ask("okafor", "1001", consent.AccessRequest{})
	w.clock.pass(consent.DefaultPolicy().AnswerBy - time.Second)
	if n, err := w.guard.Lapse(t.Context()); n != 0 || err != nil {
		t.Errorf("lapsed %d, %v; want none yet", n, err)
	}
	w.clock.pass(time.Second)
	_, err := w.guard.Approve(t.Context(), w.as("grace"), second.ID, consent.Narrowing{}, nil)
	wantKind(t, err, fhir.Unprocessable)
	if n, err := w.guard.Lapse(t.Context()); n != 1 || err != nil {
		t.Errorf("lapsed %d, %v; want 1", n, err)
	}
	requests, err := w.guard.MyRequests(t.Context(), w.as("okafor"))
	if err != nil || len(requests) != 2 || requests[0].State != consent.StateLapsed || requests[1].State != consent.StateWithdrawn {
		t.Errorf("my requests: %+v, %v", requests, err)
	}
}

func TestInvitation(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	redeem := func(who, token, mrn string) error {
		_, err := w.guard.Redeem(t.Context(), w.as(who), token, mrn, "")
		return err
	}
	wrong := redeem("okafor", "AAAAA-AAAAA-AAAAA-AAAAA", "1001")
	for name, err := range map[string]error{"wrong MRN": redeem("okafor", inv.Token, "1002"), "wrong token": wrong} {
		wantKind(t, err, fhir.Unprocessable)
		if err != nil && err.Error() != wrong.Error() {
			t.Errorf("%s: says %q, want the one answer %q", name, err, wrong)
		}
	}
	wantKind(t, redeem("grace", inv.Token, "1001"), fhir.Forbidden)
	if err := redeem("okafor", strings.ToLower(strings.ReplaceAll(inv.Token, "-", " ")), " 1001 "); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo", "Observation/mateo-weight")
	used := redeem("other", inv.Token, "1001")
	if used == nil || used.Error() != wrong.Error() {
		t.Errorf("used token: got %v, want %v", used, wrong)
	}
	w.mayNot("other", "Patient/mateo")
	list, err := w.guard.Invitations(t.Context(), w.as("luis"), "mateo")
	if err != nil || len(list) != 1 || list[0].State != "used" || list[0].UsedBy.Name != "Dr Okafor" {
		t.Errorf("invitations: %+v, %v", list, err)
	}
	if got := w.notices("RelatedPerson/luis-mateo"); len(got) != 2 {
		t.Errorf("notices: %v", got)
	}
	if _, err := w.guard.Revoke(t.Context(), w.as("grace"), list[0].ID, "", nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("okafor", "Patient/mateo")
	if list, err = w.guard.Invitations(t.Context(), w.as("luis"), "mateo"); err != nil || len(list) != 1 || list[0].State != "ended" {
		t.Errorf("invitations: %+v, %v", list, err)
	}
}

func TestInvitationExpiresAfterSixCalendarMonths(t *testing.T) {
	for _, tt := range []struct{ name, issued, expires string }{
		{"plain", "2026-03-10T15:00", "2026-09-10T15:00"},
		{"clamped to February", "2025-08-31T10:30", "2026-02-28T10:30"},
		{"clamped to a leap day", "2027-08-31T10:30", "2028-02-29T10:30"},
		{"over daylight saving", "2026-01-15T23:30", "2026-07-15T23:30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			at := func(s string) time.Time {
				v, err := time.ParseInLocation("2006-01-02T15:04", s, w.zone)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			w.clock.set(at(tt.issued))
			inv := [2]*consent.Invited{}
			for i := range inv {
				var err error
				if inv[i], err = w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{}); err != nil {
					t.Fatal(err)
				}
			}
			if !inv[0].Expires.Equal(at(tt.expires)) {
				t.Errorf("expires %v, want %v", inv[0].Expires, at(tt.expires))
			}
			w.clock.set(at(tt.expires).Add(-time.Minute))
			if _, err := w.guard.Redeem(t.Context(), w.as("okafor"), inv[0].Token, "1001", ""); err != nil {
				t.Errorf("a minute before: %v", err)
			}
			w.clock.set(at(tt.expires).Add(time.Minute))
			_, err := w.guard.Redeem(t.Context(), w.as("other"), inv[1].Token, "1001", "")
			wantKind(t, err, fhir.Unprocessable)
		})
	}
}

func TestExactlyOneRedeems(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	callers := []consent.Caller{w.as("okafor"), w.as("other")}
	results := make([]error, 16)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { _, results[i] = w.guard.Redeem(t.Context(), callers[i%2], inv.Token, "1001", "") })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d redeemed, want 1: %v", won, results)
	}
}

func TestAddressedInvitation(t *testing.T) {
	w := newWorld(t)
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{Email: "Okafor@example.org", Narrowing: consent.Narrowing{Classes: []fhir.Type{"Patient"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.guard.Redeem(t.Context(), w.as("other"), inv.Token, "1001", "")
	wantKind(t, err, fhir.Unprocessable)
	if _, err := w.guard.Redeem(t.Context(), w.as("okafor"), inv.Token, "1001", ""); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/mateo")
	w.mayNot("okafor", "Observation/mateo-weight")
}

func TestAttemptsAtTokensAreLimited(t *testing.T) {
	w := newWorld(t)
	for range consent.DefaultPolicy().RedemptionsPerHour {
		_, err := w.guard.Redeem(t.Context(), w.as("okafor"), "WRONG", "1001", "")
		wantKind(t, err, fhir.Unprocessable)
	}
	_, err := w.guard.Redeem(t.Context(), w.as("okafor"), "WRONG", "1001", "")
	wantKind(t, err, fhir.Throttled)
}

func TestCareTeamEdits(t *testing.T) {
	w := newWorld(t)
	okafor := fhir.Key{Type: "Practitioner", ID: "okafor"}
	if err := w.guard.AddToCareTeam(t.Context(), w.as("grace"), "sofia", okafor, nil); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/sofia")
	if err := w.guard.RemoveFromCareTeam(t.Context(), w.as("grace"), "sofia", okafor, nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("okafor", "Patient/sofia")
	wantKind(t, w.guard.AddToCareTeam(t.Context(), w.as("luis"), "sofia", okafor, nil), fhir.NotFound)
	wantKind(t, w.guard.AddToCareTeam(t.Context(), w.as("adams"), "mateo", okafor, nil), fhir.Forbidden)

	staff := w.as("adams")
	staff.Identity.Role = smart.Staff
	wantKind(t, w.guard.AddToCareTeam(t.Context(), staff, "sofia", okafor, nil), fhir.Unprocessable)
	word := &consent.CallersWord{Caller: "the mother", Check: "call-back", Asked: "add Dr Okafor"}
	if err := w.guard.AddToCareTeam(t.Context(), staff, "sofia", okafor, word); err != nil {
		t.Fatal(err)
	}
	w.may("okafor", "Patient/sofia")
	if err := w.guard.RemoveFromCareTeam(t.Context(), w.as("grace"), "mateo", fhir.Key{Type: "Practitioner", ID: "chen"}, nil); err != nil {
		t.Fatal(err)
	}
	w.mayNot("chen", "Patient/mateo")
}

func TestOptOutOverridesThePCP(t *testing.T) {
	w := newWorld(t)
	deny := func(actor string) string {
		return `{"resourceType":"Consent","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"policy":[{"uri":"http://example.org/opt-out"}],"provision":{"type":"deny"` + actor + `}}`
	}
	r, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", []byte(deny(`,"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/adams"}}]`)))
	if err != nil {
		t.Fatal(err)
	}
	w.mayNot("adams", "Patient/mateo", "Observation/mateo-weight")
	w.may("adams", "Patient/sofia")
	w.may("chen", "Patient/mateo")
	w.mayNot("adams", r.Key.String())
	_, _, err = w.guard.Create(t.Context(), w.as("helen"), "Consent", []byte(deny("")))
	wantKind(t, err, fhir.Forbidden)
	if _, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", []byte(deny(""))); err != nil {
		t.Fatal(err)
	}
	w.mayNot("chen", "Patient/mateo") // for everyone, but the family themselves
	w.may("grace", "Patient/mateo")
	w.may("luis", "Patient/mateo")
}

func TestCourtOrder(t *testing.T) {
	w := newWorld(t)
	order := `{"resourceType":"Consent","id":"order","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],"policy":[{"uri":"http://example.org/court-order"}],"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`
	_, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", []byte(order))
	wantKind(t, err, fhir.Forbidden) // one guardian cannot lock the other out
	admin := w.as("baker")
	admin.Identity.Role = smart.Admin
	r, _, err := w.guard.Create(t.Context(), admin, "Consent", []byte(order))
	if err != nil {
		t.Fatal(err)
	}
	w.mayNot("luis", "Patient/mateo", r.Key.String())
	w.may("grace", "Patient/mateo", r.Key.String())
	request := w.ask("okafor", "1001", consent.AccessRequest{})
	if got := w.notices("RelatedPerson/luis-mateo"); len(got) != 0 {
		t.Errorf("notices to the barred guardian: %v", got)
	}
	_, err = w.guard.Approve(t.Context(), w.as("luis"), request.ID, consent.Narrowing{}, nil)
	wantKind(t, err, fhir.NotFound)
	wantKind(t, w.guard.Delete(t.Context(), w.as("luis"), r.Key, nil), fhir.NotFound)
	wantKind(t, w.guard.Delete(t.Context(), w.as("grace"), r.Key, nil), fhir.Forbidden)
	if _, _, err := w.guard.Update(t.Context(), admin, r.Key, []byte(strings.Replace(string(r.JSON), `"active"`, `"inactive"`, 1)), nil); err != nil {
		t.Error(err)
	}
	w.may("luis", "Patient/mateo")
}

func TestGuardiansGrantsEndAtMajority(t *testing.T) {
	w := newWorld(t)
	until := w.clock.Now().AddDate(4, 0, 0)
	byGuardian := w.ask("okafor", "1003", consent.AccessRequest{Narrowing: consent.Narrowing{Until: until}})
	if _, err := w.guard.Approve(t.Context(), w.as("helen"), byGuardian.ID, consent.Narrowing{}, nil); err != nil {
		t.Fatal(err)
	}
	byTeen := w.ask("other", "1003", consent.AccessRequest{Narrowing: consent.Narrowing{Until: until}})
	if _, err := w.guard.Approve(t.Context(), w.as("ava"), byTeen.ID, consent.Narrowing{}, nil); err != nil {
		t.Fatal(err)
	}
	w.clock.set(time.Date(2028, 9, 8, 23, 59, 59, 0, w.zone))
	w.may("okafor", "Patient/ava")
	w.clock.pass(time.Second)
	w.mayNot("okafor", "Patient/ava")
	w.may("other", "Patient/ava")
}

func TestAuditIsReadableByTheFamily(t *testing.T) {
	w := newWorld(t)
	w.may("adams", "Observation/mateo-weight")
	w.clock.pass(time.Second)
	w.mayNot("okafor", "Patient/mateo")
	w.may("baker", "Observation/ava-secret", "Observation/ava-weight")
	looks, err := w.guard.WhoLooked(t.Context(), w.as("grace"), "mateo", 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(looks) != 2 || looks[0].Outcome == "" || looks[len(looks)-1].Person != "Dr Adams" || !slices.Contains(looks[len(looks)-1].Why, consent.BasisPCP) || looks[len(looks)-1].What != "Observation" {
		t.Errorf("who looked: %+v", looks)
	}
	_, err = w.guard.WhoLooked(t.Context(), w.as("adams"), "mateo", 10)
	wantKind(t, err, fhir.Forbidden)
	count := func(who string) (n int) {
		looks, err := w.guard.WhoLooked(t.Context(), w.as(who), "ava", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range looks {
			if l.Person == "Dr Baker" {
				n++
			}
		}
		return n
	}
	if teen, guardian := count("ava"), count("helen"); teen != 2 || guardian != 1 {
		t.Errorf("rows about Dr Baker: the teenager sees %d, the guardian %d; want 2 and 1", teen, guardian)
	}
	got, err := w.search(w.as("grace"), "AuditEvent", "patient=mateo&_count=1")
	if err != nil || len(got) != 1 {
		t.Fatalf("AuditEvent: %v, %v", got, err)
	}
	if err := w.read(w.as("grace"), "AuditEvent/"+got[0]); err != nil {
		t.Error(err)
	}
	wantKind(t, w.read(w.as("helen"), "AuditEvent/"+got[0]), fhir.NotFound)
}

func TestAccessReport(t *testing.T) {
	w := newWorld(t)
	r, err := w.guard.Access(t.Context(), w.as("adams"), "mateo")
	if err != nil || !r.Permitted || len(r.Bases) != 1 || r.Bases[0].Code != consent.BasisPCP {
		t.Errorf("PCP: %+v, %v", r, err)
	}
	hidden, err1 := w.guard.Access(t.Context(), w.as("okafor"), "mateo")
	absent, err2 := w.guard.Access(t.Context(), w.as("okafor"), "nobody")
	if err1 != nil || err2 != nil || hidden.Permitted || !slices.Equal(hidden.Next, absent.Next) {
		t.Errorf("hidden %+v %v, absent %+v %v", hidden, err1, absent, err2)
	}
}

func TestRegistration(t *testing.T) {
	w := newWorld(t)
	a, err := w.guard.SignIn(t.Context(), "https://idp.test", "new", "New", "new@example.org")
	if err != nil || len(a.Links) != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	good := consent.Registration{Given: "Nora", Family: "New", NPI: "1993999998", Email: "new@example.org", Specialty: "Cardiology"}
	bad := good
	bad.NPI = "1993999999"
	_, err = w.guard.Register(t.Context(), a.ID, bad)
	wantKind(t, err, fhir.Unprocessable)
	taken := good
	taken.NPI = "1234567893"
	_, err = w.guard.Register(t.Context(), a.ID, taken)
	wantKind(t, err, fhir.Unprocessable)
	if a, err = w.guard.Register(t.Context(), a.ID, good); err != nil || len(a.Links) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.may("new", a.Links[0].Person)
	w.ask("new", "1001", consent.AccessRequest{})
}
