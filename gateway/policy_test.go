package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestPolicyShowSaysTheTableInWords(t *testing.T) {
	path := production(t)
	if status, _, stderr := runCommand(t, nil, "policy", "show", "-config", path); status != 1 || !strings.Contains(stderr, "GATEWAY_KEY") {
		t.Errorf("without its environment: got %d %s", status, stderr)
	}
	status, stdout, stderr := runCommand(t, secrets, "policy", "show", "-config", path)
	if status != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"self", "pcp", "nothing above R", "emergency   off", "13 to 17", "ADOL, SEX, STD, SUD, PSY, HIV", "from 18", "lapses after 30 days, with a reminder 15 days before", "12 months where a request names no end, 60 at most", "6 months, once",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	changed := write(t, "changed.yaml", strings.NewReplacer("pcp: { off: false, ceiling: R }", "pcp: { off: true }", "types: [], never: []", "types: [Patient, Immunization], never: [HIV]",
		"enabled: false", "enabled: true", "teen_approval: either", "teen_approval: both", "guardians: any", "guardians: all", "opt_outs_hold: false", "opt_outs_hold: true",
		"keep_guardian_grants: false", "keep_guardian_grants: true", "care_team_organizations: false", "care_team_organizations: true").Replace(string(readFile(t, path))))
	_, stdout, _ = runCommand(t, secrets, "policy", "show", "-config", changed)
	for _, want := range []string{
		"off: opens nothing", "of the types Patient, Immunization alone; never what is labelled HIV", "for 60 minutes", "a family's denial for everybody holds", "privacy@example.org is told",
		"decide together", "all who have a login", "goes on until the patient answers", "everybody with an active role",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("changed: no %q in\n%s", want, stdout)
		}
	}
}

// All mistakes come at once, those too that only FHIR's codes tell.
func TestPolicyMistakesStopTheStart(t *testing.T) {
	path := write(t, "bad.yaml", strings.NewReplacer("pcp: { off: false, ceiling: R }", "pcp: { ceiling: V }", "types: [], never: []", "types: [Patient, Observtion], never: [MASK]",
		"teen_hidden: [ADOL,", "teen_hidden: [REDACT, ADOL,").Replace(string(readFile(t, production(t)))))
	for _, args := range [][]string{{"check"}, {"serve"}, {"policy", "show"}} {
		status, _, stderr := runCommand(t, secrets, append(args, "-config", path)...)
		for _, want := range []string{
			"4 problems", "policy.bases.pcp.ceiling: must be one of", "policy.bases.careteam.types[1]: must be a type", "policy.bases.careteam.never[0]: is an obligation", "policy.teen_hidden[0]: is an obligation",
		} {
			if status != 1 || !strings.Contains(stderr, want) {
				t.Errorf("%v: got %d, no %q in\n%s", args, status, want, stderr)
			}
		}
	}
}

const policyPeople = `{"resourceType":"Practitioner","id":"adams","name":[{"family":"Adams"}]}
{"resourceType":"Practitioner","id":"baker","name":[{"family":"Baker"}]}
{"resourceType":"Patient","id":"one","identifier":[{"system":"https://example.org/mrn","value":"100001"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":"2020-01-01","generalPractitioner":[{"reference":"Practitioner/adams"}]}
{"resourceType":"Patient","id":"two","identifier":[{"system":"https://example.org/mrn","value":"100002"}],"name":[{"family":"Rivera","given":["Sofia"]}],"birthDate":"2021-01-01","generalPractitioner":[{"reference":"Practitioner/adams"},{"reference":"Practitioner/baker"}]}
{"resourceType":"CareTeam","id":"team","status":"active","subject":{"reference":"Patient/two"},"participant":[{"member":{"reference":"Practitioner/adams"}}]}
`

// TestPolicyDiff compares policies on a stopped gateway's data, and by a running one.
func TestPolicyDiff(t *testing.T) {
	path, text := commanded(t)
	if status, _, stderr := runCommand(t, secrets, "load", "-config", path, write(t, "people.ndjson", policyPeople)); status != 0 {
		t.Fatal(stderr)
	}
	noPCP := write(t, "changed.yaml", strings.Replace(text, "pcp: { off: false, ceiling: R }", "pcp: { off: true }", 1))
	later := write(t, "later.yaml", strings.Replace(text, "cool_down_days: 7", "cool_down_days: 8", 1))
	good := func(when string) string {
		t.Helper()
		for _, same := range []string{path, later} {
			status, stdout, stderr := runCommand(t, secrets, "policy", "diff", "-config", path, "-to", same)
			if status != 0 || !strings.Contains(stdout, "changes: none; about 0 patients") || strings.Contains(stdout, "key policy.cool_down_days: 7, would be 8") != (same == later) {
				t.Errorf("%s, nothing to tell: got %d %s %s", when, status, stdout, stderr)
			}
		}
		status, stdout, stderr := runCommand(t, secrets, "policy", "diff", "-config", path, "-to", noPCP)
		if status != statusDiffers || !strings.Contains(stderr, "somebody would see more or less") {
			t.Errorf("%s: got %d %s", when, status, stderr)
		}
		for _, want := range []string{"closed    provider Practitioner/", "before: pcp  closes: ", "1 Patient", "key policy.bases.pcp.off: false, would be true", "compared 2 patients", "provider Practitioner/adams (without a login)  Patient/one"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", when, want, stdout)
			}
		}
		for _, private := range []string{"Rivera", "Mateo", "10000", "Adams"} {
			if strings.Contains(stdout, private) {
				t.Errorf("%s: %q is in\n%s", when, private, stdout)
			}
		}
		_, short, _ := runCommand(t, secrets, "policy", "diff", "-config", path, "-to", noPCP, "-limit", "1")
		if strings.Count(short, "closed  ") != 1 || !strings.Contains(short, "\nand ") || short[strings.Index(short, "key "):] != stdout[strings.Index(stdout, "key "):] {
			t.Errorf("%s, the first alone: got\n%s", when, short)
		}
		return stdout
	}
	stopped := good("stopped")

	_, _, stop := runCommanded(t, path, slog.DiscardHandler)
	if running := good("running"); running != stopped {
		t.Errorf("running: got\n%s\nstopped\n%s", running, stopped)
	}
	zone := write(t, "zone.yaml", strings.Replace(text, "America/New_York", "America/Chicago", 1))
	if _, _, stderr := runCommand(t, secrets, "policy", "diff", "-config", path, "-to", zone); !strings.Contains(stderr, "time_zone differs too") {
		t.Errorf("another zone: got %s", stderr)
	}
	status, stdout, _ := runCommand(t, secrets, "audit", "export", "-config", path)
	if status != 0 || strings.Count(stdout, `"compare-policies"`) != 9 || !strings.Contains(stdout, "policy.bases.pcp.off") {
		t.Errorf("the log has %d comparisons", strings.Count(stdout, `"compare-policies"`))
	}
	stop()
	for _, args := range [][]string{
		{}, {"burn"}, {"diff", "-config", path}, {"diff", "-config", path, "-to", path, "-limit", "-1"}, {"diff", "-to", path}, {"show", "-config", path, "-to", path},
		{"diff", "-config", path, "-to", t.TempDir() + "/none.yaml"}, {"show", "-config", path, "more"},
	} {
		if status, stdout, stderr := runCommand(t, secrets, append([]string{"policy"}, args...)...); status != 1 || stdout != "" || stderr == "" {
			t.Errorf("%v: got %d %s", args, status, stderr)
		}
	}
}
