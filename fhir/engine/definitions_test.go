package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// parameter writes a SearchParameter resource.
func parameter(id, code, kind, expression string, bases ...string) string {
	return fmt.Sprintf(`{"resourceType":"SearchParameter","id":%q,"url":"http://example.org/%s","name":"X","status":"active","description":"x","code":%q,"base":["%s"],"type":%q,"expression":%q}`,
		id, id, code, strings.Join(bases, `","`), kind, expression)
}

var eyes = parameter("eyes", "eyes", "token", "Patient.extension('http://example.org/eyes').value", "Patient")

func eyed(id, colour string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"extension":[{"url":"http://example.org/eyes","valueCode":%q}]}`, id, colour)
}

// pending calls Refresh and gives what waits for a re-index.
func (w *world) pending() string {
	w.t.Helper()
	p, _, err := w.Refresh(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(append(p.Parameters, p.Broken...), " ")
}

func (w *world) reindex() engine.Reindexed {
	w.t.Helper()
	done, err := w.Reindex(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) expect(query, want string) {
	w.t.Helper()
	if got := w.answer(query, false); got != want {
		w.t.Errorf("%s: got %q, want %q", query, got, want)
	}
}

// A stored parameter is refused by name until all is indexed by it.
func TestStoredSearchParameter(t *testing.T) {
	w := newWorld(t)
	if got := w.pending(); got != "" {
		t.Errorf("an empty store waits for %s", got)
	}
	w.put(eyed("1", "blue"), eyed("2", "green"))
	w.expect("Patient?eyes=blue", "! http.eyes")
	w.put(eyes)
	w.expect("Patient?eyes=blue", "! http.eyes")
	if got := w.pending(); got != "Patient.eyes" {
		t.Errorf("waits for %q", got)
	}
	w.expect("Patient?eyes=blue", "! http.eyes")
	w.expect("Patient?_sort=eyes", "! http._sort")
	w.put(eyed("3", "blue"))
	if done := w.reindex(); done.Changed != 2 {
		t.Errorf("changed %d resources, want the two from before", done.Changed)
	}
	w.expect("Patient?eyes=blue", "1 3")
	w.expect("Patient?eyes:not=blue&_sort=-eyes", "2")
	w.put(eyed("4", "blue"))
	w.expect("Patient?eyes=blue", "1 3 4")
	if !strings.Contains(string(w.Capabilities()), "http://example.org/eyes") {
		t.Error("the capabilities do not tell of it")
	}
	w.expect("Encounter?subject:Patient.eyes=blue", "")

	w.store.Close()
	w.open() // as another start does
	w.expect("Patient?eyes=blue", "! http.eyes")
	if got := w.pending(); got != "" {
		t.Errorf("after a start it waits for %s", got)
	}
	w.expect("Patient?eyes=blue", "1 3 4")

	w.put(strings.Replace(eyes, "example.org/eyes')", "example.org/hair')", 1)) // means something else
	if got := w.pending(); got != "Patient.eyes" {
		t.Errorf("a changed one: waits for %q", got)
	}
	w.expect("Patient?eyes=blue", "! http.eyes")
	w.delete("SearchParameter/eyes")
	w.pending()
	w.expect("Patient?eyes=blue", "! http.eyes")
	w.put(eyes) // resources written meanwhile are not indexed by it
	if got := w.pending(); got != "Patient.eyes" {
		t.Errorf("one that was gone: waits for %q", got)
	}
}

func TestSearchParametersThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.pending()
	w.put(eyes)
	for _, c := range []struct{ body, element string }{
		{parameter("x", "x", "token", "Patient.name.trace('x')", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "Patient.(", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "Patient.names", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "Patient.name | Patient.contact.name.last", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "name.where(given = 'x' and age = 5)", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "Observation.code", "Patient"), "SearchParameter.expression"},
		{parameter("x", "x", "token", "Observation.code", "Observation", "Patient"), "SearchParameter.expression"},
		{parameter("x", "_x", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "_conf", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "_owner", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "a|b", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "a:text", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "gender", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "Gender", "token", "Patient.name", "Patient"), "SearchParameter.code"},
		{parameter("x", "PATIENT", "reference", "Observation.subject", "Observation"), "SearchParameter.code"},
		{parameter("x", "x", "composite", "Patient.name", "Patient"), "SearchParameter.type"},
		{parameter("x", "x", "special", "Patient.name", "Patient"), "SearchParameter.type"},
		{parameter("x", "eyes", "token", "Patient.gender", "Patient"), "SearchParameter.code"},
		{parameter("x", "Eyes", "token", "gender", "Patient", "Practitioner"), "SearchParameter.code"},
	} {
		p, err := w.Prepare([]byte(c.body))
		if err == nil {
			err = w.Update(t.Context(), func(tx *engine.Tx) error { _, err := tx.Create(p, "x"); return err })
		}
		var refused *fhir.Error
		if !errors.As(err, &refused) || refused.Kind != fhir.Unprocessable || refused.Issues[0].Expression != c.element {
			t.Errorf("%s: got %v, want a refusal of %s", c.body, err, c.element)
		}
	}
	// a draft is nobody's concern; nor is one that tells of what is there
	w.put(strings.Replace(parameter("draft", "_x", "token", "Patient.(", "Patient"), "active", "draft", 1))
	w.put(parameter("told", "gender", "token", "Patient.gender", "Patient"))
	if got := w.pending(); got != "Patient.eyes" {
		t.Errorf("waits for %q", got)
	}
}

// A stored parameter with the expression of another takes nothing from it.
func TestSearchParameterOfTheSameExpression(t *testing.T) {
	w := newWorld(t)
	w.pending()
	w.put(parameter("a", "aaa", "token", "Patient.gender", "Patient"), parameter("b", "code", "token", "Patient.gender", "Patient"))
	w.pending()
	w.put(`{"resourceType":"Patient","id":"1","gender":"male"}`)
	w.expect("Patient?gender=male", "1")
	w.expect("Patient?aaa=male", "! http.aaa")
	w.reindex()
	w.expect("Patient?gender=male", "1")
	w.expect("Patient?aaa=male", "1")
	w.expect("Patient?code=male", "1")
}

// The site moves to another zone: dates are read by the old one until all is
// indexed by the new.
func TestZoneOfDates(t *testing.T) {
	w := newWorld(t)
	w.pending()
	w.put(`{"resourceType":"Patient","id":"1","birthDate":"2020-05-01"}`)
	const earlyUTC = "Patient?birthdate=ge2020-05-01T00:00:00Z&birthdate=eb2020-05-02T00:00:01Z"
	w.expect(earlyUTC, "1")
	w.store.Close()
	boston, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	w.open(func(c *engine.Config) { c.Registry = c.Registry.In(boston) })
	if got := w.pending(); got != "dates without a zone, which are taken as of UTC" {
		t.Errorf("waits for %q", got)
	}
	w.expect(earlyUTC, "1")
	w.put(`{"resourceType":"Patient","id":"2","birthDate":"2020-05-01"}`)
	w.expect("Patient?birthdate=2020-05-01", "1 2")
	if done := w.reindex(); done.Changed != 2 {
		t.Errorf("changed %d, want 2", done.Changed)
	}
	w.expect("Patient?birthdate=2020-05-01", "1 2")
	w.expect("Patient?birthdate=ge2020-05-01T00:00:00-04:00&birthdate=eb2020-05-02T00:00:01-04:00", "1 2")
	w.expect(earlyUTC, "")
}

// What was stored before there was a record of how it is indexed.
func TestOlderIndex(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Observation","id":"1","status":"final","code":{"text":"x"},"valueQuantity":{"value":1,"system":"http://unitsofmeasure.org","code":"g"}}`)
	if got := w.pending(); !strings.HasPrefix(got, "quantities Location.near what decisions rest on") {
		t.Errorf("waits for %q", got)
	}
	w.expect("Observation?value-quantity=1", "! http.value-quantity")
	w.expect("Observation?code-value-quantity=x$1", "! http.code-value-quantity")
	w.expect("Location?near=1|1", "! http.near")
	w.expect("Observation?status=final", "1")
	w.reindex()
	w.expect("Observation?value-quantity=1000||mg", "1")
	w.expect("Location?near=1|1", "")
}

