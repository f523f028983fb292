package storetest

import (
	"fmt"
	"slices"
	"testing"

	"mypatients/fhir/store"
)

func orderTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"ties, missing and several values": sorting,
		"the same within one owner":        sortingOwned,
		"sorting large groups":             largeGroups,
		"a position outlives its row":      positions,
	}
}

var sortCases = []struct {
	sort []store.Sort
	want string
}{
	{nil, "abcdef"},
	{[]store.Sort{{Name: "name"}}, "adbcef"},                   // ann: a d, bob, cid; e and f have none
	{[]store.Sort{{Name: "name", Descending: true}}, "bdcaef"}, // rob dan cid ann
	{[]store.Sort{{Name: "n"}}, "acbdfe"},                      // 1 10 2 2 3
	{[]store.Sort{{Name: "n", Descending: true}}, "fbdcae"},
	{[]store.Sort{{Name: "n"}, {Name: "name"}}, "acdbfe"},
	{[]store.Sort{{Name: "n"}, {Name: "name", Descending: true}}, "acbdfe"},
	{[]store.Sort{{Name: "n", Descending: true}, {Name: "name"}}, "fdbcae"},
	{[]store.Sort{{Name: "city"}, {Name: "n", Descending: true}}, "dfabce"},
	{[]store.Sort{{Name: "city", Descending: true}, {Name: "nothing"}, {Name: "n"}}, "bafdce"},
	{[]store.Sort{{Name: "flag"}}, "dabcef"}, // an empty value is a value
	{[]store.Sort{{Name: "flag", Descending: true}}, "dabcef"},
	{[]store.Sort{{Name: "nothing", Descending: true}}, "abcdef"},
	{[]store.Sort{{Name: store.ID}}, "abcdef"},
	{[]store.Sort{{Name: store.ID, Descending: true}}, "fedcba"},
	{[]store.Sort{{Name: "n"}, {Name: store.ID, Descending: true}}, "acdbfe"},
}

func sorting(t *testing.T, s store.Store) {
	people(t, s)
	put(t, s, res("Person", "0", "name=aaa", "n=0", "city=a"))
	put(t, s, gone("Person", "0"))
	put(t, s, res("Persona", "9", "name=aaa", "n=0", "city=a"))
	for _, c := range sortCases {
		find(t, s, store.Query{Type: "Person", Sort: c.sort}, letters(c.want)...)
		for _, not := range []string{"b", "d", "e"} {
			where := store.Not{Expr: store.Equal{Name: store.ID, Value: not}}
			want := slices.DeleteFunc(letters(c.want), func(id string) bool { return id == not })
			find(t, s, store.Query{Type: "Person", Sort: c.sort, Where: where}, want...)
		}
	}
}

func sortingOwned(t *testing.T, s store.Store) {
	people(t, s, "Patient/1", "Patient/2")
	put(t, s, res("Person", "0", "name=aaa", "n=0", "city=a", "_owner=Patient/3"))
	where := store.In{Name: store.Owner, Values: []string{"Patient/1", "Patient/2"}}
	for _, c := range sortCases {
		find(t, s, store.Query{Type: "Person", Where: where, Sort: c.sort}, letters(c.want)...)
		find(t, s, store.Query{Type: "Person", Where: store.Equal{Name: store.Owner, Value: "Patient/2"}, Sort: c.sort}, letters(c.want)...)
	}
}

func largeGroups(t *testing.T, s store.Store) {
	var list []*store.Version
	var up []string
	for i := range 700 {
		id := fmt.Sprintf("%03d", i)
		terms := []string{"k=" + id[:1]}
		if i >= 600 {
			terms = nil
		}
		list = append(list, res("T", id, terms...))
		up = append(up, id)
	}
	put(t, s, list...)
	var down []string // groups turned round, ids still ascending, none last
	for g := 5; g >= 0; g-- {
		down = append(down, up[g*100:g*100+100]...)
	}
	down = append(down, up[600:]...)
	for _, page := range []int{7, 100, 128, 300, 1000} {
		view(t, s, func(r store.Reader) error {
			for descending, want := range map[bool][]string{false: up, true: down} {
				for _, more := range [][]store.Sort{nil, {{Name: "other"}}} {
					sort := append([]store.Sort{{Name: "k", Descending: descending}}, more...)
					got, err := pages(r, store.Query{Type: "T", Sort: sort}, page)
					if err != nil {
						return err
					}
					if !slices.Equal(got, want) {
						t.Errorf("pages of %d, sort %+v: got %q", page, sort, got)
					}
				}
			}
			return nil
		})
	}
}

// A page is found by the values of the last row, whatever became of that row.
func positions(t *testing.T, s store.Store) {
	people(t, s)
	for _, sort := range [][]store.Sort{nil, {{Name: "n"}}, {{Name: "name", Descending: true}, {Name: "n"}}} {
		q := store.Query{Type: "Person", Sort: sort, Limit: 3}
		var first, all []store.Hit
		view(t, s, func(r store.Reader) (err error) {
			first, err = r.Search(q)
			if err == nil {
				all, err = r.Search(store.Query{Type: "Person", Sort: sort, Limit: 100})
			}
			return err
		})
		for i := range first {
			if first[i].Position != all[i].Position || first[i].Position == "" {
				t.Errorf("row %d has the position %q in one page and %q in another", i, first[i].Position, all[i].Position)
			}
		}
		last := first[len(first)-1]
		put(t, s, gone("Person", last.ID))
		q.After, q.Limit = last.Position, 100
		view(t, s, func(r store.Reader) error {
			rest, err := r.Search(q)
			if err != nil {
				return err
			}
			for i, h := range rest {
				if h.ID != all[i+3].ID {
					t.Errorf("after a deleted row: got %s, want %s", h.ID, all[i+3].ID)
				}
			}
			if len(rest) != len(all)-3 {
				t.Errorf("after a deleted row: got %d rows, want %d", len(rest), len(all)-3)
			}
			return nil
		})
		again := res("Person", last.ID)
		again.Terms = last.Terms
		put(t, s, again)
	}
}
