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

// included lists what the includes of a query add: those with :iterate are applied
// to what was added too, until there is nothing new.
func included(t *testing.T, m *model, q *search.Query, hits []store.Hit) []string {
	t.Helper()
	var from []*store.Version
	known := map[store.Key]bool{}
	for _, h := range hits {
		from, known[h.Key] = append(from, h.Version), true
	}
	var list []string
	for first := true; len(from) > 0; first = false {
		var next []*store.Version
		for _, i := range q.Includes() {
			if !first && !i.Iterate {
				continue
			}
			for _, v := range added(t, m, i, from) {
				if !known[v.Key] {
					next, known[v.Key] = append(next, v), true
					list = append(list, "+"+v.Key.String())
				}
			}
		}
		from = next
	}
	slices.Sort(list)
	return list
}

// added lists what one include adds to some resources, in one step.
func added(t *testing.T, m *model, i search.Include, from []*store.Version) (found []*store.Version) {
	t.Helper()
	if i.Reverse {
		for _, source := range i.Sources() {
			found = append(found, searched(t, m, source, i.Where(source, from))...)
		}
		return found
	}
	for _, v := range from {
		for _, key := range i.Targets(v) {
			if v, _ := m.Resource(store.Key{Type: string(key.Type), ID: key.ID}); v != nil {
				found = append(found, v)
			}
		}
	}
	for typ, where := range i.Canonicals(from) {
		found = append(found, searched(t, m, typ, where)...)
	}
	return found
}

func searched(t *testing.T, m *model, typ fhir.Type, where store.Expr) (found []*store.Version) {
	t.Helper()
	hits, err := m.Search(store.Query{Type: string(typ), Where: where})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hits {
		found = append(found, h.Version)
	}
	return found
}
