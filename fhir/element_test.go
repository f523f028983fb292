package fhir_test

import (
	"testing"

	"mypatients/fhir"
)

func TestHasElement(t *testing.T) {
	for path, want := range map[string]bool{
		"Patient":                                 true,
		"Patient.name.family":                     true,
		"Patient.contact.name.period.start":       true,
		"Patient.deceased":                        true,
		"Patient.deceasedBoolean":                 true,
		"Patient.generalPractitioner.reference":   true,
		"Patient.extension.value":                 true,
		"Patient.contained.name":                  true,
		"Patient.meta.tag.code":                   true,
		"Patient.id":                              true,
		"Observation.value":                       true,
		"Observation.value.unit":                  true,
		"Observation.component.value":             true,
		"Observation.referenceRange.low.value":    true,
		"Extension.value":                         true,
		"Resource.meta":                           true,
		"":                                        true,
		"Patient.foo":                             false,
		"Patient.names":                           false,
		"Patient.Name":                            false,
		"Patient.name.last":                       false,
		"Patient.birthDate.year":                  false,
		"Patient.generalPractitioner.name.family": false,
		"Patient.code":                            false,
		"Observation.valued":                      false,
		"Patient.name.":                           false,
		"Patient..name":                           false,
	} {
		if got := fhir.HasElement(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
