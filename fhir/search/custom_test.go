package search_test

import (
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/search"
)

// paths is a resource with something for every function of the expressions.
const paths = `{"resourceType":"Patient","id":"1","active":true,"birthDate":"2001-02-03",
"contained":[{"resourceType":"Practitioner","id":"doc"},{"resourceType":"Organization","id":"org"}],
"extension":[{"url":"urn:race","valueCoding":{"code":"r1"}},{"url":"urn:age","valueInteger":7},
 {"url":"urn:nested","extension":[{"url":"inner","valueString":"deep"}]}],
"name":[{"use":"official","family":"One","given":["A","B"]},{"use":"usual","family":"Two","given":["C"]},{"family":"Three"}],
"telecom":[{"system":"phone","value":"1","rank":1},{"system":"phone","value":"2","rank":2},{"system":"email","value":"e"}],
"generalPractitioner":[{"reference":"#doc"},{"reference":"#org"},{"reference":"Practitioner/9"},{"reference":"https://other.org/Organization/8"},{"type":"Practitioner","identifier":{"value":"i"}},{"reference":"#gone"}],
"deceasedBoolean":false,"multipleBirthInteger":2,
"contact":[{"name":{"family":"Kin"},"gender":"male"},{"organization":{"reference":"Organization/7"}}]}`

