package demo

import (
	"crypto/sha256"
	_ "embed" // the keys
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"mypatients/smart"
)

// ConfidentialSecret is the secret of the client demo-confidential.
const ConfidentialSecret = "demo-secret"

// The private keys of the backend clients, as JWKs.
var (
	//go:embed data/kiosk.jwk.json
	kioskKey []byte
	//go:embed data/demo-ehr.jwk.json
	ehrKey []byte
)

// appScopes is what the two apps may ask for.
const appScopes = "openid fhirUser launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.cruds"

// Clients gives the demo's registered clients. The apps may come back to any
// port of the loopback interface (RFC 8252 section 7.3) and to the built-in app
// of [App].
func Clients(base string) ([]smart.Client, error) {
	base = strings.TrimSuffix(base, "/")
	app := func(kind appKind) smart.Client {
		return smart.Client{
			ID: kind.client, Name: kind.name, Scope: appScopes, AuthMethod: smart.AuthNone,
			GrantTypes:   []string{smart.GrantCode, smart.GrantRefresh},
			RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback", base + kind.path("callback")},
			LaunchURI:    base + kind.path("launch"),
		}
	}
	public, confidential := app(publicApp), app(confidentialApp)
	hash := sha256.Sum256([]byte(ConfidentialSecret))
	confidential.AuthMethod, confidential.SecretHash = smart.AuthSecretBasic, hash[:]

	backend := func(id, name, scope string, key []byte) (smart.Client, error) {
		keys, err := publicSet(key)
		return smart.Client{ID: id, Name: name, Scope: scope, JWKS: keys, AuthMethod: smart.AuthPrivateKeyJWT,
			GrantTypes: []string{smart.GrantClientCredentials}}, err
	}
	kiosk, err := backend("kiosk", "Check-in kiosk",
		"system/Patient.rs system/CareTeam.cruds system/Practitioner.rs system/PractitionerRole.rs system/Organization.rs system/Location.rs", kioskKey)
	if err != nil {
		return nil, err
	}
	ehr, err := backend("demo-ehr", "Demo EHR", "system/Patient.rs system/Encounter.rs system/Practitioner.rs system/PractitionerRole.rs", ehrKey)
	if err != nil {
		return nil, err
	}
	ehr.MayLaunch = true
	return []smart.Client{public, confidential, kiosk, ehr}, nil
}

// ClientKey gives the private key of a backend client (kiosk, demo-ehr) as a
// JWK. It is published with the source: a secret in form only.
func ClientKey(id string) (json.RawMessage, bool) {
	switch id {
	case "kiosk":
		return json.RawMessage(kioskKey), true
	case "demo-ehr":
		return json.RawMessage(ehrKey), true
	}
	return nil, false
}

// publicSet gives the JWK set of a private key's public half.
func publicSet(private []byte) (json.RawMessage, error) {
	var key jose.JSONWebKey
	if err := json.Unmarshal(private, &key); err != nil || !key.Valid() || key.IsPublic() {
		return nil, fmt.Errorf("demo: a client's key is broken: %w", err)
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}
