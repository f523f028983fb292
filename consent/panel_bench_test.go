//go:build unix

package consent_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// BenchmarkPanel measures the first page of searches of providers with very many
// patients, and in turn with each, of one with ten: as PCP in person, through the
// organisation, on care teams. The ratio is that of the medians. Cold: after a
// write of somebody else that decisions rest on. There are five thousand patients
// and, with LONG set, a hundred thousand.
func BenchmarkPanel(b *testing.B) {
	patients := 5_000
	if os.Getenv("LONG") != "" {
		patients = 100_000
	}
	w := newWorld(b)
	w.panels(patients)
	few := w.as("few")
	for _, many := range []string{"many", "practice", "teams"} {
		c := w.as(many)
		for _, query := range []string{"Patient?_count=10", "Observation?_count=10", "Observation?_count=10&_sort=-date", "Observation?_count=10&_sort=-date&code=29463-7", "my patients"} {
			ask := func(c consent.Caller) func() error { return func() error { return w.page(c, query) } }
			b.Run(fmt.Sprintf("patients=%d/by=%s/%s/warm", patients, many, query), func(b *testing.B) {
				compare(b, 1.5, ask(few), ask(c), func() {})
			})
			b.Run(fmt.Sprintf("patients=%d/by=%s/%s/cold", patients, many, query), func(b *testing.B) {
				compare(b, 1.5, ask(few), ask(c), w.elsewhere)
			})
		}
	}
}

// page asks for a first page.
func (w *world) page(c consent.Caller, query string) error {
	n := 0
	if query == "my patients" {
		cards, _, err := w.guard.MyPatients(w.t.Context(), c, "")
		if err != nil || len(cards) < 10 {
			return fmt.Errorf("%d patients, %v", len(cards), err)
		}
		return nil
	}
	kind, rest, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(rest)
	if err != nil {
		return err
	}
	page, err := w.guard.Search(w.t.Context(), c, fhir.Type(kind), values, false)
	if err != nil {
		return err
	}
	if n = len(page.Entries); n != 10 {
		return fmt.Errorf("got %d entries", n)
	}
	return nil
}

// elsewhere writes of the team and the consents of a patient of others.
func (w *world) elsewhere() {
	w.put(`{"resourceType":"CareTeam","id":"mateo-team","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
	w.put(`{"resourceType":"Consent","id":"elsewhere","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/mateo"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"deny"}}`)
}

// panels fills the world with patients of whom all have "many" and the practice of
// "practice" as PCP, and "teams" on their care team; ten have "few" besides.
func (w *world) panels(patients int) {
	w.t.Helper()
	const imported = 500
	for _, id := range []string{"few", "many", "practice", "teams"} {
		w.put(`{"resourceType":"Practitioner","id":%q,"name":[{"family":%[1]q}]}`, id)
		w.link(id, smart.Provider, "Practitioner/"+id)
	}
	w.put(`{"resourceType":"Organization","id":"org","name":"Practice"}`)
	w.put(`{"resourceType":"PractitionerRole","id":"role","active":true,"practitioner":{"reference":"Practitioner/practice"},"organization":{"reference":"Organization/org"}}`)
	records := bytes.ReplaceAll(sample.Patients(0, imported), []byte(`"gender":`), []byte(`"generalPractitioner":[{"reference":"Practitioner/many"},{"reference":"Organization/org"}],"gender":`))
	l := w.eng.NewLoader(engine.LoadOptions{Refused: func(r engine.Refusal) { w.t.Error(r) }})
	if err := l.LoadNDJSON(w.t.Context(), "patients", bytes.NewReader(records)); err != nil {
		w.t.Fatal(err)
	}
	if err := sample.Grow(w.t.Context(), w.db, imported, patients); err != nil {
		w.t.Fatal(err)
	}
	w.put(`{"resourceType":"CareTeam","id":"team-%s","status":"active","subject":{"reference":"Patient/%[1]s"},"participant":[{"member":{"reference":"Practitioner/teams"}}]}`, sample.ID(0))
	w.copies(store.Key{Type: "CareTeam", ID: "team-" + sample.ID(0)}, 1, patients)
	for n := range 10 {
		id := sample.ID(patients/2 + n*7)
		w.put(`{"resourceType":"Patient","id":%q,"name":[{"family":"Few","given":["F"]}],"birthDate":"2020-02-02","generalPractitioner":[{"reference":"Practitioner/few"},{"reference":"Practitioner/many"},{"reference":"Organization/org"}]}`, id)
	}
}

// copies puts what the first patient has for a stretch of others too.
func (w *world) copies(key store.Key, first, patients int) {
	w.t.Helper()
	const slice = 500
	for from := first; from < patients; from += slice {
		if err := w.db.Update(context.Background(), func(tx store.Writer) error {
			v, err := tx.Resource(key)
			if err != nil {
				return err
			}
			was := []byte(sample.ID(0))
			for n := from; n < min(from+slice, patients); n++ {
				is := []byte(sample.ID(n))
				err := tx.PutResource(&store.Version{
					Key: store.Key{Type: v.Type, ID: strings.ReplaceAll(v.ID, string(was), string(is))}, Version: 1, Time: v.Time,
					Terms: bytes.ReplaceAll(v.Terms, was, is), Body: bytes.ReplaceAll(v.Body, was, is),
				})
				if err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
}
