package storetest

import (
	"fmt"
	"slices"
	"testing"

	"mypatients/fhir/store"
)

func searchTests() map[string]func(*testing.T, store.Store) {
	return map[string]func(*testing.T, store.Store){
		"every kind of condition":           conditions,
		"the same within one owner":         conditionsOwned,
		"odd strings sort by their bytes":   oddStrings,
		"spans":                             spans,
		"names and types do not run over":   boundaries,
		"an update moves index entries":     reindex,
		"owners":                            owners,
		"an owner with very many resources": manyRows,
		"many owners":                       manyOwners,
		"In with very many values":          manyValues,
		"a bad question is refused":         badQueries,
	}
}

// people puts six resources; owner, if any, owns them all.
func people(t *testing.T, s store.Store, owner ...string) {
	for _, v := range [][]string{
		{"a", "name=ann", "city=york", "n=1"},
		{"b", "name=bob", "name=rob", "city=yorktown", "n=2"},
		{"c", "name=cid", "n=10"},
		{"d", "name=dan", "name=ann", "city=bath", "n=2", "flag="},
		{"e"},
		{"f", "city=york", "n=3"},
	} {
		terms := v[1:]
		for _, o := range owner {
			terms = append(terms, "_owner="+o)
		}
		put(t, s, res("Person", v[0], terms...))
	}
}

// conditionCases are judged alone and together with an owner.
var conditionCases = []struct {
	where store.Expr
	want  string
}{
	{nil, "abcdef"},
	{store.All(), "abcdef"},
	{store.None(), ""},
	{store.Equal{Name: "name", Value: "ann"}, "ad"},
	{store.Equal{Name: "name", Value: "an"}, ""},
	{store.Equal{Name: "nam", Value: "ann"}, ""},
	{store.Equal{Name: "flag", Value: ""}, "d"},
	{store.Equal{Name: "name", Value: ""}, ""},
	{store.In{Name: "name", Values: []string{"rob", "ann", "ann", "zed"}}, "abd"},
	{store.In{Name: "name"}, ""},
	{store.Prefix{Name: "city", Prefix: "york"}, "abf"},
	{store.Prefix{Name: "city", Prefix: ""}, "abdf"},
	{store.Prefix{Name: "city", Prefix: "yorkt"}, "b"},
	{store.Contains{Name: "name", Part: "o"}, "b"},
	{store.Contains{Name: "name", Part: "an"}, "ad"},
	{store.Contains{Name: "name", Part: ""}, "abcd"},
	{store.Range{Name: "n", From: "2", To: "3"}, "bd"},
	{store.Range{Name: "n", From: "10", To: "2"}, "c"},
	{store.Range{Name: "n", From: "2"}, "bdf"},
	{store.Range{Name: "n", To: "2"}, "ac"},
	{store.Range{Name: "n"}, "abcdf"},
	{store.Range{Name: "n", From: "3", To: "2"}, ""},
	{store.Exists{Name: "city"}, "abdf"},
	{store.Exists{Name: "cit"}, ""},
	{store.Not{Expr: store.Exists{Name: "city"}}, "ce"},
	{store.Not{Expr: store.Equal{Name: "name", Value: "ann"}}, "bcef"},
	{store.Not{Expr: store.None()}, "abcdef"},
	{store.Not{Expr: nil}, ""},
	{store.Equal{Name: store.ID, Value: "c"}, "c"},
	{store.In{Name: store.ID, Values: []string{"f", "a", "z", "a"}}, "af"},
	{store.Range{Name: store.ID, From: "b", To: "d"}, "bc"},
	{store.Prefix{Name: store.ID, Prefix: "e"}, "e"},
	{store.Not{Expr: store.Equal{Name: store.ID, Value: "c"}}, "abdef"},
	{store.And{store.Equal{Name: "name", Value: "ann"}, store.Equal{Name: "city", Value: "bath"}}, "d"},
	{store.And{store.Equal{Name: "name", Value: "ann"}, store.Equal{Name: "name", Value: "dan"}}, "d"},
	{store.And{store.And{store.Exists{Name: "n"}, nil}, store.Not{Expr: store.Exists{Name: "city"}}}, "c"},
	{store.And{store.Equal{Name: "name", Value: "ann"}, store.None()}, ""},
	{store.Or{store.Equal{Name: "name", Value: "ann"}, store.Equal{Name: "city", Value: "york"}}, "adf"},
	{store.Or{store.Equal{Name: "name", Value: "cid"}, store.Not{Expr: store.Exists{Name: "n"}}}, "ce"},
	{store.Or{store.None(), store.All()}, "abcdef"},
	{store.Or{nil}, "abcdef"},
	{store.Or{store.Equal{Name: store.ID, Value: "a"}, store.Equal{Name: "n", Value: "3"}}, "af"},
	{store.And{store.Or{store.Equal{Name: "n", Value: "2"}, store.Equal{Name: "n", Value: "10"}}, store.Exists{Name: "city"}}, "bd"},
}

