package consent

import (
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A custody order is a directive that denies a guardian something by name. They do
// not see it, nor what is only there because of it; they have no say and hear of
// nothing (jury), and nobody of the family takes it back (checkDirective).

// aboutConsents are the search parameters by which resources refer to a Consent.
var aboutConsents = map[fhir.Type]string{"Provenance": "target", "Task": "focus", "List": "item", "DocumentReference": "related"}

// notAboutOrders leaves out what is about a directive that denies the caller
// something by name, and the document that it rests on.
func (s *sighting) notAboutOrders(t fhir.Type) []store.Expr {
	if !s.person.is(smart.Proxy) {
		return nil
	}
	order := store.In{Name: termDenies, Values: s.selves()}
	var all []store.Expr
	if param, ok := aboutConsents[t]; ok {
		all = append(all, store.Not{Expr: store.Ref{Name: referenceTerm(param), Type: "Consent", Where: order}})
	}
	if t == "DocumentReference" {
		all = append(all, store.Not{Expr: store.Back{Type: "Consent", Name: referenceTerm("source-reference"), Where: order}})
	}
	return all
}

// referenceTerm gives the name of the terms of a reference parameter.
func referenceTerm(param string) string {
	return search.ReferenceTerm(param, fhir.Key{Type: "Consent", ID: "x"}).Name
}

func isFamily(c Caller) bool {
	return c.Identity.Role == smart.Patient || c.Identity.Role == smart.Proxy
}

// agreedWrite holds what patients and guardians write whole to what is theirs to
// decide, by themselves where it opens something: directives, and care teams.
// after is nil for a deletion.
func (g *Guard) agreedWrite(tx *engine.Tx, c Caller, t fhir.Type, before, after node) error {
	if !isFamily(c) {
		return nil
	}
	name, whole := "subject", after
	if t == "Consent" {
		name = "patient"
	}
	if after == nil {
		whole = before
	}
	patient := relativeTo(g.base, whole.ref(name))
	if was := relativeTo(g.base, before.ref(name)); before != nil && was != patient {
		if _, err := g.say(tx, c, was); err != nil {
			return err
		}
	}
	say := g.say
	if t == "Consent" {
		permits, lifts := opens(before, after)
		if permits || lifts && !g.isGivenBy(tx, c, patient, before) {
			say = g.sayAlone
		}
	} else if after != nil && (before == nil || !g.onlyEnds(before, after)) {
		say = g.sayAlone
	}
	_, err := say(tx, c, patient)
	return err
}

// isGivenBy tells whether a caller alone gave a directive.
func (g *Guard) isGivenBy(tx *engine.Tx, c Caller, patient string, directive node) bool {
	performer, err := g.authority(tx, c, patient)
	if err != nil {
		return false
	}
	for _, p := range directive.list("performer") {
		if relativeTo(g.base, p.str("reference")) != performer {
			return false
		}
	}
	return len(directive.list("performer")) > 0
}
