package main

import (
	"fmt"
	"time"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/consent/emergency"
	"mypatients/consent/label"
	"mypatients/consent/quorum"
	"mypatients/fhir"
)

// policy gives what a configuration says about access to those who decide by it.
func policy(c config.Policy) consent.Policy {
	p := consent.DefaultPolicy()
	p.AnswerBy = time.Duration(c.AnswerByDays) * 24 * time.Hour
	p.GrantMonths, p.MaxGrantMonths = c.GrantMonths, c.MaxGrantMonths
	p.InvitationMonths = c.InvitationMonths
	p.TeenAge, p.AdultAge, p.TeenHidden = c.TeenAge, c.AdultAge, c.TeenHidden
	p.TeenApproval = map[string]quorum.Mode{"guardian": quorum.Guardian, "either": quorum.Either, "both": quorum.Both}[c.TeenApproval]
	p.AllGuardians, p.KeepGuardianGrants = c.Guardians == "all", c.KeepGuardianGrants
	p.RemindBefore = p.AnswerBy / 2
	if c.RemindDays > 0 {
		p.RemindBefore = time.Duration(c.RemindDays) * 24 * time.Hour
	}
	p.CoolDown = time.Duration(c.CoolDownDays) * 24 * time.Hour
	p.WarnBefore = time.Duration(c.ExpiryNoticeDays) * 24 * time.Hour
	p.SponsorMonths, p.CareTeamOrganizations, p.CheckProviders = c.SponsorMonths, c.CareTeamOrganizations, c.CheckProviders
	p.BreakGlass = emergency.Policy{
		Enabled: c.BreakGlass.Enabled, Length: time.Duration(c.BreakGlass.Minutes) * time.Minute, SignedIn: time.Duration(c.BreakGlass.SignInMinutes) * time.Minute,
		Ceiling: c.BreakGlass.Ceiling, Never: c.BreakGlass.Never, Roles: c.BreakGlass.Roles, OptOutsHold: c.BreakGlass.OptOutsHold, PerHour: c.BreakGlass.PerHour,
	}
	p.Bases = ceilings(c.Bases)
	return p
}

// ceilings lists the bases that a site lowers.
func ceilings(b config.Bases) map[consent.BasisCode]consent.Ceiling {
	all := map[consent.BasisCode]consent.Ceiling{}
	for _, row := range b.Rows() {
		lowered := consent.Ceiling{Off: row.Off, Never: row.Never}
		if row.Ceiling != row.Highest {
			lowered.Level = row.Ceiling
		}
		for _, t := range row.Basis.Types {
			lowered.Types = append(lowered.Types, fhir.Type(t))
		}
		all[consent.BasisCode(row.Code)] = lowered
	}
	return all
}

// badCodes finds the codes of a configuration that FHIR does not have, or that mean
// something else: a type that is none, an obligation in place of a sensitivity.
func badCodes(c *config.Config) (problems []config.Problem) {
	add := func(text, key string, args ...any) {
		problems = append(problems, config.Problem{Key: fmt.Sprintf(key, args...), Text: text})
	}
	sensitivities := func(key string, codes []string) {
		for i, code := range codes {
			if label.IsCaveat(code) {
				add("is an obligation, not a sensitivity: it hides nothing", "%s[%d]", key, i)
			}
		}
	}
	for _, row := range c.Policy.Bases.Rows() {
		at := "policy.bases." + row.Key
		for i, t := range row.Basis.Types {
			if !fhir.Type(t).Valid() {
				add("must be a type of FHIR resources like Observation", "%s.types[%d]", at, i)
			}
		}
		sensitivities(at+".never", row.Never)
	}
	sensitivities("policy.teen_hidden", c.Policy.TeenHidden)
	sensitivities("policy.break_glass.never", c.Policy.BreakGlass.Never)
	return problems
}
