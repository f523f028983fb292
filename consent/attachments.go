package consent

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// What is attached to a document is as private as the document: a Binary itself says
// only whose it is, and has no labels but by chance. So it is hidden from whoever may
// not see all of what holds it in the records that they do see; what somebody writes
// about it in the record of another patient changes nothing.

// termHolds is the term of what is attached to a resource: "Binary/1".
const termHolds = "_holds"

// holders are the types to which a Binary is attached, by the URL of an Attachment.
var holders = []fhir.Type{"Communication", "CommunicationRequest", "DiagnosticReport", "DocumentReference", "Media", "QuestionnaireResponse"}

// attachmentTerms gives the terms of the Binaries that a resource of a patient holds.
func (r *Rules) attachmentTerms(t fhir.Type, n node) (terms []store.Term) {
	if slices.Contains(holders, t) {
		r.attachments(n.any(), func(key fhir.Key) { terms = append(terms, store.Term{Name: termHolds, Value: key.String()}) })
	}
	return terms
}

// attachments visits the Binaries of this gateway that URLs in a tree lead to.
func (r *Rules) attachments(in any, visit func(fhir.Key)) {
	switch in := in.(type) {
	case []any:
		for _, item := range in {
			r.attachments(item, visit)
		}
	case map[string]any:
		for name, value := range in {
			text, ok := value.(string)
			if !ok {
				r.attachments(value, visit)
				continue
			}
			if key, err := fhir.ParseKey(relativeTo(r.base, text)); name == "url" && err == nil && key.Type == "Binary" {
				visit(key)
			}
		}
	}
}

// notHeldByHidden leaves out the Binaries that are attached to what is hidden from the
// caller in the record of a patient of theirs; where the index does not say yet what
// is attached to what, all of them.
func (s *sighting) notHeldByHidden() []store.Expr {
	var all []store.Expr
	for _, t := range holders {
		patients := store.In{Name: store.Owner}
		for _, d := range s.decisions {
			patients.Values = append(patients.Values, d.patient)
		}
		mine := store.Or{patients}
		if s.joined != nil {
			mine = append(mine, rowwise(store.Ref{Name: store.Owner, Type: "Patient", Where: s.g.onPanel(s.person, s.joined, s.now)}))
		}
		hidden := simplify(store.And{mine, store.Not{Expr: s.ownership(t)}})
		switch {
		case isNone(hidden):
		case s.behind:
			return []store.Expr{store.None()}
		default:
			all = append(all, store.Not{Expr: store.Back{Type: string(t), Name: termHolds, Where: hidden}})
		}
	}
	return all
}
