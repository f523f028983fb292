package consent

import (
	"time"

	"mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// Rules are what holds on every way into the store, whoever writes: the index
// terms that decisions rest on, the state machine of requests and invitations,
// and the policy epochs. [Rules.Engine] makes the engine with them; a [Guard]
// stands on that engine and no other.
//
// What this gateway defines has canonical addresses under its base URL: the one
// that its data was begun with, since the data names them.
type Rules struct {
	base      string
	canonical string
	zone      *time.Location
	engine    *engine.Engine
	labels    *label.Rules
}

// NewRules takes the external base URL of the gateway and the one that its data
// was begun with, mostly the same, both without a trailing slash, and the site's
// time zone.
func NewRules(base, canonical string, zone *time.Location) *Rules {
	return &Rules{base: base, canonical: canonical, zone: zone, labels: label.Standard()}
}

// WithLabels has resources labelled by a site's rules; it comes before
// [Rules.Engine].
func (r *Rules) WithLabels(rules *label.Rules) *Rules {
	r.labels = rules
	return r
}

// Engine makes the engine that these rules hold in; Base, OnWrite, Derive and
// Labels of its configuration are theirs.
func (r *Rules) Engine(c engine.Config) (*engine.Engine, error) {
	c.Base, c.OnWrite, c.Derive, c.Labels = r.base+"/fhir", r.onWrite, r.terms, r.labelling()
	e, err := engine.New(c)
	r.engine = e
	return e, err
}

// NoticeCategory is the category of the Communications that are mailed.
func (r *Rules) NoticeCategory() fhir.Coding {
	return fhir.Coding{System: r.kindSystem(), Code: kindNotice}
}

// The kinds of resources that carry the workflow; the first three are Consents,
// the last Communications.
const (
	kindRequest    = "request"
	kindInvitation = "invitation"
	kindEmergency  = "emergency"
	kindNotice     = "notice"
)

func (r *Rules) kindSystem() string    { return r.canonical + "/fhir/CodeSystem/workflow" }
func (r *Rules) noticeSystem() string  { return r.canonical + "/fhir/CodeSystem/notice" }
func (r *Rules) outcomeSystem() string { return r.canonical + "/fhir/CodeSystem/selection-outcome" }
func (r *Rules) policyURI() string     { return r.canonical + "/fhir/policy/access-grant" }
func (r *Rules) extension(name string) string {
	return r.canonical + "/fhir/StructureDefinition/" + name
}

// kindOf tells whether a Consent is one of ours: an access request (or the
// grant it became), an invitation, or what tells of an emergency access. Everything else is a directive: "".
func (r *Rules) kindOf(consent node) string {
	for _, c := range consent.list("category") {
		if c.hasCoding(r.kindSystem(), kindInvitation) {
			return kindInvitation
		}
		if c.hasCoding(r.kindSystem(), kindEmergency) {
			return kindEmergency
		}
	}
	for _, p := range consent.list("policy") {
		if p.str("uri") == r.policyURI() {
			return kindRequest
		}
	}
	return ""
}
