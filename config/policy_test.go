package config_test

import (
	"strings"
	"testing"

	"mypatients/config"
)

// Each mistake in the policy is refused with its key, all of them at once.
func TestPolicyMistakesNameTheirKeys(t *testing.T) {
	for policy, want := range map[string]string{
		"{}": "",
		"{bases: {pcp: {off: true}, careteam: {ceiling: N}, consent: {ceiling: V}, proxy: {types: [Patient, Observation], never: [PSY, HIV]}}}": "",
		"{bases: {staff: {types: [Patient, Consent]}, system: {ceiling: U}, sponsored: {off: true}, invitation: {never: [SUD]}}}":               "",
		"{grant_months: 24, max_grant_months: 24}": "",
		"{break_glass: {enabled: true, ceiling: V, never: [PSY], roles: ['59058001']}, privacy_email: p@example.org}": "",

		"{bases: {careteam: {ceiling: V}}}":                                              "policy.bases.careteam.ceiling: must be one of U, L, M, N, R: it can be lowered, and not be raised above R",
		"{bases: {pcp: {ceiling: V}}}":                                                   "policy.bases.pcp.ceiling: ",
		"{bases: {sponsored: {ceiling: V}}}":                                             "policy.bases.sponsored.ceiling: ",
		"{bases: {consent: {ceiling: X}}}":                                               "policy.bases.consent.ceiling: ",
		"{bases: {invitation: {ceiling: normal}}}":                                       "policy.bases.invitation.ceiling: ",
		"{bases: {proxy: {ceiling: r}}}":                                                 "policy.bases.proxy.ceiling: ",
		"{bases: {staff: {ceiling: W}}}":                                                 "policy.bases.staff.ceiling: ",
		"{bases: {system: {ceiling: '*'}}}":                                              "policy.bases.system.ceiling: ",
		"{bases: {pcp: {types: [Observation]}}}":                                         "policy.bases.pcp.types: must contain Patient",
		"{bases: {pcp: {types: [Patient, observation]}}}":                                "policy.bases.pcp.types[1]: must be a type",
		"{bases: {pcp: {types: [Patient, Basic, Patient]}}}":                             "policy.bases.pcp.types[2]: is there twice",
		"{bases: {staff: {types: [Patient, Observation]}}}":                              "policy.bases.staff.types[1]: must be one of Patient, RelatedPerson, CareTeam, Consent",
		"{bases: {careteam: {never: [psy]}}}":                                            "policy.bases.careteam.never[0]: must be a code of v3-ActCode",
		"{bases: {self: {off: true}}}":                                                   "policy.bases.self: there is no such key",
		"{bases: {emergency: {off: false}}}":                                             "policy.bases.emergency: there is no such key",
		"{bases: {care-team: {off: true}}}":                                              "policy.bases.care-team: there is no such key",
		"{bases: {pcp: {floor: N}}}":                                                     "policy.bases.pcp.floor: there is no such key",
		"{max_grant_months: 121}":                                                        "policy.max_grant_months: must be between 1 and 120",
		"{max_grant_months: -1}":                                                         "policy.max_grant_months: ",
		"{grant_months: 61}":                                                             "policy.grant_months: must be between 1 and 60",
		"{grant_months: 13, max_grant_months: 12}":                                       "policy.grant_months: must be between 1 and 12",
		"{answer_by_days: 366}":                                                          "policy.answer_by_days: ",
		"{invitation_months: -1}":                                                        "policy.invitation_months: ",
		"{answer_by_days: 10, remind_days: 10}":                                          "policy.remind_days: must be between 0 and 9",
		"{cool_down_days: -1}":                                                           "policy.cool_down_days: ",
		"{expiry_notice_days: 91}":                                                       "policy.expiry_notice_days: ",
		"{sponsor_months: 7}":                                                            "policy.sponsor_months: must be between 1 and 6",
		"{privacy_email: 'Privacy <p@example.org>'}":                                     "policy.privacy_email: must be a mail address",
		"{break_glass: {enabled: true}}":                                                 "policy.privacy_email: is required with break_glass",
		"{break_glass: {minutes: 4}}":                                                    "policy.break_glass.minutes: must be between 5 and 1440",
		"{break_glass: {minutes: 1441}}":                                                 "policy.break_glass.minutes: ",
		"{break_glass: {sign_in_minutes: -1}}":                                           "policy.break_glass.sign_in_minutes: must be between 1 and 720",
		"{break_glass: {sign_in_minutes: 721}}":                                          "policy.break_glass.sign_in_minutes: ",
		"{break_glass: {ceiling: U}}":                                                    "policy.break_glass.ceiling: must be N, R or V",
		"{break_glass: {ceiling: everything}}":                                           "policy.break_glass.ceiling: ",
		"{break_glass: {never: [PSY, 'mental health']}}":                                 "policy.break_glass.never[1]: must be a code",
		"{break_glass: {roles: [a, '']}}":                                                "policy.break_glass.roles[1]: must not be empty",
		"{break_glass: {per_hour: -5}}":                                                  "policy.break_glass.per_hour: must be between 1 and 100",
		"{break_glass: {per_hour: 101}}":                                                 "policy.break_glass.per_hour: ",
		"{break_glass: {for_everybody: true}}":                                           "policy.break_glass.for_everybody: there is no such key",
		"{bases: {pcp: {off: perhaps}}, break_glass: {}}":                                "p.yaml:",
		"{break_glass: {minutes: 1}, bases: {pcp: {ceiling: V}, system: {never: ['']}}}": "policy.break_glass.minutes: |policy.bases.pcp.ceiling: |policy.bases.system.never[0]: ",
	} {
		_, err := config.Parse("p.yaml", []byte(minimal+"policy: "+policy+"\n"), none)
		if want == "" && err != nil || want != "" && err == nil {
			t.Errorf("%s: got %v, want %q", policy, err, want)
			continue
		}
		for part := range strings.SplitSeq(want, "|") {
			if want != "" && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q", policy, err, part)
			}
		}
	}
}

