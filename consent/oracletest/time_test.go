package oracletest_test

import (
	"strings"
	"time"
)

// span gives what a FHIR dateTime covers, from its first moment to the first one
// after it: a partial one its whole day, month or year in the site's zone, a
// complete one that very moment.
func span(text string, zone *time.Location) (from, to time.Time) {
	if strings.Contains(text, "T") {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return at, at
	}
	layouts := map[int]string{4: "2006", 7: "2006-01", 10: "2006-01-02"}
	from, err := time.ParseInLocation(layouts[len(text)], text, zone)
	if err != nil {
		panic(err)
	}
	switch len(text) {
	case 4:
		return from, from.AddDate(1, 0, 0)
	case 7:
		return from, from.AddDate(0, 1, 0)
	}
	return from, from.AddDate(0, 0, 1)
}

// holds: start ≤ now < end.
func (p period) holds(now time.Time, zone *time.Location) bool {
	if p.start != "" {
		if from, _ := span(p.start, zone); now.Before(from) {
			return false
		}
	}
	if p.end != "" {
		if _, to := span(p.end, zone); !now.Before(to) {
			return false
		}
	}
	return true
}

// The first and the last of all times stand for what is open.
var (
	always = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	never  = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

func (p period) bounds(zone *time.Location) (from, to time.Time) {
	from, to = always, never
	if p.start != "" {
		from, _ = span(p.start, zone)
	}
	if p.end != "" {
		_, to = span(p.end, zone)
	}
	return from, to
}

// ownLogin tells whether a patient's own login counts: from 13 on, and for sure. What
// is hidden from a guardian is not opened to one who may still be a child.
func ownLogin(birth string, now time.Time, zone *time.Location) bool {
	if band(birth, now, zone) == "adult" {
		return true
	}
	_, after := span(birth, zone)
	last := after.AddDate(0, 0, -1)
	return !now.Before(time.Date(last.Year()+13, last.Month(), last.Day(), 0, 0, 0, 0, zone))
}

// An age band: child, teen, or adult, also when the birth date is not known.
// A partial birth date takes its earliest reading, which gives the proxy less.
// On 29 February born people are older on 1 March in other years.
func band(birth string, now time.Time, zone *time.Location) string {
	if birth == "" {
		return "adult"
	}
	born, _ := span(birth, zone)
	has := func(years int) bool {
		// Date makes 1 March of a 29 February that there is not.
		return !now.Before(time.Date(born.Year()+years, born.Month(), born.Day(), 0, 0, 0, 0, zone))
	}
	switch {
	case has(18):
		return "adult"
	case has(13):
		return "teen"
	}
	return "child"
}
