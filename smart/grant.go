package smart

import "time"

// A Grant is what a caller holds: who is calling, through which client, with
// which scopes and launch context. A bearer token stands for one; a portal
// session makes one like any app's.
type Grant struct {
	ID         string // of the authorization behind it; revoking it ends all its tokens
	ClientID   string
	ClientName string
	Identity   Identity
	Scopes     Scopes
	Launch     Context
	Expires    time.Time

	// When and how strongly the person signed in who gave it, in their issuer's
	// words; zero for a backend service.
	AuthTime time.Time
	ACR      string
}

// A Context is the launch context of a grant
// (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html).
type Context struct {
	Patient           string    `json:"patient,omitempty"`   // logical id
	Encounter         string    `json:"encounter,omitempty"` // logical id
	Intent            string    `json:"intent,omitempty"`
	NeedPatientBanner *bool     `json:"need_patient_banner,omitempty"`
	FHIRContext       []Related `json:"fhirContext,omitempty"`
}

// Related is an item of fhirContext.
type Related struct {
	Reference string `json:"reference,omitempty"`
	Canonical string `json:"canonical,omitempty"`
	Type      string `json:"type,omitempty"`
	Role      string `json:"role,omitempty"`
}

// A Launch is what a launch handle stands for: an EHR (or our portal, or a
// redeemed invitation) asks that a client be opened for a person in a context.
// A handle works once, for five minutes, for this client and this person.
type Launch struct {
	ClientID string   // empty: bound to the client that uses it first
	Identity Identity // FHIRUser decides whose session may use it
	Context  Context
	Cap      Scopes // not nil: the grant is cut down to what these permit
}
