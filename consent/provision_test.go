package consent_test

import (
	"fmt"
	"testing"
	"time"

	"mypatients/fhir"
)

const (
	role  = `"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]}`
	conf  = `{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":%q}`
	label = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":%q}`
)

// TestProvisions judges consents of Mateo for Dr Okafor, who has no other basis,
// and for Dr Adams, the PCP, against resources with labels and times.
func TestProvisions(t *testing.T) {
	x := `"actor":[{` + role + `,"reference":{"reference":"Practitioner/okafor"}}]`
	pcp := `"actor":[{` + role + `,"reference":{"reference":"Practitioner/adams"}}]`
	labels := func(codes ...string) string {
		s := `"securityLabel":[`
		for i, c := range codes {
			if i > 0 {
				s += ","
			}
			if len(c) == 1 {
				s += fmt.Sprintf(conf, c)
			} else {
				s += fmt.Sprintf(label, c)
			}
		}
		return s + `]`
	}
	ofType := `"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]`
	all := []string{"plain", "r", "psy", "psyhiv", "opioid", "old"}
	for _, tt := range []struct {
		name      string
		provision string
		okafor    []string // what Okafor may see
		adams     []string
	}{
		{"permit names somebody else", `"type":"permit","actor":[{` + role + `,"reference":{"reference":"Practitioner/other"}}]`, nil, all},
		{"permit reaches up to normal", `"type":"permit",` + x, []string{"plain", "old"}, all},
		{"permit up to restricted", `"type":"permit",` + x + `,` + labels("R"), all, all},
		{"permit that names all but one sensitivity", `"type":"permit",` + x + `,` + labels("R", "PSY"), []string{"plain", "old", "r", "psy"}, all},
		{"root deny with an exception for normal data", `"type":"deny",` + x + `,"provision":[{"type":"permit",` + labels("N") + `}]`, []string{"plain", "old"}, all},
		{"an extension adds a sensitivity", `"type":"permit",` + x + `,` + labels("N") + `,"provision":[{"type":"permit",` + labels("PSY") + `}]`, []string{"plain", "old", "r", "psy"}, all},
		{"an exception whose time is over", `"type":"permit",` + x + `,"provision":[{"type":"deny","period":{"end":"2020-01-01"}}]`, []string{"plain", "old"}, all},
		{"an exception for old data", `"type":"permit",` + x + `,"provision":[{"type":"deny","dataPeriod":{"start":"2022","end":"2022"}}]`, []string{"plain"}, all},
		{"a third level", `"type":"permit",` + x + `,"provision":[{"type":"deny","provision":[{"type":"permit","code":[{"coding":[{"system":"http://loinc.org","code":"old"}]}]}]}]`, []string{"old"}, all},
		{"an end that is today", `"type":"permit",` + x + `,"period":{"end":"2026-03-10"}`, []string{"plain", "old"}, all},
		{"an end that was yesterday", `"type":"permit",` + x + `,"period":{"end":"2026-03-09"}`, nil, all},
		{"a deny of a wider sensitivity", `"type":"deny",` + labels("ETH"), nil, []string{"plain", "r", "psy", "psyhiv", "old"}},
		{"a deny inside a grant holds against every basis", `"type":"permit",` + pcp + `,"provision":[{"type":"deny",` + labels("PSY") + `}]`, nil, []string{"plain", "r", "opioid", "old"}},
		{"an actor that does not exist, in a deny", `"type":"deny","actor":[{` + role + `,"reference":{"reference":"Practitioner/gone"}}]`, nil, nil},
		{"an actor that does not exist, in a permit", `"type":"permit","actor":[{` + role + `,"reference":{"reference":"Practitioner/gone"}}]`, nil, all},
		{"a purpose that is not treatment", `"type":"permit",` + x + `,"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HRESCH"}]`, nil, all},
		{"a permit of one type", `"type":"permit",` + x + `,"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Condition"}]`, nil, all},
		{"a deny of the type", `"type":"deny","class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]`, nil, nil},
		{"a modifier nobody knows, on a permit", `"type":"permit",` + x + `,"modifierExtension":[{"url":"http://example.org/x","valueBoolean":true}]`, nil, all},
		{"a root without a type", x + `,"provision":[{"type":"permit"}]`, []string{"plain", "old"}, all},
		{"an absolute reference to this server", `"type":"permit","actor":[{` + role + `,"reference":{"reference":"` + base + `/fhir/Practitioner/okafor"}}]`, []string{"plain", "old"}, all},
		{"a grant to everybody opens to nobody", `"type":"permit"`, nil, all},
		{"an exception below the ceiling of its permit", `"type":"permit",` + x + `,` + labels("R") + `,"provision":[{"type":"deny",` + ofType + `}]`, nil, all},
		{"an exception below the floor of its deny", `"type":"deny",` + x + `,` + labels("R") + `,"provision":[{"type":"permit",` + ofType + `}]`, nil, all},
		{"an exception beside a deny that holds as well", `"type":"deny",` + pcp + `,"provision":[{"type":"deny",` + ofType + `},{"type":"permit",` + labels("N") + `}]`, nil, nil},
		{"an exception that names nobody", `"type":"deny","provision":[{"type":"permit",` + labels("N") + `}]`, nil, []string{"plain", "old"}},
		{"an extension of what nobody can interpret", `"type":"permit",` + x + `,"modifierExtension":[{"url":"http://example.org/x","valueBoolean":true}],"provision":[{"type":"permit"}]`, nil, all},
		{"a modifier nobody knows, on an actor", `"type":"permit","actor":[{"modifierExtension":[{"url":"http://example.org/x","valueBoolean":true}],` + role + `,"reference":{"reference":"Practitioner/okafor"}}]`, nil, all},
		{"an extension that outlives its consent", `"type":"permit",` + x + `,"period":{"end":"2026-03-09"},"provision":[{"type":"permit","period":{"end":"2027"}}]`, nil, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for id, meta := range map[string]string{"plain": "", "r": fmt.Sprintf(conf, "R"), "psy": fmt.Sprintf(label, "PSY"), "psyhiv": fmt.Sprintf(label, "PSY") + "," + fmt.Sprintf(label, "HIV"), "opioid": fmt.Sprintf(label, "OPIOIDUD"), "old": ""} {
				at := "2025-06-01"
				if id == "old" {
					at = "2022-06-01"
				}
				m := ""
				if meta != "" {
					m = `"meta":{"security":[` + meta + `]},`
				}
				w.put(`{"resourceType":"Observation","id":%q,%s"status":"final","code":{"coding":[{"system":"http://loinc.org","code":%q}]},"subject":{"reference":"Patient/mateo"},"effectiveDateTime":%q}`, id, m, id, at)
			}
			w.put(`{"resourceType":"Consent","id":"c","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"http://example.org/p"}],"provision":{%s}}`, tt.provision)
			for who, may := range map[string][]string{"okafor": tt.okafor, "adams": tt.adams} {
				for _, id := range all {
					err := w.read(w.as(who), "Observation/"+id)
					want := false
					for _, m := range may {
						want = want || m == id
					}
					if got := err == nil; got != want || err != nil && fhir.KindOf(err) != fhir.NotFound {
						t.Errorf("%s reads %q: %v, want permitted %v", who, id, err, want)
					}
				}
			}
		})
	}
}

