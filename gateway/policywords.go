package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"mypatients/config"
)

// writePolicy says in words what a policy decides: the table in effect.
func writePolicy(to io.Writer, p *config.Policy) error {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	section := func(title string) { fmt.Fprintf(t, "\n%s\n", title) }
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintln(t, "Who sees a record, and how far (policy.bases)")
	row("self", "always: the patient's own record, from %d on", p.TeenAge)
	for _, b := range p.Bases.Rows() {
		row(b.Key, "%s", basisWords(b))
	}
	row("emergency", "%s", emergencyWords(p))

	section("What an age means")
	row(fmt.Sprintf("under %d", p.TeenAge), "guardians see everything and decide alone")
	row(fmt.Sprintf("%d to %d", p.TeenAge, p.AdultAge-1), "guardians do not see %s, nor confidential visits; %s", codes(p.TeenHidden), teenWords[p.TeenApproval])
	kept := "what they gave ends"
	if p.KeepGuardianGrants {
		kept = "what they gave goes on until the patient answers it"
	}
	row(fmt.Sprintf("from %d", p.AdultAge), "guardians see and decide nothing, and %s", kept)

	section("Who answers")
	row("guardians", "%s", map[string]string{"any": "one is enough, if no other declines", "all": "all who have a login"}[p.Guardians])
	organizations := "do not count"
	if p.CareTeamOrganizations {
		organizations = "stand for everybody with an active role in them"
	}
	row("care teams", "organisations on a team %s", organizations)

	section("For how long")
	remind := fmt.Sprintf("%d days before that", p.RemindDays)
	if p.RemindDays == 0 {
		remind = "half of that time before"
	}
	row("a request", "lapses after %d days, with a reminder %s; after a decline none for %d days", p.AnswerByDays, remind, p.CoolDownDays)
	row("an access", "%d months where a request names no end, %d at most; its people are told %d days before the end", p.GrantMonths, p.MaxGrantMonths, p.ExpiryNoticeDays)
	row("an invitation", "%d months, once", p.InvitationMonths)
	row("sponsored staff", "%d months until their sponsor confirms them", p.SponsorMonths)
	return t.Flush()
}

var teenWords = map[string]string{
	"guardian": "guardians decide alone",
	"either":   "a guardian or the young person decides",
	"both":     "a guardian and the young person decide together",
}

func basisWords(b config.BasisRow) string {
	if b.Off {
		return "off: opens nothing"
	}
	words := []string{b.Opens, "nothing above " + b.Ceiling}
	if b.Ceiling == "V" {
		words[1] = "of any confidentiality"
	}
	if len(b.Basis.Types) > 0 {
		words = append(words, "of the types "+strings.Join(b.Basis.Types, ", ")+" alone")
	}
	if len(b.Never) > 0 {
		words = append(words, "never "+codes(b.Never))
	}
	return strings.Join(words, "; ")
}

func emergencyWords(p *config.Policy) string {
	b := p.BreakGlass
	if !b.Enabled {
		return "off: opens nothing (policy.break_glass)"
	}
	words := []string{fmt.Sprintf("for %d minutes, for reading, by any provider whom the site has checked, %d times in an hour", b.Minutes, b.PerHour), "nothing above " + b.Ceiling}
	if len(b.Roles) > 0 {
		words[0] = fmt.Sprintf("for %d minutes, for reading, by a provider in one of the roles %s, %d times in an hour", b.Minutes, strings.Join(b.Roles, ", "), b.PerHour)
	}
	if len(b.Never) > 0 {
		words = append(words, "never "+codes(b.Never))
	}
	if b.OptOutsHold {
		words = append(words, "a family's denial for everybody holds")
	} else {
		words = append(words, "of denials those alone hold that name the provider")
	}
	return strings.Join(words, "; ") + "; " + p.PrivacyEmail + " is told"
}

// codes lists sensitivities, with what they stand for left to v3-ActCode.
func codes(list []string) string {
	if len(list) == 0 {
		return "nothing that is labelled"
	}
	return "what is labelled " + strings.Join(list, ", ")
}
