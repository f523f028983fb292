package engine_test

import (
	"fmt"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// clinic holds patients with a hundred observations each.
func clinic(b *testing.B, patients int) *world {
	w := newWorld(b)
	for p := range patients {
		var all []*engine.Prepared
		all = append(all, w.prepare(fmt.Sprintf(`{"resourceType":"Patient","id":"p%d","name":[{"family":"F%d","given":["G"]}],"birthDate":"2000-01-01","gender":"female"}`, p, p)))
		for i := range 100 {
			all = append(all, w.prepare(fmt.Sprintf(`{"resourceType":"Observation","id":"o%d-%d","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-%d"}]},"subject":{"reference":"Patient/p%d"},"effectiveDateTime":"2024-01-01T10:%02d:00Z","valueQuantity":{"value":%d.5,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}`, p, i, i%2, p, i%60, i)))
		}
		w.update(func(tx *engine.Tx) error {
			for _, one := range all {
				if _, _, err := tx.Update(one, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return w
}

func BenchmarkRead(b *testing.B) {
	w := clinic(b, 20)
	key, sight := fhir.Key{Type: "Patient", ID: "p7"}, owned("Patient/p7")
	b.ReportAllocs()
	for b.Loop() {
		w.view(func(tx *engine.Tx) error {
			_, err := tx.Read(key, sight)
			return err
		})
	}
}

func BenchmarkSearch50(b *testing.B) {
	w := clinic(b, 20)
	values := queryOf(b, "patient=p7&code=http://loinc.org|8867-1&_sort=-date&_count=50")
	sight := owned("Patient/p7")
	b.ReportAllocs()
	for b.Loop() {
		q, err := w.Registry().Parse("Observation", values, search.Options{Base: base})
		if err != nil {
			b.Fatal(err)
		}
		w.view(func(tx *engine.Tx) error {
			page, err := tx.Search(q, sight)
			if err == nil && len(page.Entries) != 50 {
				b.Fatalf("got %d entries, want 50", len(page.Entries))
			}
			return err
		})
	}
}

const vital = `{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/ada"},"effectiveDateTime":"2024-01-01T10:00:00Z","valueQuantity":{"value":60.5,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}`

func BenchmarkPrepare(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		w.prepare(vital)
	}
}

// BenchmarkCreate stores what was prepared, one client.
func BenchmarkCreate(b *testing.B) {
	w := newWorld(b)
	p := w.prepare(vital)
	b.ReportAllocs()
	for b.Loop() {
		w.update(func(tx *engine.Tx) error {
			_, err := tx.Create(p, "")
			return err
		})
	}
}

// BenchmarkCreateParallel is many clients who share the disk's time.
func BenchmarkCreateParallel(b *testing.B) {
	w := newWorld(b)
	p := w.prepare(vital)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.update(func(tx *engine.Tx) error {
				_, err := tx.Create(p, "")
				return err
			})
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	created := 0
	for b.Loop() {
		w := newWorld(b)
		report, _ := w.load(synthea + "Procedure.ndjson.gz")
		created += report.Created
	}
	b.ReportMetric(float64(created)/b.Elapsed().Seconds(), "resources/s")
}
