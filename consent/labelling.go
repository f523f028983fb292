package consent

import (
	"slices"
	"strings"

	"mypatients/consent/label"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// Labelling. What says something sensitive is labelled when it is written, whatever
// the way in, by the rules of package label: in meta.security, where other systems
// that get the resource look for labels too, so that there is one truth for the
// decision, for searches by _security and for recipients. The labels carry an
// extension that marks them as the rules'; marks that a client writes are taken
// off, so the rules' labels come and go with what the resource says, and a client
// can neither drop nor fake them. What a person labelled stays theirs: an update
// keeps it (settleUpdate), and the rules never take it away.
//
// R4 lets labels change without a new version (Meta.security), so re-labelling
// rewrites versions in place: no notice, no conflict for who holds an ETag, and old
// versions are judged by today's rules.

// How a label of the rules came to be: the value of its mark.
const (
	byContent   = "content"   // the resource says something sensitive
	byReference = "reference" // what it refers to is sensitive
)

func (r *Rules) labelMark() string { return r.extension("labelled-by") }

func (r *Rules) labelling() engine.Labelling {
	return engine.Labelling{
		Mark: r.labelMark(), Version: r.labels.Version(), Of: r.labelsByContent,
		More: r.labelsByReference, Ahead: givingTo, Changed: r.labelsChanged, Settle: r.settleLabels,
	}
}

// unlabelled are types that the rules do not label: who somebody is and where, what
// families decide, and records of what happened. Of what belongs to no patient only
// medications are labelled, for those who are given them.
var unlabelled = []fhir.Type{"AuditEvent", "Consent", "Group", "Patient", "Person", "Provenance", "RelatedPerson", "Subscription"}

func isLabelled(t fhir.Type) bool {
	return t == "Medication" || !isDirectory(t) && !slices.Contains(unlabelled, t)
}

func (r *Rules) labelsByContent(t fhir.Type, tree map[string]any) []any {
	if !isLabelled(t) {
		return nil
	}
	var list []any
	for _, l := range r.labels.Of(tree) {
		list = append(list, r.coding(l, byContent))
	}
	return list
}

func (r *Rules) coding(l label.Label, by string) any {
	return map[string]any{"system": l.System, "code": l.Code,
		"extension": []any{map[string]any{"url": r.labelMark(), "valueCode": by}}}
}

// isInherited tells whether a label came from what the resource refers to.
func (r *Rules) isInherited(coding node) bool {
	return coding.extension(r.labelMark()).str("valueCode") == byReference
}

// givenLabels are the labels of a resource that those who refer to it take over:
// its sensitivities and a confidentiality above normal, but not what it took over
// itself, or all that a patient has would soon have all of their labels.
func (r *Rules) givenLabels(n node) []label.Label {
	var list []label.Label
	for _, c := range n.obj("meta").list("security") {
		system, code := c.str("system"), c.str("code")
		if r.isInherited(c) {
			continue
		}
		lvl, known := levelOf(code)
		if system == systemActCode && code != "" && !label.IsCaveat(code) || system == systemConfidentiality && known && lvl > levelN {
			list = append(list, label.Label{System: system, Code: code})
		}
	}
	return list
}

// Terms by which labels flow.
const (
	termGives = "_gives" // of what others take labels over from: "V sens" or "C conf"
	termFrom  = "_from"  // "Type/id" from which labels are taken over, where no search parameter has it
)

// flowTerms gives the terms by which labels flow along references.
func (r *Rules) flowTerms(t fhir.Type, n node) []store.Term {
	if !isLabelled(t) {
		return nil
	}
	var list []store.Term
	if slices.Contains(givers, t) {
		for _, l := range r.givenLabels(n) {
			list = append(list, store.Term{Name: termGives, Value: packLabel(l)})
		}
	}
	for _, path := range unindexed[t] {
		r.references(n, path, func(ref string) { list = append(list, store.Term{Name: termFrom, Value: ref}) })
	}
	return list
}

func packLabel(l label.Label) string {
	if l.System == systemConfidentiality {
		return "C " + l.Code
	}
	return "S " + l.Code
}

func unpackLabel(s string) label.Label {
	kind, code, _ := strings.Cut(s, " ")
	if kind == "C" {
		return label.Label{System: systemConfidentiality, Code: code}
	}
	return label.Label{System: systemActCode, Code: code}
}

// references visits what the references at a path lead to, if that gives labels.
func (r *Rules) references(n node, path []string, visit func(ref string)) {
	if len(path) > 1 {
		for _, child := range n.list(path[0]) {
			r.references(child, path[1:], visit)
		}
		if child := n.obj(path[0]); child != nil {
			r.references(child, path[1:], visit)
		}
		return
	}
	for _, c := range append(n.list(path[0]), n.obj(path[0])) {
		key, err := fhir.ParseKey(relativeTo(r.base, c.str("reference")))
		if err == nil && slices.Contains(givers, key.Type) {
			visit(key.String())
		}
	}
}
