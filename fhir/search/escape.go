package search

import (
	"slices"
	"strings"

	"mypatients/fhir/store"
)

// splitEscaped cuts a value at a separator that has no backslash before it
// (https://hl7.org/fhir/R4/search.html#escaping). The parts are still escaped.
func splitEscaped(s string, sep byte) []string {
	var parts []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}

// unescape takes the backslash away before the four characters that need one.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`\,|$`, s[i+1]) >= 0 {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// prefixes of ordered values.
var prefixes = []string{"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"}

// cutPrefix takes the prefix off an ordered value; without one it is eq. Letters
// that are no prefix stay, and make the value unreadable.
func cutPrefix(s string) (prefix, rest string) {
	if len(s) > 2 && slices.Contains(prefixes, s[:2]) {
		return s[:2], s[2:]
	}
	return "eq", s
}

// anyOf joins alternatives, and those that are equalities on one name to one list.
func anyOf(any store.Or) store.Expr {
	var joined store.Or
	lists := map[string][]string{}
	for _, e := range any {
		switch e := e.(type) {
		case store.Equal:
			lists[e.Name] = append(lists[e.Name], e.Value)
		case store.In:
			lists[e.Name] = append(lists[e.Name], e.Values...)
		case store.Or:
			joined = append(joined, e...)
		default:
			joined = append(joined, e)
		}
	}
	names := make([]string, 0, len(lists))
	for name := range lists {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := lists[name]
		slices.Sort(values)
		joined = append(joined, equalAny(name, slices.Compact(values)))
	}
	if len(joined) == 1 {
		return joined[0]
	}
	return joined
}
