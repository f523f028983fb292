// Package growth says how a child's measurements compare with those of other
// children: z-scores and percentiles by the CDC growth charts of 2000, which
// come with it (data/README.md). It knows nothing of records and of pages.
//
// The charts are tables of three numbers, L, M and S, for each sex and month of
// age (https://www.cdc.gov/growthcharts/percentile_data_files.htm). A measurement
// X has the z-score ((X/M)^L − 1) / (L·S), or ln(X/M) / S where L is 0; its
// percentile is what of a normal distribution lies below that. Between the rows
// of a table L, M and S are interpolated in a straight line, as CDC's own program
// does; outside its first and last row there is no answer.
//
// Children are measured lying down until they are 24 months old and standing from
// then on; that day the tables change. Head circumference, and a length that was
// taken lying down, go on in the tables of infants until those end. CDC's tables of
// the weight of standing children by their height are left out: from two years on
// CDC advises the body mass index.
package growth

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// A Sex is one that the charts have tables for, as FHIR writes it. For all
// others there is no table.
type Sex string

const (
	Male   Sex = "male"
	Female Sex = "female"
)

// A Chart is one of CDC's charts. The names end in what the values are compared
// by.
type Chart string

const (
	InfantLength    Chart = "infant-length"     // cm, lying down, by age to 35.5 months
	InfantWeight    Chart = "infant-weight"     // kg, by age to 36 months
	Head            Chart = "head"              // cm around the head, by age to 36 months
	WeightForLength Chart = "weight-for-length" // kg, by length in cm, lying down
	Height          Chart = "height"            // cm, standing, by age from 24 to 240 months
	Weight          Chart = "weight"            // kg, by age from 24 to 240 months
	BMI             Chart = "bmi"               // kg/m², by age from 24 to 240.5 months
)

//go:embed data/*.csv
var data embed.FS

var files = map[Chart]string{
	InfantLength: "lenageinf", InfantWeight: "wtageinf", Head: "hcageinf", WeightForLength: "wtleninf",
	Height: "statage", Weight: "wtage", BMI: "bmiagerev",
}

// A Reference is all charts, ready to be asked. It does not change and may be
// used by many at once.
type Reference struct {
	tables map[tableKey]*Table
}

type tableKey struct {
	chart Chart
	sex   Sex
}

// A Table is one chart for one sex.
type Table struct {
	rows []row // by x, growing
}

type row struct {
	x float64
	LMS
}

// Load reads the charts.
func Load() (*Reference, error) {
	r := &Reference{tables: map[tableKey]*Table{}}
	for chart, name := range files {
		f, err := data.Open("data/" + name + ".csv")
		if err != nil {
			return nil, err
		}
		err = errors.Join(r.read(chart, f), f.Close())
		if err != nil {
			return nil, fmt.Errorf("growth: %s.csv: %w", name, err)
		}
	}
	return r, nil
}

// read takes the first five columns of a file: sex, age or length, L, M, S.
func (r *Reference) read(chart Chart, f io.Reader) error {
	lines := csv.NewReader(f)
	lines.ReuseRecord = true
	sexes := map[string]Sex{"1": Male, "2": Female}
	for {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		sex, ok := sexes[line[0]]
		if !ok { // a header
			continue
		}
		var n [4]float64
		for i := range n {
			if n[i], err = strconv.ParseFloat(line[i+1], 64); err != nil {
				return err
			}
		}
		key := tableKey{chart, sex}
		if r.tables[key] == nil {
			r.tables[key] = &Table{}
		}
		t := r.tables[key]
		if len(t.rows) > 0 && t.rows[len(t.rows)-1].x >= n[0] {
			return fmt.Errorf("%v is out of order", n[0])
		}
		t.rows = append(t.rows, row{n[0], LMS{n[1], n[2], n[3]}})
	}
}

// Table gives a chart for a sex; nil where there is none.
func (r *Reference) Table(c Chart, s Sex) *Table { return r.tables[tableKey{c, s}] }

// Limits are the first and the last age in months (or length in cm) that the
// table knows.
func (t *Table) Limits() (first, last float64) { return t.rows[0].x, t.rows[len(t.rows)-1].x }

// At gives the distribution at an age in months (or a length in cm), false
// outside the table.
func (t *Table) At(x float64) (LMS, bool) {
	first, last := t.Limits()
	if !(x >= first && x <= last) { // also what is no number
		return LMS{}, false
	}
	i, found := slices.BinarySearchFunc(t.rows, x, func(r row, x float64) int {
		switch {
		case r.x < x:
			return -1
		case r.x > x:
			return 1
		}
		return 0
	})
	if found {
		return t.rows[i].LMS, true
	}
	a, b := t.rows[i-1], t.rows[i]
	part := (x - a.x) / (b.x - a.x)
	between := func(a, b float64) float64 { return a + part*(b-a) }
	return LMS{between(a.L, b.L), between(a.M, b.M), between(a.S, b.S)}, true
}

// An LMS is the distribution of a measurement among children of one age: its
// median M, its spread S relative to that, and its skew L.
type LMS struct{ L, M, S float64 }

// Z gives the z-score of a value, which must be above 0.
func (d LMS) Z(value float64) float64 {
	if d.L == 0 {
		return math.Log(value/d.M) / d.S
	}
	return (math.Pow(value/d.M, d.L) - 1) / (d.L * d.S)
}

// Value gives the value of a z-score; not a number where the distribution has
// none.
func (d LMS) Value(z float64) float64 {
	if d.L == 0 {
		return d.M * math.Exp(d.S*z)
	}
	return d.M * math.Pow(1+d.L*d.S*z, 1/d.L)
}

// Plausible reports whether a value can be that of a child: a quarter to four
// times the median. One that is not was mistyped, or is in another unit.
func (d LMS) Plausible(value float64) bool { return value >= d.M/4 && value <= d.M*4 }

// Percentile gives the percentile, 0 to 100, of a z-score.
func Percentile(z float64) float64 { return 50 * math.Erfc(-z/math.Sqrt2) }

// ZOf gives the z-score of a percentile between 0 and 100.
func ZOf(percentile float64) float64 { return math.Sqrt2 * math.Erfinv(percentile/50-1) }
