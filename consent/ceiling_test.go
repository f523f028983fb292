package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// Under every table a search over all patients finds what searches of each patient
// find, also when the panel is joined, and a read opens what a search finds.
func TestCeilingsHoldOnEveryPath(t *testing.T) {
	w := comparisonWorld(t)
	for name, change := range policies() {
		if !strings.HasPrefix(name, "pcp") && !strings.HasPrefix(name, "team") && name != "nothing" { // what is joined
			continue
		}
		t.Run(name, func(t *testing.T) {
			to := consent.DefaultPolicy()
			change(&to)
			listed := w.node(func(c *consent.Config) { c.Policy = to })
			joined := w.node(func(c *consent.Config) { c.Policy = to })
			joined.ListAtMost(-1)
			for _, id := range []string{"adams", "baker", "chen", "okafor", "other"} {
				c := somebody(smart.Provider, "Practitioner/"+id)
				each := map[fhir.Type][]string{}
				for _, patient := range []string{"mateo", "sofia", "ava", "noah", "lily"} {
					for typ, ids := range visible(t, w.on(listed), c, patient) {
						each[typ] = append(each[typ], ids...)
					}
				}
				for _, typ := range []fhir.Type{"Patient", "Observation", "CareTeam", "RelatedPerson"} {
					slices.Sort(each[typ])
					for way, g := range map[string]*consent.Guard{"listed": listed, "joined": joined} {
						all, err := w.on(g).search(c, typ, "_count=100")
						if err != nil {
							t.Fatal(err)
						}
						if slices.Sort(all); !slices.Equal(all, each[typ]) {
							t.Errorf("%s, %s, %s: got %v, want %v", id, way, typ, all, each[typ])
						}
						for _, one := range []string{"mateo-weight", "mateo-r", "mateo-psy", "mateo-low", "ava-r", "noah-sud"} {
							if typ == "Observation" {
								opens(t, g, c, "Observation/"+one, slices.Contains(each[typ], one))
							}
						}
					}
				}
			}
		})
	}
}

// What a row of the table says is what its people see.
func TestCeilingsOfEachBasis(t *testing.T) {
	w := comparisonWorld(t)
	all := []string{"mateo-low", "mateo-psy", "mateo-r", "mateo-weight"}
	provider := func(id string) consent.Caller { return somebody(smart.Provider, "Practitioner/"+id) }
	grace := somebody(smart.Proxy, "RelatedPerson/grace-mateo")
	nora := somebody(smart.Sponsored, w.as("nora").Identity.FHIRUser)
	system := w.app("adams", "system/*.rs", "")
	system.Identity = smart.Identity{Role: smart.System}
	for i, c := range []struct {
		basis   consent.BasisCode
		caller  consent.Caller
		ceiling consent.Ceiling
		want    []string
	}{
		{consent.BasisPCP, provider("adams"), consent.Ceiling{}, all},
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}},
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Level: "L"}, []string{"mateo-low"}},
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Level: "V"}, all}, // which raises nothing
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Never: []string{"MH"}}, []string{"mateo-low", "mateo-r", "mateo-weight"}},
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Types: []fhir.Type{"Patient"}}, nil},
		{consent.BasisPCP, provider("adams"), consent.Ceiling{Off: true}, nil},
		{consent.BasisCareTeam, provider("chen"), consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}},
		{consent.BasisCareTeam, provider("adams"), consent.Ceiling{Off: true}, all}, // who has another basis
		{consent.BasisConsent, provider("okafor"), consent.Ceiling{}, []string{"mateo-low", "mateo-psy", "mateo-r", "mateo-weight"}},
		{consent.BasisConsent, provider("okafor"), consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}},
		{consent.BasisProxy, grace, consent.Ceiling{Never: []string{"PSY"}}, []string{"mateo-low", "mateo-r", "mateo-weight"}},
		{consent.BasisProxy, provider("okafor"), consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}}, // nobody gives what they do not see
		{consent.BasisProxy, provider("okafor"), consent.Ceiling{Off: true}, nil},
		{consent.BasisSponsored, nora, consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}},
		{consent.BasisPCP, nora, consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}}, // nor more than the sponsor
		{consent.BasisPCP, nora, consent.Ceiling{Off: true}, nil},
		{consent.BasisSystem, system, consent.Ceiling{Level: "N"}, []string{"mateo-low", "mateo-weight"}},
		{consent.BasisSystem, system, consent.Ceiling{Off: true}, nil},
	} {
		to := consent.DefaultPolicy()
		to.Bases = map[consent.BasisCode]consent.Ceiling{c.basis: c.ceiling}
		got, err := w.on(w.node(func(config *consent.Config) { config.Policy = to })).search(c.caller, "Observation", "patient=Patient/mateo")
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if slices.Sort(got); fmt.Sprint(got) != fmt.Sprint(append([]string{}, c.want...)) {
			t.Errorf("%d, %s under %+v: got %v, want %v", i, c.basis, c.ceiling, got, c.want)
		}
	}
}

