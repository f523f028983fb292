package consent

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// transitions is the state machine of access requests and invitations, by
// Consent.status. What is not listed is refused, whoever writes.
var transitions = map[string]map[string][]string{
	kindRequest: {
		"proposed": {"active", "rejected", "inactive", "entered-in-error"},
		"active":   {"inactive", "entered-in-error"},
		"rejected": {"entered-in-error"},
		"inactive": {"entered-in-error"},
	},
	kindInvitation: {
		"draft":    {"active", "inactive", "entered-in-error"},
		"active":   {"inactive", "entered-in-error"},
		"inactive": {"entered-in-error"},
	},
	kindEmergency: { // what tells of it is the gateway's alone, and never a mistake
		"active": {"inactive"},
	},
}

func refuse(element, format string, args ...any) error {
	return fhir.ElementErrorf(fhir.Unprocessable, element, format, args...)
}

// checkConsent holds what is true of every Consent whoever writes it: provisions
// nest no deeper than can be read, the patient never changes, and requests and
// invitations move only along their transitions, never widening.
func (r *Rules) checkConsent(_ *engine.Tx, before, after *store.Version) error {
	var old node
	if before != nil && !before.Deleted {
		tree, err := fhir.Tree(before.Body)
		if err != nil {
			return err
		}
		old = tree
	}
	if after.Deleted {
		if r.kindOf(old) != "" {
			return refuse("Consent", "A request or an invitation is never deleted; revoke it.")
		}
		if _, denied := r.actorsOf(rootOf(old), false, nil, nil); slices.ContainsFunc(denied, isRelated) {
			return refuse("Consent", "What limits a guardian is never deleted, for what refers to it would come to light; set its status to inactive.")
		}
		return nil
	}
	tree, err := fhir.Tree(after.Body)
	if err != nil {
		return err
	}
	now := node(tree)
	if depth(now.obj("provision")) > maxDepth {
		return refuse("Consent.provision", "Provisions may nest at most %d deep.", maxDepth)
	}
	if size(now.obj("provision")) > maxSize {
		return refuse("Consent.provision", "A consent may hold at most %d provisions and values in them.", maxSize)
	}
	if old == nil {
		if before != nil && !sameValues(before, after, "patient") {
			return refuse("Consent.patient", "The patient of a consent never changes.")
		}
		return r.checkNew(now)
	}
	if relativeTo(r.base, old.ref("patient")) != relativeTo(r.base, now.ref("patient")) {
		return refuse("Consent.patient", "The patient of a consent never changes.")
	}
	kind := r.kindOf(old)
	if kind != r.kindOf(now) {
		return refuse("Consent.category", "A consent cannot become or cease to be a request or an invitation.")
	}
	if kind == "" {
		return nil
	}
	return r.checkMove(kind, old, now)
}

func isRelated(ref string) bool { return strings.HasPrefix(ref, "RelatedPerson/") }

func (r *Rules) checkNew(n node) error {
	kind := r.kindOf(n)
	if kind == "" {
		return nil
	}
	if transitions[kind][n.str("status")] == nil && n.str("status") != "entered-in-error" {
		return refuse("Consent.status", "%q is no status of this kind of consent.", n.str("status"))
	}
	if kind == kindRequest && n.str("status") == "proposed" && n["performer"] != nil {
		return refuse("Consent.performer", "A request has no performer until somebody approves it.")
	}
	return nil
}

func (r *Rules) checkMove(kind string, old, now node) error {
	from, to := old.str("status"), now.str("status")
	if from == to {
		if from == "active" && r.isTakenOver(old, now) {
			return narrower(old.obj("provision"), now.obj("provision"))
		}
		if !reflect.DeepEqual(without(old, "meta", "text"), without(now, "meta", "text")) {
			return refuse("Consent.status", "A consent that is %s changes only by being answered, withdrawn or revoked.", from)
		}
		return nil
	}
	if !slices.Contains(transitions[kind][from], to) {
		return refuse("Consent.status", "A consent cannot go from %s to %s.", from, to)
	}
	for _, name := range []string{"scope", "category", "policy", "sourceAttachment", "sourceReference", "organization"} {
		if !reflect.DeepEqual(old[name], now[name]) {
			return refuse("Consent."+name, "This never changes after creation.")
		}
	}
	if to == "active" && kind == kindRequest {
		return narrower(old.obj("provision"), now.obj("provision"))
	}
	before, after := old.obj("provision"), now.obj("provision")
	if to == "active" && kind == kindInvitation { // redeeming names the provider, and may start the time
		before, after = without(before, "actor", "period"), without(after, "actor", "period")
	}
	if !reflect.DeepEqual(before, after) {
		return refuse("Consent.provision", "Only an approval may change what is permitted.")
	}
	return nil
}

