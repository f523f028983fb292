package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/fhir/store"
	"mypatients/smart"
)

// What a client assertion may ask for.
const (
	maxAssertionLife = 5 * time.Minute
	clockSkew        = time.Minute // by which a client's clock may be ahead
	maxAssertion     = 16 << 10
)

// assertionAlgorithms are those of SMART's asymmetric authentication.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS384, jose.ES384}

// An assertion is a client's JWT (RFC 7523 section 3).
type assertion struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
	IssuedAt  *float64 `json:"iat"`
	ID        string   `json:"jti"`
}

// An audience is one string or several.
type audience []string

// UnmarshalJSON reads both forms.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// checkAssertion finds the client that signed an assertion, and remembers its
// jti, so that it works once. Whatever is wrong is invalid_client
// (https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html).
func (s *Server) checkAssertion(ctx context.Context, token string) (*clientRecord, error) {
	refuse := func(why string) error { return invalidClient("The client assertion was refused: %s.", why) }
	if len(token) > maxAssertion {
		return nil, refuse("it is too long")
	}
	jws, err := jose.ParseSignedCompact(token, assertionAlgorithms)
	if err != nil {
		return nil, refuse("it is not a JWT signed with RS384 or ES384")
	}
	var claims assertion
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return nil, refuse("its claims cannot be read")
	}
	client, err := s.client(ctx, claims.Issuer)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse("iss is not a client of ours")
	}
	if err != nil {
		return nil, err
	}
	if client.AuthMethod != smart.AuthPrivateKeyJWT {
		return nil, refuse("the client is not registered for private_key_jwt")
	}
	header := jws.Signatures[0].Protected
	if why := checkHeader(header, client.Client); why != "" {
		return nil, refuse(why)
	}
	key, err := s.clients.key(ctx, client.Client, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, refuse(err.Error())
	}
	if _, err := jws.Verify(key); err != nil {
		return nil, refuse("its signature is wrong")
	}
	if why := s.checkClaims(&claims); why != "" {
		return nil, refuse(why)
	}
	return client, s.rememberJTI(ctx, &claims)
}

// claimedIssuer tells whose a JWT says it is, unchecked; empty when it says
// nothing readable.
func claimedIssuer(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	if len(token) > maxAssertion {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var claims assertion
	if err != nil || json.Unmarshal(text, &claims) != nil || len(claims.Issuer) > smart.MaxClientID {
		return ""
	}
	return claims.Issuer
}

func checkHeader(h jose.Header, client smart.Client) string {
	// SMART asks clients for typ, but RFC 7515 section 4.1.9 lets them leave it out
	// and the libraries that are not made for SMART do. A JWT for another purpose
	// says so in it (RFC 8725 section 3.11).
	if typ, given := h.ExtraHeaders[jose.HeaderType]; given {
		if text, _ := typ.(string); !strings.EqualFold(text, "JWT") {
			return "typ is not JWT"
		}
	}
	if h.KeyID == "" {
		return "kid is missing"
	}
	if jku, given := h.ExtraHeaders["jku"]; given && (client.JWKSURI == "" || jku != client.JWKSURI) {
		return "jku is not the registered jwks_uri"
	}
	return ""
}

func (s *Server) checkClaims(c *assertion) string {
	now := s.config.Now()
	if c.Subject != c.Issuer {
		return "iss and sub differ"
	}
	if len(c.Audience) == 0 {
		return "aud is missing"
	}
	for _, aud := range c.Audience {
		if aud != s.tokenURL && aud != s.config.Issuer {
			return "aud is not the token URL"
		}
	}
	switch {
	case c.Expires == nil:
		return "exp is missing"
	case !now.Before(unixTime(*c.Expires)):
		return "it has expired"
	case unixTime(*c.Expires).After(now.Add(maxAssertionLife + clockSkew)):
		return "exp is more than five minutes ahead"
	case c.NotBefore != nil && unixTime(*c.NotBefore).After(now.Add(clockSkew)):
		return "nbf is ahead"
	case c.IssuedAt != nil && unixTime(*c.IssuedAt).After(now.Add(clockSkew)):
		return "iat is ahead"
	case c.ID == "" || len(c.ID) > 500:
		return "jti is missing or too long"
	}
	return ""
}

// unixTime reads a NumericDate; what is out of all reason is far in the past.
func unixTime(n float64) time.Time {
	if n < 0 || n > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n * 1000))
}

// rememberJTI takes a jti, once for all nodes.
func (s *Server) rememberJTI(ctx context.Context, c *assertion) error {
	key := s.secrets.key(kindJTI, c.Issuer+"\x00"+c.ID)
	return s.config.Store.Update(ctx, func(w store.Writer) error {
		rec, err := w.Record(kindJTI, key)
		if err == nil && !expired(rec, s.config.Now()) {
			return invalidClient("The client assertion was refused: it was used before.")
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return w.PutRecord(&store.Record{Kind: kindJTI, Key: key, Expires: unixTime(*c.Expires)})
	})
}

// parseClientKeys reads a JWK set of public keys and holds them to what SMART
// signs with: RSA of at least 2048 bits, P-384.
func parseClientKeys(raw []byte) ([]jose.JSONWebKey, error) {
	keys, err := parseKeys(raw, assertionKey)
	if err == errNoKeys {
		err = errors.New("no key for RS384 or ES384 with a kid")
	}
	return keys, err
}

var errNoKeys = errors.New("no key that fits, with a kid")

// parseKeys reads the public keys of a JWK set that are good for some algorithm.
func parseKeys(raw []byte, algorithms func(key any) []string) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("not a JWK set")
	}
	var keys []jose.JSONWebKey
	for _, item := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(item) != nil || !key.Valid() {
			continue // of a kind we do not know: RFC 7517 section 5
		}
		if !key.IsPublic() {
			return nil, errors.New("a key is private or symmetric; only public keys belong here")
		}
		if key.Use != "" && key.Use != "sig" || key.KeyID == "" || len(algorithms(key.Key)) == 0 {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// assertionKey tells which algorithm of client assertions a key is for.
func assertionKey(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return []string{string(jose.RS384)}
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P384() {
			return []string{string(jose.ES384)}
		}
	}
	return nil
}

// pick gives the one key that fits kid and algorithm.
func pick(keys []jose.JSONWebKey, kid, alg string, algorithms func(key any) []string) (any, error) {
	var found []any
	for _, k := range keys {
		if k.KeyID == kid && slices.Contains(algorithms(k.Key), alg) && (k.Algorithm == "" || k.Algorithm == alg) {
			found = append(found, k.Key)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d keys of the client fit its kid and alg, not one", len(found))
	}
	return found[0], nil
}
