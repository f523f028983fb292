package consent_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
)

// TestKnownWaysToGetThisWrong holds what servers of this kind are known to get wrong. What
// others test at length is named here by its shortest form.
func TestKnownWaysToGetThisWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, w *world)
	}{
		{"01 totals, counts and links that betray hidden rows", func(t *testing.T, w *world) {
			for n := range 5 {
				w.put(`{"resourceType":"Observation","id":"hidden%d","meta":{"security":[`+fmt.Sprintf(label, "SEX")+`]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`, n)
			}
			page, err := w.guard.Search(t.Context(), w.as("helen"), "Observation", url.Values{"_count": {"1"}, "_total": {"accurate"}}, false)
			if err != nil || *page.Total != 1 || len(page.Entries) != 1 || page.Next != "" {
				t.Errorf("got %s, %v", pageText(page, err), err)
			}
		}},
		{"02 joins that reach into records without a basis", func(t *testing.T, w *world) {
			w.put(`{"resourceType":"Observation","id":"of-ava","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"},"focus":[{"reference":"Patient/mateo"}],"performer":[{"reference":"Practitioner/adams"}]}`)
			w.put(`{"resourceType":"Observation","id":"of-mateo","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"},"focus":[{"reference":"Patient/ava"}],"hasMember":[{"reference":"Observation/of-ava"}]}`)
			for query, want := range map[string][]string{
				"Observation?_id=of-mateo&_include=Observation:focus&_include=Observation:has-member": {"of-mateo"},
				"Patient?_id=mateo&_revinclude=Observation:focus":                                     {"mateo"},
				"Patient?_has:Observation:focus:code:text=x":                                          nil,
				"Observation?has-member.code:text=x":                                                  nil,
				"Observation?focus:Patient.family=thompson":                                           nil,
				"Practitioner?_has:Observation:performer:subject=Patient/ava":                         nil,
			} {
				kind, query, _ := strings.Cut(query, "?")
				if got, err := w.search(w.as("adams"), fhir.Type(kind), query); err != nil || !slices.Equal(got, want) && len(got)+len(want) > 0 {
					t.Errorf("%s?%s: got %v, %v, want %v", kind, query, got, err, want)
				}
			}
		}},
		{"03 a next link for another caller, or after a revocation", func(t *testing.T, w *world) {
			page, err := w.guard.Search(t.Context(), w.as("adams"), "Observation", url.Values{"_count": {"1"}}, false)
			if err != nil || page.Next == "" {
				t.Fatalf("got %v, %v", page, err)
			}
			_, err = w.search(w.as("baker"), "Observation", page.Next)
			wantKind(t, err, fhir.Invalid)
			w.directive("out", "sofia", provision("deny"))
			w.directive("too", "mateo", provision("deny"))
			if got, err := w.search(w.as("adams"), "Observation", page.Next); len(got) > 0 {
				t.Errorf("got %v, %v", got, err)
			}
		}},
		{"04 histories and the whole record decide too", func(t *testing.T, w *world) {
			for name, read := range w.readings() {
				if text := told(t, read, w.as("okafor"), "_count=3"); strings.Contains(text, "-weight") || strings.Contains(text, "birthDate") {
					t.Errorf("%s: %s", name, text)
				}
			}
		}},
		{"06 a refusal that leaves part of a transaction stored", func(t *testing.T, w *world) {
			before := w.versions()
			_, err := w.transaction(w.as("adams"), create("Observation", weightOf("mateo")), create("Observation", weightOf("ava")))
			if fhir.KindOf(err) != fhir.Forbidden || w.versions() != before {
				t.Errorf("got %v, %d versions, want %d", err, w.versions(), before)
			}
		}},
		{"08 a parameter that nobody knows", func(t *testing.T, w *world) {
			_, err := w.search(w.as("adams"), "Observation", "patient=mateo&colour=red")
			wantKind(t, err, fhir.Invalid)
			page, err := w.guard.Search(t.Context(), w.as("adams"), "Observation", url.Values{"patient": {"mateo"}, "colour": {"red"}}, true)
			if err != nil || strings.Contains(page.Applied, "colour") || !strings.Contains(page.Applied, "patient=mateo") {
				t.Errorf("got %v, %v", page, err)
			}
		}},
		{"09 the guardian of two picks one", func(t *testing.T, w *world) {
			app := w.app("grace", "patient/*.rs", "mateo")
			if err := w.read(app, "Observation/mateo-weight"); err != nil || app.Identity.FHIRUser != "RelatedPerson/grace-mateo" {
				t.Errorf("got %v as %s", err, app.Identity.FHIRUser)
			}
			wantKind(t, w.read(app, "Observation/sofia-weight"), fhir.NotFound)
			if got, err := w.search(app, "Patient", ""); err != nil || !slices.Equal(got, []string{"mateo"}) {
				t.Errorf("got %v, %v", got, err)
			}
		}},
		{"10 every way to write decides", func(t *testing.T, w *world) {
			before, body := w.versions(), []byte(weightOf("ava"))
			for name, write := range map[string]consent.Write{
				"update":             {Method: consent.Update, ID: "ava-weight", Body: []byte(strings.Replace(weightOf("ava"), `"status"`, `"id":"ava-weight","status"`, 1))},
				"patch":              {Method: consent.Patch, ID: "ava-weight", Body: []byte(`[{"op":"replace","path":"/status","value":"amended"}]`)},
				"delete":             {Method: consent.Delete, ID: "ava-weight"},
				"conditional update": {Method: consent.Update, Criteria: "patient=ava", Body: body},
				"conditional patch":  {Method: consent.Patch, Criteria: "patient=ava", Body: []byte(`[]`)},
				"conditional create": {Method: consent.Create, Criteria: "patient=ava", Body: body},
				"create":             {Method: consent.Create, Body: body},
			} {
				write.Type = "Observation"
				if _, err := w.guard.Write(t.Context(), w.as("adams"), write); err == nil {
					t.Errorf("%s: done", name)
				}
			}
			if w.versions() != before {
				t.Error("something was stored")
			}
		}},
		{"11 another patient, more than asked, one's own request", func(t *testing.T, w *world) {
			r := w.ask("okafor", "1001", consent.AccessRequest{Narrowing: consent.Narrowing{Classes: []fhir.Type{"Patient"}}})
			_, err := w.guard.Approve(t.Context(), w.as("grace"), r.ID, consent.Narrowing{Classes: []fhir.Type{"Patient", "Observation"}}, nil)
			wantKind(t, err, fhir.Unprocessable)
			_, err = w.guard.Approve(t.Context(), w.as("okafor"), r.ID, consent.Narrowing{}, nil)
			wantKind(t, err, fhir.Forbidden)
			_, _, err = w.guard.Update(t.Context(), w.as("grace"), r.Key, []byte(strings.Replace(string(r.JSON), "Patient/mateo", "Patient/sofia", 1)), nil)
			wantKind(t, err, fhir.Unprocessable)
			w.mayNot("okafor", "Patient/mateo", "Patient/sofia")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newWorld(t)) })
	}
	// 05 is case 17 of TestPeerVectors, 12 are its cases 04, 05, 06 and 09, and 13 is
	// its case 24; 07 is a matter of speed.
}
