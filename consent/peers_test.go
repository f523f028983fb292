package consent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

// provision is the text of one, of parts as they stand in JSON.
func provision(kind string, parts ...string) string {
	return `{"type":"` + kind + `"` + strings.Join(append([]string{""}, parts...), ",") + `}`
}

func inside(children ...string) string { return `"provision":[` + strings.Join(children, ",") + `]` }

func actors(ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, `{`+role+`,"reference":{"reference":"`+id+`"}}`)
	}
	return `"actor":[` + strings.Join(list, ",") + `]`
}

// labelled names confidentialities, of one letter, and sensitivities.
func labelled(codes ...string) string {
	var list []string
	for _, c := range codes {
		if len(c) == 1 {
			list = append(list, fmt.Sprintf(conf, c))
		} else {
			list = append(list, fmt.Sprintf(label, c))
		}
	}
	return `"securityLabel":[` + strings.Join(list, ",") + `]`
}

// directive stores a Consent of a patient as it is found.
func (w *world) directive(id, patient, provision string) {
	w.t.Helper()
	w.put(`{"resourceType":"Consent","id":%q,"status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%s"},"policy":[{"uri":"http://example.org/%s"}],"provision":%s}`, id, patient, id, provision)
}

// result stores an Observation of Mateo with labels.
func (w *world) result(id, at string, labels ...string) {
	w.t.Helper()
	meta := ""
	if len(labels) > 0 {
		meta = `"meta":{` + strings.Replace(labelled(labels...), "securityLabel", "security", 1) + `},`
	}
	w.put(`{"resourceType":"Observation","id":%q,%s"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-8"}]},"subject":{"reference":"Patient/mateo"},"effectiveDateTime":%q}`, id, meta, at)
}

// failing is a store that can be made to fail on what is written.
type failing struct {
	store.Store
	now atomic.Bool
}

func (f *failing) Update(ctx context.Context, fn func(store.Writer) error) error {
	if f.now.Load() {
		return errors.New("the disk is full")
	}
	return f.Store.Update(ctx, fn)
}

