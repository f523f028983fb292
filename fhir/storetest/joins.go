package storetest

import (
	"fmt"
	"testing"

	"mypatients/fhir/store"
)

func joinTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"references forward and backward": references,
		"many references":                 manyReferences,
	}
}

// clinic puts patients a b c, practitioners x y, encounters and observations.
func clinic(t *testing.T, s store.Store, owned bool) {
	own := func(v *store.Version, owner string) *store.Version {
		if owned {
			v.Terms = store.NewTerms(append(v.Terms.List(), store.Term{Name: store.Owner, Value: owner}))
		}
		return v
	}
	put(t, s,
		own(res("Patient", "a", "name=ann", "gp=Doctor/x"), "Patient/a"),
		own(res("Patient", "b", "name=bob", "gp=Doctor/y", "link=Patient/a"), "Patient/b"),
		own(res("Patient", "c", "name=cid", "gp=Clinic/x", "gp=Doctor/gone", "link=Patient/c"), "Patient/c"),
		res("Doctor", "x", "name=xena"), res("Doctor", "y", "name=yuri", "name=xena"), res("Doctor", "gone", "name=xena"),
		own(res("Visit", "1", "who=Patient/a", "by=Doctor/x"), "Patient/a"),
		own(res("Visit", "2", "who=Patient/b", "by=Doctor/x"), "Patient/b"),
		own(res("Visit", "3", "who=Patient/a", "by=Doctor/y"), "Patient/a"),
		own(res("Lab", "1", "who=Patient/a", "in=Visit/1", "code=k"), "Patient/a"),
		own(res("Lab", "2", "who=Patient/b", "in=Visit/2", "code=na"), "Patient/b"),
		own(res("Lab", "3", "who=Patient/a", "in=Visit/3", "code=na"), "Patient/a"),
		own(res("Lab", "4", "who=Patient/c", "who=Patient/b", "code=k"), "Patient/c"),
		own(res("Lab", "5", "who=Patient/nobody", "code=k"), "Patient/nobody"),
		own(res("Lab", "6", "who=Patient/a", "code=gone"), "Patient/a"),
	)
	put(t, s, gone("Doctor", "gone"), gone("Lab", "6"))
}

func references(t *testing.T, s store.Store) {
	t.Run("plain", func(t *testing.T) { joins(t, s, false) })
}

