package engine_test

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// What a search means, told once more without an index: for each kind of parameter
// what R4 says of one value, over the JSON as it is. Nothing here is shared with
// package search; where R4 leaves a choice, it is the one that search's doc tells.

// A record is one resource of the naive store.
type record struct {
	typ, id string
	tree    map[string]any
	updated time.Time
}

// at gives the values at a path, "name.given"; a choice is named in full.
func (r *record) at(path string) []any {
	values := []any{r.tree}
	for step := range strings.SplitSeq(path, ".") {
		var next []any
		for _, v := range values {
			m, _ := v.(map[string]any)
			switch part := m[step].(type) {
			case nil:
			case []any:
				next = append(next, part...)
			default:
				next = append(next, part)
			}
		}
		values = next
	}
	return values
}

func (r *record) all(paths ...string) (values []any) {
	for _, p := range paths {
		values = append(values, r.at(p)...)
	}
	return values
}

func strs(values []any) (list []string) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// plainly is how texts are compared: no case, no accents.
var plainly = strings.NewReplacer("ä", "a", "é", "e", "ö", "o", "É", "e", "Ä", "a")

func folded(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(plainly.Replace(s))), " ")
}

// A stretch is the time that a date stands for.
type stretch struct{ from, to time.Time }

var (
	never  = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	always = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

func stretchOf(s string) stretch {
	for _, f := range []struct {
		layout string
		end    func(time.Time) time.Time
	}{
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	} {
		if t, err := time.Parse(f.layout, s); err == nil {
			return stretch{t, f.end(t)}
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(s)
	}
	if strings.Contains(s, ".") {
		return stretch{t, t.Add(time.Millisecond)}
	}
	return stretch{t, t.Add(time.Second)}
}

func stretchesOf(values []any) (list []stretch) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			list = append(list, stretchOf(v))
		case map[string]any:
			s := stretch{never, always}
			if start, ok := v["start"].(string); ok {
				s.from = stretchOf(start).from
			}
			if end, ok := v["end"].(string); ok {
				s.to = stretchOf(end).to
			}
			list = append(list, s)
		}
	}
	return list
}

// dateHolds compares what a resource has with what is asked for.
func dateHolds(prefix string, have, ask stretch, now time.Time) bool {
	within := !have.from.Before(ask.from) && !have.to.After(ask.to)
	later, earlier := have.to.After(ask.to), have.from.Before(ask.from)
	switch prefix {
	case "", "eq":
		return within
	case "ne":
		return !within
	case "gt":
		return later
	case "lt":
		return earlier
	case "ge":
		return later || within
	case "le":
		return earlier || within
	case "sa":
		return !have.from.Before(ask.to)
	case "eb":
		return !have.to.After(ask.from)
	}
	tenth := now.Sub(ask.from).Abs() / 10
	return have.from.Before(ask.to.Add(tenth)) && have.to.After(ask.from.Add(-tenth))
}

// numberHolds compares a number with what is asked for, as it is written.
func numberHolds(prefix, have, ask string, factor *big.Rat) bool {
	x, _ := new(big.Rat).SetString(have)
	y, _ := new(big.Rat).SetString(ask)
	half := big.NewRat(1, 2)
	if _, fraction, ok := strings.Cut(ask, "."); ok {
		for range fraction {
			half.Mul(half, big.NewRat(1, 10))
		}
	}
	low, high := new(big.Rat).Sub(y, half), new(big.Rat).Add(y, half)
	if prefix == "ap" {
		tenth := new(big.Rat).Mul(y, big.NewRat(1, 10))
		tenth.Abs(tenth)
		low, high = new(big.Rat).Sub(y, tenth), new(big.Rat).Add(y, tenth)
	}
	for _, v := range []*big.Rat{y, low, high} {
		v.Mul(v, factor)
	}
	switch prefix {
	case "", "eq":
		return x.Cmp(low) >= 0 && x.Cmp(high) < 0
	case "ne":
		return x.Cmp(low) < 0 || x.Cmp(high) >= 0
	case "gt", "sa":
		return x.Cmp(y) > 0
	case "lt", "eb":
		return x.Cmp(y) < 0
	case "ge":
		return x.Cmp(y) >= 0
	case "le":
		return x.Cmp(y) <= 0
	}
	return x.Cmp(low) >= 0 && x.Cmp(high) <= 0
}

// grams says how much of a gram a unit of the test is.
var grams = map[string]*big.Rat{"g": big.NewRat(1, 1), "mg": big.NewRat(1, 1000), "kg": big.NewRat(1000, 1)}

// quantityHolds compares a Quantity with what is asked for; no unit is any.
func quantityHolds(prefix string, have map[string]any, ask, unit string) bool {
	value, code := string(have["value"].(number)), have["code"].(string)
	switch {
	case unit == "":
		return numberHolds(prefix, value, ask, big.NewRat(1, 1))
	case grams[unit] != nil && grams[code] != nil:
		return numberHolds(prefix, value, ask, new(big.Rat).Quo(grams[unit], grams[code]))
	}
	return unit == code && numberHolds(prefix, value, ask, big.NewRat(1, 1))
}

// A token is a code as a query can ask for it.
type token struct{ system, code string }

func tokensOf(values []any, system string) (list []token) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			list = append(list, token{system, v})
		case bool:
			list = append(list, token{"", map[bool]string{true: "true", false: "false"}[v]})
		case map[string]any:
			codings, ok := v["coding"].([]any)
			if !ok {
				codings = []any{v}
			}
			for _, c := range codings {
				c, _ := c.(map[string]any)
				code, ok := c["code"].(string)
				if !ok {
					code, _ = c["value"].(string)
				}
				s, _ := c["system"].(string)
				list = append(list, token{s, code})
			}
		}
	}
	return list
}

// referencesOf gives where references lead: "Type/id".
func referencesOf(values []any) (list []string) {
	for _, v := range values {
		m, _ := v.(map[string]any)
		if s, ok := m["reference"].(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// A naive store is all resources and who may see what.
type naive struct {
	all   map[string]*record
	sees  func(*record) bool
	now   time.Time
	types map[string][]*record
}

func (n *naive) put(r *record) {
	if n.all == nil {
		n.all, n.types = map[string]*record{}, map[string][]*record{}
	}
	n.all[r.typ+"/"+r.id] = r
	n.types[r.typ] = append(n.types[r.typ], r)
}

// find gives the ids of those that may be seen and for which a condition holds, in
// an order.
func (n *naive) find(typ string, holds func(*record) bool, less []comparison) (ids []string) {
	var found []*record
	for _, r := range n.types[typ] {
		if n.sees(r) && holds(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *record) int {
		for _, c := range less {
			if d := c(a, b); d != 0 {
				return d
			}
		}
		return strings.Compare(a.id, b.id)
	})
	for _, r := range found {
		ids = append(ids, r.id)
	}
	return ids
}

// A comparison is one key of an order.
type comparison func(a, b *record) int

// byKey orders by the least value, or the greatest when descending; without one a
// resource comes last.
func byKey[K any](keys func(*record) []K, compare func(a, b K) int, descending bool) comparison {
	best := func(r *record) (K, bool) {
		list := keys(r)
		if len(list) == 0 {
			var none K
			return none, false
		}
		if descending {
			return slices.MaxFunc(list, compare), true
		}
		return slices.MinFunc(list, compare), true
	}
	return func(a, b *record) int {
		x, okX := best(a)
		y, okY := best(b)
		switch {
		case okX && !okY:
			return -1
		case okY && !okX:
			return 1
		case !okX:
			return 0
		case descending:
			return compare(y, x)
		}
		return compare(x, y)
	}
}
