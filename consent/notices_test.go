package consent_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

const day = 24 * time.Hour

// mails gives the kinds of the notices to a person that are to be mailed, in the
// order of their codes.
func (w *world) mails(recipient string) []string {
	w.t.Helper()
	var kinds []string
	q, err := w.eng.Registry().Parse("Communication", url.Values{"recipient": {recipient}, "status": {"preparation"}}, search.Options{Base: base + "/fhir"})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		kinds = nil
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			var c struct {
				Category []struct {
					Coding []struct{ System, Code string }
				}
			}
			if err := json.Unmarshal(e.Resource.JSON, &c); err != nil {
				return err
			}
			for _, category := range c.Category {
				if coding := category.Coding[0]; coding.System == base+"/fhir/CodeSystem/notice" {
					kinds = append(kinds, coding.Code)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(kinds)
	return kinds
}

func (w *world) wantMails(recipient string, want ...string) {
	w.t.Helper()
	if got := w.mails(recipient); !slices.Equal(got, want) {
		w.t.Errorf("mails to %s: got %v, want %v", recipient, got, want)
	}
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) answer(who, id string, approve bool) {
	w.t.Helper()
	var err error
	if approve {
		_, err = w.guard.Approve(w.t.Context(), w.as(who), id, consent.Narrowing{}, nil)
	} else {
		_, err = w.guard.Decline(w.t.Context(), w.as(who), id, "", nil)
	}
	w.do(err)
}

const (
	grace, luis, ava, helen, okafor = "RelatedPerson/grace-mateo", "RelatedPerson/luis-mateo", "Patient/ava", "RelatedPerson/helen-ava", "Practitioner/okafor"
)

func TestWhoHearsOfWhat(t *testing.T) {
	w := newWorld(t)
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	w.wantMails(grace, "request")
	w.wantMails(luis, "request")
	w.answer("grace", r.ID, true)
	w.wantMails(okafor, "approved")
	_, err := w.guard.Revoke(t.Context(), w.as("luis"), r.ID, "", nil)
	w.do(err)
	w.wantMails(okafor, "approved", "revoked")
	w.clock.pass(time.Second)
	r = w.ask("okafor", "1001", consent.AccessRequest{})
	w.answer("luis", r.ID, false)
	w.wantMails(okafor, "approved", "revoked") // it is not decided
	w.wantMails(grace, "request", "request", "request")
	w.answer("grace", r.ID, false)
	w.wantMails(okafor, "approved", "declined", "revoked")
	inv, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	w.do(err)
	_, err = w.guard.Redeem(t.Context(), w.as("okafor"), inv.Token, "1001", "")
	w.do(err)
	w.wantMails(luis, "invited", "redeemed", "request", "request")
	w.wantMails(grace, "invited", "redeemed", "request", "request", "request")
	w.wantMails("RelatedPerson/grace-sofia")
}

// A teenager's guardian hears nothing of what the teenager keeps to themself, in a
// mail or in the record; who is barred by a court order hears of nothing.
func TestNoticesBetrayNothing(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Consent","id":"order","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:court"}],
		"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/luis-mateo"}}]}}`)
	w.ask("okafor", "1001", consent.AccessRequest{})
	w.wantMails(grace, "request")
	w.wantMails(luis)

	plain := w.ask("okafor", "1003", consent.AccessRequest{})
	w.wantMails(ava, "request")
	w.wantMails(helen, "request")
	// A clinic's import labels the request as the teenager's own matter: the reminder
	// goes to the teenager alone.
	var body map[string]any
	w.do(json.Unmarshal(plain.JSON, &body))
	body["meta"].(map[string]any)["security"] = []any{map[string]any{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}}
	text, err := json.Marshal(body)
	w.do(err)
	w.put("%s", text)
	w.clock.pass(consent.DefaultPolicy().AnswerBy - consent.DefaultPolicy().RemindBefore)
	w.do(w.guard.Remind(t.Context()))
	w.wantMails(ava, "reminder", "request")
	w.wantMails(helen, "request")

	ids, err := w.search(w.as("helen"), "Communication", "")
	if err != nil || len(ids) != 1 {
		t.Errorf("the guardian finds %v, %v; want her own notice alone", ids, err)
	}
}

func TestPreferences(t *testing.T) {
	w := newWorld(t)
	list, err := w.guard.NoticePreferences(t.Context(), w.as("grace"))
	w.do(err)
	if slices.ContainsFunc(list, func(p consent.NoticePreference) bool {
		return !p.Mail || p.Fixed != (p.Kind == consent.NoticeBreakGlass || p.Kind == consent.NoticeLinked)
	}) || len(list) != 9 {
		t.Errorf("at first: %+v", list)
	}
	wantKind(t, w.guard.SetNoticePreferences(t.Context(), w.as("grace"), []consent.NoticeKind{consent.NoticeBreakGlass}), fhir.Unprocessable)
	wantKind(t, w.guard.SetNoticePreferences(t.Context(), w.as("grace"), []consent.NoticeKind{consent.NoticeApproved}), fhir.Unprocessable)
	wantKind(t, w.guard.SetNoticePreferences(t.Context(), w.app("grace", "user/*.cruds", ""), nil), fhir.Forbidden)
	staff := w.as("adams")
	staff.Identity.Role = "staff"
	wantKind(t, w.guard.SetNoticePreferences(t.Context(), staff, nil), fhir.Forbidden)

	w.do(w.guard.SetNoticePreferences(t.Context(), w.as("grace"), []consent.NoticeKind{consent.NoticeRequest}))
	w.do(w.guard.SetNoticePreferences(t.Context(), w.as("okafor"), []consent.NoticeKind{consent.NoticeApproved}))
	r := w.ask("okafor", "1001", consent.AccessRequest{})
	w.wantMails(grace)
	w.wantMails(luis, "request")
	if got := w.notices(grace); len(got) != 1 {
		t.Errorf("in her record: %v", got)
	}
	w.answer("grace", r.ID, true)
	w.wantMails(okafor)

	w.link("aunt", "proxy", grace) // another login for the same person, who wants mails
	w.clock.pass(time.Second)
	w.ask("other", "1001", consent.AccessRequest{})
	w.wantMails(grace, "request")
	w.do(w.guard.SetNoticePreferences(t.Context(), w.as("grace"), nil))
	list, err = w.guard.NoticePreferences(t.Context(), w.as("grace"))
	if err != nil || slices.ContainsFunc(list, func(p consent.NoticePreference) bool { return !p.Mail }) {
		t.Errorf("at last: %+v, %v", list, err)
	}
}

func TestBreakGlassIsAlwaysTold(t *testing.T) {
	w := newWorld(t)
	policy := consent.DefaultPolicy()
	guard, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: policy, PrivacyEmail: "privacy@hospital.example"})
	w.do(err)
	t.Cleanup(func() { w.do(guard.Close()) })
	w.do(w.eng.Update(t.Context(), func(tx *engine.Tx) error {
		return guard.NotifyBreakGlass(tx, fhir.Key{Type: "Patient", ID: "mateo"})
	}))
	w.wantMails(grace, "break-glass")
	w.wantMails(luis, "break-glass")
	ids, err := w.search(system(w, "system/Communication.rs"), "Communication", "status=preparation")
	if err != nil || len(ids) != 3 {
		t.Errorf("%v, %v; want one for the privacy office too", ids, err)
	}
}

func system(w *world, scopes string) consent.Caller {
	c := w.app("okafor", scopes, "")
	c.Identity.Role, c.Identity.FHIRUser, c.Identity.Login, c.Identity.Persons = "system", "", "", nil
	return c
}

func TestOneReminder(t *testing.T) {
	w := newWorld(t)
	policy := consent.DefaultPolicy()
	w.ask("okafor", "1001", consent.AccessRequest{})
	answered := w.ask("other", "1001", consent.AccessRequest{})
	w.answer("grace", answered.ID, true)
	for _, step := range []struct {
		pass time.Duration
		want []string
	}{
		{policy.AnswerBy - policy.RemindBefore - time.Second, []string{"request", "request"}},
		{time.Second, []string{"reminder", "request", "request"}},
		{day, []string{"reminder", "request", "request"}},
		{policy.RemindBefore, []string{"reminder", "request", "request"}},
	} {
		w.clock.pass(step.pass)
		w.do(w.guard.Remind(t.Context()))
		w.do(w.guard.Remind(t.Context()))
		w.wantMails(grace, step.want...)
	}
}

func TestAccessThatEnds(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	long := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: consent.Narrowing{Until: now.AddDate(0, 3, 0)}})
	short := w.ask("other", "1001", consent.AccessRequest{Narrowing: consent.Narrowing{Until: now.Add(13 * day)}})
	w.answer("grace", long.ID, true)
	w.answer("grace", short.ID, true)
	_, err := w.guard.Invite(t.Context(), w.as("grace"), "mateo", consent.Invitation{})
	w.do(err)
	check := func(at time.Time, provider, family []string) {
		t.Helper()
		w.clock.set(at)
		w.do(w.guard.WarnOfEnds(t.Context()))
		w.do(w.guard.WarnOfEnds(t.Context()))
		w.wantMails(okafor, provider...)
		w.wantMails(luis, family...)
	}
	before, after := []string{"invited", "request", "request"}, []string{"ending", "invited", "request", "request"}
	check(now.AddDate(0, 3, 0).Add(-14*day-time.Second), []string{"approved"}, before)
	check(now.AddDate(0, 3, 0).Add(-14*day), []string{"approved", "ending"}, after)
	check(now.AddDate(0, 3, 1), []string{"approved", "ending"}, after)
	check(now.AddDate(0, 6, -1), []string{"approved", "ending"}, []string{"ending", "invitation-ending", "invited", "request", "request"})
	w.wantMails("Practitioner/other", "approved")

	// What was ended before is nothing to warn of.
	r := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: consent.Narrowing{Until: w.clock.Now().AddDate(0, 3, 0)}})
	w.answer("grace", r.ID, true)
	_, err = w.guard.Revoke(t.Context(), w.as("grace"), r.ID, "", nil)
	w.do(err)
	check(w.clock.Now().AddDate(0, 3, -1), []string{"approved", "approved", "ending", "revoked"}, []string{"ending", "invitation-ending", "invited", "request", "request", "request"})
}

func TestCoolDown(t *testing.T) {
	w := newWorld(t)
	declined := w.clock.Now()
	w.answer("grace", w.ask("okafor", "1002", consent.AccessRequest{}).ID, false)
	ask := func(who string) error {
		_, _, err := w.guard.RequestAccess(t.Context(), w.as(who), consent.AccessRequest{Patient: "Patient/sofia"})
		return err
	}
	w.clock.set(declined.Add(7*day - time.Second))
	err := ask("okafor")
	wantKind(t, err, fhir.Unprocessable)
	if known, ok := err.(*fhir.Error); !ok || known.Issues[0].Detail != (fhir.Coding{System: base + "/fhir/CodeSystem/selection-outcome", Code: "recently-declined"}) ||
		!strings.Contains(known.Issues[0].Text, "2026-03-17T16:00:00-04:00") && !strings.Contains(known.Issues[0].Text, declined.Add(7*day).In(w.zone).Format(time.RFC3339)) {
		t.Errorf("the refusal does not say what and from when: %v", err)
	}
	// By every way in.
	body := `{"resourceType":"Consent","status":"proposed","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/sofia"},"policy":[{"uri":"http://gateway.test/fhir/policy/access-grant"}],
		"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/okafor"}}]}}`
	_, _, err = w.guard.Create(t.Context(), w.as("okafor"), "Consent", []byte(body))
	wantKind(t, err, fhir.Unprocessable)
	_, err = w.guard.Transaction(t.Context(), w.as("okafor"), []consent.Step{{Write: consent.Write{Method: consent.Create, Type: "Consent", Body: []byte(body)}}})
	wantKind(t, err, fhir.Unprocessable)

	sel, err := w.guard.Select(t.Context(), w.as("okafor"), consent.Selection{MRN: "1002"})
	if err != nil || len(sel.Outcomes) != 1 || sel.Outcomes[0].Code != consent.NotAuthorized || !sel.Outcomes[0].From.Equal(declined.Add(7*day)) {
		t.Errorf("selection: %+v, %v", sel, err)
	}
	report, err := w.guard.Access(t.Context(), w.as("okafor"), "sofia")
	if err != nil || report.Permitted || report.Next[0] != "request-later" || !report.From.Equal(declined.Add(7*day)) {
		t.Errorf("$access: %+v, %v", report, err)
	}
	if err := ask("other"); err != nil {
		t.Errorf("another provider: %v", err)
	}
	w.clock.pass(time.Second)
	if err := ask("okafor"); err != nil {
		t.Errorf("after the cool-down: %v", err)
	}
}

// Of many who ask at once for the same, one request comes out.
func TestParallelRequestsAreOne(t *testing.T) {
	w := newWorld(t)
	c := w.as("okafor")
	ids := make([]string, 16)
	made := make([]bool, 16)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			for { // what lost against the others too often is a Conflict: ask again
				r, created, err := w.guard.RequestAccess(t.Context(), c, consent.AccessRequest{Patient: "Patient/mateo"})
				if fhir.KindOf(err) == fhir.Conflict && err != nil {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				ids[i], made[i] = r.ID, created
				return
			}
		})
	}
	all.Wait()
	created := 0
	for i := range ids {
		if ids[i] != ids[0] {
			t.Errorf("several requests: %v", ids)
		}
		if made[i] {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d were created", created)
	}
	w.wantMails(grace, "request")
}

// Only who asked takes a request back, by every way in.
func TestWithdrawByEveryWay(t *testing.T) {
	put := func(r *fhir.Resource) []byte {
		return []byte(strings.Replace(string(r.JSON), `"status":"proposed"`, `"status":"inactive"`, 1))
	}
	patch := []byte(`[{"op":"replace","path":"/status","value":"inactive"}]`)
	ways := map[string]func(w *world, c consent.Caller, r *fhir.Resource) error{
		"operation": func(w *world, c consent.Caller, r *fhir.Resource) error {
			_, err := w.guard.Withdraw(w.t.Context(), c, r.ID, "", nil)
			return err
		},
		"PUT": func(w *world, c consent.Caller, r *fhir.Resource) error {
			_, _, err := w.guard.Update(w.t.Context(), c, r.Key, put(r), nil)
			return err
		},
		"conditional PUT": func(w *world, c consent.Caller, r *fhir.Resource) error {
			_, err := w.guard.Write(w.t.Context(), c, consent.Write{Method: consent.Update, Type: "Consent", Criteria: "_id=" + r.ID, Body: put(r)})
			return err
		},
		"PATCH": func(w *world, c consent.Caller, r *fhir.Resource) error {
			_, err := w.guard.Write(w.t.Context(), c, consent.Write{Method: consent.Patch, Type: "Consent", ID: r.ID, Body: patch})
			return err
		},
		"transaction": func(w *world, c consent.Caller, r *fhir.Resource) error {
			_, err := w.guard.Transaction(w.t.Context(), c, []consent.Step{{Write: consent.Write{Method: consent.Patch, Type: "Consent", ID: r.ID, Body: patch}}})
			return err
		},
	}
	w := newWorld(t)
	for name, way := range ways {
		w.clock.pass(time.Second)
		r := w.ask("okafor", "1001", consent.AccessRequest{})
		for who, kind := range map[string]fhir.Kind{"grace": fhir.Forbidden, "other": fhir.NotFound} {
			if err := way(w, w.as(who), r); err == nil || fhir.KindOf(err) != kind && fhir.KindOf(err) != fhir.NotFound {
				t.Errorf("%s by %s: %v", name, who, err)
			}
		}
		if err := way(w, w.as("okafor"), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := w.search(w.as("okafor"), "Consent", "_id="+r.ID+"&status=inactive"); len(got) != 1 {
			t.Errorf("%s: it stands", name)
		}
	}
}
