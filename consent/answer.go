package consent

import (
	"context"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An answer is one move of a request or invitation, whichever way it came in.
type answer struct {
	action string // approve, decline, revoke, withdraw
	to     string // the status it leads to
	from   []string
	notice *notice // to the provider
	done   string  // for the Provenance

	provision node // when it came as a whole resource: what is to be permitted
}

var (
	approve  = answer{action: "approve", to: "active", from: []string{"proposed"}, notice: &noticeApproved, done: "approve access"}
	decline  = answer{action: "decline", to: "rejected", from: []string{"proposed"}, notice: &noticeDeclined, done: "decline access"}
	revoke   = answer{action: "revoke", to: "inactive", from: []string{"active", "draft"}, notice: &noticeRevoked, done: "revoke access"}
	withdraw = answer{action: "withdraw", to: "inactive", from: []string{"proposed"}, done: "withdraw request"}
)

// answers tells whether a move is an answer, which others may have to give too.
func (a answer) answers() bool { return a.action == "approve" || a.action == "decline" }

// Approve gives what was asked for, or less. Where others have to agree the Consent
// that it gives is still proposed, with the extension answer-state. Errors: NotFound when the caller may
// not see the request, Forbidden when they may not decide, Unprocessable when it
// cannot be approved, Conflict when it was answered meanwhile, Precondition when
// ifMatch names another version.
func (g *Guard) Approve(ctx context.Context, c Caller, id string, n Narrowing, ifMatch *int64) (*fhir.Resource, error) {
	return g.answer(ctx, c, approve, id, n, "", ifMatch)
}

// Decline refuses a request; the provider is shown the reason, if one is given.
// While others may still answer the request stays proposed, and closed.
func (g *Guard) Decline(ctx context.Context, c Caller, id, reason string, ifMatch *int64) (*fhir.Resource, error) {
	return g.answer(ctx, c, decline, id, Narrowing{}, reason, ifMatch)
}

// Revoke ends an access that was given, or an invitation.
func (g *Guard) Revoke(ctx context.Context, c Caller, id, reason string, ifMatch *int64) (*fhir.Resource, error) {
	return g.answer(ctx, c, revoke, id, Narrowing{}, reason, ifMatch)
}

// Withdraw takes a request back; only its requester can.
func (g *Guard) Withdraw(ctx context.Context, c Caller, id, reason string, ifMatch *int64) (*fhir.Resource, error) {
	return g.answer(ctx, c, withdraw, id, Narrowing{}, reason, ifMatch)
}

// answer checks a move on the state that the caller found, then makes it in one
// transaction on that very state: whoever comes second gets Conflict.
func (g *Guard) answer(ctx context.Context, c Caller, a answer, id string, n Narrowing, reason string, ifMatch *int64) (*fhir.Resource, error) {
	e := g.entry(c, a.action, "Consent")
	e.about(fhir.Key{Type: "Consent", ID: id})
	if err := g.requireScope(c, "Consent", smart.MayUpdate); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.checkNarrowing(&n, false); err != nil {
		return nil, err
	}
	if len(reason) > maxReason {
		return nil, refuse("reason", "The reason is too long.")
	}
	var seen, heard int64
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		v, tree, _, err := g.answerable(tx, c, a, id)
		if err != nil {
			return err
		}
		if ifMatch != nil && *ifMatch != engine.AnyVersion && *ifMatch != v.Version { // whatever it is by now, it is not what they answer
			return fhir.Errorf(fhir.Precondition, "The request has changed since version %d.", *ifMatch)
		}
		if seen, heard, err = v.Version, 0, nil; a.answers() {
			heard, err = lastAnswer(tx.Reader(), id)
		}
		return orElse(err, g.checkMove(tx, a, tree))
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var done *fhir.Resource
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		v, tree, d, err := g.answerable(tx, c, a, id)
		if err != nil {
			return err
		}
		last := heard
		if a.answers() {
			if last, err = lastAnswer(tx.Reader(), id); err != nil {
				return err
			}
		}
		if v.Version != seen || last != heard {
			return fhir.Errorf(fhir.Conflict, "The request was answered meanwhile.")
		}
		if err := g.checkMove(tx, a, tree); err != nil { // the time to answer may have ended since
			return err
		}
		if done, err = g.move(tx, c, a, tree, n, reason, d); err != nil || a.action != revoke.action || tree.str("status") != "active" {
			return err
		}
		return keepUndo(tx, c, done.Key.String(), map[string]int64{done.Key.String(): done.Version})
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return done, nil
}

// answerable loads a request or invitation for a caller who may make the move:
// the requester to withdraw, somebody with authority over the patient for the
// rest. The requester never answers, whatever else they are.
func (g *Guard) answerable(tx *engine.Tx, c Caller, a answer, id string) (*store.Version, node, *decision, error) {
	s, err := g.lookAt(tx, c, fhir.Key{Type: "Consent", ID: id}, smart.MayUpdate)
	if err != nil {
		return nil, nil, nil, err
	}
	v, n, err := live(tx, "Consent/"+id)
	if err != nil || v == nil {
		return nil, nil, nil, orNotFound(err)
	}
	if visible, err := store.Eval(tx.Reader(), v, s.sight("Consent")); err != nil || !visible {
		return nil, nil, nil, orNotFound(err)
	}
	if kind := g.rules.kindOf(n); kind == "" || kind == kindEmergency {
		return nil, nil, nil, refuse("Consent", "This consent is neither a request nor an invitation.")
	}
	var d *decision
	if len(s.decisions) > 0 {
		d = s.decisions[0]
	}
	if a.action == "withdraw" {
		if !slices.Contains(s.person.selves, g.providerOf(n)) {
			return nil, nil, nil, fhir.Errorf(fhir.Forbidden, "Only who asked can withdraw a request.")
		}
		return v, n, d, nil
	}
	if _, err := g.say(tx, c, relativeTo(g.base, n.ref("patient"))); err != nil {
		return nil, nil, nil, err
	}
	return v, n, d, g.notTheRequester(tx, c, n)
}

func orNotFound(err error) error { return orElse(err, fhir.ErrNotFound()) }

// providerOf gives the provider whom a request or a used invitation names.
func (g *Guard) providerOf(consent node) string {
	for _, actor := range consent.obj("provision").list("actor") {
		return relativeTo(g.base, actor.ref("reference"))
	}
	return ""
}

// authority gives the person as whom a caller stands for a patient: themself, or
// one of the guardians. Others are Forbidden. Whether they also decide is for say
// to tell.
func (g *Guard) authority(tx *engine.Tx, c Caller, patient string) (performer string, err error) {
	none := errNoSay()
	if c.Identity.Role != smart.Patient && c.Identity.Role != smart.Proxy {
		return "", none
	}
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return "", err
	}
	d, err := g.cachedDecision(tx, c, p, patient)
	if err != nil {
		return "", err
	}
	if open, err := g.opensPatient(tx, d); err != nil || !open {
		return "", orElse(err, none)
	}
	for _, b := range d.bases {
		switch b.Code {
		case BasisSelf:
			return patient, nil
		case BasisProxy:
			barred, err := g.isBarred(tx, patient, b.Source)
			if err != nil || barred {
				return "", orElse(err, none)
			}
			return b.Source, nil
		}
	}
	return "", none
}

