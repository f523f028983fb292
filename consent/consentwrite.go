package consent

import (
	"reflect"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A Consent that a client writes whole is read for what it means and goes the
// same way as the operation that means it.

// asRequest reads a posted Consent as a request; what a request cannot hold is
// refused rather than dropped.
func (g *Guard) asRequest(c Caller, n node) (AccessRequest, error) {
	var req AccessRequest
	provision := n.obj("provision")
	switch {
	case n.str("status") != "proposed":
		return req, refuse("Consent.status", "A provider can only propose a consent.")
	case n["performer"] != nil:
		return req, refuse("Consent.performer", "A request has no performer until somebody approves it.")
	case provision.str("type") != "permit":
		return req, refuse("Consent.provision.type", "A request asks for a permit.")
	case len(provision.list("actor")) != 1 || g.providerOf(n) != c.Identity.FHIRUser:
		return req, refuse("Consent.provision.actor", "A provider asks for themself only.")
	}
	for _, name := range []string{"code", "data", "dataPeriod", "provision", "modifierExtension"} {
		if provision[name] != nil {
			return req, refuse("Consent.provision."+name, "A request cannot hold this.")
		}
	}
	w := readPeriod(provision.obj("period"), g.zone)
	if w.bad {
		return req, refuse("Consent.provision.period", "The period cannot be read.")
	}
	req.Patient, req.From, req.Until = n.ref("patient"), w.start, w.end
	for _, class := range provision.list("class") {
		req.Classes = append(req.Classes, fhir.Type(class.str("code")))
	}
	for _, label := range provision.list("securityLabel") {
		if label.str("system") != systemConfidentiality || req.Label != "" {
			return req, refuse("Consent.provision.securityLabel", "A request names one confidentiality at most.")
		}
		req.Label = label.str("code")
	}
	req.Confidential = g.isConfidential(n)
	req.Reason = n.extension(g.rules.extension("request-reason")).str("valueString")
	return req, nil
}

// updateConsent takes a Consent put by a client. handled is false for a
// directive, which is written like any other resource.
func (g *Guard) updateConsent(tx *engine.Tx, c Caller, t *task) (handled bool, r *fhir.Resource, err error) {
	if err := g.allowSeen(tx, c, t.key.ID); err != nil {
		return false, nil, err
	}
	n := node(t.prepared.Tree)
	found, err := tx.Read(t.key, engine.Everything)
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone:
		if g.rules.kindOf(n) != "" {
			return false, nil, refuse("Consent", "A request is created by POST.")
		}
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	before, err := decode(found)
	if err != nil || g.rules.kindOf(before) == "" {
		return false, nil, err
	}
	if t.OnlyNew || t.clashes {
		return true, nil, t.taken()
	}
	heard, err := lastAnswer(tx.Reader(), t.key.ID)
	if err != nil {
		return true, nil, err
	}
	if found.Version != t.seen || heard != t.heard { // whoever comes second finds it answered
		return false, nil, fhir.Errorf(fhir.Conflict, "The request was answered meanwhile.")
	}
	if err := t.matches(found.Version); err != nil { // before what the body says is looked at
		return true, nil, err
	}
	r, err = g.moveByBody(tx, c, t, before, n)
	return true, r, err
}

// allowSeen refuses what the caller may not see.
func (g *Guard) allowSeen(tx *engine.Tx, c Caller, id string) error {
	if c.Identity.Role == smart.Admin {
		return nil
	}
	s, err := g.lookAt(tx, c, fhir.Key{Type: "Consent", ID: id}, smart.MayUpdate)
	if err != nil {
		return err
	}
	_, err = tx.Read(fhir.Key{Type: "Consent", ID: id}, s.sight)
	if fhir.KindOf(err) == fhir.NotFound { // free, or hidden: only the former goes on
		if _, absent := tx.Read(fhir.Key{Type: "Consent", ID: id}, engine.Everything); fhir.KindOf(absent) == fhir.NotFound {
			return nil
		}
	}
	return err
}

// moveByBody makes the move that a body means.
func (g *Guard) moveByBody(tx *engine.Tx, c Caller, t *task, before, after node) (*fhir.Resource, error) {
	free := []string{"status", "performer", "dateTime", "provision", "meta", "text"}
	if !reflect.DeepEqual(without(before, free...), without(after, free...)) {
		for name := range after {
			if name != "meta" && !reflect.DeepEqual(before[name], after[name]) && !slices.Contains(free, name) {
				return nil, refuse("Consent."+name, "This never changes after creation.")
			}
		}
		return nil, refuse("Consent", "Nothing may be dropped from a request or an invitation.")
	}
	if err := g.checkReadable(tx, after); err != nil {
		return nil, err
	}
	var a answer
	switch from, to := before.str("status"), after.str("status"); {
	case to == "entered-in-error":
		t.action = "correct"
		return g.correct(tx, c, before)
	case from == "proposed" && to == "active":
		a = approve
		a.provision = after.obj("provision")
	case from == "proposed" && to == "rejected":
		a = decline
	case from == "proposed" && to == "inactive":
		a = withdraw
	case (from == "active" || from == "draft") && to == "inactive":
		a = revoke
	case from == "active" && to == "active" && !reflect.DeepEqual(before["performer"], after["performer"]):
		a = approve // of what guardians gave, by the patient who is of age
		a.provision = after.obj("provision")
	default:
		return nil, refuse("Consent.status", "A consent cannot go from %s to %s.", from, to)
	}
	if a.provision == nil && !reflect.DeepEqual(before["provision"], after["provision"]) {
		return nil, refuse("Consent.provision", "Only an approval may change what is permitted.")
	}
	t.action = a.action
	_, tree, d, err := g.answerable(tx, c, a, t.key.ID)
	if err != nil {
		return nil, err
	}
	if err := g.checkMove(tx, a, tree); err != nil {
		return nil, err
	}
	return g.move(tx, c, a, tree, Narrowing{}, "", d)
}

// correct marks a mistake; only an administrator does, and never in their own
// matter.
func (g *Guard) correct(tx *engine.Tx, c Caller, n node) (*fhir.Resource, error) {
	if c.Identity.Role != smart.Admin {
		return nil, fhir.Errorf(fhir.Forbidden, "Only an administrator marks a consent as entered in error.")
	}
	if err := g.notTheRequester(tx, c, n); err != nil {
		return nil, err
	}
	if err := g.notOfOneself(tx, c, relativeTo(g.base, n.ref("patient"))); err != nil {
		return nil, err
	}
	return g.move(tx, c, answer{action: "correct", to: "entered-in-error", done: "mark as mistake"}, n, Narrowing{}, "", nil)
}

// checkDirective holds what a directive must be, that is a Consent that is
// neither a request nor an invitation. A family writes what they themselves
// decide about providers. What limits a guardian (a court order) is written by an
// administrator or a system, and is not theirs to change.
func (g *Guard) checkDirective(c Caller, tx *engine.Tx, n node) error {
	if g.rules.kindOf(n) != "" {
		return refuse("Consent.category", "Requests and invitations are made by their operations.")
	}
	if c.Identity.Role == smart.System {
		return nil
	}
	if !n.obj("scope").hasCoding(systemConsentScope, "patient-privacy") {
		return refuse("Consent.scope", "Only a consent about privacy has an effect here.")
	}
	family, others, err := g.checkActors(tx, n.obj("provision"))
	switch {
	case err != nil:
		return err
	case c.Identity.Role == smart.Admin:
		if !family || others || n.obj("provision").str("type") != "deny" || n.obj("provision")["provision"] != nil {
			return refuse("Consent.provision", "An administrator records what is denied to a guardian, nothing else.")
		}
		return g.notOfOneself(tx, c, relativeTo(g.base, n.ref("patient")))
	case family:
		return fhir.Errorf(fhir.Forbidden, "What limits a guardian is recorded by the hospital.")
	}
	patient := relativeTo(g.base, n.ref("patient"))
	performer, err := g.say(tx, c, patient)
	if err != nil {
		return err
	}
	standing, err := findAll(tx, "Consent", store.And{ownedBy(patient), search.TokenTerm("status", "", "active"), store.Not{Expr: store.Exists{Name: termKind}}})
	if err != nil {
		return err
	}
	if len(standing) > maxDirectives {
		return refuse("Consent", "There are too many directives for this patient.")
	}
	if len(n.list("performer")) == 0 {
		return refuse("Consent.performer", "Name the person who gives the consent.")
	}
	for _, p := range n.list("performer") {
		if relativeTo(g.base, p.str("reference")) != performer {
			return refuse("Consent.performer", "A consent is given by the person who writes it.")
		}
	}
	return nil
}

// maxDirectives is how many directives of a patient may be active at a time.
const maxDirectives = 50

// checkActors refuses actors that cannot be told apart when the consent is read,
// and tells whether members of a family are among them, and whether others are.
func (g *Guard) checkActors(tx *engine.Tx, p node) (family, others bool, err error) {
	for _, a := range p.list("actor") {
		ref := relativeTo(g.base, a.ref("reference"))
		switch {
		case !exists(tx, ref):
			return false, false, refuse("Consent.provision.actor.reference", "Name somebody who is known here, by a literal reference.")
		case !knownRole(a.obj("role")):
			return false, false, refuse("Consent.provision.actor.role", "An actor is a recipient: IRCP of v3-ParticipationType.")
		case strings.HasPrefix(ref, "RelatedPerson/"), strings.HasPrefix(ref, "Patient/"):
			family = true
		default:
			others = true
		}
	}
	for _, child := range p.list("provision") {
		f, o, err := g.checkActors(tx, child)
		if err != nil {
			return false, false, err
		}
		family, others = family || f, others || o
	}
	return family, others, nil
}

// checkOldDirective is checkDirective on what a write replaces or deletes.
func (g *Guard) checkOldDirective(c Caller, tx *engine.Tx, key fhir.Key) error {
	r, err := tx.Read(key, engine.Everything)
	switch fhir.KindOf(err) {
	case fhir.NotFound, fhir.Gone:
		return nil
	}
	if err != nil {
		return err
	}
	n, err := decode(r)
	if err != nil {
		return err
	}
	if g.rules.kindOf(n) != "" {
		return nil // the state machine speaks
	}
	patient := relativeTo(g.base, n.ref("patient"))
	performer, err := g.authority(tx, c, patient)
	if err != nil { // an administrator or a system
		return g.checkDirective(c, tx, n)
	}
	for _, p := range n.list("performer") {
		if relativeTo(g.base, p.str("reference")) == patient && performer != patient {
			return fhir.Errorf(fhir.Forbidden, "What a patient decided themself is theirs to change.")
		}
	}
	n = without(n) // whichever guardian gave it: those with authority may end it
	n["performer"] = []any{reference(performer)}
	return g.checkDirective(c, tx, n)
}
