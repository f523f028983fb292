package fhir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/profile"
)

// FuzzParse: no body makes the checks of a write panic or hang; what is accepted
// comes back byte for byte but for white space, and is accepted again; what is
// refused is refused with issues that make an outcome.
func FuzzParse(f *testing.F) {
	for _, r := range refusals {
		if len(r.body) < 10_000 {
			f.Add([]byte(r.body))
		}
	}
	for _, body := range accepted {
		f.Add([]byte(body))
	}
	for name, body := range examples(f) {
		if len(body) < 3_000 && name[0] < 'P' {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			t.Skip("large bodies have tests of their own; here many are worth more")
		}
		begin := time.Now()
		doc, err := fhir.Parse(body, profile.Check)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("took %v for %d bytes", took, len(body))
		}
		if err != nil {
			var e *fhir.Error
			if !errors.As(err, &e) || len(e.Issues) == 0 || len(e.Issues) > 51 {
				t.Fatalf("got %v", err)
			}
			if !json.Valid(fhir.Outcome(err)) {
				t.Errorf("the outcome is no JSON: %s", fhir.Outcome(err))
			}
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, body); err != nil || !bytes.Equal(want.Bytes(), doc.JSON) {
			t.Fatalf("got %s (%v), want %s", doc.JSON, err, want.Bytes())
		}
		again, err := fhir.Parse(doc.JSON, profile.Check)
		if err != nil || !bytes.Equal(again.JSON, doc.JSON) {
			t.Errorf("accepted once, not twice: %v", err)
		}
		stored := fhir.WithMeta(doc.JSON, "id", 1, time.UnixMilli(0))
		if again, err = fhir.Parse(stored, profile.Check); err != nil {
			t.Fatalf("what is stored is refused: %v\n%s", err, stored)
		}
		if string(fhir.WithMeta(again.JSON, "id", 1, time.UnixMilli(0))) != string(stored) {
			t.Fatalf("not stable: %s", stored)
		}
		if key := fhir.Header(stored); key.Type != doc.Type || key.ID != "id" {
			t.Fatalf("header is %v", key)
		}
	})
}
