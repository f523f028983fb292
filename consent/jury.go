package consent

import (
	"slices"
	"strings"
	"time"

	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A jury is who can answer a question about a patient's record today: people with
// a login who may decide, as far as they may know of the question and did not ask
// it themselves.
type jury struct {
	key        string // of the patient
	mode       quorum.Mode
	all        bool
	guardians  []guardian
	hasPatient bool
}

// jury finds who can answer a consent about a patient: the request or invitation
// as it is or will be, or nil for what opens a record otherwise.
func (g *Guard) jury(tx *engine.Tx, key string, patient, consent node) (*jury, error) {
	j := &jury{key: key, mode: quorum.Guardian, all: g.policy.AllGuardians}
	band := g.bandOf(patient, tx.Now())
	confidential := g.isConfidential(consent)
	switch {
	case band == bandAdult:
		j.mode = quorum.Patient
	case band == bandTeen && confidential && g.policy.TeenApproval == quorum.Either:
		j.mode = quorum.Patient // between them and the provider alone
	case band == bandTeen:
		j.mode = g.policy.TeenApproval
	}
	provider := ""
	if g.rules.kindOf(consent) == kindRequest {
		provider = g.providerOf(consent)
	}
	asking, err := g.personsOf(tx, provider)
	if err != nil {
		return nil, err
	}
	answers := func(person string) (bool, error) {
		has, err := hasLogin(tx.Reader(), person)
		if err != nil || !has {
			return false, err
		}
		asks, err := standsForAny(tx.Reader(), person, asking)
		return !asks, err
	}
	if j.mode != quorum.Guardian && g.hasOwnSay(patient, tx.Now()) {
		if j.hasPatient, err = answers(key); err != nil {
			return nil, err
		}
	}
	if j.mode == quorum.Patient || band == bandTeen && confidential {
		return j, nil
	}
	guardians, err := g.guardians(tx, key, patient)
	if err != nil {
		return nil, err
	}
	for _, related := range guardians {
		if can, err := answers(related.key.String()); err != nil {
			return nil, err
		} else if can {
			j.guardians = append(j.guardians, related)
		}
	}
	return j, nil
}

// people lists who can answer; nobody, when they are not enough to approve.
func (j *jury) people() []string {
	if !j.question(nil).Answerable() {
		return nil
	}
	var list []string
	if j.hasPatient {
		list = append(list, j.key)
	}
	for _, related := range j.guardians {
		list = append(list, related.key.String())
	}
	return list
}

func (j *jury) has(person string) bool { return slices.Contains(j.people(), person) }

// capacities gives as whom of a jury a caller answers: one person may be entered
// twice, and says the same both times.
func (j *jury) capacities(c Caller, performer string) []string {
	if !j.has(performer) {
		return nil
	}
	people := []string{performer}
	for _, p := range c.Identity.Persons {
		if p != performer && j.has(p) {
			people = append(people, p)
		}
	}
	return people
}

// question puts answers together, by person; those of others do not count.
func (j *jury) question(answers map[string]quorum.Answer) quorum.Question {
	q := quorum.Question{Mode: j.mode, All: j.all, HasPatient: j.hasPatient, Patient: answers[j.key]}
	for _, related := range j.guardians {
		q.Guardians = append(q.Guardians, answers[related.key.String()])
	}
	return q
}

// say gives the person as whom a caller decides for a patient, as authority does;
// Forbidden also for a young patient where guardians alone decide.
func (g *Guard) say(tx *engine.Tx, c Caller, patient string) (performer string, err error) {
	performer, err = g.authority(tx, c, patient)
	if err != nil || performer != patient || g.policy.TeenApproval != quorum.Guardian {
		return performer, err
	}
	_, tree, err := live(tx, patient)
	if err != nil {
		return "", err
	}
	if g.bandOf(tree, tx.Now()) == bandTeen {
		return "", fhir.Errorf(fhir.Forbidden, "Here a parent or guardian decides about the record of a patient of this age.")
	}
	return performer, nil
}

// sayAlone is say for what opens the record at once: it is Forbidden where several
// people have to agree.
func (g *Guard) sayAlone(tx *engine.Tx, c Caller, patient string) (performer string, err error) {
	performer, err = g.say(tx, c, patient)
	if err != nil {
		return "", err
	}
	enough, err := g.isEnough(tx, patient, performer)
	if err == nil && !enough {
		err = errOthers()
	}
	return performer, err
}

func errOthers() error {
	return fhir.Errorf(fhir.Forbidden, "Others have to agree to this. They can where a provider requests access, or is invited.")
}

// isEnough tells whether what one person approves is approved.
func (g *Guard) isEnough(tx *engine.Tx, patient, performer string) (bool, error) {
	_, tree, err := live(tx, patient)
	if err != nil || tree == nil {
		return false, err
	}
	j, err := g.jury(tx, patient, tree, nil)
	if err != nil {
		return false, err
	}
	return j.question(map[string]quorum.Answer{performer: quorum.Approve}).Result() == quorum.Approved, nil
}

// family lists who has a login and stands for a patient today, whether they decide
// or not: the patient and the guardians.
func (g *Guard) family(tx *engine.Tx, key string, patient node) ([]string, error) {
	var list []string
	add := func(person string) error {
		has, err := hasLogin(tx.Reader(), person)
		if has {
			list = append(list, person)
		}
		return err
	}
	if g.hasOwnSay(patient, tx.Now()) {
		if err := add(key); err != nil {
			return nil, err
		}
	}
	guardians, err := g.guardians(tx, key, patient)
	if err != nil {
		return nil, err
	}
	for _, related := range guardians {
		if err := add(related.key.String()); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// approvers lists who can answer a question about a patient; nobody, when they are
// not enough to approve anything.
func (g *Guard) approvers(tx *engine.Tx, patient *store.Version, consent node) ([]string, error) {
	tree, err := fhir.Tree(patient.Body)
	if err != nil {
		return nil, err
	}
	j, err := g.jury(tx, patient.Key.String(), tree, consent)
	if err != nil {
		return nil, err
	}
	return j.people(), nil
}

// A guardian is a RelatedPerson who may act for a patient today, and until when.
type guardian struct {
	key   fhir.Key
	name  string
	until time.Time
}

// guardians lists who may act for a patient today: nobody once the patient is of
// age, and nobody whom a directive bars.
func (g *Guard) guardians(tx *engine.Tx, key string, patient node) ([]guardian, error) {
	if g.bandOf(patient, tx.Now()) == bandAdult || g.policy.off(BasisProxy) {
		return nil, nil
	}
	adult, _ := g.majority(patient)
	related, err := findAll(tx, "RelatedPerson", ownedBy(key))
	if err != nil {
		return nil, err
	}
	var list []guardian
	for _, v := range related {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return nil, err
		}
		n := node(tree)
		end, ok := g.mayActFor(n, key, tx.Now())
		if !ok {
			continue
		}
		barred, err := g.isBarred(tx, key, v.Key.String())
		if err != nil {
			return nil, err
		}
		if !barred {
			list = append(list, guardian{fhir.Key{Type: "RelatedPerson", ID: v.ID}, humanName(n.list("name")), earliest(adult, time.Time{}, end)})
		}
	}
	return list, nil
}

// isBarred reports whether a directive of the patient that holds now denies a
// person by name, whatever it denies them: a guardian under a custody order has no
// say and hears of nothing.
func (g *Guard) isBarred(tx *engine.Tx, patient, person string) (bool, error) {
	found, err := findAll(tx, "Consent", store.And{
		ownedBy(patient), search.TokenTerm("status", "", "active"), store.Equal{Name: termDenies, Value: person},
	})
	if err != nil {
		return false, err
	}
	for _, v := range found {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return false, err
		}
		if w := readPeriod(node(tree).obj("provision").obj("period"), g.zone); w.bad || w.holds(tx.Now()) {
			return true, nil
		}
	}
	return false, nil
}

// personsOf lists everybody who is the same human as a person, as far as is known:
// whoever one of their logins stands for, and whom a Person links with them.
func (g *Guard) personsOf(tx *engine.Tx, person string) (map[string]bool, error) {
	all := map[string]bool{}
	key, err := fhir.ParseKey(person)
	if err != nil {
		return all, nil
	}
	all[person] = true
	for _, account := range accountsOf(tx.Reader(), person, &err) {
		for _, l := range account.Links {
			all[l.Person] = true
		}
	}
	if err != nil {
		return nil, err
	}
	found, err := findAll(tx, "Person", search.ReferenceTerm("link", key))
	if err != nil {
		return nil, err
	}
	for _, v := range found {
		tree, err := fhir.Tree(v.Body)
		if err != nil {
			return nil, err
		}
		for _, l := range node(tree).list("link") {
			if ref := relativeTo(g.base, l.ref("target")); ref != "" {
				all[ref] = true
			}
		}
	}
	return all, nil
}

// accountsOf gives the accounts that stand for a person.
func accountsOf(r store.Reader, person string, failed *error) []*Account {
	found, err := r.Records(recordAccountOf, person+" ", "", maxLogins)
	if err != nil {
		*failed = err
		return nil
	}
	var list []*Account
	for _, rec := range found {
		a, err := readAccount(r, strings.TrimPrefix(rec.Key, person+" "))
		if err != nil && err != store.ErrNotFound {
			*failed = err
			return nil
		}
		if err == nil {
			list = append(list, a)
		}
	}
	return list
}

// standsForAny tells whether a login of a person stands for one of several.
func standsForAny(r store.Reader, person string, persons map[string]bool) (any bool, err error) {
	if len(persons) == 0 {
		return false, nil
	}
	for _, a := range accountsOf(r, person, &err) {
		any = any || slices.ContainsFunc(a.Links, func(l Link) bool { return persons[l.Person] })
	}
	return any, err
}
