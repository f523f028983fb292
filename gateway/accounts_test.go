package main

import (
	"net/url"
	"regexp"
	"testing"

	"mypatients/gateway/demo"
)

// An administrator ends what a stolen login can do: its sessions and its apps are
// over with the next request, those of others go on.
func TestStolenLogin(t *testing.T) {
	w := newSmartWorld(t)
	grace, luis := w.enter("grace", "public", fullScope, mateo), w.enter("luis", "public", fullScope, mateo)
	w.browser("grace").open(w.URL+"/patient").has(t, 200, "Mateo Rivera")

	ana := w.newVisitor()
	page := ana.submit(ana.open(w.URL+"/staff/accounts"), "username", url.Values{"username": {"ana"}, "password": {demo.Password}})
	page = ana.submit(page, "q", url.Values{"q": {"grace@example.org"}})
	path := regexp.MustCompile(`/staff/accounts/[^"]+`).FindString(page.text)
	account := ana.open(w.URL + path)
	if n := w.send("POST", path, url.Values{"action": {"end-all"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"); n.status == 200 {
		t.Errorf("somebody without a session ends it: %d", n.status)
	}
	expect(t, w.fhir("Patient/pt-1", grace.str("access_token")), 200)
	ana.submit(account, "action", url.Values{"action": {"end-all"}, "link": nil, "sure": nil}).has(t, 200, "is signed out everywhere")

	expect(t, w.fhir("Patient/pt-1", grace.str("access_token")), 401)
	refused(t, w.refresh("public", grace.str("refresh_token")), 400, "invalid_grant")
	w.browser("grace").open(w.URL+"/patient").has(t, 200, "You were signed out")
	expect(t, w.fhir("Patient/pt-1", luis.str("access_token")), 200)
	w.browser("luis").open(w.URL+"/patient").has(t, 200, "Mateo Rivera")
}
