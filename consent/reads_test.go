package consent_test

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A reading is an interaction that gives pages of many resources.
type reading func(c consent.Caller, query string) (*fhir.Page, error)

func (w *world) readings() map[string]reading {
	values := func(query string) url.Values {
		v, err := url.ParseQuery(query)
		if err != nil {
			w.t.Fatal(err)
		}
		return v
	}
	ctx := w.t.Context()
	return map[string]reading{
		"history of the system": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.SystemHistory(ctx, c, values(query), false)
		},
		"history of a type": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.TypeHistory(ctx, c, "Observation", values(query), false)
		},
		"history of an instance": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.History(ctx, c, fhir.Key{Type: "Patient", ID: "ava"}, values(query), false)
		},
		"search of the system": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.SearchSystem(ctx, c, values(query), false)
		},
		"search of the system, sorted": func(c consent.Caller, query string) (*fhir.Page, error) {
			if !strings.Contains(query, "_sort") {
				query += "&_sort=-_lastUpdated"
			}
			return w.guard.SearchSystem(ctx, c, values(query), false)
		},
		"everything": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.Everything(ctx, c, "ava", values(query), false)
		},
		"everything of all": func(c consent.Caller, query string) (*fhir.Page, error) {
			return w.guard.Everything(ctx, c, "", values(query), false)
		},
	}
}

// told is all that a reader is told, page by page, but for the seals of links,
// which are new each time.
func told(t *testing.T, read reading, c consent.Caller, query string) string {
	t.Helper()
	var b strings.Builder
	for n := 0; ; n++ {
		page, err := read(c, query)
		if err != nil || n > 200 {
			return b.String() + fmt.Sprint(err)
		}
		total := "none"
		if page.Total != nil {
			total = fmt.Sprint(*page.Total)
		}
		fmt.Fprintf(&b, "page %d: total %s, self %s\n", n, total, page.Applied)
		for _, e := range page.Entries {
			fmt.Fprintf(&b, "%s %v/%d %v %s\n", e.Mode, e.Resource.Key, e.Resource.Version, e.Resource.Deleted, e.Resource.JSON)
		}
		if query = page.Next; query == "" {
			return b.String()
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "next of %d bytes\n", len(values.Get("_cursor")))
	}
}

const confidential = `"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]},`

