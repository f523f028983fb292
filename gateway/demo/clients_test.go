package demo_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"mypatients/gateway/demo"
	"mypatients/smart"
)

func TestClients(t *testing.T) {
	list, err := demo.Clients("http://127.0.0.1:8080/")
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]smart.Client{}
	for _, c := range list {
		clients[c.ID] = c
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		if _, err := smart.ParseScopes(c.Scope); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
	for _, id := range []string{"demo-public", "demo-confidential"} {
		c := clients[id]
		for _, uri := range []string{"http://127.0.0.1/callback", "http://127.0.0.1:43210/callback", "http://localhost:1/callback"} {
			if !c.MatchRedirect(uri) {
				t.Errorf("%s may not come back to %s", id, uri)
			}
		}
		if c.MatchRedirect("http://127.0.0.1:43210/elsewhere") || c.MatchRedirect("http://evil.example/callback") {
			t.Errorf("%s may come back anywhere", id)
		}
	}
	if hash := sha256.Sum256([]byte("demo-secret")); !bytes.Equal(clients["demo-confidential"].SecretHash, hash[:]) {
		t.Error("the secret of demo-confidential is another")
	}
	if clients["demo-public"].Confidential() || clients["kiosk"].MayLaunch || !clients["demo-ehr"].MayLaunch {
		t.Error("a client may what it should not, or may not what it should")
	}
}

func TestBackendKeys(t *testing.T) {
	list, err := demo.Clients("http://127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		raw, ok := demo.ClientKey(c.ID)
		if ok != (c.AuthMethod == smart.AuthPrivateKeyJWT) {
			t.Errorf("%s has a key: %v", c.ID, ok)
		}
		if !ok {
			continue
		}
		var private jose.JSONWebKey
		var public jose.JSONWebKeySet
		if err := json.Unmarshal(raw, &private); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(c.JWKS, &public); err != nil || strings.Contains(string(c.JWKS), `"d"`) {
			t.Fatalf("%s registers %s (%v)", c.ID, c.JWKS, err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES384, Key: private}, nil)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jws.Verify(public.Key(private.KeyID)[0]); err != nil {
			t.Errorf("%s: the keys do not belong together: %v", c.ID, err)
		}
	}
}

func TestWelcome(t *testing.T) {
	var b strings.Builder
	if err := demo.Welcome(&b, "http://127.0.0.1:8080/"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"http://127.0.0.1:8080/patient", "http://127.0.0.1:8080/demo/mail", "dr.okafor", "1005", `"demo"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing:\n%s", want, b.String())
		}
	}
	for _, p := range demo.People() {
		if !strings.Contains(b.String(), "  "+p.Username+" ") {
			t.Errorf("%s is missing", p.Username)
		}
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 100 {
			t.Errorf("a line is too long: %s", line)
		}
	}
}
