package consent

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// A StepUp is what people of an issuer must have proven before they let somebody
// into a record: approve a request, invite, add to a care team, write a directive
// that opens more than before. To decline, stop or withdraw takes nothing.
type StepUp struct {
	ACR    []string      // one of these must be the strength of the sign-in
	Within time.Duration // how long ago that may be
}

// Unproven is the cause of a Forbidden error for a caller who has not signed in
// as strongly, or as lately, as the rule says.
type Unproven struct{ StepUp }

func (*Unproven) Error() string { return "consent: the sign-in is too weak or too old for this" }

// met reports whether a sign-in satisfies the rule.
func (s StepUp) met(g smart.Grant, now time.Time) bool {
	return slices.Contains(s.ACR, g.ACR) && now.Sub(g.AuthTime) <= s.Within
}

// StepUp gives the rule for an account; ok is false when there is none.
func (g *Guard) StepUp(a *Account) (rule StepUp, ok bool) {
	rule, ok = g.stepUps[a.Issuer]
	return rule, ok
}

// Proven reports whether a grant of an account satisfies the rule for it.
func (g *Guard) Proven(a *Account, grant smart.Grant) bool {
	rule, ok := g.StepUp(a)
	return !ok || rule.met(grant, g.now())
}

// requireProof refuses a caller on whom a rule lies that their sign-in does not
// satisfy. A backend service is nobody who could sign in.
func (g *Guard) requireProof(tx *engine.Tx, c Caller) error {
	if len(g.stepUps) == 0 || c.Identity.Login == "" {
		return nil
	}
	a, err := readAccount(tx.Reader(), c.Identity.Login)
	if err != nil {
		return err
	}
	if g.Proven(a, c.Grant) {
		return nil
	}
	return &fhir.Error{Kind: fhir.Forbidden, Cause: &Unproven{g.stepUps[a.Issuer]},
		Issues: []fhir.Issue{{Text: "This needs a sign-in that is stronger, or not as long ago."}}}
}

// proveWrite is requireProof for a write of a whole resource, which must also be
// the caller's alone to decide; after is nil for a deletion.
func (g *Guard) proveWrite(tx *engine.Tx, c Caller, t *task, after node) error {
	if t.Type != "Consent" && t.Type != "CareTeam" {
		return nil
	}
	_, before, err := live(tx, t.key.String())
	if err != nil {
		return err
	}
	if err := g.agreedWrite(tx, c, t.Type, before, after); err != nil {
		return err
	}
	switch {
	case len(g.stepUps) == 0:
		return nil
	case t.Type == "Consent":
		return g.requireProofFor(tx, c, before, after)
	case t.does != Delete:
		return g.requireProofForTeam(tx, c, before, after)
	}
	return nil
}

// requireProofFor is requireProof for a directive, before and after a write; nil
// stands for none.
func (g *Guard) requireProofFor(tx *engine.Tx, c Caller, before, after node) error {
	if permits, lifts := opens(before, after); !permits && !lifts {
		return nil
	}
	return g.requireProof(tx, c)
}

// opens tells whether a write of a directive permits something, and whether it may
// take back what denied something: exceptions turn the one into the other, so a
// provision with exceptions counts as both.
func opens(before, after node) (permits, lifts bool) {
	nested := func(n node) bool { return n.obj("provision")["provision"] != nil }
	kind := func(n node) string { return cmp.Or(rootOf(n).str("type"), "permit") }
	permits = after != nil && (kind(after) != "deny" || nested(after))
	lifts = before != nil && (kind(before) != "permit" || nested(before))
	return permits, lifts
}

// requireProofForTeam is requireProof for a care team that is written whole: it is
// needed unless all that happens is that members or the team end.
func (g *Guard) requireProofForTeam(tx *engine.Tx, c Caller, before, after node) error {
	if before != nil && g.onlyEnds(before, after) {
		return nil
	}
	return g.requireProof(tx, c)
}

func (g *Guard) onlyEnds(before, after node) bool {
	free := []string{"participant", "meta", "text", "status"}
	if !reflect.DeepEqual(without(before, free...), without(after, free...)) || after.str("status") == "active" && before.str("status") != "active" {
		return false
	}
	for _, m := range after.list("participant") {
		kept := slices.ContainsFunc(before.list("participant"), func(was node) bool {
			then, now := readPeriod(was.obj("period"), g.zone), readPeriod(m.obj("period"), g.zone)
			return reflect.DeepEqual(without(was, "period"), without(m, "period")) && !now.bad && now.start.Equal(then.start) &&
				(now.end.Equal(then.end) || !now.end.IsZero() && (then.end.IsZero() || now.end.Before(then.end)))
		})
		if !kept {
			return false
		}
	}
	return true
}