// TestHiddenRowsLeaveNoTrace: two worlds differ in what a reader may not see; they
// are told the same, byte for byte, whatever they read and in pages of any size.
func TestHiddenRowsLeaveNoTrace(t *testing.T) {
	observation := `{"resourceType":"Observation","id":%q,%s"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/%s"},"performer":[{"reference":"Practitioner/baker"}]}`
	build := func(secrets bool) *world {
		w := newWorld(t)
		secret := func(id, label, patient string) {
			if secrets {
				w.put(observation, id, label, patient)
			}
		}
		for n := range 6 {
			w.put(observation, fmt.Sprintf("seen%d", n), "", "ava")
			secret(fmt.Sprintf("hid%d", n), confidential, "ava")
			secret(fmt.Sprintf("other%d", n), "", "mateo")
			w.clock.pass(time.Second)
		}
		secret("hid1", "", "noah") // moves away
		if secrets {
			w.put(`{"resourceType":"Encounter","id":"visit",%s"status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ava"}}`, strings.Replace(confidential, "SEX", "PSY", 1))
			if err := w.guard.Delete(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "hid2"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.clock.set(time.Date(2026, 3, 10, 16, 0, 0, 0, w.zone))
		w.put(observation, "seen1", "", "ava")
		if err := w.guard.Delete(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: "seen2"}, nil); err != nil {
			t.Fatal(err)
		}
		return w
	}
	with, without := build(true), build(false)
	for _, who := range []string{"helen", "app"} {
		callers := map[*world]consent.Caller{}
		for _, w := range []*world{with, without} {
			if callers[w] = w.as("helen"); who == "app" {
				callers[w] = w.app("helen", "patient/*.rs", "ava")
			}
			w.readings()
		}
		for name := range with.readings() {
			for _, query := range []string{"", "_count=1", "_count=2", "_count=5", "_count=3&_type=Observation,Encounter", "_count=2&_total=accurate&_type=Observation", "_count=2&_since=2026-03-10T15:00:02-04:00", "_count=4&_at=2026-03-10T15:00:03-04:00"} {
				a, b := told(t, with.readings()[name], callers[with], query), told(t, without.readings()[name], callers[without], query)
				if a != b {
					t.Errorf("%s, %s?%s: with secrets\n%s\nwithout\n%s", who, name, query, a, b)
				}
				if query == "" && !strings.Contains(a, "ava") {
					t.Errorf("%s, %s: nothing is told: %s", who, name, a)
				}
			}
		}
	}
	for name, read := range with.readings() { // the patient sees it
		if got := told(t, read, with.as("ava"), "_count=4"); !strings.Contains(got, "hid0") && name != "history of an instance" {
			t.Errorf("%s: ava does not see what is hers: %s", name, got)
		}
	}
}

func TestStrangersReadNothing(t *testing.T) {
	w := newWorld(t)
	for name, read := range w.readings() {
		for _, who := range []string{"okafor", "luis"} {
			got := told(t, read, w.as(who), "_count=3")
			for _, hidden := range []string{"ava", "sofia", "noah", "lily"} {
				if strings.Contains(got, hidden) {
					t.Errorf("%s: %s is told of %s: %s", name, who, hidden, got)
				}
			}
		}
	}
	_, err := w.guard.Everything(t.Context(), w.as("okafor"), "ava", nil, false)
	_, absent := w.guard.Everything(t.Context(), w.as("okafor"), "nobody", nil, false)
	wantKind(t, err, fhir.NotFound)
	if err.Error() != absent.Error() {
		t.Errorf("hidden %v, absent %v", err, absent)
	}
}

// TestReadingsAgreeWithSearch: the current versions of a history, a search of the
// system and $everything hold what a search of each type holds.
func TestReadingsAgreeWithSearch(t *testing.T) {
	w := newWorld(t)
	w.ask("okafor", "1001", consent.AccessRequest{}) // a Consent, a Provenance, a notice
	w.put(`{"resourceType":"Appointment","id":"both","status":"proposed","participant":[{"actor":{"reference":"Patient/mateo"},"status":"accepted"},{"actor":{"reference":"Patient/ava"},"status":"accepted"}]}`)
	types := []string{"Patient", "Observation", "Consent", "Provenance", "Communication", "CareTeam", "RelatedPerson", "Appointment", "Practitioner"}
	for _, who := range []string{"adams", "baker", "chen", "okafor", "grace", "luis", "helen", "ava", "noah", "mark"} {
		var want []string
		for _, typ := range types {
			got, err := w.search(w.as(who), fhir.Type(typ), "_count=1000")
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range got {
				want = append(want, typ+"/"+id)
			}
		}
		slices.Sort(want)
		for name, read := range map[string]reading{"search": w.readings()["search of the system"], "history": w.readings()["history of the system"]} {
			query := "_count=1000"
			if name == "search" {
				query += "&_type=" + strings.Join(types, ",")
			}
			page, err := read(w.as(who), query)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, e := range page.Entries {
				if k := e.Resource.Key.String(); !slices.Contains(got, k) {
					got = append(got, k)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("%s, %s:\ngot  %v\nwant %v", who, name, got, want)
			}
		}
	}
}

func TestEverythingOfAFamily(t *testing.T) {
	w := newWorld(t)
	read := w.readings()["everything of all"]
	got := told(t, read, w.as("grace"), "_count=2")
	for _, want := range []string{"Patient/mateo/1", "Patient/sofia/1", "Observation/mateo-weight/1", "Observation/sofia-weight/1", "include Practitioner/adams"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing: %s", want, got)
		}
	}
	app := told(t, read, w.app("grace", "patient/*.rs", "mateo"), "")
	if !strings.Contains(app, "mateo-weight") || strings.Contains(app, "sofia") {
		t.Errorf("an app for one child: %s", app)
	}
	_, err := read(w.as("adams"), "")
	wantKind(t, err, fhir.Unsupported)
	if page, err := read(w.app("adams", "patient/*.rs", "mateo"), ""); err != nil || len(page.Entries) < 3 {
		t.Errorf("an app of a provider for one patient: %v", err)
	}
}

func TestReadingsNeedScopes(t *testing.T) {
	w := newWorld(t)
	read := w.readings()
	narrow := w.app("helen", "patient/Patient.rs patient/Observation.r", "ava")
	for name, read := range read {
		got := told(t, read, narrow, "")
		if strings.Contains(got, "Observation/") || name == "history of a type" && !strings.Contains(got, "forbidden") {
			t.Errorf("%s: without a scope to search: %s", name, got)
		}
	}
	for name, query := range map[string]string{"search of the system": "_type=Patient,Observation", "everything": "_type=Patient,Condition", "everything of all": "_type=Observation"} {
		_, err := read[name](narrow, query)
		wantKind(t, err, fhir.Forbidden)
		if err != nil && (!strings.Contains(err.Error(), "http._type") || strings.Contains(err.Error(), "Patient.")) {
			t.Errorf("%s: the refusal does not name what it is about: %v", name, err)
		}
	}
	none := w.app("helen", "openid", "ava")
	for name, read := range read {
		_, err := read(none, "")
		if fhir.KindOf(err) != fhir.Forbidden {
			t.Errorf("%s: without any scope: %v", name, err)
		}
	}
	granular := w.app("ava", "patient/Patient.rs patient/Observation.rs?code=http://loinc.org|29463-7", "ava")
	for _, name := range []string{"history of the system", "history of a type", "search of the system", "everything"} {
		got := told(t, read[name], granular, "_count=1")
		if !strings.Contains(got, "ava-weight") || strings.Contains(got, "ava-secret") {
			t.Errorf("%s: by a granular scope: %s", name, got)
		}
	}
	// reading is not searching: what may be read by id is not listed
	reads := w.app("ava", "patient/Patient.r patient/Observation.r patient/Condition.rs patient/Encounter.rs", "ava")
	for _, name := range []string{"history of the system", "search of the system", "everything"} {
		if got := told(t, read[name], reads, ""); strings.Contains(got, "Observation/") {
			t.Errorf("%s: lists what may only be read: %s", name, got)
		}
	}
	both := w.app("ava", "patient/Patient.rs patient/Observation.r patient/Observation.s?code=http://loinc.org|29463-7", "ava")
	for _, name := range []string{"history of the system", "search of the system", "everything"} {
		if got := told(t, read[name], both, ""); !strings.Contains(got, "ava-weight") || strings.Contains(got, "ava-secret") {
			t.Errorf("%s: lists more than may be searched: %s", name, got)
		}
	}
	if got := told(t, read["everything"], reads, ""); !strings.Contains(got, "Patient/ava/1") {
		t.Errorf("a Patient that may be read: %s", got)
	}
}

func TestLinksAreBoundToTheCaller(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Patient","id":"ava","identifier":[{"system":%q,"value":"1003"}],"birthDate":"2010-09-09","generalPractitioner":[{"reference":"Practitioner/baker"}]}`, mrnSystem)
	all := w.readings()
	for name, read := range all {
		c := w.app("ava", "patient/*.rs", "ava")
		page, err := read(c, "_count=1")
		if err != nil || page.Next == "" {
			t.Fatalf("%s: next %q, %v", name, page.Next, err)
		}
		if _, err := read(c, page.Next); err != nil {
			t.Errorf("%s: their own link: %v", name, err)
		}
		other := c
		other.ClientID = "another"
		launch := c
		launch.Launch.Patient = ""
		launch.Scopes, _ = smart.ParseScopes("user/*.rs")
		for who, thief := range map[string]consent.Caller{"the mother": w.app("helen", "patient/*.rs", "ava"), "another app": other, "another launch": launch, "the doctor": w.as("baker")} {
			if name == "everything of all" && who == "the doctor" {
				continue
			}
			_, err := read(thief, page.Next)
			wantKind(t, err, fhir.Invalid)
		}
		for another, read := range all {
			if another != name && !strings.HasPrefix(another, name) && !strings.HasPrefix(name, another) {
				if _, err := read(c, page.Next); fhir.KindOf(err) != fhir.Invalid {
					t.Errorf("a link of %s, used for %s: %v", name, another, err)
				}
			}
		}
		_, err = read(c, strings.Replace(page.Next, "_count=1", "_count=2", 1))
		wantKind(t, err, fhir.Invalid)
	}
}

func TestReadingsEndWithTheBasis(t *testing.T) {
	w := newWorld(t)
	for name, read := range w.readings() {
		if name == "everything of all" {
			continue
		}
		page, err := read(w.as("helen"), "_count=1&_type=Observation,Patient")
		if strings.HasPrefix(name, "history") {
			page, err = read(w.as("helen"), "_count=1")
		}
		if err != nil || len(page.Entries) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	first, err := w.guard.SystemHistory(t.Context(), w.as("helen"), url.Values{"_count": {"1"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.set(time.Date(2028, 9, 9, 0, 0, 0, 0, w.zone)) // Ava is of age
	for name, read := range w.readings() {
		if got := told(t, read, w.as("helen"), "_count=1"); strings.Contains(got, "/ava") && !strings.Contains(name, "search") || strings.Contains(got, "Patient/ava") || strings.Contains(got, "ava-weight") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := told(t, w.readings()["history of the system"], w.as("helen"), first.Next); strings.Contains(got, "ava") {
		t.Errorf("the second page: %s", got)
	}
}

func TestUnknownParametersOfReadings(t *testing.T) {
	w := newWorld(t)
	for name, read := range w.readings() {
		_, err := read(w.as("ava"), "nothing=1")
		if fhir.KindOf(err) != fhir.Invalid || !strings.Contains(fmt.Sprint(err), "http.nothing") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	page, err := w.guard.SystemHistory(t.Context(), w.as("ava"), url.Values{"nothing": {"1"}, "_count": {"1"}}, true)
	if err != nil || page.Applied != "_count=1" {
		t.Errorf("lenient: self says %q, %v", page.Applied, err)
	}
	page, err = w.guard.SearchSystem(t.Context(), w.as("ava"), url.Values{"nothing": {"1"}, "_count": {"1"}}, true)
	if err != nil || page.Applied != "_count=1" {
		t.Errorf("lenient: self says %q, %v", page.Applied, err)
	}
}

// TestReadingsAreLogged: the family sees who read the record as a whole.
func TestReadingsAreLogged(t *testing.T) {
	w := newWorld(t)
	for name, read := range w.readings() {
		if name != "everything of all" {
			if _, err := read(w.as("baker"), ""); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	looks, err := w.guard.WhoLooked(t.Context(), w.as("ava"), "ava", 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"history", "history-type", "history-system", "search-system", "$everything"} {
		if !slices.ContainsFunc(looks, func(l consent.Look) bool { return l.Action == action && len(l.Why) > 0 }) {
			t.Errorf("%s is not in the log: %+v", action, looks)
		}
	}
}

func TestPartsAreNotStored(t *testing.T) {
	w := newWorld(t)
	part := []byte(`{"resourceType":"Observation","id":"mateo-weight","meta":{"tag":[{"code":"SUBSETTED"}]},"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`)
	_, _, err := w.guard.Update(t.Context(), w.as("adams"), fhir.Key{Type: "Observation", ID: "mateo-weight"}, part, nil)
	wantKind(t, err, fhir.Unprocessable)
	if err != nil && !strings.Contains(err.Error(), "Observation.meta.tag[0]") {
		t.Errorf("the refusal does not name the tag: %v", err)
	}
}

// TestHistoryAgreesWithVersionReads: a caller finds in a history just the versions
// that they could read one by one, deletions included.
func TestHistoryAgreesWithVersionReads(t *testing.T) {
	w := newWorld(t)
	w.ask("okafor", "1002", consent.AccessRequest{})
	for _, label := range []string{confidential, "", confidential, ""} { // in and out of what helen may see
		for _, id := range []string{"a", "b"} {
			w.put(`{"resourceType":"Observation","id":%q,%s"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`, id, label)
		}
	}
	w.put(`{"resourceType":"Observation","id":"b",%s"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/ava"}}`, confidential)
	for _, id := range []string{"b", "ava-weight"} {
		if err := w.guard.Delete(t.Context(), w.as("baker"), fhir.Key{Type: "Observation", ID: id}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var all []store.LogEntry
	if err := w.eng.View(t.Context(), func(tx *engine.Tx) (err error) {
		all, err = tx.Reader().Log(store.LogQuery{Limit: 10000, Reverse: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"adams", "baker", "okafor", "grace", "helen", "ava", "mark"} {
		want := []string{}
		for _, e := range all {
			if e.Key.String() == w.as(who).Identity.FHIRUser { // everybody may read who they are, basis or not
				continue
			}
			_, err := w.guard.VRead(t.Context(), w.as(who), fhir.Key{Type: fhir.Type(e.Key.Type), ID: e.Key.ID}, e.Version)
			if err == nil || fhir.KindOf(err) == fhir.Gone {
				want = append(want, fmt.Sprintf("%v/%d", e.Key, e.Version))
			}
		}
		got := []string{}
		for query := "_count=4"; query != ""; {
			page, err := w.readings()["history of the system"](w.as(who), query)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				if e.Resource.Key.String() != w.as(who).Identity.FHIRUser {
					got = append(got, fmt.Sprintf("%v/%d", e.Resource.Key, e.Resource.Version))
				}
			}
			query = page.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", who, got, want)
		}
	}
}

// An approximate date is nearer the longer ago it is.
func TestApproximateDates(t *testing.T) {
	w := newWorld(t)
	w.people()
	for query, want := range map[string]string{
		"birthdate=ap2012":       "[ava]", // 2010-09 to 2014-05
		"birthdate=ap2016-06-01": "[]",
	} {
		ids, err := w.search(w.as("baker"), "Patient", query)
		if err != nil || fmt.Sprint(ids) != want {
			t.Errorf("%s: got %v, %v, want %s", query, ids, err, want)
		}
	}
}

// The CapabilityStatement follows the search parameters.
func TestCapabilitiesFollow(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.eng.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before := w.guard.Capabilities(); bytes.Contains(before, []byte("example.org/eyes")) || &before[0] != &w.guard.Capabilities()[0] {
		t.Error("told of early, or made twice")
	}
	w.put(`{"resourceType":"SearchParameter","id":"eyes","url":"http://example.org/eyes","name":"Eyes","status":"active","description":"x",
		"code":"eyes","base":["Patient"],"type":"token","expression":"Patient.extension('http://example.org/eyes').value"}`)
	if _, err := w.eng.Reindex(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.eng.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(w.guard.Capabilities(), []byte("example.org/eyes")) {
		t.Error("not told of")
	}
}
