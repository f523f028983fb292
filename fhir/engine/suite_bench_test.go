package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/sample"
	"mypatients/fhir/search"
)

// BenchmarkEngine measures the interactions on every engine, at a thousand
// patients and, with LONG set, at a hundred thousand. The names are as benchstat
// likes them:
//
//	LONG=1 go test ./fhir/engine -run '^$' -bench Engine -count 6 | benchstat -col /patients -
//
// Whoever asks asks for one of two hundred patients, the same number in either
// store: those who are in care on a day. op=read-any asks for anybody.
func BenchmarkEngine(b *testing.B) {
	for name := range engines {
		b.Run("engine="+name, func(b *testing.B) {
			for _, patients := range sizes() {
				b.Run(fmt.Sprintf("patients=%dk", patients/1000), func(b *testing.B) {
					s := &suite{Engine: grown(b, name, patients), patients: patients}
					for _, one := range s.operations() {
						b.Run("op="+one.name, func(b *testing.B) { s.run(b, one) })
					}
				})
			}
		})
	}
}

func sizes() []int {
	if os.Getenv("LONG") == "" {
		return []int{few}
	}
	return []int{few, many}
}

// inCare is how many patients are asked for.
const inCare = 200

// A suite is a grown engine to be measured.
type suite struct {
	*engine.Engine
	patients int
	next     atomic.Int64 // number of the next new resource
}

// An operation is measured; i counts up.
type operation struct {
	name string
	do   func(ctx context.Context, i int) error
	each int // resources that one operation writes, if more than one
}

func (s *suite) run(b *testing.B, one operation) {
	for i := range inCare { // with warm caches
		if one.each == 0 {
			if err := one.do(b.Context(), i); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := one.do(b.Context(), i); err != nil {
			b.Fatal(err)
		}
		i++
	}
	if one.each > 0 {
		b.ReportMetric(float64(one.each*i)/b.Elapsed().Seconds(), "resources/s")
	}
}

// of gives one of the patients in care, who are spread over all.
func (s *suite) of(i int) string { return sample.ID(i * 7 % inCare * (s.patients / inCare)) }

func (s *suite) operations() []operation {
	list := []operation{
		{name: "read", do: func(ctx context.Context, i int) error { return s.read(ctx, s.of(i)) }},
		{name: "read-any", do: func(ctx context.Context, i int) error { return s.read(ctx, sample.ID(i*7919%s.patients)) }},
		{name: "vread", do: s.vread},
		{name: "create", do: s.create},
		{name: "update", do: s.update},
	}
	for _, q := range queries {
		list = append(list, operation{name: "search-" + q.name, do: func(ctx context.Context, i int) error { return s.search(ctx, q, s.of(i)) }})
	}
	return append(list,
		operation{name: "everything", do: s.everything},
		operation{name: "transaction-20", do: s.transaction, each: 20},
		operation{name: "import", do: s.importing, each: importPatients * sample.Resources},
	)
}

func (s *suite) read(ctx context.Context, id string) error {
	return s.View(ctx, func(tx *engine.Tx) error {
		_, err := tx.Read(fhir.Key{Type: "Patient", ID: id}, owned("Patient/"+id))
		return err
	})
}

func (s *suite) vread(ctx context.Context, i int) error {
	id := s.of(i)
	return s.View(ctx, func(tx *engine.Tx) error {
		_, err := tx.VRead(fhir.Key{Type: "Observation", ID: id + "-obs-2"}, 1, owned("Patient/"+id))
		return err
	})
}

// body is a new observation of a patient, and its id.
func (s *suite) body(i int) (body []byte, id string) {
	id = fmt.Sprintf("new-%d", s.next.Add(1))
	return fmt.Appendf(nil, `{"resourceType":"Observation","id":"%s","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8310-5"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2024-01-01T10:00:00Z","valueQuantity":{"value":37.%d,"unit":"Cel","system":"http://unitsofmeasure.org","code":"Cel"}}`, id, s.of(i), i%10), id
}

func (s *suite) create(ctx context.Context, i int) error {
	body, _ := s.body(i)
	p, err := s.Prepare(body)
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *engine.Tx) error {
		_, err := tx.Create(p, "")
		return err
	})
}

func (s *suite) update(ctx context.Context, i int) error {
	id := s.of(i) + "-con-1"
	p, err := s.Prepare(fmt.Appendf(nil, `{"resourceType":"Condition","id":"%s","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"resolved"}]},"code":{"text":"%d"},"subject":{"reference":"Patient/%s"}}`, id, s.next.Add(1), s.of(i)))
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *engine.Tx) error {
		_, _, err := tx.Update(p, nil)
		return err
	})
}

// A usual query is one of those that apps send. $ID stands for a patient.
type usual struct {
	name, kind, text string
	scoped           bool // one patient's record
}

