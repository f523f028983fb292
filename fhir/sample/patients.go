package sample

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mypatients/fhir/store"
)

// Resources is how many resources each patient of [Patients] has, the Patient
// among them: two encounters, two conditions, three observations, a prescription,
// an immunization and an allergy.
const Resources = 11

// MRNs is the system of the patients' medical record numbers, which are their ids.
const MRNs = "https://hospital.example.org/mrn"

// ID gives the id of a patient, counted from 0. Those of their other resources
// begin with it: "p0000007-enc-1".
func ID(patient int) string { return fmt.Sprintf("p%07d", patient) }

// Patients gives the records of a stretch of patients, from <= patient < to, as
// NDJSON. They refer to each other and to nothing else.
func Patients(from, to int) []byte {
	var out bytes.Buffer
	for n := from; n < to; n++ {
		id, year := ID(n), 2005+n%18
		line := func(format string, args ...any) {
			fmt.Fprintf(&out, format, args...)
			out.WriteByte('\n')
		}
		line(`{"resourceType":"Patient","id":"%[1]s","identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"%[2]s","value":"%[1]s"}],"name":[{"use":"official","family":"%[3]s","given":["%[4]s"]}],"gender":"%[5]s","birthDate":"%[6]d-%02[7]d-%02[8]d","address":[{"line":["%[9]d Main Street"],"city":"Springfield","postalCode":"0%04[10]d"}]}`,
			id, MRNs, families[n%len(families)], givens[n/7%len(givens)], []string{"female", "male"}[n%2], year, 1+n%12, 1+n%28, n%500, n%90)
		for k := range 2 {
			line(`{"resourceType":"Encounter","id":"%[1]s-enc-%[2]d","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"type":[{"coding":[{"system":"http://snomed.info/sct","code":"410620009","display":"Well child visit"}]}],"subject":{"reference":"Patient/%[1]s"},"period":{"start":"%[3]d-%02[4]d-%02[5]dT09:00:00Z","end":"%[3]d-%02[4]d-%02[5]dT09:30:00Z"}}`,
				id, k, 2023+k, 1+n%12, 1+n/12%28)
			line(`{"resourceType":"Condition","id":"%[1]s-con-%[2]d","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"%[3]s"}]},"code":{"coding":[{"system":"http://snomed.info/sct","code":"%[4]d"}]},"subject":{"reference":"Patient/%[1]s"},"encounter":{"reference":"Encounter/%[1]s-enc-%[2]d"},"onsetDateTime":"%[5]d-%02[6]d-%02[7]d"}`,
				id, k, []string{"active", "resolved"}[k], 195662000+(n+k)%40, 2023+k, 1+n%12, 1+n/12%28)
		}
		for k := range 3 {
			line(`{"resourceType":"Observation","id":"%[1]s-obs-%[2]d","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"%[3]s"}]},"subject":{"reference":"Patient/%[1]s"},"encounter":{"reference":"Encounter/%[1]s-enc-%[4]d"},"effectiveDateTime":"%[5]d-%02[6]d-%02[7]dT09:%02[8]d:00Z","valueQuantity":{"value":%[9]d.5,"unit":"u","system":"http://unitsofmeasure.org","code":"%[10]s"}}`,
				id, k, []string{"8867-4", "29463-7", "8302-2"}[k], k%2, 2023+k%2, 1+n%12, 1+n/12%28, n%60, 20+n%120, []string{"/min", "kg", "cm"}[k])
		}
		line(`{"resourceType":"MedicationRequest","id":"%[1]s-med","status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"%[2]d"}]},"subject":{"reference":"Patient/%[1]s"},"encounter":{"reference":"Encounter/%[1]s-enc-1"},"authoredOn":"2024-%02[3]d-%02[4]d"}`,
			id, 308182+n%25, 1+n%12, 1+n/12%28)
		line(`{"resourceType":"Immunization","id":"%[1]s-imm","status":"completed","vaccineCode":{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"%[2]d"}]},"patient":{"reference":"Patient/%[1]s"},"occurrenceDateTime":"%[3]d-%02[4]d-%02[5]d"}`,
			id, 100+n%30, year+1, 1+n%12, 1+n%28)
		line(`{"resourceType":"AllergyIntolerance","id":"%[1]s-all","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}]},"code":{"coding":[{"system":"http://snomed.info/sct","code":"%[2]d"}]},"patient":{"reference":"Patient/%[1]s"},"criticality":"low"}`,
			id, 91930004+n%10)
	}
	return out.Bytes()
}

var (
	families = []string{"Abara", "Brand", "Castillo", "Dubois", "Eriksen", "Farouk", "Garcia", "Huang", "Ivanov", "Jones", "Kowalski", "Lindqvist", "Moreau", "Nakamura", "Okoye", "Patel", "Quispe", "Rossi", "Silva", "Tanaka", "Usman", "Vargas", "Weber"}
	givens   = []string{"Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon", "Kim", "Leo", "Mia", "Noa", "Ole", "Pia", "Quin"}
)

// Grow copies the first `from` patients, which are stored, under the ids of those
// that follow until there are `to`: index terms and bodies, without parsing
// anything. That is a hundred times as fast as importing them.
func Grow(ctx context.Context, s store.Store, from, to int) error {
	for n := 0; n < from; n++ {
		versions, err := ofPatient(ctx, s, n)
		if err != nil {
			return err
		}
		var rows []*store.Version
		for copied := n + from; copied < to; copied += from {
			for _, v := range versions {
				rows = append(rows, renamed(v, ID(n), ID(copied)))
			}
		}
		if err := put(ctx, s, rows); err != nil {
			return err
		}
	}
	return nil
}

// put stores rows in transactions of a middling size.
func put(ctx context.Context, s store.Store, rows []*store.Version) error {
	const slice = 500
	for len(rows) > 0 {
		some := rows[:min(slice, len(rows))]
		rows = rows[len(some):]
		err := s.Update(ctx, func(w store.Writer) error {
			for _, v := range some {
				if err := w.PutResource(v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ofPatient gives the resources of a patient as they are stored.
func ofPatient(ctx context.Context, s store.Store, patient int) (list []*store.Version, err error) {
	owner := store.Equal{Name: store.Owner, Value: "Patient/" + ID(patient)}
	err = s.View(ctx, func(r store.Reader) error {
		list = nil
		for _, name := range []string{"Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "Immunization", "AllergyIntolerance"} {
			hits, err := r.Search(store.Query{Type: name, Where: owner, Limit: Resources})
			if err != nil {
				return err
			}
			for _, h := range hits {
				list = append(list, h.Version)
			}
		}
		return nil
	})
	if err == nil && len(list) != Resources {
		err = errors.New("sample: the patients to copy are not all stored")
	}
	return list, err
}

// renamed gives version 1 of a copy. Both ids have the same length, so the packed
// terms stay packed, and in order.
func renamed(v *store.Version, from, to string) *store.Version {
	was, is := []byte(from), []byte(to)
	return &store.Version{
		Key:     store.Key{Type: v.Type, ID: to + v.ID[len(from):]},
		Version: 1,
		Time:    v.Time,
		Terms:   bytes.ReplaceAll(v.Terms, was, is),
		Body:    bytes.ReplaceAll(v.Body, was, is),
	}
}
