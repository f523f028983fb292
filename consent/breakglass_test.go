package consent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// node gives another gateway on the same store, under a policy of its own.
func (w *world) node(change func(*consent.Config)) *consent.Guard {
	w.t.Helper()
	c := consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()}
	c.Policy.BreakGlass.Enabled = true
	if change != nil {
		change(&c)
	}
	g, err := consent.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = g.Close() })
	return g
}

// emergencyWorld has two nodes on which emergencies are allowed.
func emergencyWorld(t *testing.T, change func(*consent.Config)) (w *world, one, two *consent.Guard) {
	w = newWorld(t)
	w.put(`{"resourceType":"Observation","id":"mateo-private","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	w.put(`{"resourceType":"Observation","id":"mateo-very","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	return w, w.node(change), w.node(change)
}

// on is the world as another node sees it.
func (w *world) on(g *consent.Guard) *world {
	at := *w
	at.guard = g
	return &at
}

// fresh is somebody who has just signed in.
func (w *world) fresh(subject string) consent.Caller {
	c := w.as(subject)
	c.AuthTime = w.clock.Now()
	return c
}

// found gives the handle for an emergency of a patient that a provider searched for.
func found(t *testing.T, g *consent.Guard, c consent.Caller, mrn string) string {
	t.Helper()
	sel, err := g.Select(t.Context(), c, consent.Selection{MRN: mrn})
	if err != nil || len(sel.Outcomes) != 1 {
		t.Fatalf("selecting %s: %+v, %v", mrn, sel, err)
	}
	return sel.Outcomes[0].Emergency
}

func because(patient string) consent.Emergency {
	return consent.Emergency{Patient: patient, Purpose: "BTG", Reason: "Unconscious in the emergency room."}
}

func opens(t *testing.T, g *consent.Guard, c consent.Caller, ref string, want bool) {
	t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch _, err := g.Read(t.Context(), c, key); {
	case want && err != nil:
		t.Errorf("%s: got %v, want the resource", ref, err)
	case !want && fhir.KindOf(err) != fhir.NotFound:
		t.Errorf("%s: got %v, want NotFound", ref, err)
	}
}

func breakGlass(t *testing.T, g *consent.Guard, c consent.Caller, mrn string) *consent.EmergencyView {
	t.Helper()
	v, begun, err := g.BreakGlass(t.Context(), c, because(found(t, g, c, mrn)))
	if err != nil || !begun {
		t.Fatalf("break-glass: begun %v, %v", begun, err)
	}
	return v
}

func TestBreakGlassIsOffByDefault(t *testing.T) {
	w := newWorld(t)
	c := w.fresh("okafor")
	sel, err := w.guard.Select(t.Context(), c, consent.Selection{MRN: "1001"})
	if err != nil || sel.Outcomes[0].Emergency != "" {
		t.Errorf("got %+v, %v; want no handle for an emergency", sel, err)
	}
	_, _, err = w.guard.BreakGlass(t.Context(), c, because(sel.Outcomes[0].Handle))
	wantKind(t, err, fhir.Forbidden)
}

func TestBreakGlassOpensForAWhile(t *testing.T) {
	w, one, two := emergencyWorld(t, nil)
	c := w.fresh("okafor")
	elsewhere := c
	elsewhere.ID, elsewhere.ClientID = "another-grant", "app"
	colleague := w.fresh("baker")
	colleague.ID = c.ID // a grant that is another's
	opens(t, one, c, "Observation/mateo-weight", false)
	opens(t, two, c, "Observation/mateo-weight", false)
	v := breakGlass(t, one, c, "1001")
	if want := w.clock.Now().Add(time.Hour); !v.Ends.Equal(want) {
		t.Errorf("ends %v, want %v", v.Ends, want)
	}
	for _, g := range []*consent.Guard{one, two} { // at once, on every node
		opens(t, g, c, "Patient/mateo", true)
		opens(t, g, c, "Observation/mateo-weight", true)
		opens(t, g, c, "Observation/mateo-private", true) // up to R
		opens(t, g, c, "Observation/mateo-very", false)
		opens(t, g, c, "Patient/sofia", false)
		opens(t, g, elsewhere, "Patient/mateo", false)
		opens(t, g, colleague, "Patient/mateo", false)
	}
	ids, err := w.on(one).search(c, "Observation", "")
	if err != nil || !slices.Contains(ids, "mateo-weight") || slices.Contains(ids, "mateo-very") {
		t.Errorf("a search: %v, %v", ids, err)
	}
	report, err := two.Access(t.Context(), c, "mateo")
	if err != nil || len(report.Bases) != 1 || report.Bases[0].Code != consent.BasisEmergency || !report.Until.Equal(v.Ends) {
		t.Errorf("access: %+v, %v", report, err)
	}
	again, begun, err := two.BreakGlass(t.Context(), c, because("Patient/mateo"))
	if err != nil || begun || again.ID != v.ID || !again.Ends.Equal(v.Ends) {
		t.Errorf("again: %+v, %v, %v; want the one that runs, no longer", again, begun, err)
	}
	w.clock.set(v.Ends.Add(-time.Second))
	opens(t, two, c, "Patient/mateo", true)
	w.clock.set(v.Ends)
	opens(t, one, c, "Patient/mateo", false)
	opens(t, two, c, "Observation/mateo-weight", false)
}

func TestBreakGlassIsForReading(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	c := w.fresh("okafor")
	breakGlass(t, one, c, "1001")
	_, _, err := one.Create(t.Context(), c, "Observation", []byte(`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`))
	wantKind(t, err, fhir.Forbidden)
	wantKind(t, one.Delete(t.Context(), c, fhir.Key{Type: "Observation", ID: "mateo-weight"}, nil), fhir.NotFound)
	_, err = one.Invite(t.Context(), c, "mateo", consent.Invitation{})
	wantKind(t, err, fhir.Forbidden)
	// A PCP writes what is theirs to write, and not what only the emergency opens.
	w.put("%s", directive("out", "mateo", `{"type":"deny","class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]}`))
	adams := w.fresh("adams")
	if _, _, err := one.BreakGlass(t.Context(), adams, because("Patient/mateo")); err != nil {
		t.Fatal(err)
	}
	opens(t, one, adams, "Observation/mateo-weight", true)
	wantKind(t, one.Delete(t.Context(), adams, fhir.Key{Type: "Observation", ID: "mateo-weight"}, nil), fhir.NotFound)
}

// An app sees in an emergency what it could see else: its scopes bound it.
func TestBreakGlassByAnApp(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	app := func(scopes string) consent.Caller {
		c := w.app("okafor", scopes, "")
		c.AuthTime, c.ID = w.clock.Now(), "grant-of-"+scopes
		return c
	}
	handle := found(t, one, w.fresh("okafor"), "1001")
	for _, scopes := range []string{"user/Patient.rs", "user/Consent.c", "patient/*.cruds", "user/Observation.rs"} {
		_, _, err := one.BreakGlass(t.Context(), app(scopes), because(handle))
		wantKind(t, err, fhir.Forbidden)
	}
	c := app("user/Patient.rs user/Consent.c user/Observation.rs?category=vital-signs")
	if _, _, err := one.BreakGlass(t.Context(), c, because(handle)); err != nil {
		t.Fatal(err)
	}
	opens(t, one, c, "Patient/mateo", true)
	opens(t, one, c, "Observation/mateo-weight", false)
	opens(t, one, w.fresh("okafor"), "Patient/mateo", false) // not the portal, which has not begun it
}

func TestBreakGlassIsRefused(t *testing.T) {
	w, one, _ := emergencyWorld(t, func(k *consent.Config) { k.Policy.BreakGlass.Roles = []string{"er"} })
	okafor := w.fresh("okafor")
	if h := found(t, one, okafor, "1001"); h != "" {
		t.Error("a handle for somebody whose role does not allow it")
	}
	handle := found(t, w.node(nil), okafor, "1001")
	_, _, err := one.BreakGlass(t.Context(), okafor, because(handle))
	wantKind(t, err, fhir.Forbidden)
	w.put(`{"resourceType":"PractitionerRole","id":"er-okafor","practitioner":{"reference":"Practitioner/okafor"},"code":[{"coding":[{"code":"er"}]}],"period":{"end":"2026-03-10T15:30:00-04:00"}}`)
	for name, ask := range map[string]consent.Emergency{
		"no reason":         {Patient: handle, Purpose: "BTG", Reason: "  "},
		"a long reason":     {Patient: handle, Purpose: "BTG", Reason: strings.Repeat("x", 1001)},
		"control":           {Patient: handle, Purpose: "BTG", Reason: "a\x00b"},
		"no purpose":        {Patient: handle, Reason: "x"},
		"another purpose":   {Patient: handle, Purpose: "TREAT", Reason: "x"},
		"whom they may not": because("Patient/mateo"),
		"who is not":        because("Patient/nobody"),
		"no patient":        because("Practitioner/okafor"),
		"a bad handle":      because("h.xxxx"),
	} {
		_, _, err := one.BreakGlass(t.Context(), okafor, ask)
		if fhir.KindOf(err) != fhir.Invalid {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
	w.clock.pass(time.Minute)
	two := w.node(func(k *consent.Config) {
		k.Policy.BreakGlass.Roles = []string{"er"}
		k.Policy.BreakGlass.PerHour = 1000
	})
	_, _, mayNot := two.BreakGlass(t.Context(), okafor, because("Patient/mateo"))
	_, _, isNot := two.BreakGlass(t.Context(), okafor, because("Patient/nobody"))
	if mayNot.Error() != isNot.Error() {
		t.Errorf("%v tells from %v whether a patient exists", mayNot, isNot)
	}
	grace := w.fresh("grace")
	_, _, err = two.BreakGlass(t.Context(), grace, because("Patient/mateo"))
	wantKind(t, err, fhir.Forbidden)
	old := okafor
	old.AuthTime = w.clock.Now().Add(-15 * time.Minute)
	if _, _, err := two.BreakGlass(t.Context(), old, because(handle)); err != nil {
		t.Errorf("signed in 15 minutes ago: %v", err)
	}
	old.ID, old.AuthTime = "next", old.AuthTime.Add(-time.Second)
	_, _, err = two.BreakGlass(t.Context(), old, because(handle))
	var u *consent.Unproven
	if !errors.As(err, &u) || u.Within != 15*time.Minute {
		t.Errorf("got %v, want the rule for the sign-in", err)
	}
	// A role that ends takes the emergency with it.
	c := okafor
	opens(t, two, c, "Patient/mateo", true)
	w.clock.set(time.Date(2026, 3, 10, 15, 29, 59, 0, w.zone))
	opens(t, two, c, "Patient/mateo", true)
	w.clock.pass(time.Second)
	opens(t, two, c, "Patient/mateo", false)
}

func TestSelfRegisteredDoNotBreakGlass(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	a, err := one.SignIn(t.Context(), "https://idp.test", "newton", "Newton", "newton@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Register(t.Context(), a.ID, consent.Registration{Given: "N", Family: "Newton", NPI: "1111111112", Email: "newton@example.org"}); err != nil {
		t.Fatal(err)
	}
	c := w.fresh("newton")
	if h := found(t, one, c, "1001"); h != "" {
		t.Error("got a handle")
	}
	_, _, err = one.BreakGlass(t.Context(), c, because("Patient/mateo"))
	wantKind(t, err, fhir.Forbidden)
}

func TestBreakGlassStepUp(t *testing.T) {
	w, one, _ := emergencyWorld(t, func(k *consent.Config) {
		k.StepUp = map[string]consent.StepUp{"https://idp.test": {ACR: []string{"mfa"}, Within: 5 * time.Minute}}
	})
	c := w.fresh("okafor")
	handle := found(t, one, c, "1001")
	_, _, err := one.BreakGlass(t.Context(), c, because(handle))
	wantKind(t, err, fhir.Forbidden)
	c.ACR = "mfa"
	if _, _, err := one.BreakGlass(t.Context(), c, because(handle)); err != nil {
		t.Error(err)
	}
}

func TestBreakGlassIsLimitedPerProvider(t *testing.T) {
	w, one, two := emergencyWorld(t, func(k *consent.Config) { k.Policy.BreakGlass.PerHour = 2 })
	c := w.fresh("okafor")
	first, second := found(t, one, c, "1001"), found(t, one, c, "1002")
	for i, g := range []*consent.Guard{one, two, one} {
		_, _, err := g.BreakGlass(t.Context(), c, because([]string{first, second, first}[i]))
		if i < 2 && err != nil {
			t.Error(err)
		}
		if i == 2 {
			wantKind(t, err, fhir.Throttled)
		}
	}
	w.clock.pass(time.Hour)
	c.AuthTime = w.clock.Now()
	if _, _, err := one.BreakGlass(t.Context(), c, because(found(t, one, c, "1001"))); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestBreakGlassEnds(t *testing.T) {
	w, one, two := emergencyWorld(t, nil)
	w.link("ana", smart.Admin, "Practitioner/ana")
	for name, end := range map[string]func(consent.Caller, string) error{
		"by the provider":        func(c consent.Caller, _ string) error { return one.EndBreakGlass(t.Context(), c, "mateo") },
		"by signing out":         func(c consent.Caller, _ string) error { return one.EndGrant(t.Context(), c.ID) },
		"by the privacy officer": func(_ consent.Caller, id string) error { return one.StopEmergency(t.Context(), w.as("ana"), id) },
	} {
		w.clock.pass(time.Hour)
		c := w.fresh("okafor")
		v := breakGlass(t, one, c, "1001")
		opens(t, two, c, "Patient/mateo", true)
		if err := end(c, v.ID); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		opens(t, two, c, "Patient/mateo", false)
		opens(t, one, c, "Patient/mateo", false)
	}
	c := w.fresh("okafor")
	wantKind(t, one.EndBreakGlass(t.Context(), c, "mateo"), fhir.Conflict)
	wantKind(t, one.EndBreakGlass(t.Context(), c, "sofia"), fhir.NotFound)
	wantKind(t, one.EndBreakGlass(t.Context(), w.fresh("baker"), "mateo"), fhir.NotFound)
	wantKind(t, one.StopEmergency(t.Context(), c, "x"), fhir.NotFound)
	if err := one.EndGrant(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
}

// Of many who begin or end an emergency at once, one does, on whichever node.
func TestBreakGlassRaces(t *testing.T) {
	w, one, two := emergencyWorld(t, func(k *consent.Config) { k.Policy.BreakGlass.PerHour = 1000 })
	c := w.fresh("okafor")
	handle := found(t, one, c, "1001")
	race := func(do func(g *consent.Guard) bool) (won int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if do([]*consent.Guard{one, two}[i%2]) {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return won
	}
	won := race(func(g *consent.Guard) bool {
		_, begun, err := g.BreakGlass(context.Background(), c, because(handle))
		if err != nil {
			t.Error(err)
		}
		return begun
	})
	if won != 1 {
		t.Errorf("%d began it, want 1", won)
	}
	won = race(func(g *consent.Guard) bool {
		err := g.EndBreakGlass(context.Background(), c, "mateo")
		if err != nil && fhir.KindOf(err) != fhir.Conflict {
			t.Error(err)
		}
		return err == nil
	})
	if won != 1 {
		t.Errorf("%d ended it, want 1", won)
	}
	opens(t, one, c, "Patient/mateo", false)
	opens(t, two, c, "Patient/mateo", false)
	if got := w.notices("RelatedPerson/grace-mateo"); len(got) != 1 {
		t.Errorf("%d notices, want 1", len(got))
	}
}

func TestBreakGlassIsToldAndReviewed(t *testing.T) {
	w, one, _ := emergencyWorld(t, func(k *consent.Config) { k.PrivacyEmail = "privacy@example.org" })
	w.put("%s", directive("custody", "mateo", `{"type":"deny",`+names("RelatedPerson/luis-mateo")+`}`))
	w.link("ana", smart.Admin, "Practitioner/ana")
	ana := w.as("ana")
	c := w.fresh("okafor")
	v := breakGlass(t, one, c, "1001")
	opens(t, one, c, "Observation/mateo-weight", true)
	if got := w.notices("RelatedPerson/grace-mateo"); len(got) != 1 || !strings.Contains(got[0], "emergency") {
		t.Errorf("the guardian hears %v", got)
	}
	if got := w.notices("RelatedPerson/luis-mateo"); len(got) != 0 {
		t.Errorf("a guardian under a custody order hears %v", got)
	}
	told, err := one.EmergenciesOf(t.Context(), w.as("grace"), "mateo")
	if err != nil || len(told) != 1 || told[0].Reason == "" || told[0].Provider.Name == "" || told[0].Over {
		t.Errorf("the guardian reads %+v, %v", told, err)
	}
	for _, who := range []string{"luis", "helen", "okafor", "adams"} {
		_, err := one.EmergenciesOf(t.Context(), w.as(who), "mateo")
		wantKind(t, err, fhir.Forbidden)
	}
	w = w.on(one)
	if ids, err := w.search(w.as("grace"), "Consent", "category=emergency"); err != nil || len(ids) != 1 {
		t.Errorf("the Consent that tells of it: %v, %v", ids, err)
	}
	if ids, err := w.search(w.as("grace"), "Provenance", "patient=Patient/mateo"); err != nil || len(ids) != 1 {
		t.Errorf("the Provenance: %v, %v", ids, err)
	}
	for _, who := range []string{"adams", "okafor"} {
		if ids, err := w.search(w.as(who), "Provenance", "patient=Patient/mateo"); err != nil || len(ids) != 0 {
			t.Errorf("the Provenance, to %s: %v, %v", who, ids, err)
		}
	}
	page, err := one.Search(t.Context(), w.as("grace"), "AuditEvent", map[string][]string{"patient": {"Patient/mateo"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	btg := 0
	for _, e := range page.Entries {
		if body := string(e.Resource.JSON); strings.Contains(body, "Practitioner/okafor") && strings.Contains(body, `"code":"BTG"`) {
			btg++
		}
	}
	if btg < 2 { // the beginning, and the read
		t.Errorf("%d entries of the log have the purpose BTG", btg)
	}

	open, err := one.Emergencies(t.Context(), ana, false, "")
	if err != nil || len(open) != 1 || open[0].ID != v.ID || open[0].Reason == "" || open[0].Patient.MRN != "1001" {
		t.Fatalf("to be reviewed: %+v, %v", open, err)
	}
	for _, who := range []string{"okafor", "grace"} {
		_, err := one.Emergencies(t.Context(), w.as(who), false, "")
		wantKind(t, err, fhir.NotFound)
		wantKind(t, one.ReviewEmergency(t.Context(), w.as(who), v.ID, true, "fine"), fhir.NotFound)
	}
	wantKind(t, one.ReviewEmergency(t.Context(), ana, v.ID, true, " "), fhir.Unprocessable)
	wantKind(t, one.ReviewEmergency(t.Context(), ana, "nothing", true, "x"), fhir.NotFound)
	w.link("okafor", smart.Admin, "Practitioner/okafor")
	own := w.as("okafor")
	own.Identity.Role = smart.Admin
	wantKind(t, one.ReviewEmergency(t.Context(), own, v.ID, true, "fine"), fhir.Forbidden)
	w.link("another-login", smart.Admin, "Practitioner/okafor") // of the same person
	wantKind(t, one.ReviewEmergency(t.Context(), w.as("another-login"), v.ID, true, "fine"), fhir.Forbidden)
	if err := one.ReviewEmergency(t.Context(), ana, v.ID, false, "There was no emergency."); err != nil {
		t.Fatal(err)
	}
	wantKind(t, one.ReviewEmergency(t.Context(), ana, v.ID, true, "fine"), fhir.Conflict)
	open, _ = one.Emergencies(t.Context(), ana, false, "")
	all, err := one.Emergencies(t.Context(), ana, true, "")
	if err != nil || len(open) != 0 || len(all) != 1 || all[0].Review == nil || all[0].Review.Justified {
		t.Errorf("after the review: %+v and %+v, %v", open, all, err)
	}
}

// The family does not stop an emergency, nor write, change or correct what tells of one.
func TestBreakGlassRecordIsTheGateways(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	w.link("ana", smart.Admin, "Practitioner/ana")
	c := w.fresh("okafor")
	breakGlass(t, one, c, "1001")
	ids, err := w.on(one).search(w.as("grace"), "Consent", "category=emergency")
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	key := fhir.Key{Type: "Consent", ID: ids[0]}
	_, err = one.Revoke(t.Context(), w.as("grace"), key.ID, "", nil)
	wantKind(t, err, fhir.Unprocessable)
	r, err := one.Read(t.Context(), w.as("grace"), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"inactive", "entered-in-error", "rejected"} {
		body := []byte(strings.Replace(string(r.JSON), `"status":"active"`, `"status":"`+to+`"`, 1))
		for _, who := range []string{"grace", "ana"} {
			if _, _, err := one.Update(t.Context(), w.as(who), key, body, nil); err == nil {
				t.Errorf("%s made it %s", who, to)
			}
		}
	}
	forged := strings.Replace(strings.Replace(string(r.JSON), `"id":"`+key.ID+`",`, "", 1), `okafor`, `baker`, 1)
	_, _, err = one.Create(t.Context(), w.as("grace"), "Consent", []byte(forged))
	wantKind(t, err, fhir.Unprocessable)
	opens(t, one, c, "Patient/mateo", true)
}

// A teenager's guardians learn that the record was opened, by whom and when, and not why.
func TestBreakGlassOfATeenager(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	breakGlass(t, one, w.fresh("okafor"), "1003")
	for who, told := range map[string]bool{"ava": true, "helen": false} {
		w := w.on(one)
		list, err := one.EmergenciesOf(t.Context(), w.as(who), "ava")
		if err != nil || len(list) != 1 || (list[0].Reason != "") != told {
			t.Errorf("%s reads %+v, %v", who, list, err)
		}
		ids, err := w.search(w.as(who), "Provenance", "patient=Patient/ava")
		if err != nil || (len(ids) == 1) != told {
			t.Errorf("the reason, to %s: %v, %v", who, ids, err)
		}
		if ids, err := w.search(w.as(who), "Consent", "category=emergency"); err != nil || len(ids) != 1 {
			t.Errorf("that it was opened, to %s: %v, %v", who, ids, err)
		}
	}
	for _, who := range []string{"Patient/ava", "RelatedPerson/helen-ava"} {
		if got := w.notices(who); len(got) != 1 {
			t.Errorf("%s hears %v", who, got)
		}
	}
	// A family without a portal account is no obstacle.
	breakGlass(t, one, w.fresh("okafor"), "1005")
	if _, err := one.Emergencies(t.Context(), w.as("okafor"), false, ""); fhir.KindOf(err) != fhir.NotFound {
		t.Error(err)
	}
}
