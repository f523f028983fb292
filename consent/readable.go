package consent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A consent can be evaluated when all it says is said in words that are known here
// (provision.go says what they mean). One that cannot is refused when somebody
// writes it, with the element named. Imported data is not refused, or a deny would be
// lost: it is stored and fails closed, as does one whose actors went away later, and
// is reported.

// isModified tells whether an element has a modifier, of which none is known here
// (https://hl7.org/fhir/R4/extensibility.html#modifierExtension). Of a Consent it
// tells that of the elements that are about the whole of it, too.
func isModified(n node) bool {
	if n["modifierExtension"] != nil || n["implicitRules"] != nil {
		return true
	}
	if n.str("resourceType") != "Consent" {
		return false
	}
	return slices.ContainsFunc(append(n.list("policy"), n.list("verification")...), isModified)
}

// isPrivacy tells whether a consent is about privacy for sure.
func isPrivacy(consent node) bool {
	return consent.obj("scope").hasCoding(systemConsentScope, "patient-privacy")
}

// isOtherScope tells whether a consent is about something else for sure: treatment,
// research.
func isOtherScope(consent node) bool {
	return !isPrivacy(consent) && slices.ContainsFunc(consent.obj("scope").list("coding"), func(c node) bool {
		return c.str("system") == systemConsentScope && slices.Contains([]string{"adr", "research", "treatment"}, c.str("code"))
	})
}

// isSensitivity tells whether a label is a sensitivity.
func isSensitivity(c node) bool {
	return c.str("system") == systemActCode && c.str("code") != "" && !label.IsCaveat(c.str("code"))
}

// faultOf names the first element of a consent that cannot be evaluated, and says
// why; empty when all can. Whether actors exist is not looked at.
func (r *Rules) faultOf(consent node) (element, why string) {
	if isOtherScope(consent) {
		return "", ""
	}
	const modified = "Nobody here knows what this changes."
	if key, err := fhir.ParseKey(relativeTo(r.base, consent.ref("patient"))); err != nil || key.Type != "Patient" {
		return "Consent.patient", "Name a patient of this server, by a literal reference."
	}
	switch {
	case consent["modifierExtension"] != nil:
		return "Consent.modifierExtension", modified
	case consent["implicitRules"] != nil:
		return "Consent.implicitRules", modified
	case !isPrivacy(consent):
		return "Consent.scope", "What the consent is about is said by a code of consentscope, like patient-privacy."
	}
	for _, name := range []string{"policy", "verification"} {
		for i, n := range consent.list(name) {
			if isModified(n) {
				return fmt.Sprintf("Consent.%s[%d].modifierExtension", name, i), modified
			}
		}
	}
	if consent.obj("provision") == nil {
		return "", ""
	}
	return r.faultIn(consent.obj("provision"), "Consent.provision", 1)
}

// faultIn is faultOf for a provision at a path.
func (r *Rules) faultIn(p node, at string, depth int) (element, why string) {
	const modified = "Nobody here knows what this changes."
	kind := p.str("type")
	switch {
	case depth > maxDepth:
		return at, fmt.Sprintf("Provisions may nest at most %d deep.", maxDepth)
	case p["modifierExtension"] != nil:
		return at + ".modifierExtension", modified
	case kind != "permit" && kind != "deny" && (p["type"] != nil || depth > 1):
		return at + ".type", "A provision in another permits or denies."
	case readPeriod(p.obj("period"), time.UTC).bad:
		return at + ".period", "The period cannot be read."
	case readPeriod(p.obj("dataPeriod"), time.UTC).bad:
		return at + ".dataPeriod", "The period cannot be read."
	}
	for _, d := range r.dimensions() {
		for i, n := range p.list(d.name) {
			if isModified(n) {
				return fmt.Sprintf("%s.%s[%d].modifierExtension", at, d.name, i), modified
			}
			if inside := d.fault(n); inside != "" {
				return fmt.Sprintf("%s.%s[%d]%s", at, d.name, i, inside), d.why
			}
		}
	}
	for i, child := range p.list("provision") {
		if element, why = r.faultIn(child, fmt.Sprintf("%s.provision[%d]", at, i), depth+1); element != "" {
			return element, why
		}
	}
	return "", ""
}

// A dimension is a list in a provision. fault gives the path inside one of it that
// cannot be evaluated: "." for itself, empty for none.
type dimension struct {
	name, why string
	fault     func(n node) string
}