// TestDeniesThatAreEasyToMiss: what holds though it is said in a roundabout way.
func TestDeniesThatAreEasyToMiss(t *testing.T) {
	t.Run("an exception in a grant to a guardian", func(t *testing.T) {
		w := newWorld(t)
		w.result("psy", "2025-06-01", "PSY")
		w.directive("c", "mateo", provision("permit", actors("RelatedPerson/luis-mateo"), inside(provision("deny", labelled("PSY")))))
		w.mayNot("luis", "Observation/psy")
		w.may("grace", "Observation/psy")
	})
	t.Run("an opt-out without a provision", func(t *testing.T) {
		w := newWorld(t)
		w.put(`{"resourceType":"Consent","id":"c","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTOUT"}]}}`)
		w.mayNot("adams", "Patient/mateo", "Observation/mateo-weight")
		w.may("grace", "Patient/mateo")
		w.put(`{"resourceType":"Observation","id":"both","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/sofia"},"performer":[{"reference":"Patient/mateo"}]}`)
		w.mayNot("adams", "Observation/both")
	})
	t.Run("a team that the provider is in by another", func(t *testing.T) {
		w := newWorld(t)
		w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
		w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"CareTeam/inner"}}]}`)
		w.may("chen", "Patient/mateo")
		w.directive("c", "mateo", provision("deny", actors("CareTeam/outer")))
		w.mayNot("chen", "Patient/mateo")
	})
	t.Run("what a patient says of themself has one owner", func(t *testing.T) {
		w := newWorld(t)
		w.put(`{"resourceType":"AllergyIntolerance","id":"own","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}]},"code":{"text":"nuts"},"patient":{"reference":"Patient/mateo"},"recorder":{"reference":"Patient/mateo"}}`)
		w.directive("c", "mateo", provision("deny", labelled("PSY")))
		w.may("adams", "AllergyIntolerance/own")
	})
}

// TestConsentsEndInTime reads with a session open over the end of an access.
func TestConsentsEndInTime(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Consent","id":"c","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"http://example.org/p"}],"provision":{"type":"permit","period":{"start":"2026-03-10T16:00:00-04:00","end":"2026-03-10T17:00:00-04:00"},"actor":[{` + role + `,"reference":{"reference":"Practitioner/okafor"}}]}}`)
	at := func(hour, minute, second int) { w.clock.set(time.Date(2026, 3, 10, hour, minute, second, 0, w.zone)) }
	at(15, 59, 59)
	w.mayNot("okafor", "Patient/mateo")
	at(16, 0, 0)
	w.may("okafor", "Patient/mateo")
	at(16, 59, 59)
	w.may("okafor", "Patient/mateo")
	at(17, 0, 0)
	w.mayNot("okafor", "Patient/mateo")
}