// opensPatient reports whether a decision opens the Patient resource itself.
func (g *Guard) opensPatient(tx *engine.Tx, d *decision) (bool, error) {
	if !d.permitted() {
		return false, nil
	}
	v, _, err := live(tx, d.patient)
	if err != nil || v == nil {
		return false, err
	}
	return store.Eval(tx.Reader(), v, d.expr("Patient"))
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// notTheRequester refuses when the person who answers is also the provider who
// asked.
func (g *Guard) notTheRequester(tx *engine.Tx, c Caller, consent node) error {
	own, err := g.isCaller(tx, c, g.providerOf(consent))
	if err == nil && own {
		err = fhir.Errorf(fhir.Forbidden, "Who asked for an access can never answer the request.")
	}
	return err
}

// isCaller tells whether somebody is the human behind a call, by this login or by
// another of theirs.
func (g *Guard) isCaller(tx *engine.Tx, c Caller, person string) (bool, error) {
	all, err := g.personsOf(tx, person)
	if err != nil || all[c.Identity.FHIRUser] || slices.ContainsFunc(c.Identity.Persons, func(p string) bool { return all[p] }) {
		return err == nil, err
	}
	if c.Identity.Login == "" || len(all) == 0 {
		return false, nil
	}
	a, err := readAccount(tx.Reader(), c.Identity.Login)
	if err == store.ErrNotFound {
		return false, nil
	}
	return err == nil && slices.ContainsFunc(a.Links, func(l Link) bool { return all[l.Person] }), err
}

// checkMove refuses a move that the state does not allow, with the sentence that
// a person needs.
func (g *Guard) checkMove(tx *engine.Tx, a answer, n node) error {
	status := n.str("status")
	ok := slices.Contains(a.from, status)
	if a.answers() && !ok {
		var err error
		if ok, err = g.isOpenOtherwise(tx, a, n); err != nil {
			return err
		}
	}
	if !ok {
		return refuse("Consent.status", "A consent that is %s cannot be %s.", status, map[string]string{
			"approve": "approved", "decline": "declined", "revoke": "revoked", "withdraw": "withdrawn"}[a.action])
	}
	if status == "proposed" && !tx.Now().Before(g.answerBy(n)) {
		return refuse("Consent.status", "The time to answer this request is over.")
	}
	return nil
}

// move makes a move and writes what comes of it.
func (g *Guard) move(tx *engine.Tx, c Caller, a answer, n node, narrowing Narrowing, reason string, d *decision) (*fhir.Resource, error) {
	if a.action == "approve" {
		if err := g.requireProof(tx, c); err != nil {
			return nil, err
		}
	}
	if !a.answers() {
		if err := forgetAnswers(tx.Writer(), n.str("id")); err != nil {
			return nil, err
		}
		return g.moved(tx, c, a, without(n), reason, d)
	}
	approved := a.provision
	if approved == nil {
		approved = g.narrow(n.obj("provision"), narrowing)
	}
	switch n.str("status") {
	case "active":
		return g.takeOver(tx, c, a, n, approved, d)
	case "draft":
		return g.agreeTo(tx, c, a, n, approved, reason, d)
	}
	return g.answerRequest(tx, c, a, n, approved, reason, d)
}

// moved writes the new state with its Provenance, notice and audit entry.
func (g *Guard) moved(tx *engine.Tx, c Caller, a answer, n node, reason string, d *decision) (*fhir.Resource, error) {
	patient := relativeTo(g.base, n.ref("patient"))
	provider := g.providerOf(n)
	if n.str("status") == "draft" { // an invitation that nobody used: nobody to tell
		a.notice = nil
	}
	n["status"] = a.to
	if a.action == "decline" && reason != "" {
		ext, _ := n["extension"].([]any)
		n["extension"] = append(slices.Clone(ext), map[string]any{"url": g.rules.extension("answer-reason"), "valueString": reason})
	}
	r, err := g.replace(tx, n)
	if err != nil {
		return nil, err
	}
	if err := g.provenance(tx, c, r.Key, patient, a.done, reason); err != nil {
		return nil, err
	}
	if a.notice != nil && provider != "" {
		if err := g.notify(tx, patient, *a.notice, provider); err != nil {
			return nil, err
		}
	}
	return r, g.auditWrite(tx, c, a.action, r, d)
}

// narrow applies what the approver chose to what was asked for; whether it is
// really narrower is checked where it is written.
func (g *Guard) narrow(p node, n Narrowing) node {
	p = without(p)
	period := without(p.obj("period"))
	if !n.From.IsZero() {
		period["start"] = instant(n.From, g.zone)
	}
	if !n.Until.IsZero() {
		period["end"] = instant(n.Until, g.zone)
	}
	if len(period) > 0 {
		p["period"] = period.any()
	}
	p.setClasses(n.Classes)
	if n.Label != "" {
		p["securityLabel"] = []any{map[string]any{"system": systemConfidentiality, "code": n.Label}}
	}
	return p
}

// until gives the end of what a consent permits; zero: open.
func (g *Guard) until(consent node) time.Time {
	return readPeriod(consent.obj("provision").obj("period"), g.zone).end
}

// idOf cuts the id off a key.
func idOf(key string) string { return key[strings.IndexByte(key, '/')+1:] }
