package web

import (
	"slices"

	"mypatients/fhir"
)

// A part is a portion of the record that people can name. Its words are in
// templates/words.html under its code.
type part struct {
	Code  string
	Types []fhir.Type
}

// A partView is a part as a box to tick.
type partView struct {
	Code    string
	Checked bool
}

// parts lists the portions that can be asked for and approved one by one.
func parts() []part {
	return []part{
		{"problems", []fhir.Type{"Condition"}},
		{"allergies", []fhir.Type{"AllergyIntolerance"}},
		{"medications", []fhir.Type{"MedicationRequest", "MedicationStatement", "MedicationAdministration", "MedicationDispense"}},
		{"results", []fhir.Type{"Observation", "DiagnosticReport", "ImagingStudy", "Specimen"}},
		{"immunizations", []fhir.Type{"Immunization"}},
		{"procedures", []fhir.Type{"Procedure"}},
		{"visits", []fhir.Type{"Encounter"}},
		{"notes", []fhir.Type{"DocumentReference", "Composition", "ClinicalImpression"}},
		{"plans", []fhir.Type{"CarePlan", "Goal", "CareTeam", "ServiceRequest"}},
	}
}

// partsOf names the parts that a list of types touches; a type that belongs to
// none counts as "other". An empty list is the whole record: no parts.
func partsOf(types []fhir.Type) []string {
	var codes []string
	known := []fhir.Type{"Patient"}
	for _, p := range parts() {
		known = append(known, p.Types...)
		if slices.ContainsFunc(p.Types, func(t fhir.Type) bool { return slices.Contains(types, t) }) {
			codes = append(codes, p.Code)
		}
	}
	if slices.ContainsFunc(types, func(t fhir.Type) bool { return !slices.Contains(known, t) }) {
		codes = append(codes, "other")
	}
	return codes
}

// typesOf turns ticked parts into types. Name and birth date come with every
// part, for a record without them could not be shown.
func typesOf(codes []string) []fhir.Type {
	var types []fhir.Type
	for _, p := range parts() {
		if slices.Contains(codes, p.Code) {
			types = append(types, p.Types...)
		}
	}
	if len(types) == 0 {
		return nil
	}
	return append([]fhir.Type{"Patient"}, types...)
}

// boxes makes the boxes to tick: all parts, or only those that were asked for.
func boxes(among []fhir.Type, ticked func(code string) bool) []partView {
	offered := partsOf(among)
	var list []partView
	for _, p := range parts() {
		if len(among) == 0 || slices.Contains(offered, p.Code) {
			list = append(list, partView{p.Code, ticked(p.Code)})
		}
	}
	return list
}