func conditions(t *testing.T, s store.Store) {
	people(t, s)
	put(t, s, res("Persona", "x", "name=ann"), res("Perso", "nx", "name=ann"))
	for _, c := range conditionCases {
		find(t, s, store.Query{Type: "Person", Where: c.where}, letters(c.want)...)
	}
}

func conditionsOwned(t *testing.T, s store.Store) {
	people(t, s, "Patient/1", "Patient/3")
	put(t, s, res("Person", "aa", "name=ann", "_owner=Patient/2"), res("Person", "ab", "name=ann"))
	for _, c := range conditionCases {
		for _, owner := range []store.Expr{
			store.Equal{Name: store.Owner, Value: "Patient/1"},
			store.In{Name: store.Owner, Values: []string{"Patient/3", "Patient/1", "Patient/9"}},
			store.Or{store.Equal{Name: store.Owner, Value: "Patient/1"}, store.Equal{Name: store.Owner, Value: "Patient/3"}},
		} {
			find(t, s, store.Query{Type: "Person", Where: store.And{owner, c.where}}, letters(c.want)...)
		}
	}
}

func letters(s string) (list []string) {
	for _, r := range s {
		list = append(list, string(r))
	}
	return list
}

var odd = []string{"\x01", "\x01\x01", " ", "A", "Z", "a", "a\x01", "a b", "aa", "a\xff", "z", "~", "\x7f", "ä", "é", "漢", "\xff", "\xff\x01", "\xff\xff"}

func oddStrings(t *testing.T, s store.Store) {
	for i, v := range odd {
		put(t, s, res("T", v, "v="+v, fmt.Sprintf("n%s=%d", v, i), "_owner="+v))
	}
	sorted := slices.Sorted(slices.Values(odd))
	backwards := slices.Clone(sorted)
	slices.Reverse(backwards)
	find(t, s, store.Query{Type: "T"}, sorted...)
	find(t, s, store.Query{Type: "T", Sort: []store.Sort{{Name: "v"}}}, sorted...)
	find(t, s, store.Query{Type: "T", Sort: []store.Sort{{Name: "v", Descending: true}}}, backwards...)
	for i, v := range sorted {
		find(t, s, store.Query{Type: "T", Where: store.Equal{Name: "v", Value: v}}, v)
		find(t, s, store.Query{Type: "T", Where: store.Exists{Name: "n" + v}}, v)
		find(t, s, store.Query{Type: "T", Where: store.Equal{Name: store.Owner, Value: v}}, v)
		find(t, s, store.Query{Type: "T", Where: store.Range{Name: "v", From: v}}, sorted[i:]...)
		find(t, s, store.Query{Type: "T", Where: store.Range{Name: "v", To: v}}, sorted[:i]...)
		var prefixed []string
		for _, o := range sorted {
			if len(o) >= len(v) && o[:len(v)] == v {
				prefixed = append(prefixed, o)
			}
		}
		find(t, s, store.Query{Type: "T", Where: store.Prefix{Name: "v", Prefix: v}}, prefixed...)
	}
}

func spans(t *testing.T, s store.Store) {
	// Like periods: two bytes from, two bytes to.
	put(t, s, res("T", "1", "p=1020"), res("T", "2", "p=1530"), res("T", "3", "p=2025", "p=4050"), res("T", "4", "p=30"), res("T", "5", "p=3"), res("T", "6"))
	for _, c := range []struct {
		span store.Span
		want string
	}{
		{store.Span{Split: 2}, "1234"},
		{store.Span{Split: 0}, "12345"},
		{store.Span{Split: 2, HeadFrom: "15", HeadTo: "40"}, "234"},
		{store.Span{Split: 2, HeadTo: "20"}, "12"},
		{store.Span{Split: 2, HeadTo: "2000"}, "123"},
		{store.Span{Split: 2, HeadTo: "200"}, "123"},
		{store.Span{Split: 2, TailFrom: "25", TailTo: "40"}, "23"},
		{store.Span{Split: 2, HeadTo: "20", TailFrom: "21"}, "2"},
		{store.Span{Split: 2, HeadFrom: "30", TailTo: "26"}, "4"},
		{store.Span{Split: 2, HeadFrom: "30", TailFrom: "26"}, "3"},
		{store.Span{Split: 9}, ""},
	} {
		c.span.Name = "p"
		find(t, s, store.Query{Type: "T", Where: c.span}, letters(c.want)...)
		find(t, s, store.Query{Type: "T", Where: store.Not{Expr: store.Not{Expr: c.span}}}, letters(c.want)...)
	}
}

