// Package config is the typed configuration of the gateway: its keys, their
// defaults, and what is wrong with a file. It reads no files, starts nothing
// and knows no other package; main turns its values into the arguments of the
// constructors, none of which sees the whole.
//
// A file is YAML. A value that is nothing but ${NAME} is taken from the
// environment, which is where secrets belong. Unknown keys are refused, and all
// problems are reported together, each with its line.
//
// demo.yaml is what the demo runs with; production.yaml shows and explains
// every key.
package config

import (
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"time"
)

// Config is everything that can be set. The zero value of every key is safe:
// it means the default given here, or that something is closed or off.
type Config struct {
	Demo    bool   `yaml:"demo"`     // sample people, open registration of clients; loopback only
	Listen  string `yaml:"listen"`   // HOST:PORT to serve on; default 127.0.0.1:8080
	BaseURL string `yaml:"base_url"` // what browsers and apps call it, without a path; required in production

	Brand          Brand    `yaml:"brand"`
	Tenant         string   `yaml:"tenant"`          // what apps are told as "tenant" beside their tokens; default: nothing
	TimeZone       string   `yaml:"time_zone"`       // IANA name of the site's zone: birthdays and "until" are judged in it; default UTC
	MRNSystem      string   `yaml:"mrn_system"`      // system of the identifiers that are medical record numbers
	Key            Secret   `yaml:"key"`             // 32 bytes in hex or base64: hashes tokens, encrypts signing keys
	TrustedProxies []string `yaml:"trusted_proxies"` // addresses or networks whose X-Forwarded-For is believed; default none

	Storage      Storage      `yaml:"storage"`
	Search       Search       `yaml:"search"`
	Issuers      []Issuer     `yaml:"issuers"`
	Admins       []Person     `yaml:"admins"`
	SMTP         SMTP         `yaml:"smtp"`
	Registration Registration `yaml:"registration"`
	Policy       Policy       `yaml:"policy"`
	Limits       Limits       `yaml:"limits"`
	Metrics      Metrics      `yaml:"metrics"`
	Admin        Admin        `yaml:"admin"`
	Log          Log          `yaml:"log"`
}

// Brand is what pages and mails call the site.
type Brand struct {
	Name   string `yaml:"name"`   // default "My patients"
	Accent string `yaml:"accent"` // colour of buttons and links, #rrggbb; default the product's own
	Phone  string `yaml:"phone"`  // where people call for help; default none

	LogoFile string `yaml:"logo_file"` // a square picture before the name, SVG or PNG; default none

	// What apps show of the site to people who look for it (User-access Brands).
	// They are published when website is set.
	Website    string   `yaml:"website"` // of the organisation, https; it also identifies it
	Logo       string   `yaml:"logo"`    // https URL of a square picture
	Portal     string   `yaml:"portal"`  // what the portal is called; default the brand's name
	Aliases    []string `yaml:"aliases"` // other and former names
	Street     string   `yaml:"street"`  // of its address
	City       string   `yaml:"city"`    //
	State      string   `yaml:"state"`   //
	PostalCode string   `yaml:"postal_code"`
}

// Storage says where the data is.
type Storage struct {
	Engine   string `yaml:"engine"`    // "badger", the default, or "postgres"
	Path     string `yaml:"path"`      // badger: its folder, of one process only; required in production
	DSN      Secret `yaml:"dsn"`       // postgres: URL or key=value words; required, and only there
	PoolSize int    `yaml:"pool_size"` // postgres: connections of this process at most; default 16

	// ReferentialIntegrity refuses writes whose references to this server lead to
	// nothing the caller may read, and deletions of what is referred to; not on import.
	ReferentialIntegrity bool `yaml:"referential_integrity"`

	Bulk bool `yaml:"-"` // of commands that import: prefer much at once over little memory
}

// Search says what records are indexed by beside FHIR's search parameters.
type Search struct {
	FullText bool `yaml:"full_text"` // words, for _text and _content; default false
}

