package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mypatients/config"
)

func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"GATEWAY_KEY":                strings.Repeat("0123456789abcdef", 4),
		"GATEWAY_OIDC_SECRET":        "oidc-secret",
		"GATEWAY_SMTP_PASSWORD":      "smtp-secret",
		"GATEWAY_REGISTRATION_TOKEN": "a-token-with-enough-characters",
		"GATEWAY_ADMIN_TOKEN":        "an-admin-token-with-enough-characters",
	}[name]
	return v, ok
}

func none(string) (string, bool) { return "", false }

func TestSampleFilesAreGood(t *testing.T) {
	demo, err := config.Parse("demo.yaml", config.DemoYAML(), none)
	if err != nil {
		t.Fatal(err)
	}
	if !demo.Demo || demo.Limits.MaxBodyMB != 50 || demo.SMTP.Port != 1025 || demo.Zone().String() != "America/New_York" {
		t.Errorf("demo: got %+v", demo)
	}
	c, err := config.Parse("production.yaml", config.ProductionYAML(), environment)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.KeyBytes()) != 32 || c.Issuers[0].ClientSecret.Reveal() != "oidc-secret" {
		t.Errorf("production: got %+v", c)
	}
}

func TestProductionSampleShowsEveryKey(t *testing.T) {
	text := string(config.ProductionYAML())
	for _, key := range strings.Fields(`demo listen base_url brand name time_zone mrn_system key trusted_proxies storage engine path dsn pool_size referential_integrity
		issuers id issuer client_id client_secret scopes roles claim values step_up_acr step_up_minutes admins subject smtp host port tls username password from registration
		open initial_access_token policy answer_by_days grant_months
		invitation_months teen_age adult_age teen_hidden teen_approval guardians keep_guardian_grants sponsor_months care_team_organizations privacy_email break_glass enabled minutes sign_in_minutes ceiling never opt_outs_hold per_hour max_grant_months bases off types proxy pcp careteam consent invitation sponsored staff system limits max_body_mb accent phone logo_file metrics admin token software_statements jwks_uri log level format`) {
		if !strings.Contains(text, key+":") {
			t.Errorf("production.yaml does not show %q", key)
		}
	}
}

const minimal = `
base_url: https://gateway.example.org
key: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
mrn_system: https://example.org/mrn
storage: {path: /data}
issuers: [{id: a, issuer: https://login.example.org, client_id: gw}]
`

func TestDefaults(t *testing.T) {
	c, err := config.Parse("min.yaml", []byte(minimal), none)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.Policy.InvitationMonths != 6 ||
		c.Policy.TeenAge != 13 || c.Policy.AdultAge != 18 || c.Policy.TeenApproval != "either" || c.Policy.Guardians != "any" || len(c.Policy.TeenHidden) != 6 || c.Policy.KeepGuardianGrants ||
		c.SMTP.TLS != "starttls" || len(c.Issuers[0].Scopes) != 3 || c.Issuers[0].Name != "a" || c.Registration.Open {
		t.Errorf("got %+v", c)
	}
}

