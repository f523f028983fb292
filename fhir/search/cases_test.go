package search_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// TestCases runs testdata/cases/*.txtar: resources.ndjson holds resources, one a
// line; cases.txt holds one case a line:
//
//	Patient?name=peter => 1 2          the ids, in their order
//	Patient?active=true =>             nothing
//	Patient?name=peter&_count=0 => #2  the count
//	Patient?nme=peter => ! http.nme    refused, with these expressions
//	lenient Patient?nme=peter => 1 2   with Prefer: handling=lenient
//
// The time is 2024-05-06T07:08:09.123Z, the base https://example.org/fhir.
func TestCases(t *testing.T) {
	r := registry(t)
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	total := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, f := range archive.Files {
				parts[f.Name] = f.Data
			}
			m := newModel(t, r, parts["resources.ndjson"])
			for line := range strings.Lines(string(parts["cases.txt"])) {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				total++
				query, want, ok := strings.Cut(line, "=>")
				if !ok {
					t.Fatalf("not a case: %s", line)
				}
				if got, want := answer(t, r, m, strings.TrimSpace(query)), strings.TrimSpace(want); got != want {
					t.Errorf("%s\n got %s\nwant %s", strings.TrimSpace(query), got, want)
				}
			}
		})
	}
	if total < 120 {
		t.Errorf("only %d cases were run", total)
	}
}

// answer runs a query on the model and writes the result as a case does.
func answer(t *testing.T, r *search.Registry, m *model, query string) string {
	t.Helper()
	query, lenient := strings.CutPrefix(query, "lenient ")
	typ, raw, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	q, err := r.Parse(fhir.Type(typ), values, search.Options{Base: base, Now: stamp, Lenient: lenient})
	if err != nil {
		return strings.TrimSpace("! " + strings.Join(refusal(t, err), " "))
	}
	plan, err := q.PlanWith(everything, search.Sources{Find: m.find})
	if err != nil {
		return strings.TrimSpace("! " + strings.Join(refusal(t, err), " "))
	}
	hits, err := m.Search(plan)
	if err != nil {
		t.Fatal(err)
	}
	if q.Count == 0 {
		return fmt.Sprintf("#%d", len(hits))
	}
	var ids []string
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	if len(q.Includes()) > 0 {
		ids = append(ids, included(t, m, q, hits)...)
	}
	return strings.Join(ids, " ")
}

// included lists what the includes of a query add, without iteration.
func included(t *testing.T, m *model, q *search.Query, hits []store.Hit) []string {
	t.Helper()
	found := map[string]bool{}
	var keys []fhir.Key
	for _, h := range hits {
		keys = append(keys, fhir.Key{Type: fhir.Type(h.Type), ID: h.ID})
	}
	for _, i := range q.Includes() {
		if !i.Reverse {
			for _, h := range hits {
				for _, key := range i.Targets(h.Version) {
					if v, _ := m.Resource(store.Key{Type: string(key.Type), ID: key.ID}); v != nil {
						found["+"+key.String()] = true
					}
				}
			}
			continue
		}
		for _, source := range i.Sources() {
			more, err := m.Search(store.Query{Type: string(source), Where: i.Where(source, keys)})
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range more {
				found["+"+h.Key.String()] = true
			}
		}
	}
	var list []string
	for key := range found {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}