// isTakenOver tells whether all that happens is that a patient takes over, perhaps
// in part, what others gave.
func (r *Rules) isTakenOver(old, now node) bool {
	free := []string{"meta", "text", "performer", "dateTime", "provision"}
	patient := relativeTo(r.base, now.ref("patient"))
	is := func(p node) bool { return relativeTo(r.base, p.str("reference")) == patient }
	given := now.list("performer")
	return len(given) == 1 && is(given[0]) && !slices.ContainsFunc(old.list("performer"), is) && reflect.DeepEqual(without(old, free...), without(now, free...))
}

func without(n node, names ...string) node {
	out := make(node, len(n))
	for k, v := range n {
		if !slices.Contains(names, k) {
			out[k] = v
		}
	}
	return out
}

func depth(p node) int {
	if p == nil {
		return 0
	}
	deepest := 0
	for _, child := range p.list("provision") {
		deepest = max(deepest, depth(child))
	}
	return deepest + 1
}

// maxSize keeps a consent cheap to judge.
const maxSize = 300

// size counts the provisions and the values in them.
func size(p node) int {
	n := 1
	for _, name := range []string{"actor", "action", "purpose", "class", "code", "data", "securityLabel"} {
		list, _ := p[name].([]any)
		n += len(list)
	}
	for _, child := range p.list("provision") {
		n += size(child)
	}
	return n
}

// narrower refuses an approval that gives anything that was not asked for.
func narrower(asked, given node) error {
	for _, name := range []string{"type", "actor", "action", "purpose"} {
		if !reflect.DeepEqual(asked[name], given[name]) {
			return refuse("Consent.provision."+name, "An approval cannot change this.")
		}
	}
	if err := narrowerPeriod(readPeriod(asked.obj("period"), time.UTC), readPeriod(given.obj("period"), time.UTC)); err != nil {
		return err
	}
	if asked["class"] != nil {
		if given["class"] == nil {
			return refuse("Consent.provision.class", "An approval cannot give more than was asked for.")
		}
		for _, c := range given.list("class") {
			if !slices.ContainsFunc(asked.list("class"), func(a node) bool { return reflect.DeepEqual(a, c) }) {
				return refuse("Consent.provision.class", "An approval cannot give more than was asked for.")
			}
		}
	}
	if !narrowerLabels(asked.list("securityLabel"), given.list("securityLabel")) {
		return refuse("Consent.provision.securityLabel", "An approval cannot give more than was asked for.")
	}
	for _, name := range []string{"code", "data", "dataPeriod"} {
		if asked[name] != nil && !reflect.DeepEqual(asked[name], given[name]) {
			return refuse("Consent.provision."+name, "An approval cannot change this.")
		}
	}
	for _, child := range given.list("provision") {
		if child.str("type") != "deny" && !slices.ContainsFunc(asked.list("provision"), func(a node) bool { return reflect.DeepEqual(a, child) }) {
			return refuse("Consent.provision.provision", "An approval can only add exceptions.")
		}
	}
	for _, child := range asked.list("provision") {
		if !slices.ContainsFunc(given.list("provision"), func(g node) bool { return reflect.DeepEqual(g, child) }) {
			return refuse("Consent.provision.provision", "An approval cannot drop an exception.")
		}
	}
	return nil
}

func narrowerPeriod(asked, given window) error {
	switch {
	case given.bad || asked.bad:
		return refuse("Consent.provision.period", "The period cannot be read.")
	case given.start.Before(asked.start),
		!asked.end.IsZero() && (given.end.IsZero() || given.end.After(asked.end)):
		return refuse("Consent.provision.period", "An approval cannot be longer than was asked for.")
	case !given.end.IsZero() && !given.end.After(given.start):
		return refuse("Consent.provision.period", "The period must end after it starts.")
	}
	return nil
}

func narrowerLabels(asked, given []node) bool {
	if len(given) == 0 && len(asked) > 0 { // silence reaches up to normal
		given = []node{{"system": systemConfidentiality, "code": "N"}}
	}
	ceiling := func(labels []node) level {
		top := level(0)
		for _, c := range labels {
			if c.str("system") == systemConfidentiality {
				lvl, _ := levelOf(c.str("code"))
				top = max(top, lvl)
			}
		}
		if top == 0 {
			return levelN
		}
		return top
	}
	sensitive := func(labels []node) bool { return slices.ContainsFunc(labels, isSensitivity) }
	if ceiling(given) > ceiling(asked) || sensitive(asked) && !sensitive(given) && ceiling(given) > levelN {
		return false
	}
	for _, c := range given {
		if c.str("system") != systemConfidentiality && !slices.ContainsFunc(asked, func(a node) bool { return reflect.DeepEqual(a, c) }) {
			return false
		}
	}
	return true
}
