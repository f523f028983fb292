package config

import (
	"fmt"
	"net/mail"
	"slices"
)

// BreakGlass is emergency access: a provider opens a record without a basis, for a
// while, for a reason. The zero value allows none.
type BreakGlass struct {
	Enabled       bool     `yaml:"enabled"`
	Minutes       int      `yaml:"minutes"`         // how long it lasts; default 60
	SignInMinutes int      `yaml:"sign_in_minutes"` // how long ago the sign-in may be, where no step-up is asked for; default 15
	Ceiling       string   `yaml:"ceiling"`         // the highest confidentiality it opens: N, R (default) or V
	Never         []string `yaml:"never"`           // sensitivities (codes of v3-ActCode) that stay shut
	Roles         []string `yaml:"roles"`           // codes of PractitionerRole.code or specialty of which a provider must hold one; none: all that the site has checked
	OptOutsHold   bool     `yaml:"opt_outs_hold"`   // a family's denial for everybody holds in an emergency too
	PerHour       int      `yaml:"per_hour"`        // times that a provider may do so in an hour; default 5
}

func (b *BreakGlass) setDefaults() {
	fill(&b.Minutes, 60)
	fill(&b.SignInMinutes, 15)
	fill(&b.Ceiling, "R")
	fill(&b.PerHour, 5)
}

func (b *BreakGlass) check(k *check) {
	const at = "policy.break_glass."
	k.must(b.Minutes >= 5 && b.Minutes <= 24*60, at+"minutes", "must be between 5 and 1440")
	k.must(b.SignInMinutes >= 1 && b.SignInMinutes <= 720, at+"sign_in_minutes", "must be between 1 and 720")
	k.must(slices.Contains([]string{"N", "R", "V"}, b.Ceiling), at+"ceiling", "must be N, R or V")
	k.must(b.PerHour >= 1 && b.PerHour <= 100, at+"per_hour", "must be between 1 and 100")
	checkSensitivities(k, at+"never", b.Never)
	for i, code := range b.Roles {
		k.must(code != "", fmt.Sprintf("%sroles[%d]", at, i), "must not be empty")
	}
}

func (p *Policy) checkPrivacy(k *check) {
	if p.PrivacyEmail == "" {
		k.must(!p.BreakGlass.Enabled, "policy.privacy_email", "is required with break_glass: somebody has to hear of it")
		return
	}
	address, err := mail.ParseAddress(p.PrivacyEmail)
	k.must(err == nil && address.Address == p.PrivacyEmail, "policy.privacy_email", "must be a mail address, without a name")
}
