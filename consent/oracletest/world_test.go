// Package oracletest_test judges the decision of package consent by another
// hand: a checker that takes one resource at a time, written from the rules
// alone, over a world of plain values. It shares no code with the decision, knows
// no index terms and is in no hurry. Random worlds are stored in a real store and
// asked through a Guard; whatever the two disagree about is a bug in one of them.
//
// LONG=1 asks a million times and more, SEED=n repeats a run, STORE=postgres runs
// on PostgreSQL.
package oracletest_test

import (
	"slices"
	"time"
)

// A world is all that a decision may depend on.
type world struct {
	zone          *time.Location
	patients      []*patient
	related       []*related
	practitioners []string // ids
	organizations []string // ids
	roles         []*employment
	teams         []*team
	groups        []*group
	consents      []*directive
	resources     []*resource // all others

	site        site
	nurses      []string // ids of Practitioners who work for others
	left        []string // ids of Practitioners who practise no more
	emergencies []*emergent
	vouchings   []*vouching
	notes       []*resource // Provenances that the gateway wrote
}

// A coding is a code in its system.
type coding struct{ system, code string }

const (
	confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
	actCode         = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	actReason       = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	participation   = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	consentAction   = "http://terminology.hl7.org/CodeSystem/consentaction"
	consentScope    = "http://terminology.hl7.org/CodeSystem/consentscope"
	resourceTypes   = "http://hl7.org/fhir/resource-types"
	ourCodes        = "urn:oracle:code" // what the resources of random worlds are coded in
	unknown         = "urn:oracle:nobody-knows"
)

// A period holds FHIR dateTimes, which may be partial; an empty one is open.
type period struct{ start, end string }

func (p period) given() bool { return p.start != "" || p.end != "" }

type patient struct {
	id, birth   string
	pcp         []string // references
	links       []string // ids of other patients
	labels      []coding
	emancipated string // the day from which on they are independent; empty: they are not
}

type related struct {
	id, patient string
	relation    string // a code of v3-RoleCode
	active      string // "true", "false", or "" where the element is absent
	period      period
	labels      []coding
}

// An employment is a PractitionerRole.
type employment struct {
	id, practitioner, organization string
	active                         string
	period                         period
	code                           string
}

type team struct {
	id, status, subject string // subject is a patient's id
	period              period
	members             []member
	labels              []coding
}

type group struct {
	id      string
	members []member
}

// A member is of a team or of a group.
type member struct {
	reference string
	period    period
	inactive  bool // of groups
}

// A directive is a Consent of any kind.
type directive struct {
	id, patient, status, scope string
	optOut                     bool // policyRule OPTOUT
	modifier                   bool // a modifierExtension that nobody knows
	root                       *provision
	labels                     []coding
	kind                       string   // request, invitation, emergency, or "": written beside these
	performers                 []string // who gave it, as references
	given                      string   // the dateTime
	agreed                     []string // who approved while others had still to agree
}

type provision struct {
	kind       string // "deny", "permit", or "" where the element is absent
	period     period
	actors     []actor
	action     []coding
	purpose    []coding
	class      []coding
	code       []coding
	dataPeriod period
	data       []datum
	labels     []coding
	modifier   bool
	children   []*provision
}

type actor struct {
	role      coding
	reference string // "" where it is given by a display alone
	modifier  bool
}

// A datum is provision.data: a meaning and a reference.
type datum struct{ meaning, reference string }

// A resource is anything else. Links are its references by element.
type resource struct {
	kind, id string
	links    map[string][]string
	labels   []coding
	code     coding
	when     period // the clinically relevant time; start alone is a point in time
}

func (r *resource) ref() string { return r.kind + "/" + r.id }

// A caller is who asks, in the role of one session.
type caller struct {
	name    string
	login   string   // the name of who signed in
	role    string   // provider, sponsored, patient, proxy, staff, system
	persons []string // references to the resources that stand for them
	scopes  []grantedScope
	launch  string // the patient in context of an app
}

// A grantedScope is one SMART scope; a caller without any is in the portal, where
// the role alone decides.
type grantedScope struct {
	level  string // patient, user, system
	kind   string // a type, or *
	read   bool
	search bool
	code   string // the scope goes on with ?code=…; empty: it does not
}

func (w *world) patient(id string) *patient {
	for _, p := range w.patients {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (w *world) consent(id string) *directive {
	for _, d := range w.consents {
		if d.id == id {
			return d
		}
	}
	return nil
}

// all lists every resource of the world as the checker judges it.
func (w *world) all() []*resource {
	var list []*resource
	add := func(kind, id string, labels []coding, links map[string][]string) {
		list = append(list, &resource{kind: kind, id: id, labels: labels, links: links})
	}
	for _, p := range w.patients {
		add("Patient", p.id, p.labels, nil)
	}
	for _, r := range w.related {
		add("RelatedPerson", r.id, r.labels, map[string][]string{"patient": {"Patient/" + r.patient}})
	}
	for _, id := range w.everybody() {
		add("Practitioner", id, nil, nil)
	}
	for _, id := range w.organizations {
		add("Organization", id, nil, nil)
	}
	for _, r := range w.roles {
		add("PractitionerRole", r.id, nil, nil)
	}
	for _, t := range w.teams {
		links := map[string][]string{"subject": {"Patient/" + t.subject}}
		for _, m := range t.members {
			links["participant"] = append(links["participant"], m.reference)
		}
		add("CareTeam", t.id, t.labels, links)
		list[len(list)-1].when = t.period
	}
	for _, g := range w.groups {
		links := map[string][]string{}
		for _, m := range g.members {
			links["member"] = append(links["member"], m.reference)
		}
		add("Group", g.id, nil, links)
	}
	for _, c := range w.consents {
		add("Consent", c.id, c.labels, map[string][]string{"patient": {"Patient/" + c.patient}})
		list[len(list)-1].when.start = c.given
	}
	return slices.Concat(list, w.notes, w.resources)
}

// everybody lists all Practitioners.
func (w *world) everybody() []string { return slices.Concat(w.practitioners, w.nurses) }

// exists tells whether a reference leads to anything.
func (w *world) exists(reference string) bool {
	for _, r := range w.all() {
		if r.ref() == reference {
			return true
		}
	}
	return false
}
