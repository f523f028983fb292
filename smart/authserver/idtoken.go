package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	jose "github.com/go-jose/go-jose/v4"

	"mypatients/smart"
)

// An idToken holds the claims of OpenID Connect Core section 2 and SMART's
// fhirUser.
type idToken struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Party    string `json:"azp"`
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	AuthTime int64  `json:"auth_time,omitempty"`
	ACR      string `json:"acr,omitempty"`
	Nonce    string `json:"nonce,omitempty"`
	AtHash   string `json:"at_hash"`
	person
}

// A person holds the claims about the one who signed in, as far as the scopes
// go.
type person struct {
	FHIRUser string `json:"fhirUser,omitempty"`
	Profile  string `json:"profile,omitempty"` // SMART 1.0 name of fhirUser
	Name     string `json:"name,omitempty"`
}

func (s *Server) person(id smart.Identity, scopes smart.Scopes) person {
	var p person
	if scopes.Has("fhirUser") {
		p.FHIRUser = s.fhirUser(id)
	}
	if scopes.Has("profile") {
		p.Profile, p.Name = s.fhirUser(id), id.Name
	}
	return p
}

// fhirUser gives the absolute URL of the person's resource.
func (s *Server) fhirUser(id smart.Identity) string {
	if id.FHIRUser == "" {
		return ""
	}
	return s.config.FHIRBase + "/" + id.FHIRUser
}

// subject gives the stable id of whoever acts: the login, or for one without a
// login the resource that stands for them.
func subject(id smart.Identity) string {
	if id.Login != "" {
		return id.Login
	}
	return id.FHIRUser
}

func (s *Server) idToken(ctx context.Context, g *grantRecord, accessToken string) (string, error) {
	key, err := s.signer(ctx)
	if err != nil {
		return "", err
	}
	now := s.config.Now()
	claims := idToken{Issuer: s.config.Issuer, Subject: subject(g.Identity), Audience: g.ClientID, Party: g.ClientID,
		Expires: now.Add(idTokenLife).Unix(), IssuedAt: now.Unix(), Nonce: g.Nonce, ACR: g.ACR, person: s.person(g.Identity, g.scopes())}
	if !g.AuthTime.IsZero() {
		claims.AuthTime = g.AuthTime.Unix()
	}
	sum := sha256.Sum256([]byte(accessToken))
	claims.AtHash = base64.RawURLEncoding.EncodeToString(sum[:16])
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
