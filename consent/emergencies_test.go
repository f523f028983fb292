package consent_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
)

// directive is an active consent about privacy.
func directive(id, patient, provision string) string {
	return `{"resourceType":"Consent","id":"` + id + `","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/` + patient + `"},"policy":[{"uri":"urn:x"}],"provision":` + provision + `}`
}

func names(ref string) string {
	return `"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"` + ref + `"}}]`
}

const psychiatric = `"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]`
const forTreatment = `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]`
const forEmergency = `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"BTG"}]`

func TestBreakGlassAndDenies(t *testing.T) {
	for _, c := range []struct {
		name, provision string
		weight, psych   bool // by default
		weight2, psych2 bool // where opt-outs hold
	}{
		{name: "for everybody", provision: `{"type":"deny"}`, weight: true, psych: true},
		{name: "naming the provider", provision: `{"type":"deny",` + names("Practitioner/okafor") + `}`},
		{name: "naming the provider, for treatment", provision: `{"type":"deny",` + forTreatment + `,` + names("Practitioner/okafor") + `}`},
		{name: "naming their organisation", provision: `{"type":"deny",` + names("Organization/er") + `}`},
		{name: "naming nobody we know", provision: `{"type":"deny",` + names("Practitioner/nobody") + `}`},
		{name: "naming another", provision: `{"type":"deny",` + names("Practitioner/baker") + `}`, weight: true, psych: true, weight2: true, psych2: true},
		{name: "of a kind, in what was granted to them", provision: `{"type":"permit",` + forTreatment + `,` + names("Practitioner/okafor") + `,"provision":[{"type":"deny",` + psychiatric + `}]}`, weight: true, weight2: true},
		{name: "of a kind, in what was granted to them in a denial for everybody", provision: `{"type":"deny","provision":[{"type":"permit",` + forTreatment + `,` + names("Practitioner/okafor") + `,"provision":[{"type":"deny",` + psychiatric + `}]}]}`, weight: true, weight2: true},
		{name: "naming a group of theirs", provision: `{"type":"deny",` + names("Group/night") + `}`},
		{name: "naming a team that they are in by another", provision: `{"type":"deny",` + names("CareTeam/outer") + `}`},
		{name: "of a kind, for everybody", provision: `{"type":"deny",` + psychiatric + `}`, weight: true, psych: true, weight2: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, one, _ := emergencyWorld(t, nil)
			w.put(`{"resourceType":"Organization","id":"er","name":"ER"}`)
			w.put(`{"resourceType":"PractitionerRole","id":"er-okafor","practitioner":{"reference":"Practitioner/okafor"},"organization":{"reference":"Organization/er"}}`)
			w.put(`{"resourceType":"Group","id":"night","type":"practitioner","actual":true,"member":[{"entity":{"reference":"Practitioner/okafor"}}]}`)
			w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
			w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/lily"},"participant":[{"member":{"reference":"CareTeam/inner"}}]}`)
			w.put("%s", directive("d", "mateo", c.provision))
			strict := w.node(func(k *consent.Config) { k.Policy.BreakGlass.OptOutsHold = true })
			okafor := w.fresh("okafor")
			patient := "Patient/mateo" // of one whom they may see in part
			if !strings.Contains(c.name, "granted") {
				patient = found(t, one, okafor, "1001")
			}
			if _, _, err := one.BreakGlass(t.Context(), okafor, because(patient)); err != nil {
				t.Fatal(err)
			}
			mine, err := one.MyEmergencies(t.Context(), okafor)
			if err != nil || len(mine) != 1 || mine[0].Patient.Patient.ID != "mateo" || (mine[0].Patient.Name != "") != c.weight || (mine[0].Patient.MRN != "") != c.weight {
				t.Errorf("their list: %+v, %v", mine, err)
			}
			opens(t, one, okafor, "Observation/mateo-weight", c.weight)
			opens(t, one, okafor, "Observation/mateo-private", c.psych)
			opens(t, strict, okafor, "Observation/mateo-weight", c.weight2)
			opens(t, strict, okafor, "Observation/mateo-private", c.psych2)
		})
	}
}

// A provider with very many patients sees the one of an emergency beside them, in
// lists too, and as long as others would.
func TestBreakGlassBesideAJoinedPanel(t *testing.T) {
	w, one, two := emergencyWorld(t, nil)
	w.put(`{"resourceType":"Patient","id":"theirs","name":[{"family":"Theirs"}],"birthDate":"2020-02-02","generalPractitioner":[{"reference":"Practitioner/okafor"}]}`)
	one.ListAtMost(-1)
	c := w.fresh("okafor")
	list := func(want ...string) {
		t.Helper()
		for _, g := range []*consent.Guard{one, two} {
			if ids, err := w.on(g).search(c, "Patient", ""); err != nil || !slices.Equal(ids, want) {
				t.Errorf("patients: %v, %v, want %v", ids, err, want)
			}
			cards, _, err := g.MyPatients(t.Context(), c, "")
			if err != nil || len(cards) != len(want) {
				t.Errorf("my patients: %v, %v, want %v", cards, err, want)
			}
		}
	}
	list("theirs")
	breakGlass(t, one, c, "1001")
	list("mateo", "theirs")
	opens(t, one, c, "Observation/mateo-private", true)
	opens(t, one, c, "Observation/sofia-weight", false)
	w.put("%s", directive("d", "mateo", `{"type":"deny",`+psychiatric+`,`+names("Practitioner/okafor")+`}`))
	list("mateo", "theirs")
	opens(t, one, c, "Observation/mateo-private", false)
	w.clock.pass(time.Hour)
	list("theirs")
}

