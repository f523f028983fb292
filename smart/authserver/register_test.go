package authserver_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mypatients/smart/authserver"
)

func (w *world) json(method, path, body string, header ...string) *answer {
	w.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = w.base + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.do(req)
}

func TestRegistration(t *testing.T) {
	w := newWorld(t, nil)
	register := func(body string) *answer { t.Helper(); return w.json("POST", "/oauth/register", body) }

	t.Run("public app", func(t *testing.T) {
		a := register(`{"client_name":"N","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","scope":"openid launch/patient offline_access patient/*.rs foo","launch_uri":"https://app.example/l"}`)
		want(t, a, 201, "")
		if a.str("client_id") == "" || a.json["client_secret"] != nil || a.str("scope") != "openid launch/patient offline_access patient/*.rs" || a.str("registration_access_token") == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %s", a.body)
		}
		id := a.str("client_id")
		code := w.authorize(w.request(id, standalone)).Get("code")
		token := w.post("/oauth/token", exchange(code, "client_id", id))
		if token.status != 200 || token.str("refresh_token") == "" || token.str("scope") != "launch/patient openid offline_access patient/*.rs" {
			t.Errorf("got %s", token.body)
		}
	})
	t.Run("confidential app, by default", func(t *testing.T) {
		a := register(`{"redirect_uris":["http://127.0.0.1/callback"]}`)
		want(t, a, 201, "")
		if a.str("token_endpoint_auth_method") != "client_secret_basic" || a.str("client_secret") == "" || a.json["client_secret_expires_at"] != 0.0 {
			t.Errorf("got %s", a.body)
		}
		code := w.authorize(w.request(a.str("client_id"), "openid user/*.read")).Get("code")
		want(t, w.post("/oauth/token", exchange(code), "Authorization", basic(a.str("client_id"), a.str("client_secret"))), 200, "")
	})
	t.Run("backend service", func(t *testing.T) {
		a := register(`{"client_name":"K","grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt","scope":"system/CareTeam.cruds","jwks":` + string(publicKeys()) + `}`)
		want(t, a, 201, "")
		want(t, w.backendToken(w.assertion(a.str("client_id")), "system/CareTeam.cruds"), 200, "")
		if a.json["may_launch"] != true {
			t.Errorf("got %s", a.body)
		}
	})
	for name, c := range map[string]struct{ body, code string }{
		"not JSON":            {`x`, "invalid_client_metadata"},
		"no redirect_uris":    {`{}`, "invalid_redirect_uri"},
		"http":                {`{"redirect_uris":["http://app.example/cb"]}`, "invalid_redirect_uri"},
		"wildcard":            {`{"redirect_uris":["https://*.example/cb"]}`, "invalid_redirect_uri"},
		"fragment":            {`{"redirect_uris":["https://app.example/cb#x"]}`, "invalid_redirect_uri"},
		"relative":            {`{"redirect_uris":["/cb"]}`, "invalid_redirect_uri"},
		"javascript":          {`{"redirect_uris":["javascript:alert(1)"],"token_endpoint_auth_method":"none"}`, "invalid_redirect_uri"},
		"data":                {`{"redirect_uris":["data:text/html,x"],"token_endpoint_auth_method":"none"}`, "invalid_redirect_uri"},
		"custom, with secret": {`{"redirect_uris":["com.example.app:/cb"]}`, "invalid_redirect_uri"},
		"method":              {`{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"client_secret_post"}`, "invalid_client_metadata"},
		"grant type":          {`{"redirect_uris":["https://a.example/cb"],"grant_types":["implicit"]}`, "invalid_client_metadata"},
		"only refresh":        {`{"grant_types":["refresh_token"]}`, "invalid_client_metadata"},
		"response type":       {`{"redirect_uris":["https://a.example/cb"],"response_types":["token"]}`, "invalid_client_metadata"},
		"symmetric backend":   {`{"grant_types":["client_credentials"],"scope":"system/*.rs"}`, "invalid_client_metadata"},
		"no keys":             {`{"grant_types":["client_credentials"],"token_endpoint_auth_method":"private_key_jwt"}`, "invalid_client_metadata"},
		"both keys":           {`{"grant_types":["client_credentials"],"jwks_uri":"https://a.example/j","jwks":` + string(publicKeys()) + `}`, "invalid_client_metadata"},
		"logo":                {`{"redirect_uris":["https://a.example/cb"],"logo_uri":"javascript:alert(1)"}`, "invalid_client_metadata"},
		"launch":              {`{"redirect_uris":["https://a.example/cb"],"launch_uri":"http://a.example/l"}`, "invalid_client_metadata"},
		"scope":               {`{"redirect_uris":["https://a.example/cb"],"scope":"foo"}`, "invalid_client_metadata"},
		"software statement":  {`{"redirect_uris":["https://a.example/cb"],"software_statement":"a.b.c"}`, "unapproved_software_statement"},
	} {
		t.Run(name, func(t *testing.T) { want(t, register(c.body), 400, c.code) })
	}
	t.Run("custom scheme of a native app", func(t *testing.T) {
		want(t, register(`{"redirect_uris":["com.example.app:/cb"],"token_endpoint_auth_method":"none"}`), 201, "")
	})
	t.Run("RFC 7592", func(t *testing.T) {
		a := register(`{"client_name":"Old","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none"}`)
		uri, auth := a.str("registration_client_uri"), "Bearer "+a.str("registration_access_token")
		if got := w.json("GET", uri, "", "Authorization", auth); got.status != 200 || got.str("client_name") != "Old" {
			t.Errorf("read: %d %s", got.status, got.body)
		}
		body, _ := json.Marshal(map[string]any{"client_id": a.str("client_id"), "client_name": "New", "redirect_uris": []string{"https://b.example/cb"}, "token_endpoint_auth_method": "none"})
		if got := w.json("PUT", uri, string(body), "Authorization", auth); got.status != 200 || got.str("client_name") != "New" {
			t.Errorf("replace: %d %s", got.status, got.body)
		}
		if w.server.OriginAllowed(t.Context(), "https://a.example") || !w.server.OriginAllowed(t.Context(), "https://b.example") {
			t.Error("origins did not follow")
		}
		want(t, w.json("PUT", uri, `{"client_id":"other","redirect_uris":["https://b.example/cb"]}`, "Authorization", auth), 400, "invalid_client_metadata")
		for _, bad := range []string{"", "Bearer x", "Bearer " + a.str("client_id")} {
			want(t, w.json("GET", uri, "", "Authorization", bad), 401, "invalid_token")
			want(t, w.json("DELETE", uri, "", "Authorization", bad), 401, "invalid_token")
		}
		want(t, w.json("GET", "/oauth/register/public", "", "Authorization", auth), 401, "invalid_token")
		if got := w.json("DELETE", uri, "", "Authorization", auth); got.status != 204 {
			t.Errorf("remove: %d", got.status)
		}
		want(t, w.json("GET", uri, "", "Authorization", auth), 401, "invalid_token")
		if a := w.get("/oauth/authorize?" + w.request(a.str("client_id"), "openid", "redirect_uri", "https://b.example/cb").Encode()); a.status != 400 {
			t.Errorf("authorize: %d", a.status)
		}
	})
}