var queries = []usual{
	{"patient-by-date", "Observation", "patient=$ID&_sort=-date&_count=50", true},
	{"patient-code", "Observation", "patient=$ID&code=http://loinc.org|8867-4", true},
	{"patient-category-since", "Observation", "patient=$ID&category=vital-signs&date=ge2024-01-01", true},
	{"patient-active", "Condition", "patient=$ID&clinical-status=active", true},
	{"patient-revinclude", "Encounter", "patient=$ID&_revinclude=Condition:encounter", true},
	{"identifier", "Patient", "identifier=" + sample.MRNs + "|$ID", false},
	{"chain", "Observation", "subject:Patient.identifier=" + sample.MRNs + "|$ID&code=8302-2", false},
	{"population-by-date", "Encounter", "date=ge2024-06-01&_sort=-date&_count=20", false},
}

func (s *suite) search(ctx context.Context, q usual, id string) error {
	values, err := url.ParseQuery(strings.ReplaceAll(q.text, "$ID", id))
	if err != nil {
		return err
	}
	parsed, err := s.Registry().Parse(fhir.Type(q.kind), values, search.Options{Base: base, Now: time.Now()})
	if err != nil {
		return err
	}
	sight := engine.Sight(engine.Everything)
	if q.scoped {
		sight = owned("Patient/" + id)
	}
	return s.View(ctx, func(tx *engine.Tx) error {
		page, err := tx.Search(parsed, sight)
		if err == nil && len(page.Entries) == 0 {
			err = fmt.Errorf("%s finds nothing", q.name)
		}
		return err
	})
}

// everything is the first page of a record, which is all of it.
func (s *suite) everything(ctx context.Context, i int) error {
	id := s.of(i)
	q, err := engine.ParseEverything(url.Values{}, false, time.UTC)
	if err != nil {
		return err
	}
	return s.View(ctx, func(tx *engine.Tx) error {
		page, err := tx.PatientEverything([]string{"Patient/" + id}, q, owned("Patient/"+id))
		if err == nil && len(page.Entries) < sample.Resources {
			err = fmt.Errorf("got %d entries", len(page.Entries))
		}
		return err
	})
}

func (s *suite) transaction(ctx context.Context, i int) error {
	list := make([]*engine.Prepared, 20)
	for k := range list {
		body, _ := s.body(i)
		var err error
		if list[k], err = s.Prepare(body); err != nil {
			return err
		}
	}
	return s.Update(ctx, func(tx *engine.Tx) error {
		for _, p := range list {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

const importPatients = 50

// importing imports the records of patients who are new.
func (s *suite) importing(ctx context.Context, _ int) error {
	from := many + int(s.next.Add(importPatients))
	l := s.NewLoader(engine.LoadOptions{})
	err := l.LoadNDJSON(ctx, "new", bytes.NewReader(sample.Patients(from, from+importPatients)))
	if r := l.Report(); err == nil && r.Created != importPatients*sample.Resources {
		err = fmt.Errorf("got %+v", r)
	}
	return err
}

// TestCostDoesNotGrow holds reads and searches within one record to what they
// cost in a store of a hundredth of the size: at most 1.3 times as much. Both
// stores take turns. It takes minutes, and runs when LONG is set.
func TestCostDoesNotGrow(t *testing.T) {
	if os.Getenv("LONG") == "" {
		t.Skip("takes long; set LONG=1")
	}
	scoped := func(one operation) bool {
		return one.name == "read" || one.name == "vread" || strings.HasPrefix(one.name, "search-patient")
	}
	for name := range engines {
		t.Run(name, func(t *testing.T) {
			small := &suite{Engine: grown(t, name, few), patients: few}
			large := &suite{Engine: grown(t, name, many), patients: many}
			for k, one := range small.operations() {
				was, is := perOperation(t, one, large.operations()[k])
				ratio := float64(is) / float64(was)
				t.Logf("%-30s %10v at 1k %10v at 100k: %.2f", one.name, was, is, ratio)
				if scoped(one) && ratio > 1.3 {
					t.Errorf("%s costs %.2f times as much in a store a hundred times as large", one.name, ratio)
				}
			}
		})
	}
}

// perOperation measures two operations in turns and gives the medians.
func perOperation(t *testing.T, small, large operation) (was, is time.Duration) {
	const turns = 15
	times := [2][]time.Duration{}
	for turn := range turns + 1 {
		for which, one := range []operation{small, large} {
			n := inCare
			switch {
			case one.each > 0:
				n = 2
			case strings.Contains(one.name, "population"):
				n = 10
			}
			began := time.Now()
			for i := range n {
				if err := one.do(t.Context(), turn*n+i); err != nil {
					t.Fatal(err)
				}
			}
			if turn > 0 { // the first one warms up
				times[which] = append(times[which], time.Since(began)/time.Duration(n))
			}
		}
	}
	for _, list := range times {
		slices.Sort(list)
	}
	return times[0][turns/2], times[1][turns/2]
}
