package main

import (
	"fmt"
	"strings"
)

const hospital = "Bayside Children's Hospital"

var practices = map[string]string{"longwood": "Longwood Pediatrics", "riverside": "Riverside Pediatrics"}

// staff collects the hospital's doctors: whoever saw a patient anywhere but at
// the practice.
type staff struct {
	names map[string]string // Synthea's "given|family|gender", by NPI and by id
	known map[string]string // display names of the demo's own, by id
	ids   map[string]string // given so far, by Synthea's name
	list  []string
}

func newStaff(names map[string]string) *staff {
	return &staff{names: names, ids: map[string]string{},
		known: map[string]string{"pr-adams": "Dr. Emily Adams", "pr-baker": "Dr. James Baker"}}
}

// practitioner gives the demo's reference for one of Synthea's.
func (s *staff) practitioner(ref string) (reference, display string) {
	key := ref[strings.LastIndexAny(ref, "/|")+1:]
	name, ok := s.names[key]
	if !ok {
		return "", ""
	}
	id, ok := s.ids[name]
	if !ok {
		s.list = append(s.list, name)
		id = fmt.Sprintf("pr-h%d", len(s.list))
		s.ids[name] = id
	}
	parts := strings.Split(name, "|")
	return "Practitioner/" + id, "Dr. " + parts[0] + " " + parts[1]
}

// resources gives each doctor's Practitioner and PractitionerRole.
func (s *staff) resources() []map[string]any {
	var list []map[string]any
	for i, name := range s.list {
		parts := strings.Split(name, "|")
		id := s.ids[name]
		display := "Dr. " + parts[0] + " " + parts[1]
		list = append(list, map[string]any{
			"resourceType": "Practitioner", "id": id, "active": true, "gender": parts[2],
			"identifier": []any{map[string]any{"system": "http://hl7.org/fhir/sid/us-npi", "value": npi(i)}},
			"name":       []any{map[string]any{"use": "official", "family": parts[1], "given": []any{parts[0]}, "prefix": []any{"Dr."}}},
			"telecom":    []any{map[string]any{"system": "phone", "value": fmt.Sprintf("555-555-02%02d", i), "use": "work"}},
		}, map[string]any{
			"resourceType": "PractitionerRole", "id": strings.Replace(id, "pr-", "role-", 1), "active": true,
			"practitioner": map[string]any{"reference": "Practitioner/" + id, "display": display},
			"organization": map[string]any{"reference": "Organization/org-hospital", "display": hospital},
			"location":     []any{map[string]any{"reference": "Location/loc-hospital", "display": hospital}},
			"specialty": []any{map[string]any{"text": "Pediatric Emergency Medicine", "coding": []any{map[string]any{
				"system": "http://nucc.org/provider-taxonomy", "code": "2080P0204X", "display": "Pediatric Emergency Medicine Physician"}}}},
		})
	}
	return list
}

// npi makes a number with a right check digit: Luhn over 80840 and the number
// (45 CFR 162.406). Real numbers look the same, so these are made up.
func npi(n int) string {
	body := fmt.Sprintf("1990000%02d", n)
	sum := 24 // of the prefix 80840
	for i := range len(body) {
		d := int(body[i] - '0')
		if i%2 == 0 { // every second digit from the check digit's left
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return fmt.Sprintf("%s%d", body, (10-sum%10)%10)
}