func TestTableOfBasesIsTheModels(t *testing.T) {
	c, err := config.Parse("min.yaml", []byte(minimal), none)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"proxy": "V", "pcp": "R", "careteam": "R", "consent": "V", "invitation": "V", "sponsored": "R", "staff": "V", "system": "V"}
	for _, row := range c.Policy.Bases.Rows() {
		if row.Off || row.Ceiling != want[row.Key] || row.Highest != want[row.Key] || len(row.Basis.Types)+len(row.Never) > 0 {
			t.Errorf("%s: got %+v", row.Key, row.Basis)
		}
		delete(want, row.Key)
	}
	if len(want) > 0 {
		t.Errorf("no row for %v", want)
	}
	sample, err := config.Parse("production.yaml", config.ProductionYAML(), environment)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range c.Policy.Changes(&sample.Policy) { // the sample has the defaults, and says so
		if change.Key != "policy.privacy_email" && change.Key != "policy.remind_days" {
			t.Errorf("the sample differs: %+v", change)
		}
	}
}

func TestChangesNameKeysAndValues(t *testing.T) {
	parse := func(policy string) *config.Policy {
		c, err := config.Parse("p.yaml", []byte(minimal+"policy: "+policy+"\n"), none)
		if err != nil {
			t.Fatal(err)
		}
		return &c.Policy
	}
	var got []string
	for _, c := range parse("{}").Changes(parse("{teen_age: 12, bases: {pcp: {ceiling: N, never: [PSY, HIV]}}, break_glass: {minutes: 30}}")) {
		got = append(got, c.Key+" "+c.From+" "+c.To)
	}
	want := "policy.teen_age 13 12\npolicy.break_glass.minutes 60 30\npolicy.bases.pcp.ceiling R N\npolicy.bases.pcp.never [] [PSY, HIV]"
	if strings.Join(got, "\n") != want {
		t.Errorf("got %q", got)
	}
}

// Others add problems by their keys, which are reported with the rest and their lines.
func TestOthersAddProblems(t *testing.T) {
	_, err := config.Parse("p.yaml", []byte("mrn_system: x\n"+minimal[strings.Index(minimal, "storage"):]+"policy:\n  teen_age: 1\n  teen_hidden: [MASK]\n"), none, func(c *config.Config) []config.Problem {
		return []config.Problem{{Key: "policy.teen_hidden[0]", Text: "is none, like " + c.Policy.TeenHidden[0]}, {Key: "policy.teen_age", Text: "is not said twice"}}
	})
	if err == nil || !strings.Contains(err.Error(), "p.yaml:6: policy.teen_hidden[0]: is none, like MASK") || !strings.Contains(err.Error(), "policy.teen_age: must be between") || strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}
