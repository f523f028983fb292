package smart

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The ways a client shows who it is (RFC 7591 section 2,
// token_endpoint_auth_method).
const (
	AuthNone          = "none"
	AuthSecretBasic   = "client_secret_basic"
	AuthPrivateKeyJWT = "private_key_jwt"
)

// The grant types a client can be registered for.
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
)

// A Client is a registered app or system; the JSON names are those of RFC 7591
// and of its SMART members.
type Client struct {
	ID           string          `json:"client_id"`
	Name         string          `json:"client_name,omitempty"`
	RedirectURIs []string        `json:"redirect_uris,omitempty"`
	Scope        string          `json:"scope,omitempty"` // all it may ever ask for
	GrantTypes   []string        `json:"grant_types,omitempty"`
	AuthMethod   string          `json:"token_endpoint_auth_method"`
	JWKS         json.RawMessage `json:"jwks,omitempty"`
	JWKSURI      string          `json:"jwks_uri,omitempty"`
	LaunchURI    string          `json:"launch_uri,omitempty"`
	LogoURI      string          `json:"logo_uri,omitempty"`

	SecretHash  []byte `json:"secret_hash,omitempty"`  // SHA-256 of the secret, which has at least 128 random bits
	MayLaunch   bool   `json:"may_launch,omitempty"`   // a backend client that may use the launch API
	TokenLife   int    `json:"token_life,omitempty"`   // seconds; 0: the server's default
	RefreshLife int    `json:"refresh_life,omitempty"` // seconds; 0: the server's default
}

// Bounds of the lives that an administrator can give a client's tokens, in
// seconds: a minute and a day, an hour and a year.
const (
	minTokenLife   = 60
	maxTokenLife   = 24 * 60 * 60
	minRefreshLife = 60 * 60
	maxRefreshLife = 366 * 24 * 60 * 60
)

// MaxClientID is the greatest length of a client's id, in bytes.
const MaxClientID = 200

// Limits on what else a client says of itself.
const (
	maxName      = 100  // characters
	maxURI       = 2000 // bytes
	maxRedirects = 50
)

// MayUse reports whether the client is registered for a grant type.
func (c Client) MayUse(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// Confidential reports whether the client proves who it is.
func (c Client) Confidential() bool { return c.AuthMethod != AuthNone }

// Check reports what is wrong with a registration: an [*Error] of code
// invalid_redirect_uri or invalid_client_metadata (RFC 7591 section 3.2.2). It
// does not look into JWKS.
func (c Client) Check() error {
	bad := func(format string, a ...any) error {
		return &Error{Code: "invalid_client_metadata", Description: fmt.Sprintf(format, a...)}
	}
	if c.ID == "" || len(c.ID) > MaxClientID || !isScopeToken(c.ID) || strings.ContainsAny(c.ID, ":%+") {
		return bad("client_id has characters that HTTP Basic would change")
	}
	if why := c.checkNames(); why != "" {
		return bad("%s", why)
	}
	for _, g := range c.GrantTypes {
		if g != GrantCode && g != GrantRefresh && g != GrantClientCredentials {
			return bad("grant_types: %q is not supported", g)
		}
	}
	if !c.MayUse(GrantCode) && !c.MayUse(GrantClientCredentials) {
		return bad("grant_types needs authorization_code or client_credentials")
	}
	switch c.AuthMethod {
	case AuthNone:
	case AuthSecretBasic:
		if len(c.SecretHash) == 0 {
			return bad("client_secret_basic needs a secret")
		}
	case AuthPrivateKeyJWT:
		if (len(c.JWKS) == 0) == (c.JWKSURI == "") {
			return bad("private_key_jwt needs jwks or jwks_uri, and not both")
		}
	default:
		return bad("token_endpoint_auth_method: %q is not supported", c.AuthMethod)
	}
	if c.MayUse(GrantClientCredentials) && c.AuthMethod != AuthPrivateKeyJWT {
		return bad("client_credentials needs private_key_jwt")
	}
	if c.MayUse(GrantCode) && len(c.RedirectURIs) == 0 {
		return &Error{Code: "invalid_redirect_uri", Description: "authorization_code needs redirect_uris"}
	}
	for _, uri := range c.RedirectURIs {
		if err := checkRedirect(uri, c.Confidential()); err != nil {
			return &Error{Code: "invalid_redirect_uri", Description: fmt.Sprintf("redirect_uris: %v", err)}
		}
	}
	if c.TokenLife != 0 && (c.TokenLife < minTokenLife || c.TokenLife > maxTokenLife) {
		return bad("token_life must be %d to %d seconds", minTokenLife, maxTokenLife)
	}
	if c.RefreshLife != 0 && (c.RefreshLife < minRefreshLife || c.RefreshLife > maxRefreshLife) {
		return bad("refresh_life must be %d to %d seconds", minRefreshLife, maxRefreshLife)
	}
	for name, uri := range map[string]string{"launch_uri": c.LaunchURI, "logo_uri": c.LogoURI} {
		if u, err := url.Parse(uri); uri != "" && (err != nil || !isWeb(u)) {
			return bad("%s must be https, or http on a loopback address", name)
		}
	}
	return nil
}

// checkNames holds what people read of a client, and what is kept of it, to
// sizes; a name is one line that reads as it is written.
func (c Client) checkNames() string {
	odd := func(r rune) bool {
		return r == utf8.RuneError || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) // invisible, or turning others around
	}
	switch {
	case utf8.RuneCountInString(c.Name) > maxName:
		return fmt.Sprintf("client_name has more than %d characters", maxName)
	case strings.IndexFunc(c.Name, odd) >= 0:
		return "client_name has characters that cannot be seen"
	case len(c.RedirectURIs) > maxRedirects:
		return fmt.Sprintf("redirect_uris are more than %d", maxRedirects)
	case len(c.LaunchURI) > maxURI || len(c.LogoURI) > maxURI || len(c.JWKSURI) > maxURI:
		return fmt.Sprintf("launch_uri, logo_uri and jwks_uri have %d characters at most", maxURI)
	}
	return ""
}

