package consent_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// root gives an administrator.
func (w *world) root() consent.Caller {
	w.t.Helper()
	w.put(`{"resourceType":"Practitioner","id":"root","active":true,"name":[{"family":"Root"}]}`)
	w.link("root", smart.Admin, "Practitioner/root")
	return w.as("root")
}

func (w *world) signIn(subject string) *consent.Account {
	w.t.Helper()
	a, err := w.guard.SignIn(w.t.Context(), "https://idp.test", subject, subject, subject+"@example.org")
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) loose(root consent.Caller) []string {
	w.t.Helper()
	list, err := w.guard.LooseAccounts(w.t.Context(), root, "")
	if err != nil {
		w.t.Fatal(err)
	}
	var subjects []string
	for _, a := range list {
		subjects = append(subjects, a.Subject)
	}
	return subjects
}

// TestLooseAccounts: who stands for nobody is listed, the latest first, until they
// are linked or stay away.
func TestLooseAccounts(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	w.signIn("first")
	w.clock.pass(time.Hour)
	w.signIn("second")
	w.clock.pass(time.Hour)
	if got := w.loose(root); !slices.Equal(got, []string{"second", "first"}) {
		t.Fatalf("got %v", got)
	}
	first := w.signIn("first")
	if got := w.loose(root); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("after signing in again: %v", got)
	}
	list, err := w.guard.LooseAccounts(t.Context(), root, "")
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := w.guard.LooseAccounts(t.Context(), root, list[0].At); err != nil || len(rest) != 1 || rest[0].Subject != "second" {
		t.Errorf("the next page: %v, %v", rest, err)
	}
	link := consent.Link{Role: smart.Proxy, Person: "RelatedPerson/nobody-lily"}
	if err := w.guard.Link(t.Context(), root, first.ID, link, "seen"); err != nil {
		t.Fatal(err)
	}
	if got := w.loose(root); !slices.Equal(got, []string{"second"}) {
		t.Errorf("after linking: %v", got)
	}
	if err := w.guard.Unlink(t.Context(), root, first.ID, link); err != nil {
		t.Fatal(err)
	}
	w.signIn("first")
	if got := w.loose(root); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("after unlinking and signing in: %v", got)
	}
	w.clock.pass(91 * 24 * time.Hour)
	if _, err := w.db.Sweep(t.Context(), w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if got := w.loose(w.as("root")); len(got) != 0 {
		t.Errorf("after ninety days: %v", got)
	}
}

