package engine

import (
	"mypatients/fhir"
	"mypatients/fhir/profile"
)

// Validate tells all that is wrong with a body, warnings too, without storing it
// (https://hl7.org/fhir/R4/resource-operation-validate.html): what [Engine.Prepare]
// would refuse it for, and what the profile of a canonical URL asks beyond, unless
// that is empty. An error is for a body that is no resource in JSON, and for a
// profile that is not known, which is named before the body is looked at.
func (e *Engine) Validate(body []byte, canonical string) (*fhir.Document, []fhir.Issue, error) {
	checks := []fhir.Check{profile.Check}
	if canonical != "" {
		p, err := profile.Find(canonical)
		if err != nil {
			return nil, nil, err
		}
		checks = append(checks, p.Check)
	}
	return fhir.Examine(body, checks...)
}

// ValidateReferences gives an issue for each reference that a write of the body
// would be refused for under referential integrity; none when that is off.
func (tx *Tx) ValidateReferences(doc *fhir.Document) ([]fhir.Issue, error) {
	if !tx.engine.integrity {
		return nil, nil
	}
	return tx.dangling(fhir.Key{Type: doc.Type, ID: doc.ID}, doc.Mentions)
}

// ValidateDelete gives an issue when the deletion of a resource would be refused
// under referential integrity.
func (tx *Tx) ValidateDelete(key fhir.Key) ([]fhir.Issue, error) {
	if !tx.engine.integrity {
		return nil, nil
	}
	referred, err := tx.isReferred(key)
	if err != nil || !referred {
		return nil, err
	}
	return []fhir.Issue{{Code: "conflict", Expression: string(key.Type), Text: "Other resources refer to this one."}}, nil
}