// joinCases: each also holds when the resources have owners.
func joins(t *testing.T, s store.Store, owned bool) {
	clinic(t, s, owned)
	eq := func(name, value string) store.Expr { return store.Equal{Name: name, Value: value} }
	ref := func(name, typ string, where store.Expr) store.Expr {
		return store.Ref{Name: name, Type: typ, Where: where}
	}
	back := func(typ, name string, where store.Expr) store.Expr {
		return store.Back{Type: typ, Name: name, Where: where}
	}
	for _, c := range []struct {
		typ   string
		where store.Expr
		want  string
	}{
		{"Lab", ref("who", "Patient", nil), "1234"},
		{"Lab", ref("who", "Patient", store.None()), ""},
		{"Lab", ref("who", "Doctor", nil), ""},
		{"Lab", ref("who", "Patient", eq("name", "ann")), "13"},
		{"Lab", ref("who", "Patient", store.Not{Expr: eq("name", "cid")}), "1234"},
		{"Lab", store.Not{Expr: ref("who", "Patient", nil)}, "5"},
		{"Lab", ref("who", "Patient", eq(store.ID, "b")), "24"},
		{"Lab", ref("who", "Patient", ref("gp", "Doctor", eq("name", "xena"))), "1234"},
		{"Lab", ref("who", "Patient", ref("gp", "Doctor", eq("name", "yuri"))), "24"},
		{"Lab", ref("in", "Visit", ref("by", "Doctor", eq("name", "yuri"))), "3"},
		{"Lab", store.And{ref("in", "Visit", eq("by", "Doctor/x")), ref("who", "Patient", eq("name", "bob"))}, "2"},
		{"Lab", store.Or{ref("in", "Visit", eq("by", "Doctor/y")), eq("code", "k")}, "1345"},
		{"Patient", ref("gp", "Doctor", nil), "ab"},
		{"Patient", ref("gp", "Doctor", store.All()), "ab"},
		{"Patient", ref("link", "Patient", ref("link", "Patient", nil)), "c"},
		{"Patient", back("Lab", "who", nil), "abc"},
		{"Patient", back("Lab", "who", eq("code", "na")), "ab"},
		{"Patient", back("Lab", "who", eq("code", "gone")), ""},
		{"Patient", store.Not{Expr: back("Lab", "who", eq("code", "na"))}, "c"},
		{"Patient", store.And{back("Lab", "who", eq("code", "na")), back("Lab", "who", eq("code", "k"))}, "ab"},
		{"Patient", back("Lab", "who", store.And{eq("code", "na"), eq("code", "k")}), ""},
		{"Patient", back("Patient", "link", nil), "ac"},
		{"Patient", back("Lab", "in", nil), ""},
		{"Doctor", back("Patient", "gp", back("Lab", "who", eq("code", "na"))), "xy"},
		{"Doctor", back("Visit", "by", ref("who", "Patient", eq("name", "bob"))), "x"},
		{"Doctor", back("Visit", "by", back("Lab", "in", eq("code", "na"))), "xy"},
		{"Visit", back("Lab", "in", ref("who", "Patient", ref("gp", "Doctor", eq("name", "yuri")))), "2"},
	} {
		find(t, s, store.Query{Type: c.typ, Where: c.where}, letters(c.want)...)
		if !owned {
			continue
		}
		// What another's record says must not matter when it may not be seen.
		mine := eq(store.Owner, "Patient/a")
		if c.typ == "Lab" {
			var want []string
			for _, id := range letters(c.want) {
				if id == "1" || id == "3" {
					want = append(want, id)
				}
			}
			find(t, s, store.Query{Type: c.typ, Where: store.And{mine, c.where}}, want...)
		}
	}
	if owned {
		mine := eq(store.Owner, "Patient/a")
		find(t, s, store.Query{Type: "Doctor", Where: back("Visit", "by", mine)}, "x", "y")
		find(t, s, store.Query{Type: "Doctor", Where: back("Visit", "by", eq(store.Owner, "Patient/b"))}, "x")
		find(t, s, store.Query{Type: "Lab", Where: ref("in", "Visit", mine)}, "1", "3")
	}
}

func manyReferences(t *testing.T, s store.Store) {
	t.Run("owned", func(t *testing.T) { joins(t, s, true) })
	var list []*store.Version
	for i := range 1200 {
		list = append(list,
			res("Kid", fmt.Sprintf("k%04d", i), fmt.Sprintf("name=n%d", i%400), fmt.Sprintf("odd=%d", i%2)),
			res("Toy", fmt.Sprintf("t%04d", i), fmt.Sprintf("of=Kid/k%04d", i), fmt.Sprintf("name=n%d", i%300)))
	}
	put(t, s, list[:1200]...)
	put(t, s, list[1200:]...)
	find(t, s, store.Query{Type: "Toy", Where: store.Ref{Name: "of", Type: "Kid", Where: store.Equal{Name: "name", Value: "n7"}}}, "t0007", "t0407", "t0807")
	find(t, s, store.Query{Type: "Kid", Where: store.Back{Type: "Toy", Name: "of", Where: store.Equal{Name: "name", Value: "n9"}}}, "k0009", "k0309", "k0609", "k0909")
	both := store.And{store.Ref{Name: "of", Type: "Kid", Where: store.Equal{Name: "odd", Value: "1"}}, store.Equal{Name: "name", Value: "n11"}}
	find(t, s, store.Query{Type: "Toy", Where: both}, "t0011", "t0311", "t0611", "t0911")
	view(t, s, func(r store.Reader) error {
		n, err := r.Count(store.Query{Type: "Toy", Where: store.Ref{Name: "of", Type: "Kid", Where: store.Equal{Name: "odd", Value: "1"}}})
		if n != 600 {
			t.Errorf("Count: got %d, want 600", n)
		}
		return err
	})
}
