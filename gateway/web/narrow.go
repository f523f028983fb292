package web

import (
	"net/url"
	"slices"

	"mypatients/smart"
)

// A portionView is a part of what a scope opens, which a person can leave out.
type portionView struct {
	Value    string // of its box: the scope, a space, type and category
	Type     string
	Category string // code; empty: the whole type
	Checked  bool
}

// partTypes are what a scope for everything is taken apart into. What is not here
// is given only with the whole.
var partTypes = []string{
	"Patient", "AllergyIntolerance", "Condition", "Observation", "DiagnosticReport", "Immunization", "MedicationRequest", "MedicationDispense",
	"MedicationStatement", "MedicationAdministration", "Medication", "Procedure", "Encounter", "DocumentReference", "Binary", "CarePlan", "Goal", "CareTeam",
	"ServiceRequest", "Specimen", "ImagingStudy", "Device", "FamilyMemberHistory", "QuestionnaireResponse", "Appointment", "Communication",
	"Coverage", "Claim", "ExplanationOfBenefit", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Location",
	"Consent", "Provenance", "AuditEvent",
}

// categories are the parts of the two types that are too broad to be one, as the
// US Core guide names them for granular scopes.
var categories = map[string][][2]string{
	"Condition": {
		{"http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis"},
		{"http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item"},
		{"http://hl7.org/fhir/us/core/CodeSystem/condition-category", "health-concern"},
	},
	"Observation": {
		{"http://terminology.hl7.org/CodeSystem/observation-category", "laboratory"},
		{"http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs"},
		{"http://terminology.hl7.org/CodeSystem/observation-category", "social-history"},
		{"http://terminology.hl7.org/CodeSystem/observation-category", "survey"},
		{"http://terminology.hl7.org/CodeSystem/observation-category", "clinical-test"},
		{"http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "sdoh"},
	},
}

// A portion is a portionView with the scope it stands for.
type portion struct {
	portionView
	scope smart.Scope
}

// portionsOf takes a scope apart; one that is narrow already has no parts.
func portionsOf(s smart.Scope) []portion {
	if s.Level == "" || len(s.Params) > 0 {
		return nil
	}
	types := []string{s.Type}
	if s.Type == "*" {
		types = partTypes
	} else if categories[s.Type] == nil {
		return nil
	}
	var parts []portion
	for _, typ := range types {
		if categories[typ] == nil {
			parts = append(parts, portion{portionView{Value: s.String() + " " + typ, Type: typ, Checked: true}, s.With(typ, s.May, nil)})
			continue
		}
		for _, c := range categories[typ] {
			narrow := s.With(typ, s.May, url.Values{"category": {c[0] + "|" + c[1]}})
			parts = append(parts, portion{portionView{s.String() + " " + typ + " " + c[1], typ, c[1], true}, narrow})
		}
	}
	return parts
}

// narrowed gives what is left of a scope when only some of its parts are ticked:
// all of it, as it was asked for, when that is all parts; else the whole types
// and the categories, one by one.
func narrowed(s smart.Scope, ticked []string) smart.Scopes {
	parts := portionsOf(s)
	on := func(p portion) bool { return slices.Contains(ticked, p.Value) }
	if !slices.ContainsFunc(parts, func(p portion) bool { return !on(p) }) {
		return smart.Scopes{s}
	}
	var left smart.Scopes
	for _, p := range parts {
		whole := !slices.ContainsFunc(parts, func(other portion) bool { return other.Type == p.Type && !on(other) })
		scope := p.scope
		if whole {
			scope = s.With(p.Type, s.May, nil)
		}
		if on(p) && !left.Has(scope.String()) {
			left = append(left, scope)
		}
	}
	return left
}

// chosenScopes reads what a person left ticked on the approval page.
func chosenScopes(asked smart.Scopes, form url.Values) smart.Scopes {
	var chosen smart.Scopes
	for _, s := range asked {
		switch {
		case !slices.Contains(form["scope"], s.String()):
		case slices.Contains(form["parts"], s.String()):
			chosen = append(chosen, narrowed(s, form["part"])...)
		default:
			chosen = append(chosen, s)
		}
	}
	return chosen
}
