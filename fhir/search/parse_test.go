package search_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

func parse(tb testing.TB, r *search.Registry, query string, opt search.Options) (*search.Query, error) {
	tb.Helper()
	typ, raw, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(raw)
	if err != nil {
		tb.Fatal(err)
	}
	opt.Base = base
	return r.Parse(fhir.Type(typ), values, opt)
}

func mustParse(tb testing.TB, r *search.Registry, query string) *search.Query {
	tb.Helper()
	q, err := parse(tb, r, query, search.Options{Now: stamp})
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return q
}

func TestQueryOwners(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ query, want string }{
		{"Observation?patient=1", "Patient/1"},
		{"Observation?patient=Patient/1", "Patient/1"},
		{"Observation?patient=" + base + "/Patient/1", "Patient/1"},
		{"Observation?patient=1,2", "Patient/1 Patient/2"},
		{"Observation?subject=Patient/1", "Patient/1"},
		{"Observation?subject:Patient=1", "Patient/1"},
		{"Observation?subject=Patient/1,Group/2", ""},
		{"Observation?subject=1", ""}, // may be a group
		{"Observation?patient=1,2&subject=Patient/1", "Patient/1"},
		{"Observation?performer=Patient/1", "Patient/1"},
		{"Observation?performer=Practitioner/1", ""},
		{"Observation?patient:missing=false", ""},
		{"Observation?patient:identifier=1", ""},
		{"Observation?patient.name=x", ""},
		{"Observation?code=x", ""},
		{"Observation?_id=1", ""},
		{"Encounter?subject=Patient/1", "Patient/1"}, // only patient is in the compartment's list
		{"Encounter?patient=1", "Patient/1"},
		{"MedicationRequest?patient=1", "Patient/1"}, // only subject is
		{"Condition?subject=Patient/1", "Patient/1"},
		{"AllergyIntolerance?patient=1", "Patient/1"},
		{"Coverage?beneficiary=Patient/1", "Patient/1"},
		{"Coverage?patient=1", "Patient/1"},
		{"Patient?_id=1,2", "Patient/1 Patient/2"},
		{"Patient?_id:not=1", ""},
		{"Patient?link=Patient/1", "Patient/1"},
		{"Patient?name=x", ""},
		{"Practitioner?_id=1", ""},
		{"Task?patient=1", "Patient/1"},
		{"Task?subject=Patient/1", "Patient/1"},
		{"Device?patient=1", "Patient/1"},
	} {
		q := mustParse(t, r, c.query)
		if got := strings.Join(q.Owners(), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.query, got, c.want)
		}
		planned := fmt.Sprintf("%#v", q.Plan(everything).Where)
		if limited := strings.Contains(planned, store.Owner); limited != (c.want != "") {
			t.Errorf("%s: plan %s", c.query, planned)
		}
	}
}

// Whatever a query names as an owner limits it truly: without the owner condition
// it would find nothing else.
func TestOwnersAreImplied(t *testing.T) {
	r := registry(t)
	for name, tree := range examples(t) {
		typ := fhir.Type(tree["resourceType"].(string))
		terms, err := r.Index(typ, tree, base)
		if err != nil {
			t.Fatal(err)
		}
		key := fhir.Key{Type: typ, ID: fmt.Sprint(tree["id"])}
		v := &store.Version{Key: store.Key{Type: string(typ), ID: key.ID}, Terms: store.NewTerms(append(terms, search.StampTerms(key, stamp)...))}
		owners := values(v, store.Owner)
		for _, p := range r.Params(typ) {
			if p.Kind != search.Reference {
				continue
			}
			for _, value := range values(v, p.Name) {
				q, err := r.Parse(typ, url.Values{p.Name: {value}}, search.Options{Base: base})
				if err != nil {
					continue
				}
				for _, owner := range q.Owners() {
					if !slices.Contains(owners, owner) {
						t.Errorf("%s: %s=%s names the owner %s, which it has not: %v", name, p.Name, value, owner, owners)
					}
				}
			}
		}
	}
}