// checkRedirect holds RFC 9700 section 2.1 and RFC 8252 section 7: no wildcard,
// no fragment; https, http on loopback, or, for apps without a secret, a
// private-use scheme with a dot.
func checkRedirect(uri string, confidential bool) error {
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() || len(uri) > maxURI {
		return fmt.Errorf("%q is not an absolute URI", uri)
	}
	switch {
	case strings.ContainsAny(uri, "*#\\") || u.User != nil || !isScopeToken(strings.ReplaceAll(uri, `"`, "")):
		return fmt.Errorf("%q has a wildcard, a fragment, a user or characters that do not belong in a URI", uri)
	case isWeb(u):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q must be https off loopback", uri)
	case !confidential && strings.Contains(u.Scheme, "."):
		return nil
	}
	return fmt.Errorf("%q has a scheme that is not allowed", uri)
}

func isWeb(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()))
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// MatchRedirect reports whether a redirect URI is one of the registered: equal
// to the character, except that http on a loopback address may name any port
// (RFC 8252 section 7.3).
func (c Client) MatchRedirect(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		if registered == uri {
			return true
		}
		a, ok := withoutPort(registered)
		b, too := withoutPort(uri)
		return ok && too && a == b
	})
}

// withoutPort takes the port out of an http URI on a loopback address, and
// touches nothing else.
func withoutPort(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	host := authority
	if h, port, err := net.SplitHostPort(authority); err == nil {
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return "", false
		}
		host = h
		if strings.HasPrefix(authority, "[") {
			host = "[" + h + "]"
		}
	}
	if !isLoopback(strings.Trim(host, "[]")) {
		return "", false
	}
	return host + path, true
}

// Origins are the web origins (RFC 6454) of the redirect URIs and the launch
// URI, in the form of [CanonicalOrigin], sorted.
func (c Client) Origins() []string {
	var origins []string
	for _, uri := range append(slices.Clone(c.RedirectURIs), c.LaunchURI) {
		u, err := url.Parse(uri)
		if err != nil || !isWeb(u) {
			continue
		}
		if o, ok := CanonicalOrigin(u.Scheme + "://" + u.Host); ok && !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	slices.Sort(origins)
	return origins
}

// CanonicalOrigin writes an origin so that it can be compared: lower case,
// without a default port, and without any port where ports are free (http on
// loopback).
func CanonicalOrigin(origin string) (string, bool) {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", false
	}
	switch {
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return "http://" + strings.TrimSuffix(u.Host, ":"+u.Port()), true
	case u.Scheme == "https":
		return "https://" + strings.TrimSuffix(u.Host, ":443"), true
	}
	return "", false
}
