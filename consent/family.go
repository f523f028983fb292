package consent

import (
	"time"

	"mypatients/consent/quorum"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// showFamily fills in what a family sees of an access request, and a provider does
// not: who has answered what while it waits, and whether the caller can answer.
func (g *Guard) showFamily(tx *engine.Tx, c Caller, n node, view *RequestView) error {
	patient := relativeTo(g.base, n.ref("patient"))
	_, tree, err := live(tx, patient)
	if err != nil || tree == nil {
		return err
	}
	if view.State == StateApproved && g.isLeftOver(n, tree, tx.Now()) {
		if view.LeftOver = g.policy.KeepGuardianGrants; !view.LeftOver {
			view.State = StateEnded
		}
	}
	if !isFamily(c) || view.State != StateWaiting {
		return nil
	}
	j, err := g.jury(tx, patient, tree, n)
	if err != nil {
		return err
	}
	answers, err := answersTo(tx.Reader(), view.ID)
	if err != nil {
		return err
	}
	view.Conflict = j.question(byPerson(answers)).Result() == quorum.Conflict
	view.Answers, err = g.showAnswers(tx, c, j, tree, answers)
	for _, a := range view.Answers {
		if a.Self {
			view.May, view.Mine = true, a.Answer
		}
	}
	if len(view.Answers) == 1 {
		view.Answers = nil
	}
	return err
}

// showAgreement fills in who has to agree to an invitation, while somebody has.
func (g *Guard) showAgreement(tx *engine.Tx, c Caller, n node, view *InvitationView) error {
	answers, err := answersTo(tx.Reader(), view.ID)
	if err != nil || answers == nil || !isFamily(c) {
		return err
	}
	patient := relativeTo(g.base, n.ref("patient"))
	_, tree, err := live(tx, patient)
	if err != nil || tree == nil {
		return err
	}
	j, err := g.jury(tx, patient, tree, n)
	if err != nil || j.question(byPerson(answers)).Result() == quorum.Approved {
		return err
	}
	view.Answers, err = g.showAnswers(tx, c, j, tree, answers)
	for _, a := range view.Answers {
		view.May = view.May || a.Self && a.Answer == ""
	}
	return err
}

// showAnswers lists those who can answer with what they have said. Of a guardian
// whose entry the caller may not see no name is told.
func (g *Guard) showAnswers(tx *engine.Tx, c Caller, j *jury, patient node, answers []given) ([]AnswerView, error) {
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return nil, err
	}
	d, err := g.cachedDecision(tx, c, p, j.key)
	if err != nil {
		return nil, err
	}
	performer, err := g.authority(tx, c, j.key)
	if err != nil {
		return nil, nil // it is not for them to answer
	}
	own := j.capacities(c, performer)
	var list []AnswerView
	for _, person := range j.people() {
		row := AnswerView{Patient: person == j.key, Name: humanName(patient.list("name"))}
		for _, o := range own {
			row.Self = row.Self || o == person
		}
		if !row.Patient {
			v, related, err := live(tx, person)
			if err != nil || v == nil {
				return nil, err
			}
			open, err := store.Eval(tx.Reader(), v, d.expr("RelatedPerson"))
			if err != nil {
				return nil, err
			}
			if row.Name = ""; open {
				row.Name = humanName(related.list("name"))
			}
		}
		row.Answer, row.When = saidBy(answers, person)
		list = append(list, row)
	}
	return list, nil
}

func saidBy(answers []given, person string) (answer string, when time.Time) {
	for _, a := range answers {
		if a.Person == person && a.Approves {
			return approve.action, a.When
		}
		if a.Person == person {
			return decline.action, a.When
		}
	}
	return "", time.Time{}
}