func TestBreakGlassLimits(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	never := w.node(func(k *consent.Config) { k.Policy.BreakGlass.Never = []string{"PSY"} })
	low := w.node(func(k *consent.Config) { k.Policy.BreakGlass.Ceiling = "N" })
	off := w.node(func(k *consent.Config) { k.Policy.BreakGlass.Enabled = false })
	c := w.fresh("okafor")
	breakGlass(t, one, c, "1001")
	opens(t, never, c, "Observation/mateo-weight", true)
	opens(t, never, c, "Observation/mateo-private", false)
	opens(t, low, c, "Observation/mateo-weight", true)
	opens(t, low, c, "Observation/mateo-private", false)
	opens(t, off, c, "Observation/mateo-weight", false)
	// What stays shut does so even if the family permits it for emergencies, by which
	// other things open that the ceiling keeps shut.
	w.put("%s", directive("btg", "mateo", `{"type":"permit",`+forEmergency+`,`+names("Practitioner/okafor")+`,"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]}`))
	opens(t, one, c, "Observation/mateo-very", true)
	opens(t, never, c, "Observation/mateo-private", false)
	other := c
	other.ID = "no-emergency"
	opens(t, one, other, "Observation/mateo-weight", false) // a permit for emergencies is for nothing else
}

// An exception for emergencies in a denial for everybody opens what it names, as one
// for treatment does.
func TestBreakGlassByAnException(t *testing.T) {
	const up = `,"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]`
	for name, c := range map[string]struct {
		provision string
		opens     bool
	}{
		"in a denial":                 {`{"type":"deny","provision":[{"type":"permit",` + forEmergency + `,` + names("Practitioner/okafor") + up + `}]}`, true},
		"in a root without a type":    {`{"provision":[{"type":"permit",` + forEmergency + `,` + names("Practitioner/okafor") + up + `}]}`, true},
		"for another":                 {`{"type":"deny","provision":[{"type":"permit",` + forEmergency + `,` + names("Practitioner/baker") + up + `}]}`, false},
		"in a denial for something":   {`{"type":"deny",` + forTreatment + `,"provision":[{"type":"permit",` + forEmergency + `,` + names("Practitioner/okafor") + up + `}]}`, false},
		"in a permit for emergencies": {`{"type":"permit",` + forEmergency + `,` + names("Practitioner/okafor") + `,"provision":[{"type":"permit"` + up + `}]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, one, _ := emergencyWorld(t, nil)
			okafor := w.fresh("okafor")
			breakGlass(t, one, okafor, "1001")
			w.put("%s", directive("d", "mateo", c.provision))
			opens(t, one, okafor, "Observation/mateo-very", c.opens)
			opens(t, one, w.fresh("baker"), "Observation/mateo-very", false)
		})
	}
}

// What one looks at in an emergency is logged for that purpose, and only with the
// patient whose emergency it was.
func TestBreakGlassIsLoggedAsSuch(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	w.put(`{"resourceType":"CareTeam","id":"sofias","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
	c := w.fresh("okafor")
	breakGlass(t, one, c, "1001")
	if ids, err := w.on(one).search(c, "Observation", ""); err != nil || !slices.Contains(ids, "mateo-weight") || !slices.Contains(ids, "sofia-weight") {
		t.Fatalf("observations: %v, %v", ids, err)
	}
	for patient, want := range map[string]string{"mateo": `"BTG"`, "sofia": `"TREAT"`} {
		page, err := one.Search(t.Context(), w.as("grace"), "AuditEvent", url.Values{"patient": {patient}, "agent": {"Practitioner/okafor"}, "subtype": {"search-type"}}, false)
		if err != nil || len(page.Entries) != 1 {
			t.Fatalf("%s: %+v, %v", patient, page, err)
		}
		var ev struct {
			PurposeOfEvent json.RawMessage `json:"purposeOfEvent"`
		}
		if err := json.Unmarshal(page.Entries[0].Resource.JSON, &ev); err != nil || !strings.Contains(string(ev.PurposeOfEvent), want) {
			t.Errorf("%s: the purpose is %s, want %s (%v)", patient, ev.PurposeOfEvent, want, err)
		}
	}
}