// TestPeerVectors holds cases that other products are known to get wrong.
func TestPeerVectors(t *testing.T) {
	const okafor, other, adams = "Practitioner/okafor", "Practitioner/other", "Practitioner/adams"
	consents := func(w *world, roots ...string) {
		for n, root := range roots {
			w.directive(fmt.Sprintf("c%d", n), "mateo", root)
		}
	}
	for _, tt := range []struct {
		name string
		test func(t *testing.T, w *world)
	}{
		{"01 a root permit for somebody else opens nothing", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(other)))
			w.may("other", "Observation/plain")
			w.mayNot("okafor", "Observation/plain", "Patient/mateo")
		}},
		{"02 a root deny with a permit of normal data inside", func(t *testing.T, w *world) {
			consents(w, provision("deny", inside(provision("permit", labelled("N")))))
			w.may("adams", "Observation/plain", "Patient/mateo")
			w.mayNot("adams", "Observation/r", "Observation/psy")
			w.mayNot("okafor", "Observation/plain") // an exception for everybody lifts the deny, and opens to nobody
		}},
		{"03 a permit inside a permit extends it", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(okafor, other), labelled("N"), inside(provision("permit", actors(okafor), labelled("PSY")))))
			w.may("okafor", "Observation/plain", "Observation/psy")
			w.may("other", "Observation/plain")
			w.mayNot("other", "Observation/psy")
			w.mayNot("okafor", "Observation/hiv")
		}},
		{"04 a nested period that is over", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(okafor), inside(provision("deny", `"period":{"end":"2026-03-09"}`))))
			w.may("okafor", "Observation/plain")
		}},
		{"05 a nested dataPeriod", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(okafor), inside(provision("deny", `"dataPeriod":{"start":"2022","end":"2022"}`))))
			w.may("okafor", "Observation/plain")
			w.mayNot("okafor", "Observation/old")
		}},
		{"06 a third level, and a ninth", func(t *testing.T, w *world) {
			third := provision("permit", `"dataPeriod":{"start":"2022","end":"2022"}`)
			consents(w, provision("permit", actors(okafor), inside(provision("deny", inside(third)))))
			w.may("okafor", "Observation/old")
			w.mayNot("okafor", "Observation/plain")
			deep := provision("deny")
			for range 8 {
				deep = provision("deny", inside(deep))
			}
			_, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", []byte(strings.NewReplacer("ID", "grace-mateo", "PROVISION", deep).Replace(byGuardian)))
			wantKind(t, err, fhir.Unprocessable)
			if !strings.Contains(string(fhir.Outcome(err)), "Consent.provision") {
				t.Errorf("the refusal names no element: %s", fhir.Outcome(err))
			}
		}},
		{"07 an older deny and a newer permit", func(t *testing.T, w *world) {
			consents(w, provision("deny", actors(okafor)))
			w.clock.pass(time.Hour)
			w.directive("newer", "mateo", provision("permit", actors(okafor)))
			w.mayNot("okafor", "Observation/plain", "Patient/mateo")
		}},
		{"08 an actor that leads nowhere", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors("Practitioner/gone", okafor)))
			w.may("okafor", "Observation/plain")
			w.mayNot("other", "Observation/plain")
			w.directive("more", "mateo", provision("deny", actors("Practitioner/gone", other)))
			w.mayNot("okafor", "Observation/plain")
		}},
		{"09 an end that is today", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(okafor), `"period":{"end":"2026-03-10"}`))
			w.clock.set(time.Date(2026, 3, 10, 23, 59, 59, 0, w.zone))
			w.may("okafor", "Observation/plain")
			w.clock.pass(time.Second)
			w.mayNot("okafor", "Observation/plain")
		}},
		{"10 an exception inside a consent holds against another basis", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(adams), labelled("R"), inside(provision("deny", `"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]`))))
			w.may("adams", "Patient/mateo")
			w.mayNot("adams", "Observation/plain", "Observation/r")
		}},
		{"11 a page of several patients", func(t *testing.T, w *world) {
			w.directive("c", "sofia", provision("deny", actors(adams)))
			w.put(`{"resourceType":"Observation","id":"nobodys","status":"final","code":{"text":"x"},"subject":{"reference":"Location/1"}}`)
			got, err := w.search(w.as("adams"), "Observation", "_include=Observation:subject&_sort=_id")
			if err != nil || slices.Contains(got, "sofia") || slices.Contains(got, "sofia-weight") || !slices.Contains(got, "mateo-weight") {
				t.Errorf("got %v, %v", got, err)
			}
		}},
		{"12 the Patient, and members of the compartment by other parameters", func(t *testing.T, w *world) {
			w.put(`{"resourceType":"Observation","id":"told","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"performer":[{"reference":"Practitioner/okafor"}]}`)
			for _, q := range []string{"Patient?_id=mateo", "Patient?", "Observation?performer=Practitioner/okafor", "Observation?_id=told", "Observation?subject=Patient/mateo", "Observation?subject:Patient.identifier=1001",
				"Patient?_has:Observation:subject:performer=Practitioner/okafor", "RelatedPerson?patient=mateo", "CareTeam?participant=Practitioner/chen"} {
				kind, query, _ := strings.Cut(q, "?")
				if got, err := w.search(w.as("okafor"), fhir.Type(kind), query); err != nil || len(got) > 0 {
					t.Errorf("%s: got %v, %v", q, got, err)
				}
			}
		}},
		{"13 totals and links count what is shown", func(t *testing.T, w *world) {
			w.directive("c", "mateo", provision("deny", labelled("R"), actors(adams)))
			values := map[string][]string{"patient": {"mateo"}, "_count": {"3"}, "_total": {"accurate"}}
			page, err := w.guard.Search(t.Context(), w.as("adams"), "Observation", values, false)
			if err != nil || page.Total == nil || *page.Total != 3 || len(page.Entries) != 3 || page.Next != "" {
				t.Errorf("got %+v, %v: want three of three and no next page", page, err)
			}
		}},
		{"14 a permit must name all sensitivities", func(t *testing.T, w *world) {
			w.result("both", "2025-06-01", "R", "PSY", "HIV")
			consents(w, provision("permit", actors(okafor), labelled("R", "PSY")))
			w.may("okafor", "Observation/psy")
			w.mayNot("okafor", "Observation/both")
		}},
		{"15 treatment is not break-glass, nor the other way round", func(t *testing.T, w *world) {
			purpose := `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":%q}]`
			consents(w, provision("permit", actors(okafor), fmt.Sprintf(purpose, "BTG")), provision("permit", actors(other), fmt.Sprintf(purpose, "TREAT")))
			w.mayNot("okafor", "Observation/plain")
			w.may("other", "Observation/plain")
		}},
		{"16 a sensitivity stands for those it comprises", func(t *testing.T, w *world) {
			w.result("opioid", "2025-06-01", "OPIOIDUD")
			w.may("adams", "Observation/opioid")
			consents(w, provision("deny", labelled("ETH")))
			w.mayNot("adams", "Observation/opioid")
			w.may("adams", "Observation/psy")
		}},
		{"18 the second page after a revocation", func(t *testing.T, w *world) {
			consents(w, provision("permit", actors(okafor), labelled("R")))
			page, err := w.guard.Search(t.Context(), w.as("okafor"), "Observation", map[string][]string{"_count": {"1"}}, false)
			if err != nil || page.Next == "" {
				t.Fatalf("got next %q, %v", page.Next, err)
			}
			w.put(`{"resourceType":"Consent","id":"c0","status":"inactive","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"http://example.org/c0"}]}`)
			if got, err := w.search(w.as("okafor"), "Observation", page.Next); len(got) > 0 {
				t.Errorf("got %v, %v", got, err)
			}
		}},
		{"19 a consent refused inside a transaction", func(t *testing.T, w *world) {
			before := w.versions()
			_, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), create("Consent", strings.NewReplacer("ID", "grace-mateo", "PROVISION", provision("permit", actors(adams))).Replace(byGuardian)))
			if err == nil || w.versions() != before {
				t.Errorf("got %v; %d versions, want %d", err, w.versions(), before)
			}
		}},
		{"20 the whole of a record after a deny", func(t *testing.T, w *world) {
			consents(w, provision("deny", actors(adams), labelled("PSY")))
			for name, read := range w.readings() {
				if text := told(t, read, w.as("adams"), "_count=2"); strings.Contains(text, "Observation/psy") {
					t.Errorf("%s tells of it: %s", name, text)
				}
			}
			for _, level := range []consent.ExportLevel{consent.ExportSystem, consent.ExportPatients} {
				if got, err := w.export(w.guard, w.as("adams"), consent.ExportRequest{Level: level}); err != nil || !slices.Contains(got, "Observation/plain") || slices.Contains(got, "Observation/psy") {
					t.Errorf("%s: an export gives %v, %v", level, got, err)
				}
			}
			page, err := w.guard.Everything(t.Context(), w.as("adams"), "mateo", nil, false)
			if err != nil || !strings.Contains(pageText(page, nil), "Observation/plain") || strings.Contains(pageText(page, nil), "Observation/psy") {
				t.Errorf("everything: %s, %v", pageText(page, err), err)
			}
		}},
		{"21 an include that leads to another patient", func(t *testing.T, w *world) {
			w.put(`{"resourceType":"Observation","id":"joint","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"hasMember":[{"reference":"Observation/ava-weight"},{"reference":"Observation/plain"}]}`)
			got, err := w.search(w.as("adams"), "Observation", "_id=joint&_include=Observation:has-member&_include:iterate=Observation:subject")
			slices.Sort(got)
			if want := []string{"joint", "mateo", "plain"}; err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		}},
		{"22 the mother of two, with a limit for one", func(t *testing.T, w *world) {
			consents(w, provision("deny", actors("RelatedPerson/grace-mateo")))
			w.mayNot("grace", "Patient/mateo", "Observation/plain", "Consent/c0")
			w.may("grace", "Patient/sofia", "Observation/sofia-weight")
			w.may("luis", "Patient/mateo", "Consent/c0")
		}},
		{"23 the eighteenth birthday with a session open", func(t *testing.T, w *world) {
			helen := w.as("helen")
			w.clock.set(time.Date(2028, 9, 8, 23, 59, 59, 0, w.zone))
			if err := w.read(helen, "Patient/ava"); err != nil {
				t.Error(err)
			}
			w.clock.pass(time.Second)
			wantKind(t, w.read(helen, "Patient/ava"), fhir.NotFound)
			if got, err := w.search(helen, "Observation", ""); err != nil || len(got) > 0 {
				t.Errorf("got %v, %v", got, err)
			}
		}},
		{"24 a body that lacks what was left out", func(t *testing.T, w *world) {
			part := `{"resourceType":"Observation","id":"plain","meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`
			_, _, err := w.guard.Update(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "plain"}, []byte(part), nil)
			wantKind(t, err, fhir.Unprocessable)
		}},
		{"25 a consent of one patient made one of another", func(t *testing.T, w *world) {
			body := strings.NewReplacer("ID", "grace-mateo", "PROVISION", provision("permit", actors(okafor))).Replace(byGuardian)
			r, _, err := w.guard.Create(t.Context(), w.as("grace"), "Consent", []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			moved := strings.NewReplacer(`"Consent"`, `"Consent","id":"`+r.ID+`"`, "mateo", "sofia").Replace(body)
			_, _, err = w.guard.Update(t.Context(), w.as("grace"), r.Key, []byte(moved), nil)
			wantKind(t, err, fhir.Unprocessable)
			w.mayNot("okafor", "Patient/sofia")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.result("plain", "2025-06-01")
			w.result("old", "2022-06-01")
			w.result("r", "2025-06-01", "R")
			w.result("psy", "2025-06-01", "PSY")
			w.result("hiv", "2025-06-01", "HIV")
			tt.test(t, w)
		})
	}
	t.Run("17 nothing is answered when what follows the decision fails", func(t *testing.T) {
		f := &failing{}
		w := newWorld(t, func(c *engine.Config) { f.Store, c.Store = c.Store, f })
		adams := w.as("adams")
		f.now.Store(true)
		r, err := w.guard.Read(t.Context(), adams, fhir.Key{Type: "Patient", ID: "mateo"})
		wantKind(t, err, fhir.Unavailable)
		page, failed := w.guard.Search(t.Context(), adams, "Patient", nil, false)
		if wantKind(t, failed, fhir.Unavailable); r != nil || page != nil || strings.Contains(string(fhir.Outcome(err)), "disk") {
			t.Errorf("got %v, %v, %s", r, page, fhir.Outcome(err))
		}
		f.now.Store(false)
	})
}

// byGuardian is a directive of Mateo's guardian ID.
const byGuardian = `{"resourceType":"Consent","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"performer":[{"reference":"RelatedPerson/ID"}],"policy":[{"uri":"http://example.org/p"}],"provision":PROVISION}`
