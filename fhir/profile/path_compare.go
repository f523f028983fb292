package profile

import (
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

// operator makes the expression of a binary operator.
func operator(op string, left, right expr) expr {
	switch op {
	case "and", "or", "xor", "implies":
		return logic(op, left, right)
	case "=", "!=":
		return func(r *run, this []item) []item {
			equal, known := same(left(r, this), right(r, this))
			if !known {
				return nil
			}
			return truthItems(equal == (op == "="))
		}
	case "<", "<=", ">", ">=":
		return func(r *run, this []item) []item {
			a, b := left(r, this), right(r, this)
			if len(a) != 1 || len(b) != 1 {
				return nil
			}
			return ordered(op, a[0], b[0])
		}
	case "in":
		return func(r *run, this []item) []item { return member(r, left(r, this), right(r, this)) }
	case "contains":
		return func(r *run, this []item) []item { return member(r, right(r, this), left(r, this)) }
	case "|":
		return func(r *run, this []item) []item { return union(left(r, this), right(r, this)) }
	case "&":
		return func(r *run, this []item) []item {
			a, b := left(r, this), right(r, this)
			if len(a) > 1 || len(b) > 1 {
				return nil
			}
			var text string
			for _, i := range append(a[:len(a):len(a)], b...) {
				s, _ := asText(i.v)
				text += s
			}
			return []item{{v: text}}
		}
	}
	return func(r *run, this []item) []item { return arithmetic(op, left(r, this), right(r, this)) }
}

// logic is three-valued; the right side is only asked when it matters.
func logic(op string, left, right expr) expr {
	return func(r *run, this []item) []item {
		a, aKnown := truth(left(r, this))
		switch {
		case op == "and" && aKnown && !a:
			return no
		case op == "or" && aKnown && a, op == "implies" && aKnown && !a:
			return yes
		}
		b, bKnown := truth(right(r, this))
		switch {
		case op == "xor" && aKnown && bKnown:
			return truthItems(a != b)
		case op == "xor":
			return nil
		case op == "and" && bKnown && !b:
			return no
		case op != "and" && bKnown && b:
			return yes
		case aKnown && bKnown:
			return truthItems(b) // the left side decides nothing
		}
		return nil
	}
}

// same compares two collections; unknown when either is empty.
func same(a, b []item) (equal, known bool) {
	if len(a) == 0 || len(b) == 0 {
		return false, false
	}
	if len(a) != len(b) {
		return false, true
	}
	for i := range a {
		if a[i].v == nil || b[i].v == nil {
			return false, false
		}
		if !equalValues(a[i].v, b[i].v) {
			return false, true
		}
	}
	return true, true
}

func equalValues(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || rational(a).Cmp(rational(b)) == 0)
	}
	return keyOf(a) == keyOf(b)
}

// keyOf is equal for equal values, whatever the order of their names.
func keyOf(v any) string {
	if s, ok := v.(string); ok {
		return "\"" + s
	}
	b, err := json.Marshal(v)
	if err != nil { // trees come from JSON
		return ""
	}
	return string(b)
}

func rational(n json.Number) *big.Rat {
	if r, ok := new(big.Rat).SetString(string(n)); ok {
		return r
	}
	return new(big.Rat)
}

func distinct(in []item) bool {
	if len(in) < 2 {
		return true
	}
	return len(union(in, nil)) == len(in)
}

func union(a, b []item) []item {
	seen := make(map[string]bool, len(a)+len(b))
	var out []item
	for _, list := range [2][]item{a, b} {
		for _, i := range list {
			if key := keyOf(i.v); !seen[key] {
				seen[key] = true
				out = append(out, i)
			}
		}
	}
	return out
}

func intersect(a, b []item) []item {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	seen := make(map[string]bool, len(b))
	for _, i := range b {
		seen[keyOf(i.v)] = true
	}
	var out []item
	for _, i := range a {
		if seen[keyOf(i.v)] {
			out = append(out, i)
		}
	}
	return out
}