func (r *Rules) dimensions() []dimension {
	named := func(inside string, ok bool) string {
		if ok {
			return ""
		}
		return inside
	}
	literal := func(n node) bool {
		_, err := fhir.ParseKey(relativeTo(r.base, n.ref("reference")))
		return err == nil
	}
	return []dimension{
		{"actor", "An actor is a recipient (IRCP of v3-ParticipationType) whom a literal reference names.", func(n node) string {
			return cmp.Or(named(".role", knownRole(n.obj("role"))), named(".reference", literal(n)))
		}},
		{"action", "An action is a code of consentaction.", func(n node) string {
			known := []string{"access", "collect", "correct", "disclose", "use"}
			return named(".coding", len(n.list("coding")) > 0 && !slices.ContainsFunc(n.list("coding"), func(c node) bool {
				return c.str("system") != systemConsentAction || !slices.Contains(known, c.str("code"))
			}))
		}},
		{"purpose", "A purpose is a code of v3-ActReason below PurposeOfUse.", func(n node) string {
			_, known := label.Purpose(n.str("code"))
			return named(".code", known && n.str("system") == systemActReason)
		}},
		{"class", "A class is a type of resources.", func(n node) string { return named(".code", isClass(n)) }},
		{"code", "What data is about is said by codes with their systems.", func(n node) string {
			return named(".coding", len(n.list("coding")) > 0 && !slices.ContainsFunc(n.list("coding"), func(c node) bool {
				return c.str("system") == "" || c.str("code") == ""
			}))
		}},
		{"data", "Data is named by itself (instance), by a literal reference.", func(n node) string {
			return cmp.Or(named(".meaning", n.str("meaning") == "instance"), named(".reference", literal(n)))
		}},
		{"securityLabel", "A label is a confidentiality, or a sensitivity of v3-ActCode.", func(n node) string {
			_, known := levelOf(n.str("code"))
			return named(".code", n.str("system") == systemConfidentiality && known || isSensitivity(n))
		}},
	}
}

// missingActor names the first actor of a provision for whom exists is false.
func (r *Rules) missingActor(p node, at string, exists func(ref string) bool) string {
	for i, a := range p.list("actor") {
		if !exists(relativeTo(r.base, a.ref("reference"))) {
			return fmt.Sprintf("%s.actor[%d].reference", at, i)
		}
	}
	for i, child := range p.list("provision") {
		if element := r.missingActor(child, fmt.Sprintf("%s.provision[%d]", at, i), exists); element != "" {
			return element
		}
	}
	return ""
}

// checkReadable refuses a consent in force, or on its way there, that cannot be
// evaluated. What is over may be anything, so that a bad one can be ended.
func (g *Guard) checkReadable(tx *engine.Tx, n node) error {
	if !slices.Contains([]string{"active", "draft", "proposed"}, n.str("status")) || isOtherScope(n) {
		return nil
	}
	if element, why := g.rules.faultOf(n); element != "" {
		return refuse(element, "%s", why)
	}
	element := g.rules.missingActor(n.obj("provision"), "Consent.provision", func(ref string) bool { return exists(tx, ref) || isComing(tx, ref) })
	if element != "" {
		return refuse(element, "Name somebody who is known here, by a literal reference.")
	}
	return nil
}

// An UnreadableConsent is one in force that cannot be evaluated.
type UnreadableConsent struct {
	Consent fhir.Key
	Element string // the first at fault: "Consent.provision.actor[0].reference"
}

// faults are the consents at fault that decisions met.
type faults struct {
	tell func(UnreadableConsent)
	mu   sync.Mutex
	seen map[fhir.Key]UnreadableConsent
}

// maxFaults is how many are kept in mind.
const maxFaults = 1000

// reportFault reports a consent that a decision met, if it is at fault; known are
// the actors that exist.
func (g *Guard) reportFault(key store.Key, n node, known map[string]bool) {
	element, _ := g.rules.faultOf(n)
	if element == "" {
		element = g.rules.missingActor(n.obj("provision"), "Consent.provision", func(ref string) bool { return known[ref] })
	}
	id := fhir.Key{Type: fhir.Type(key.Type), ID: key.ID}
	f := &g.faults
	f.mu.Lock()
	before, met := f.seen[id]
	now := UnreadableConsent{id, element}
	tell := false
	switch {
	case element == "":
		delete(f.seen, id)
	case !met && len(f.seen) < maxFaults || met && before != now:
		f.seen[id], tell = now, true
	}
	f.mu.Unlock()
	if tell && f.tell != nil {
		f.tell(now)
	}
}

// UnreadableConsents lists consents in force that cannot be evaluated, at most so
// many: those that say what nobody here understands, and those whose actors do not
// exist as far as decisions of this process met them. It names no patients.
func (g *Guard) UnreadableConsents(ctx context.Context, limit int) ([]UnreadableConsent, error) {
	var list []UnreadableConsent
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		list = nil
		hits, err := tx.Reader().Search(store.Query{Type: "Consent", Limit: limit,
			Where: store.And{search.TokenTerm("status", "", "active"), store.Exists{Name: termFault}}})
		for _, h := range hits {
			for element := range h.Terms.Values(termFault) {
				list = append(list, UnreadableConsent{fhir.Key{Type: "Consent", ID: h.ID}, string(element)})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	g.faults.mu.Lock()
	defer g.faults.mu.Unlock()
	for _, f := range g.faults.seen {
		if !slices.ContainsFunc(list, func(u UnreadableConsent) bool { return u.Consent == f.Consent }) {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b UnreadableConsent) int { return cmp.Compare(a.Consent.ID, b.Consent.ID) })
	return list[:min(len(list), limit)], nil
}
