package store_test

import (
	"testing"

	"mypatients/fhir/store"
)

// A Judge says what Eval does, of versions with and without the names it looks at.
func TestJudge(t *testing.T) {
	versions := []*store.Version{
		{Key: store.Key{Type: "T", ID: "1"}},
		version("T", "2", store.Term{Name: "a", Value: "1"}),
		version("T", "3", store.Term{Name: "b", Value: "1"}, store.Term{Name: "d", Value: "1"}),
		version("T", "4", store.Term{Name: "b", Value: "2"}),
		version("T", "5", store.Term{Name: "c", Value: ""}, store.Term{Name: "c", Value: "1"}),
		version("T", "6", store.Term{Name: "a", Value: "1"}, store.Term{Name: "bb", Value: "1"}, store.Term{Name: "e", Value: "1"}),
		version("T", "7", store.Term{Name: "", Value: "1"}),
	}
	for _, where := range []store.Expr{
		nil,
		store.All(),
		store.None(),
		store.Not{Expr: store.Range{Name: "b", From: "2"}},
		store.Equal{Name: "c", Value: "1"},
		store.And{store.Not{Expr: store.Exists{Name: "d"}}, store.Not{Expr: store.In{Name: "a", Values: []string{"1"}}}},
		store.Or{store.Equal{Name: "e", Value: "1"}, store.Not{Expr: store.Prefix{Name: "b", Prefix: ""}}},
		store.Equal{Name: store.ID, Value: "2"},
		store.Not{Expr: store.Or{store.Equal{Name: store.ID, Value: "2"}, store.Exists{Name: "c"}}},
		store.Exists{Name: ""},
		&store.Standing{Expr: store.Not{Expr: store.Exists{Name: "b"}}},
	} {
		j, ok := store.NewJudge(where)
		if !ok {
			t.Fatalf("%+v: no judge", where)
		}
		for _, v := range versions {
			if want, err := store.Eval(nil, v, where); err != nil || j.Holds(v) != want {
				t.Errorf("%+v of %s: got %v, want %v, %v", where, v.ID, j.Holds(v), want, err)
			}
		}
	}
}

// What is on other resources is not for a Judge.
func TestJudgeJoins(t *testing.T) {
	ref, back := store.Ref{Name: "a", Type: "T"}, store.Back{Type: "T", Name: "a"}
	for _, where := range []store.Expr{
		ref, back, store.Not{Expr: ref}, store.And{store.All(), back}, store.Or{store.All(), ref}, &store.Standing{Expr: ref},
	} {
		if _, ok := store.NewJudge(where); ok {
			t.Errorf("%+v: got a judge", where)
		}
	}
}
