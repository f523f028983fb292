package engine_test

import (
	"errors"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

func strictWorld(t *testing.T) *world {
	return newWorld(t, func(c *engine.Config) { c.Integrity = true })
}

// all writes bodies in one transaction.
func (w *world) all(t *testing.T, bodies ...string) error {
	t.Helper()
	return w.Update(t.Context(), func(tx *engine.Tx) error {
		for _, body := range bodies {
			if _, _, err := tx.Update(w.prepare(body), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestIntegrityOfReferences(t *testing.T) {
	w := strictWorld(t)
	w.put(ada, bob)
	refer := func(reference string) string {
		return `{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},` +
			`"contained":[{"resourceType":"Device","id":"d","patient":{"reference":"` + reference + `"}}],` +
			`"device":{"reference":"#d"},"performer":[{"reference":"Patient/ada"},{"reference":"` + reference + `"}]}`
	}
	for reference, ok := range map[string]bool{
		"Patient/ada": true, base + "/Patient/ada": true, "Patient/ada/_history/1": true,
		"Patient/nobody": false, base + "/Patient/nobody": false, "Patient/ada/_history/2": false, "Patient/ada/_history/x": false,
		"https://elsewhere.example.org/Patient/nobody": true, "urn:uuid:123e4567-e89b-12d3-a456-426614174000": true,
	} {
		err := w.all(t, refer(reference))
		if ok {
			if err != nil {
				t.Errorf("%s: %v", reference, err)
			}
			continue
		}
		wantKind(t, err, fhir.Unprocessable)
		var e *fhir.Error
		if !errors.As(err, &e) || len(e.Issues) != 2 {
			t.Fatalf("%s: got %v, want two issues", reference, err)
		}
		at := e.Issues[0].Expression + " " + e.Issues[1].Expression
		if !strings.Contains(at, "Observation.contained[0].patient.reference") || !strings.Contains(at, "Observation.performer[1].reference") {
			t.Errorf("%s: got %s", reference, at)
		}
	}
	w.delete("Patient/bob")
	wantKind(t, w.all(t, refer("Patient/bob")), fhir.Unprocessable)
	wantKind(t, w.all(t, refer("Patient/bob/_history/1")), fhir.Unprocessable)
}

// TestIntegrityIsSettledAtTheEnd: in a transaction, what refers to each other
// may come in any order, and go together.
func TestIntegrityIsSettledAtTheEnd(t *testing.T) {
	w := strictWorld(t)
	const left = `{"resourceType":"Patient","id":"left","link":[{"other":{"reference":"Patient/right"},"type":"seealso"}]}`
	const right = `{"resourceType":"Patient","id":"right","link":[{"other":{"reference":"Patient/left"},"type":"seealso"}]}`
	wantKind(t, w.all(t, left), fhir.Unprocessable)
	if err := w.all(t, left, right); err != nil {
		t.Fatal(err)
	}
	remove := func(ids ...string) error {
		return w.Update(t.Context(), func(tx *engine.Tx) error {
			for _, id := range ids {
				if _, err := tx.Delete(fhir.Key{Type: "Patient", ID: id}, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	wantKind(t, remove("left"), fhir.Conflict)
	if err := remove("left", "right"); err != nil {
		t.Error(err)
	}
	wantKind(t, w.all(t, left), fhir.Unprocessable) // to one that was deleted
}

// TestIntegrityTellsNothingHidden: a hidden resource is one that is not there.
func TestIntegrityTellsNothingHidden(t *testing.T) {
	w := strictWorld(t)
	w.put(ada, bob)
	blind := engine.Eye{
		Sees:  func(key fhir.Key) (bool, error) { return key.ID != "ada", nil },
		Sight: func(t fhir.Type) store.Expr { return store.None() },
	}
	write := func(to string) error {
		p := w.prepare(`{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"` + to + `"}}`)
		return w.Update(t.Context(), func(tx *engine.Tx) error {
			tx.WatchedBy(&blind)
			_, _, err := tx.Update(p, nil)
			return err
		})
	}
	hidden, absent := write("Patient/ada"), write("Patient/nobody")
	if hidden == nil || string(fhir.Outcome(hidden)) != string(fhir.Outcome(absent)) {
		t.Errorf("hidden: %v, absent: %v", hidden, absent)
	}
	if err := write("Patient/bob"); err != nil {
		t.Error(err)
	}
	remove := func(watched bool) error {
		return w.Update(t.Context(), func(tx *engine.Tx) error {
			if watched {
				tx.WatchedBy(&blind)
			}
			_, err := tx.Delete(fhir.Key{Type: "Patient", ID: "bob"}, nil)
			return err
		})
	}
	wantKind(t, remove(false), fhir.Conflict)
	if err := remove(true); err != nil { // the Observation is hidden
		t.Error(err)
	}
}

func TestBundlesAreNotHeldToIntegrity(t *testing.T) {
	w := strictWorld(t)
	err := w.all(t, `{"resourceType":"Bundle","id":"b","type":"collection","entry":[{"resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/inside"}}}]}`)
	if err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	w := strictWorld(t)
	w.put(ada)
	doc, issues, err := w.Engine.Validate([]byte(`{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/gone"}}`), "http://hl7.org/fhir/StructureDefinition/vitalsigns")
	if err != nil || len(issues) < 2 {
		t.Fatalf("got %v, %v", issues, err)
	}
	err = w.View(t.Context(), func(tx *engine.Tx) error {
		dangling, err := tx.ValidateReferences(doc)
		if err != nil || len(dangling) != 1 || dangling[0].Expression != "Observation.subject.reference" {
			t.Errorf("got %v, %v", dangling, err)
		}
		held, err := tx.ValidateDelete(fhir.Key{Type: "Patient", ID: "ada"})
		if err != nil || len(held) != 0 {
			t.Errorf("got %v, %v", held, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	_, _, err = w.Engine.Validate([]byte(ada), "http://example.org/nothing")
	wantKind(t, err, fhir.Unprocessable)
	_, _, err = w.Engine.Validate([]byte("{"), "")
	wantKind(t, err, fhir.Invalid)
}
