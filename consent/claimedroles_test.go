package consent_test

import (
	"slices"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

func TestClaimedRolesComeAndGo(t *testing.T) {
	w := newWorld(t)
	held := func(a *consent.Account) (roles []smart.Role) {
		for _, l := range a.Links {
			roles = append(roles, l.Role)
		}
		return roles
	}
	account, err := w.guard.SignIn(t.Context(), "https://idp.test", "grace", "", "")
	if err != nil {
		t.Fatal(err)
	}
	before := held(account)
	w.link("grace", smart.Staff, "Practitioner/grace-at-the-desk") // linked here, whatever the issuer says
	for _, step := range []struct{ claimed, want []smart.Role }{
		{[]smart.Role{smart.Staff}, append(slices.Clone(before), smart.Staff, smart.Staff)},
		{[]smart.Role{smart.Staff, smart.Admin}, append(slices.Clone(before), smart.Staff, smart.Staff, smart.Admin)},
		{[]smart.Role{smart.Admin}, append(slices.Clone(before), smart.Staff, smart.Admin)},
		{nil, append(slices.Clone(before), smart.Staff)},
	} {
		account, err = w.guard.SignIn(t.Context(), "https://idp.test", "grace", "", "")
		if err != nil {
			t.Fatal(err)
		}
		if account, err = w.guard.ClaimRoles(t.Context(), account, step.claimed...); err != nil {
			t.Fatal(err)
		}
		stored, err := w.guard.Account(t.Context(), account.ID)
		if err != nil || !slices.Equal(held(account), step.want) || !slices.Equal(held(stored), step.want) {
			t.Errorf("claimed %v: got %v, stored %v, want %v (%v)", step.claimed, held(account), held(stored), step.want, err)
		}
	}
	if _, err := w.guard.Identity(t.Context(), account, smart.Admin); fhir.KindOf(err) != fhir.Forbidden {
		t.Errorf("administrator no longer, and yet: %v", err)
	}
}

func TestClaimsLinkToNobody(t *testing.T) {
	w := newWorld(t)
	account, err := w.guard.SignIn(t.Context(), "https://idp.test", "stranger", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []smart.Role{smart.Patient, smart.Proxy, smart.Provider, smart.System, "king", ""} {
		_, err := w.guard.ClaimRoles(t.Context(), account, smart.Staff, role)
		wantKind(t, err, fhir.Invalid)
	}
	if again, err := w.guard.Account(t.Context(), account.ID); err != nil || len(again.Links) != 0 {
		t.Errorf("got %+v, %v", again, err)
	}
}
