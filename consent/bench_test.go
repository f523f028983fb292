//go:build unix

package consent_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/smart"
)

// BenchmarkGuard measures decided and recorded reads and searches of a guardian
// and of a primary care provider, among a thousand patients and, with LONG set,
// among a hundred thousand. Each call waits until its audit record is on disk; many
// are under way at a time and share that.
func BenchmarkGuard(b *testing.B) {
	sizes := []int{1_000}
	if os.Getenv("LONG") != "" {
		sizes = append(sizes, 100_000)
	}
	for _, patients := range sizes {
		b.Run(fmt.Sprintf("engine=badger/patients=%dk", patients/1000), func(b *testing.B) {
			w := newWorld(b)
			w.crowd(patients)
			child := sample.ID(patients / 2)
			for name, subject := range map[string]string{"guardian": "parent", "pcp": "doctor"} {
				c := w.as(subject)
				together(b, "by="+name+"/op=read", func() error {
					_, err := w.guard.Read(b.Context(), c, fhir.Key{Type: "Patient", ID: child})
					return err
				})
				together(b, "by="+name+"/op=search-patient", func() error {
					page, err := w.guard.Search(b.Context(), c, "Observation", url.Values{"patient": {child}, "_sort": {"-date"}}, false)
					if err == nil && len(page.Entries) != 3 {
						err = fmt.Errorf("got %d entries", len(page.Entries))
					}
					return err
				})
			}
		})
	}
}

// together measures calls of which many are under way at a time.
func together(b *testing.B, name string, call func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// crowd fills the world with patients, one of whom has a guardian who signs in as
// "parent" and a primary care provider, "doctor".
func (w *world) crowd(patients int) {
	w.t.Helper()
	const imported = 500
	l := w.eng.NewLoader(engine.LoadOptions{Refused: func(r engine.Refusal) { w.t.Error(r) }})
	if err := l.LoadNDJSON(w.t.Context(), "patients", bytes.NewReader(sample.Patients(0, imported))); err != nil {
		w.t.Fatal(err)
	}
	if r := l.Report(); r.Created != imported*sample.Resources {
		w.t.Fatalf("got %+v", r)
	}
	if err := sample.Grow(w.t.Context(), w.db, imported, patients); err != nil {
		w.t.Fatal(err)
	}
	child := sample.ID(patients / 2)
	w.put(`{"resourceType":"Practitioner","id":"doctor","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"1932182902"}],"name":[{"family":"Doctor"}]}`)
	w.put(`{"resourceType":"Patient","id":%q,"name":[{"family":"Child"}],"birthDate":"2020-02-02","generalPractitioner":[{"reference":"Practitioner/doctor"}]}`, child)
	w.put(`{"resourceType":"RelatedPerson","id":"parent","active":true,"patient":{"reference":"Patient/%s"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}]}`, child)
	w.link("doctor", smart.Provider, "Practitioner/doctor")
	w.link("parent", smart.Proxy, "RelatedPerson/parent")
}

// BenchmarkAudit compares what is recorded with the same unrecorded: a read and a
// search of fifty. One is without the log, other with it.
func BenchmarkAudit(b *testing.B) {
	w := newWorld(b)
	for i := range 50 {
		w.put(`{"resourceType":"Observation","id":"o%d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`, i)
	}
	c, key := w.as("adams"), fhir.Key{Type: "Observation", ID: "o7"}
	b.Run("op=read", func(b *testing.B) {
		compareTogether(b,
			func() error { _, err := w.guard.ReadUnrecorded(b.Context(), c, key); return err },
			func() error { _, err := w.guard.Read(b.Context(), c, key); return err })
	})
	values := url.Values{"patient": {"mateo"}, "_count": {"50"}}
	b.Run("op=search50", func(b *testing.B) {
		compareTogether(b,
			func() error { _, err := w.guard.SearchUnrecorded(b.Context(), c, "Observation", values); return err },
			func() error { _, err := w.guard.Search(b.Context(), c, "Observation", values, false); return err })
	})
}
