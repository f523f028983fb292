package engine_test

import (
	"bytes"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// The search cases are those of package search, where the answer is computed
// without an index; here the whole way to the disk and back is taken. Their
// format is told in ../search/testdata/cases/README.md.
func TestSearchCases(t *testing.T) {
	for name, on := range stores() {
		t.Run(name, func(t *testing.T) { searchCases(t, on) })
	}
}

func searchCases(t *testing.T, on engineOf) {
	files, err := filepath.Glob("../search/testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorldOn(on, t)
			w.now = time.Date(2024, 5, 6, 7, 8, 9, 123_000_000, time.UTC)
			for _, part := range archive.Files {
				switch part.Name {
				case "resources.ndjson":
					w.seed(part.Data)
				case "cases.txt":
					for line := range strings.Lines(string(part.Data)) {
						if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
							w.searchCase(line)
						}
					}
				}
			}
		})
	}
}

const casesBase = "https://example.org/fhir"

// seed stores resources as they are: not every one is complete R4.
func (w *world) seed(lines []byte) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), func(to store.Writer) error {
		for body := range bytes.Lines(lines) {
			if body = bytes.TrimSpace(body); len(body) == 0 {
				continue
			}
			tree, err := fhir.Tree(body)
			if err != nil {
				return err
			}
			key := fhir.Header(body)
			terms, err := w.Registry().Index(key.Type, tree, casesBase)
			if err != nil {
				return err
			}
			terms = append(terms, search.StampTerms(key, w.now)...)
			err = to.PutResource(&store.Version{Key: store.Key{Type: string(key.Type), ID: key.ID}, Version: 1, Time: w.now,
				Terms: store.NewTerms(terms), Body: fhir.WithMeta(body, key.ID, 1, w.now)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) searchCase(line string) {
	w.t.Helper()
	query, want, found := strings.Cut(line, " =>")
	if !found {
		w.t.Fatalf("not a case: %s", line)
	}
	want = strings.TrimSpace(want)
	query, lenient := strings.CutPrefix(query, "lenient ")
	got := w.answer(query, lenient)
	if got != want {
		w.t.Errorf("%s\ngot  %s\nwant %s", line, got, want)
	}
}

// answer gives what a query comes to, in the words of a case.
func (w *world) answer(query string, lenient bool) string {
	w.t.Helper()
	name, parameters, _ := strings.Cut(query, "?")
	values, err := url.ParseQuery(parameters)
	if err != nil {
		w.t.Fatal(err)
	}
	q, err := w.Registry().Parse(fhir.Type(name), values, search.Options{Base: casesBase, Now: w.now, Lenient: lenient})
	var page *fhir.Page
	if err == nil {
		err = w.View(w.t.Context(), func(tx *engine.Tx) error {
			page, err = tx.Search(q, engine.Everything)
			return err
		})
	}
	var refused *fhir.Error
	if errors.As(err, &refused) {
		words := []string{"!"}
		for _, i := range refused.Issues {
			words = append(words, i.Expression)
		}
		return strings.TrimSpace(strings.Join(words, " "))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if q.Count == 0 {
		return "#" + strconv.Itoa(*page.Total)
	}
	var words, included []string
	for _, e := range page.Entries {
		if e.Mode == "include" {
			included = append(included, "+"+e.Resource.Key.String())
		} else {
			words = append(words, e.Resource.ID)
		}
	}
	slices.Sort(included)
	return strings.Join(append(words, included...), " ")
}
