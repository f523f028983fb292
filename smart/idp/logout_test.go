package idp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mypatients/smart"
	"mypatients/smart/idp"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logout signs a logout token with changes; nil removes a claim.
func (i *issuer) logout(t *testing.T, typ string, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": i.URL, "aud": "gateway", "iat": i.now.Unix(), "exp": i.now.Add(2 * time.Minute).Unix(), "jti": "j1",
		"sub": "secret-subject", "sid": "s1", "events": map[string]any{logoutEvent: map[string]any{}}}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	options := (&jose.SignerOptions{}).WithHeader("kid", "k1")
	if typ != "" {
		options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestLogout(t *testing.T) {
	i := newIssuer(t)
	p := i.provider(t)
	for name, test := range map[string]struct {
		typ     string
		changes map[string]any
		want    idp.Logout
	}{
		"of a session":    {"logout+jwt", nil, idp.Logout{Subject: "secret-subject", SessionID: "s1", ID: "j1"}},
		"without a type":  {"", nil, idp.Logout{Subject: "secret-subject", SessionID: "s1", ID: "j1"}},
		"of a person":     {"JWT", map[string]any{"sid": nil}, idp.Logout{Subject: "secret-subject", ID: "j1"}},
		"session alone":   {"logout+jwt", map[string]any{"sub": nil}, idp.Logout{SessionID: "s1", ID: "j1"}},
		"clock behind":    {"logout+jwt", map[string]any{"exp": noon.Add(-30 * time.Second).Unix()}, idp.Logout{Subject: "secret-subject", SessionID: "s1", ID: "j1"}},
		"several parties": {"logout+jwt", map[string]any{"aud": []string{"other", "gateway"}}, idp.Logout{Subject: "secret-subject", SessionID: "s1", ID: "j1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Logout(t.Context(), i.logout(t, test.typ, test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Expires.After(noon.Add(time.Minute)) {
				t.Errorf("forgotten at %v", got.Expires)
			}
			got.Expires = time.Time{}
			if *got != test.want {
				t.Errorf("got %+v, want %+v", *got, test.want)
			}
		})
	}
}

func TestLogoutRefusals(t *testing.T) {
	i := newIssuer(t)
	p := i.provider(t)
	parts := strings.Split(i.logout(t, "logout+jwt", nil), ".")
	for name, token := range map[string]string{
		"nothing":              "",
		"no token":             "secret",
		"unsigned":             "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNyZXQtc3ViamVjdCJ9.",
		"HS256 with the key":   symmetric(t, i, parts[1]),
		"another signature":    parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"an access token":      i.logout(t, "at+jwt", nil),
		"another issuer":       i.logout(t, "logout+jwt", map[string]any{"iss": "https://secret.example"}),
		"another party":        i.logout(t, "logout+jwt", map[string]any{"aud": "other"}),
		"expired":              i.logout(t, "logout+jwt", map[string]any{"exp": noon.Add(-2 * time.Minute).Unix()}),
		"never expires":        i.logout(t, "logout+jwt", map[string]any{"exp": nil}),
		"made long ago":        i.logout(t, "logout+jwt", map[string]any{"iat": noon.Add(-10 * time.Minute).Unix()}),
		"made later":           i.logout(t, "logout+jwt", map[string]any{"iat": noon.Add(2 * time.Minute).Unix()}),
		"does not say when":    i.logout(t, "logout+jwt", map[string]any{"iat": nil}),
		"nobody":               i.logout(t, "logout+jwt", map[string]any{"sub": nil, "sid": nil}),
		"no id":                i.logout(t, "logout+jwt", map[string]any{"jti": nil}),
		"a nonce":              i.logout(t, "logout+jwt", map[string]any{"nonce": "n"}),
		"an ID token":          i.logout(t, "JWT", map[string]any{"events": nil}),
		"another event":        i.logout(t, "logout+jwt", map[string]any{"events": map[string]any{"secret": map[string]any{}}}),
		"an event of no shape": i.logout(t, "logout+jwt", map[string]any{"events": map[string]any{logoutEvent: "secret"}}),
		"an event of nothing":  i.logout(t, "logout+jwt", map[string]any{"events": map[string]any{logoutEvent: nil}}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Logout(t.Context(), token)
			var oauth *smart.Error
			if !errors.As(err, &oauth) || oauth.Code != "invalid_request" || got != nil {
				t.Fatalf("got %+v, %v", got, err)
			}
			if text := err.Error() + oauth.Cause.Error(); strings.Contains(text, "secret") || strings.Contains(text, "eyJ") {
				t.Errorf("the error tells too much: %s", text)
			}
		})
	}
}

// symmetric signs claims with what everybody knows of the issuer's key.
func symmetric(t *testing.T, i *issuer, claims string) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"k1","typ":"logout+jwt"}`)) + "." + claims
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Tokens of made-up keys do not make us a nuisance to the issuer, nor keep its real
// ones from working.
func TestMadeUpKeys(t *testing.T) {
	i := newIssuer(t)
	p := i.provider(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := i.logout(t, "logout+jwt", nil)
	for n := range 100 {
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
		if _, err := p.Logout(t.Context(), signed(t, other, fmt.Sprint("made-up-", n), payload)); err == nil {
			t.Fatal("a token of a made-up key was taken")
		}
	}
	if n := i.fetched.Load(); n == 0 || n > 20 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if _, err := p.Logout(t.Context(), good); err != nil {
		t.Errorf("a good one is refused: %v", err)
	}
}

func TestClaimValues(t *testing.T) {
	who := idp.Identity{Claims: map[string]any{
		"groups": []any{"a", 7, "b"}, "role": "c", "https://x.example/roles": []any{"d"}, "flag": true,
		"realm_access": map[string]any{"roles": []any{"e"}},
	}}
	for path, want := range map[string]string{
		"groups": "a b", "role": "c", "https://x.example/roles": "d", "realm_access.roles": "e",
		"flag": "", "absent": "", "": "", "role.x": "", "realm_access": "", "realm_access.roles.x": "",
	} {
		if got := strings.Join(who.Values(path), " "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
