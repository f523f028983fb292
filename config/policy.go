package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Bases is the table of the reasons for which somebody sees a record. A site can
// switch each off or lower its ceiling; none can be raised above what it is here. Not
// among them are patients, whom nobody keeps from their own record, and emergencies,
// see [BreakGlass].
type Bases struct {
	Proxy      Basis `yaml:"proxy"`      // guardians, as far as teen_age, teen_hidden and adult_age leave them anything
	PCP        Basis `yaml:"pcp"`        // the primary care provider, and their practice
	CareTeam   Basis `yaml:"careteam"`   // members of the care team
	Consent    Basis `yaml:"consent"`    // those whose request the family approved
	Invitation Basis `yaml:"invitation"` // those who used an invitation
	Sponsored  Basis `yaml:"sponsored"`  // who works for a PCP or a member of the care team
	Staff      Basis `yaml:"staff"`      // the desk, and administrators
	System     Basis `yaml:"system"`     // registered systems, as far as their registration goes
}

// A Basis is a row of the table.
type Basis struct {
	Off     bool     `yaml:"off"`     // it opens nothing
	Ceiling string   `yaml:"ceiling"` // the highest confidentiality that it opens: U, L, M, N, R or V; default, and at most, [BasisRow.Highest]
	Types   []string `yaml:"types"`   // types of resources that it opens, Patient among them; default all that the basis opens
	Never   []string `yaml:"never"`   // sensitivities (codes of v3-ActCode) that it does not open; default none
}

// A BasisRow is a row of the table with what can be said of all sites.
type BasisRow struct {
	*Basis
	Key     string   // of the configuration, behind "policy.bases."
	Code    string   // of the gateway's code system access-basis
	Highest string   // the highest confidentiality that it can have as its ceiling
	Types   []string // the only types that it opens anywhere; none: all
	Opens   string   // what it opens where nothing is lowered, in words
}

// Rows lists the table in its order.
func (b *Bases) Rows() []BasisRow {
	desk := []string{"Patient", "RelatedPerson", "CareTeam", "Consent"}
	return []BasisRow{
		{&b.Proxy, "proxy", "proxy", "V", nil, "what the patient's age leaves to guardians"},
		{&b.PCP, "pcp", "pcp", "R", nil, "the record of the patients who name them or their practice"},
		{&b.CareTeam, "careteam", "care-team", "R", nil, "the record, for as long as they are on the team"},
		{&b.Consent, "consent", "consent", "V", nil, "what was approved; up to N, unless the approval names more"},
		{&b.Invitation, "invitation", "invitation", "V", nil, "what the invitation says; up to N, unless it names more"},
		{&b.Sponsored, "sponsored", "sponsored", "R", nil, "for reading, what their sponsor sees as PCP or on a care team"},
		{&b.Staff, "staff", "staff", "V", desk, "who the patient is, who cares for them, requests and invitations; nothing clinical"},
		{&b.System, "system", "system", "V", nil, "what its registration says"},
	}
}

// levels are the codes of v3-Confidentiality in their order.
var levels = []string{"U", "L", "M", "N", "R", "V"}

// maxTypes is more than the types that FHIR R4 has.
const maxTypes = 200

var typeName = regexp.MustCompile(`^[A-Z][A-Za-z]{2,59}$`)

func (b *Bases) setDefaults() {
	for _, row := range b.Rows() {
		fill(&row.Ceiling, row.Highest)
	}
}

func (b *Bases) check(k *check) {
	for _, row := range b.Rows() {
		row.check(k, "policy.bases."+row.Key+".")
	}
}

func (r *BasisRow) check(k *check, at string) {
	upTo := levels[:slices.Index(levels, r.Highest)+1]
	k.must(slices.Contains(upTo, r.Ceiling), at+"ceiling", "must be one of %s: it can be lowered, and not be raised above %s", strings.Join(upTo, ", "), r.Highest)
	given := r.Basis.Types
	for i, t := range given {
		key := fmt.Sprintf("%stypes[%d]", at, i)
		k.must(typeName.MatchString(t), key, "must be a type of FHIR resources like Observation")
		k.must(r.Types == nil || slices.Contains(r.Types, t), key, "must be one of %s: it opens nothing else", strings.Join(r.Types, ", "))
		k.must(!slices.Contains(given[:i], t), key, "is there twice")
	}
	k.must(len(given) == 0 || slices.Contains(given, "Patient"), at+"types", "must contain Patient: a record is found by it")
	k.must(len(given) <= maxTypes, at+"types", "must not have more than %d", maxTypes)
	checkSensitivities(k, at+"never", r.Never)
}

var sensitivity = regexp.MustCompile(`^[A-Z][A-Z0-9]{1,19}$`)

func checkSensitivities(k *check, at string, codes []string) {
	for i, code := range codes {
		k.must(sensitivity.MatchString(code), fmt.Sprintf("%s[%d]", at, i), "must be a code of v3-ActCode like PSY")
	}
}

// Validate is [Config.Validate] for a policy alone.
func (p *Policy) Validate() error {
	k := new(check)
	p.check(k)
	if len(k.list) == 0 {
		return nil
	}
	return &Problems{Name: "policy", List: k.list}
}

func (p *Policy) check(k *check) {
	between := func(key string, n, low, high int) {
		k.must(n >= low && n <= high, key, "must be between %d and %d", low, high)
	}
	between("policy.answer_by_days", p.AnswerByDays, 1, 365)
	between("policy.max_grant_months", p.MaxGrantMonths, 1, 120)
	between("policy.grant_months", p.GrantMonths, 1, min(max(p.MaxGrantMonths, 1), 120))
	between("policy.invitation_months", p.InvitationMonths, 1, 6)
	between("policy.adult_age", p.AdultAge, 14, 25)
	between("policy.teen_age", p.TeenAge, 8, p.AdultAge)
	k.must(slices.Contains([]string{"guardian", "either", "both"}, p.TeenApproval), "policy.teen_approval", "must be guardian, either or both")
	k.must(slices.Contains([]string{"any", "all"}, p.Guardians), "policy.guardians", "must be any or all")
	checkSensitivities(k, "policy.teen_hidden", p.TeenHidden)
	between("policy.remind_days", p.RemindDays, 0, max(0, p.AnswerByDays-1))
	between("policy.cool_down_days", p.CoolDownDays, 1, 365)
	between("policy.expiry_notice_days", p.ExpiryNoticeDays, 1, 90)
	between("policy.sponsor_months", p.SponsorMonths, 1, 6)
	p.BreakGlass.check(k)
	p.checkPrivacy(k)
	p.Bases.check(k)
}