// Words are searched by once they are indexed everywhere, and no longer when the
// site turns it off.
func TestWordsNeedTheirIndex(t *testing.T) {
	w := newWorld(t)
	w.pending()
	w.put(`{"resourceType":"Patient","id":"1","name":[{"text":"Ada Lovelace"}]}`)
	w.expect("Patient?_content=ada", "! http._content")
	w.store.Close()
	w.open(func(c *engine.Config) { c.Registry = c.Registry.WithText() })
	if got := w.pending(); got != "_text _content" {
		t.Errorf("waits for %q", got)
	}
	w.expect("Patient?_content=ada", "! http._content")
	w.expect("Patient?_text=ada", "! http._text")
	declared := func() bool { return strings.Contains(string(w.Capabilities()), `"_content"`) }
	if declared() {
		t.Error("declared before all is indexed")
	}
	w.reindex()
	if w.pending(); !declared() {
		t.Error("not declared")
	}
	w.expect("Patient?_content=ada", "1")
	w.expect("Patient?_content=lovelace ada", "1")
	w.store.Close()
	w.open()
	w.pending()
	w.put(`{"resourceType":"Patient","id":"2","name":[{"text":"Ada King"}]}`)
	w.store.Close()
	w.open(func(c *engine.Config) { c.Registry = c.Registry.WithText() })
	w.pending()
	w.expect("Patient?_content=ada", "! http._content")
}