func boundaries(t *testing.T, s store.Store) {
	put(t, s,
		res("A", "1", "n=v", "_owner=o"), res("A", "11", "n=v1"), res("A", "2", "nv="), res("A", "3", "n=", "_owner=o1"),
		res("An", "1", "v=x"), res("A1", "1", "n=v", "_owner=o"), res("a", "1", "n=v"))
	find(t, s, store.Query{Type: "A"}, "1", "11", "2", "3")
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: "n", Value: "v"}}, "1")
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: "n", Value: "v1"}}, "11")
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: "n", Value: ""}}, "3")
	find(t, s, store.Query{Type: "A", Where: store.Exists{Name: "n"}}, "1", "11", "3")
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: store.Owner, Value: "o"}}, "1")
	find(t, s, store.Query{Type: "A", Where: store.Equal{Name: store.Owner, Value: "o1"}}, "3")
	find(t, s, store.Query{Type: "", Where: store.Equal{Name: "n", Value: "v"}})
}

func reindex(t *testing.T, s store.Store) {
	put(t, s, res("T", "1", "a=1", "b=1", "c=1", "_owner=x"))
	put(t, s, res("T", "1", "a=1", "b=2", "d=1", "_owner=y"))
	for _, c := range []struct {
		where store.Expr
		want  string
	}{
		{store.Equal{Name: "a", Value: "1"}, "1"}, {store.Equal{Name: "b", Value: "1"}, ""}, {store.Equal{Name: "b", Value: "2"}, "1"},
		{store.Exists{Name: "c"}, ""}, {store.Exists{Name: "d"}, "1"},
		{store.Equal{Name: store.Owner, Value: "x"}, ""}, {store.Equal{Name: store.Owner, Value: "y"}, "1"},
		{store.And{store.Equal{Name: store.Owner, Value: "y"}, store.Exists{Name: "d"}}, "1"},
	} {
		find(t, s, store.Query{Type: "T", Where: c.where}, letters(c.want)...)
	}
	put(t, s, res("T", "1", "e=1", "_owner=y"))
	find(t, s, store.Query{Type: "T", Where: store.And{store.Equal{Name: store.Owner, Value: "y"}, store.Exists{Name: "d"}}})
	find(t, s, store.Query{Type: "T", Where: store.And{store.Equal{Name: store.Owner, Value: "y"}, store.Exists{Name: "e"}}}, "1")
}

func owners(t *testing.T, s store.Store) {
	put(t, s,
		res("T", "1", "_owner=p", "k=x"), res("T", "2", "_owner=q", "k=x"), res("T", "3", "_owner=p", "_owner=q", "k=y"),
		res("T", "4", "k=x"), res("T", "5", "_owner=r", "k=x"), res("U", "6", "_owner=p"))
	own := func(o ...string) store.Expr { return store.In{Name: store.Owner, Values: o} }
	x := store.Equal{Name: "k", Value: "x"}
	for _, c := range []struct {
		where store.Expr
		want  string
	}{
		{own("p"), "13"}, {own("q", "p"), "123"}, {own("p", "p"), "13"}, {own("z"), ""}, {own(), ""},
		{store.And{own("p", "q"), own("q", "r")}, "23"},
		{store.And{own("p"), x}, "1"},
		{store.Or{store.And{own("p"), x}, store.And{own("q", "r"), store.Not{Expr: x}}}, "13"},
		{store.And{x, store.Or{store.And{own("p")}, store.And{own("r"), x}}}, "15"},
		{store.Or{own("p"), x}, "12345"},
		{store.Not{Expr: own("p")}, "245"},
		{store.Not{Expr: store.Exists{Name: store.Owner}}, "4"},
		{store.Prefix{Name: store.Owner, Prefix: "p"}, "13"},
		{store.And{own("p"), store.Not{Expr: own("q")}}, "1"},
		{store.Or{store.Not{Expr: store.Exists{Name: store.Owner}}, own("r")}, "45"},
	} {
		find(t, s, store.Query{Type: "T", Where: c.where}, letters(c.want)...)
	}
	find(t, s, store.Query{Type: "T", Where: own("q", "p"), Sort: []store.Sort{{Name: "k", Descending: true}}}, "3", "1", "2")
	find(t, s, store.Query{Type: "T", Sort: []store.Sort{{Name: store.Owner, Descending: true}}}, "5", "2", "3", "1", "4")
}

