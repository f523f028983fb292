package main

import (
	"net/url"
	"strings"
	"testing"

	"mypatients/consent"
)

// What an app kept is its origin's (https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html):
// when the app is removed nobody reaches it, and apps elsewhere never do. It is not
// purged: the same app, registered again where it ran, finds it again.
func removedState(t *testing.T, w *smartWorld) {
	const scope, origin = "launch/patient patient/Basic.cuds", "https://states.example"
	register := func(kind, redirect string) {
		w.register(kind, map[string]any{"client_name": kind, "redirect_uris": []string{redirect + "/callback"}, "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code"}, "scope": scope})
	}
	token := func(kind, redirect string) string {
		t.Helper()
		back := redirect + "/callback"
		q := w.authorize("grace", with(w.ask(kind, scope), "redirect_uri", back), mateo)
		r := w.token(kind, with(w.redeem(kind, q.Get("code")), "redirect_uri", back))
		if r.status != 200 {
			t.Fatalf("%s: %d %s", kind, r.status, r.body)
		}
		return r.str("access_token")
	}
	find := func(token string) reply {
		return w.send("GET", "/appstate/Basic?"+url.Values{"code": {origin + "|settings"}, "subject": {w.URL + "/fhir/Patient/pt-1"}}.Encode(), "", "Authorization", "Bearer "+token)
	}
	register("states", origin)
	first := token("states", origin)
	made := w.send("POST", "/appstate/Basic", `{"resourceType":"Basic","subject":{"reference":"`+w.URL+`/fhir/Patient/pt-1"},"code":{"coding":[{"system":"`+origin+`","code":"settings"}]}}`,
		"Content-Type", "application/fhir+json", "Authorization", "Bearer "+first)
	expect(t, made, 201)
	if err := w.core.server.RemoveClient(t.Context(), w.ids["states"]); err != nil {
		t.Fatal(err)
	}
	expect(t, find(first), 401)
	// Nor could a token that was left over, if there were one.
	caller := consent.Caller{}
	identity, err := w.core.guard.IdentityOf(t.Context(), "RelatedPerson/rp-1")
	if err != nil {
		t.Fatal(err)
	}
	caller.Grant = consent.Portal(identity, "left-over")
	caller.ClientID = w.ids["states"]
	if found, err := w.core.guard.FindState(t.Context(), caller, origin+"|settings", w.URL+"/fhir/Patient/pt-1"); err == nil {
		t.Errorf("the removed app finds %d states", len(found))
	}
	register("elsewhere", "https://elsewhere.example")
	expect(t, find(token("elsewhere", "https://elsewhere.example")), 403)
	register("states", origin)
	if r := find(token("states", origin)); r.status != 200 || !strings.Contains(r.body, made.str("id")) {
		t.Errorf("the app that came back finds %d %s", r.status, r.body)
	}
}
