// Package age tells when somebody reaches an age, from a FHIR birth date that may
// be partial, in the time zone of a site. What an age means is not its business.
package age

import "time"

// Reached gives the moments, at the earliest and at the latest, at which somebody
// is of an age: 00:00 on that birthday in the zone. They differ when the birth date
// is a year or a month only. Who was born on 29 February has their birthday on
// 1 March in other years. ok is false for what is no birth date.
func Reached(birthDate string, years int, zone *time.Location) (earliest, latest time.Time, ok bool) {
	first, last, ok := readings(birthDate)
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	on := func(born time.Time) time.Time {
		return Midnight(born.Year()+years, born.Month(), born.Day(), zone)
	}
	return on(first), on(last), true
}

// readings gives the first and the last day that a birth date may mean.
func readings(birthDate string) (first, last time.Time, ok bool) {
	var err error
	switch len(birthDate) {
	case len("2006"):
		first, err = time.Parse("2006", birthDate)
		last = first.AddDate(1, 0, -1)
	case len("2006-01"):
		first, err = time.Parse("2006-01", birthDate)
		last = first.AddDate(0, 1, -1)
	default:
		first, err = time.Parse(time.DateOnly, birthDate)
		last = first
	}
	return first, last, err == nil
}

// Midnight gives the first moment of a day in a zone. The day may begin later than
// at 00:00, or have 00:00 twice, where clocks change at midnight.
func Midnight(year int, month time.Month, day int, zone *time.Location) time.Time {
	want := time.Date(year, month, day, 0, 0, 0, 0, time.UTC) // normalized: 29 February may be 1 March
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	if isOn(t, want) {
		if before := t.Add(-time.Hour); isOn(before, want) { // 00:00 comes twice
			return before
		}
		return t
	}
	if _, end := t.ZoneBounds(); !end.IsZero() && isOn(end, want) {
		return end
	}
	return t
}

func isOn(t, day time.Time) bool {
	y, m, d := t.Date()
	return y == day.Year() && m == day.Month() && d == day.Day()
}
