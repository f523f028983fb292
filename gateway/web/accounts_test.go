package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// connected lets the growth app in for grace and tells whether its token works.
func (w *world) connected() (works func() bool) {
	w.t.Helper()
	b, page := w.as("grace", w.app("launch/patient openid patient/*.rs offline_access"))
	page.submit("Approve", "patient", "mateo")
	res, err := http.PostForm(w.base+"/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {b.answer().Get("code")},
		"redirect_uri": {appCallback}, "code_verifier": {verifier}, "client_id": {"growth"}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var made struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || made.Access == "" {
		w.t.Fatalf("no token: %d %v", res.StatusCode, err)
	}
	return func() bool {
		_, err := w.oauth.Authenticate(w.t.Context(), made.Access)
		return err == nil
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	first := w.connected()
	ana, home := w.as("ana", "/staff")
	search := home.follow("Accounts").shows(200, "Who signs in here").hides("Grace")
	search.submit("Find accounts").shows(422, "Enter what to search for")
	search.submit("Find accounts", "q", "nobody@example.org").shows(200, "No account was found")
	search.submit("Find accounts", "q", "1001").shows(200, "Grace Tester", "Parent or guardian", "luis")
	found := search.submit("Find accounts", "q", "grace@EXAMPLE.org").shows(200, "Grace Tester", "grace@example.org").hides("luis")
	account := found.follow("Grace Tester").shows(200, "Whom it stands for", "RelatedPerson/grace-sofia", "Growth <i>Diary</i>", "Signs in at", "Test")
	if !first() {
		t.Fatal("the app does not work")
	}
	account.submit("End its access").at(account.url.Path).shows(200, "The app has no access any more", "No apps are connected")
	if first() {
		t.Error("the app works on")
	}
	second := w.connected()
	ana.get(account.url.Path).submit("Sign out everywhere").shows(200, "is signed out everywhere", "No apps are connected")
	if second() {
		t.Error("the app works on after the account was ended")
	}

	grace, _ := w.as("grace", "/patient")
	account.submit("Remove the link").shows(422, "Choose the link to remove", "Tick this to remove the link")
	account.submit("Remove the link", "link", "proxy RelatedPerson/luis-mateo", "sure", "yes").shows(422, "Choose the link to remove")
	account.submit("Remove the link", "link", "proxy RelatedPerson/grace-mateo").shows(422, "Tick this")
	grace.get("/patient").shows(200, "Mateo Rivera", "Sofia Rivera")
	account.submit("Remove the link", "link", "proxy RelatedPerson/grace-mateo", "sure", "yes").shows(200, "The link was removed").hides("grace-mateo")
	grace.get("/patient").shows(200, "Sofia Rivera").hides("Mateo")
	ana.get(account.url.Path).submit("Remove the link", "link", "proxy RelatedPerson/grace-sofia", "sure", "yes").shows(200, "It can sign in, and sees nothing")
	grace.get("/patient").shows(403, "You are not registered yet")

	own := search.submit("Find accounts", "q", "ana@example.org").follow("Ana Tester").shows(200, "your own account")
	own.submit("Remove the link", "link", "admin Practitioner/sam", "sure", "yes").shows(422, "Another administrator has to remove this one")
	ana.get("/staff/accounts").shows(200)
	ana.get("/staff/accounts/nothing").shows(404)
	ana.get("/staff/accounts/" + url.PathEscape("../x y")).shows(404)
}

// Accounts are an administrator's business: for everyone else there is no such page.
func TestAccountsAreForAdministrators(t *testing.T) {
	w := newWorld(t)
	_, home := w.as("ana", "/staff/accounts")
	account := home.submit("Find accounts", "q", "grace").follow("grace").url.Path
	for _, login := range []string{"sam", "adams", "grace", "ava"} {
		b, _ := w.as(login, "/signin")
		for _, path := range []string{"/staff/accounts", account, "/staff/accounts/x"} {
			b.get(path).shows(404).hides("RelatedPerson")
		}
	}
	if strings.Contains(account, "grace") {
		t.Error("what was searched for is in an address")
	}
}
