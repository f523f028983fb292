package age_test

import (
	"testing"
	"time"

	"mypatients/consent/age"
)

func TestReached(t *testing.T) {
	for _, tt := range []struct {
		born, zone       string
		years            int
		earliest, latest string
	}{
		{"2010-09-09", "America/New_York", 18, "2028-09-09T00:00:00-04:00", "2028-09-09T00:00:00-04:00"},
		{"2010-09-09", "Asia/Tokyo", 13, "2023-09-09T00:00:00+09:00", "2023-09-09T00:00:00+09:00"},
		{"2012-02-29", "UTC", 18, "2030-03-01T00:00:00Z", "2030-03-01T00:00:00Z"},
		{"2012-02-29", "UTC", 16, "2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"2012-02", "UTC", 13, "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"},
		{"2011-04", "UTC", 18, "2029-04-01T00:00:00Z", "2029-04-30T00:00:00Z"},
		{"2011", "UTC", 18, "2029-01-01T00:00:00Z", "2029-12-31T00:00:00Z"},
		{"2006-10-15", "America/Sao_Paulo", 11, "2017-10-15T01:00:00-02:00", "2017-10-15T01:00:00-02:00"}, // 00:00 does not exist
		{"1999-10-31", "America/Havana", 11, "2010-10-31T00:00:00-04:00", "2010-10-31T00:00:00-04:00"},    // 00:00 comes twice
		{"1999-03-14", "America/New_York", 11, "2010-03-14T00:00:00-05:00", "2010-03-14T00:00:00-05:00"},
		{"1999-11-07", "America/New_York", 11, "2010-11-07T00:00:00-04:00", "2010-11-07T00:00:00-04:00"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		earliest, latest, ok := age.Reached(tt.born, tt.years, zone)
		if !ok || earliest.Format(time.RFC3339) != tt.earliest || latest.Format(time.RFC3339) != tt.latest {
			t.Errorf("%s + %d in %s: got %v and %v, want %s and %s", tt.born, tt.years, tt.zone, earliest, latest, tt.earliest, tt.latest)
		}
	}
	for _, born := range []string{"", "x", "2010-13", "2010-02-30", "2010-09-09T10:00:00Z", "20100909"} {
		if _, _, ok := age.Reached(born, 18, time.UTC); ok {
			t.Errorf("%q was read", born)
		}
	}
}

// A day begins when the date changes, in every zone, whatever the clocks do.
func TestMidnight(t *testing.T) {
	for _, name := range []string{"America/Sao_Paulo", "America/Havana", "America/Santiago", "Asia/Beirut", "Africa/Cairo", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for day := time.Date(2010, 1, 1, 12, 0, 0, 0, time.UTC); day.Year() < 2020; day = day.AddDate(0, 0, 1) {
			start := age.Midnight(day.Year(), day.Month(), day.Day(), zone)
			if name == "Pacific/Apia" && day.Format(time.DateOnly) == "2011-12-30" {
				continue // that day was left out
			}
			if got := start.Format(time.DateOnly); got != day.Format(time.DateOnly) {
				t.Errorf("%s: %s begins at %v", name, day.Format(time.DateOnly), start)
			}
			if before := start.Add(-time.Nanosecond); before.Format(time.DateOnly) == day.Format(time.DateOnly) {
				t.Errorf("%s: %s begins before %v", name, day.Format(time.DateOnly), start)
			}
		}
	}
}
