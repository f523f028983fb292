package oracletest_test

import (
	"slices"
	"time"
)

// A question is one decision to be taken: may this caller see this resource of
// this patient now?
type question struct {
	w       *world
	c       *caller
	r       *resource
	now     time.Time
	patient *patient
	urgent  bool // in an emergency: the purpose is BTG
}

// An opinion is what a provision says to a question: that it denies, that it
// permits, or neither.
type opinion struct {
	deny, permit bool
	opens        bool // a permit that names the caller, for certain, and so is a basis
}

// deepest is how deep provisions may nest; what lies deeper denies.
const deepest = 8

// says gives the opinion of a consent. What cannot be interpreted
// fails closed: it matches in a deny, and not in a permit.
func (q *question) says(d *directive) opinion {
	if d.status != "active" || d.scope != "patient-privacy" || d.patient != q.patient.id || !d.root.period.holds(q.now, q.w.zone) {
		return opinion{}
	}
	root := *d.root
	if root.kind == "" && d.optOut {
		root.kind = "deny"
	}
	o := q.judge(&root, false, 1)
	if d.modifier {
		o.opens = false
	}
	return o
}

// judge weighs a node that is considered, and all below it: matching children
// beat the node, among siblings deny beats permit. Named tells whether the nodes
// it is an exception of named the caller.
//
// A node may match for certain, or in doubt. A permit, and what a deny inside it
// permits again, needs certainty; a deny inside a permit holds in doubt too. That
// a deny beats its siblings the rules say; here it does so even where only a
// sibling of its parent's type matches, and not the parent.
func (q *question) judge(n *provision, named bool, depth int) opinion {
	if depth > deepest {
		return opinion{deny: true}
	}
	sure, maybe := q.matches(n, named)
	named = named || q.names(n)
	var children opinion
	beaten := false
	for _, child := range n.children {
		if child.kind == n.kind && n.kind != "" {
			o := q.judge(extended(child, n), named, depth+1)
			children.deny = children.deny || o.deny
			children.permit = children.permit || o.permit
			children.opens = children.opens || o.opens
			continue
		}
		o := q.judge(child, named, depth+1)
		beaten = beaten || o.deny
		children.deny = children.deny || o.deny && maybe
		children.permit = children.permit || o.permit && (sure || maybe && n.kind == "deny")
		children.opens = children.opens || o.opens && sure
	}
	switch {
	case children.deny:
		return opinion{deny: true}
	case beaten && n.kind == "permit":
		return opinion{}
	case children.permit:
		return opinion{permit: true, opens: children.opens || n.kind == "permit" && sure && named}
	case n.kind == "deny" && maybe && q.urgent && !q.w.site.optOuts && n.actors == nil && !named:
		return opinion{} // for everybody: it was not written with an emergency in mind
	case n.kind == "deny" && maybe:
		return opinion{deny: true}
	case n.kind == "permit" && sure:
		return opinion{permit: true, opens: named}
	}
	return opinion{}
}

// extended is a child of its parent's type: it inherits where it is silent.
func extended(child, parent *provision) *provision {
	n := *child
	if !n.period.given() {
		n.period = parent.period
	}
	if n.actors == nil {
		n.actors = parent.actors
	}
	if n.action == nil {
		n.action = parent.action
	}
	if n.purpose == nil {
		n.purpose = parent.purpose
	}
	if n.class == nil {
		n.class = parent.class
	}
	if n.code == nil {
		n.code = parent.code
	}
	if !n.dataPeriod.given() {
		n.dataPeriod = parent.dataPeriod
	}
	if n.data == nil {
		n.data = parent.data
	}
	if n.labels == nil {
		n.labels = parent.labels
	}
	n.modifier = n.modifier || parent.modifier
	return &n
}

// A match is for certain, or in doubt, or not at all.
type match struct{ sure, maybe bool }

func certainly(b bool) match { return match{b, b} }

// oneOf: OR inside one dimension.
func oneOf[T any](list []T, test func(T) match) (m match) {
	for _, x := range list {
		one := test(x)
		m.sure, m.maybe = m.sure || one.sure, m.maybe || one.maybe
	}
	return m
}

// matches is the conjunction of step 4; a dimension that is absent matches. A deny
// that names nobody, nor stands in a provision that names the caller, is not about
// the family.
func (q *question) matches(n *provision, named bool) (sure, maybe bool) {
	all := match{!n.modifier, true}
	and := func(given bool, m match) {
		if given {
			all.sure, all.maybe = all.sure && m.sure, all.maybe && m.maybe
		}
	}
	and(n.period.given(), certainly(n.period.holds(q.now, q.w.zone)))
	and(n.actors != nil, oneOf(n.actors, q.isActor))
	and(n.action != nil, oneOf(n.action, isAccess))
	and(n.purpose != nil, oneOf(n.purpose, q.forPurpose))
	and(n.purpose == nil && n.kind == "permit" && q.urgent, match{maybe: true}) // a permit covers emergencies only when it names them
	and(n.class != nil, oneOf(n.class, q.ofClass))
	and(n.code != nil, oneOf(n.code, q.hasCode))
	and(n.dataPeriod.given(), q.inTime(n.dataPeriod))
	and(n.data != nil, oneOf(n.data, q.isDatum))
	and(true, q.labelled(n))
	if n.kind == "deny" && n.actors == nil && !named && q.c.family() {
		all.maybe = false
	}
	return all.sure, all.maybe
}

