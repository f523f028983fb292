package consent

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// A request can have several people to answer it: two guardians, a teenager and a
// guardian (see quorum). While their answers decide nothing the Consent stays as it
// is, proposed, for the provider has no part in who of a family said what. The
// answers are kept beside it, and each leaves a Provenance that the family sees.
// Each of them may change their answer until it is decided, withdrawn or lapsed.
// What is approved in the end is what all who approved it have in common.
//
// An invitation that others have to agree to waits in the same way: it stays
// draft, and its token opens nothing yet.

// recordAnswers is the kind of the records that hold the answers to a Consent, by
// its id, while they decide nothing.
const recordAnswers = "answers"

// A given answer is one person's.
type given struct {
	Person    string          `json:"p"`
	Approves  bool            `json:"a,omitempty"`
	Provision json.RawMessage `json:"v,omitempty"` // what they approve
	When      time.Time       `json:"t"`
}

// answersTo gives the answers to a Consent so far, the oldest first.
func answersTo(r store.Reader, id string) ([]given, error) {
	var list []given
	if err := store.GetJSON(r, recordAnswers, id, &list); err != nil && err != store.ErrNotFound {
		return nil, err
	}
	return list, nil
}

func keepAnswers(w store.Writer, id string, list []given) error {
	return store.PutJSON(w, recordAnswers, id, list, time.Time{})
}

// withAnswer gives the answers with those of some people replaced; changed tells
// whether anything is new.
func withAnswer(list []given, people []string, now given) (out []given, changed bool) {
	for _, old := range list {
		if !slices.Contains(people, old.Person) {
			out = append(out, old)
		}
	}
	for _, person := range people {
		now.Person = person
		same := func(old given) bool {
			return old.Person == person && old.Approves == now.Approves && bytes.Equal(old.Provision, now.Provision)
		}
		changed = changed || !slices.ContainsFunc(list, same)
		out = append(out, now)
	}
	return out, changed
}

func byPerson(list []given) map[string]quorum.Answer {
	out := map[string]quorum.Answer{}
	for _, a := range list {
		out[a.Person] = quorum.Decline
		if a.Approves {
			out[a.Person] = quorum.Approve
		}
	}
	return out
}

// A tally is what an answer led to.
type tally struct {
	result    quorum.Result
	jury      *jury
	answers   []given
	people    []string // as whom the caller answers
	changed   bool     // they have not said so before
	provision node     // approved: what is permitted
	performer []string // approved: who approved it
}

// weighAnswer adds the caller's answer to those that there are, and says what they
// come to.
func (g *Guard) weighAnswer(tx *engine.Tx, c Caller, a answer, consent, provision node) (*tally, error) {
	patient := relativeTo(g.base, consent.ref("patient"))
	performer, err := g.say(tx, c, patient)
	if err != nil {
		return nil, err
	}
	_, tree, err := live(tx, patient)
	if err != nil {
		return nil, err
	}
	v := &tally{}
	if v.jury, err = g.jury(tx, patient, tree, consent); err != nil {
		return nil, err
	}
	v.people = v.jury.capacities(c, performer)
	if v.people == nil {
		return nil, errNoSay()
	}
	before, err := answersTo(tx.Reader(), consent.str("id"))
	if err != nil {
		return nil, err
	}
	now := given{Approves: a.action == "approve", When: tx.Now()}
	if now.Approves {
		now.Provision = encode(provision)
		if err := narrower(consent.obj("provision"), provision); err != nil {
			return nil, err
		}
	}
	v.answers, v.changed = withAnswer(before, v.people, now)
	v.result = v.jury.question(byPerson(v.answers)).Result()
	if v.result == quorum.Waiting || v.result == quorum.Conflict {
		if !v.changed {
			return nil, errAnswered()
		}
		return v, nil
	}
	if v.result == quorum.Approved {
		return v, v.agree(consent.obj("provision"))
	}
	return v, nil
}

// agree puts together what those who approved have in common of what was asked.
func (v *tally) agree(asked node) error {
	agreed := asked
	for _, a := range v.answers {
		if !a.Approves || !v.jury.has(a.Person) {
			continue
		}
		if v.jury.mode == quorum.Either && a.Person != v.jury.key && v.answered(v.jury.key) {
			continue // what the patient says stands
		}
		approved, err := fhir.Tree(a.Provision)
		if err != nil {
			return err
		}
		if v.performer = append(v.performer, a.Person); len(v.performer) == 1 {
			agreed = approved
		} else if agreed, err = common(agreed, approved); err != nil {
			return err
		}
	}
	v.provision = agreed
	return nil
}

func (v *tally) answered(person string) bool {
	return slices.ContainsFunc(v.answers, func(a given) bool { return a.Person == person })
}

// common gives what two approvals of one request have in common.
func common(a, b node) (node, error) {
	nothing := refuse("Consent.provision", "What was approved before and this have nothing in common.")
	out := without(a)
	if class := b.list("class"); class != nil {
		out["class"] = b["class"]
		if a["class"] != nil {
			var both []any
			for _, c := range a.list("class") {
				if slices.ContainsFunc(class, func(other node) bool { return reflect.DeepEqual(c, other) }) {
					both = append(both, c.any())
				}
			}
			if out["class"] = both; both == nil {
				return nil, nothing
			}
		}
	}
	for _, name := range []string{"code", "data", "dataPeriod"} {
		switch {
		case a[name] == nil && b[name] != nil:
			out[name] = b[name]
		case b[name] != nil && !reflect.DeepEqual(a[name], b[name]):
			return nil, refuse("Consent.provision."+name, "Somebody else has approved another part; approve the same, or less without naming this.")
		}
	}
	if !narrowerLabels(b.list("securityLabel"), a.list("securityLabel")) {
		if !narrowerLabels(a.list("securityLabel"), b.list("securityLabel")) {
			return nil, refuse("Consent.provision.securityLabel", "Somebody else has approved other labels; approve the same, or less.")
		}
		delete(out, "securityLabel")
		if b["securityLabel"] != nil {
			out["securityLabel"] = b["securityLabel"]
		}
	}
	if period := commonPeriod(a.obj("period"), b.obj("period")); period != nil {
		out["period"] = period.any()
		if w := readPeriod(period, time.UTC); !w.end.IsZero() && !w.end.After(w.start) {
			return nil, nothing
		}
	}
	exceptions, _ := a["provision"].([]any)
	exceptions = slices.Clone(exceptions)
	for _, child := range b.list("provision") {
		if !slices.ContainsFunc(a.list("provision"), func(other node) bool { return reflect.DeepEqual(child, other) }) {
			exceptions = append(exceptions, child.any())
		}
	}
	if exceptions != nil {
		out["provision"] = exceptions
	}
	return out, nil
}

// commonPeriod gives the time that two periods share, as they were written.
func commonPeriod(a, b node) node {
	x, y := readPeriod(a, time.UTC), readPeriod(b, time.UTC)
	out := without(a)
	if y.start.After(x.start) {
		out["start"] = b["start"]
	}
	if !y.end.IsZero() && (x.end.IsZero() || y.end.Before(x.end)) {
		out["end"] = b["end"]
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// forgetAnswers drops the answers to what is decided.
func forgetAnswers(w store.Writer, id string) error {
	return w.DeleteRecord(recordAnswers, id)
}

func errAnswered() error {
	return refuse("Consent.status", "You have given this answer already. It can still be changed.")
}

func errNoSay() error { return fhir.Errorf(fhir.Forbidden, "This is for the patient or a guardian.") }
