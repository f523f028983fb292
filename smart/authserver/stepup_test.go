package authserver_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

// A grant knows when and how strongly the person signed in, and tells it to the
// app, to resource servers and to the gateway, also after a refresh (RFC 9470).
func TestStepUpIsKnown(t *testing.T) {
	w := newWorld(t, func(c *authserver.Config) { c.ACRValues = []string{"mfa"} })
	var asked []string
	w.answer = func(p *authserver.Pending) (authserver.Approval, *smart.Error) {
		asked = p.ACRValues
		return authserver.Approval{Identity: grace, Scopes: p.Scopes, Patient: "p1", AuthTime: w.now().Add(-time.Minute), ACR: "mfa"}, nil
	}
	signedIn := w.now().Add(-time.Minute).Unix()
	got := w.login("openid launch/patient offline_access patient/*.rs", "acr_values", "mfa hwk")
	if !slices.Equal(asked, []string{"mfa", "hwk"}) {
		t.Errorf("the page is asked for %v", asked)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(got.str("id_token"), ".")[1])
	var claims struct {
		ACR      string `json:"acr"`
		AuthTime int64  `json:"auth_time"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.ACR != "mfa" || claims.AuthTime != signedIn {
		t.Errorf("the ID token says %s", payload)
	}
	w.pass(time.Hour)
	token := w.refresh(got.str("refresh_token")).str("access_token")
	g, err := w.server.Authenticate(t.Context(), token)
	if err != nil || g.ACR != "mfa" || g.AuthTime.Unix() != signedIn {
		t.Errorf("got %q %v, %v", g.ACR, g.AuthTime, err)
	}
	told := w.post("/oauth/introspect", url.Values{"token": {token}}, "Authorization", "Bearer "+token)
	if told.json["acr"] != "mfa" || told.json["auth_time"] != float64(signedIn) {
		t.Errorf("introspection says %s", told.body)
	}
	if m := w.get("/.well-known/openid-configuration"); !strings.Contains(string(m.body), `"acr_values_supported":["mfa"]`) {
		t.Errorf("the metadata says %s", m.body)
	}
}
