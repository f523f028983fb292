package consent

import (
	"context"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A LinkChoice is somebody whom an account can be made to stand for.
type LinkChoice struct {
	Link
	Name      string
	Of        string // the patient whose guardian it is
	Relation  string // to that patient
	BirthDate string // of a patient
	Accounts  int    // that stand for them already
}

// LinkChoices lists, for an administrator, whom an account can be made to stand
// for: by an MRN the patient, if they may have a login, and those who may act for
// them today; by an NPI the provider.
func (g *Guard) LinkChoices(ctx context.Context, c Caller, query string) ([]LinkChoice, error) {
	e := g.entry(c, "find-accounts", "Patient")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var list []LinkChoice
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		list, err = g.linkChoices(tx, c, e, strings.TrimSpace(query))
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return list, g.auditor.write(ctx, e)
}

func (g *Guard) linkChoices(tx *engine.Tx, c Caller, e *auditEntry, query string) ([]LinkChoice, error) {
	if ValidNPI(query) {
		found, err := findAll(tx, "Practitioner", search.TokenTerm("identifier", systemNPI, query))
		if err != nil {
			return nil, err
		}
		var list []LinkChoice
		for _, v := range found {
			if list, err = g.addChoice(tx, list, LinkChoice{Link: Link{smart.Provider, v.Key.String()}}); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	if query == "" {
		return nil, nil
	}
	v, err := g.findMRN(tx, query)
	if fhir.KindOf(err) == fhir.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	card, d, err := g.visibleCard(tx, c, v.Key.String())
	if err != nil || card == nil {
		return nil, err
	}
	e.concern(d)
	return g.familyChoices(tx, *card)
}

// familyChoices lists a patient and who may act for them today.
func (g *Guard) familyChoices(tx *engine.Tx, card Card) ([]LinkChoice, error) {
	patient := card.Patient.String()
	_, n, err := live(tx, patient)
	if err != nil || n == nil {
		return nil, orNotFound(err)
	}
	var list []LinkChoice
	if g.bandOf(n, tx.Now()) != bandChild {
		if list, err = g.addChoice(tx, list, LinkChoice{Link: Link{smart.Patient, patient}, BirthDate: card.BirthDate}); err != nil {
			return nil, err
		}
	}
	guardians, err := g.guardians(tx, patient, n)
	if err != nil {
		return nil, err
	}
	for _, who := range guardians {
		if list, err = g.addChoice(tx, list, LinkChoice{Link: Link{smart.Proxy, who.key.String()}, Of: card.Name}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// addChoice completes a choice, and leaves out who is not active.
func (g *Guard) addChoice(tx *engine.Tx, list []LinkChoice, choice LinkChoice) ([]LinkChoice, error) {
	_, n, err := live(tx, choice.Person)
	if err != nil || n == nil {
		return list, err
	}
	if active, given := n["active"].(bool); given && !active {
		return list, nil
	}
	choice.Name = humanName(n.list("name"))
	for _, r := range n.list("relationship") {
		for _, coding := range r.list("coding") {
			choice.Relation = or(choice.Relation, or(r.str("text"), coding.str("code")))
		}
	}
	found, err := tx.Reader().Records(recordAccountOf, choice.Person+" ", "", MaxWaiting)
	choice.Accounts = len(found)
	return append(list, choice), err
}

// Link makes an account stand for a person, as an administrator, who says how it
// was checked that it is theirs (Unprocessable at check when it is missing). It is
// one of the people that LinkChoices gives; anybody else is Unprocessable at link.
// Nobody gives themself a role: for their own account that is Forbidden. What the
// account stands for already is a Conflict.
func (g *Guard) Link(ctx context.Context, c Caller, id string, link Link, check string) error {
	e := g.entry(c, "link", "Practitioner")
	e.Detail = id
	if err := requireAdmin(c); err != nil {
		return g.refused(ctx, e, err)
	}
	if id == c.Identity.Login {
		return g.refused(ctx, e, fhir.Errorf(fhir.Forbidden, "Another administrator has to link your own account."))
	}
	if err := checkNote("check", check); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		a, err := readAccount(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		if slices.Contains(a.Links, link) {
			return fhir.Errorf(fhir.Conflict, "The account stands for this person already.")
		}
		patient, err := g.mayBeLinked(tx, c, link)
		if err != nil {
			return err
		}
		if err := g.requireProof(tx, c); err != nil {
			return err
		}
		if err := g.tellOfLink(tx, link, patient); err != nil {
			return err
		}
		if err := a.link(tx.Writer(), link); err != nil {
			return err
		}
		if err := moveEpoch(tx.Writer(), accountEpoch(a.ID)); err != nil {
			return err
		}
		e.When, e.Returned = tx.Now(), []string{link.Person}
		if patient != "" {
			e.Patients = []string{patient}
		}
		if err := g.vouch(tx, c, a.ID, "link", link, check); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}

// mayBeLinked holds a link to those that may be chosen, and gives the patient to whom
// the person belongs.
func (g *Guard) mayBeLinked(tx *engine.Tx, c Caller, link Link) (patient string, err error) {
	unknown := refuse("link", "Choose somebody whom an account can stand for.")
	key, err := fhir.ParseKey(link.Person)
	if err != nil || key.String() != link.Person {
		return "", unknown
	}
	_, n, err := live(tx, link.Person)
	if err != nil {
		return "", err
	}
	if n == nil {
		return "", unknown
	}
	var choices []LinkChoice
	switch {
	case link.Role == smart.Provider && key.Type == "Practitioner":
		if !slices.ContainsFunc(n.list("identifier"), func(i node) bool { return i.str("system") == systemNPI }) {
			return "", unknown
		}
		choices, err = g.addChoice(tx, nil, LinkChoice{Link: link})
	case link.Role == smart.Patient && key.Type == "Patient", link.Role == smart.Proxy && key.Type == "RelatedPerson":
		if patient = link.Person; key.Type == "RelatedPerson" {
			patient = relativeTo(g.base, n.ref("patient"))
		}
		var card *Card
		if card, _, err = g.visibleCard(tx, c, patient); err == nil && card != nil {
			choices, err = g.familyChoices(tx, *card)
		}
	}
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(choices, func(choice LinkChoice) bool { return choice.Link == link }) {
		return "", unknown
	}
	return patient, nil
}

// tellOfLink tells the family of an account that comes to decide with them, so that one
// that was connected by deceit is noticed. Whether a teenager has an account is theirs
// to tell.
func (g *Guard) tellOfLink(tx *engine.Tx, link Link, patient string) error {
	if link.Role != smart.Proxy {
		return nil
	}
	_, n, err := live(tx, patient)
	if err != nil || n == nil {
		return err
	}
	family, err := g.family(tx, patient, n)
	if err != nil {
		return err
	}
	return g.notify(tx, patient, noticeLinked, family...)
}

// checkNote refuses a note of an administrator that is empty or too long.
func checkNote(field, note string) error {
	if strings.TrimSpace(note) == "" || len(note) > maxReason {
		return refuse(field, "Say in a few words how you checked it.")
	}
	return nil
}

// recordVouched keeps what administrators checked about accounts: "account time", the
// time running backwards. How it was checked is for administrators, and so neither
// in the record of a family nor in its log.
const recordVouched = "vouched"

// A Check is what an administrator checked about an account.
type Check struct {
	Action string    `json:"action"` // link, check-provider, refuse-provider
	Role   string    `json:"role"`
	Person string    `json:"person"`
	How    string    `json:"how"`
	By     string    `json:"by"`
	When   time.Time `json:"when"`
}

// vouch keeps a check in the transaction that rests on it.
func (g *Guard) vouch(tx *engine.Tx, c Caller, account, action string, link Link, how string) error {
	done := Check{action, string(link.Role), link.Person, strings.TrimSpace(how), c.Identity.Name, tx.Now()}
	return store.PutJSON(tx.Writer(), recordVouched, account+" "+latestFirst(tx.Now()), done, time.Time{})
}

// maxChecks is how many checks of an account are shown.
const maxChecks = 20

// checksOf lists the latest checks of an account.
func checksOf(r store.Reader, account string) ([]Check, error) {
	found, err := r.Records(recordVouched, account+" ", "", maxChecks)
	if err != nil {
		return nil, err
	}
	list := make([]Check, len(found))
	for i, rec := range found {
		if err := rec.DecodeJSON(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}
