package search_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// Seeds are those given here and testdata/fuzz; so is what once failed.

// FuzzParse reads any query: it is refused by name, or has a plan that can be
// judged, and what was applied reads the same again.
func FuzzParse(f *testing.F) {
	r := registry(f).WithText()
	for _, query := range []string{
		"name=peter&birthdate=ge2000&_sort=-family,given&_count=3",
		"identifier=urn:a|b\\|c,d&gender:not=male&active:missing=true",
		"_has:Observation:patient:_has:Observation:has-member:code=a|b&_list=1",
		"general-practitioner:Practitioner.name:exact=x&organization:below=o1&organization:identifier=a|",
		"_include=*&_include:iterate=Patient:link:Patient&_revinclude=Observation:*&_elements=name",
		"_content=a b,c&_text=d&_contained=false&_lastUpdated=ap2020-01-01T10:00:00.5-05:00&_total=accurate",
		"language:in=http://a/vs|1&language:below=urn:a|b&_profile:below=http://p|1.2&_tag=|x&phonetic=%C3%A9",
	} {
		f.Add("Patient", query)
	}
	f.Add("Observation", "code-value-quantity=a$ge5.40e1|http://unitsofmeasure.org|mg&component-code-value-quantity=a|b$1||x&value-quantity=ap1e-3")
	f.Add("Location", "near=42.25|-83.6|11.2|km,1|2&partof:above=Location/1&_sort=name")
	f.Add("RiskAssessment", "probability=gt0.8&probability=lt1e10&date=2020")
	f.Add("ValueSet", "url:above=http://a/b/c&url:below=urn:x&version=1")
	empty := store.Version{Key: store.Key{Type: "Patient", ID: "1"}, Terms: store.NewTerms(nil)}
	sources := search.Sources{Find: func(fhir.Type, store.Expr, int) ([]*store.Version, error) { return nil, nil }}
	f.Fuzz(func(t *testing.T, typ, query string) {
		values, err := url.ParseQuery(query)
		if err != nil || len(query) > 4000 {
			return
		}
		opt := search.Options{Base: base, Now: stamp}
		q, err := r.Parse(fhir.Type(typ), values, opt)
		if err != nil {
			for _, e := range refusal(t, err) {
				if name, ok := strings.CutPrefix(e, "http."); fhir.Type(typ).Valid() && (!ok || !values.Has(name)) {
					t.Errorf("%s: refuses %q", query, e)
				}
			}
			return
		}
		for range 2 {
			plan, err := q.PlanWith(everything, sources)
			if err != nil {
				refusal(t, err)
			} else if _, err := store.Eval(&model{}, &empty, plan.Where); err != nil {
				t.Errorf("%s: %v", query, err)
			}
			again, err := r.Parse(q.Type, q.Applied, opt)
			if err != nil || again.Applied.Encode() != q.Applied.Encode() {
				t.Fatalf("%s: what was applied is read as %v, %v", query, again, err)
			}
			if a, b := fmt.Sprintf("%#v", q.Plan(everything)), fmt.Sprintf("%#v", again.Plan(everything)); a != b {
				t.Fatalf("plans differ:\n%s\n%s", a, b)
			}
			q = again
		}
	})
}

// FuzzPath evaluates any expression.
func FuzzPath(f *testing.F) {
	r := registry(f)
	for _, typ := range []fhir.Type{"Patient", "Observation", "Condition", "Bundle"} {
		for _, p := range r.Params(typ) {
			f.Add(p.Expression)
		}
	}
	f.Add("Patient.name.where(use = 'official' and given.exists($this = 'C')).family[0]")
	f.Add("Patient.extension('a').value.as(Quantity) | %resource.name.first().not()")
	f.Add("Patient.name.where(%resource.name.where(%resource.name.where(%resource.name.exists())))")
	tree := decode(f, []byte(paths))
	f.Fuzz(func(t *testing.T, expression string) {
		for _, kind := range []search.Kind{search.Token, search.Date, search.Reference, search.String, search.Quantity, search.Number, search.URI} {
			custom, err := r.With(search.Definition{URL: "urn:test", Name: "test", Kind: kind, Types: []fhir.Type{"Patient"}, Expression: expression})
			if err != nil {
				return
			}
			if _, err := custom.Index("Patient", tree, base); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzDate reads any date in any zone: one that a resource may have is found by
// itself, and by no other prefix that excludes it.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"2020", "2020-02", "2020-02-29", "2020-02-30", "0000", "9999-12-31", "2020-02-29T23:59:60Z", "2020-02-29T10:00", "2020-02-29T10:00:00.123456789+14:00",
		"2020-02-29T10:00:00-12:00", "2024-03-10T02:30:00", "2020-1-1", "2020-02-29T24:00:00Z", "2020-02-29T10:00:00 05:00"} {
		f.Add(s, "America/New_York")
		f.Add(s, "UTC")
	}
	plain := registry(f)
	f.Fuzz(func(t *testing.T, date, zone string) {
		in, err := time.LoadLocation(zone)
		if err != nil || strings.ContainsAny(date, ",\\|$\x00") {
			return
		}
		r := plain.In(in)
		text, _ := json.Marshal(date)
		tree := decode(t, []byte(`{"resourceType":"Patient","id":"1","birthDate":`+string(text)+`}`))
		if tree["birthDate"] != date {
			return // it was not UTF-8
		}
		terms, err := r.Index("Patient", tree, base)
		if err != nil {
			t.Fatal(err)
		}
		v := &store.Version{Terms: store.NewTerms(terms)}
		for prefix, want := range map[string]bool{"eq": true, "ge": true, "le": true, "ap": true, "ne": false, "gt": false, "lt": false, "sa": false, "eb": false} {
			q, err := r.Parse("Patient", url.Values{"birthdate": {prefix + date}}, search.Options{Base: base})
			if err != nil {
				refusal(t, err)
				if _, ok := find(terms, "birthdate"); ok {
					t.Fatalf("%q in %s is indexed but not read", date, zone)
				}
				return
			}
			got, err := store.Eval(nil, v, q.Plan(everything).Where)
			if err != nil || got != want {
				t.Errorf("%s%q in %s: got %v, %v", prefix, date, zone, got, err)
			}
		}
	})
}

func find(terms []store.Term, name string) (string, bool) {
	for _, t := range terms {
		if t.Name == name {
			return t.Value, true
		}
	}
	return "", false
}
