package engine_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
)

func queryOf(t testing.TB, s string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// ward has two patients whose records refer to each other.
func ward(t *testing.T) *world {
	w := newWorld(t)
	w.put(ada, bob,
		`{"resourceType":"Practitioner","id":"doc","name":[{"family":"Who"}]}`,
		`{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/ada"},"participant":[{"individual":{"reference":"Practitioner/doc"}}]}`,
		`{"resourceType":"Encounter","id":"e2","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/bob"},"partOf":{"reference":"Encounter/e1"}}`,
	)
	for i := range 7 {
		owner, encounter := "ada", "e1"
		if i%2 == 1 {
			owner, encounter = "bob", "e2"
		}
		w.put(fmt.Sprintf(`{"resourceType":"Observation","id":"o%d","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/%s"},"encounter":{"reference":"Encounter/%s"},"effectiveDateTime":"2024-01-0%d"}`,
			i, owner, encounter, 9-i))
	}
	return w
}

func TestSearchPages(t *testing.T) {
	w := ward(t)
	for _, test := range []struct {
		query string
		sight engine.Sight
		pages []string
	}{
		{"Observation?_count=3", engine.Everything, []string{"o0 o1 o2", "o3 o4 o5", "o6"}},
		{"Observation?_count=7", engine.Everything, []string{"o0 o1 o2 o3 o4 o5 o6"}},
		{"Observation?_count=3&_sort=date", engine.Everything, []string{"o6 o5 o4", "o3 o2 o1", "o0"}},
		{"Observation?_count=2", owned("Patient/ada"), []string{"o0 o2", "o4 o6"}},
		{"Observation?_count=2&subject=Patient/ada", owned("Patient/bob"), []string{""}},
		{"Observation?_count=2", nothing, []string{""}},
	} {
		t.Run(test.query, func(t *testing.T) {
			query, _, _ := strings.Cut(test.query, "?")
			next := test.query
			var pages []string
			for next != "" {
				page, err := w.search(next, test.sight)
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, e := range page.Entries {
					ids = append(ids, e.Resource.ID)
				}
				pages = append(pages, strings.Join(ids, " "))
				if strings.Contains(page.Applied, "_cursor") {
					t.Errorf("applied %q holds the cursor", page.Applied)
				}
				if next = ""; page.Next != "" {
					next = query + "?" + page.Next
				}
			}
			if !slices.Equal(pages, test.pages) {
				t.Errorf("got pages %q, want %q", pages, test.pages)
			}
		})
	}
	_, err := w.search("Observation?_cursor=@", engine.Everything)
	wantKind(t, err, fhir.Invalid)
}

func TestSearchTotals(t *testing.T) {
	w := ward(t)
	for _, test := range []struct {
		query string
		sight engine.Sight
		rows  int
		total string
	}{
		{"Observation?_count=3", engine.Everything, 3, "unknown"},
		{"Observation?_count=7", engine.Everything, 7, "7"},
		{"Observation?_count=3&_total=accurate", engine.Everything, 3, "7"},
		{"Observation?_count=3&_total=accurate", owned("Patient/bob"), 3, "3"},
		{"Observation?_count=3&_total=accurate", nothing, 0, "0"},
		{"Observation?_total=none", engine.Everything, 7, "unknown"},
		{"Observation?_summary=count", owned("Patient/ada"), 0, "4"},
		{"Observation?_count=3&_total=accurate&_include=Observation:subject", engine.Everything, 5, "7"},
	} {
		page, err := w.search(test.query, test.sight)
		if err != nil {
			t.Errorf("%s: %v", test.query, err)
			continue
		}
		if len(page.Entries) != test.rows || total(page) != test.total {
			t.Errorf("%s: got %d rows and total %s, want %d and %s", test.query, len(page.Entries), total(page), test.rows, test.total)
		}
	}
}

func TestIncludes(t *testing.T) {
	w := ward(t)
	directory := func(patient string) engine.Sight {
		return func(t fhir.Type) store.Expr {
			if t == "Practitioner" {
				return store.All()
			}
			return owned(patient)(t)
		}
	}
	for _, test := range []struct {
		query string
		sight engine.Sight
		want  string
	}{
		{"Observation?_id=o1&_include=Observation:subject", engine.Everything, "match Observation/o1, include Patient/bob"},
		{"Observation?_id=o1,o3&_include=Observation:subject", engine.Everything, "match Observation/o1, match Observation/o3, include Patient/bob"},
		{"Observation?_id=o1&_include=Observation:encounter", engine.Everything, "match Observation/o1, include Encounter/e2"},
		{"Observation?_id=o1&_include=Observation:encounter&_include:iterate=Encounter:part-of", engine.Everything, "match Observation/o1, include Encounter/e2, include Encounter/e1"},
		{"Observation?_id=o1&_include=Observation:encounter&_include:iterate=Encounter:part-of&_include:iterate=Encounter:practitioner", engine.Everything,
			"match Observation/o1, include Encounter/e2, include Encounter/e1, include Practitioner/doc"},
		{"Observation?_id=o1&_include=Observation:encounter&_include:iterate=Encounter:part-of&_include:iterate=Encounter:practitioner", directory("Patient/bob"),
			"match Observation/o1, include Encounter/e2"}, // e1 is Ada's, and so what lies behind it
		{"Encounter?_id=e1&_revinclude=Encounter:part-of", engine.Everything, "match Encounter/e1, include Encounter/e2"},
		{"Encounter?_id=e1&_revinclude=Encounter:part-of", owned("Patient/ada"), "match Encounter/e1"},
		{"Patient?_id=ada&_revinclude=Observation:subject&_count=1", owned("Patient/ada"), "match Patient/ada, include Observation/o0, include Observation/o2, include Observation/o4, include Observation/o6"},
		{"Encounter?_include=Encounter:part-of", engine.Everything, "match Encounter/e1, match Encounter/e2"}, // a match is not included again
		{"Patient?_id=nobody&_revinclude=Observation:subject", engine.Everything, ""},
	} {
		page, err := w.search(test.query, test.sight)
		if err != nil {
			t.Errorf("%s: %v", test.query, err)
			continue
		}
		if got := strings.Join(list(page), ", "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.query, got, test.want)
		}
	}
}

func TestIncludesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.put(ada)
	w.update(func(tx *engine.Tx) error {
		for i := range 1001 {
			p := w.prepare(fmt.Sprintf(`{"resourceType":"Flag","id":"f%d","status":"active","code":{"text":"x"},"subject":{"reference":"Patient/ada"}}`, i))
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	})
	_, err := w.search("Patient?_revinclude=Flag:subject", engine.Everything)
	wantKind(t, err, fhir.TooBig)
	if page, err := w.search("Patient?_revinclude=Flag:subject", owned("Patient/none")); err != nil || len(page.Entries) != 0 {
		t.Errorf("got %v, %v, want an empty page", page, err)
	}
}

func TestChainsKeepToTheSight(t *testing.T) {
	w := ward(t)
	for _, test := range []struct {
		query string
		sight engine.Sight
		want  int
	}{
		{"Observation?subject:Patient.family=Lovelace", engine.Everything, 4},
		{"Observation?subject:Patient.family=Lovelace", owned("Patient/bob"), 0},
		{"Encounter?part-of:Encounter.subject=Patient/ada", engine.Everything, 1},
		{"Encounter?part-of:Encounter.subject=Patient/ada", owned("Patient/bob"), 0}, // e2 is Bob's, but e1 is not
		{"Practitioner?_has:Encounter:practitioner:status=finished", engine.Everything, 1},
		{"Practitioner?_has:Encounter:practitioner:status=finished", func(t fhir.Type) store.Expr {
			if t == "Practitioner" {
				return store.All()
			}
			return owned("Patient/bob")(t)
		}, 0},
	} {
		page, err := w.search(test.query, test.sight)
		if err != nil || len(page.Entries) != test.want {
			t.Errorf("%s: got %v, %v, want %d matches", test.query, page, err, test.want)
		}
	}
}
