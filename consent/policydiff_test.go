package consent_test

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// comparisonWorld fills the world with a way to every basis that there is.
func comparisonWorld(t *testing.T) *world {
	w := newWorld(t)
	label := func(id, patient, system, code string) {
		w.put(`{"resourceType":"Observation","id":%q,"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/%s","code":%q}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/%s"}}`, id, system, code, patient)
	}
	label("mateo-psy", "mateo", "v3-ActCode", "PSY")
	label("mateo-r", "mateo", "v3-Confidentiality", "R")
	label("mateo-low", "mateo", "v3-Confidentiality", "L")
	label("ava-r", "ava", "v3-Confidentiality", "R")
	label("noah-sud", "noah", "v3-ActCode", "SUD")
	w.put(`{"resourceType":"Organization","id":"practice","active":true,"name":"P"}`)
	w.put(`{"resourceType":"PractitionerRole","id":"other-role","active":true,"practitioner":{"reference":"Practitioner/other"},"organization":{"reference":"Organization/practice"}}`)
	w.put(`{"resourceType":"CareTeam","id":"inner","status":"active","subject":{"reference":"Patient/noah"},"participant":[{"member":{"reference":"Organization/practice"}},{"member":{"reference":"Practitioner/okafor"}}]}`)
	w.put(`{"resourceType":"CareTeam","id":"outer","status":"active","subject":{"reference":"Patient/ava"},"participant":[{"member":{"reference":"CareTeam/inner"}}]}`)
	w.put(`{"resourceType":"Group","id":"ward","type":"practitioner","actual":true,"active":true,"member":[{"entity":{"reference":"PractitionerRole/other-role"}}]}`)
	grant := func(id, patient, performer, actor, label string) {
		w.put(`{"resourceType":"Consent","id":%q,"status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
			"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%s"},"dateTime":"2026-01-01","performer":[{"reference":%q}],"policy":[{"uri":"urn:x"}],
			"provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":%q}}],"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]%s}}`,
			id, patient, performer, actor, label)
	}
	grant("c1", "mateo", "RelatedPerson/grace-mateo", "Practitioner/okafor", `,"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]`)
	grant("c2", "sofia", "RelatedPerson/grace-sofia", "Group/ward", "")
	grant("c3", "noah", "RelatedPerson/mark-noah", "Organization/practice", "")
	grant("c4", "ava", "Patient/ava", "CareTeam/mateo-team", "")
	w.sponsored("adams")
	return w
}

// somebody is a caller of the comparison.
func somebody(role smart.Role, person string) consent.Caller {
	return consent.Caller{Grant: consent.Portal(smart.Identity{Login: "x", Role: role, FHIRUser: person, Persons: []string{person}}, "s"), Address: "192.0.2.1"}
}

// visible lists what somebody can find of a patient.
func visible(t *testing.T, w *world, c consent.Caller, patient string) map[fhir.Type][]string {
	t.Helper()
	found := map[fhir.Type][]string{}
	for typ, query := range map[fhir.Type]string{"Patient": "_id=" + patient, "Observation": "patient=Patient/" + patient, "CareTeam": "patient=Patient/" + patient, "RelatedPerson": "patient=Patient/" + patient} {
		ids, err := w.search(c, typ, query+"&_count=100")
		if err != nil && fhir.KindOf(err) != fhir.Forbidden {
			t.Fatal(err)
		}
		found[typ] = slices.DeleteFunc(ids, func(id string) bool { return strings.HasPrefix(id, "outcome:") })
	}
	return found
}

// visibleByPatient is visible for all patients, by searches that name none.
func visibleByPatient(t *testing.T, w *world, c consent.Caller) map[string]map[fhir.Type][]string {
	t.Helper()
	found := map[string]map[fhir.Type][]string{}
	for _, typ := range []fhir.Type{"Patient", "Observation", "CareTeam", "RelatedPerson"} {
		page, err := w.guard.Search(t.Context(), c, typ, url.Values{"_count": {"100"}}, false)
		if err != nil && fhir.KindOf(err) != fhir.Forbidden {
			t.Fatal(err)
		}
		if page == nil {
			continue
		}
		for _, e := range page.Entries {
			patient := "Patient/" + e.Resource.Key.ID
			if typ != "Patient" {
				patient = ofPatient.FindString(string(e.Resource.JSON))
			}
			if found[patient] == nil {
				found[patient] = map[fhir.Type][]string{}
			}
			found[patient][typ] = append(found[patient][typ], e.Resource.Key.ID)
		}
	}
	return found
}

var ofPatient = regexp.MustCompile(`Patient/[a-z]+`)

