package consent

import (
	"slices"
	"time"

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
	purpose []string        // what they may be asking for: codes of v3-ActReason
	now     time.Time
	zone    *time.Location
	base    string
}

// A verdict is what a provision says of the resources of one type: those it
// permits to the asker, those it denies them.
type verdict struct{ permit, deny store.Expr }

// A frame is what a provision inherits: the context where it is silent (same
// type only) and the data dimensions it does not replace.
type frame struct {
	node     node
	isPermit bool
	named    bool // an actor that is the asker was named on the way here
}

// read judges one Consent for one type of resource. It never fails: what it
// cannot interpret counts for a deny and against a permit.
func (a *asker) read(consent node, t fhir.Type) verdict {
	root := consent.obj("provision")
	if root == nil {
		return verdict{store.None(), store.None()}
	}
	if root["type"] == nil && consent.obj("policyRule").hasCoding(systemActCode, "OPTOUT") {
		root = without(root)
		root["type"] = "deny"
	}
	v := a.judge(root, frame{}, t, 1)
	if len(consent.list("modifierExtension")) > 0 {
		v.permit = store.None()
	}
	return v
}

// judge walks a provision (access-model: match, nesting). A child of the other
// type is an exception where its parent matched; one of the same type extends.
func (a *asker) judge(p node, in frame, t fhir.Type, depth int) verdict {
	if depth > maxDepth {
		return verdict{store.None(), store.All()}
	}
	if p["type"] == nil {
		return a.judgeUntyped(p, in, t, depth)
	}
	permits := p.str("type") == "permit"
	p = inherit(p, in, permits)
	asPermit, asDeny, named := a.context(p)
	named = named || in.named
	strict, loose := store.None(), store.None() // what matches for sure, and what may match
	if asPermit {
		strict = a.data(p, t, true)
	}
	if asDeny && (p["actor"] != nil || !a.family) {
		loose = a.data(p, t, false)
	}
	var same, other []verdict
	for _, child := range p.list("provision") {
		f := frame{isPermit: permits, named: named}
		if (child.str("type") == "permit") == permits {
			f.node = p
			same = append(same, a.judge(child, f, t, depth+1))
		} else {
			other = append(other, a.judge(child, f, t, depth+1))
		}
	}
	if permits {
		return permitVerdict(strict, loose, named, same, other)
	}
	return denyVerdict(strict, loose, same, other)
}

// judgeUntyped walks a provision that has no type, as R4 has it for the root: it
// has no opinion of its own, and those in it hold where it matches.
func (a *asker) judgeUntyped(p node, in frame, t fhir.Type, depth int) verdict {
	asPermit, asDeny, named := a.context(p)
	permit, deny := store.Or{}, store.Or{}
	for _, child := range p.list("provision") {
		v := a.judge(child, frame{named: named || in.named}, t, depth+1)
		if asPermit {
			permit = append(permit, store.And{a.data(without(p, "securityLabel"), t, true), v.permit})
		}
		if asDeny {
			deny = append(deny, store.And{a.data(p, t, false), v.deny})
		}
	}
	return verdict{store.And{permit, store.Not{Expr: deny}}, deny}
}

// permitVerdict: what the node and its extensions permit, less its exceptions.
// It permits only where the asker is named; its exceptions deny either way.
func permitVerdict(strict, loose store.Expr, named bool, same, other []verdict) verdict {
	permit, deny := store.Or{}, store.Or{}
	if named {
		permit = append(permit, strict)
	}
	for _, v := range same {
		permit, deny = append(permit, v.permit), append(deny, v.deny)
	}
	for _, v := range other {
		deny = append(deny, store.And{loose, v.deny})
		permit = append(permit, store.And{strict, v.permit})
	}
	return verdict{store.And{permit, store.Not{Expr: deny}}, deny}
}

// denyVerdict: what the node and its extensions deny, less what its exceptions
// permit; what they permit to the asker by name is a permit of its own.
func denyVerdict(strict, loose store.Expr, same, other []verdict) verdict {
	deny, lifted, permit := store.Or{loose}, store.Or{}, store.Or{}
	for _, v := range other {
		lifted = append(lifted, v.permit)
		permit = append(permit, store.And{strict, v.permit})
	}
	for _, v := range same {
		deny, permit = append(deny, v.deny), append(permit, v.permit)
	}
	return verdict{permit, store.And{deny, store.Not{Expr: lifted}}}
}

