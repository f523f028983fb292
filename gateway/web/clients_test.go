package web_test

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"mypatients/smart"
)

func TestClients(t *testing.T) {
	w := newWorld(t)
	ana, home := w.as("ana", "/staff")
	none := home.follow("Apps").shows(200, "No apps are registered")
	form := none.follow("Register an app").shows(200, "Redirect URIs")
	form.submit("Register the app").shows(422, "Enter the name of the app", "Enter at least one address")
	form.submit("Register the app", "name", "Growth", "redirects", "http://growth.example/cb").shows(422, "must be https off loopback")
	form.submit("Register the app", "name", "Growth", "redirects", "https://growth.example/*").shows(422, "wildcard")
	form.submit("Register the app", "name", "Growth", "redirects", "https://growth.example/cb", "launch", "javascript:alert(1)").shows(422, "launch_uri must be https")
	form.submit("Register the app", "name", "Growth", "redirects", "https://growth.example/cb", "scope", "patient/Observation.xyz").shows(422, "not a scope that we know")
	form.submit("Register the app", "name", "Growth", "kind", "backend").shows(422, "Enter the public keys")
	form.submit("Register the app", "name", "Growth", "kind", "key", "redirects", "https://growth.example/cb", "jwks", `{"keys":[]}`).shows(422)

	app := form.submit("Register the app", "name", "Growth", "redirects", "https://growth.example/cb\nhttps://growth.example/cb2", "kind", "secret")
	app.shows(200, "shown only this once", "https://growth.example/cb2", "Nobody is connected", "patient/*.rs")
	secret := shownSecret(t, app)
	list := ana.get("/staff/clients").shows(200, "Growth", "Web app with a secret")
	page := list.follow("Growth").shows(200, "Growth")
	if strings.Contains(page.body, secret) {
		t.Error("the secret is shown again")
	}
	id := strings.TrimPrefix(page.url.Path, "/staff/clients/")
	c, err := w.oauth.Client(t.Context(), id)
	if err != nil || c.AuthMethod != smart.AuthSecretBasic || !c.MayUse(smart.GrantRefresh) || len(c.RedirectURIs) != 2 {
		t.Fatalf("registered %+v, %v", c, err)
	}
	again := page.submit("Make a new secret").shows(200, "shown only this once")
	if shownSecret(t, again) == secret {
		t.Error("the new secret is the old one")
	}
	page.submit("End its access").at("/staff/clients/"+id).shows(200, "has no access any more")
	page.submit("Remove the app").shows(422, "Tick this to remove the app")
	page.submit("Remove the app", "sure", "yes").at("/staff/clients").shows(200, "Growth was removed", "No apps are registered")
	if _, err := w.oauth.Client(t.Context(), id); !unknown(err) {
		t.Errorf("after removing: %v", err)
	}
	ana.get("/staff/clients/" + id).shows(404)
	ana.get("/staff/clients/" + url.PathEscape("../x")).shows(404)
}

// Apps are an administrator's business: for everyone else there is no such page.
func TestClientsAreForAdministrators(t *testing.T) {
	w := newWorld(t)
	for _, login := range []string{"sam", "adams", "grace", "ava"} {
		b, _ := w.as(login, "/signin")
		for _, path := range []string{"/staff/clients", "/staff/clients/new", "/staff/clients/x"} {
			b.get(path).shows(404)
		}
	}
}

func shownSecret(t *testing.T, p *page) string {
	t.Helper()
	m := regexp.MustCompile(`data-copy="([A-Za-z0-9_-]{43})"`).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("no secret is shown:\n%s", p.body)
	}
	return m[1]
}

func unknown(err error) bool {
	var known *smart.Error
	return errors.As(err, &known) && known.Code == "invalid_client"
}