func missingFrom(a, b map[fhir.Type][]string) map[fhir.Type]int {
	counts := map[fhir.Type]int{}
	for typ, ids := range a {
		for _, id := range ids {
			if !slices.Contains(b[typ], id) {
				counts[typ]++
			}
		}
	}
	return counts
}

// policies are changes of the default, each with a row of the table or an age.
func policies() map[string]func(*consent.Policy) {
	base := func(code consent.BasisCode, c consent.Ceiling) func(*consent.Policy) {
		return func(p *consent.Policy) { p.Bases = map[consent.BasisCode]consent.Ceiling{code: c} }
	}
	return map[string]func(*consent.Policy){
		"nothing":              func(*consent.Policy) {},
		"pcp off":              base(consent.BasisPCP, consent.Ceiling{Off: true}),
		"pcp normal":           base(consent.BasisPCP, consent.Ceiling{Level: "N"}),
		"pcp low":              base(consent.BasisPCP, consent.Ceiling{Level: "L"}),
		"team off":             base(consent.BasisCareTeam, consent.Ceiling{Off: true}),
		"team types":           base(consent.BasisCareTeam, consent.Ceiling{Types: []fhir.Type{"Patient", "CareTeam"}}),
		"team never":           base(consent.BasisCareTeam, consent.Ceiling{Never: []string{"PSY", "SUD"}}),
		"consent off":          base(consent.BasisConsent, consent.Ceiling{Off: true}),
		"consent normal":       base(consent.BasisConsent, consent.Ceiling{Level: "N"}),
		"proxy off":            base(consent.BasisProxy, consent.Ceiling{Off: true}),
		"proxy normal":         base(consent.BasisProxy, consent.Ceiling{Level: "N"}),
		"sponsored never":      base(consent.BasisSponsored, consent.Ceiling{Never: []string{"PSY"}}),
		"sponsored off":        base(consent.BasisSponsored, consent.Ceiling{Off: true}),
		"teens from 8":         func(p *consent.Policy) { p.TeenAge = 8 },
		"adults from 15":       func(p *consent.Policy) { p.AdultAge = 15 },
		"adults from 19":       func(p *consent.Policy) { p.AdultAge = 19 },
		"grants kept":          func(p *consent.Policy) { p.KeepGuardianGrants = true },
		"organizations":        func(p *consent.Policy) { p.CareTeamOrganizations = true },
		"hidden from the rest": func(p *consent.Policy) { p.TeenHidden = []string{"PSY"} },
	}
}

// A comparison says what callers under the two policies find, no more and no less.
func TestComparisonIsWhatCallersFind(t *testing.T) {
	w := comparisonWorld(t)
	people := []consent.Caller{somebody(smart.Sponsored, w.as("nora").Identity.FHIRUser), somebody(smart.Patient, "Patient/ava"), somebody(smart.Patient, "Patient/noah"), somebody(smart.Patient, "Patient/mateo")}
	for _, id := range []string{"adams", "baker", "chen", "okafor", "other"} {
		people = append(people, somebody(smart.Provider, "Practitioner/"+id))
	}
	for _, id := range []string{"grace-mateo", "grace-sofia", "luis-mateo", "helen-ava", "mark-noah", "nobody-lily"} {
		people = append(people, somebody(smart.Proxy, "RelatedPerson/"+id))
	}
	patients := []string{"Patient/mateo", "Patient/sofia", "Patient/ava", "Patient/noah", "Patient/lily"}
	look := func(g *consent.Guard) map[string]map[fhir.Type][]string {
		all := map[string]map[fhir.Type][]string{}
		for _, c := range people {
			by := visibleByPatient(t, w.on(g), c)
			for _, patient := range patients {
				all[string(c.Identity.Role)+" "+c.Identity.FHIRUser+" "+patient] = by[patient]
			}
		}
		return all
	}
	seen := look(w.guard)
	kinds := map[consent.ChangeKind]int{}
	for name, change := range policies() {
		t.Run(name, func(t *testing.T) {
			to := consent.DefaultPolicy()
			change(&to)
			after := look(w.node(func(c *consent.Config) { c.Policy = to }))
			got := map[string]consent.AccessChange{}
			report, err := w.guard.ComparePolicy(t.Context(), to, name, func(c consent.AccessChange) error {
				kinds[c.Kind]++
				if c.Kind != consent.ChangeBasis {
					got[string(c.Role)+" "+c.Person+" "+c.Patient] = c
				}
				return nil
			})
			if err != nil || report.Patients != len(patients) || report.Differs() != (len(got) > 0) {
				t.Fatalf("report %+v, %v", report, err)
			}
			for who, before := range seen {
				opens, closes := missingFrom(after[who], before), missingFrom(before, after[who])
				c, told := got[who]
				delete(got, who)
				if told != (len(opens)+len(closes) > 0) || told && (!same(c.Opens, opens) || !same(c.Closes, closes)) {
					t.Errorf("%s: told %v opens %v closes %v, want opens %v closes %v", who, told, c.Opens, c.Closes, opens, closes)
				}
			}
			if len(got) > 0 {
				t.Errorf("told of others too: %v", got)
			}
		})
	}
	for _, kind := range []consent.ChangeKind{consent.ChangeOpened, consent.ChangeClosed, consent.ChangeWidened, consent.ChangeNarrowed} {
		if kinds[kind] == 0 {
			t.Errorf("no change was %s: the world is too small", kind)
		}
	}
}