// An Issuer is an OpenID Connect provider at which people sign in.
type Issuer struct {
	ID           string   `yaml:"id"`   // short, for addresses: letters, digits and dashes; never changed later
	Name         string   `yaml:"name"` // on the sign-in button
	Issuer       string   `yaml:"issuer"`
	ClientID     string   `yaml:"client_id"`
	ClientSecret Secret   `yaml:"client_secret"`
	Scopes       []string `yaml:"scopes"` // default openid, profile, email
	Roles        Roles    `yaml:"roles"`

	// What people of this issuer need to have proven, and how lately, before they let
	// somebody into a record, in the pages and through apps: approve a request, invite,
	// add to a care team. The issuer has to say so in "acr" and "auth_time".
	StepUpACR     []string `yaml:"step_up_acr"`     // any of these values of the "acr" claim; empty: nothing
	StepUpMinutes int      `yaml:"step_up_minutes"` // default 5
}

// Roles says which values of a claim of the ID token make somebody staff or an
// administrator. They hold until the next sign-in says otherwise.
type Roles struct {
	Claim  string            `yaml:"claim"`  // a name, or a path of names with dots between; empty: no roles
	Values map[string]string `yaml:"values"` // value of the claim: staff or admin
}

// A Person is a login at an issuer, by the issuer's own words.
type Person struct {
	Issuer  string `yaml:"issuer"`  // the issuer's URL
	Subject string `yaml:"subject"` // the "sub" of its ID tokens
}

// SMTP is the mail server for notices.
type SMTP struct {
	Host     string `yaml:"host"` // empty: notices wait; in the demo they are shown at /demo/mail
	Port     int    `yaml:"port"` // default 587
	TLS      string `yaml:"tls"`  // "starttls" (default), "tls" from the first byte, or "none" (loopback only)
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
	From     string `yaml:"from"` // sender address
}

// Registration says who may register clients (RFC 7591).
type Registration struct {
	Open               bool   `yaml:"open"`                 // anyone, any scope: the demo only
	InitialAccessToken Secret `yaml:"initial_access_token"` // bearer token that may register; empty: nobody

	// SoftwareStatements are those who vouch for apps. Their statement's word stands
	// over what the app says, and registers by itself what it says.
	SoftwareStatements []StatementIssuer `yaml:"software_statements"`
}

// A StatementIssuer signs software statements (RFC 7591). It has jwks or jwks_uri.
type StatementIssuer struct {
	Issuer  string `yaml:"issuer"`   // the iss of its statements
	JWKS    string `yaml:"jwks"`     // its public keys, as JSON
	JWKSURI string `yaml:"jwks_uri"` // where they are, https
}

// Policy is what a site decides about access: for which reasons and how far records
// open, what an age means, who answers, and for how long all that holds.
type Policy struct {
	AnswerByDays     int `yaml:"answer_by_days"`    // a request lapses when unanswered for so long; default 30
	GrantMonths      int `yaml:"grant_months"`      // calendar months of access when a request names no end; default 12
	MaxGrantMonths   int `yaml:"max_grant_months"`  // calendar months that an access may last at most; default 60
	InvitationMonths int `yaml:"invitation_months"` // calendar months an invitation can be redeemed; default 6, at most 6

	TeenAge    int      `yaml:"teen_age"`    // from this age a patient has a login of their own, and guardians see less; default 13
	AdultAge   int      `yaml:"adult_age"`   // from this age guardians see and decide nothing; default 18
	TeenHidden []string `yaml:"teen_hidden"` // sensitivities of v3-ActCode hidden from guardians of teenagers; default ADOL, SEX, STD, SUD, PSY, HIV

	TeenApproval       string `yaml:"teen_approval"`        // who lets others into a teenager's record: guardian, either (default) or both
	Guardians          string `yaml:"guardians"`            // how many guardians must approve: any (default: one, if none declines) or all
	KeepGuardianGrants bool   `yaml:"keep_guardian_grants"` // what guardians gave goes on at adult_age until the patient answers; else it ends
	RemindDays         int    `yaml:"remind_days"`          // so long before a request lapses the family is reminded, once; default half of answer_by_days
	CoolDownDays       int    `yaml:"cool_down_days"`       // after a decline the provider cannot ask again for so long; default 7
	ExpiryNoticeDays   int    `yaml:"expiry_notice_days"`   // so long before an access ends its people are told, once; default 14
	CheckProviders     bool   `yaml:"check_providers"`      // who registers as a provider is one only when an administrator has checked them
	PrivacyEmail       string `yaml:"privacy_email"`        // who is told of every emergency access beside the family; default nobody

	// Labels is a file of rules by which records are labelled as sensitive, beside
	// those built in, in the form of consent/label/data; empty: none.
	Labels string `yaml:"labels"`

	SponsorMonths         int        `yaml:"sponsor_months"`          // calendar months until a provider must confirm those who work for them; default 6, at most 6
	CareTeamOrganizations bool       `yaml:"care_team_organizations"` // an organisation on a care team opens the record to those with an active role in it
	BreakGlass            BreakGlass `yaml:"break_glass"`
	Bases                 Bases      `yaml:"bases"`
}

