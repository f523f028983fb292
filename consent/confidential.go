package consent

import (
	"slices"

	"mypatients/consent/audit"
	"mypatients/consent/label"
	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/smart"
)

// What is between a teenager and a provider carries one of the sensitivities that
// are hidden from the teenager's guardians, like anything else of that kind: a
// request that the provider made to the teenager alone, the access that came of it,
// an invitation that the teenager made so, and what is written about them. So
// guardians do not find it by any path, are not told of it, and do not answer it.

// confidential gives the label of such a resource; nil where the site hides nothing
// from guardians.
func (g *Guard) confidential() []any {
	if len(g.policy.TeenHidden) == 0 {
		return nil
	}
	code := g.policy.TeenHidden[0]
	if slices.Contains(g.policy.TeenHidden, "ADOL") {
		code = "ADOL"
	}
	return []any{map[string]any{"system": systemActCode, "code": code}}
}

// isConfidential tells whether a resource is hidden from the guardians of a
// teenager.
func (g *Guard) isConfidential(n node) bool {
	_, sens := labelsOf(n)
	hidden := label.Closure(g.policy.TeenHidden)
	return slices.ContainsFunc(sens, func(s string) bool { return slices.Contains(hidden, s) })
}

// labelConfidential labels a new request or invitation that is between a young
// patient and a provider. Of an adult all is; where guardians have a part in the
// decision there is no such thing.
func (g *Guard) labelConfidential(tx *engine.Tx, patient, n node) error {
	band := g.bandOf(patient, tx.Now())
	if band == bandAdult {
		return nil
	}
	if band == bandChild || g.policy.TeenApproval != quorum.Either || len(g.policy.TeenHidden) == 0 {
		return g.errNobodyAnswers()
	}
	n["meta"] = map[string]any{"security": g.confidential()}
	return nil
}

// errNobodyAnswers says that a request would have nobody to answer it.
func (g *Guard) errNobodyAnswers() error {
	return &fhir.Error{Kind: fhir.Unprocessable, Issues: []fhir.Issue{{Code: "business-rule",
		Text: "This patient has no portal account, so nobody can approve a request online.", Detail: fhir.Coding{System: g.rules.outcomeSystem(), Code: NoPortalAccount}}}}
}

// labelsLike gives the sensitivities of a resource, for what is written about it;
// nil when it has none.
func labelsLike(n node) map[string]any {
	var sens []any
	for _, c := range n.obj("meta").list("security") {
		if isSensitivity(c) {
			sens = append(sens, c.any())
		}
	}
	if sens == nil {
		return nil
	}
	return map[string]any{"security": sens}
}

// isVain tells whether a row of a teenager's log, which shows nothing that was
// returned, is about a provider who looked for them and found no way in. It is how
// such a thing begins, so guardians do not see it.
func (s *sighting) isVain(e *audit.Entry, patient string) bool {
	teen := slices.ContainsFunc(s.decisions, func(d *decision) bool { return d.patient == patient && d.teen })
	return teen && e.Role == smart.Provider && len(e.Bases[patient]) == 0
}