func (c *caller) family() bool { return c.role == "patient" || c.role == "proxy" }

// names tells whether a node names the caller for certain.
func (q *question) names(n *provision) bool { return oneOf(n.actors, q.isActor).sure }

// isActor compares an actor with the caller and all they are. One who is not found
// may be anybody. Of one who is found, but in a role that nobody knows, it is
// certain that they are not the family, if they are not.
func (q *question) isActor(a actor) match {
	is := slices.Contains(q.w.selves(q.c, q.now), a.reference)
	switch {
	case a.reference == "" || !q.w.exists(a.reference):
		return match{maybe: true}
	case a.modifier || a.role.system != participation:
		return match{maybe: is || !q.c.family()}
	}
	return certainly(is)
}

// isAccess: to see is to access; a deny of use or disclosure is taken to mean it
// too.
func isAccess(c coding) match {
	if c.system != consentAction {
		return match{maybe: true}
	}
	return match{c.code == "access", slicesHas([]string{"access", "use", "disclose"}, c.code)}
}

// above lists the purposes that each purpose falls under.
var above = map[string][]string{
	"TREAT": nil, "ETREAT": {"TREAT"}, "BTG": {"ETREAT", "TREAT"}, "COC": {"TREAT"}, "HPAYMT": nil, "HOPERAT": nil,
	"CAREMGT": {"HOPERAT"}, "PATRQT": nil, "FAMRQT": {"PATRQT"}, "PWATRNY": {"PATRQT"}, "HRESCH": nil,
}

// purposes are what callers of each role come for.
var purposes = map[string][]string{"provider": {"TREAT"}, "sponsored": {"TREAT"}, "patient": {"TREAT", "PATRQT", "FAMRQT", "PWATRNY"}, "proxy": {"TREAT", "PATRQT", "FAMRQT", "PWATRNY"}}

func (q *question) forPurpose(c coding) match {
	if c.system != actReason {
		return match{maybe: true}
	}
	mine := purposes[q.c.role]
	if q.urgent {
		mine = []string{"BTG"}
	}
	return match{
		sure:  slices.ContainsFunc(mine, func(m string) bool { return c.code == m || m != "BTG" && slices.Contains(above[m], c.code) }),
		maybe: slices.ContainsFunc(mine, func(m string) bool { return c.code == m || slices.Contains(above[m], c.code) }),
	}
}

func (q *question) ofClass(c coding) match {
	if c.system != resourceTypes {
		return match{maybe: true}
	}
	return certainly(c.code == q.r.kind)
}

// hasCode: a medication that is only referred to may be any.
func (q *question) hasCode(c coding) match {
	return match{c == q.r.code, c == q.r.code || q.r.kind == "MedicationRequest" && q.r.code.code == ""}
}

// inTime: containment is needed for a permit, overlap enough for a deny; so is not
// knowing when it was.
func (q *question) inTime(p period) match {
	if !q.r.when.given() {
		return match{maybe: true}
	}
	from, to := p.bounds(q.w.zone)
	first, last := q.r.when.bounds(q.w.zone)
	if q.r.when.end == "" && q.r.point() {
		_, last = span(q.r.when.start, q.w.zone)
	}
	return match{
		sure:  !first.Before(from) && !last.After(to),
		maybe: first.Before(to) && from.Before(last) || first.Equal(last) && !first.Before(from) && first.Before(to),
	}
}

// point tells whether the time of a type is a point, not a period.
func (r *resource) point() bool { return r.kind != "Encounter" && r.kind != "CareTeam" }

func (q *question) isDatum(d datum) match {
	if d.meaning != "instance" || d.reference == "" {
		return match{maybe: true}
	}
	return certainly(d.reference == q.r.ref())
}

// labelled compares labels. A permit reaches up to the highest confidentiality it
// names, or up to what its sensitivities imply, or up to N, and must cover all
// sensitivities if it names any. A deny reaches down to the lowest it names, and
// to any sensitivity. A root without a type is read as what stands in it.
func (q *question) labelled(n *provision) match {
	var codes []string
	highest, lowest, doubt := -1, len(levels), false
	for _, l := range n.labels {
		switch {
		case isLevel(l):
			highest, lowest = max(highest, rank(l.code)), min(lowest, rank(l.code))
		case isSensitivity(l):
			codes = append(codes, l.code)
		default:
			doubt = true
		}
	}
	mine, r := sensitive(q.r.labels), level(q.r.labels)
	if n.kind == "deny" {
		found := r >= lowest || anyNamed(codes, mine)
		return match{n.labels == nil || found, n.labels == nil || found || doubt}
	}
	switch {
	case n.labels == nil && n.kind == "":
		return certainly(true)
	case n.labels == nil:
		highest = rank("N")
	case highest < 0 && codes != nil:
		highest = rank("R")
	}
	found := r <= highest && (codes == nil || allNamed(codes, mine))
	return match{found, found || doubt || n.labels == nil || n.kind == ""}
}