// Limits bound what one request can ask.
type Limits struct {
	MaxBodyMB int `yaml:"max_body_mb"` // default 50
}

// Metrics says where /metrics is served.
type Metrics struct {
	Listen string `yaml:"listen"` // HOST:PORT of a listener of its own; empty: none (the demo: with the rest)
}

// Admin says where a running gateway takes commands about clients, keys, the audit log
// and the policy, which need it when the data is embedded. Both or neither.
type Admin struct {
	Listen string `yaml:"listen"` // HOST:PORT of a listener of its own, loopback only; empty: none
	Token  Secret `yaml:"token"`  // bearer token
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // json (default) or text
}

// A Secret is a string that never shows itself in a log or in printed output.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(secret)"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// KeyBytes decodes Key; nil when it is not 32 bytes in hex or base64.
func (c *Config) KeyBytes() []byte {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(c.Key.Reveal()); err == nil && len(key) == 32 {
			return key
		}
	}
	return nil
}

// Zone gives the site's time zone, UTC when TimeZone is none.
func (c *Config) Zone() *time.Location {
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}

//go:embed demo.yaml
var demoYAML []byte

//go:embed production.yaml
var productionYAML []byte

// DemoYAML is the file that the demo runs with.
func DemoYAML() []byte { return demoYAML }

// ProductionYAML is a commented sample of every key.
func ProductionYAML() []byte { return productionYAML }

// setDefaults fills in what was left out.
func (c *Config) setDefaults() {
	fill(&c.Listen, "127.0.0.1:8080")
	fill(&c.Brand.Name, "My patients")
	fill(&c.TimeZone, "UTC")
	fill(&c.Storage.Engine, "badger")
	fill(&c.Storage.PoolSize, 16)
	for i := range c.Issuers {
		if len(c.Issuers[i].Scopes) == 0 {
			c.Issuers[i].Scopes = []string{"openid", "profile", "email"}
		}
		fill(&c.Issuers[i].Name, c.Issuers[i].ID)
		fill(&c.Issuers[i].StepUpMinutes, 5)
	}
	fill(&c.SMTP.Port, 587)
	fill(&c.SMTP.TLS, "starttls")
	fill(&c.Policy.AnswerByDays, 30)
	fill(&c.Policy.GrantMonths, 12)
	fill(&c.Policy.MaxGrantMonths, 60)
	fill(&c.Policy.InvitationMonths, 6)
	fill(&c.Policy.TeenAge, 13)
	fill(&c.Policy.AdultAge, 18)
	fill(&c.Policy.TeenApproval, "either")
	fill(&c.Policy.Guardians, "any")
	if len(c.Policy.TeenHidden) == 0 {
		c.Policy.TeenHidden = []string{"ADOL", "SEX", "STD", "SUD", "PSY", "HIV"}
	}
	fill(&c.Policy.CoolDownDays, 7)
	fill(&c.Policy.ExpiryNoticeDays, 14)
	fill(&c.Policy.SponsorMonths, 6)
	c.Policy.BreakGlass.setDefaults()
	c.Policy.Bases.setDefaults()
	fill(&c.Limits.MaxBodyMB, 50)
	fill(&c.Log.Level, "info")
	fill(&c.Log.Format, "json")
}

func fill[T comparable](at *T, value T) {
	var zero T
	if *at == zero {
		*at = value
	}
}
