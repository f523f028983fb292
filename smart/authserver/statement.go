package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
)

// A StatementIssuer is one whose software statements (RFC 7591 section 2.3) are
// taken: it vouches for apps. Its keys are given, or are at a URL.
type StatementIssuer struct {
	Issuer  string // the iss of its statements
	JWKS    json.RawMessage
	JWKSURI string
}

// statementAlgorithms are those of software statements.
var statementAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.ES256, jose.ES384}

// statementKey tells which of them a key is for.
func statementKey(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return []string{string(jose.RS256), string(jose.RS384)}
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{string(jose.ES256)}
		case elliptic.P384():
			return []string{string(jose.ES384)}
		}
	}
	return nil
}

// initStatements checks the issuers. Their URLs are the administrator's, so they
// may lead inside.
func (s *Server) initStatements() error {
	s.vouchers.init(s.config, statementKey)
	if s.config.HTTPClient == nil {
		s.vouchers.http = &http.Client{}
	}
	s.vouchers.loopback = true
	for _, is := range s.config.Statements {
		if is.Issuer == "" || (len(is.JWKS) == 0) == (is.JWKSURI == "") {
			return errors.New("authserver: an issuer of software statements needs a name, and JWKS or JWKSURI")
		}
		if is.JWKSURI != "" && !s.vouchers.mayFetch(is.JWKSURI) {
			return errors.New("authserver: the JWKSURI of an issuer of software statements must be https, or http on loopback")
		}
		if is.JWKSURI == "" {
			if _, err := parseKeys(is.JWKS, statementKey); err != nil {
				return errors.New("authserver: the keys of an issuer of software statements: " + err.Error())
			}
		}
	}
	return nil
}

// statement checks a software statement and gives its claims (RFC 7591 sections
// 2.3 and 3.1.1).
func (s *Server) statement(ctx context.Context, token string) ([]byte, error) {
	refuse := func(why string) ([]byte, error) {
		return nil, oauthError("invalid_software_statement", "The software statement was refused: %s.", why)
	}
	unapproved := oauthError("unapproved_software_statement", "Software statements of this issuer are not accepted here.")
	if len(s.config.Statements) == 0 {
		return nil, unapproved
	}
	jws, err := jose.ParseSignedCompact(token, statementAlgorithms)
	if err != nil {
		return refuse("it is not a JWT signed with RS256, RS384, ES256 or ES384")
	}
	var claims assertion
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return refuse("its claims cannot be read")
	}
	i := slices.IndexFunc(s.config.Statements, func(is StatementIssuer) bool { return is.Issuer == claims.Issuer })
	if i < 0 {
		return nil, unapproved
	}
	header, is := jws.Signatures[0].Protected, s.config.Statements[i]
	if typ, given := header.ExtraHeaders[jose.HeaderType]; given {
		if text, _ := typ.(string); !strings.EqualFold(text, "JWT") {
			return refuse("typ is not JWT")
		}
	}
	key, err := s.vouchers.key(ctx, smart.Client{JWKS: is.JWKS, JWKSURI: is.JWKSURI}, header.KeyID, header.Algorithm)
	if err != nil {
		return refuse("no key of its issuer fits its kid and alg")
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return refuse("its signature is wrong")
	}
	now := s.config.Now()
	switch {
	case claims.Expires != nil && !now.Before(unixTime(*claims.Expires)):
		return refuse("it has expired")
	case claims.NotBefore != nil && unixTime(*claims.NotBefore).After(now.Add(clockSkew)):
		return refuse("nbf is ahead")
	case claims.IssuedAt != nil && unixTime(*claims.IssuedAt).After(now.Add(clockSkew)):
		return refuse("iat is ahead")
	case len(claims.Audience) > 0 && !slices.Contains(claims.Audience, s.config.Issuer) && !slices.Contains(claims.Audience, s.config.Issuer+"/oauth/register"):
		return refuse("it is meant for others")
	}
	return payload, nil
}

// vouch puts the claims of a statement over the plain metadata. Alone, without
// another right to register, nothing but the claims counts: whoever has a copy of
// a statement cannot add a redirect URI or a key of their own.
func (s *Server) vouch(ctx context.Context, in *registration, alone bool) (*registration, error) {
	payload, err := s.statement(ctx, in.Statement)
	if err != nil {
		return nil, err
	}
	out := *in
	if alone {
		out = registration{}
	}
	var keys struct {
		JWKS    json.RawMessage `json:"jwks"`
		JWKSURI string          `json:"jwks_uri"`
	}
	if err := json.Unmarshal(payload, &keys); err == nil && (len(keys.JWKS) > 0 || keys.JWKSURI != "") {
		out.JWKS, out.JWKSURI = nil, "" // one of them replaces either
	}
	if err := json.Unmarshal(payload, &out); err != nil {
		return nil, oauthError("invalid_software_statement", "The software statement was refused: its metadata cannot be read.")
	}
	out.ClientID, out.ClientSecret, out.Statement = in.ClientID, "", in.Statement
	return &out, nil
}