// TestLinkIsForAdministrators, of accounts that are not theirs, to people who may
// have one, with what was checked; it holds for the next request.
func TestLinkIsForAdministrators(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	ctx := t.Context()
	lily := consent.Link{Role: smart.Proxy, Person: "RelatedPerson/nobody-lily"}
	mum := w.signIn("mum")
	w.put(`{"resourceType":"Practitioner","id":"desk","active":true}`)
	w.link("desk", smart.Staff, "Practitioner/desk")
	for _, who := range []consent.Caller{w.as("grace"), w.as("adams"), w.as("desk"), {}} {
		wantKind(t, w.guard.Link(ctx, who, mum.ID, lily, "seen"), fhir.NotFound)
		_, err := w.guard.LinkChoices(ctx, who, "1005")
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.LooseAccounts(ctx, who, "")
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.UncheckedProviders(ctx, who, "")
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.Worklists(ctx, who)
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.FaultyConsents(ctx, who)
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.NamesFor(ctx, who, "list-notices", []string{"RelatedPerson/nobody-lily"})
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.ExportFound(ctx, who, consent.AuditQuery{}, func(consent.AuditRow) error { t.Error("a row"); return nil })
		wantKind(t, err, fhir.NotFound)
		wantKind(t, w.guard.Administer(ctx, who, consent.Event{Action: "retry-notice"}), fhir.NotFound)
		wantKind(t, w.guard.CheckProvider(ctx, who, "x", true, "seen"), fhir.NotFound)
	}
	wantKind(t, w.guard.Link(ctx, root, root.Identity.Login, lily, "me"), fhir.Forbidden)
	wantKind(t, w.guard.Link(ctx, root, mum.ID, lily, " "), fhir.Unprocessable)
	wantKind(t, w.guard.Link(ctx, root, mum.ID, lily, strings.Repeat("x", 5000)), fhir.Unprocessable)
	wantKind(t, w.guard.Link(ctx, root, "nobody", lily, "seen"), fhir.NotFound)
	for name, bad := range map[string]consent.Link{
		"a child": {Role: smart.Patient, Person: "Patient/lily"}, "a former guardian": {Role: smart.Proxy, Person: "RelatedPerson/mark-noah"},
		"nobody": {Role: smart.Proxy, Person: "RelatedPerson/none"}, "another role": {Role: smart.Admin, Person: "Practitioner/root"},
		"no number": {Role: smart.Provider, Person: "Practitioner/root"}, "a wrong type": {Role: smart.Provider, Person: "Patient/ava"}, "no key": {Role: smart.Patient, Person: "Patient/../ava"},
		"a version": {Role: smart.Patient, Person: "Patient/ava/_history/1"}, "none": {},
	} {
		if err := w.guard.Link(ctx, root, mum.ID, bad, "seen"); fhir.KindOf(err) != fhir.Unprocessable {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for query, want := range map[string]string{
		"1005": "RelatedPerson/nobody-lily:0", "1003": "Patient/ava:1 RelatedPerson/helen-ava:1", "1004": "Patient/noah:1", "1234567893": "Practitioner/adams:1", "77": "", "": "", "lily": "",
	} {
		list, err := w.guard.LinkChoices(ctx, root, query)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range list {
			got = append(got, c.Person+":"+string(rune('0'+c.Accounts)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", query, got, want)
		}
	}
	if err := w.guard.Link(ctx, root, mum.ID, lily, "passport"); err != nil {
		t.Fatal(err)
	}
	w.may("mum", "Patient/lily")
	wantKind(t, w.guard.Link(ctx, root, mum.ID, lily, "passport"), fhir.Conflict)
	if rows := w.looks("mum", "lily"); !slices.ContainsFunc(rows, func(l string) bool { return strings.Contains(l, ": link") }) {
		t.Errorf("the family is not told: %v", rows)
	}
	view, err := w.guard.AccountFor(ctx, root, mum.ID)
	if err != nil || len(view.Checks) != 1 || view.Checks[0].How != "passport" || view.Checks[0].Person != lily.Person {
		t.Errorf("got %+v, %v", view.Checks, err)
	}
}

// TestTheFamilyIsToldOfANewAccount that decides with them; not of a teenager's own.
func TestTheFamilyIsToldOfANewAccount(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	told := func(who string) int {
		t.Helper()
		ids, err := w.search(w.as(who), "Communication", "")
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	a := w.signIn("uncle")
	if err := w.guard.Link(t.Context(), root, a.ID, consent.Link{Role: smart.Proxy, Person: "RelatedPerson/luis-mateo"}, "seen"); err != nil {
		t.Fatal(err)
	}
	if err := w.guard.Link(t.Context(), root, a.ID, consent.Link{Role: smart.Patient, Person: "Patient/ava"}, "seen"); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]int{"grace": 1, "luis": 1, "helen": 0, "ava": 0} {
		if got := told(who); got != want {
			t.Errorf("%s has %d notices, want %d", who, got, want)
		}
	}
}

// TestBarredGuardiansAreNotLinked: a custody order keeps a guardian out here, too.
func TestBarredGuardiansAreNotLinked(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	w.put("%s", strings.ReplaceAll(consentWith("order", provisionWith("deny", `"actor":[{`+role+`,"reference":{"reference":"RelatedPerson/nobody-lily"}}]`)), "Patient/mateo", "Patient/lily"))
	a := w.signIn("barred")
	wantKind(t, w.guard.Link(t.Context(), root, a.ID, consent.Link{Role: smart.Proxy, Person: "RelatedPerson/nobody-lily"}, "seen"), fhir.Unprocessable)
}

// TestLinkingNeedsProof: what opens a record needs a proof of who does it.
func TestLinkingNeedsProof(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	strict := w.with(t, func(c *consent.Config) {
		c.StepUp = map[string]consent.StepUp{"https://idp.test": {ACR: []string{"mfa"}, Within: 5 * time.Minute}}
	})
	a := w.signIn("mum")
	link := consent.Link{Role: smart.Proxy, Person: "RelatedPerson/nobody-lily"}
	wantKind(t, strict.Link(t.Context(), root, a.ID, link, "seen"), fhir.Forbidden)
	root.ACR, root.AuthTime = "mfa", w.clock.Now()
	if err := strict.Link(t.Context(), root, a.ID, link, "seen"); err != nil {
		t.Fatal(err)
	}
}

// with is another guard on the same data.
func (w *world) with(t *testing.T, change func(*consent.Config)) *consent.Guard {
	t.Helper()
	c := consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()}
	change(&c)
	guard, err := consent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Close(); err != nil {
			t.Error(err)
		}
	})
	return guard
}

// TestParallelDecisionsOnARegistration: one of several wins, and the others are told.
func TestParallelDecisionsOnARegistration(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	nora := w.signIn("nora")
	if _, err := w.guard.Register(t.Context(), nora.ID, consent.Registration{Given: "Nora", Family: "Newton", NPI: "1356405203", Email: "nora@example.org"}); err != nil {
		t.Fatal(err)
	}
	list, err := w.guard.UncheckedProviders(t.Context(), root, "")
	if err != nil || len(list) != 1 || list[0].Provider.NPI != "1356405203" || list[0].Email != "nora@example.org" || list[0].Account.ID != nora.ID {
		t.Fatalf("got %+v, %v", list, err)
	}
	results := make(chan error, 8)
	for i := range 8 {
		go func() {
			results <- w.guard.CheckProvider(context.WithoutCancel(t.Context()), root, list[0].ID, i%2 == 0, "called")
		}()
	}
	won := 0
	for range 8 {
		if err := <-results; err == nil {
			won++
		} else if fhir.KindOf(err) != fhir.Conflict {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d have won", won)
	}
	counts, err := w.guard.Worklists(t.Context(), root)
	if err != nil || counts.Providers != 0 {
		t.Errorf("got %+v, %v", counts, err)
	}
}

// TestAppointIsLoggedOnce, when it is new.
func TestAppointIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Practitioner","id":"chief","active":true}`)
	for range 2 {
		if err := w.guard.Appoint(t.Context(), "https://idp.test", "chief", fhir.Key{Type: "Practitioner", ID: "chief"}); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := w.guard.FindAudit(t.Context(), w.as("chief"), consent.AuditQuery{Action: "appoint"})
	if err != nil || len(rows) != 1 || rows[0].Returned[0] != "Practitioner/chief" || rows[0].Client != "Configuration" {
		t.Errorf("got %v, %v", rows, err)
	}
}

// TestExportFound gives what a search finds, page by page, and is logged.
func TestExportFound(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	const n = 1100 // more than two slices
	for range n {
		if err := w.guard.Record(t.Context(), w.as("adams"), consent.Event{Action: "sign-in"}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	more, err := w.guard.ExportFound(t.Context(), root, consent.AuditQuery{Actions: []string{"sign-in", "sign-out"}, Person: "Practitioner/adams"}, func(row consent.AuditRow) error {
		seen[row.ID] = true
		return nil
	})
	if err != nil || more || len(seen) != n {
		t.Errorf("%d rows, more %t, %v", len(seen), more, err)
	}
	rows, _, err := w.guard.FindAudit(t.Context(), root, consent.AuditQuery{Action: "export-audit"})
	if err != nil || len(rows) != 1 || rows[0].Detail != "Practitioner/adams" {
		t.Errorf("got %v, %v", rows, err)
	}
}

// TestFoundRowsNamePatients as far as their record is open, and log that.
func TestFoundRowsNamePatients(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	w.may("adams", "Patient/mateo")
	rows, _, err := w.guard.FindAudit(t.Context(), root, consent.AuditQuery{Person: "Practitioner/adams"})
	if err != nil || len(rows) != 1 || len(rows[0].Of) != 1 || rows[0].Of[0].MRN != "1001" {
		text, _ := json.Marshal(rows)
		t.Fatalf("got %s, %v", text, err)
	}
	if rows := w.looks("grace", "mateo"); !slices.ContainsFunc(rows, func(l string) bool { return strings.Contains(l, ": search-audit") }) {
		t.Errorf("the family does not see that the name was shown: %v", rows)
	}
}
