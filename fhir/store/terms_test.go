package store_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mypatients/fhir/store"
)

func ExampleNewTerms() {
	terms := store.NewTerms([]store.Term{{Name: "name", Value: "rob"}, {Name: "city", Value: "york"}, {Name: "name", Value: "bob"}, {Name: "name", Value: "bob"}})
	for name, value := range terms.All() {
		fmt.Printf("%s=%s\n", name, value)
	}
	// Output:
	// city=york
	// name=bob
	// name=rob
}

func TestTermsValues(t *testing.T) {
	terms := store.NewTerms([]store.Term{
		{Name: "b", Value: "2"}, {Name: "b", Value: ""}, {Name: "b", Value: "10"}, {Name: "ab", Value: "x"},
		{Name: "a", Value: "\xff"}, {Name: "c", Value: strings.Repeat("long", 100)}, {Name: "", Value: "nameless"},
	})
	for name, want := range map[string][]string{
		"a": {"\xff"}, "ab": {"x"}, "b": {"", "10", "2"}, "c": {strings.Repeat("long", 100)}, "": {"nameless"}, "d": nil, "aa": nil,
	} {
		var got []string
		for v := range terms.Values(name) {
			got = append(got, string(v))
		}
		if !slices.Equal(got, want) {
			t.Errorf("values of %q: got %q, want %q", name, got, want)
		}
	}
	for v := range terms.Values("b") { // must be able to stop
		if string(v) != "" {
			t.Errorf("the first value is %q", v)
		}
		break
	}
}

func TestTermsEmpty(t *testing.T) {
	if terms := store.NewTerms(nil); len(terms) != 0 || terms.List() != nil {
		t.Errorf("got %q", terms)
	}
	if list := store.Terms(nil).List(); list != nil {
		t.Errorf("got %q", list)
	}
}

// Whatever is unpacked, packs again to the same bytes.
func FuzzTerms(f *testing.F) {
	f.Add("a", "1", "b", "2", "a", "1")
	f.Add("", "", "", "\xff", "\x01", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		terms := store.NewTerms([]store.Term{{Name: n1, Value: v1}, {Name: n2, Value: v2}, {Name: n3, Value: v3}})
		list := terms.List()
		if again := store.NewTerms(slices.Clone(list)); !bytes.Equal(again, terms) {
			t.Errorf("%q becomes %q", terms, again)
		}
		for _, want := range []store.Term{{Name: n1, Value: v1}, {Name: n2, Value: v2}, {Name: n3, Value: v3}} {
			if !slices.Contains(list, want) {
				t.Errorf("%q is missing in %q", want, list)
			}
		}
	})
}

// Damaged terms must neither panic nor go on for ever.
func FuzzTermsDamaged(f *testing.F) {
	f.Add([]byte{5, 'a'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(store.Terms(b).List()); n > len(b) {
			t.Errorf("%d terms in %d bytes", n, len(b))
		}
	})
}
