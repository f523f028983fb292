package growth_test

import (
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mypatients/gateway/growth"
)

func load(t testing.TB) *growth.Reference {
	t.Helper()
	r, err := growth.Load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var files = map[growth.Chart]string{
	growth.InfantLength: "lenageinf", growth.InfantWeight: "wtageinf", growth.Head: "hcageinf", growth.WeightForLength: "wtleninf",
	growth.Height: "statage", growth.Weight: "wtage", growth.BMI: "bmiagerev",
}

var sexes = map[string]growth.Sex{"1": growth.Male, "2": growth.Female}

// Every percentile that CDC printed, of every chart, sex and age, is ours, from
// the value to the percentile and back.
func TestPercentilesAreThoseOfCDC(t *testing.T) {
	r, points, worst := load(t), 0, 0.0
	for chart, name := range files {
		body, err := os.ReadFile("data/" + name + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		header := lines[0]
		for _, line := range lines {
			sex, ok := sexes[line[0]]
			if !ok {
				continue
			}
			lms, ok := r.Table(chart, sex).At(number(t, line[1]))
			if !ok {
				t.Fatalf("%s has no row for %s at %s", chart, sex, line[1])
			}
			for i, column := range header {
				percent, ok := strings.CutPrefix(column, "P")
				want, err := strconv.ParseFloat(percent, 64)
				if !ok || err != nil {
					continue
				}
				value := number(t, line[i])
				got := growth.Percentile(lms.Z(value))
				worst = math.Max(worst, math.Abs(got-want))
				if math.Abs(got-want) > 0.1 {
					t.Errorf("%s, %s at %s: %v is at percentile %v, want %v", chart, sex, line[1], value, got, want)
				}
				if back := lms.Value(growth.ZOf(want)); math.Abs(back-value) > 0.0005*value {
					t.Errorf("%s, %s at %s: percentile %v is %v, want %v", chart, sex, line[1], want, back, value)
				}
				points++
			}
		}
	}
	if points < 10_000 {
		t.Errorf("only %d points were compared", points)
	}
	t.Logf("%d points, the furthest %.4f of a percentile away", points, worst)
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Between two rows the parameters are interpolated; outside the table there is
// no answer.
func TestBetweenAndOutsideRows(t *testing.T) {
	r := load(t)
	table := r.Table(growth.Weight, growth.Male)
	a, _ := table.At(24)
	b, _ := table.At(24.5)
	mid, ok := table.At(24.25)
	if !ok || math.Abs(mid.M-(a.M+b.M)/2) > 1e-9 || math.Abs(mid.L-(a.L+b.L)/2) > 1e-9 || math.Abs(mid.S-(a.S+b.S)/2) > 1e-9 {
		t.Errorf("between %v and %v: got %v", a, b, mid)
	}
	for _, c := range []struct {
		chart       growth.Chart
		first, last float64
	}{
		{growth.InfantLength, 0, 35.5}, {growth.InfantWeight, 0, 36}, {growth.Head, 0, 36}, {growth.WeightForLength, 45, 103.5},
		{growth.Height, 24, 240}, {growth.Weight, 24, 240}, {growth.BMI, 24, 240.5},
	} {
		for _, sex := range sexes {
			table := r.Table(c.chart, sex)
			if first, last := table.Limits(); first != c.first || last != c.last {
				t.Errorf("%s goes from %v to %v", c.chart, first, last)
			}
			for _, x := range []float64{c.first, c.last} {
				if _, ok := table.At(x); !ok {
					t.Errorf("%s does not know %v", c.chart, x)
				}
			}
			for _, x := range []float64{c.first - 0.001, c.last + 0.001, -1, 1e308, math.NaN(), math.Inf(1), math.Inf(-1)} {
				if lms, ok := table.At(x); ok {
					t.Errorf("%s knows %v: %v", c.chart, x, lms)
				}
			}
		}
		for _, sex := range []growth.Sex{"", "other", "unknown", "Male"} {
			if r.Table(c.chart, sex) != nil {
				t.Errorf("%s has a table for %q", c.chart, sex)
			}
		}
	}
}

// Without skew the formula has a form of its own, and both agree nearby.
func TestWithoutSkew(t *testing.T) {
	none, little := growth.LMS{L: 0, M: 10, S: 0.1}, growth.LMS{L: 1e-9, M: 10, S: 0.1}
	for _, value := range []float64{7, 10, 13} {
		if a, b := none.Z(value), little.Z(value); math.Abs(a-b) > 1e-5 {
			t.Errorf("%v: %v and %v", value, a, b)
		}
		if back := none.Value(none.Z(value)); math.Abs(back-value) > 1e-9 {
			t.Errorf("%v came back as %v", value, back)
		}
	}
	for value, want := range map[float64]bool{10: true, 2.5: true, 40: true, 2.4: false, 41: false, 0: false, -10: false, 1e308: false} {
		if got := none.Plausible(value); got != want {
			t.Errorf("plausible %v: got %t", value, got)
		}
	}
	if none.Plausible(math.NaN()) {
		t.Error("what is no number is plausible")
	}
}

func TestMonths(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		birth, day string
		want       float64
	}{
		{"2020-03-10", "2020-03-10", 0}, {"2020-03-10", "2020-03-09", -1 / growth.DaysPerMonth}, {"2020-03-10", "2022-03-10", 730 / growth.DaysPerMonth},
		{"2016-02-29", "2024-02-29", 2922 / growth.DaysPerMonth}, {"1850-01-01", "2250-01-01", 146097 / growth.DaysPerMonth},
	} {
		if got := growth.Months(day(c.birth), day(c.day)); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("from %s to %s: got %v, want %v", c.birth, c.day, got, c.want)
		}
	}
	late := day("2020-03-10").Add(23 * time.Hour).In(time.FixedZone("", -5*60*60))
	if got := growth.Months(day("2020-03-10"), late); got != 0 {
		t.Errorf("late on the first day: %v", got)
	}
	for weeks, want := range map[float64]float64{40: 0, 37: 0, 36.9: 3.1 * 7 / growth.DaysPerMonth, 28: 12 * 7 / growth.DaysPerMonth, 19: 0, 0: 0, -3: 0, 1e308: 0, math.NaN(): 0} {
		if got := growth.Correction(weeks); math.Abs(got-want) > 1e-9 {
			t.Errorf("born after %v weeks: got %v, want %v", weeks, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		convert func(float64, string) (float64, bool)
		value   float64
		unit    string
		want    float64
	}{
		{growth.Length, 10, "[in_i]", 25.4}, {growth.Length, 1.1, "m", 110}, {growth.Length, 505, "mm", 50.5}, {growth.Mass, 10, "[lb_av]", 4.5359237}, {growth.Mass, 3500, "g", 3.5},
		{growth.Mass, 160, "[oz_av]", 4.5359237}, {growth.Index, 17, "kg/m2", 17},
	} {
		if got, ok := c.convert(c.value, c.unit); !ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v %s: got %v %t, want %v", c.value, c.unit, got, ok, c.want)
		}
	}
	for _, unit := range []string{"", "KG", "lb", "stone", "kg", "in", "%"} {
		if got, ok := growth.Length(1, unit); ok {
			t.Errorf("%q is a unit of length: %v", unit, got)
		}
	}
}
