package consent

import (
	"context"
	"slices"

	"mypatients/consent/quorum"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// AgeRules says what the age of a teenager means to them and to their guardians.
type AgeRules struct {
	From, Until int         // the ages between which it is so
	Hidden      []string    // what guardians do not see: codes of v3-ActCode, as the site names them
	Approval    quorum.Mode // who lets others into the record
	Between     bool        // the teenager can keep a request or an invitation to themself
}

// AgeRules gives the rules for a teenager to themself and to their guardians. For
// anybody else, and of anybody else, it is NotFound. They are the site's and say
// nothing of what is in the record.
func (g *Guard) AgeRules(ctx context.Context, c Caller, patientID string) (*AgeRules, error) {
	var rules *AgeRules
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		rules = nil
		patient := "Patient/" + patientID
		if _, err := g.authority(tx, c, patient); fhir.KindOf(err) == fhir.Forbidden {
			return fhir.ErrNotFound()
		} else if err != nil {
			return err
		}
		_, tree, err := live(tx, patient)
		if err != nil {
			return err
		}
		if g.bandOf(tree, tx.Now()) != bandTeen {
			return fhir.ErrNotFound()
		}
		p := g.policy
		rules = &AgeRules{From: p.TeenAge, Until: p.AdultAge, Hidden: slices.Clone(p.TeenHidden), Approval: p.TeenApproval,
			Between: p.TeenApproval == quorum.Either && len(p.TeenHidden) > 0}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, g.entry(c, "access", "Patient"), err)
	}
	return rules, nil
}
