package consent

import "time"

// Rules are what holds on every way into the store, whoever writes: the index
// terms that decisions rest on ([Rules.Terms]), the state machine of requests
// and invitations, and the policy epochs (both [Rules.OnWrite]). The engine is
// made with them; a [Guard] stands on the same engine.
//
// What this gateway defines has canonical addresses under its own base URL.
type Rules struct {
	base string
	zone *time.Location
}

// NewRules takes the external base URL of the gateway, without a trailing slash,
// and the site's time zone.
func NewRules(base string, zone *time.Location) *Rules { return &Rules{base, zone} }

// The kinds of resources that carry the workflow; the first two are Consents,
// the third Communications.
const (
	kindRequest    = "request"
	kindInvitation = "invitation"
	kindNotice     = "notice"
)

func (r *Rules) kindSystem() string    { return r.base + "/fhir/CodeSystem/workflow" }
func (r *Rules) outcomeSystem() string { return r.base + "/fhir/CodeSystem/selection-outcome" }
func (r *Rules) basisSystem() string   { return r.base + "/fhir/CodeSystem/access-basis" }
func (r *Rules) limitSystem() string   { return r.base + "/fhir/CodeSystem/access-limit" }
func (r *Rules) policyURI() string     { return r.base + "/fhir/policy/access-grant" }
func (r *Rules) extension(name string) string {
	return r.base + "/fhir/StructureDefinition/" + name
}

// kindOf tells whether a Consent is one of ours: an access request (or the
// grant it became) or an invitation. Everything else is a directive: "".
func (r *Rules) kindOf(consent node) string {
	for _, c := range consent.list("category") {
		if c.hasCoding(r.kindSystem(), kindInvitation) {
			return kindInvitation
		}
	}
	for _, p := range consent.list("policy") {
		if p.str("uri") == r.policyURI() {
			return kindRequest
		}
	}
	return ""
}
