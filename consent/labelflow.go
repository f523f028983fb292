package consent

import (
	"context"
	"maps"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// Labels flow along references: a prescription is as sensitive as its medication,
// a note as the visit it is about, a report as its results. They flow one step: what
// a resource took over it does not give on. They flow whichever was written first.

// givers are the types whose labels others take over.
var givers = []fhir.Type{"Condition", "DiagnosticReport", "Encounter", "Medication", "MedicationRequest", "Observation", "Procedure"}

// indexed are the search parameters whose references labels flow along, by the type
// that takes them over.
var indexed = map[fhir.Type][]string{
	"Appointment":              {"reason-reference"},
	"CarePlan":                 {"encounter", "condition"},
	"ChargeItem":               {"context"},
	"Claim":                    {"encounter"},
	"ClinicalImpression":       {"encounter"},
	"Communication":            {"encounter"},
	"CommunicationRequest":     {"encounter"},
	"Composition":              {"encounter", "entry"},
	"Condition":                {"encounter", "evidence-detail"},
	"DeviceRequest":            {"encounter"},
	"DiagnosticReport":         {"encounter", "result"},
	"DocumentReference":        {"encounter", "related"},
	"Encounter":                {"diagnosis", "reason-reference"},
	"EpisodeOfCare":            {"condition"},
	"ExplanationOfBenefit":     {"encounter"},
	"Flag":                     {"encounter"},
	"ImagingStudy":             {"encounter"},
	"Immunization":             {"reason-reference"},
	"Media":                    {"encounter"},
	"MedicationAdministration": {"context", "medication"},
	"MedicationDispense":       {"context", "medication"},
	"MedicationRequest":        {"encounter", "medication"},
	"MedicationStatement":      {"context", "medication"},
	"NutritionOrder":           {"encounter"},
	"Observation":              {"encounter", "has-member", "derived-from"},
	"Procedure":                {"encounter", "reason-reference"},
	"QuestionnaireResponse":    {"encounter"},
	"RequestGroup":             {"encounter"},
	"RiskAssessment":           {"condition", "encounter"},
	"ServiceRequest":           {"encounter"},
}

// unindexed are references that labels flow along too and R4 has no search
// parameter for: they have the term _from.
var unindexed = map[fhir.Type][][]string{
	"AllergyIntolerance":       {{"encounter"}},
	"Claim":                    {{"diagnosis", "diagnosisReference"}, {"procedure", "procedureReference"}, {"prescription"}},
	"DeviceRequest":            {{"reasonReference"}},
	"ExplanationOfBenefit":     {{"diagnosis", "diagnosisReference"}, {"procedure", "procedureReference"}, {"prescription"}},
	"Goal":                     {{"addresses"}},
	"ImagingStudy":             {{"reasonReference"}},
	"Immunization":             {{"encounter"}},
	"MedicationAdministration": {{"reasonReference"}},
	"MedicationDispense":       {{"authorizingPrescription"}},
	"MedicationRequest":        {{"reasonReference"}},
	"MedicationStatement":      {{"reasonReference"}},
	"ServiceRequest":           {{"reasonReference"}},
}

// takesOver lists the terms by which a type takes labels over.
func takesOver(t fhir.Type) []string {
	names := indexed[t]
	if unindexed[t] != nil {
		names = append(slices.Clip(names), termFrom)
	}
	return names
}

// givingTo lists what a resource with some terms takes labels over from.
func givingTo(t fhir.Type, terms []store.Term) (keys []store.Key) {
	names := takesOver(t)
	if names == nil {
		return nil
	}
	for _, term := range terms {
		if !slices.Contains(names, term.Name) {
			continue
		}
		if key, err := fhir.ParseKey(term.Value); err == nil && slices.Contains(givers, key.Type) {
			keys = append(keys, store.Key{Type: string(key.Type), ID: key.ID})
		}
	}
	return keys
}

// labelsByReference gives the labels that a version takes over from what it refers
// to, as that is now; a deletion gives what was deleted. Nothing is taken over from
// another patient's record, or writing a reference would tell what is in it.
func (r *Rules) labelsByReference(tx *engine.Tx, v *store.Version) ([]any, error) {
	keys := givingTo(fhir.Type(v.Type), v.Terms.List())
	if len(keys) == 0 {
		return nil, nil
	}
	if err := store.ReadResources(tx.Reader(), slices.Values(keys)); err != nil {
		return nil, err
	}
	var list []any
	for _, key := range keys {
		giver, err := tx.Reader().Resource(key)
		if err == store.ErrNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if key.Type != "Medication" && !sharesOwner(giver.Terms, v.Terms) {
			continue
		}
		for value := range giver.Terms.Values(termGives) {
			list = append(list, r.coding(unpackLabel(string(value)), byReference))
		}
	}
	return distinct(list), nil
}

func sharesOwner(a, b store.Terms) bool {
	for x := range a.Values(store.Owner) {
		for y := range b.Values(store.Owner) {
			if string(x) == string(y) {
				return true
			}
		}
	}
	return false
}

func distinct(codings []any) (list []any) {
	for _, c := range codings {
		same := func(x any) bool {
			a, b := node(x.(map[string]any)), node(c.(map[string]any))
			return a.str("system") == b.str("system") && a.str("code") == b.str("code")
		}
		if !slices.ContainsFunc(list, same) {
			list = append(list, c)
		}
	}
	return list
}

// flow brings the labels that a write changes along: into what was written, and from
// it to what refers to it.
func (r *Rules) flow(tx *engine.Tx, before, after *store.Version) error {
	if after.Deleted || !isLabelled(fhir.Type(after.Type)) {
		return nil
	}
	more, err := r.labelsByReference(tx, after)
	if err != nil {
		return err
	}
	if len(more) > 0 {
		next, err := tx.Relabel(after)
		if err != nil {
			return err
		}
		*after = *next // what the writer is told
	}
	return r.labelsChanged(tx, before, after)
}

// recordFlow is the kind of the records of resources that more refer to than one
// transaction brings labels to: "Medication/1 MedicationRequest", and how far it is.
const recordFlow = "label-flow"

// Bounds of what one transaction brings labels to.
const (
	flowPage = 100  // resources of a type read at a time
	maxFlow  = 1000 // resources of a type
)

type flowKey struct{}

// labelsChanged notes a resource that gives other labels than before: when all of
// the transaction is written they are brought to what refers to it.
func (r *Rules) labelsChanged(tx *engine.Tx, before, after *store.Version) error {
	if !slices.Contains(givers, fhir.Type(after.Type)) || sameValues(before, after, termGives) {
		return nil
	}
	noted, _ := tx.Memo()[flowKey{}].(map[store.Key]bool)
	if noted == nil {
		noted = map[store.Key]bool{}
		tx.Memo()[flowKey{}] = noted
	}
	noted[after.Key] = true
	return nil
}

// settleLabels brings the labels that were noted to what refers to them; what is
// too much for one transaction is left to [Rules.FlowLabels].
func (r *Rules) settleLabels(tx *engine.Tx) error {
	noted, _ := tx.Memo()[flowKey{}].(map[store.Key]bool)
	byType := map[fhir.Type][]store.Key{}
	for _, key := range slices.SortedFunc(maps.Keys(noted), func(a, b store.Key) int { return strings.Compare(a.String(), b.String()) }) {
		byType[fhir.Type(key.Type)] = append(byType[fhir.Type(key.Type)], key)
	}
	for _, giver := range givers {
		keys := byType[giver]
		if len(keys) == 0 {
			continue
		}
		for _, t := range takers(giver) {
			position, done := "", 0
			for more := true; more && done < maxFlow; done += flowPage {
				var err error
				if position, err = r.flowTo(tx, keys, t, position); err != nil {
					return err
				}
				more = position != ""
			}
			if position == "" {
				continue
			}
			for _, key := range keys { // which of them have more is found out then
				if err := tx.Writer().PutRecord(&store.Record{Kind: recordFlow, Key: key.String() + " " + string(t)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sameValues(a, b *store.Version, name string) bool {
	values := func(v *store.Version) (list []string) {
		if v != nil {
			for x := range v.Terms.Values(name) {
				list = append(list, string(x))
			}
		}
		return list
	}
	return slices.Equal(values(a), values(b))
}

// takers lists the types that take labels over from a type.
func takers(giver fhir.Type) (list []fhir.Type) {
	for _, t := range fhir.Types() {
		if slices.ContainsFunc(takesOver(t), func(name string) bool { return leadsTo(name, giver) }) {
			list = append(list, t)
		}
	}
	return list
}

// leadsTo tells whether references of a name can be to a type.
func leadsTo(name string, t fhir.Type) bool {
	switch name {
	case "encounter", "context":
		return t == "Encounter"
	case "medication":
		return t == "Medication"
	case "condition":
		return t == "Condition"
	case "diagnosis":
		return t == "Condition" || t == "Procedure"
	case "result", "has-member", "derived-from":
		return t == "Observation"
	}
	return t != "Medication"
}

// flowTo brings labels to the next resources of a type that refer to givers, which
// are of one type, and gives the position behind them if there may be more.
func (r *Rules) flowTo(tx *engine.Tx, givers []store.Key, t fhir.Type, after string) (position string, err error) {
	var values []string
	for _, g := range givers {
		values = append(values, g.String())
	}
	var refer store.Or
	for _, name := range takesOver(t) {
		if leadsTo(name, fhir.Type(givers[0].Type)) {
			refer = append(refer, store.In{Name: name, Values: values})
		}
	}
	hits, err := tx.Reader().Search(store.Query{Type: string(t), Where: refer, After: after, Limit: flowPage})
	if err != nil {
		return "", err
	}
	for _, h := range hits {
		if _, err := tx.Relabel(h.Version); err != nil {
			return "", err
		}
	}
	if len(hits) < flowPage {
		return "", nil
	}
	return hits[len(hits)-1].Position, nil
}

// FlowLabels does what [Rules.settleLabels] left. It is called from time to time.
func (r *Rules) FlowLabels(ctx context.Context) error {
	for {
		more := false
		err := r.engine.Update(ctx, func(tx *engine.Tx) error {
			list, err := tx.Reader().Records(recordFlow, "", "", 1)
			if more = len(list) > 0; err != nil || !more {
				return err
			}
			one := list[0]
			giver, t, ok := splitFlow(one.Key)
			position := ""
			if ok {
				if position, err = r.flowTo(tx, []store.Key{giver}, t, string(one.Value)); err != nil {
					return err
				}
			}
			if position == "" {
				return tx.Writer().DeleteRecord(recordFlow, one.Key)
			}
			return tx.Writer().PutRecord(&store.Record{Kind: recordFlow, Key: one.Key, Value: []byte(position)})
		})
		if err != nil || !more {
			return err
		}
	}
}

func splitFlow(s string) (giver store.Key, t fhir.Type, ok bool) {
	name, kind, _ := strings.Cut(s, " ")
	key, err := fhir.ParseKey(name)
	return store.Key{Type: string(key.Type), ID: key.ID}, fhir.Type(kind), err == nil
}
