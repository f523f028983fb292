package consent_test

import (
	"fmt"
	"slices"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

func TestAccountsForAdministrators(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.put(`{"resourceType":"Practitioner","id":"root","active":true}`)
	w.link("root", smart.Admin, "Practitioner/root")
	root := w.as("root")
	find := func(query string) []string {
		t.Helper()
		found, err := w.guard.FindAccounts(ctx, root, query)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, a := range found {
			names = append(names, a.Subject)
		}
		slices.Sort(names)
		return names
	}
	for query, want := range map[string][]string{
		"grace": {"grace"}, "GRACE@example.org": {"grace"}, "gra": {"grace"}, "1234567893": {"adams"}, "1001": {"grace", "luis"}, "Practitioner/chen": {"chen"},
		"1003": {"ava", "helen"}, "grace luis": {}, "nobody": {}, "": {}, "\x00 \t": {}, "RelatedPerson/grace-sofia": {"grace"}, "Patient/../x": {},
	} {
		if got := find(query); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
	// What an account is called leads to it no more once it is called otherwise.
	if _, err := w.guard.SignIn(ctx, "https://idp.test", "grace", "Gracia Nueva", "gracia@example.org"); err != nil {
		t.Fatal(err)
	}
	if got := find("grace@example.org"); len(got) > 0 {
		t.Errorf("the old address leads to %v", got)
	}
	if got := find("nueva gracia"); !slices.Equal(got, []string{"grace"}) {
		t.Errorf("the new name leads to %v", got)
	}
	for i := range 30 {
		w.link(fmt.Sprint("many", i), smart.Proxy, "RelatedPerson/luis-mateo")
	}
	if n := len(find("many")); n != 20 {
		t.Errorf("got %d accounts, want 20", n)
	}

	grace := w.as("grace")
	view, err := w.guard.AccountFor(ctx, root, grace.Identity.Login)
	if err != nil || len(view.People) != 2 || view.People[0].Of != "Mateo Rivera" {
		t.Fatalf("got %+v, %v", view, err)
	}
	link := consent.Link{Role: smart.Proxy, Person: "RelatedPerson/grace-mateo"}
	w.may("grace", "Patient/mateo")
	// Nobody else finds accounts or takes links away, and nobody their own.
	for _, c := range []consent.Caller{grace, w.as("adams"), {}} {
		_, err := w.guard.FindAccounts(ctx, c, "grace")
		wantKind(t, err, fhir.NotFound)
		_, err = w.guard.AccountFor(ctx, c, grace.Identity.Login)
		wantKind(t, err, fhir.NotFound)
		wantKind(t, w.guard.Unlink(ctx, c, grace.Identity.Login, link), fhir.NotFound)
	}
	wantKind(t, w.guard.Unlink(ctx, root, root.Identity.Login, consent.Link{Role: smart.Admin, Person: "Practitioner/root"}), fhir.Unprocessable)
	wantKind(t, w.guard.Unlink(ctx, root, "nobody", link), fhir.NotFound)
	if err := w.guard.Unlink(ctx, root, grace.Identity.Login, link); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.guard.Unlink(ctx, root, grace.Identity.Login, link), fhir.NotFound)
	w.mayNot("grace", "Patient/mateo")
	w.may("grace", "Patient/sofia")
	if now, ok, err := w.guard.Today(ctx, grace.Identity); err != nil || !ok || len(now.Persons) != 1 {
		t.Errorf("of a token given before: %+v %v %v", now, ok, err)
	}
	if got := find("1001"); slices.Contains(got, "grace") {
		t.Error("the person still leads to the account")
	}
}
