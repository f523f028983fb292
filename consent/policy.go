package consent

import (
	"slices"
	"time"

	"mypatients/consent/age"
	"mypatients/consent/emergency"
	"mypatients/consent/quorum"
	"mypatients/fhir"
)

// A Policy holds what a site decides for itself. [DefaultPolicy] gives the
// values that apply unless the configuration says otherwise.
type Policy struct {
	TeenAge    int      // from this age a patient may have a login, and guardians see less
	AdultAge   int      // from this age, at 00:00 site time on the birthday, guardians see nothing
	TeenHidden []string // sensitivities of v3-ActCode hidden from a teenager's guardians

	TeenApproval       quorum.Mode // who lets others into a teenager's record: Guardian, Either or Both
	AllGuardians       bool        // all guardians with a login must agree to what opens a record; else one, if none declines
	KeepGuardianGrants bool        // what guardians gave goes on when the patient is of age, until the patient answers it

	AnswerBy         time.Duration // a request not answered by then lapses
	RemindBefore     time.Duration // before it lapses the family is reminded, once
	CoolDown         time.Duration // after a decline the provider cannot ask again for so long
	WarnBefore       time.Duration // before an access or an invitation ends its people are told, once
	InvitationMonths int           // calendar months until an invitation expires
	GrantMonths      int           // calendar months of access when a request names no end
	MaxGrantMonths   int           // calendar months that an access may last at most

	CareTeamOrganizations bool // members of an organisation on the care team count as members

	Bases map[BasisCode]Ceiling // how far the site lets each basis open records; one that is not here opens all that it opens by itself

	BreakGlass    emergency.Policy // emergency access; the zero value is none
	SponsorMonths int              // calendar months until sponsors must confirm those whom they sponsor

	CheckProviders bool // who registers as a provider is one only when an administrator has checked them

	SelectionsPerHour  int // searches by a provider for people they may not see
	RedemptionsPerHour int // attempts at a token, for an account and for an address
}

// DefaultPolicy gives the defaults of a site.
func DefaultPolicy() Policy {
	return Policy{
		TeenAge: 13, AdultAge: 18,
		TeenHidden:       []string{"ADOL", "SEX", "STD", "SUD", "PSY", "HIV"},
		TeenApproval:     quorum.Either,
		AnswerBy:         30 * 24 * time.Hour,
		RemindBefore:     15 * 24 * time.Hour,
		CoolDown:         7 * 24 * time.Hour,
		WarnBefore:       14 * 24 * time.Hour,
		InvitationMonths: 6, GrantMonths: 12, MaxGrantMonths: 60,
		BreakGlass: emergency.Default(), SponsorMonths: 6,
		SelectionsPerHour: 120, RedemptionsPerHour: 20,
	}
}

// staffTypes are what scheduling and registration staff see of a patient: who
// they are and who cares for them, nothing clinical.
var staffTypes = []fhir.Type{"Patient", "RelatedPerson", "CareTeam"}

// directoryTypes belong to no patient: any signed-in caller may read them.
var directoryTypes = []fhir.Type{
	"ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem", "CompartmentDefinition",
	"ConceptMap", "Endpoint", "EventDefinition", "Evidence", "EvidenceVariable", "ExampleScenario", "GraphDefinition",
	"HealthcareService", "ImplementationGuide", "InsurancePlan", "Library", "Location", "Measure", "Medication",
	"MedicationKnowledge", "MessageDefinition", "NamingSystem", "ObservationDefinition", "OperationDefinition",
	"Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole", "Questionnaire",
	"ResearchDefinition", "ResearchElementDefinition", "SearchParameter", "SpecimenDefinition", "StructureDefinition",
	"StructureMap", "Substance", "TerminologyCapabilities", "TestScript", "ValueSet",
}

func isDirectory(t fhir.Type) bool { return slices.Contains(directoryTypes, t) }

// providerHidden are the types that no provider sees of a patient, whatever
// their basis: they are the family's and the gateway's own.
var providerHidden = []fhir.Type{"AuditEvent"}

// An ageBand is what a patient's age means for access.
type ageBand int

const (
	bandChild ageBand = iota // the guardian sees everything and decides
	bandTeen                 // the guardian sees less; either decides
	bandAdult                // the patient alone; also when the age cannot be told
)

// bandOf tells what a patient's age means at a moment. A partial birth date is
// read as early as it may be, which gives a proxy less; an age that cannot be told
// leaves a proxy nothing.
func (g *Guard) bandOf(patient node, at time.Time) ageBand {
	if g.rules.isEmancipated(patient, at) {
		return bandAdult
	}
	adult, ok := g.majority(patient)
	if !ok || !at.Before(adult) {
		return bandAdult
	}
	if teen, _, _ := age.Reached(patient.str("birthDate"), g.policy.TeenAge, g.zone); at.Before(teen) {
		return bandChild
	}
	return bandTeen
}

// majority gives the moment at which a patient is of age.
func (g *Guard) majority(patient node) (time.Time, bool) {
	earliest, _, ok := age.Reached(patient.str("birthDate"), g.policy.AdultAge, g.zone)
	return earliest, ok
}

// hasOwnSay tells whether a patient's own login counts. It opens what is hidden
// even from guardians, so a partial birth date is read as late as it may be: while
// they may still be a child neither they nor their guardians see that. From the
// age of majority on there is nobody else.
func (g *Guard) hasOwnSay(patient node, at time.Time) bool {
	if g.bandOf(patient, at) == bandAdult {
		return true
	}
	_, latest, ok := age.Reached(patient.str("birthDate"), g.policy.TeenAge, g.zone)
	return ok && !at.Before(latest)
}

// addMonths adds calendar months at the same local time, clamped to the end of
// the month: 31 August and six months is 28 or 29 February.
func addMonths(t time.Time, months int, zone *time.Location) time.Time {
	t = t.In(zone)
	first := time.Date(t.Year(), t.Month()+time.Month(months), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	last := first.AddDate(0, 1, -1).Day()
	return time.Date(first.Year(), first.Month(), min(t.Day(), last), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}
