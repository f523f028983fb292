package consent

import (
	"strings"

	"mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/store"
)

// Code systems of labels and of the codes in consents.
const (
	systemConfidentiality = label.Confidentiality
	systemActCode         = label.ActCode
	systemActReason       = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	systemParticipation   = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	systemConsentAction   = "http://terminology.hl7.org/CodeSystem/consentaction"
	systemConsentScope    = "http://terminology.hl7.org/CodeSystem/consentscope"
	systemResourceTypes   = "http://hl7.org/fhir/resource-types"
	systemLOINC           = "http://loinc.org"
)

// A level is a confidentiality of v3-Confidentiality in its order, see [label.Level].
type level int

// The levels. A resource without a label counts as normal.
const (
	levelU level = iota + 1
	levelL
	levelM
	levelN
	levelR
	levelV
)

func levelOf(code string) (level, bool) {
	n, known := label.Level(code)
	return level(n), known
}

func (l level) digit() string { return string(rune('0' + l)) }

// Names of the index terms that the decision adds to every resource.
const (
	termLevel  = "_conf"   // the digit of the confidentiality, unless it is N
	termSens   = "_sens"   // each sensitivity
	termShared = "_shared" // "1" when several patients own the resource
	termKind   = "_kind"   // of our Consents and Communications: request, invitation, notice
	termActors = "_actors" // of a Consent: each actor of each provision in it
	termDenies = "_denies" // of a Consent: each actor of each deny in it; "*" for everyone
	termFault  = "_fault"  // of a Consent: the element that cannot be evaluated

	termSubscriber = "_subscriber" // of a Subscription: whose it is
)

// terms gives the index terms that decisions need beside those of search; the
// engine adds them to every version it writes. found holds the terms of search.
func (r *Rules) terms(t fhir.Type, tree map[string]any, found []store.Term) []store.Term {
	n := node(tree)
	lvl, sens := labelsOf(n)
	var added []store.Term
	if lvl != levelN {
		added = append(added, store.Term{Name: termLevel, Value: lvl.digit()})
	}
	for _, s := range sens {
		added = append(added, store.Term{Name: termSens, Value: s})
	}
	added = append(added, r.flowTerms(t, n)...)
	added = append(added, r.attachmentTerms(t, n)...)
	owners := map[string]bool{}
	for _, f := range found {
		if f.Name == store.Owner {
			owners[f.Value] = true
		}
	}
	if len(owners) > 1 {
		added = append(added, store.Term{Name: termShared, Value: "1"})
	}
	switch t {
	case "Consent":
		if kind := r.kindOf(n); kind != "" {
			added = append(added, store.Term{Name: termKind, Value: kind})
		}
		if element, _ := r.faultOf(n); element != "" {
			added = append(added, store.Term{Name: termFault, Value: element})
		}
		added = append(added, r.denialTerms(n)...)
		all, denied := r.actorsOf(rootOf(n), false, nil, nil)
		for _, actor := range all {
			added = append(added, store.Term{Name: termActors, Value: actor})
		}
		for _, actor := range denied {
			added = append(added, store.Term{Name: termDenies, Value: actor})
		}
	case "Subscription":
		if owner := n.extension(r.extension("subscriber")).str("valueString"); owner != "" {
			added = append(added, store.Term{Name: termSubscriber, Value: owner})
		}
	case "CareTeam":
		added = append(added, r.teamTerms(n, found)...)
	case "Group":
		added = append(added, r.groupTerms(n)...)
	case "Communication":
		for _, c := range n.list("category") {
			if c.hasCoding(r.kindSystem(), kindNotice) {
				added = append(added, store.Term{Name: termKind, Value: kindNotice})
			}
		}
	}
	return added
}

// labelsOf gives the confidentiality that meta.security amounts to, and the
// sensitivities in it. A confidentiality that is not known counts as the highest.
func labelsOf(n node) (level, []string) {
	var lvl level
	var sens []string
	for _, c := range n.obj("meta").list("security") {
		code := c.str("code")
		switch c.str("system") {
		case systemConfidentiality:
			l, ok := levelOf(code)
			if !ok {
				l = levelV
			}
			lvl = max(lvl, l)
		case systemActCode:
			if code != "" && !label.IsCaveat(code) {
				sens = append(sens, code)
			}
		}
	}
	if lvl == 0 {
		lvl = levelN
	}
	if len(sens) > 0 {
		lvl = max(lvl, levelR)
	}
	return lvl, sens
}

// actorsOf lists the actors of every provision, at any depth, and those of the
// denies among them: "*" for a deny that names nobody, or somebody we cannot
// compare with.
func (r *Rules) actorsOf(p node, nested bool, all, denied []string) ([]string, []string) {
	deny := p.str("type") != "permit" && (nested || p["type"] != nil)
	actors := p.list("actor")
	for _, a := range actors {
		ref := relativeTo(r.base, a.ref("reference"))
		if _, err := fhir.ParseKey(ref); err == nil {
			all = append(all, ref)
			if deny {
				denied = append(denied, ref)
			}
		} else if deny {
			denied = append(denied, "*")
		}
		if deny && (!knownRole(a.obj("role")) || isModified(a)) {
			denied = append(denied, "*")
		}
	}
	if deny && len(actors) == 0 {
		denied = append(denied, "*")
	}
	for _, child := range p.list("provision") {
		all, denied = r.actorsOf(child, true, all, denied)
	}
	return all, denied
}

// levelAtMost holds for resources up to a confidentiality.
func levelAtMost(l level) store.Expr {
	switch {
	case l >= levelV:
		return store.All()
	case l >= levelN:
		return store.Not{Expr: store.Range{Name: termLevel, From: (l + 1).digit()}}
	}
	return store.Range{Name: termLevel, From: levelU.digit(), To: (l + 1).digit()}
}

// levelAtLeast holds for resources from a confidentiality on.
func levelAtLeast(l level) store.Expr {
	if l > levelN {
		return store.Range{Name: termLevel, From: l.digit()}
	}
	return store.Not{Expr: store.Range{Name: termLevel, From: levelU.digit(), To: l.digit()}}
}

// sensitiveAny holds for resources with one of the sensitivities, or with one
// that they comprise.
func sensitiveAny(codes []string) store.Expr {
	return store.In{Name: termSens, Values: label.Closure(codes)}
}

// sensitiveOnly holds for resources all of whose sensitivities are among the
// codes and what they comprise: no value may lie in a gap between them.
func sensitiveOnly(codes []string) store.Expr {
	var gaps store.Or
	from := ""
	for _, c := range label.Closure(codes) {
		gaps = append(gaps, store.Range{Name: termSens, From: from, To: c})
		from = c + "\x00"
	}
	gaps = append(gaps, store.Range{Name: termSens, From: from})
	return store.Not{Expr: gaps}
}

// relativeTo makes a reference comparable: "Type/id" for one to a resource of
// this gateway, also when it is absolute or names a version; others stay as they
// are.
func relativeTo(base, ref string) string {
	ref = strings.TrimPrefix(ref, base+"/fhir/")
	if key, _, versioned := strings.Cut(ref, "/_history/"); versioned {
		return key
	}
	return ref
}
