package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mypatients/fhir/engine"
)

// runCommand runs a command line and gives its status and what it printed.
func runCommand(t *testing.T, env map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), environment{
		stdout: &out, stderr: &errs, now: time.Now,
		lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}, args)
	return status, out.String(), errs.String()
}

var secrets = map[string]string{
	"GATEWAY_KEY":                strings.Repeat("0123456789abcdef", 4),
	"GATEWAY_OIDC_SECRET":        "oidc-secret",
	"GATEWAY_SMTP_PASSWORD":      "smtp-secret",
	"GATEWAY_REGISTRATION_TOKEN": "a-token-with-enough-characters",
	"GATEWAY_ADMIN_TOKEN":        "an-admin-token-with-enough-characters",
}

// production writes a configuration like the sample on a folder of its own.
func production(t *testing.T) (path string) {
	t.Helper()
	text, err := os.ReadFile("../config/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := strings.Replace(string(text), "/var/lib/mypatients", filepath.Join(t.TempDir(), "data"), 1)
	s = strings.Replace(s, "level: info", "level: error", 1)
	return write(t, "production.yaml", s)
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestErrorsAreASentenceAndAHint(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := write(t, "bad.yaml", "listn: 127.0.0.1:1\nbase_url: http://example.org\n")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"unknown command":   {[]string{"fly"}, []string{`there is no command "fly"`, "hint: "}},
		"unknown flag":      {[]string{"-colour", "red"}, []string{"colour", "hint: "}},
		"stray argument":    {[]string{"serve", "-config", "x", "y"}, []string{"cannot read"}},
		"no config":         {[]string{"serve"}, []string{"serve needs -config FILE", "hint: "}},
		"no file":           {[]string{"serve", "-config", "absent.yaml"}, []string{"absent.yaml"}},
		"bad config":        {[]string{"check", "-config", bad}, []string{"bad.yaml:1: listn", "bad.yaml:2: base_url", "key: is required", "hint: "}},
		"demo off loopback": {[]string{"-addr", "0.0.0.0:8080"}, []string{"listen: must be a loopback address"}},
		"bad mail server":   {[]string{"-smtp", "nowhere"}, []string{"-smtp nowhere", "hint: "}},
		"port taken":        {[]string{"-addr", taken.Addr().String(), "-data", t.TempDir()}, []string{"is taken", "hint: "}},
		"fresh elsewhere":   {[]string{"-fresh", "-data", other}, []string{"left alone", "hint: "}},
		"load nothing":      {[]string{"load", "-config", bad}, []string{"bad.yaml:1"}},
		"client nothing":    {[]string{"client"}, []string{"add, list or remove", "hint: "}},
		"keys nothing":      {[]string{"keys", "burn"}, []string{"rotate", "hint: "}},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := runCommand(t, secrets, c.args...)
			if status != 1 {
				t.Errorf("got status %d, want 1", status)
			}
			for _, part := range c.want {
				if !strings.Contains(stderr, part) {
					t.Errorf("missing %q in %q", part, stderr)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(other, "thesis.txt")); err != nil {
		t.Error("-fresh removed what is not the demo's")
	}
}

func TestHelpVersionAndCheck(t *testing.T) {
	if status, stdout, _ := runCommand(t, nil, "help"); status != 0 || !strings.Contains(stdout, "gateway load -config FILE PATH…") {
		t.Errorf("help: got %d %s", status, stdout)
	}
	if status, stdout, _ := runCommand(t, nil, "version"); status != 0 || !strings.Contains(stdout, "go1.") {
		t.Errorf("version: got %d %s", status, stdout)
	}
	if status, stdout, stderr := runCommand(t, secrets, "check", "-config", production(t)); status != 0 || !strings.Contains(stdout, "good") {
		t.Errorf("check: got %d %s %s", status, stdout, stderr)
	}
}

func TestLoadReportsFileAndLineAndGoesOn(t *testing.T) {
	path := production(t)
	data := write(t, "people.ndjson", `{"resourceType":"Patient","id":"1","birthDate":"2020-01-01"}
{"resourceType":"Patient","id":"2","birthDate":"yesterday"}
{"resourceType":"Patient"
{"resourceType":"Patient","id":"4","generalPractitioner":[{"reference":"Practitioner/later"}]}
`)
	status, stdout, stderr := runCommand(t, secrets, "load", "-config", path, data)
	if status != 1 || !strings.Contains(stdout, "created 2, updated 0, unchanged 0, refused 2") {
		t.Errorf("got %d %s %s", status, stdout, stderr)
	}
	for _, part := range []string{data + ":2: Patient.birthDate", data + ":3: ", "2 resources were refused", "hint: "} {
		if !strings.Contains(stderr, part) {
			t.Errorf("missing %q in %s", part, stderr)
		}
	}
	good := write(t, "good.ndjson", `{"resourceType":"Patient","id":"1","birthDate":"2020-01-01"}`+"\n")
	status, stdout, stderr = runCommand(t, secrets, "load", "-config", path, good)
	if status != 0 || !strings.Contains(stdout, "created 0, updated 0, unchanged 1, refused 0") {
		t.Errorf("again: got %d %s %s", status, stdout, stderr)
	}
	if status, _, stderr = runCommand(t, secrets, "load", "-config", path, "absent.ndjson"); status != 1 || !strings.Contains(stderr, "absent.ndjson") {
		t.Errorf("absent: got %d %s", status, stderr)
	}
}

func TestProgressIsALineEveryFiveSeconds(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	p := newProgress(environment{stderr: &out, now: func() time.Time { return now }})
	for range 60 { // half a minute, twice a second
		now = now.Add(time.Second / 2)
		p.update(50<<20, 100<<20, engine.LoadReport{Created: 3, Unchanged: 4, Refused: 5})
	}
	p.finish()
	if got := strings.Count(out.String(), "importing: 50 % of 100 MB, 7 resources done, 5 refused\n"); got != 6 {
		t.Errorf("got %d lines, want 6: %s", got, out.String())
	}
}

func TestClientsAndKeys(t *testing.T) {
	path := production(t)
	app := write(t, "app.json", `{"client_id":"app","client_name":"App","redirect_uris":["https://app.example.org/cb"],
		"grant_types":["authorization_code"],"scope":"openid","token_endpoint_auth_method":"client_secret_basic"}`)
	status, stdout, stderr := runCommand(t, secrets, "client", "add", "-config", path, app)
	if status != 0 || !strings.Contains(stdout, "client_id app\nclient_secret ") {
		t.Fatalf("add: got %d %s %s", status, stdout, stderr)
	}
	secret := strings.TrimSpace(stdout[strings.LastIndex(stdout, " "):])
	if status, stdout, stderr = runCommand(t, secrets, "client", "list", "-config", path); status != 0 || !strings.HasPrefix(stdout, "app ") || strings.Contains(stdout, secret) {
		t.Errorf("list: got %d %s %s", status, stdout, stderr)
	}
	if status, stdout, stderr = runCommand(t, secrets, "keys", "rotate", "-config", path); status != 0 {
		t.Errorf("rotate: got %d %s %s", status, stdout, stderr)
	}
	if status, _, stderr = runCommand(t, secrets, "client", "remove", "-config", path, "app"); status != 0 {
		t.Errorf("remove: got %d %s", status, stderr)
	}
	if status, _, stderr = runCommand(t, secrets, "client", "remove", "-config", path, "app"); status != 1 || !strings.Contains(stderr, "not known") {
		t.Errorf("remove again: got %d %s", status, stderr)
	}
	for name, text := range map[string]string{
		"unknown member": `{"client_id":"x","colour":"red"}`,
		"short secret":   `{"client_id":"x","token_endpoint_auth_method":"client_secret_basic","client_secret":"short"}`,
		"no redirect":    `{"client_id":"x","token_endpoint_auth_method":"none","grant_types":["authorization_code"]}`,
	} {
		if !json.Valid([]byte(text)) {
			t.Fatal(name)
		}
		if status, _, stderr := runCommand(t, secrets, "client", "add", "-config", path, write(t, "bad.json", text)); status != 1 {
			t.Errorf("%s: got %d %s", name, status, stderr)
		}
	}
}

func TestInterruptedLoadSaysSo(t *testing.T) {
	path, data := production(t), write(t, "p.ndjson", `{"resourceType":"Patient","id":"1"}`+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	status := run(ctx, environment{stdout: &out, stderr: &errs, now: time.Now, lookup: func(n string) (string, bool) { v, ok := secrets[n]; return v, ok }},
		[]string{"load", "-config", path, data})
	if status != 1 || strings.Contains(errs.String(), "goroutine") {
		t.Errorf("got %d %s", status, errs.String())
	}
}

// A search parameter that was imported is in force when all is indexed anew.
func TestReindex(t *testing.T) {
	quiet, err := os.ReadFile(production(t))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "loud.yaml", strings.Replace(string(quiet), "level: error", "level: warn", 1))
	data := write(t, "people.ndjson", `{"resourceType":"Patient","id":"1","birthDate":"2020-01-01","extension":[{"url":"http://example.org/eyes","valueCode":"blue"}]}
{"resourceType":"SearchParameter","id":"eyes","url":"http://example.org/SearchParameter/eyes","name":"Eyes","status":"active","description":"x","code":"eyes","base":["Patient"],"type":"token","expression":"Patient.extension('http://example.org/eyes').value"}
{"resourceType":"SearchParameter","id":"bad","url":"http://example.org/SearchParameter/bad","name":"Bad","status":"active","description":"x","code":"bad","base":["Patient"],"type":"token","expression":"Patient.("}
`)
	status, stdout, stderr := runCommand(t, secrets, "load", "-config", path, data)
	if status != 1 || !strings.Contains(stdout, "created 2, updated 0, unchanged 0, refused 1") || !strings.Contains(stderr, data+":3: SearchParameter.expression") {
		t.Errorf("load: got %d %s %s", status, stdout, stderr)
	}
	status, stdout, stderr = runCommand(t, secrets, "reindex", "-config", path)
	if status != 0 || !strings.Contains(stdout, "looked at 2, changed 1") || !strings.Contains(stderr, "re-index needed") || !strings.Contains(stderr, "Patient.eyes") {
		t.Errorf("reindex: got %d %s %s", status, stdout, stderr)
	}
	status, stdout, stderr = runCommand(t, secrets, "reindex", "-config", path)
	if status != 0 || !strings.Contains(stdout, "looked at 2, changed 0") || strings.Contains(stderr, "re-index needed") {
		t.Errorf("once more: got %d %s %s", status, stdout, stderr)
	}
	loud, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr = runCommand(t, secrets, "reindex", "-config", write(t, "words.yaml", strings.Replace(string(loud), "full_text: false", "full_text: true", 1)))
	if status != 0 || !strings.Contains(stdout, "looked at 2, changed 2") || !strings.Contains(stderr, "_content") {
		t.Errorf("with words: got %d %s %s", status, stdout, stderr)
	}
}

// TestSiteLabels: a site's rules are checked, and label what is stored.
func TestSiteLabels(t *testing.T) {
	quiet := production(t)
	text, err := os.ReadFile(quiet)
	if err != nil {
		t.Fatal(err)
	}
	with := func(rules string) string {
		return write(t, "labels.yaml", strings.Replace(string(text), `labels: ""`, "labels: "+write(t, "labels.txt", rules), 1))
	}
	data := write(t, "asthma.ndjson", `{"resourceType":"Patient","id":"1"}
{"resourceType":"Condition","id":"a","subject":{"reference":"Patient/1"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"J45.20"}]}}
`)
	if status, stdout, stderr := runCommand(t, secrets, "load", "-config", quiet, data); status != 0 {
		t.Fatalf("load: got %d %s %s", status, stdout, stderr)
	}
	for _, command := range []string{"check", "reindex"} {
		status, _, stderr := runCommand(t, secrets, command, "-config", with("PSY icd10"))
		if status == 0 || !strings.Contains(stderr, "labels.txt:1: a rule is LABEL SYSTEM CODE and a reason") {
			t.Errorf("%s: got %d %s", command, status, stderr)
		}
	}
	mine := with("ADOL icd10 J45 asthma, here\n")
	for _, want := range []string{"labels: looked at 2 versions, changed 1", ""} {
		status, stdout, stderr := runCommand(t, secrets, "reindex", "-config", mine)
		if status != 0 || !strings.Contains(stdout, want) || want == "" && strings.Contains(stdout, "labels") {
			t.Errorf("reindex: got %d %s %s, want %s", status, stdout, stderr, want)
		}
	}
}
