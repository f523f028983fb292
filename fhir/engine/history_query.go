package engine

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mypatients/fhir"
)

// ParseHistory reads _count (cut to 1000), _since, _at, _cursor, _summary and
// _elements. Any other parameter is refused, or left out when lenient. _since is
// an instant; a date stands for its beginning. _at is a date or dateTime and
// stands for as long as its last digit says, in the zone; ge, gt, le and lt before
// it make it the beginning or the end of a longer period. The history is of some
// types, of any if none is named.
func ParseHistory(values url.Values, lenient bool, zone *time.Location, types ...fhir.Type) (HistoryQuery, error) {
	var q HistoryQuery
	var err error
	q.Subset, q.Applied, err = parameters(values, lenient, "A history", types, func(name string, list []string) (known, ok bool) {
		switch name {
		case "_count":
			q.Count, q.TotalOnly, ok = countOf(list)
		case "_since":
			q.Since, _, ok = span(list[0], zone)
			ok = ok && len(list) == 1
		case "_at":
			ok = !slices.ContainsFunc(list, func(value string) bool { return !q.at(value, zone) })
		case "_cursor":
			q.Cursor, ok = list[0], len(list) == 1
		default:
			return false, false
		}
		return true, ok
	})
	return q, err
}

// countOf reads _count, cut to 1000; of 0 resources only how many there are is told,
// as by a search (https://hl7.org/fhir/R4/search.html#count).
func countOf(list []string) (count int, totalOnly, ok bool) {
	count, err := strconv.Atoi(list[0])
	return min(count, maxHistory), count == 0, err == nil && count >= 0 && len(list) == 1
}

// parameters reads the parameters of an interaction, called what, and gives those
// that shape the answer, of the types, and all that were applied, without _cursor.
// Those that are refused are told of together.
func parameters(values url.Values, lenient bool, what string, types []fhir.Type, read func(name string, list []string) (known, ok bool)) (fhir.Subset, url.Values, error) {
	rest := maps.Clone(values)
	subset, err := fhir.ParseSubset(rest, lenient, types...)
	if err != nil {
		return subset, nil, err
	}
	applied := subset.Values()
	var issues []fhir.Issue
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		known, ok := read(name, rest[name])
		switch {
		case ok && name != "_cursor":
			applied[name] = rest[name]
		case ok, !known && lenient:
		case known:
			issues = append(issues, fhir.Issue{Code: "value", Text: fmt.Sprintf("The value of %s cannot be read, or is given twice.", name), Expression: "http." + name})
		default:
			issues = append(issues, fhir.Issue{Code: "not-supported", Text: fmt.Sprintf("%s has no parameter %q.", what, name), Expression: "http." + name})
		}
	}
	if issues != nil {
		return subset, nil, &fhir.Error{Kind: fhir.Invalid, Issues: issues[:min(len(issues), 20)]}
	}
	return subset, applied, nil
}

// The ends of time.
var (
	longAgo  = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	farAhead = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// at narrows the query to one value of _at.
func (q *HistoryQuery) at(value string, zone *time.Location) bool {
	prefix := ""
	if len(value) > 2 && value[0] > '9' {
		prefix, value = value[:2], value[2:]
	}
	from, to, ok := span(value, zone)
	switch prefix {
	case "", "eq":
	case "ge":
		to = farAhead
	case "gt":
		from, to = to, farAhead
	case "le":
		from = longAgo
	case "lt":
		from, to = longAgo, from
	default:
		return false
	}
	if q.To.IsZero() {
		q.From, q.To = from, to
		return ok
	}
	if from.After(q.From) {
		q.From = from
	}
	if to.Before(q.To) {
		q.To = to
	}
	return ok
}

// span gives the first moment of a date or dateTime and the first one after it
// (https://hl7.org/fhir/R4/datatypes.html#dateTime).
func span(s string, zone *time.Location) (from, to time.Time, ok bool) {
	for _, p := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {"2006-01-02", 0, 0, 1}} {
		if t, err := time.ParseInLocation(p.layout, s, zone); err == nil {
			return t, t.AddDate(p.years, p.months, p.days), true
		}
	}
	s = strings.ReplaceAll(s, " ", "+") // a plus sign that was not escaped
	t, err := time.Parse(time.RFC3339Nano, s)
	unit := time.Second
	if strings.Contains(s, ".") {
		unit = time.Millisecond
	}
	return t, t.Add(unit), err == nil
}
