package authserver_test

import (
	"errors"
	"net/url"
	"testing"

	"mypatients/smart"
)

func TestAddClient(t *testing.T) {
	w := newWorld(t, nil)
	app := smart.Client{Name: "App", RedirectURIs: []string{"https://app.example/cb"}, Scope: "openid", GrantTypes: []string{smart.GrantCode}, AuthMethod: smart.AuthSecretBasic}
	id, secret, err := w.server.AddClient(t.Context(), app, "")
	if err != nil || id == "" || len(secret) < 43 {
		t.Fatalf("got %q, %q, %v", id, secret, err)
	}
	wrongCode := url.Values{"grant_type": {"authorization_code"}, "code": {"BAD"}, "redirect_uri": {"https://app.example/cb"}, "code_verifier": {"v"}}
	want(t, w.post("/oauth/token", wrongCode, "Authorization", basic(id, secret)), 400, "invalid_grant")

	renewed, err := w.server.NewSecret(t.Context(), id)
	if err != nil || renewed == secret {
		t.Fatalf("got %q, %v", renewed, err)
	}
	want(t, w.post("/oauth/token", wrongCode, "Authorization", basic(id, secret)), 401, "invalid_client")
	want(t, w.post("/oauth/token", wrongCode, "Authorization", basic(id, renewed)), 400, "invalid_grant")

	taken, public, given := app, app, app
	taken.ID = id
	public.AuthMethod, public.ID = smart.AuthNone, "phone"
	given.ID = "given"
	if _, _, err := w.server.AddClient(t.Context(), taken, ""); code(err) != "invalid_client_metadata" {
		t.Errorf("a second of the same id: %v", err)
	}
	if _, _, err := w.server.AddClient(t.Context(), given, "short"); code(err) != "invalid_client_metadata" {
		t.Errorf("a short secret: %v", err)
	}
	if _, secret, err := w.server.AddClient(t.Context(), given, "given-secret-of-enough-characters"); err != nil || secret != "" {
		t.Errorf("a secret that was given: %q, %v", secret, err)
	}
	if _, secret, err := w.server.AddClient(t.Context(), public, ""); err != nil || secret != "" {
		t.Errorf("a public client: %q, %v", secret, err)
	}
	if _, err := w.server.NewSecret(t.Context(), "phone"); code(err) != "invalid_client_metadata" {
		t.Errorf("a secret for a public client: %v", err)
	}
	if _, err := w.server.NewSecret(t.Context(), "absent"); code(err) != "invalid_client" {
		t.Errorf("a secret for nobody: %v", err)
	}
}

func TestEndClientGrants(t *testing.T) {
	w := newWorld(t, nil)
	a := w.login("launch/patient patient/*.rs offline_access")
	token, refresh := a.str("access_token"), a.str("refresh_token")
	if n, err := w.server.ClientGrants(t.Context(), "public", 10); n != 1 || err != nil || !w.works(token) {
		t.Fatalf("%d grants, %v", n, err)
	}
	if err := w.server.EndClientGrants(t.Context(), "another"); err != nil || !w.works(token) {
		t.Fatalf("another client's end: %v", err)
	}
	under := w.authorize(w.request("public", standalone)).Get("code")
	if err := w.server.EndClientGrants(t.Context(), "public"); err != nil || w.works(token) {
		t.Errorf("the token works still, %v", err)
	}
	want(t, w.refresh(refresh), 400, "invalid_grant")
	want(t, w.post("/oauth/token", exchange(under, "client_id", "public")), 400, "invalid_grant")
	if n, err := w.server.ClientGrants(t.Context(), "public", 10); n != 0 || err != nil {
		t.Errorf("%d grants, %v", n, err)
	}
	w.pass(1)
	if !w.works(w.login("launch/patient patient/*.rs").str("access_token")) {
		t.Error("it cannot be approved again")
	}
}

func code(err error) string {
	var known *smart.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return ""
}