// same compares counts of the types that visible looks at.
func same(got, want map[fhir.Type]int) bool {
	got = maps.Clone(got)
	maps.DeleteFunc(got, func(t fhir.Type, _ int) bool {
		return !slices.Contains([]fhir.Type{"Patient", "Observation", "CareTeam", "RelatedPerson"}, t)
	})
	return maps.Equal(got, want)
}

func TestComparisonOfTheDeskAndOfEmergencies(t *testing.T) {
	w, one, _ := emergencyWorld(t, nil)
	breakGlass(t, one, w.fresh("okafor"), "1001")
	changes := func(g *consent.Guard, change func(*consent.Policy)) []string {
		t.Helper()
		to := consent.DefaultPolicy()
		to.BreakGlass.Enabled = true
		change(&to)
		var list []string
		if _, err := g.ComparePolicy(t.Context(), to, "", func(c consent.AccessChange) error {
			list = append(list, fmt.Sprintf("%s %s %s %s", c.Kind, c.Role, c.Person, c.Patient))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	for name, c := range map[string]struct {
		change func(*consent.Policy)
		want   []string
	}{
		"nothing":             {func(*consent.Policy) {}, nil},
		"no emergencies":      {func(p *consent.Policy) { p.BreakGlass.Enabled = false }, []string{"closed provider Practitioner/okafor Patient/mateo"}},
		"less in emergencies": {func(p *consent.Policy) { p.BreakGlass.Never = []string{"PSY"} }, []string{"narrowed provider Practitioner/okafor Patient/mateo"}},
		"more in emergencies": {func(p *consent.Policy) { p.BreakGlass.Ceiling = "V" }, []string{"widened provider Practitioner/okafor Patient/mateo"}},
		"no desk":             {func(p *consent.Policy) { p.Bases = map[consent.BasisCode]consent.Ceiling{"staff": {Off: true}} }, []string{"closed staff  ", "closed admin  "}},
		"no patients at desk": {func(p *consent.Policy) {
			p.Bases = map[consent.BasisCode]consent.Ceiling{"staff": {Types: []fhir.Type{"Consent"}}}
		}, []string{"narrowed staff  ", "narrowed admin  "}},
		"systems see the rest": {func(p *consent.Policy) {
			p.Bases = map[consent.BasisCode]consent.Ceiling{"system": {Never: []string{"PSY"}}}
		}, []string{"narrowed system  "}},
	} {
		if got := changes(one, c.change); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestComparisonIsLoggedAndCanBeGivenUp(t *testing.T) {
	w := newWorld(t)
	stop := errors.New("stop")
	to := consent.DefaultPolicy()
	to.Bases = map[consent.BasisCode]consent.Ceiling{consent.BasisPCP: {Off: true}}
	n := 0
	if _, err := w.guard.ComparePolicy(t.Context(), to, "policy.bases.pcp.off", func(consent.AccessChange) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("got %v after %d", err, n)
	}
	rows, _, err := w.guard.FindAudit(t.Context(), somebody(smart.Admin, "Practitioner/adams"), consent.AuditQuery{Action: "compare-policies"})
	if err != nil || len(rows) != 1 || rows[0].Detail != "policy.bases.pcp.off" || rows[0].Client != "Command line" || len(rows[0].Patients) > 0 {
		t.Errorf("log: %+v, %v", rows, err)
	}
	to.Bases = map[consent.BasisCode]consent.Ceiling{consent.BasisSelf: {Off: true}, "pcp": {Level: "X"}}
	if _, err := w.guard.ComparePolicy(t.Context(), to, "", nil); err == nil || !strings.Contains(err.Error(), "self") || !strings.Contains(err.Error(), "pcp") {
		t.Errorf("a policy that cannot be: %v", err)
	}
}
