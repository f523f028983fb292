package consent_test

import (
	"slices"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

func TestToday(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	then := w.as("grace").Identity
	today := func() (smart.Identity, bool) {
		t.Helper()
		now, ok, err := w.guard.Today(ctx, then)
		if err != nil {
			t.Fatal(err)
		}
		return now, ok
	}
	if now, ok := today(); !ok || now.FHIRUser != then.FHIRUser || !slices.Equal(now.Persons, then.Persons) || len(now.Persons) < 2 {
		t.Fatalf("unchanged: got %+v %v", now, ok)
	}
	if _, err := w.guard.SignIn(ctx, "https://idp.test", "grace", "Grace Newname", ""); err != nil {
		t.Fatal(err)
	}
	if now, _ := today(); now.Name != "Grace Newname" {
		t.Errorf("a new name: got %q", now.Name)
	}
	first, second := consent.Link{Role: smart.Proxy, Person: then.Persons[0]}, consent.Link{Role: smart.Proxy, Person: then.Persons[1]}
	if _, err := w.guard.UnlinkAccount(ctx, then.Login, first); err != nil {
		t.Fatal(err)
	}
	if now, ok := today(); !ok || now.FHIRUser != second.Person || !slices.Equal(now.Persons, []string{second.Person}) {
		t.Errorf("one child less: got %+v %v", now, ok)
	}
	if _, err := w.guard.UnlinkAccount(ctx, then.Login, second, second); err != nil {
		t.Fatal(err)
	}
	if now, ok := today(); ok {
		t.Errorf("no child: got %+v", now)
	}
	if _, err := w.guard.IdentityOf(ctx, first.Person); fhir.KindOf(err) != fhir.Forbidden {
		t.Errorf("a login still stands for the person: %v", err)
	}
	if _, err := w.guard.LinkAccount(ctx, "https://idp.test", "grace", "", "", first); err != nil {
		t.Fatal(err)
	}
	if now, ok := today(); !ok || now.FHIRUser != first.Person {
		t.Errorf("linked again: got %+v %v", now, ok)
	}
	other := then
	other.Role = smart.Provider
	if _, ok, err := w.guard.Today(ctx, other); ok || err != nil {
		t.Errorf("a role that the account never had: %v %v", ok, err)
	}
	other.Login = "nobody"
	if _, ok, err := w.guard.Today(ctx, other); ok || err != nil {
		t.Errorf("no account: %v %v", ok, err)
	}
	system := smart.Identity{Role: smart.System, Name: "kiosk"}
	if now, ok, err := w.guard.Today(ctx, system); !ok || err != nil || now.Name != "kiosk" {
		t.Errorf("a backend: %+v %v %v", now, ok, err)
	}
	if _, err := w.guard.UnlinkAccount(ctx, "nobody", first); fhir.KindOf(err) != fhir.NotFound {
		t.Errorf("unlinking nobody: %v", err)
	}
}

// Every request pays for this one.
func BenchmarkToday(b *testing.B) {
	w := newWorld(b)
	id := w.as("grace").Identity
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := w.guard.Today(b.Context(), id); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