// Every type that a query joins is asked of the caller's sight, and what is not
// seen there cannot be guessed through it.
func TestSightOfJoins(t *testing.T) {
	r := registry(t)
	m := newModel(t, r, []byte(`
{"resourceType":"Practitioner","id":"d","name":[{"family":"Adams"}]}
{"resourceType":"Patient","id":"1","name":[{"family":"Rivera"}],"generalPractitioner":[{"reference":"Practitioner/d"}]}
{"resourceType":"Observation","id":"a","code":{"coding":[{"code":"weight"}]},"subject":{"reference":"Patient/1"}}
{"resourceType":"Provenance","id":"p","target":[{"reference":"Observation/a"}],"recorded":"2020-01-01T00:00:00Z"}`))
	for _, c := range []struct{ query, joined string }{
		{"Observation?code=weight", "Observation"},
		{"Observation?patient.name=rivera", "Observation Patient"},
		{"Observation?patient.general-practitioner:Practitioner.name=adams", "Observation Patient Practitioner"},
		{"Patient?_has:Observation:patient:code=weight", "Observation Patient"},
		{"Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=weight", "Observation Patient Practitioner"},
		{"Patient?_has:Observation:patient:_has:Provenance:target:recorded=2020", "Observation Patient Provenance"},
		{"Observation?patient._has:Observation:subject:code=weight", "Observation Patient"},
	} {
		asked := map[fhir.Type]bool{}
		hidden := fhir.Type("")
		sight := func(t fhir.Type) store.Expr {
			asked[t] = true
			if t == hidden {
				return store.None()
			}
			return store.All()
		}
		q := mustParse(t, r, c.query)
		if hits, err := m.Search(q.Plan(sight)); len(hits) != 1 || err != nil {
			t.Errorf("%s: got %d hits (%v), want 1", c.query, len(hits), err)
		}
		types := strings.Fields(c.joined)
		for _, typ := range types {
			if !asked[fhir.Type(typ)] {
				t.Errorf("%s: the sight of %s was not asked for", c.query, typ)
			}
			hidden = fhir.Type(typ)
			if hits, err := m.Search(q.Plan(sight)); len(hits) != 0 || err != nil {
				t.Errorf("%s, %s hidden: got %d hits (%v), want 0", c.query, typ, len(hits), err)
			}
		}
		if len(asked) != len(types) {
			t.Errorf("%s: asked for %v, want %v", c.query, asked, types)
		}
	}
}

func TestQueryFields(t *testing.T) {
	r := registry(t)
	opt := search.Options{MaxCount: 100, DefaultCount: 20}
	q, err := parse(t, r, "Patient?name=b&name=a&_count=500&_total=accurate&_summary=data&_elements=name,id&_cursor=xyz&_sort=-name&_format=json", opt)
	if err != nil {
		t.Fatal(err)
	}
	if q.Count != 100 || q.Total != "accurate" || q.Summary != "data" || strings.Join(q.Elements, " ") != "name id" || q.Cursor != "xyz" {
		t.Errorf("got %+v", q)
	}
	if got, want := q.Applied.Encode(), "_count=100&_elements=name%2Cid&_format=json&_sort=-name&_summary=data&_total=accurate&name=b&name=a"; got != want {
		t.Errorf("applied\n got %s\nwant %s", got, want)
	}
	plan := q.Plan(everything)
	if plan.Type != "Patient" || plan.Limit != 100 || plan.After != "" || len(plan.Sort) != 1 || plan.Sort[0] != (store.Sort{Name: "name", Descending: true}) {
		t.Errorf("plan %+v", plan)
	}
	if q, err = parse(t, r, "Patient", opt); err != nil || q.Count != 20 || len(q.Applied) != 0 {
		t.Errorf("got %+v, %v", q, err)
	}
	if q, err = parse(t, r, "Patient?foo=1&name=x&_include=Patient:foo&bar:exact=2", search.Options{Lenient: true}); err != nil || q.Applied.Encode() != "name=x" || len(q.Includes()) != 0 {
		t.Errorf("lenient: got %+v, %v", q, err)
	}
	if q, err = parse(t, r, "Patient?_elements=nosuch,name&_elements=foo", search.Options{Lenient: true}); err != nil || q.Applied.Encode() != "_elements=name" || !slices.Equal(q.Elements, []string{"name"}) {
		t.Errorf("lenient, with elements that there are not: got %+v, %v", q, err)
	}
}

func TestIncludesOfQuery(t *testing.T) {
	q := mustParse(t, registry(t), "Observation?_include=Observation:subject:Patient&_include:iterate=Patient:organization&_revinclude=Provenance:target")
	var got []string
	for _, i := range q.Includes() {
		got = append(got, fmt.Sprintf("%v %v %s %s %s", i.Reverse, i.Iterate, i.Source, i.Param, i.Target))
	}
	want := []string{"false false Observation subject Patient", "false true Patient organization ", "true false Provenance target "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCostlyQueries(t *testing.T) {
	r := registry(t)
	for _, query := range []string{
		"Patient?_id=" + strings.Repeat("1,", 5000) + "1",
		"Patient?" + strings.Repeat("_has:Observation:patient:", 1) + strings.Repeat("_has:Observation:has-member:", 100) + "code=1",
		"Patient?link" + strings.Repeat(".link", 100) + "=1",
		"Provenance?target=" + strings.Repeat("1,", 100) + "1",
		"Patient?name=" + strings.Repeat("x", 5000),
		"Observation?value-quantity=" + strings.Repeat("9", 5000),
		"Observation?value-quantity=1e999999999",
		"Observation?_include=" + strings.Repeat("Observation:subject&_include=", 100) + "Observation:subject",
	} {
		start := time.Now()
		if _, err := parse(t, r, query, search.Options{}); err == nil {
			t.Errorf("%.60s was accepted", query)
		} else {
			refusal(t, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%.60s took %v", query, took)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	r := registry(b)
	values, err := url.ParseQuery("patient=057aa36e-b892-9964-75b9-ffb46b097e34&category=laboratory&code=http://loinc.org|2339-0,http://loinc.org|2345-7&date=ge2012-01-01&_sort=-date&_count=50&_include=Observation:encounter")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		q, err := r.Parse("Observation", values, search.Options{Base: base})
		if err != nil {
			b.Fatal(err)
		}
		q.Plan(everything)
	}
}
