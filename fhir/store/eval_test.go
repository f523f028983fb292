package store_test

import (
	"errors"
	"testing"

	"mypatients/fhir/store"
)

func version(typ, id string, terms ...store.Term) *store.Version {
	return &store.Version{Key: store.Key{Type: typ, ID: id}, Version: 1, Terms: store.NewTerms(terms)}
}

func TestEvalLeaves(t *testing.T) {
	v := version("T", "7", store.Term{Name: "n", Value: "abc"}, store.Term{Name: "n", Value: "x"}, store.Term{Name: "e", Value: ""}, store.Term{Name: "p", Value: "1020"})
	for _, c := range []struct {
		where store.Expr
		want  bool
	}{
		{nil, true},
		{store.All(), true},
		{store.None(), false},
		{store.Equal{Name: "n", Value: "x"}, true},
		{store.Equal{Name: "n", Value: "ab"}, false},
		{store.Equal{Name: "m", Value: "x"}, false},
		{store.Equal{Name: "e", Value: ""}, true},
		{store.Equal{Name: "n", Value: ""}, false},
		{store.Equal{Name: store.ID, Value: "7"}, true},
		{store.Equal{Name: store.ID, Value: "8"}, false},
		{store.In{Name: "n", Values: []string{"q", "x"}}, true},
		{store.In{Name: "n"}, false},
		{store.Prefix{Name: "n", Prefix: "ab"}, true},
		{store.Prefix{Name: "n", Prefix: "b"}, false},
		{store.Contains{Name: "n", Part: "b"}, true},
		{store.Contains{Name: "n", Part: "ac"}, false},
		{store.Range{Name: "n", From: "abc", To: "abd"}, true},
		{store.Range{Name: "n", From: "abd", To: "x"}, false},
		{store.Range{Name: "n", From: "y"}, false},
		{store.Range{Name: "n", To: "abc"}, false},
		{store.Span{Name: "p", Split: 2, HeadFrom: "10", HeadTo: "11", TailFrom: "20"}, true},
		{store.Span{Name: "p", Split: 2, HeadTo: "10"}, false},
		{store.Span{Name: "p", Split: 2, TailTo: "20"}, false},
		{store.Span{Name: "p", Split: 5}, false},
		{store.Exists{Name: "e"}, true},
		{store.Exists{Name: "q"}, false},
		{store.Not{Expr: store.Exists{Name: "q"}}, true},
		{store.Not{Expr: nil}, false},
		{store.And{store.Exists{Name: "e"}, nil}, true},
		{store.And{store.Exists{Name: "e"}, store.None()}, false},
		{store.Or{store.Exists{Name: "q"}, store.Exists{Name: "e"}}, true},
		{store.Or{store.Exists{Name: "q"}}, false},
	} {
		if got, err := store.Eval(nil, v, c.where); err != nil || got != c.want {
			t.Errorf("%+v: got %v, %v, want %v", c.where, got, err, c.want)
		}
	}
}

// few answers the look-ups of Ref and Back.
type few struct {
	store.Reader
	resources map[store.Key]*store.Version
	asked     store.Query
	err       error
}

func (f *few) Resource(k store.Key) (*store.Version, error) {
	if f.err != nil {
		return nil, f.err
	}
	if v := f.resources[k]; v != nil {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (f *few) Search(q store.Query) ([]store.Hit, error) {
	f.asked = q
	if f.err != nil || len(f.resources) == 0 {
		return nil, f.err
	}
	return make([]store.Hit, 1), nil
}

func TestEvalRef(t *testing.T) {
	dead := version("Doctor", "dead", store.Term{Name: "name", Value: "xena"})
	dead.Deleted = true
	xena := version("Doctor", "x", store.Term{Name: "name", Value: "xena"})
	r := &few{resources: map[store.Key]*store.Version{dead.Key: dead, xena.Key: xena}}
	where := store.Equal{Name: "name", Value: "xena"}
	for value, want := range map[string]bool{"Doctor/x": true, "Doctor/dead": false, "Doctor/absent": false, "Doc/x": false, "x": false, "Doctor/": false} {
		v := version("Patient", "1", store.Term{Name: "gp", Value: value})
		if got, err := store.Eval(r, v, store.Ref{Name: "gp", Type: "Doctor", Where: where}); err != nil || got != want {
			t.Errorf("a reference to %q: got %v, %v, want %v", value, got, err, want)
		}
	}
	v := version("Patient", "1", store.Term{Name: "gp", Value: "Doctor/absent"}, store.Term{Name: "gp", Value: "Doctor/x"})
	if got, err := store.Eval(r, v, store.Ref{Name: "gp", Type: "Doctor"}); !got || err != nil {
		t.Errorf("the second of two references: got %v, %v", got, err)
	}
}

func TestEvalBack(t *testing.T) {
	r := &few{}
	v := version("Patient", "1")
	back := store.Back{Type: "Lab", Name: "who"}
	if got, err := store.Eval(r, v, back); got || err != nil {
		t.Errorf("nothing refers: got %v, %v", got, err)
	}
	if r.asked.Type != "Lab" || r.asked.Limit != 1 {
		t.Errorf("asked %+v", r.asked)
	}
	r.resources = map[store.Key]*store.Version{{}: v}
	if got, err := store.Eval(r, v, back); !got || err != nil {
		t.Errorf("something refers: got %v, %v", got, err)
	}
}

// An error must never count as a match, nor, under Not, as none.
func TestEvalErrors(t *testing.T) {
	broken := errors.New("broken")
	r := &few{err: broken}
	v := version("Patient", "1", store.Term{Name: "gp", Value: "Doctor/x"})
	ref, back := store.Ref{Name: "gp", Type: "Doctor"}, store.Back{Type: "Lab", Name: "who"}
	for _, where := range []store.Expr{
		ref, back, store.Not{Expr: ref}, store.Not{Expr: back}, store.And{store.All(), ref}, store.Or{ref, store.All()}, store.Not{Expr: store.Not{Expr: back}},
	} {
		if got, err := store.Eval(r, v, where); got || !errors.Is(err, broken) {
			t.Errorf("%+v: got %v, %v", where, got, err)
		}
	}
}
