package store_test

import (
	"errors"
	"slices"
	"testing"

	"mypatients/fhir/store"
)

func TestValuesOf(t *testing.T) {
	one, two, three := store.Equal{Name: "o", Value: "1"}, store.Equal{Name: "o", Value: "2"}, store.In{Name: "o", Values: []string{"1", "2", "3"}}
	other := store.Exists{Name: "x"}
	for _, c := range []struct {
		where store.Expr
		want  []string
		ok    bool
	}{
		{nil, nil, false},
		{one, []string{"1"}, true},
		{store.Equal{Name: "x", Value: "1"}, nil, false},
		{three, []string{"1", "2", "3"}, true},
		{store.And{other, three, two}, []string{"2"}, true},
		{store.And{other}, nil, false},
		{store.Or{two, one, two}, []string{"1", "2"}, true},
		{store.Or{one, other}, nil, false},
		{store.Or{store.And{other, one}, store.And{two, other}}, []string{"1", "2"}, true},
		{store.Not{Expr: one}, nil, false},
		{store.Or{}, nil, true},
	} {
		got, ok := store.ValuesOf(c.where, "o")
		if ok != c.ok || ok && !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, %v, want %q, %v", c.where, got, ok, c.want, c.ok)
		}
	}
}

func TestParts(t *testing.T) {
	a, b, c := store.Exists{Name: "a"}, store.Exists{Name: "b"}, store.Or{}
	got := store.Parts(store.And{a, nil, store.And{b, store.And{}, c}})
	if len(got) != 3 || got[0] != store.Expr(a) || got[1] != store.Expr(b) {
		t.Errorf("got %+v", got)
	}
	if got := store.Parts(nil); len(got) != 0 {
		t.Errorf("of nothing: got %+v", got)
	}
}

func TestBeyond(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "ab": "ac", "\xff": "", "": "", "a\x00": "a\x01"} {
		if got := string(store.Beyond([]byte(prefix))); got != want {
			t.Errorf("beyond %q: got %q, want %q", prefix, got, want)
		}
	}
}

func TestCheckTerms(t *testing.T) {
	fits := func(name, value []byte) error { return nil }
	good := store.NewTerms([]store.Term{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "a", Value: "10"}})
	if err := good.Check(fits); err != nil {
		t.Error(err)
	}
	if err := store.Terms(nil).Check(fits); err != nil {
		t.Error(err)
	}
	for what, terms := range map[string]store.Terms{
		"out of order": slices.Concat(store.NewTerms([]store.Term{{Name: "b"}}), store.NewTerms([]store.Term{{Name: "a"}})),
		"twice":        slices.Concat(good[:5], good[:5]),
		"cut":          good[:len(good)-1],
		"a tail":       append(slices.Clone(good), 0x80),
		"a NUL":        store.NewTerms([]store.Term{{Name: "a", Value: "x\x00"}}),
	} {
		if err := terms.Check(fits); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	long := errors.New("too long")
	if err := good.Check(func(_, value []byte) error {
		if len(value) > 1 {
			return long
		}
		return nil
	}); err != long {
		t.Errorf("got %v", err)
	}
}
