package search_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

func TestRegistryOfR4(t *testing.T) {
	r := registry(t)
	urls := map[string]bool{}
	for _, typ := range fhir.Types() {
		params := r.Params(typ)
		if !slices.IsSortedFunc(params, func(a, b *search.Param) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: not in order", typ)
		}
		for _, p := range params {
			urls[p.URL] = true
			if p.Expression == "" || p.URL == "" {
				t.Errorf("%s.%s: no expression or URL", typ, p.Name)
			}
			for _, target := range p.Targets {
				if !target.Valid() {
					t.Errorf("%s.%s: target %s", typ, p.Name, target)
				}
			}
		}
		for _, name := range []string{"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} {
			if _, ok := r.Param(typ, name); !ok {
				t.Errorf("%s has no %s", typ, name)
			}
		}
	}
	// 1,375 in the registry, less _text, _content, _query and near.
	if len(urls) != 1372 {
		t.Errorf("got %d parameters, want 1372", len(urls))
	}
	if r.Params("Foo") != nil {
		t.Error("parameters of an unknown type")
	}
	if _, err := r.Index("Foo", map[string]any{}, base); err == nil {
		t.Error("an unknown type was indexed")
	}
}

func TestCompartment(t *testing.T) {
	r := registry(t)
	for _, typ := range []fhir.Type{"Patient", "Observation", "Task", "Device", "Binary", "Consent", "Provenance", "AuditEvent", "Group", "List", "RelatedPerson"} {
		if !r.InCompartment(typ) {
			t.Errorf("%s is in no compartment", typ)
		}
	}
	for _, typ := range []fhir.Type{"Practitioner", "Organization", "Location", "Medication", "ValueSet", "Foo"} {
		if r.InCompartment(typ) {
			t.Errorf("%s is in a compartment", typ)
		}
	}
}

// examples gives the official examples of R4.
func examples(tb testing.TB) map[string]map[string]any {
	tb.Helper()
	b, err := os.ReadFile("../testdata/r4-examples.tar.gz")
	if err != nil {
		tb.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	found := map[string]map[string]any{}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			tb.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		body, err := io.ReadAll(files)
		if err != nil {
			tb.Fatal(err)
		}
		found[h.Name] = decode(tb, body)
	}
}

// Every official example is indexed, and each of its values finds it: the same
// parameter, asked for what the example holds, has the example in its answer.
func TestExamples(t *testing.T) {
	r := registry(t)
	all := examples(t)
	if len(all) < 373 {
		t.Fatalf("only %d examples", len(all))
	}
	m := &model{versions: map[store.Key]*store.Version{}}
	named := map[string]bool{}
	for name, tree := range all {
		key := fhir.Key{Type: fhir.Type(tree["resourceType"].(string)), ID: fmt.Sprint(tree["id"])}
		if !key.Type.Valid() {
			t.Fatalf("%s is a %q", name, key.Type)
		}
		m.put(t, r, key, tree)
	}
	for _, v := range m.versions {
		for term := range v.Terms.All() {
			named[v.Type+"."+string(term)] = true
		}
	}
	for _, v := range m.versions {
		for name, value := range v.Terms.All() {
			checkFound(t, r, m, v, string(name), string(value))
		}
	}
	if len(named) < 1000 {
		t.Errorf("the examples have only %d parameters", len(named))
	}
}

// checkFound asks for a reference or a code that a version has.
func checkFound(t *testing.T, r *search.Registry, m *model, v *store.Version, name, value string) {
	t.Helper()
	p, ok := r.Param(fhir.Type(v.Type), name)
	if !ok || p.Kind != search.Token && p.Kind != search.Reference && p.Kind != search.URI || strings.ContainsAny(value, "\x01#") {
		return
	}
	if p.Kind == search.Reference && fhir.ValidID(value) {
		return // a canonical that looks like an id is taken for one
	}
	escaped := strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`).Replace(value)
	q, err := r.Parse(fhir.Type(v.Type), map[string][]string{name: {escaped}}, search.Options{Base: base})
	if err != nil {
		t.Errorf("%s?%s=%s: %v", v.Type, name, escaped, err)
		return
	}
	if ok, err := store.Eval(m, v, q.Plan(everything).Where); !ok || err != nil {
		t.Errorf("%s?%s=%s does not find %s: %v", v.Type, name, escaped, v.Key, err)
	}
}

func everything(fhir.Type) store.Expr { return store.All() }

// Indexing is safe for concurrent use and gives the same terms each time.
func TestIndexConcurrently(t *testing.T) {
	r := registry(t)
	var trees []map[string]any
	for _, tree := range examples(t) {
		trees = append(trees, tree)
	}
	want := make([]store.Terms, len(trees))
	for i, tree := range trees {
		list, _ := r.Index(fhir.Type(tree["resourceType"].(string)), tree, base)
		want[i] = store.NewTerms(list)
	}
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i, tree := range trees {
				list, err := r.Index(fhir.Type(tree["resourceType"].(string)), tree, base)
				if err != nil || !bytes.Equal(store.NewTerms(list), want[i]) {
					t.Errorf("%v: %v", tree["id"], err)
				}
			}
		})
	}
}
