package main

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"mypatients/consent"
)

// What an app kept is its origin's (https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html):
// apps elsewhere never reach it. It goes when the app is removed, but for what another
// app that runs in the same place has too.
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
	put := func(token, system, code string) {
		t.Helper()
		expect(t, w.send("POST", "/appstate/Basic", `{"resourceType":"Basic","subject":{"reference":"`+w.URL+`/fhir/Patient/pt-1"},"code":{"coding":[{"system":"`+system+`","code":"`+code+`"}]}}`,
			"Content-Type", "application/fhir+json", "Authorization", "Bearer "+token), 201)
	}
	remove := func(kind string) {
		t.Helper()
		if err := w.core.server.RemoveClient(t.Context(), w.ids[kind]); err != nil {
			t.Fatal(err)
		}
	}
	finds := func(token string, n int) {
		t.Helper()
		if r := find(token); r.status != 200 || strings.Count(r.body, `"settings"`) != n {
			t.Errorf("got %d %s, want %d", r.status, r.body, n)
		}
	}
	register("states", origin)
	first := token("states", origin)
	for range 45 { // more than go at once
		put(first, origin, "settings")
	}
	for i := range 155 { // of many codes
		put(first, origin, "other-"+strconv.Itoa(i))
	}
	expect(t, w.send("POST", "/appstate/Basic", `{"resourceType":"Basic","subject":{"reference":"`+w.URL+`/fhir/Patient/pt-1"},"code":{"coding":[{"system":"`+origin+`","code":"one-more"}]}}`,
		"Content-Type", "application/fhir+json", "Authorization", "Bearer "+first), 422)
	register("elsewhere", "https://elsewhere.example")
	elsewhere := token("elsewhere", "https://elsewhere.example")
	put(elsewhere, "https://elsewhere.example", "settings")
	register("beside", origin)
	remove("states")
	expect(t, find(first), 401)
	expect(t, find(elsewhere), 403)
	finds(token("beside", origin), 45)
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
	remove("beside")
	register("states", origin)
	finds(token("states", origin), 0)
	if r := w.send("GET", "/appstate/Basic?"+url.Values{"code": {"https://elsewhere.example|settings"}, "subject": {w.URL + "/fhir/Patient/pt-1"}}.Encode(), "", "Authorization", "Bearer "+elsewhere); strings.Count(r.body, `"settings"`) != 1 {
		t.Errorf("another app lost its state: %d %s", r.status, r.body)
	}
	// What an app was registered for by name goes too.
	const named = "urn:example:named|settings"
	name := func(kind string) {
		w.register(kind, map[string]any{"client_name": kind, "redirect_uris": []string{w.app.URL + "/" + kind}, "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code"}, "scope": "launch/patient patient/Basic.cuds?code=" + named})
	}
	enter := func(kind string) string {
		t.Helper()
		const asked = "launch/patient patient/Basic.cuds?code=" + named
		back := w.app.URL + "/" + kind
		q := w.authorize("grace", with(w.ask(kind, asked), "redirect_uri", back), mateo)
		r := w.token(kind, with(w.redeem(kind, q.Get("code")), "redirect_uri", back))
		expect(t, r, 200)
		return r.str("access_token")
	}
	all := func(token string) int {
		r := w.send("GET", "/appstate/Basic?"+url.Values{"code": {named}, "subject": {w.URL + "/fhir/Patient/pt-1"}}.Encode(), "", "Authorization", "Bearer "+token)
		expect(t, r, 200)
		return strings.Count(r.body, `"settings"`)
	}
	name("named")
	made := enter("named")
	put(made, "urn:example:named", "settings")
	if n := all(made); n != 1 {
		t.Errorf("before: %d", n)
	}
	remove("named")
	name("named")
	if n := all(enter("named")); n != 0 {
		t.Errorf("after: %d", n)
	}
}