// A re-index that was interrupted goes on where it was.
func TestReindexGoesOn(t *testing.T) {
	w := newWorld(t)
	w.pending()
	for from := range 6 {
		w.update(func(tx *engine.Tx) error {
			for i := range 100 {
				if _, err := tx.Create(w.prepare(eyed("x", "blue")), fmt.Sprintf("p%d-%02d", from, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w.put(eyes)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	first, err := w.Reindex(ctx, func(r engine.Reindexed) {
		if r.Looked >= 200 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || first.Looked != 200 {
		t.Fatalf("got %+v, %v", first, err)
	}
	w.store.Close()
	w.open()
	w.pending()
	w.expect("Patient?eyes=blue&_count=0", "! http.eyes")
	if second := w.reindex(); second.Looked != 401 || second.Changed != 400 {
		t.Errorf("got %+v, want the other 400 and the definition", second)
	}
	w.expect("Patient?eyes=blue&_count=0", "#600")
	if third := w.reindex(); third.Changed != 0 || third.Looked != 601 {
		t.Errorf("once more: got %+v, want nothing changed", third)
	}
}

// Two processes on one store: what one writes while the other indexes, and after,
// is found.
func TestReindexWhileOthersWrite(t *testing.T) {
	w := newWorld(t)
	w.pending()
	r, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	other, err := engine.New(engine.Config{Store: w.store, Registry: r, Now: w.clock, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if i%10 == 0 {
			w.put(eyed(fmt.Sprintf("a%03d", i), "blue"))
		}
	}
	old, err := other.Prepare([]byte(eyed("z", "blue"))) // by what it knew then
	if err != nil {
		t.Fatal(err)
	}
	w.put(eyes)
	written := 0
	var wg sync.WaitGroup
	stop, begun := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer func() {
			if written == 0 { // it failed at once
				close(begun)
			}
		}()
		for ; ; written++ {
			if written == 1 {
				close(begun)
			}
			select {
			case <-stop:
				return
			default:
			}
			err := other.Update(t.Context(), func(tx *engine.Tx) error {
				_, err := tx.Create(old, fmt.Sprintf("w%04d", written))
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
			p, err := other.Prepare([]byte(eyed(fmt.Sprintf("a%03d", written%30*10), "blue")))
			if err == nil {
				err = other.Update(t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err })
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	<-begun
	for range 3 {
		w.reindex()
	}
	close(stop)
	wg.Wait()
	w.expect("Patient?eyes=blue&_count=0", fmt.Sprintf("#%d", 30+written))
	if n := len(other.Registry().Params("Patient")); n != len(w.Registry().Params("Patient")) {
		t.Errorf("the other has %d parameters", n)
	}
}

// The value sets of R4 and US Core are there without being stored; one that is
// stored goes before them.
func TestPackagedValueSets(t *testing.T) {
	w := newWorld(t)
	const gender, vitals = "http://hl7.org/fhir/ValueSet/administrative-gender", "http://hl7.org/fhir/us/core/ValueSet/us-core-vital-signs"
	const active = `{"resourceType":"Condition","id":"a","subject":{"reference":"Patient/1"},"clinicalStatus":{"coding":[{"system":"%s","code":"active"}]}}`
	w.put(`{"resourceType":"Patient","id":"1","gender":"male"}`, `{"resourceType":"Patient","id":"2","gender":"other"}`, `{"resourceType":"Patient","id":"3"}`,
		`{"resourceType":"Observation","id":"w","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]}}`,
		`{"resourceType":"Observation","id":"x","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]}}`,
		fmt.Sprintf(active, "http://terminology.hl7.org/CodeSystem/condition-clinical"))
	w.expect("Patient?gender:in="+gender, "1 2")
	w.expect("Patient?gender:in="+gender+"|4.0.1", "1 2")
	w.expect("Patient?gender:not-in="+gender, "3")
	w.expect("Patient?gender:in="+gender+"|9", "! http.gender:in")
	w.expect("Observation?code:in="+vitals, "w")
	w.expect("Observation?code:not-in="+vitals, "x")
	w.expect("Condition?clinical-status:in=http://hl7.org/fhir/ValueSet/condition-clinical", "a")
	w.expect("Condition?code:below=http://snomed.info/sct|404684003", "! http.code:below")
	w.put(`{"resourceType":"ValueSet","id":"g","url":"` + gender + `","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/administrative-gender","concept":[{"code":"male"}]}]}}`)
	w.expect("Patient?gender:in="+gender, "1")
}

// What a search looks up in other resources is seen with the caller's eyes.
func TestLookUpsAreUnderSight(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Patient","id":"1","gender":"male"}`, `{"resourceType":"Patient","id":"2","gender":"female"}`,
		`{"resourceType":"List","id":"mine","status":"current","mode":"working","subject":{"reference":"Patient/1"},"entry":[{"item":{"reference":"Patient/1"}},{"item":{"reference":"Patient/2"}}]}`,
		`{"resourceType":"List","id":"theirs","status":"current","mode":"working","subject":{"reference":"Patient/2"},"entry":[{"item":{"reference":"Patient/1"}}]}`,
		`{"resourceType":"ValueSet","id":"g","url":"urn:g","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/administrative-gender","concept":[{"code":"male"}]}]}}`,
		`{"resourceType":"Location","id":"a","status":"active"}`, `{"resourceType":"Location","id":"b","status":"suspended","partOf":{"reference":"Location/a"}}`, `{"resourceType":"Location","id":"c","status":"active","partOf":{"reference":"Location/b"}}`,
		`{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/1"},"location":[{"location":{"reference":"Location/c"}}]}`)
	sight := func(t fhir.Type) store.Expr {
		switch t {
		case "ValueSet":
			return store.None()
		case "Location":
			return store.All()
		}
		return owned("Patient/1")(t)
	}
	ask := func(query string, sight engine.Sight) string {
		name, rest, _ := strings.Cut(query, "?")
		values, _ := url.ParseQuery(rest)
		q, err := w.Registry().Parse(fhir.Type(name), values, search.Options{Base: base})
		if err != nil {
			t.Fatal(err)
		}
		var page *fhir.Page
		err = w.View(t.Context(), func(tx *engine.Tx) error { page, err = tx.Search(q, sight); return err })
		if err != nil {
			return "! " + err.Error()
		}
		var ids []string
		for _, e := range page.Entries {
			ids = append(ids, e.Resource.ID)
		}
		return strings.Join(ids, " ")
	}
	for query, want := range map[string]string{
		"Patient?_list=mine":   "1",
		"Patient?_list=theirs": "",
		"Patient?_list=absent": "",
	} {
		if got := ask(query, sight); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"_list=mine": "[match Patient/1]", "_list=theirs": "[]", "_list=mine&_sort=-_lastUpdated": "[match Patient/1]", "_list=mine&_count=0": "[]",
	} {
		values, _ := url.ParseQuery(query)
		queries, err := w.Registry().ParseSystem([]fhir.Type{"Encounter", "Patient"}, values, search.Options{Base: base})
		if err != nil {
			t.Fatal(err)
		}
		w.view(func(tx *engine.Tx) error {
			page, err := tx.SearchSystem(queries, sight)
			if err == nil && fmt.Sprint(list(page)) != want {
				t.Errorf("the whole system by %s: got %v, want %s", query, list(page), want)
			}
			return err
		})
	}
	hidden, absent := ask("Patient?gender:in=urn:g", sight), ask("Patient?gender:in=urn:x", sight)
	if hidden != strings.Replace(absent, "urn:x", "urn:g", 1) || !strings.HasPrefix(hidden, "!") {
		t.Errorf("a hidden value set: %q, an absent one: %q", hidden, absent)
	}
	if got := ask("Patient?gender:in=urn:g", engine.Everything); got != "1" {
		t.Errorf("a value set in sight: got %q", got)
	}
	if got := ask("Encounter?location:below=Location/a", sight); got != "e" {
		t.Errorf("a hierarchy in sight: got %q", got)
	}
	broken := func(t fhir.Type) store.Expr {
		if t == "Location" {
			return search.TokenTerm("status", "", "active")
		}
		return sight(t)
	}
	if got := ask("Encounter?location:below=Location/a", broken); got != "" {
		t.Errorf("through a hidden location: got %q", got)
	}
	if !slices.Contains(strings.Fields(ask("Patient?_list=mine", engine.Everything)), "2") {
		t.Error("the list itself is not read")
	}
}
