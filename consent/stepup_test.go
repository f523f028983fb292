package consent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// Whoever lets somebody into a record must have signed in as the rule of their
// issuer says; whoever keeps or puts somebody out need not.
func TestStepUp(t *testing.T) {
	w := newWorld(t)
	guard, err := consent.New(consent.Config{Rules: w.rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		StepUp: map[string]consent.StepUp{"https://idp.test": {ACR: []string{"mfa", "hwk"}, Within: 5 * time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	lax := w.guard
	w.guard = guard // that w closes, and lax here
	t.Cleanup(func() { _ = lax.Close() })
	ctx := t.Context()
	signedIn := func(acr string, ago time.Duration) consent.Caller {
		c := w.as("grace")
		c.ACR, c.AuthTime = acr, w.clock.Now().Add(-ago)
		return c
	}
	weak, old, strong := signedIn("pwd", 0), signedIn("mfa", 6*time.Minute), signedIn("mfa", time.Minute)

	asked := func(provider string) *fhir.Resource { return w.ask(provider, "1001", consent.AccessRequest{}) }
	permit := `{"resourceType":"Consent","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],
		"policy":[{"uri":"urn:x"}],"provision":{"type":%q,"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/okafor"}}]}}`
	directive := func(kind string) string { return fmt.Sprintf(permit, kind) }
	create := func(c consent.Caller, typ fhir.Type, body string) (*fhir.Resource, error) {
		r, _, err := guard.Create(ctx, c, typ, []byte(body))
		return r, err
	}
	team := `{"resourceType":"CareTeam","id":"mateo-team","status":%q,"subject":{"reference":"Patient/mateo"},"participant":[%s]}`
	put := func(c consent.Caller, status, members string) error {
		_, _, err := guard.Update(ctx, c, fhir.Key{Type: "CareTeam", ID: "mateo-team"}, fmt.Appendf(nil, team, status, members), nil)
		return err
	}
	const chen, ended = `{"member":{"reference":"Practitioner/chen"}}`, `{"member":{"reference":"Practitioner/chen"},"period":{"end":"2026-03-09"}}`
	const okafor = `{"member":{"reference":"Practitioner/okafor"}}`

	first, second := asked("okafor"), asked("baker")
	byBody := func(c consent.Caller, r *fhir.Resource) error {
		body := strings.Replace(string(r.JSON), `"status":"proposed"`, `"status":"active"`, 1)
		_, _, err := guard.Update(ctx, c, r.Key, []byte(body), nil)
		return err
	}
	denied, err := create(weak, "Consent", directive("deny"))
	if err != nil {
		t.Fatalf("to deny takes no proof, but: %v", err)
	}
	optOut, err := create(weak, "Consent", `{"resourceType":"Consent","status":"active",`+privacy+`,"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/grace-mateo"}],
		"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTOUT"}]}}`)
	if err != nil {
		t.Fatalf("nor to opt out: %v", err)
	}
	opens := map[string]func(consent.Caller) error{
		"approve": func(c consent.Caller) error {
			_, err := guard.Approve(ctx, c, first.ID, consent.Narrowing{}, nil)
			return err
		},
		"invite": func(c consent.Caller) error {
			_, err := guard.Invite(ctx, c, "mateo", consent.Invitation{})
			return err
		},
		"add to care team": func(c consent.Caller) error {
			return guard.AddToCareTeam(ctx, c, "mateo", fhir.Key{Type: "Practitioner", ID: "okafor"}, nil)
		},
		"approve by a body": func(c consent.Caller) error { return byBody(c, second) },
		"approve by a patch": func(c consent.Caller) error {
			third := asked("other")
			defer func() { _, _ = guard.Withdraw(ctx, w.as("other"), third.ID, "", nil) }()
			patch, _ := json.Marshal([]any{map[string]any{"op": "replace", "path": "/status", "value": "active"}})
			_, err := guard.Write(ctx, c, consent.Write{Method: consent.Patch, Type: "Consent", ID: third.ID, Body: patch})
			return err
		},
		"permit by a directive": func(c consent.Caller) error {
			_, err := create(c, "Consent", directive("permit"))
			return err
		},
		"take a denial back":               func(c consent.Caller) error { return guard.Delete(ctx, c, denied.Key, nil) },
		"take an opt-out by its rule back": func(c consent.Caller) error { return guard.Delete(ctx, c, optOut.Key, nil) },
		"add by a whole team":              func(c consent.Caller) error { return put(c, "active", chen+","+okafor) },
		"add in a transaction": func(c consent.Caller) error {
			_, err := guard.Transaction(ctx, c, []consent.Step{{Write: consent.Write{Method: consent.Create, Type: "CareTeam",
				Body: []byte(`{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/mateo"},"participant":[` + okafor + `]}`)}}})
			return err
		},
	}
	for name, open := range opens {
		for _, c := range []consent.Caller{weak, old} {
			err := open(c)
			wantKind(t, err, fhir.Forbidden)
			var u *consent.Unproven
			if !errors.As(err, &u) || u.Within != 5*time.Minute || strings.Join(u.ACR, " ") != "mfa hwk" {
				t.Errorf("%s with %q: got %v, want the rule", name, c.ACR, err)
			}
		}
	}
	w.mayNot("okafor", "Patient/mateo")
	// What ends an access takes nothing.
	if err := put(weak, "active", ended); err != nil {
		t.Errorf("to end a membership: %v", err)
	}
	if err := put(weak, "inactive", ended); err != nil {
		t.Errorf("to end a team: %v", err)
	}
	if err := put(weak, "active", ended); err == nil {
		t.Error("a team was opened again without proof")
	}
	if err := put(strong, "active", chen); err != nil {
		t.Error(err)
	}
	for name, open := range opens {
		if err := open(strong); err != nil {
			t.Errorf("%s: got %v, want it done", name, err)
		}
	}
	w.may("okafor", "Patient/mateo")
	for _, end := range []func() error{
		func() error { _, err := guard.Revoke(ctx, weak, first.ID, "", nil); return err },
		func() error {
			_, err := guard.Decline(ctx, weak, w.ask("okafor", "1002", consent.AccessRequest{}).ID, "", nil)
			return err
		},
		func() error {
			return guard.RemoveFromCareTeam(ctx, weak, "mateo", fhir.Key{Type: "Practitioner", ID: "okafor"}, nil)
		},
	} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	// Who may not decide learns no more than before.
	_, err = guard.Approve(ctx, w.as("helen"), second.ID, consent.Narrowing{}, nil)
	wantKind(t, err, fhir.NotFound)
}
