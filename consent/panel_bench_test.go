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
// organisation, on care teams. There are five thousand patients and, with LONG set, a
// hundred thousand; STORE names the engine. Both are given pages of as many rows, about
// as many patients: a page of fifty, and the list of one's own patients, are compared
// with those of one who has enough patients for that.
//
// Whole is as callers meet it: with its record on disk. Elsewhere is that after a write
// about a patient of somebody else. Together is whole, many at a time, in processor time
// (cpu-ratio). Bare is without the record: there the page of a provider with ten
// patients, ten decisions and rows that are all in memory, takes some 20 µs. The others'
// walks an index and judges conditions on teams and consents for each row that it meets,
// whether they have five thousand patients or a hundred thousand.
func BenchmarkPanel(b *testing.B) {
	patients := 5_000
	if os.Getenv("LONG") != "" {
		patients = 100_000
	}
	w := newWorld(b)
	w.panels(patients)
	for _, many := range []string{"many", "practice", "teams"} {
		for _, shape := range []struct {
			query string
			few   string
		}{
			{"Patient?_count=10", "few"}, {"Patient?_count=10&_sort=family", "few"}, {"Patient?_count=10&_sort=-birthdate", "few"},
			{"Observation?_count=10", "few"}, {"Observation?_count=10&_sort=-date", "few"}, {"Observation?_count=10&_sort=-date&code=29463-7", "few"},
			{"Observation?_count=10&_sort=-_lastUpdated", "few"}, {"Observation?_count=50&_sort=-date", "sixty"}, {"my patients", "twenty"},
		} {
			few, c := w.as(shape.few), w.as(many)
			ask := func(c consent.Caller, recorded bool) func() error {
				return func() error { return w.page(c, shape.query, recorded) }
			}
			name := fmt.Sprintf("patients=%d/by=%s/%s/", patients, many, shape.query)
			b.Run(name+"whole", func(b *testing.B) { compare(b, 1.5, ask(few, true), ask(c, true), func() {}) })
			b.Run(name+"elsewhere", func(b *testing.B) { compare(b, 1.5, ask(few, true), ask(c, true), w.elsewhere()) })
			b.Run(name+"together", func(b *testing.B) { compareTogether(b, ask(few, true), ask(c, true)) })
			if shape.query != "my patients" {
				b.Run(name+"bare", func(b *testing.B) { compare(b, 1.5, ask(few, false), ask(c, false), func() {}) })
			}
		}
	}
}

// page asks for a first page.
func (w *world) page(c consent.Caller, query string, recorded bool) error {
	if query == "my patients" {
		cards, _, err := w.guard.MyPatients(w.t.Context(), c, "")
		if err != nil || len(cards) != 20 {
			return fmt.Errorf("%d patients, %v", len(cards), err)
		}
		return nil
	}
	kind, rest, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(rest)
	if err != nil {
		return err
	}
	search := w.guard.SearchUnrecorded
	if recorded {
		search = func(ctx context.Context, c consent.Caller, t fhir.Type, values url.Values) (page *fhir.Page, err error) {
			err = w.guard.Foresee(ctx, func(ctx context.Context) error {
				page, err = w.guard.Search(ctx, c, t, values, false)
				return err
			})
			return page, err
		}
	}
	page, err := search(w.t.Context(), c, fhir.Type(kind), values)
	if err != nil {
		return err
	}
	if got, want := fmt.Sprint(len(page.Entries)), values.Get("_count"); got != want {
		return fmt.Errorf("got %s entries, want %s", got, want)
	}
	return nil
}

// elsewhere gives a function that writes of the team and the consents of a patient of
// others; of another each time, as the embedded store steps over what it has not put
// away yet of many versions of one resource.
func (w *world) elsewhere() func() {
	n := 0
	return func() { n++; w.concerning(fmt.Sprintf("zoe-%d", n%500)) }
}

func (w *world) concerning(patient string) {
	w.put(`{"resourceType":"CareTeam","id":"team-%s","status":"active","subject":{"reference":"Patient/%[1]s"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`, patient)
	w.put(`{"resourceType":"Consent","id":"elsewhere-%s","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%[1]s"},"dateTime":"2026-01-01","performer":[{"reference":"Patient/%[1]s"}],"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},"provision":{"type":"deny"}}`, patient)
}

// panels fills the world with patients of whom all have "many" and the practice of
// "practice" as PCP, and "teams" on their care team; sixty have "sixty" besides, twenty of
// these "twenty", and ten of these "few".
func (w *world) panels(patients int) {
	w.t.Helper()
	const imported = 500
	for _, id := range []string{"few", "twenty", "sixty", "many", "practice", "teams"} {
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
	for n := range 60 {
		besides := `{"reference":"Practitioner/sixty"},`
		if n < 20 {
			besides += `{"reference":"Practitioner/twenty"},`
		}
		if n < 10 {
			besides += `{"reference":"Practitioner/few"},`
		}
		id := sample.ID(patients/2 + n*7)
		w.put(`{"resourceType":"Patient","id":%q,"name":[{"family":"Few","given":["F"]}],"birthDate":"2020-02-02","generalPractitioner":[%s{"reference":"Practitioner/many"},{"reference":"Organization/org"}]}`, id, besides)
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