func TestExpressions(t *testing.T) {
	r := registry(t)
	tree := decode(t, []byte(paths))
	for _, c := range []struct{ expression, want string }{
		{"Patient.name.family", "One Three Two"},
		{"name.family", "One Three Two"},
		{"Patient.name.given", "A B C"},
		{"Patient.name[0].family", "One"},
		{"Patient.name[1].given", "C"},
		{"Patient.name[9].given", ""},
		{"Patient.name.given[2]", "C"},
		{"Patient.name.first().family", "One"},
		{"Patient.name.last().family", "Three"},
		{"Patient.name.where(use = 'official').family", "One"},
		{"Patient.name.where(use='official' or use='usual').given", "A B C"},
		{"Patient.name.where(use='official' and family='Two').given", ""},
		{"Patient.name.where(use='official' xor family='One').given", ""},
		{"Patient.name.where(use != 'official').family", "Two"},
		{"Patient.name.where(use.exists()).family", "One Two"},
		{"Patient.name.where(use.empty()).family", "Three"},
		{"Patient.name.where(use.exists().not()).family", "Three"},
		{"Patient.name.where(given.exists($this = 'C')).family", "Two"},
		{"Patient.name.where(use.exists() implies use = 'usual').family", "Three Two"},
		{"Patient.telecom.where(system = 'phone' and rank = 2).value", "2"},
		{"Patient.telecom.where(rank = 1.0).value", "1"},
		{"Patient.name.family | Patient.contact.name.family", "Kin One Three Two"},
		{"(Patient.name | Patient.contact.name).family", "Kin One Three Two"},
		{"Observation.code | Patient.gender", ""},
		{"Patient.extension('urn:race').value.code", "r1"},
		{"Patient.extension('urn:age').value", "7"},
		{"Patient.extension.where(url = 'urn:age').value", "7"},
		{"(Patient.extension('urn:age').value as integer)", "7"},
		{"Patient.extension('urn:age').value.as(string)", ""},
		{"Patient.extension('urn:age').value.ofType(integer)", "7"},
		{"Patient.extension('urn:nested').extension('inner').value", "deep"},
		{"Patient.deceased", "false"},
		{"Patient.deceased.exists() and Patient.deceased != false", "false"},
		{"Patient.deceased.exists()", "true"},
		{"Patient.deceased is boolean", "true"},
		{"Patient.deceased.is(dateTime)", "false"},
		{"Patient.multipleBirth", "2"},
		{"(Patient.multipleBirth as boolean)", ""},
		{"Patient.generalPractitioner.where(resolve() is Organization).reference", "#org https://other.org/Organization/8"},
		{"Patient.generalPractitioner.where(resolve() is Practitioner).reference", "#doc Practitioner/9"},
		{"Patient.generalPractitioner.where(resolve() is Practitioner).identifier.value", "i"},
		{"Patient.generalPractitioner.where(resolve() is FHIR.Patient).reference", ""},
		{"Resource.id", "1"},
		{"DomainResource.contained.id", "doc org"},
		{"Patient.contained.as(Practitioner).id", "doc"},
		{"Patient.contained.where($this is Organization).id", "org"},
		{"Patient.contact.where(gender = %resource.gender).gender", ""},
		{"Patient.contact.where(%resource.active).gender", "male"},
		{"'constant'", "constant"},
		{"true", "true"},
		{"Patient.nothing.at.all", ""},
		{"Patient.active.below", ""},
	} {
		t.Run(c.expression, func(t *testing.T) {
			custom, err := r.With(search.Definition{URL: "urn:test", Name: "test", Kind: search.Token, Types: []fhir.Type{"Patient"}, Expression: c.expression})
			if err != nil {
				t.Fatal(err)
			}
			terms, err := custom.Index("Patient", tree, base)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, term := range terms {
				if term.Name == "test" && !slices.Contains(got, term.Value) {
					got = append(got, term.Value)
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBadDefinitions(t *testing.T) {
	r := registry(t)
	good := search.Definition{URL: "urn:test", Name: "test", Kind: search.Token, Types: []fhir.Type{"Patient"}, Expression: "Patient.active"}
	change := func(f func(*search.Definition)) search.Definition {
		d := good
		f(&d)
		return d
	}
	for name, d := range map[string]search.Definition{
		"a name with a colon": change(func(d *search.Definition) { d.Name = "a:b" }),
		"a reserved name":     change(func(d *search.Definition) { d.Name = "_count" }),
		"an empty name":       change(func(d *search.Definition) { d.Name = "" }),
		"a taken name":        change(func(d *search.Definition) { d.Name = "gender" }),
		"a composite":         change(func(d *search.Definition) { d.Kind = search.Composite }),
		"no kind":             change(func(d *search.Definition) { d.Kind = "" }),
		"no type":             change(func(d *search.Definition) { d.Types = nil }),
		"an unknown type":     change(func(d *search.Definition) { d.Types = []fhir.Type{"Foo"} }),
		"no expression":       change(func(d *search.Definition) { d.Expression = "" }),
	} {
		if _, err := r.With(d); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, e := range []string{"Patient.", "Patient..name", "Patient.name[", "Patient.name[x]", "(Patient.name", "Patient.name)", "Patient.name.where(", "Patient.foo()",
		"Patient.name.where(use = 'x)", "Patient.name + 1", "Patient as", "is Patient", "%other", "Patient.$this", "Patient name", "a | ", "| a", "'a\\",
		strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100), strings.Repeat("a.", 5000) + "a", "Patient.name[99999999999999999999]"} {
		if _, err := r.With(change(func(d *search.Definition) { d.Expression = e })); err == nil {
			t.Errorf("the expression %.40q was accepted", e)
		}
	}
}

// A registry with more parameters finds by them, and leaves the old one as it was.
func TestWith(t *testing.T) {
	r := registry(t)
	custom, err := r.With(
		search.Definition{URL: "urn:race", Name: "race", Kind: search.Token, Types: []fhir.Type{"Patient"}, Expression: "Patient.extension('urn:race').value"},
		search.Definition{URL: "urn:kin", Name: "kin", Kind: search.String, Types: []fhir.Type{"Patient"}, Expression: "Patient.contact.name"},
		search.Definition{URL: "urn:at", Name: "at", Kind: search.Reference, Types: []fhir.Type{"Patient"}, Targets: []fhir.Type{"Organization"}, Expression: "Patient.contact.organization"},
	)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t, custom, []byte(strings.ReplaceAll(paths, "\n", "")))
	for query, want := range map[string]string{
		"Patient?race=r1":                       "1",
		"Patient?race=r2":                       "",
		"Patient?kin=k":                         "1",
		"Patient?at=7":                          "1",
		"Patient?at=Organization/7&active=true": "1",
		"Patient?family=one":                    "1",
		"Patient?phonetic=one":                  "1",
		"Patient?phonetic=kin":                  "",
		"Patient?_id=1":                         "1",
		"Organization?_has:Patient:at:_id=1":    "",
	} {
		if got := answer(t, custom, m, query); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	if got := answer(t, r, m, "Patient?race=r1"); got != "! http.race" {
		t.Errorf("the old registry: got %q", got)
	}
	if len(r.Params("Patient"))+3 != len(custom.Params("Patient")) {
		t.Error("the old registry was changed")
	}
	if q := mustParse(t, custom, "Observation?patient=1"); len(q.Owners()) != 1 {
		t.Error("owners were lost")
	}
}

// Check takes every expression of R4, and what is written without a type at its head.
func TestCheck(t *testing.T) {
	r := registry(t)
	for _, typ := range fhir.Types() {
		for _, p := range r.Params(typ) {
			if p.Expression == "" || p.Kind == search.Composite {
				continue
			}
			if err := r.Check(search.Definition{Name: p.Name, Types: []fhir.Type{typ}, Expression: p.Expression}); err != nil {
				t.Errorf("%s.%s: %s: %v", typ, p.Name, p.Expression, err)
			}
		}
	}
	for expression, fits := range map[string]bool{
		"name.family":                                                  true,
		"(Patient.deceased as dateTime)":                               true,
		"extension('urn:race').value.code":                             true,
		"Patient.birthDate.extension.where(url = 'urn:x').value":       true,
		"Patient.link.where(type = 'refer').other.resolve().name":      true,
		"Patient.link.where(kind = 'refer').other":                     false,
		"Resource.meta.tag":                                            true,
		"Practitioner.name":                                            false,
		"Practitioner.name | Patient.name":                             true,
		"Practitioner.name | Patient.nom":                              false,
		"Patient.generalPractitioner.where(resolve() is Practitioner)": true,
	} {
		if err := r.Check(search.Definition{Name: "x", Types: []fhir.Type{"Patient"}, Expression: expression}); (err == nil) != fits {
			t.Errorf("%s: got %v, want it to fit: %v", expression, err, fits)
		}
	}
}
