package search

import (
	"strings"
	"time"

	"mypatients/fhir/store"
)

// instantLen is the length of an encoded instant.
const instantLen = 10

// digits are 64 characters in ascending order, to write numbers that sort.
const digits = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

// The ends of time: what begins or ends never.
var (
	earliest = strings.Repeat("-", instantLen)
	latest   = strings.Repeat("z", instantLen)
)

// epoch is year 0: no FHIR date is before it.
var epoch = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)

// instant writes a time as ten characters that sort as the times do, in
// microseconds. Times outside of the years 0 to 9999 become the nearest.
func instant(t time.Time) string { return encodeMicros(micros(t)) }

func micros(t time.Time) int64 {
	return (t.Unix()-epoch.Unix())*1_000_000 + int64(t.Nanosecond()/1000)
}

func encodeMicros(n int64) string {
	n = max(n, 0)
	var b [instantLen]byte
	for i := instantLen - 1; i >= 0; i-- {
		b[i] = digits[n&63]
		n >>= 6
	}
	return string(b[:])
}

// after is the smallest instant that is greater.
func after(instant string) string {
	b := []byte(instant)
	for i := len(b) - 1; i >= 0; i-- {
		at := strings.IndexByte(digits, b[i])
		if at+1 < len(digits) {
			b[i] = digits[at+1]
			return string(b)
		}
		b[i] = digits[0]
	}
	return latest
}

// An interval is a stretch of time, the end excluded, both ends encoded.
type interval struct{ start, end string }

func (i interval) String() string { return i.start + i.end }

// join gives the smallest interval that holds both; a zero one holds nothing.
func (i interval) join(j interval) interval {
	switch (interval{}) {
	case i:
		return j
	case j:
		return i
	}
	return interval{min(i.start, j.start), max(i.end, j.end)}
}

// dateItem reads an element as an interval: a date, dateTime or instant lasts as
// long as its last digit says, a Period from its start to its end, open where one
// is missing, a Timing from its first to its last known time. zone is that of what
// has none.
func dateItem(item any, zone *time.Location) (interval, bool) {
	switch v := item.(type) {
	case string:
		start, end, ok := parseDate(v, zone)
		return interval{encodeMicros(start), encodeMicros(end)}, ok
	case map[string]any:
		if v["event"] != nil || v["repeat"] != nil {
			return timing(v, zone)
		}
		return period(v, zone)
	}
	return interval{}, false
}

func period(m map[string]any, zone *time.Location) (interval, bool) {
	i := interval{earliest, latest}
	found := false
	if s, ok := m["start"].(string); ok {
		if start, _, ok := parseDate(s, zone); ok {
			i.start, found = encodeMicros(start), true
		}
	}
	if s, ok := m["end"].(string); ok {
		if _, end, ok := parseDate(s, zone); ok {
			i.end, found = encodeMicros(end), true
		}
	}
	return i, found
}

func timing(m map[string]any, zone *time.Location) (interval, bool) {
	var all interval
	spread(m["event"], func(event any) bool {
		if s, ok := event.(string); ok {
			if start, end, ok := parseDate(s, zone); ok {
				all = all.join(interval{encodeMicros(start), encodeMicros(end)})
			}
		}
		return true
	})
	if repeat, ok := m["repeat"].(map[string]any); ok {
		if bounds, ok := repeat["boundsPeriod"].(map[string]any); ok {
			if i, ok := period(bounds, zone); ok {
				all = all.join(i)
			}
		}
	}
	return all, all != interval{}
}

// parseDate reads a date, dateTime or instant of any precision
// (https://hl7.org/fhir/R4/datatypes.html#dateTime) as the microseconds at which
// it starts and ends, the end excluded; zone is taken where it names none. Minutes
// may stand without seconds, as in a query.
func parseDate(s string, zone *time.Location) (start, end int64, ok bool) {
	p := dateParser{rest: s}
	year := p.number(4)
	month, day, precision := 1, 1, 1
	if p.eat('-') {
		month, precision = p.number(2), 2
		if p.eat('-') {
			day, precision = p.number(2), 3
		}
	}
	if p.bad || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, 0, false
	}
	if precision == 3 && p.eat('T') {
		return p.clock(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), zone)
	}
	if p.rest != "" {
		return 0, 0, false
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, zone)
	next := [...]time.Time{1: date.AddDate(1, 0, 0), 2: date.AddDate(0, 1, 0), 3: date.AddDate(0, 0, 1)}[precision]
	return micros(date), micros(next), true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

