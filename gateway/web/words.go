package web

import (
	"time"

	"mypatients/gateway/lang"
)

// Words turns times into what people say. The words around the numbers are in
// templates/words.html.
type words struct {
	now  func() time.Time
	zone *time.Location
	lang lang.Language
}

// A span is a number of units: {5 "month" false}.
type span struct {
	N    int
	Unit string // minute, hour, day, week, month, year; now
	Past bool
}

// day writes a date: "3 March 2027".
func (w words) day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return w.lang.Day(t.In(w.zone))
}

// time writes the time of a day: "2:05 pm".
func (w words) time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return w.lang.Clock(t.In(w.zone))
}

// lastDay writes the last day on which something that ends at t still holds: an
// end at midnight is the end of the day before.
func (w words) lastDay(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return w.day(t.Add(-time.Nanosecond))
}

// input writes a date as date fields want it.
func (w words) input(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(w.zone).Format(time.DateOnly)
}

// date writes a FHIR date or dateTime as precisely as it was recorded.
func (w words) date(s string) string {
	switch t, precision := w.parse(s); precision {
	case "year":
		return s
	case "month":
		return w.lang.Month(t)
	case "day":
		return w.lang.Day(t)
	case "time":
		return w.day(t)
	}
	return s
}

// parse reads a FHIR date or dateTime and says how precise it is.
func (w words) parse(s string) (time.Time, string) {
	for _, form := range []struct{ layout, precision string }{
		{time.DateOnly, "day"}, {time.RFC3339Nano, "time"}, {"2006-01", "month"}, {"2006", "year"},
	} {
		if t, err := time.ParseInLocation(form.layout, s, w.zone); err == nil {
			return t, form.precision
		}
	}
	return time.Time{}, ""
}

// age is how old somebody is today, in years, below two in months, below two
// months in days. The zero span means that it cannot be told.
func (w words) age(birth string) span {
	born, precision := w.parse(birth)
	now := w.now().In(w.zone)
	if precision == "" || born.After(now) {
		return span{}
	}
	years, months := ageAt(born, now)
	switch {
	case precision == "year" || years >= 2:
		return span{N: years, Unit: "year"}
	case months >= 2:
		return span{N: months, Unit: "month"}
	}
	return span{N: int(now.Sub(born).Hours() / 24), Unit: "day"}
}

// ageAt counts whole years and whole months between a birth date and a day. Who
// is born on 29 February has their birthday on 1 March in other years.
func ageAt(born, now time.Time) (years, months int) {
	months = (now.Year()-born.Year())*12 + int(now.Month()) - int(born.Month())
	if now.Day() < born.Day() {
		months--
	}
	return months / 12, months
}

// ago is how far a time is from now, roughly.
func (w words) ago(t time.Time) span {
	d := w.now().Sub(t)
	past := d >= 0
	if !past {
		d = -d
	}
	const day = 24 * time.Hour
	units := []struct {
		name  string
		size  time.Duration
		below time.Duration
	}{
		{"minute", time.Minute, time.Hour},
		{"hour", time.Hour, day},
		{"day", day, 14 * day},
		{"week", 7 * day, 60 * day},
		{"month", 30 * day, 700 * day},
		{"year", 365 * day, 1 << 62},
	}
	if d < time.Minute {
		return span{Unit: "now", Past: past}
	}
	for _, u := range units {
		if d < u.below {
			return span{N: int(d / u.size), Unit: u.name, Past: past}
		}
	}
	return span{}
}

// endOfDay gives the moment at which the day of a date field is over.
func (w words) endOfDay(field string) (time.Time, bool) {
	t, err := time.ParseInLocation(time.DateOnly, field, w.zone)
	if err != nil {
		return time.Time{}, false
	}
	return t.AddDate(0, 0, 1), true
}

// monthsOn gives the end of the same day some months later; a day that the
// month does not have becomes its last.
func (w words) monthsOn(months int) time.Time {
	now := w.now().In(w.zone)
	first := time.Date(now.Year(), now.Month()+time.Month(months), 1, 0, 0, 0, 0, w.zone)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(now.Day(), last))
}

// birthDate reads a birth date as a date field sends it, or as people type it
// where the browser has no such field. It is full and not in the future.
func (w words) birthDate(typed string) (string, bool) {
	for _, read := range []func() (time.Time, error){
		func() (time.Time, error) { return time.ParseInLocation(time.DateOnly, typed, w.zone) },
		func() (time.Time, error) { return time.ParseInLocation("1/2/2006", typed, w.zone) },
		func() (time.Time, error) { return lang.English.ParseDay(typed, w.zone) },
		func() (time.Time, error) { return lang.Spanish.ParseDay(typed, w.zone) },
	} {
		if t, err := read(); err == nil {
			return t.Format(time.DateOnly), t.Year() >= 1850 && !t.After(w.now())
		}
	}
	return "", false
}