// A basis that is off is not offered: nobody is listed by it, and guardians who
// decide nothing are not waited for.
func TestBasesThatAreOffAreNotOffered(t *testing.T) {
	w := comparisonWorld(t)
	off := func(code consent.BasisCode) *consent.Guard {
		return w.node(func(c *consent.Config) { c.Policy.Bases = map[consent.BasisCode]consent.Ceiling{code: {Off: true}} })
	}
	for code, want := range map[consent.BasisCode][]consent.BasisCode{
		"":                      {"pcp", "care-team", "proxy", "proxy"},
		consent.BasisPCP:        {"care-team", "proxy", "proxy"},
		consent.BasisCareTeam:   {"pcp", "proxy", "proxy"},
		consent.BasisInvitation: {"pcp", "care-team", "proxy", "proxy"},
	} {
		g := w.guard
		if code != "" {
			g = off(code)
		}
		list, err := g.WhoCanSee(t.Context(), w.as("grace"), "mateo")
		var got []consent.BasisCode
		for _, entry := range list {
			got = append(got, entry.Group)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("without %q: got %v, %v; want %v", code, got, err, want)
		}
	}
	sel, err := off(consent.BasisProxy).Select(t.Context(), w.as("baker"), consent.Selection{MRN: "1001"})
	if err != nil || len(sel.Outcomes) != 1 || sel.Outcomes[0].Code != consent.NoPortalAccount {
		t.Errorf("nobody can answer: got %+v, %v", sel, err)
	}
	_, err = off(consent.BasisProxy).WhoCanSee(t.Context(), w.as("grace"), "mateo")
	if fhir.KindOf(err) != fhir.NotFound && fhir.KindOf(err) != fhir.Forbidden {
		t.Errorf("a guardian without a basis: %v", err)
	}
}

// What opens a part of a record for reading does not open it for writing to one who
// may write another part.
func TestCeilingsHoldForWriting(t *testing.T) {
	w := comparisonWorld(t)
	w.put(`{"resourceType":"Consent","id":"c9","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2026-01-01","performer":[{"reference":"RelatedPerson/grace-mateo"}],"policy":[{"uri":"urn:x"}],
		"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/adams"}}]}}`)
	w.put(`{"resourceType":"Condition","id":"mateo-cough","code":{"text":"Cough"},"subject":{"reference":"Patient/mateo"}}`)
	adams := somebody(smart.Provider, "Practitioner/adams")
	guard := w.node(func(c *consent.Config) {
		c.Policy.Bases = map[consent.BasisCode]consent.Ceiling{consent.BasisPCP: {Types: []fhir.Type{"Patient", "Observation"}}, consent.BasisCareTeam: {Off: true}}
	})
	if got, err := w.on(guard).search(adams, "Condition", "patient=Patient/mateo"); err != nil || len(got) == 0 {
		t.Fatalf("the consent opens conditions for reading: got %v, %v", got, err)
	}
	for body, want := range map[string]bool{
		`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`: true,
		`{"resourceType":"Condition","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`:                    false,
	} {
		var typ fhir.Type = "Observation"
		if !want {
			typ = "Condition"
		}
		_, _, err := guard.Create(t.Context(), adams, typ, []byte(body))
		if want != (err == nil) || err != nil && fhir.KindOf(err) != fhir.Forbidden {
			t.Errorf("%s: got %v, want written %v", typ, err, want)
		}
	}
}