type dateParser struct {
	rest string
	bad  bool
}

// number reads exactly n digits.
func (p *dateParser) number(n int) int {
	if len(p.rest) < n {
		p.bad = true
		return 0
	}
	v := 0
	for i := range n {
		if !isDigit(p.rest[i]) {
			p.bad = true
			return 0
		}
		v = v*10 + int(p.rest[i]-'0')
	}
	p.rest = p.rest[n:]
	return v
}

func (p *dateParser) eat(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// clock reads hh:mm[:ss[.fraction]][zone] behind a date.
func (p *dateParser) clock(date time.Time, zone *time.Location) (start, end int64, ok bool) {
	hour := p.number(2)
	if !p.eat(':') {
		return 0, 0, false
	}
	minute, second, unit, fraction := p.number(2), 0, int64(60_000_000), int64(0)
	if p.eat(':') {
		second, unit = p.number(2), 1_000_000
		if p.eat('.') {
			fraction, unit = p.fraction()
		}
	}
	offset, zoned := p.zone()
	if p.bad || p.rest != "" || hour > 23 || minute > 59 || second > 60 {
		return 0, 0, false
	}
	start = micros(date) + int64(hour*3600+minute*60+second-offset)*1_000_000 + fraction
	if !zoned && zone != time.UTC {
		start = micros(time.Date(date.Year(), date.Month(), date.Day(), hour, minute, second, 0, zone)) + fraction
	}
	return start, start + unit, true
}

// fraction reads the digits behind the point, to the microsecond, and the unit of
// the last.
func (p *dateParser) fraction() (value, unit int64) {
	unit = 1_000_000
	n := 0
	for ; n < len(p.rest) && isDigit(p.rest[n]); n++ {
		if unit > 1 {
			unit /= 10
			value += int64(p.rest[n]-'0') * unit
		}
	}
	p.bad = p.bad || n == 0 || n > 20
	p.rest = p.rest[n:]
	return value, unit
}

// zone reads Z or an offset, in seconds; found is false when nothing is left. A
// blank counts as a plus sign: that is what becomes of one that was not escaped in
// a URL.
func (p *dateParser) zone() (seconds int, found bool) {
	if p.rest == "" {
		return 0, false
	}
	if p.eat('Z') {
		return 0, true
	}
	sign := 1
	switch {
	case p.eat('-'):
		sign = -1
	case p.eat('+') || p.eat(' '):
	default:
		p.bad = true
		return 0, true
	}
	hours := p.number(2)
	if !p.eat(':') {
		p.bad = true
	}
	minutes := p.number(2)
	p.bad = p.bad || hours > 14 || minutes > 59
	return sign * (hours*3600 + minutes*60), true
}

// dateQuery is the condition of a date parameter, by prefix
// (https://hl7.org/fhir/R4/search.html#prefix).
func dateQuery(name, value string, zone *time.Location, now time.Time) (store.Expr, error) {
	prefix, text := cutPrefix(value)
	from, to, ok := parseDate(text, zone)
	if !ok {
		return nil, badValue("%q is not a date", value)
	}
	if prefix == "ap" && !now.IsZero() { // a tenth of the distance to now, on either side
		tenth := (micros(now) - from) / 10
		tenth = max(tenth, -tenth)
		from, to = from-tenth, to+tenth
	}
	start, end := encodeMicros(from), encodeMicros(to)
	within := store.Span{Name: name, Split: instantLen, HeadFrom: start, TailTo: after(end)}
	above := store.Span{Name: name, Split: instantLen, TailFrom: after(end)}
	below := store.Span{Name: name, Split: instantLen, HeadTo: start}
	switch prefix {
	case "eq":
		return within, nil
	case "ne":
		return store.Or{below, above}, nil
	case "gt":
		return above, nil
	case "lt":
		return below, nil
	case "ge":
		return store.Or{above, within}, nil
	case "le":
		return store.Or{below, within}, nil
	case "sa":
		return store.Span{Name: name, Split: instantLen, HeadFrom: end}, nil
	case "eb":
		return store.Span{Name: name, Split: instantLen, TailTo: after(start)}, nil
	default: // ap
		return store.Span{Name: name, Split: instantLen, HeadTo: end, TailFrom: after(start)}, nil
	}
}