func TestEveryProblemIsReportedWithItsLine(t *testing.T) {
	_, err := config.Parse("bad.yaml", []byte(`listn: x
base_url: http://gateway.example.org/
key: ${NO_SUCH}
storage:
  engine: mongo
  pool_size: -1
issuers:
  - id: A b
    issuer: http://login.example.org
    client_id: gw
    colour: red
  - id: demo
    issuer: http://127.0.0.1:8080/demo-idp
registration: {open: true}
policy: {invitation_months: 7, teen_age: 19, adult_age: 30, teen_hidden: [adol], teen_approval: nobody, guardians: some}
limits: {max_body_mb: -1}
time_zone: Mars/Olympus
`), none)
	var problems *config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	for _, want := range []string{
		"bad.yaml:1: listn: there is no such key",
		"bad.yaml:2: base_url: ",
		"bad.yaml:3: key: the environment variable NO_SUCH is not set",
		"bad.yaml:5: storage.engine: must be badger or postgres",
		"bad.yaml:6: storage.pool_size: must be between",
		"bad.yaml:8: issuers[0].id: ",
		"bad.yaml:9: issuers[0].issuer: must be https",
		"bad.yaml:11: issuers[0].colour: there is no such key",
		"issuers[1].client_id: is required",
		"bad.yaml:13: issuers[1].issuer: is the demo's issuer",
		"bad.yaml:14: registration.open: ",
		"bad.yaml:15: policy.invitation_months: must be between 1 and 6",
		"policy.adult_age: must be between 14 and 25", "policy.teen_hidden[0]: must be a code", "policy.teen_approval: must be guardian, either or both", "policy.guardians: must be any or all",
		"bad.yaml:16: limits.max_body_mb: ",
		"bad.yaml:17: time_zone: ",
		"mrn_system: is required",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
}

func TestStorage(t *testing.T) {
	for storage, want := range map[string]string{
		"{path: /data}":                                             "",
		"{engine: badger, path: /data}":                             "",
		"{engine: postgres, dsn: 'host=db dbname=x'}":               "",
		"{engine: postgres, dsn: 'host=db dbname=x', pool_size: 4}": "",
		"{}":                 "storage.path: is required",
		"{engine: postgres}": "storage.dsn: is required",
		"{engine: postgres, dsn: 'host=db', path: /data}":  "storage.path: is for the engine badger",
		"{path: /data, dsn: 'host=db'}":                    "storage.dsn: is for the engine postgres",
		"{engine: postgres, dsn: 'host=db', pool_size: 1}": "storage.pool_size: must be between",
	} {
		_, err := config.Parse("s.yaml", []byte(strings.Replace(minimal, "{path: /data}", storage, 1)), none)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", storage, err, want)
		}
	}
	c, err := config.Parse("s.yaml", []byte(strings.Replace(minimal, "{path: /data}", "{engine: postgres, dsn: 'password=hunter2'}", 1)), none)
	if err != nil || strings.Contains(fmt.Sprintf("%+v", c), "hunter2") || c.Storage.PoolSize != 16 {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestWhatAnIssuerMaySay(t *testing.T) {
	for rule, want := range map[string]string{
		"roles: {claim: groups, values: {desk: staff, it: admin}}":      "",
		"step_up_acr: ['urn:mfa']":                                      "",
		"roles: {claim: groups, values: {all: patient}}":                "issuers[0].roles.values: must lead to staff or admin",
		"roles: {claim: groups, values: {all: provider}}":               "issuers[0].roles.values: must lead to staff or admin",
		"roles: {claim: groups, values: {all: proxy}}":                  "issuers[0].roles.values: must lead to staff or admin",
		"roles: {claim: groups, values: {'': admin}}":                   "must not have an empty value",
		"roles: {claim: groups}":                                        "issuers[0].roles: needs a claim and values",
		"roles: {values: {desk: staff}}":                                "issuers[0].roles: needs a claim and values",
		"step_up_acr: ['a b']":                                          "issuers[0].step_up_acr[0]: must be",
		"step_up_acr: ['']":                                             "issuers[0].step_up_acr[0]: must be",
		"step_up_minutes: 1000":                                         "issuers[0].step_up_minutes: must be between",
		"roles: {claim: groups, values: {desk: staff}, default: admin}": "there is no such key",
	} {
		_, err := config.Parse("x.yaml", []byte(strings.Replace(minimal, "client_id: gw", "client_id: gw, "+rule, 1)), none)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", rule, err, want)
		}
	}
}

func TestAdmin(t *testing.T) {
	for admin, want := range map[string]string{
		"{}": "",
		"{listen: '127.0.0.1:9091', token: 0123456789012345678901}": "",
		"{listen: '127.0.0.1:9091'}":                                "admin.token: goes with listen",
		"{token: 0123456789012345678901}":                           "admin.token: goes with listen",
		"{listen: '0.0.0.0:9091', token: 0123456789012345678901}":   "admin.listen: must be HOST:PORT on a loopback address",
		"{listen: '127.0.0.1:8080', token: 0123456789012345678901}": "admin.listen: must be an address of its own",
		"{listen: '127.0.0.1:9091', token: short}":                  "admin.token: must have at least",
	} {
		_, err := config.Parse("a.yaml", []byte(minimal+"admin: "+admin+"\n"), none)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", admin, err, want)
		}
	}
}

func TestSoftwareStatements(t *testing.T) {
	for issuer, want := range map[string]string{
		"{issuer: a, jwks_uri: 'https://a.example/jwks'}":             "",
		"{issuer: a, jwks: '{\"keys\":[]}'}":                          "",
		"{jwks_uri: 'https://a.example/jwks'}":                        "software_statements[0].issuer: is required",
		"{issuer: a}":                                                 "software_statements[0].jwks_uri: or jwks is required",
		"{issuer: a, jwks: '{}', jwks_uri: 'https://a.example/jwks'}": "software_statements[0].jwks_uri: or jwks is required",
		"{issuer: a, jwks: 'no'}":                                     "software_statements[0].jwks: must be",
		"{issuer: a, jwks_uri: 'http://a.example/jwks'}":              "software_statements[0].jwks_uri: must be an https URL",
	} {
		_, err := config.Parse("s.yaml", []byte(minimal+"registration: {software_statements: ["+issuer+"]}\n"), none)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", issuer, err, want)
		}
	}
}

func TestSyntaxAndTypeErrorsHaveALineAndNoExcerpt(t *testing.T) {
	for _, text := range []string{"listen: a\nkey: hunter2: x\n", "listen: a\nkey: hunter2\nsmtp: {port: many}\n", "listen: [hunter2\n"} {
		_, err := config.Parse("x.yaml", []byte(text), none)
		if err == nil || !strings.HasPrefix(err.Error(), "x.yaml:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestDemoStaysOnLoopback(t *testing.T) {
	for listen, ok := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true,
		"0.0.0.0:1": false, ":1": false, "192.168.1.1:1": false, "127.0.0.1.example.org:1": false,
	} {
		_, err := config.Parse("d.yaml", []byte("demo: true\nlisten: '"+listen+"'\n"), none)
		if (err == nil) != ok {
			t.Errorf("%s: got %v", listen, err)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	c, err := config.Parse("production.yaml", config.ProductionYAML(), environment)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "key", c.Key)
	all := log.String() + fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Key)
	for _, secret := range []string{"0123456789abcdef", "oidc-secret", "smtp-secret", "a-token-with"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q shows in %s", secret, all)
		}
	}
}
