package authserver

import (
	"encoding/json"
	"net/http"

	"mypatients/smart"
)

// metadata is what both discovery documents say: RFC 8414, OpenID Connect
// Discovery and
// https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
type metadata struct {
	Issuer               string   `json:"issuer"`
	JWKSURI              string   `json:"jwks_uri"`
	Authorization        string   `json:"authorization_endpoint"`
	Token                string   `json:"token_endpoint"`
	UserInfo             string   `json:"userinfo_endpoint"`
	Introspection        string   `json:"introspection_endpoint"`
	Revocation           string   `json:"revocation_endpoint"`
	Registration         string   `json:"registration_endpoint,omitempty"`
	Management           string   `json:"management_endpoint,omitempty"`
	Scopes               []string `json:"scopes_supported"`
	ResponseTypes        []string `json:"response_types_supported"`
	ResponseModes        []string `json:"response_modes_supported"`
	GrantTypes           []string `json:"grant_types_supported"`
	AuthMethods          []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms       []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectMethods    []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectAlgorithms []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	CodeChallengeMethods []string `json:"code_challenge_methods_supported"`
	IssuerInResponse     bool     `json:"authorization_response_iss_parameter_supported"`
	RequestParameter     bool     `json:"request_parameter_supported"`
	RequestURIParameter  bool     `json:"request_uri_parameter_supported"`
	SubjectTypes         []string `json:"subject_types_supported"`
	IDTokenAlgorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims               []string `json:"claims_supported"`
	Prompts              []string `json:"prompt_values_supported"`
	ACRValues            []string `json:"acr_values_supported,omitempty"`
	Capabilities         []string `json:"capabilities,omitempty"`

	Extra map[string]any `json:"-"`
}

// MarshalJSON writes the members of others beside ours.
func (m *metadata) MarshalJSON() ([]byte, error) {
	type plain metadata
	ours, err := json.Marshal((*plain)(m))
	if err != nil || len(m.Extra) == 0 {
		return ours, err
	}
	more, err := json.Marshal(m.Extra)
	if err != nil {
		return nil, err
	}
	return append(append(ours[:len(ours)-1], ','), more[1:]...), nil
}

func (s *Server) metadata() *metadata {
	oauth := s.config.Issuer + "/oauth/"
	methods := []string{smart.AuthNone, smart.AuthSecretBasic, smart.AuthPrivateKeyJWT}
	algorithms := []string{"RS384", "ES384"}
	m := &metadata{
		Issuer: s.config.Issuer, JWKSURI: oauth + "jwks", Authorization: oauth + "authorize", Token: s.tokenURL,
		UserInfo: oauth + "userinfo", Introspection: oauth + "introspect", Revocation: oauth + "revoke", Management: s.config.ManagementURL,
		Scopes: []string{"openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access", introspectScope,
			"patient/*.cruds", "patient/*.rs", "user/*.cruds", "user/*.rs", "system/*.cruds", "system/*.rs",
			"patient/*.read", "patient/*.write", "patient/*.*", "user/*.read", "user/*.write", "user/*.*", "system/*.read", "system/*.write", "system/*.*"},
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		GrantTypes:  grantTypes,
		AuthMethods: methods, AuthAlgorithms: algorithms, RevocationMethods: methods, RevocationAlgorithms: algorithms,
		IntrospectMethods: methods[1:], IntrospectAlgorithms: algorithms,
		CodeChallengeMethods: []string{"S256"}, IssuerInResponse: true,
		SubjectTypes: []string{"public"}, IDTokenAlgorithms: []string{"RS256"},
		Claims:  []string{"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "acr", "nonce", "at_hash", "fhirUser", "profile", "name"},
		Prompts: []string{"none", "login", "consent", "select_account"}, ACRValues: s.config.ACRValues,
	}
	if s.config.OpenRegistration || s.config.InitialAccessToken != "" || len(s.config.Statements) > 0 {
		m.Registration = oauth + "register"
	}
	return m
}

// SMARTConfiguration is the content of [FHIRBase]/.well-known/smart-configuration,
// ready to be marshalled.
func (s *Server) SMARTConfiguration() any {
	m := s.metadata()
	m.Extra = s.config.Extra
	m.Capabilities = []string{
		"launch-ehr", "launch-standalone", "authorize-post",
		"client-public", "client-confidential-symmetric", "client-confidential-asymmetric",
		"sso-openid-connect",
		"context-banner", "context-ehr-patient", "context-ehr-encounter", "context-standalone-patient", "context-standalone-encounter",
		"permission-offline", "permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2",
	}
	if s.config.StyleURL != "" {
		m.Capabilities = append(m.Capabilities, "context-style")
	}
	m.Capabilities = append(m.Capabilities, s.config.Capabilities...)
	return m
}

// serveMetadata answers those who look where RFC 8414 section 3 says.
func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.metadata())
}
