package engine_test

import (
	"fmt"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// BenchmarkWhole reads the record of one patient as a whole in a small and in a
// large store: the two should cost the same.
func BenchmarkWhole(b *testing.B) {
	const patient = "Patient/p7"
	sight := owned(patient)
	run := func(b *testing.B, want int, read func() (*fhir.Page, error)) {
		b.ReportAllocs()
		for b.Loop() {
			if page, err := read(); err != nil || len(page.Entries) != want {
				b.Fatalf("got %d entries, %v, want %d", len(page.Entries), err, want)
			}
		}
	}
	for _, patients := range []int{20, 400} {
		w := clinic(b, patients)
		queries, err := w.Registry().ParseSystem(fhir.Types(), queryOf(b, "_sort=-_lastUpdated"), search.Options{Base: base})
		if err != nil {
			b.Fatal(err)
		}
		in := func(fn func(tx *engine.Tx) (*fhir.Page, error)) func() (*fhir.Page, error) {
			return func() (page *fhir.Page, err error) {
				err = w.View(b.Context(), func(tx *engine.Tx) error {
					page, err = fn(tx)
					return err
				})
				return page, err
			}
		}
		for name, read := range map[string]func(tx *engine.Tx) (*fhir.Page, error){
			"everything": func(tx *engine.Tx) (*fhir.Page, error) {
				return tx.PatientEverything([]string{patient}, engine.EverythingQuery{Count: 50}, sight)
			},
			"history-type": func(tx *engine.Tx) (*fhir.Page, error) {
				return tx.LogHistory([]engine.Source{{Type: "Observation", Owner: patient}}, engine.HistoryQuery{}, sight)
			},
			"history-system": func(tx *engine.Tx) (*fhir.Page, error) {
				return tx.LogHistory([]engine.Source{{Owner: patient}, {Type: "Practitioner"}}, engine.HistoryQuery{}, sight)
			},
			"search-system": func(tx *engine.Tx) (*fhir.Page, error) { return tx.SearchSystem(queries, sight) },
		} {
			b.Run(fmt.Sprintf("%s/patients=%d", name, patients), func(b *testing.B) { run(b, 50, in(read)) })
		}
	}
}

// BenchmarkPanel reads the history of the observations of a provider with many
// patients: one look-up for each of them.
func BenchmarkPanel(b *testing.B) {
	w := clinic(b, 400)
	var sources []engine.Source
	for p := range 400 {
		sources = append(sources, engine.Source{Type: "Observation", Owner: fmt.Sprintf("Patient/p%d", p)})
	}
	for _, count := range []int{10, 100, 400} {
		b.Run(fmt.Sprintf("patients=%d", count), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.view(func(tx *engine.Tx) error {
					_, err := tx.LogHistory(sources[:count], engine.HistoryQuery{}, engine.Everything)
					return err
				})
			}
		})
	}
}
