package consent

import (
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// tellFamily sends a notice about one of the patient's Consents to those of the
// family who may know of it. It is the one place that says who they are.
func (g *Guard) tellFamily(tx *engine.Tx, n notice, patient, about string) error {
	to, err := g.familyFor(tx, patient, about)
	if err != nil {
		return err
	}
	return g.notify(tx, patient, n, to...)
}

// familyFor lists the family with a login who may see a Consent, by the same
// decision as for reading it; of an open request those who can answer it. A guardian hears nothing of what a
// teenager keeps to themself, nor of what is kept from the guardian.
func (g *Guard) familyFor(tx *engine.Tx, patient, about string) ([]string, error) {
	v, tree, err := live(tx, patient)
	if err != nil || v == nil {
		return nil, err
	}
	consent, n, err := live(tx, about)
	if err != nil || consent == nil {
		return nil, err
	}
	var deciders []string
	if n.str("status") == "proposed" {
		deciders, err = g.approvers(tx, v, n)
	} else {
		deciders, err = g.family(tx, patient, tree)
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for _, person := range deciders {
		c := Caller{Grant: Portal(personIdentity(person), "")}
		s, err := g.look(tx, c, "Consent", smart.MayRead, []string{patient})
		if err != nil {
			return nil, err
		}
		knows, err := store.Eval(tx.Reader(), consent, s.sight("Consent"))
		if err != nil {
			return nil, err
		}
		if knows {
			list = append(list, person)
		}
	}
	return list, nil
}

// personIdentity is a member of a family as they act for this patient alone.
func personIdentity(person string) smart.Identity {
	id := smart.Identity{Role: smart.Proxy, FHIRUser: person, Persons: []string{person}}
	if strings.HasPrefix(person, "Patient/") {
		id.Role = smart.Patient
	}
	return id
}

// NotifyBreakGlass tells the family and the privacy address, if there is one, that
// a record was opened under the emergency rule, in the transaction that opens it.
// Nobody can switch these off.
func (g *Guard) NotifyBreakGlass(tx *engine.Tx, patient fhir.Key) error {
	v, tree, err := live(tx, patient.String())
	if err != nil || v == nil {
		return orNotFound(err)
	}
	family, err := g.family(tx, patient.String(), tree)
	if err != nil {
		return err
	}
	if err := g.notify(tx, patient.String(), noticeBreakGlass, family...); err != nil || g.privacyEmail == "" {
		return err
	}
	c := g.communication(patient.String(), noticePrivacy, "")
	c["contained"] = []any{map[string]any{"resourceType": "Organization", "id": "privacy", "name": "Privacy office",
		"telecom": []any{map[string]any{"system": "email", "value": g.privacyEmail}}}}
	c["recipient"] = []any{reference("#privacy")}
	_, err = g.put(tx, c, "")
	return err
}