func manyRows(t *testing.T, s store.Store) {
	const n = 1300
	var list []*store.Version
	var want, third []string
	for i := range n {
		id := fmt.Sprintf("%05d", i*7919%n)
		list = append(list, res("T", id, "_owner=p", fmt.Sprintf("m=%d", i*7919%n%3), "s="+fmt.Sprint(9-i*7919%n%5)))
		want = append(want, id)
		if i*7919%n%3 == 2 {
			third = append(third, id)
		}
	}
	put(t, s, list...)
	slices.Sort(want)
	slices.Sort(third)
	own := store.Equal{Name: store.Owner, Value: "p"}
	for _, page := range []int{50, 513, 2000} {
		for _, c := range []struct {
			q    store.Query
			want []string
		}{
			{store.Query{Type: "T", Where: own}, want},
			{store.Query{Type: "T", Where: store.And{own, store.Equal{Name: "m", Value: "2"}}}, third},
			{store.Query{Type: "T", Where: store.Equal{Name: "m", Value: "2"}}, third},
			{store.Query{Type: "T", Where: own, Sort: []store.Sort{{Name: "s", Descending: true}}}, byFive(want)},
			{store.Query{Type: "T", Sort: []store.Sort{{Name: "s", Descending: true}}}, byFive(want)},
		} {
			view(t, s, func(r store.Reader) error {
				got, err := pages(r, c.q, page)
				if !slices.Equal(got, c.want) {
					t.Errorf("pages of %d: %s: got %d ids, want %d, or in another order", page, show(c.q), len(got), len(c.want))
				}
				return err
			})
		}
	}
}

// byFive orders the ids of manyRows by s descending: by id modulo five.
func byFive(ids []string) []string {
	rest := func(id string) int { return int(id[4]-'0') % 5 }
	sorted := slices.Clone(ids)
	slices.SortStableFunc(sorted, func(a, b string) int { return rest(a) - rest(b) })
	return sorted
}

func manyOwners(t *testing.T, s store.Store) {
	var list []*store.Version
	var owners, want []string
	for i := range 1500 {
		id := fmt.Sprintf("%04d", i)
		list = append(list, res("T", id, "_owner=p"+id, fmt.Sprintf("even=%v", i%2 == 0), "s="+id))
		if i%3 == 0 {
			owners = append(owners, "p"+id)
			if i%2 == 0 {
				want = append(want, id)
			}
		}
	}
	for part := range slices.Chunk(list, 500) {
		put(t, s, part...)
	}
	for range 4 {
		owners = append(owners, owners...)
	}
	where := store.And{store.In{Name: store.Owner, Values: owners}, store.Equal{Name: "even", Value: "true"}}
	for _, q := range []store.Query{{Type: "T", Where: where}, {Type: "T", Where: where, Sort: []store.Sort{{Name: "s"}}}} {
		view(t, s, func(r store.Reader) error {
			got, err := pages(r, q, 40)
			if !slices.Equal(got, want) {
				t.Errorf("got %d ids, want %d, or in another order", len(got), len(want))
			}
			if n, err := r.Count(q); n != len(want) || err != nil {
				t.Errorf("Count: got %d, %v, want %d", n, err, len(want))
			}
			return err
		})
	}
}

func manyValues(t *testing.T, s store.Store) {
	people(t, s)
	values := []string{"york"}
	for i := range 20_000 {
		values = append(values, fmt.Sprint("x", i))
	}
	find(t, s, store.Query{Type: "Person", Where: store.In{Name: "city", Values: values}}, "a", "f")
	find(t, s, store.Query{Type: "Person", Where: store.And{store.Exists{Name: "n"}, store.Not{Expr: store.In{Name: "city", Values: values}}}}, "b", "c", "d")
}

func badQueries(t *testing.T, s store.Store) {
	people(t, s)
	view(t, s, func(r store.Reader) error {
		for _, q := range []store.Query{
			{Type: "Person"},
			{Type: "Person", Limit: -1},
			{Type: "Person", Limit: 1, After: "no position!"},
			{Type: "Person", Limit: 1, After: "AA", Sort: []store.Sort{{Name: "n"}, {Name: "city"}}},
		} {
			if _, err := r.Search(q); err == nil {
				t.Errorf("%+v was answered", q)
			}
		}
		return nil
	})
}
