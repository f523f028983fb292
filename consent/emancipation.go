package consent

import (
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A minor whom a court or the law has made independent is treated as an adult.
// That is said by an extension of the Patient, with the document that it rests on
// and the date; it is never inferred. Staff set it. It is never dropped, so that no
// update by somebody who does not know it gives guardians back what they lost: an
// administrator marks one that was a mistake as withdrawn.
const extensionEmancipation = "emancipation"

// emancipation gives the moment from which a patient is emancipated; zero: they
// are not.
func (r *Rules) emancipation(patient node) time.Time {
	ext := patient.extension(r.extension(extensionEmancipation))
	if withdrawn, _ := ext.extension("withdrawn")["valueBoolean"].(bool); ext == nil || withdrawn {
		return time.Time{}
	}
	from, _, ok := dateSpan(ext.extension("date").str("valueDate"), r.zone)
	if _, known := r.emancipationDocument(ext); !ok || !known {
		return time.Time{}
	}
	return from
}

func (r *Rules) isEmancipated(patient node, at time.Time) bool {
	from := r.emancipation(patient)
	return !from.IsZero() && !at.Before(from)
}

func (r *Rules) emancipationDocument(ext node) (fhir.Key, bool) {
	key, err := fhir.ParseKey(relativeTo(r.base, ext.extension("document").ref("valueReference")))
	return key, err == nil && key.Type == "DocumentReference"
}

// checkPatient holds what is true of every Patient, whoever writes it.
func (r *Rules) checkPatient(tx *engine.Tx, before, after *store.Version) error {
	if after.Deleted {
		return nil
	}
	old, err := r.emancipationBefore(tx, before)
	if err != nil {
		return err
	}
	tree, err := fhir.Tree(after.Body)
	if err != nil {
		return err
	}
	var said []node
	for _, e := range node(tree).list("extension") {
		if e.str("url") == r.extension(extensionEmancipation) {
			said = append(said, e)
		}
	}
	switch {
	case len(said) == 0 && old != nil:
		return refuse("Patient.extension", "That a patient is emancipated is never dropped; an administrator can mark it as withdrawn.")
	case len(said) == 0:
		return nil
	case len(said) > 1:
		return refuse("Patient.extension", "A patient is emancipated once.")
	}
	date := said[0].extension("date").str("valueDate")
	if _, _, ok := dateSpan(date, r.zone); !ok || len(date) != len(time.DateOnly) {
		return refuse("Patient.extension", "Say from which day on the patient is emancipated: extension date, a full valueDate.")
	}
	if _, ok := r.emancipationDocument(said[0]); !ok {
		return refuse("Patient.extension", "Name the document that the emancipation rests on: extension document, a valueReference to a DocumentReference.")
	}
	return nil
}

// emancipationBefore gives what was said, also of a patient who was deleted in
// between.
func (r *Rules) emancipationBefore(tx *engine.Tx, before *store.Version) (node, error) {
	if before == nil {
		return nil, nil
	}
	if before.Deleted {
		var err error
		if before, err = tx.Reader().ResourceVersion(before.Key, before.Version-1); err != nil {
			return nil, err
		}
	}
	tree, err := fhir.Tree(before.Body)
	return node(tree).extension(r.extension(extensionEmancipation)), err
}

// checkEmancipation lets only staff and administrators say that a patient is
// emancipated, only with a document of the patient's own record, and only
// administrators change what was said.
func (g *Guard) checkEmancipation(tx *engine.Tx, c Caller, key fhir.Key, after node) error {
	url := g.rules.extension(extensionEmancipation)
	_, before, err := live(tx, key.String())
	if err != nil {
		return err
	}
	was, now := before.extension(url), after.extension(url)
	if now == nil || slices.Equal(encode(was), encode(now)) {
		return nil
	}
	if c.Identity.Role != smart.Admin && (c.Identity.Role != smart.Staff || was != nil) {
		return fhir.Errorf(fhir.Forbidden, "That a patient is emancipated is for staff to say, and for administrators to change.")
	}
	if err := g.notOfOneself(tx, c, key.String()); err != nil { // it takes a record from guardians, or gives it back
		return err
	}
	document, _ := g.rules.emancipationDocument(now)
	v, _, err := live(tx, document.String())
	if err != nil {
		return err
	}
	if v != nil {
		for owner := range v.Terms.Values(store.Owner) {
			if string(owner) == key.String() {
				return nil
			}
		}
	}
	return refuse("Patient.extension", "The emancipation must rest on a document in this patient's record.")
}
