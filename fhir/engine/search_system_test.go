package engine_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// searchAll runs a query such as "_type=Patient,Observation&_sort=_id".
func (w *world) searchAll(query string, sight engine.Sight) (*fhir.Page, error) {
	w.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	types, err := search.ParseTypes(values)
	if err != nil {
		return nil, err
	}
	if types == nil {
		types = fhir.Types()
	}
	queries, err := w.Registry().ParseSystem(types, values, search.Options{Base: base, Now: w.clock()})
	if err != nil {
		return nil, err
	}
	var page *fhir.Page
	err = w.View(w.t.Context(), func(tx *engine.Tx) error {
		page, err = tx.SearchSystem(queries, sight)
		return err
	})
	return page, err
}

// allPages gives the matches of all pages.
func (w *world) allPages(query string, sight engine.Sight) []string {
	w.t.Helper()
	rows := []string{}
	for n := 0; query != ""; n++ {
		page, err := w.searchAll(query, sight)
		if err != nil || n > 1000 {
			w.t.Fatalf("page %d of %s: %v", n, query, err)
		}
		for _, row := range list(page) {
			if match, ok := strings.CutPrefix(row, "match "); ok {
				rows = append(rows, match)
			}
		}
		query = page.Next
	}
	return rows
}

// TestPagesOfSystemSearch compares pages of every order with sorted lists.
func TestPagesOfSystemSearch(t *testing.T) {
	for seed := range uint64(2) {
		w := newChanging(t, seed)
		for range 80 {
			w.step()
		}
		mine := unlabelled("Patient/p0", "Patient/p2")
		types := []string{"Patient", "Observation", "Condition", "Practitioner"}
		type row struct {
			key     store.Key
			updated time.Time
		}
		var rows []row
		w.view(func(tx *engine.Tx) error {
			for _, t := range types {
				hits, err := tx.Reader().Search(store.Query{Type: t, Where: mine(fhir.Type(t)), Limit: 1000})
				if err != nil {
					return err
				}
				for _, h := range hits {
					rows = append(rows, row{h.Key, h.Time})
				}
			}
			return nil
		})
		byType := func(a, b row) int {
			if c := slices.Index(types, a.key.Type) - slices.Index(types, b.key.Type); c != 0 {
				return c
			}
			return strings.Compare(a.key.ID, b.key.ID)
		}
		for sort, order := range map[string]func(a, b row) int{
			"":              byType,
			"_id":           func(a, b row) int { return orElse(strings.Compare(a.key.ID, b.key.ID), byType(a, b)) },
			"-_id":          func(a, b row) int { return orElse(strings.Compare(b.key.ID, a.key.ID), byType(a, b)) },
			"_lastUpdated":  func(a, b row) int { return orElse(a.updated.Compare(b.updated), byType(a, b)) },
			"-_lastUpdated": func(a, b row) int { return orElse(b.updated.Compare(a.updated), byType(a, b)) },
		} {
			slices.SortFunc(rows, order)
			want := []string{}
			for _, r := range rows {
				want = append(want, r.key.String())
			}
			for _, count := range []int{1, 2, 3, 7, 100} {
				query := fmt.Sprintf("_type=%s&_count=%d", strings.Join(types, ","), count)
				if sort != "" {
					query += "&_sort=" + sort
				}
				if got := w.allPages(query, mine); !slices.Equal(got, want) {
					t.Errorf("seed %d, %s:\ngot  %v\nwant %v", seed, query, got, want)
				}
			}
		}
		for query, want := range map[string]string{"_count=1&_total=accurate": fmt.Sprint(len(rows)), "_summary=count": fmt.Sprint(len(rows)), "_count=1": "unknown", "_total=none": "unknown", "": fmt.Sprint(len(rows))} {
			page, err := w.searchAll("_type="+strings.Join(types, ",")+"&"+query, mine)
			if err != nil || total(page) != want {
				t.Errorf("%s: got total %s, %v, want %s", query, total(page), err, want)
			}
		}
	}
}

func orElse(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func TestSystemSearchIncludes(t *testing.T) {
	w := newWorld(t)
	w.put(ada, bob, pulse, `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/ada"}}`)
	page, err := w.searchAll("_type=Observation,Condition&_include=Observation:subject&_include=Condition:subject", engine.Everything)
	if want := []string{"match Observation/pulse", "match Condition/c", "include Patient/ada"}; err != nil || !slices.Equal(list(page), want) {
		t.Errorf("got %v, %v, want %v", list(page), err, want)
	}
	page, err = w.searchAll("_type=Observation,Patient&_include=Observation:subject", owned("Patient/bob"))
	if want := []string{"match Patient/bob"}; err != nil || !slices.Equal(list(page), want) {
		t.Errorf("got %v, %v, want %v", list(page), err, want)
	}
	page, err = w.searchAll("_id=ada", nothing)
	if err != nil || len(page.Entries) != 0 || total(page) != "0" {
		t.Errorf("got %v, %v", list(page), err)
	}
	for query, parameter := range map[string]string{"_type=Nothing": "http._type", "_type=Patient,Observation&birthdate=2020": "http.birthdate",
		"_type=Patient&_cursor=x": "http._cursor", "_type=Patient&_cursor=9.": "http._cursor", "_type=Patient&_sort=_id&_cursor=0.AQ": "http._cursor", "_summary=true&_elements=id": "http._elements"} {
		_, err := w.searchAll(query, engine.Everything)
		if fhir.KindOf(err) != fhir.Invalid || !strings.Contains(err.Error(), parameter) {
			t.Errorf("%s: got %v, want a refusal that names %s", query, err, parameter)
		}
	}
}

// TestSystemSearchWhileWritersRun: what was there throughout comes once.
func TestSystemSearchWhileWritersRun(t *testing.T) {
	w := newChanging(t, 2)
	for range 100 {
		w.step()
	}
	before := w.allPages("_type=Patient,Observation,Practitioner&_count=100", engine.Everything)
	writers(t, w.world, func() {
		for _, sort := range []string{"", "&_sort=_id", "&_sort=_lastUpdated", "&_sort=-_lastUpdated"} {
			got := w.allPages("_type=Patient,Observation,Condition,Practitioner&_count=2"+sort+"&_lastUpdated=le2024-02-29T12:59:59Z", engine.Everything)
			counts := map[string]int{}
			for _, row := range got {
				counts[row]++
			}
			for _, row := range before {
				if counts[row] != 1 {
					t.Errorf("%s: %s came %d times", sort, row, counts[row])
				}
			}
		}
	})
}
