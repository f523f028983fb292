package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Validate reports everything that is wrong with a configuration whose defaults
// are set, as a [*Problems], or nil. [Parse] has called it already; it is for
// configurations that were changed afterwards.
func (c *Config) Validate() error {
	list := c.problems()
	if len(list) == 0 {
		return nil
	}
	return &Problems{Name: "configuration", List: list}
}

// A check collects problems.
type check struct{ list []Problem }

func (k *check) add(key, format string, args ...any) {
	k.list = append(k.list, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

// must adds a problem unless ok.
func (k *check) must(ok bool, key, format string, args ...any) {
	if !ok {
		k.add(key, format, args...)
	}
}

func (c *Config) problems() []Problem {
	k := new(check)
	c.checkAddresses(k)
	c.checkSite(k)
	c.checkIssuers(k)
	c.checkSMTP(k)
	c.Policy.check(k)
	k.must(c.Limits.MaxBodyMB >= 1 && c.Limits.MaxBodyMB <= 1024, "limits.max_body_mb", "must be between 1 and 1024")
	if c.Demo {
		c.checkDemo(k)
	} else {
		c.checkProduction(k)
	}
	return k.list
}

func (c *Config) checkAddresses(k *check) {
	_, _, err := net.SplitHostPort(c.Listen)
	k.must(err == nil, "listen", "must be HOST:PORT")
	if c.Metrics.Listen != "" {
		_, _, err := net.SplitHostPort(c.Metrics.Listen)
		k.must(err == nil, "metrics.listen", "must be HOST:PORT")
		k.must(c.Metrics.Listen != c.Listen, "metrics.listen", "must not be the address that is open to everybody")
	}
	c.checkAdmin(k)
	c.checkStatements(k)
	for i, proxy := range c.TrustedProxies {
		_, err := netip.ParsePrefix(proxy)
		if _, single := netip.ParseAddr(proxy); err != nil && single != nil {
			k.add(fmt.Sprintf("trusted_proxies[%d]", i), "must be an address or a network like 10.0.0.0/8")
		}
	}
	if c.BaseURL == "" {
		return // whether it may be is for the demo or production to say
	}
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		k.add("base_url", "must be an absolute https URL")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		k.add("base_url", "must have neither path nor query, not even a slash at its end")
	case u.Scheme == "http" && !Loopback(u.Host):
		k.add("base_url", "must be https: plain http is for loopback addresses only")
	}
}

func (c *Config) checkAdmin(k *check) {
	k.must((c.Admin.Listen == "") == (c.Admin.Token == ""), "admin.token", "goes with listen: both or neither")
	if c.Admin.Listen == "" {
		return
	}
	_, _, err := net.SplitHostPort(c.Admin.Listen)
	k.must(err == nil && Loopback(c.Admin.Listen), "admin.listen", "must be HOST:PORT on a loopback address: the token passes unencrypted")
	k.must(c.Admin.Listen != c.Listen && c.Admin.Listen != c.Metrics.Listen, "admin.listen", "must be an address of its own")
	k.must(c.Admin.Token == "" || len(c.Admin.Token) >= minToken, "admin.token", "must have at least %d characters (openssl rand -base64 32)", minToken)
}

// minToken is the least length in characters of a bearer token: 128 bits in base64.
const minToken = 22

func (c *Config) checkStatements(k *check) {
	for i, is := range c.Registration.SoftwareStatements {
		at := fmt.Sprintf("registration.software_statements[%d].", i)
		k.must(is.Issuer != "", at+"issuer", "is required")
		k.must((is.JWKS == "") != (is.JWKSURI == ""), at+"jwks_uri", "or jwks is required, and not both")
		k.must(is.JWKS == "" || json.Valid([]byte(is.JWKS)), at+"jwks", "must be a JWK set in JSON")
		u, err := url.Parse(is.JWKSURI)
		k.must(is.JWKSURI == "" || err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Host)), at+"jwks_uri", "must be an https URL")
	}
}

func (c *Config) checkSite(k *check) {
	_, err := time.LoadLocation(c.TimeZone)
	k.must(err == nil && c.TimeZone != "Local", "time_zone", "must be a zone like America/New_York")
	if c.MRNSystem != "" {
		u, err := url.Parse(c.MRNSystem)
		k.must(err == nil && u.IsAbs(), "mrn_system", "must be an absolute URI")
	}
	for key, value := range map[string]string{"brand.website": c.Brand.Website, "brand.logo": c.Brand.Logo} {
		u, err := url.Parse(value)
		k.must(value == "" || err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil, key, "must be an https URL")
	}
	k.must(c.Brand.Accent == "" || colour.MatchString(c.Brand.Accent), "brand.accent", "must be a colour like #0b6e6e")
	k.must(c.Brand.Phone == "" || phone.MatchString(c.Brand.Phone), "brand.phone", "must be a number to call, like 555-555-0100")
	if c.Key != "" {
		k.must(c.KeyBytes() != nil, "key", "must be 32 bytes in hex or base64 (openssl rand -hex 32)")
	}
	c.checkStorage(k)
	k.must(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "log.level", "must be debug, info, warn or error")
	k.must(slices.Contains([]string{"json", "text"}, c.Log.Format), "log.format", "must be json or text")
}