// inherit fills in what a child of the same type takes from its parent.
func inherit(p node, in frame, permits bool) node {
	if in.node == nil || in.isPermit != permits {
		return p
	}
	out := make(node, len(p)+8)
	for _, name := range []string{"period", "actor", "action", "purpose", "class", "code", "dataPeriod", "data", "securityLabel"} {
		if v, ok := in.node[name]; ok {
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
	if len(p.list("modifierExtension")) > 0 {
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
	permit = permit && match
	if p["purpose"] != nil {
		deny = deny && (match || doubt)
	}
	return permit, deny, named
}

// matchActor looks for the asker among actors. An actor in a role that we do not
// know, or whom we do not find, is in doubt.
func (a *asker) matchActor(actors []node) (match, doubt bool) {
	for _, actor := range actors {
		ref, known := relativeTo(a.base, actor.ref("reference")), knownRole(actor.obj("role"))
		match = match || known && a.actors[ref]
		doubt = doubt || !known && (a.actors[ref] || !a.family) || !a.known[ref]
	}
	return match, doubt
}

// matchAction: seeing a record is the action "access"; a deny also takes it for
// use and disclosure.
func matchAction(actions []node) (match, doubt bool) {
	for _, action := range actions {
		for _, c := range action.list("coding") {
			match = match || c.str("system") == systemConsentAction && c.str("code") == "access"
			doubt = doubt || c.str("system") != systemConsentAction || c.str("code") == "use" || c.str("code") == "disclose"
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

// purposes gives, for a purpose of v3-ActReason, those that it comprises.
var purposes = map[string][]string{
	"TREAT":   {"ETREAT", "COC", "CLINTRCH"},
	"PATRQT":  {"FAMRQT", "PWATRNY"},
	"HOPERAT": {"CAREMGT"},
}

// matchPurpose compares by subsumption. Silence covers every purpose but
// break-glass, which a permit must name.
func (a *asker) matchPurpose(list []node) (match, doubt bool) {
	if len(list) == 0 {
		return !slices.Contains(a.purpose, "BTG"), false
	}
	for _, c := range list {
		code := c.str("code")
		match = match || c.str("system") == systemActReason && slices.ContainsFunc(a.purpose, func(p string) bool {
			return code == p || slices.Contains(purposes[code], p)
		})
		doubt = doubt || c.str("system") != systemActReason
	}
	return match, doubt
}

// data compiles the data dimensions of a provision for one type of resource.
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
	return append(all, matchLabels(p.list("securityLabel"), permit)...)
}

func matchClass(classes []node, t fhir.Type, permit bool) store.Expr {
	for _, c := range classes {
		if c.str("system") == systemResourceTypes && c.str("code") == string(t) || !permit && c.str("system") != systemResourceTypes {
			return store.All()
		}
	}
	return store.None()
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
		if d.str("meaning") != "instance" && !permit {
			return store.All()
		}
		key, err := fhir.ParseKey(relativeTo(base, d.ref("reference")))
		if err == nil && key.Type == t && d.str("meaning") == "instance" {
			any = append(any, store.Equal{Name: store.ID, Value: key.ID})
		}
	}
	return any
}

// matchLabels compiles securityLabel. A permit that names no confidentiality
// reaches up to normal; one that names sensitivities must cover all of a
// resource's, and reaches up to restricted for them.
func matchLabels(labels []node, permit bool) []store.Expr {
	var named []level
	var sens []string
	doubt := false
	for _, c := range labels {
		switch lvl, known := levels[c.str("code")]; {
		case c.str("system") == systemConfidentiality && known:
			named = append(named, lvl)
		case c.str("system") == systemActCode:
			sens = append(sens, c.str("code"))
		default:
			doubt = true
		}
	}
	if permit {
		ceiling := levelN
		if len(sens) > 0 {
			ceiling = levelR
		}
		if len(named) > 0 {
			ceiling = slices.Max(named)
		}
		if doubt && len(named)+len(sens) == 0 {
			return []store.Expr{store.None()}
		}
		all := []store.Expr{levelAtMost(ceiling)}
		if len(sens) > 0 {
			all = append(all, sensitiveOnly(sens))
		}
		return all
	}
	if len(labels) == 0 || doubt {
		return nil
	}
	var any store.Or
	if len(named) > 0 {
		any = append(any, levelAtLeast(slices.Min(named)))
	}
	if len(sens) > 0 {
		any = append(any, sensitiveAny(sens))
	}
	return []store.Expr{any}
}
