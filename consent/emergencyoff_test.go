package consent_test

import (
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// putBTG stores an approval for emergencies alone.
func (w *world) putBTG(patient, provider string) {
	w.put(`{"resourceType":"Consent","id":"for-emergencies","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%s"},"dateTime":"2026-01-01","performer":[{"reference":"RelatedPerson/grace-mateo"}],"policy":[{"uri":"urn:x"}],
		"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/%s"}}],
			"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"BTG"}],
			"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]}}`, patient, provider)
}

// What a family permits for emergencies opens nothing where the site has none: not by
// itself, and not to a session that was begun while it had.
func TestPermitForEmergenciesOpensNothingWhereThereAreNone(t *testing.T) {
	w, on, _ := emergencyWorld(t, nil)
	off := w.node(func(c *consent.Config) { c.Policy.BreakGlass.Enabled = false })
	c := w.fresh("okafor")
	w.putBTG("mateo", "okafor")
	shut := func(g *consent.Guard, when string) {
		t.Helper()
		for _, ref := range []string{"Patient/mateo", "Observation/mateo-weight", "Observation/mateo-very"} {
			opens(t, g, c, ref, false)
		}
		if ids, err := w.on(g).search(c, "Observation", ""); err != nil || len(ids) > 0 {
			t.Errorf("%s: found %v, %v", when, ids, err)
		}
		if r, err := g.Access(t.Context(), c, "mateo"); err != nil || r.Permitted || len(r.Bases) > 0 {
			t.Errorf("%s: %+v, %v", when, r, err)
		}
	}
	shut(off, "no emergencies here")
	shut(on, "no emergency has begun")
	breakGlass(t, on, c, "1001")
	opens(t, on, c, "Observation/mateo-weight", true)
	opens(t, on, c, "Observation/mateo-very", true) // by the permit: the site's ceiling is R
	shut(off, "begun where there are emergencies")
	after := w.node(func(c *consent.Config) { c.Policy.BreakGlass.Enabled = false })
	shut(after, "after a start without them")
}

// A search that names no patient finds what an emergency opens, for the grant that
// has begun it and for nobody else, and no more when it has ended.
func TestSearchesOverAllPatientsKnowEmergencies(t *testing.T) {
	w, one, two := emergencyWorld(t, nil)
	two.ListAtMost(-1)   // panels are joined
	c := w.fresh("chen") // who has a patient of their own
	w.put(`{"resourceType":"CareTeam","id":"sofia-team","status":"active","subject":{"reference":"Patient/sofia"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
	other := c
	other.ID = "another-grant"
	colleague := somebody(smart.Provider, "Practitioner/okafor")
	colleague.ID = c.ID
	finds := func(when string, caller consent.Caller, want ...string) {
		t.Helper()
		for _, g := range []*consent.Guard{one, two} {
			got, err := w.on(g).search(caller, "Observation", "code=29463-7")
			if slices.Sort(got); err != nil || !slices.Equal(got, append([]string{}, want...)) {
				t.Errorf("%s: got %v, %v; want %v", when, got, err, want)
			}
			cards, _, err := g.MyPatients(t.Context(), caller, "")
			if err != nil || len(cards) != len(want) {
				t.Errorf("%s: %d patients, %v; want %d", when, len(cards), err, len(want))
			}
		}
	}
	finds("before", c, "mateo-weight", "sofia-weight")
	breakGlass(t, one, c, "1003")
	finds("begun", c, "ava-weight", "mateo-weight", "sofia-weight")
	// It does not rest on the Consent that tells of it, by which the panel knows too.
	ids, err := w.search(w.as("ava"), "Consent", "")
	if err != nil || len(ids) != 1 {
		t.Fatalf("what tells of the emergency: %v, %v", ids, err)
	}
	told, err := w.guard.Read(t.Context(), w.as("ava"), fhir.Key{Type: "Consent", ID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	w.put("%s", strings.Replace(string(told.JSON), `"status":"active"`, `"status":"inactive"`, 1))
	opens(t, one, c, "Observation/ava-weight", true)
	finds("runs", c, "ava-weight", "mateo-weight", "sofia-weight")
	finds("another grant", other, "mateo-weight", "sofia-weight")
	finds("another person", colleague)
	if err := two.EndBreakGlass(t.Context(), c, "ava"); err != nil {
		t.Fatal(err)
	}
	finds("ended", c, "mateo-weight", "sofia-weight")
}