func (c *Config) checkStorage(k *check) {
	switch c.Storage.Engine {
	case "badger":
		k.must(c.Storage.DSN == "", "storage.dsn", "is for the engine postgres")
		k.must(c.Demo || c.Storage.Path != "", "storage.path", "is required")
	case "postgres":
		k.must(c.Storage.DSN != "", "storage.dsn", "is required: postgres://user:password@host/database")
		k.must(c.Storage.Path == "", "storage.path", "is for the engine badger")
		k.must(!c.Demo, "storage.engine", "must be badger in the demo")
	default:
		k.add("storage.engine", "must be badger or postgres")
	}
	k.must(c.Storage.PoolSize >= 2 && c.Storage.PoolSize <= 1000, "storage.pool_size", "must be between 2 and 1000")
}

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// phone is a number as people write it, with or without a country.
var phone = regexp.MustCompile(`^\+?[0-9][0-9 ()./-]{2,30}$`)

var issuerID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

func (c *Config) checkIssuers(k *check) {
	ids, urls := map[string]bool{}, map[string]bool{}
	for i, is := range c.Issuers {
		at := fmt.Sprintf("issuers[%d].", i)
		k.must(issuerID.MatchString(is.ID), at+"id", "must be 1 to 31 small letters, digits and dashes")
		k.must(is.ID == "" || !ids[is.ID], at+"id", "is used twice")
		k.must(is.Issuer == "" || !urls[is.Issuer], at+"issuer", "is used twice")
		ids[is.ID], urls[is.Issuer] = true, true
		k.must(is.ClientID != "", at+"client_id", "is required")
		k.must(slices.Contains(is.Scopes, "openid"), at+"scopes", "must contain openid")
		is.checkRules(k, at)
		u, err := url.Parse(is.Issuer)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
			k.add(at+"issuer", "must be an absolute https URL without query")
		case u.Scheme == "http" && !Loopback(u.Host):
			k.add(at+"issuer", "must be https: plain http is for loopback addresses only")
		}
	}
	for i, admin := range c.Admins {
		at := fmt.Sprintf("admins[%d].", i)
		k.must(admin.Subject != "", at+"subject", "is required")
		k.must(urls[admin.Issuer], at+"issuer", "must be the issuer of one of the issuers")
	}
}

// checkRules checks what an issuer may say of its people. Patients, guardians and
// providers are linked here, one by one: no claim makes anybody one of them.
func (is *Issuer) checkRules(k *check, at string) {
	k.must((is.Roles.Claim == "") == (len(is.Roles.Values) == 0), at+"roles", "needs a claim and values, both or neither")
	for _, value := range slices.Sorted(maps.Keys(is.Roles.Values)) {
		role := is.Roles.Values[value]
		k.must(value != "", at+"roles.values", "must not have an empty value of the claim")
		k.must(role == "staff" || role == "admin", at+"roles.values", "must lead to staff or admin, not %q", role)
	}
	for i, acr := range is.StepUpACR {
		k.must(acr != "" && !strings.ContainsAny(acr, " \t\r\n\"\\"), fmt.Sprintf("%sstep_up_acr[%d]", at, i), "must be a value of the acr claim, without spaces and quotes")
	}
	k.must(is.StepUpMinutes >= 1 && is.StepUpMinutes <= 720, at+"step_up_minutes", "must be between 1 and 720")
}

func (c *Config) checkSMTP(k *check) {
	k.must(slices.Contains([]string{"starttls", "tls", "none"}, c.SMTP.TLS), "smtp.tls", "must be starttls, tls or none")
	k.must(c.SMTP.Port > 0 && c.SMTP.Port < 65536, "smtp.port", "must be a port")
	if c.SMTP.From != "" {
		_, err := mail.ParseAddress(c.SMTP.From)
		k.must(err == nil, "smtp.from", "must be a mail address")
	}
	if c.SMTP.Host == "" {
		return
	}
	k.must(c.SMTP.From != "", "smtp.from", "is required")
	k.must(c.SMTP.TLS != "none" || Loopback(c.SMTP.Host), "smtp.tls", "must not be none off loopback")
	k.must((c.SMTP.Username == "") == (c.SMTP.Password == ""), "smtp.password", "goes with username: both or neither")
}

func (c *Config) checkDemo(k *check) {
	for i, is := range c.Issuers {
		k.must(is.ID != "demo", fmt.Sprintf("issuers[%d].id", i), "is the demo's own")
	}
	k.must(Loopback(c.Listen), "listen", "must be a loopback address in the demo, whose passwords everybody knows")
	if u, err := url.Parse(c.BaseURL); err == nil && c.BaseURL != "" {
		k.must(Loopback(u.Host), "base_url", "must be a loopback address in the demo")
	}
}

func (c *Config) checkProduction(k *check) {
	k.must(c.BaseURL != "", "base_url", "is required")
	k.must(c.Key != "", "key", "is required: 32 bytes in hex or base64 (openssl rand -hex 32)")
	if key := c.KeyBytes(); key != nil {
		same := slices.IndexFunc(key, func(b byte) bool { return b != key[0] }) < 0
		k.must(!same, "key", "must be random")
	}
	k.must(c.MRNSystem != "", "mrn_system", "is required")
	k.must(len(c.Issuers) > 0, "issuers", "at least one is required, or nobody can sign in")
	k.must(!c.Registration.Open, "registration.open", "is for the demo only: set initial_access_token instead")
	if token := c.Registration.InitialAccessToken; token != "" {
		k.must(len(token) >= minToken, "registration.initial_access_token", "must have at least %d characters (openssl rand -base64 32)", minToken)
	}
	for i, is := range c.Issuers {
		u, err := url.Parse(is.Issuer)
		if err == nil && strings.TrimSuffix(u.Path, "/") == "/demo-idp" {
			k.add(fmt.Sprintf("issuers[%d].issuer", i), "is the demo's issuer: everybody knows its passwords")
		}
	}
}

// Loopback reports whether a host, with or without a port, is this machine
// only. The empty host, which listens everywhere, is not.
func Loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
