package consent

import (
	"context"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// The limits that an AccessReport names: codes of the code system access-limit.
const (
	limitTypes     = "some-types"         // only some kinds of information
	limitLevel     = "not-restricted"     // nothing above normal confidentiality
	limitTeen      = "sensitive"          // not everything that is sensitive
	limitRestrict  = "family-restriction" // less what the family has excluded
	limitNonClinic = "no-clinical"        // nothing clinical
)

// What a caller without access can do: codes of the code system access-next.
const (
	nextRequest = "request-access"
	nextLater   = "request-later"
	nextWait    = "await-answer"
	nextToken   = "redeem-invitation"
	nextTeam    = "ask-for-care-team"
)

// Access tells whether the caller may see a patient's record, on which bases and
// with which limits, and if not, what they can do. About a patient who does not
// exist it says the same as about one whom the caller may not see.
func (g *Guard) Access(ctx context.Context, c Caller, patientID string) (*AccessReport, error) {
	e := g.entry(c, "access", "Patient")
	if err := g.requireScope(c, "Patient", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	patient := "Patient/" + patientID
	report := &AccessReport{}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		*report = AccessReport{}
		d, err := g.decisionFor(tx, c, patient, smart.MayRead)
		if err != nil {
			return err
		}
		if d.permitted() {
			e.concern(d)
			report.Permitted, report.Limits, report.Until = true, d.limits(), lastEnd(d.bases)
			report.Bases, err = g.sourced(tx, c, patient, d.bases)
			return err
		}
		report.Next, report.From, err = g.nextSteps(tx, c, patient)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return report, g.auditor.write(ctx, e)
}

// nextSteps is the same whether the patient exists or not, but for a request of
// the caller's own; from is when they can ask again after a decline.
func (g *Guard) nextSteps(tx *engine.Tx, c Caller, patient string) (next []string, from time.Time, err error) {
	if c.Identity.Role != smart.Provider {
		return nil, from, nil
	}
	open, err := g.openRequest(tx, patient, c.Identity.FHIRUser)
	if err != nil {
		return nil, from, err
	}
	if open != nil {
		return []string{nextWait, nextToken, nextTeam}, from, nil
	}
	if from, err = g.requestFrom(tx, patient, c.Identity.FHIRUser); err != nil {
		return nil, from, err
	}
	first := nextRequest
	if !from.IsZero() {
		first = nextLater
	}
	return []string{first, nextToken, nextTeam}, from, nil
}

// limits names what the decision leaves out, by asking it about clinical types. A
// guardian is told of what their age band leaves them alone: what consents deny
// them besides is a court order, which is hidden from them.
func (d *decision) limits() []string {
	var out []string
	add := func(s string) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	clinical := []fhir.Type{"Condition", "Observation", "MedicationRequest", "Encounter", "DocumentReference", "Immunization", "AllergyIntolerance", "Procedure", "DiagnosticReport"}
	open := 0
	for _, t := range clinical {
		e := d.granted(t)
		if !d.asker.family {
			e = d.expr(t)
		}
		if !isNone(e) {
			open++
		}
		if mentions(e, termLevel) {
			add(limitLevel)
		}
		if mentions(e, termSens) {
			add(limitTeen)
		}
	}
	switch {
	case open == 0:
		add(limitNonClinic)
	case open < len(clinical):
		add(limitTypes)
	}
	if !d.asker.family && d.restricted() {
		add(limitRestrict)
	}
	return out
}

// mentions reports whether a condition looks at a name.
func mentions(e store.Expr, name string) bool {
	switch e := e.(type) {
	case store.And:
		for _, p := range e {
			if mentions(p, name) {
				return true
			}
		}
	case store.Or:
		for _, p := range e {
			if mentions(p, name) {
				return true
			}
		}
	case store.Not:
		return mentions(e.Expr, name)
	case store.Range:
		return e.Name == name
	case store.In:
		return e.Name == name
	}
	return false
}
