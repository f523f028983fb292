package consent

import (
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/smart"
)

// A Basis is a reason why a caller may see a record.
type Basis struct {
	Code   BasisCode
	Until  time.Time // zero: no end is known
	Source string    // the resource it rests on, "CareTeam/1"; empty when it is the Patient itself
}

// A BasisCode names a kind of basis; the codes are those of the gateway's code
// system access-basis.
type BasisCode string

// The bases.
const (
	BasisSelf       BasisCode = "self"
	BasisProxy      BasisCode = "proxy"
	BasisPCP        BasisCode = "pcp"
	BasisCareTeam   BasisCode = "care-team"
	BasisConsent    BasisCode = "consent"
	BasisInvitation BasisCode = "invitation"
	BasisEmergency  BasisCode = "emergency"
	BasisSponsored  BasisCode = "sponsored" // the source is the sponsor
	BasisStaff      BasisCode = "staff"
	BasisSystem     BasisCode = "system"
)

// A Card shows a patient to somebody who may see them.
type Card struct {
	Patient   fhir.Key
	Name      string
	MRN       string
	BirthDate string // as recorded: a FHIR date, possibly partial
	Gender    string
	OfAge     bool // guardians decide nothing any more
	Teen      bool // guardians do not see everything, see [Guard.AgeRules]
	Bases     []Basis
	Until     time.Time // when the last of the bases ends; zero: no end is known
}

// A ProviderView shows a provider to a family, and in the directory.
type ProviderView struct {
	Key          fhir.Key
	Name         string
	Specialty    string
	Organization string
	NPI          string
	SelfClaimed  bool // they registered themself: nobody has checked any of it
}

// The states of an access request, as its people see them.
const (
	StateWaiting   = "waiting"
	StateApproved  = "approved"
	StateDeclined  = "declined"
	StateWithdrawn = "withdrawn"
	StateStopped   = "stopped" // was approved, then revoked
	StateEnded     = "ended"   // was approved, its time is over
	StateLapsed    = "lapsed"  // nobody answered in time
)

// A RequestView shows an access request.
type RequestView struct {
	ID       string
	Version  int64
	State    string
	Asked    time.Time
	From     time.Time
	Until    time.Time
	AnswerBy time.Time
	Reason   string
	Classes  []fhir.Type // empty: the whole record
	Label    string
	Answers  []AnswerView // so far, while it waits and several people can answer; for the family
	Conflict bool         // guardians have answered differently
	May      bool         // the caller can answer
	Mine     string       // what the caller has answered: approve, decline; empty: nothing
	LeftOver bool         // it was given for the patient before they were of age, and waits for their own answer
	Provider ProviderView
	Patient  Card // for a provider who may not see the patient: only the key's zero value and what they typed
}

// An AnswerView shows what one of those who can answer a request has said.
type AnswerView struct {
	Name    string
	Self    bool   // it is the caller
	Patient bool   // it is the patient
	Answer  string // approve, decline; empty: nothing yet
	When    time.Time
}

// Answered tells whether somebody has answered a request that still waits.
func (r RequestView) Answered() bool {
	return slices.ContainsFunc(r.Answers, func(a AnswerView) bool { return a.Answer != "" })
}

// An AccessEntry is one row of "who can see": a person, and why.
type AccessEntry struct {
	Group     BasisCode // pcp, care-team, consent, invitation, proxy
	Provider  ProviderView
	Until     time.Time
	ConsentID string // set when the access can be stopped by revoking it
	Version   int64
	Member    fhir.Key // set when the access can be stopped by removing a care-team member
	LeftOver  bool     // guardians gave it; the patient, of age now, has not answered it
}

// An InvitationView shows an invitation to those who may see it.
type InvitationView struct {
	ID      string
	Version int64
	State   string // open, used, ended (used, and stopped since), expired, cancelled
	Issued  time.Time
	Expires time.Time
	For     string // the addressee, as the issuer wrote it; may be empty
	UsedBy  ProviderView
	Answers []AnswerView // open: of those who have to agree; nobody, when that is settled
	May     bool         // the caller can agree
}

// A Look is one row of "who looked".
type Look struct {
	When         time.Time
	Person       string
	Role         smart.Role
	Organization string
	What         string      // the resource type looked at, or the operation
	Kinds        []fhir.Type // of what was returned or written, as far as it may be known
	Action       string      // read, search, create, update, delete, or the operation's name
	Why          []BasisCode
	Client       string
	Outcome      string // empty: it was done; else the kind of refusal
	Origin       string // network address
	ID           string // of the AuditEvent
}

// A CallersWord says on whose word staff changed something.
type CallersWord struct {
	Caller string // who called
	Check  string // how their identity was checked
	Asked  string // what they asked for
}

// A Narrowing limits an access: what is asked for, or what is approved of it.
type Narrowing struct {
	From    time.Time // zero: not given
	Until   time.Time // zero: not given
	Classes []fhir.Type
	Label   string // confidentiality ceiling, a code of v3-Confidentiality; empty: not given
}

// An AccessRequest asks for access to a record.
type AccessRequest struct {
	Patient string // "Patient/1", or a handle from Select
	Narrowing
	Reason       string // shown to the family
	Confidential bool   // of a teenager: between them and the provider, not for their guardians
}

// An Invitation says for whom and for what an invitation is.
type Invitation struct {
	Email string // addressee; only a provider registered with it can use the token
	NPI   string // addressee; likewise
	Narrowing
	Word         *CallersWord // on whose word staff make it; required of them
	Confidential bool         // of a teenager: between them and the provider, not for their guardians
}

// Invited is a new invitation. Token is shown this once.
type Invited struct {
	Token   string
	MRN     string
	Expires time.Time
	Consent *fhir.Resource
}

// Redeemed is what a good token gives.
type Redeemed struct {
	Consent *fhir.Resource
	Patient fhir.Key
	Launch  string // a launch handle; empty when none could be made
}

// An AccessReport explains whether, why and how far a caller may see a record.
type AccessReport struct {
	Permitted bool
	As        smart.Role // of somebody else, see AccessFor
	Bases     []Basis    // with those sources alone that the caller may read; of PCP and self it is the Patient
	Limits    []string   // codes of the gateway's code system access-limit
	Next      []string   // what the caller can do: request-access, request-later, await-answer, redeem-invitation, ask-for-care-team
	From      time.Time  // with request-later: from when
	Until     time.Time
}

// A Selection is what a provider types on Patient Selection: an MRN, or a name
// with a birth date.
type Selection struct {
	MRN       string
	Family    string
	Given     string
	BirthDate string // a full FHIR date
}

// Selected answers a Selection.
type Selected struct {
	Matches  []Card
	Outcomes []SelectionOutcome
}

// A SelectionOutcome speaks of a patient that the caller may not see.
type SelectionOutcome struct {
	Code   string    // not-authorized, request-pending, no-portal-account
	Handle string    // for RequestAccess; empty when nothing can be requested
	From   time.Time // from when it can be requested again, after a decline; zero: now

	Emergency string // for BreakGlass; empty when the caller cannot
}

// The codes of a SelectionOutcome.
const (
	NotAuthorized   = "not-authorized"
	RequestPending  = "request-pending"
	NoPortalAccount = "no-portal-account"
)

// RecentlyDeclined is the code with which a request is refused that comes too soon
// after a decline; Patient Selection does not have it.
const RecentlyDeclined = "recently-declined"

// A Registration is what a provider gives to register.
type Registration struct {
	Given, Family, NPI, Email, Specialty, Organization string
}
