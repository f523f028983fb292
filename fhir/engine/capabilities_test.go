package engine_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

func TestCapabilities(t *testing.T) {
	w := newWorld(t)
	body := w.Capabilities(func(s *engine.Statement) {
		s.Software = &engine.Software{Name: "gateway"}
		s.Rest[0].Security = map[string]any{"cors": true}
		of := s.Rest[0].Of("Patient")
		of.Operation = append(of.Operation, engine.OperationOffering{Name: "access", Definition: base + "/OperationDefinition/access"})
	})
	if _, err := fhir.Parse(body); err != nil {
		t.Fatalf("not a valid CapabilityStatement: %v", err)
	}
	var s engine.Statement
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Rest[0].Resource) != len(fhir.Types()) {
		t.Errorf("got %d types, want %d", len(s.Rest[0].Resource), len(fhir.Types()))
	}
	for _, r := range s.Rest[0].Resource {
		for _, p := range r.SearchParam {
			if p.Name == "_list" {
				continue
			}
			if _, found := w.Registry().Param(r.Type, p.Name); !found || p.Type == "" || p.Definition == "" {
				t.Errorf("%s: parameter %+v", r.Type, p)
			}
		}
	}
	patient := s.Rest[0].Of("Patient")
	if !slices.Contains(patient.SearchInclude, "Patient:general-practitioner") || !slices.Contains(patient.SearchRevInclude, "Observation:subject") || len(patient.Operation) != 2 {
		t.Errorf("got %+v", patient)
	}
	if !slices.Contains(patient.SupportedProfile, "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient") || s.Rest[0].Of("Account").SupportedProfile != nil {
		t.Errorf("profiles: got %v", patient.SupportedProfile)
	}
	if s.Rest[0].Of("Nothing") != nil {
		t.Error("a type that is none")
	}
	if !bytes.Equal(w.Capabilities(), w.Capabilities()) {
		t.Error("two statements differ")
	}
}
