package main

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestSMART plays most rows on one gateway.
func TestSMART(t *testing.T) {
	w := newSmartWorld(t)
	for _, part := range []struct {
		name string
		play func(*testing.T, *smartWorld)
	}{
		{"discovery", discoveryRows}, {"capability statement", metadataRows}, {"authorization", authorizeRows}, {"launch", launchRows},
		{"token", tokenRows}, {"refresh", refreshRows}, {"client authentication", clientRows}, {"backend services", backendRows},
		{"id token", idTokenRows}, {"introspection", introspectRows}, {"revocation", revocationRows}, {"scopes", scopeRows}, {"granular", granularRows},
		{"resources", resourceRows}, {"cors", corsRows}, {"bulk exports", exportRows},
		{"A.1", partA1}, {"A.2", partA2}, {"A.3", partA3}, {"A.4", partA4}, {"A.5", partA5}, {"A.6-8", partA6},
	} {
		t.Run(part.name, func(t *testing.T) { part.play(t, w) })
	}
}

func texts(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		if s, ok := i.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func lacking(have []string, want ...string) (missing []string) {
	for _, s := range want {
		if !slices.Contains(have, s) {
			missing = append(missing, s)
		}
	}
	return missing
}

func discoveryRows(t *testing.T, w *smartWorld) {
	const at = "/fhir/.well-known/smart-configuration"
	d := w.send("GET", at, "", "Accept", "application/json", "Origin", w.app.URL)
	absolute := func(t *testing.T, names ...string) {
		t.Helper()
		for _, name := range names {
			if u, err := url.Parse(d.str(name)); err != nil || !u.IsAbs() || u.Host == "" {
				t.Errorf("%s is %q", name, d.str(name))
			}
		}
	}
	t.Run("D-1 200, JSON, without a token", func(t *testing.T) {
		expect(t, d, 200)
		if !strings.HasPrefix(d.header.Get("Content-Type"), "application/json") || d.json == nil {
			t.Errorf("got %v %s", d.header, d.body)
		}
	})
	t.Run("D-2 endpoints", func(t *testing.T) { absolute(t, "authorization_endpoint", "token_endpoint") })
	t.Run("D-3 capabilities are strings", func(t *testing.T) {
		all, _ := d.json["capabilities"].([]any)
		if len(all) == 0 || len(texts(all)) != len(all) {
			t.Errorf("got %v", all)
		}
	})
	t.Run("D-4 grant types", func(t *testing.T) {
		if m := lacking(texts(d.json["grant_types_supported"]), "authorization_code", "client_credentials", "refresh_token"); m != nil {
			t.Errorf("no %v", m)
		}
	})
	t.Run("D-5 S256 and not plain", func(t *testing.T) {
		if got := texts(d.json["code_challenge_methods_supported"]); !slices.Equal(got, []string{"S256"}) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("D-6 issuer and keys for single sign-on", func(t *testing.T) {
		absolute(t, "issuer", "jwks_uri")
	})
	t.Run("D-7 introspection", func(t *testing.T) { absolute(t, "introspection_endpoint") })
	t.Run("D-8 a resource scope is supported", func(t *testing.T) {
		form := regexp.MustCompile(`^(patient|user|system|\*)/([A-Z][A-Za-z]+|\*)\.[cruds]+(\?.+)?$`)
		if !slices.ContainsFunc(texts(d.json["scopes_supported"]), form.MatchString) {
			t.Errorf("got %v", d.json["scopes_supported"])
		}
	})
	t.Run("D-9 management, registration, revocation", func(t *testing.T) {
		absolute(t, "management_endpoint", "registration_endpoint", "revocation_endpoint")
	})
	t.Run("D-10 D-11 capabilities of both launches", func(t *testing.T) {
		if m := lacking(texts(d.json["capabilities"]), "launch-standalone", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric",
			"sso-openid-connect", "context-standalone-patient", "permission-offline", "permission-patient", "authorize-post", "permission-v2", "permission-v1",
			"launch-ehr", "context-banner", "context-style", "context-ehr-patient", "permission-user", "context-ehr-encounter",
			"context-standalone-encounter", "permission-online"); m != nil {
			t.Errorf("no %v", m)
		}
	})
	t.Run("D-12 backend services", func(t *testing.T) {
		algorithms := texts(d.json["token_endpoint_auth_signing_alg_values_supported"])
		if !slices.Contains(texts(d.json["token_endpoint_auth_methods_supported"]), "private_key_jwt") || lacking(algorithms, "RS384", "ES384") != nil {
			t.Errorf("got %s", d.body)
		}
	})
	t.Run("D-13 O-1 any origin reads it", func(t *testing.T) {
		if got := d.header.Get("Access-Control-Allow-Origin"); got != "*" && got != w.app.URL {
			t.Errorf("got %q", got)
		}
	})
}

func metadataRows(t *testing.T, w *smartWorld) {
	m := w.send("GET", "/fhir/metadata", "", "Accept", "application/fhir+json", "Origin", "https://any.example")
	t.Run("M-2 R4", func(t *testing.T) {
		if !strings.HasPrefix(m.str("fhirVersion"), "4.0") || m.str("resourceType") != "CapabilityStatement" {
			t.Errorf("got %d %.300s", m.status, m.body)
		}
	})
	t.Run("M-3 JSON", func(t *testing.T) {
		if len(lacking([]string{"json", "application/json", "application/fhir+json"}, texts(m.json["format"])...)) != 0 || len(texts(m.json["format"])) == 0 {
			t.Errorf("got %v", m.json["format"])
		}
	})
	t.Run("O-2 any origin reads it", func(t *testing.T) {
		if got := m.header.Get("Access-Control-Allow-Origin"); got != "*" {
			t.Errorf("got %q", got)
		}
	})
}

func idTokenRows(t *testing.T, w *smartWorld) {
	c := w.send("GET", "/.well-known/openid-configuration", "", "Accept", "application/json")
	r := w.enter("grace", "public", fullScope, mateo, "nonce", "n-1")
	header, claims := w.idToken(r.str("id_token"))
	t.Run("ID-1 ID-2 there is one, well-formed", func(t *testing.T) {
		if strings.Count(r.str("id_token"), ".") != 2 {
			t.Errorf("got %q", r.str("id_token"))
		}
	})
	t.Run("ID-3 ID-4 OpenID configuration", func(t *testing.T) {
		expect(t, c, 200)
		for _, name := range []string{"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported"} {
			if c.json[name] == nil {
				t.Errorf("no %s", name)
			}
		}
		if !strings.HasPrefix(c.header.Get("Content-Type"), "application/json") || lacking(texts(c.json["id_token_signing_alg_values_supported"]), "RS256") != nil {
			t.Errorf("got %s", c.body)
		}
	})
	t.Run("ID-5 keys", func(t *testing.T) {
		keys := w.send("GET", c.str("jwks_uri"), "")
		list, _ := keys.json["keys"].([]any)
		for _, item := range list {
			if k, _ := item.(map[string]any); k["kty"] != "RSA" || k["d"] != nil || k["n"] == nil || k["kid"] == nil {
				t.Errorf("got %v", k)
			}
		}
		expect(t, keys, 200)
	})
	t.Run("ID-6 ID-7 RS256 by a key that is published", func(t *testing.T) {
		if header.Algorithm != string(jose.RS256) || header.KeyID == "" {
			t.Errorf("got %+v", header)
		}
	})
	t.Run("ID-8 ID-9 claims", func(t *testing.T) {
		now := float64(w.clock.Now().Unix())
		exp, _ := claims["exp"].(float64)
		sub, _ := claims["sub"].(string)
		if claims["iss"] != c.json["issuer"] || claims["aud"] != w.ids["public"] || exp <= now || claims["iat"] != now || sub == "" || len(sub) > 255 {
			t.Errorf("got %v", claims)
		}
	})
	t.Run("ID-10 ID-11 fhirUser, which is readable", func(t *testing.T) {
		narrow := w.enter("grace", "public", "launch/patient openid fhirUser patient/Condition.rs", mateo)
		_, claims := w.idToken(narrow.str("id_token"))
		user, _ := claims["fhirUser"].(string)
		at, ok := strings.CutPrefix(user, w.URL+"/fhir/")
		if !ok || !strings.HasPrefix(at, "RelatedPerson/") {
			t.Fatalf("got %q", user)
		}
		if got := w.fhir(at, narrow.str("access_token")); got.status != 200 || got.str("resourceType") != "RelatedPerson" {
			t.Errorf("got %d %.200s", got.status, got.body)
		}
		if got := w.fhir("RelatedPerson/rp-4", narrow.str("access_token")); got.status == 200 {
			t.Error("opens another's")
		}
	})
}