func TestRegistrationInProduction(t *testing.T) {
	body := `{"redirect_uris":["https://a.example/cb"],"may_launch":true,"grant_types":["authorization_code","client_credentials"],"token_endpoint_auth_method":"private_key_jwt","jwks":` + string(publicKeys()) + `}`
	closed := newWorld(t, func(c *authserver.Config) { c.OpenRegistration = false })
	want(t, closed.json("POST", "/oauth/register", body), 403, "access_denied")
	want(t, closed.json("POST", "/oauth/register", body, "Authorization", "Bearer "), 403, "access_denied")

	w := newWorld(t, func(c *authserver.Config) { c.OpenRegistration = false; c.InitialAccessToken = "initial-initial" })
	want(t, w.json("POST", "/oauth/register", body), 401, "invalid_token")
	want(t, w.json("POST", "/oauth/register", body, "Authorization", "Bearer initial"), 401, "invalid_token")
	a := w.json("POST", "/oauth/register", body, "Authorization", "Bearer initial-initial")
	want(t, a, 201, "")
	if strings.Contains(a.str("scope"), "system/") || a.json["may_launch"] != nil {
		t.Errorf("more than asked: %s", a.body)
	}
	change, _ := json.Marshal(map[string]any{"client_id": a.str("client_id"), "redirect_uris": []string{"https://a.example/cb"}, "scope": "system/*.cruds user/*.rs", "jwks": publicKeys()})
	b := w.json("PUT", a.str("registration_client_uri"), string(change), "Authorization", "Bearer "+a.str("registration_access_token"))
	if b.str("scope") != "user/*.rs" {
		t.Errorf("a registration widened itself: %s", b.body)
	}
}
