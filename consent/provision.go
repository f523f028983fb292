package consent

import (
	"slices"
	"time"

	"mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// maxDepth is how deep provisions may nest; the root is at depth 1.
const maxDepth = 8

// An asker is what a provision is compared with: who asks, for what, and when.
type asker struct {
	actors  map[string]bool // "Practitioner/1" and all they are
	known   map[string]bool // the actors that consents name and that exist
	family  bool            // the patient or a guardian: a deny that names nobody is not about them
	urgent  bool            // in an emergency: a deny that names nobody does not hold, unless it is in what names them
	purpose []string        // what they may be asking for: codes of v3-ActReason
	now     time.Time
	zone    *time.Location
	base    string
}

// A verdict is what a provision says of the resources of one type: those it
// permits, those among them that it opens to the asker, being named for certain on
// the way, and those it denies them.
type verdict struct{ permit, opens, deny store.Expr }

// A frame is what a provision inherits: the context where it is silent (same
// type only) and the data dimensions it does not replace.
type frame struct {
	node  node // nil: it extends nothing
	named bool // an actor that is the asker was named on the way here
}

// rootOf gives the root provision of a Consent with its type: one that opts out
// denies, where it says nothing else, also without a provision.
func rootOf(consent node) node {
	root, rule := consent.obj("provision"), consent.obj("policyRule")
	if root["type"] == nil && (rule.hasCoding(systemActCode, "OPTOUT") || rule.hasCoding(systemActCode, "OPTOUTE")) {
		root = without(root)
		root["type"] = "deny"
	}
	return root
}

// read judges one Consent for one type of resource. It never fails: what it
// cannot interpret counts for a deny and against a permit.
func (a *asker) read(consent node, t fhir.Type) verdict {
	root := rootOf(consent)
	if root == nil {
		return verdict{store.None(), store.None(), store.None()}
	}
	v := a.judge(root, frame{}, t, 1)
	if isModified(consent) || !isPrivacy(consent) {
		v.permit, v.opens = store.None(), store.None()
	}
	return v
}

// stance is the type of a provision. Inside others one is required: what has none,
// or one that is not known, counts as a deny.
func stance(p node, depth int) string {
	switch kind := p.str("type"); {
	case kind == "permit", p["type"] == nil && depth == 1:
		return kind
	}
	return "deny"
}

// judge walks a provision, matching and nesting. A child of the other
// type is an exception where its parent matched; one of the same type extends.
// A root may have no type: then it has no opinion of its own, and those in it hold
// where it matches.
func (a *asker) judge(p node, in frame, t fhir.Type, depth int) verdict {
	if depth > maxDepth {
		return verdict{store.None(), store.None(), store.All()}
	}
	kind := stance(p, depth)
	p = inherit(p, in.node)
	asPermit, asDeny, named := a.context(p)
	named = named || in.named
	sure, maybe := store.None(), store.None() // what matches for certain, and what may match
	if asPermit {
		sure = a.data(p, t, true)
	}
	if asDeny && (kind != "deny" || p["actor"] != nil || named || !a.family) {
		maybe = a.data(p, t, false)
	}
	own := maybe // what a deny denies itself
	if a.urgent && kind == "deny" && p["actor"] == nil && !named {
		own = store.None() // though what is in it, about them by name, does hold
	}
	var same, other []verdict
	for _, child := range p.list("provision") {
		if kind != "" && stance(child, depth+1) == kind {
			same = append(same, a.judge(child, frame{p, named}, t, depth+1))
		} else {
			other = append(other, a.judge(child, frame{named: named}, t, depth+1))
		}
	}
	return combine(kind, sure, maybe, own, named, same, other)
}

// combine weighs a provision with its children of the same and of the other type:
// children beat the node, among siblings deny beats permit. An exception to a
// permit denies where the permit may match, one to a deny opens where the deny is
// certain. A permit does not reach what an exception beside its extensions denies,
// wherever that is.
func combine(kind string, sure, maybe, own store.Expr, named bool, same, other []verdict) verdict {
	var permit, opens, deny, beaten store.Or
	for _, v := range same {
		permit, opens, deny = append(permit, v.permit), append(opens, v.opens), append(deny, v.deny)
	}
	lifts := sure
	if kind == "deny" {
		lifts = maybe
	}
	for _, v := range other {
		permit, opens = append(permit, store.And{lifts, v.permit}), append(opens, store.And{sure, v.opens})
		deny, beaten = append(deny, store.And{maybe, v.deny}), append(beaten, v.deny)
	}
	if kind == "permit" {
		permit = append(permit, sure)
		if named {
			opens = append(opens, sure)
		}
	} else {
		beaten = nil
	}
	less := store.Not{Expr: simplify(append(slices.Clip(deny), beaten...))}
	v := verdict{simplify(store.And{permit, less}), simplify(store.And{opens, less}), simplify(deny)}
	if kind == "deny" {
		v.deny = simplify(store.Or{deny, store.And{own, store.Not{Expr: permit}}})
	}
	return v
}

// inherit fills in what a child takes from the parent of its type, if it has one.
func inherit(p, parent node) node {
	if parent == nil {
		return p
	}
	out := make(node, len(p)+8)
	for _, name := range []string{"period", "actor", "action", "purpose", "class", "code", "dataPeriod", "data", "securityLabel", "modifierExtension"} {
		if v, ok := parent[name]; ok {
			out[name] = v
		}
	}
	for name, v := range p {
		out[name] = v
	}
	return out
}

// context compares everything about a provision that does not depend on the
// data: whether it holds for a permit, for a deny (where doubt counts as a
// match), and whether the asker is named in it.
func (a *asker) context(p node) (permit, deny, named bool) {
	permit, deny = true, true
	weigh := func(match, doubt bool) {
		permit = permit && match
		deny = deny && (match || doubt)
	}
	if isModified(p) {
		permit = false
	}
	if p["period"] != nil {
		w := readPeriod(p.obj("period"), a.zone)
		weigh(w.holds(a.now), w.bad)
	}
	if p["actor"] != nil {
		match, doubt := a.matchActor(p.list("actor"))
		weigh(match, doubt)
		named = match
	}
	if p["action"] != nil {
		match, doubt := matchAction(p.list("action"))
		weigh(match, doubt)
	}
	match, doubt := a.matchPurpose(p.list("purpose"))
	switch {
	case p["purpose"] != nil:
		weigh(match, doubt)
	case p.str("type") == "permit": // what permits must name an emergency, not what it is an exception to
		permit = permit && match
	}
	return permit, deny, named
}

// matchActor looks for the asker among actors. An actor in a role that we do not
// know, or whom we do not find, is in doubt.
func (a *asker) matchActor(actors []node) (match, doubt bool) {
	for _, actor := range actors {
		ref, known := relativeTo(a.base, actor.ref("reference")), knownRole(actor.obj("role")) && !isModified(actor)
		match = match || known && a.actors[ref]
		doubt = doubt || !known && (a.actors[ref] || !a.family) || !a.known[ref]
	}
	return match, doubt
}

// otherActions have nothing to do with seeing a record.
var otherActions = []string{"collect", "correct"}

// matchAction: seeing a record is the action "access"; a deny also takes it for
// use and disclosure.
func matchAction(actions []node) (match, doubt bool) {
	for _, action := range actions {
		for _, c := range action.list("coding") {
			match = match || c.str("system") == systemConsentAction && c.str("code") == "access"
			doubt = doubt || c.str("system") != systemConsentAction || !slices.Contains(otherActions, c.str("code"))
		}
		doubt = doubt || len(action.list("coding")) == 0
	}
	return match, doubt
}

// learnActors looks up which actors of a provision tree exist: one that does not
// cannot be told apart from the asker.
func (a *asker) learnActors(tx *engine.Tx, p node) {
	for _, actor := range p.list("actor") {
		if ref := relativeTo(a.base, actor.ref("reference")); !a.known[ref] && exists(tx, ref) {
			a.known[ref] = true
		}
	}
	for _, child := range p.list("provision") {
		a.learnActors(tx, child)
	}
}

// knownRole accepts the actor roles whose meaning we know: a recipient of
// information, in one of HL7's code systems.
func knownRole(role node) bool {
	for _, c := range role.list("coding") {
		if c.str("system") == systemParticipation && slices.Contains([]string{"IRCP", "PRCP", "REFB"}, c.str("code")) {
			return true
		}
	}
	return false
}

// matchPurpose compares by subsumption. Silence covers every purpose but
// break-glass, which a permit must name; a deny reaches it by subsumption too.
func (a *asker) matchPurpose(list []node) (match, doubt bool) {
	if len(list) == 0 {
		return !slices.Contains(a.purpose, "BTG"), false
	}
	for _, c := range list {
		code := c.str("code")
		all, known := label.Purpose(code)
		doubt = doubt || c.str("system") != systemActReason || !known
		for _, p := range a.purpose {
			if c.str("system") == systemActReason && slices.Contains(all, p) {
				match = match || p == code || p != purposeBTG
				doubt = true
			}
		}
	}
	return match, doubt
}

// data compiles the data dimensions of a provision for one type of resource: what
// matches for certain, as a permit needs it, or what may match.
func (a *asker) data(p node, t fhir.Type, permit bool) store.Expr {
	var all store.And
	if p["class"] != nil {
		all = append(all, matchClass(p.list("class"), t, permit))
	}
	if p["code"] != nil {
		all = append(all, matchCode(p.list("code"), t, permit))
	}
	if p["dataPeriod"] != nil {
		all = append(all, a.matchDataPeriod(p.obj("dataPeriod"), permit))
	}
	if p["data"] != nil {
		all = append(all, matchData(p.list("data"), t, a.base, permit))
	}
	return append(all, matchLabels(p.list("securityLabel"), p.str("type"), permit)...)
}

func matchClass(classes []node, t fhir.Type, permit bool) store.Expr {
	for _, c := range classes {
		if c.str("system") == systemResourceTypes && c.str("code") == string(t) || !permit && !isClass(c) {
			return store.All()
		}
	}
	return store.None()
}

// isClass tells whether a class is one that resources can be told by.
func isClass(c node) bool {
	return c.str("system") == systemResourceTypes && fhir.Type(c.str("code")).Valid()
}

// codeParams are the search parameters that hold what a resource is about.
var codeParams = []string{"code", "vaccine-code", "type"}

// medicationTypes may say what they are about by reference.
var medicationTypes = []fhir.Type{"MedicationRequest", "MedicationAdministration", "MedicationDispense", "MedicationStatement"}

// matchCode compares what a resource is about. A deny also takes a medication
// that is only referred to, since the index cannot tell which it is.
func matchCode(concepts []node, t fhir.Type, permit bool) store.Expr {
	var any store.Or
	if !permit && slices.Contains(medicationTypes, t) {
		any = append(any, store.Not{Expr: store.Exists{Name: "code"}})
	}
	for _, c := range concepts {
		codings := c.list("coding")
		if len(codings) == 0 && !permit {
			return store.All()
		}
		for _, coding := range codings {
			if coding.str("code") == "" || permit && coding.str("system") == "" { // any of a system, or of any system
				if !permit {
					return store.All()
				}
				continue
			}
			for _, param := range codeParams {
				any = append(any, search.TokenTerm(param, coding.str("system"), coding.str("code")))
			}
		}
	}
	return any
}

// matchDataPeriod compares the clinically relevant time: overlap is enough for
// a deny, containment is needed for a permit. A deny also takes what has no
// such time, since it cannot be told apart.
func (a *asker) matchDataPeriod(period node, permit bool) store.Expr {
	w := readPeriod(period, a.zone)
	if w.bad {
		if permit {
			return store.None()
		}
		return store.All()
	}
	if permit {
		return search.DateWithin(search.Clinical, w.start, w.end)
	}
	return store.Or{search.DateOverlaps(search.Clinical, w.start, w.end), store.Not{Expr: store.Exists{Name: search.Clinical}}}
}

// matchData compares single resources; meanings other than "instance" cannot be
// evaluated on the index and fail closed.
func matchData(data []node, t fhir.Type, base string, permit bool) store.Expr {
	var any store.Or
	for _, d := range data {
		key, err := fhir.ParseKey(relativeTo(base, d.ref("reference")))
		clear := err == nil && d.str("meaning") == "instance" && !isModified(d)
		if !clear && !permit {
			return store.All()
		}
		if clear && key.Type == t {
			any = append(any, store.Equal{Name: store.ID, Value: key.ID})
		}
	}
	return any
}

// matchLabels compiles securityLabel, which a permit and a deny read differently,
// whether for certain or not. A permit that names no confidentiality reaches up to
// normal; one that names sensitivities must cover all of a resource's, and reaches
// up to restricted for them. A deny reaches down to the lowest confidentiality it
// names, and to any of the sensitivities.
func matchLabels(labels []node, kind string, certain bool) []store.Expr {
	var named []level
	var sens []string
	doubt := false
	for _, c := range labels {
		switch lvl, known := levelOf(c.str("code")); {
		case c.str("system") == systemConfidentiality && known:
			named = append(named, lvl)
		case isSensitivity(c):
			sens = append(sens, c.str("code"))
		default:
			doubt = true
		}
	}
	silent := len(labels) == 0
	switch {
	case !certain && (silent || doubt || kind == ""), silent && kind != "permit":
		return nil
	case kind == "deny":
		return []store.Expr{labelsFrom(named, sens)}
	case len(named)+len(sens) == 0 && !silent:
		return []store.Expr{store.None()}
	}
	ceiling := levelN
	if len(sens) > 0 {
		ceiling = levelR
	}
	if len(named) > 0 {
		ceiling = slices.Max(named)
	}
	all := []store.Expr{levelAtMost(ceiling)}
	if len(sens) > 0 {
		all = append(all, sensitiveOnly(sens))
	}
	return all
}

// labelsFrom holds from the lowest of some confidentialities on, and for any of
// some sensitivities.
func labelsFrom(named []level, sens []string) store.Expr {
	var any store.Or
	if len(named) > 0 {
		any = append(any, levelAtLeast(slices.Min(named)))
	}
	if len(sens) > 0 {
		any = append(any, sensitiveAny(sens))
	}
	return any
}
