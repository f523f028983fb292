package consent

import (
	"slices"
	"strings"
	"time"

	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// The states of what several people answer: codes of the extension answer-state
// and of the code system of that name.
const (
	AnswersWaiting  = "waiting"  // somebody else has to answer too
	AnswersConflict = "conflict" // guardians have answered differently
)

// answerRequest takes an answer to a request: it is decided, or waits for others.
func (g *Guard) answerRequest(tx *engine.Tx, c Caller, a answer, n, approved node, reason string, d *decision) (*fhir.Resource, error) {
	t, err := g.weighAnswer(tx, c, a, n, approved)
	if err != nil {
		return nil, err
	}
	id, asked := n.str("id"), n
	n = without(n)
	switch t.result {
	case quorum.Approved:
		n["performer"] = references(t.performer)
		n["dateTime"] = instant(tx.Now(), g.zone)
		n["provision"] = t.provision.any()
		a.to, a.notice = approve.to, approve.notice
	case quorum.Declined:
		a.to, a.notice = decline.to, decline.notice
	default:
		return g.stillOpen(tx, c, a, asked, t, reason, d)
	}
	if err := forgetAnswers(tx.Writer(), id); err != nil {
		return nil, err
	}
	return g.moved(tx, c, a, n, reason, d)
}

// stillOpen keeps an answer that decides nothing yet, tells the others, and gives
// the Consent as it is, with what the answers have come to.
func (g *Guard) stillOpen(tx *engine.Tx, c Caller, a answer, n node, t *tally, reason string, d *decision) (*fhir.Resource, error) {
	id, patient := n.str("id"), t.jury.key
	if err := allowAttempt(tx.Writer(), tx.Now(), "answer", id+" "+c.Identity.FHIRUser, maxAnswers); err != nil {
		return nil, err
	}
	if err := keepAnswers(tx.Writer(), id, t.answers); err != nil {
		return nil, err
	}
	key := fhir.Key{Type: "Consent", ID: id}
	if err := g.provenance(tx, c, key, patient, a.done, reason); err != nil {
		return nil, err
	}
	tell, state := noticeAnswered, AnswersWaiting
	if t.result == quorum.Conflict {
		tell, state = noticeConflict, AnswersConflict
	}
	for _, person := range t.jury.people() {
		if t.result == quorum.Waiting && (slices.Contains(t.people, person) || t.answered(person)) {
			continue // they have nothing to do
		}
		if err := g.notify(tx, patient, tell, person); err != nil {
			return nil, err
		}
	}
	r, err := tx.Read(key, engine.Everything)
	if err != nil {
		return nil, err
	}
	if err := g.auditWrite(tx, c, a.action, r, d); err != nil {
		return nil, err
	}
	shown := *r
	n = without(n)
	ext, _ := n["extension"].([]any)
	n["extension"] = append(slices.Clone(ext), map[string]any{"url": g.rules.extension("answer-state"), "valueCode": state})
	shown.JSON = encode(n)
	return &shown, nil
}

// maxAnswers is how often in an hour a person changes their answer to a request:
// others get a mail each time.
const maxAnswers = 10

// agreeTo takes the answer of somebody else to an invitation that needs it. Agreed
// or not, it stays draft until it is used; one that is declined is over.
func (g *Guard) agreeTo(tx *engine.Tx, c Caller, a answer, n, approved node, reason string, d *decision) (*fhir.Resource, error) {
	if a.action == "approve" && string(encode(approved)) != string(encode(n.obj("provision"))) {
		return nil, refuse("Consent.provision", "An invitation is agreed to as it is.")
	}
	t, err := g.weighAnswer(tx, c, a, n, approved)
	if err != nil {
		return nil, err
	}
	switch t.result {
	case quorum.Declined:
		if err := forgetAnswers(tx.Writer(), n.str("id")); err != nil {
			return nil, err
		}
		a.to, a.notice = revoke.to, nil
		return g.moved(tx, c, a, without(n), reason, d)
	case quorum.Approved:
		if !t.changed {
			return nil, errAnswered()
		}
		if err := keepAnswers(tx.Writer(), n.str("id"), t.answers); err != nil {
			return nil, err
		}
		key := fhir.Key{Type: "Consent", ID: n.str("id")}
		if err := g.provenance(tx, c, key, t.jury.key, "agree to invitation", ""); err != nil {
			return nil, err
		}
		for _, p := range n.list("performer") {
			if err := g.notify(tx, t.jury.key, noticeAgreed, relativeTo(g.base, p.str("reference"))); err != nil {
				return nil, err
			}
		}
		r, err := tx.Read(key, engine.Everything)
		if err != nil {
			return nil, err
		}
		return r, g.auditWrite(tx, c, a.action, r, d)
	}
	return g.stillOpen(tx, c, a, n, t, reason, d)
}

// isAgreed tells whether all who have to agree to an invitation do, today.
func (g *Guard) isAgreed(tx *engine.Tx, patient, invitation node) (bool, error) {
	list, err := answersTo(tx.Reader(), invitation.str("id"))
	if err != nil || list == nil { // one person was enough
		return err == nil, err
	}
	j, err := g.jury(tx, relativeTo(g.base, invitation.ref("patient")), patient, invitation)
	if err != nil {
		return false, err
	}
	return j.question(byPerson(list)).Result() == quorum.Approved, nil
}

// takeOver makes what guardians gave the patient's own, who is of age now: as it
// is, or less of it.
func (g *Guard) takeOver(tx *engine.Tx, c Caller, a answer, n, approved node, d *decision) (*fhir.Resource, error) {
	patient := relativeTo(g.base, n.ref("patient"))
	n = without(n)
	n["performer"] = references([]string{patient})
	n["dateTime"] = instant(tx.Now(), g.zone)
	n["provision"] = approved.any()
	a.notice, a.done = nil, "take over access"
	return g.moved(tx, c, a, n, "", d)
}

// isOpenOtherwise tells whether a consent takes an answer though it is no open
// request: an invitation that others have to agree to, or an access that others
// gave for a patient who is of age now.
func (g *Guard) isOpenOtherwise(tx *engine.Tx, a answer, n node) (bool, error) {
	switch n.str("status") {
	case "draft":
		list, err := answersTo(tx.Reader(), n.str("id"))
		return list != nil, err
	case "active":
		if a.action != "approve" {
			return false, nil
		}
		_, patient, err := live(tx, relativeTo(g.base, n.ref("patient")))
		if err != nil || patient == nil {
			return false, err
		}
		return g.isLeftOver(n, patient, tx.Now()), nil
	}
	return false, nil
}

// isLeftOver tells whether others gave an access for a patient who was not of age,
// and is now.
func (g *Guard) isLeftOver(consent, patient node, now time.Time) bool {
	if g.bandOf(patient, now) != bandAdult {
		return false
	}
	given, _, _ := dateSpan(consent.str("dateTime"), g.zone)
	practice := g.bandOf(patient, given) != bandAdult
	left := false
	for _, p := range consent.list("performer") {
		ref := relativeTo(g.base, p.str("reference"))
		if ref == relativeTo(g.base, consent.ref("patient")) {
			return false
		}
		left = left || practice || strings.HasPrefix(ref, "RelatedPerson/")
	}
	return left
}

// lastAnswer gives when the latest answer was given that decided nothing; 0: none.
func lastAnswer(r store.Reader, id string) (int64, error) {
	list, err := answersTo(r, id)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return int64(len(list))<<56 ^ list[len(list)-1].When.UnixNano(), nil
}

func references(keys []string) []any {
	var list []any
	for _, k := range keys {
		list = append(list, reference(k))
	}
	return list
}

// askOthers has a new invitation wait for those who have to agree to it beside the
// person who made it, and tells them.
func (g *Guard) askOthers(tx *engine.Tx, c Caller, patient, n node, r *fhir.Resource, performer string) (waits bool, err error) {
	n["id"] = r.ID
	j, err := g.jury(tx, relativeTo(g.base, n.ref("patient")), patient, n)
	if err != nil {
		return false, err
	}
	own := j.capacities(c, performer)
	list, _ := withAnswer(nil, own, given{Approves: true, Provision: encode(n.obj("provision")), When: tx.Now()})
	if j.question(byPerson(list)).Result() == quorum.Approved {
		return false, nil
	}
	if len(own) == 0 {
		return false, errOthers()
	}
	if err := keepAnswers(tx.Writer(), r.ID, list); err != nil {
		return false, err
	}
	for _, person := range j.people() {
		tell := noticeToAgree
		if slices.Contains(own, person) {
			tell = noticeInvited
		}
		if err := g.notify(tx, j.key, tell, person); err != nil {
			return false, err
		}
	}
	return true, nil
}
