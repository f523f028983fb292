package main

import (
	"fmt"
	"regexp"
	"time"
)

// dates turns dates into distances from the date of birth: "@b+412" for a date,
// "@b+412T10:15:00" for a time of that day at the practice.
type dates struct {
	birth, cut time.Time
	hours      int
}

var stamp = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z))?$`)

// wall gives the reading of the clock on the wall that a date or time stands
// for, as if it were UTC.
func (d dates) wall(s string) (t time.Time, whole bool, err error) {
	m := stamp.FindStringSubmatch(s)
	if m == nil {
		return t, false, fmt.Errorf("%q is not a date", s)
	}
	if m[2] == "" {
		t, err = time.Parse(time.DateOnly, s)
		return t, true, err
	}
	t, err = time.Parse("2006-01-02T15:04:05", s[:19])
	return t.Add(time.Duration(d.hours) * time.Hour), false, err
}

// token rewrites a string that is a date and leaves any other.
func (d dates) token(s string) (string, error) {
	if !stamp.MatchString(s) {
		return s, nil
	}
	t, whole, err := d.wall(s)
	if err != nil {
		return "", err
	}
	day := t.Truncate(24 * time.Hour)
	n := int(day.Sub(d.birth) / (24 * time.Hour))
	if n < 0 || t.After(d.cut.AddDate(0, 0, 1)) {
		return "", fmt.Errorf("%s is outside the life told", s)
	}
	if whole {
		return fmt.Sprintf("@b+%d", n), nil
	}
	return fmt.Sprintf("@b+%dT%s", n, t.Format("15:04:05")), nil
}

// begins are the elements that say when something happened.
var begins = [][]any{{"period", "start"}, {"effectiveDateTime"}, {"onsetDateTime"}, {"authoredOn"}, {"occurrenceDateTime"},
	{"performedPeriod", "start"}, {"started"}, {"context", "period", "start"}, {"recordedDate"}}

func (d dates) happened(r map[string]any) bool {
	for _, path := range begins {
		if s, ok := at(r, path...).(string); ok {
			t, _, err := d.wall(s)
			return err == nil && !t.After(d.cut)
		}
	}
	return false
}

// future takes the end off what has not ended yet.
func (d dates) future(r map[string]any) {
	later := func(v any) bool {
		s, ok := v.(string)
		t, _, err := d.wall(s)
		return ok && err == nil && t.After(d.cut)
	}
	if later(r["abatementDateTime"]) {
		delete(r, "abatementDateTime")
		at(r, "clinicalStatus", "coding", 0).(map[string]any)["code"] = "active"
	}
	if period, ok := r["period"].(map[string]any); ok && later(period["end"]) {
		delete(period, "end")
		if r["resourceType"] == "CarePlan" {
			r["status"] = "active"
			for _, a := range r["activity"].([]any) {
				at(a, "detail").(map[string]any)["status"] = "in-progress"
			}
		}
	}
}