func member(r *run, one, list []item) []item {
	if len(one) != 1 || one[0].v == nil {
		return nil
	}
	r.budget -= len(list)
	for _, i := range list {
		if i.v != nil && equalValues(one[0].v, i.v) {
			return yes
		}
	}
	return no
}

// ordered compares numbers, quantities of one unit, dates and strings.
func ordered(op string, a, b item) []item {
	c, known := order(a, b)
	if !known {
		return nil
	}
	switch op {
	case "<":
		return truthItems(c < 0)
	case "<=":
		return truthItems(c <= 0)
	case ">":
		return truthItems(c > 0)
	}
	return truthItems(c >= 0)
}

func order(a, b item) (c int, known bool) {
	switch x := a.v.(type) {
	case json.Number:
		if y, ok := b.v.(json.Number); ok {
			return rational(x).Cmp(rational(y)), true
		}
	case string:
		y, ok := b.v.(string)
		if !ok {
			return 0, false
		}
		if isMoment(a) || isMoment(b) {
			return orderMoments(x, y)
		}
		return strings.Compare(x, y), true
	case map[string]any:
		y, ok := b.v.(map[string]any)
		if !ok {
			return 0, false
		}
		return orderQuantities(x, y)
	}
	return 0, false
}

func isMoment(i item) bool {
	return i.t != nil && (i.t.name == "date" || i.t.name == "dateTime" || i.t.name == "instant")
}

func orderQuantities(a, b map[string]any) (int, bool) {
	x, okX := a["value"].(json.Number)
	y, okY := b["value"].(json.Number)
	if !okX || !okY || a["comparator"] != nil || b["comparator"] != nil {
		return 0, false
	}
	if textOf(a["system"]) != textOf(b["system"]) || textOf(a["code"]) != textOf(b["code"]) || a["code"] == nil && textOf(a["unit"]) != textOf(b["unit"]) {
		return 0, false
	}
	return rational(x).Cmp(rational(y)), true
}

// orderMoments compares dates and times of any precision. Those of the same
// precision are compared as they are; otherwise only what is apart for sure is
// told apart: a day somewhere begins 14 hours before it does in UTC, and ends 12
// hours later.
func orderMoments(a, b string) (int, bool) {
	if len(a) == len(b) && len(a) <= len("2006-01-02") {
		return strings.Compare(a, b), true
	}
	a1, a2, okA := stretch(a)
	b1, b2, okB := stretch(b)
	switch {
	case !okA || !okB:
		return 0, false
	case a1.Equal(a2) && b1.Equal(b2):
		return a1.Compare(b1), true
	case a2.Before(b1):
		return -1, true
	case a1.After(b2):
		return 1, true
	}
	return 0, false
}

func stretch(s string) (first, last time.Time, ok bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, t, true
	}
	for _, p := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {"2006-01-02", 0, 0, 1}} {
		if t, err := time.Parse(p.layout, s); err == nil {
			return t.Add(-14 * time.Hour), t.AddDate(p.years, p.months, p.days).Add(12 * time.Hour), true
		}
	}
	return
}

func arithmetic(op string, a, b []item) []item {
	if len(a) != 1 || len(b) != 1 {
		return nil
	}
	if x, ok := a[0].v.(string); ok && op == "+" {
		if y, ok := b[0].v.(string); ok {
			return []item{{v: x + y}}
		}
	}
	n, okN := a[0].v.(json.Number)
	m, okM := b[0].v.(json.Number)
	if !okN || !okM {
		return nil
	}
	x, y, out := rational(n), rational(m), new(big.Rat)
	switch op {
	case "+":
		out.Add(x, y)
	case "-":
		out.Sub(x, y)
	case "*":
		out.Mul(x, y)
	default:
		if y.Sign() == 0 || !x.IsInt() || !y.IsInt() {
			return nil
		}
		q, rest := new(big.Int).QuoRem(x.Num(), y.Num(), new(big.Int))
		switch op {
		case "/":
			out.Quo(x, y)
		case "div":
			out.SetInt(q)
		default:
			out.SetInt(rest)
		}
	}
	return number(out.FloatString(8))
}
