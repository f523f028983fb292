package growth

import "time"

// DaysPerMonth is the length of a month of age (365.25 / 12 days).
const DaysPerMonth = 30.4375

// Standing is the age in months from which children are measured standing.
const Standing = 24

// Months gives the age in months on a day, with its fraction; negative before
// birth. Only the dates of the two times count, not their hours or zones.
func Months(birth, day time.Time) float64 {
	return float64(days(day)-days(birth)) / DaysPerMonth
}

// days counts the days of the calendar.
func days(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// The weeks of pregnancy: a child is due after Due; one born before Term is born
// early; and a number below Earliest is a mistake.
const (
	Due      = 40
	Term     = 37
	Earliest = 20
)

// Correction gives the months to take off the age of a child who was born after
// so many weeks of pregnancy: what was missing to forty weeks, if it was born
// early, and 0 otherwise.
func Correction(weeks float64) float64 {
	if !(weeks >= Earliest && weeks < Term) {
		return 0
	}
	return (Due - weeks) * 7 / DaysPerMonth
}
