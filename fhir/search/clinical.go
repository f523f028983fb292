package search

import "mypatients/fhir"

// A clinicalRule names the element, or the two elements, that hold the clinically
// relevant time of a resource.
type clinicalRule struct{ start, end node }

// clinicalPaths are tried in this order; the first that has a time is the one. The
// second path of a pair ends what the first begins.
var clinicalPaths = [][2]string{
	{"effective"}, {"performed"}, {"occurrence"}, {"occurred"}, {"onset", "abatement"},
	{"serviced"}, {"period"}, {"billablePeriod"}, {"executionPeriod"}, {"started"},
	{"start", "end"}, {"collection.collected"}, {"context.period"}, {"identified"},
	{"whenHandedOver"}, {"whenPrepared"}, {"sent"}, {"authoredOn"}, {"authored"},
	{"dateTime"}, {"dateWritten"}, {"date"}, {"recordedDate"}, {"recorded"}, {"issued"},
	{"received"}, {"timestamp"}, {"created"},
}

// noClinicalTime are types about people and places, which are of no time.
var noClinicalTime = map[fhir.Type]bool{"Patient": true, "RelatedPerson": true, "Person": true, "Group": true,
	"Practitioner": true, "PractitionerRole": true, "Organization": true, "OrganizationAffiliation": true,
	"Location": true, "HealthcareService": true, "Endpoint": true, "Medication": true, "Substance": true}

func clinicalRules(t fhir.Type, known *choices) ([]clinicalRule, error) {
	if noClinicalTime[t] {
		return nil, nil
	}
	var rules []clinicalRule
	for _, paths := range clinicalPaths {
		var rule clinicalRule
		var err error
		if rule.start, err = compile(string(t)+"."+paths[0], string(t), known); err != nil {
			return nil, err
		}
		if paths[1] != "" {
			if rule.end, err = compile(string(t)+"."+paths[1], string(t), known); err != nil {
				return nil, err
			}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// clinicalTime gives the clinically relevant time of a resource.
func (tp *typeParams) clinicalTime(e *env) (interval, bool) {
	for _, rule := range tp.clinical {
		all := datesOf(rule.start, e)
		if all == (interval{}) {
			continue
		}
		if rule.end != nil {
			all = all.join(datesOf(rule.end, e))
		}
		return all, true
	}
	return interval{}, false
}

// datesOf gives the interval from the first to the last of some elements.
func datesOf(n node, e *env) (all interval) {
	n.each(e, e.root, func(item any) bool {
		if i, ok := dateItem(item, e.zone); ok {
			all = all.join(i)
		}
		return true
	})
	return all
}
