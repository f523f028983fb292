package web

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/gateway/growth"
)

// A growthView is the tab on which a child's measurements stand among those of
// other children.
type growthView struct {
	Sex     string // whose charts: male, female; "" when there is no comparison
	Undated bool   // the birth date is not complete, so no age can be told
	Weeks   string // of pregnancy, when the child was born early and ages are corrected
	Charts  []growthChart
	Ages    string // which ages are shown: infant, child; "" is all
	Both    bool   // there are measurements of both
	Whole   bool   // the axes show all ages that the charts know
	Newest  int    // only so many of the measurements are shown; 0: all
}

// Latest are the charts that have a latest value to tell.
func (g *growthView) Latest() []growthChart {
	return slices.DeleteFunc(slices.Clone(g.Charts), func(c growthChart) bool { return c.Latest == nil })
}

// A growthChart is the measurements of one kind, those taken lying down apart
// from those taken standing.
type growthChart struct {
	Code   growth.Chart
	By     string // what the horizontal axis is: months, years, length, date
	Plot   *plot  // nil when there is nothing to draw
	Rows   []growthRow
	Latest *growthRow // that can be drawn
}

// A growthRow is one measurement.
type growthRow struct {
	When  string    // as it was recorded
	Value string    // as it was recorded
	Also  string    // the same in the unit of the chart, if it is another
	Age   *childAge // nil when it cannot be told
	Rank  *rank     // nil when there is nothing to compare with
	Why   string    // why there is no comparison: unit, date, ages, size, about
	From  bool      // worked out from other measurements
	Early bool      // compared as if born when the birth was due

	at     time.Time
	months float64 // age, not corrected
	number float64 // in the unit of the chart
	x      float64
	drawn  bool
}

// A childAge is an age as people say it of children: years and months, or below
// two months days.
type childAge struct{ Years, Months, Days int }

// A rank says how a measurement compares.
type rank struct {
	Percentile, Z float64
	Over          int // the percent that a body mass index above the 95th percentile is of that; otherwise 0
	bmi           bool
}

// Place is the percentile as a whole number: 100 stands for above the last that
// can be told, 0 for below the first.
func (r rank) Place() int {
	if r.Above97() {
		return 97
	}
	switch p := math.Round(r.Percentile); {
	case r.Percentile < 1:
		return 0
	case r.Percentile > 99:
		return 100
	default:
		return int(p)
	}
}

// Above97 reports whether CDC's chart cannot tell the percentile of a high body
// mass index: its curves are not meant to be followed beyond the 97th.
func (r rank) Above97() bool { return r.bmi && r.Percentile > 97 }

// Score writes the z-score: "−1.28"; "" where it cannot be told.
func (r rank) Score() string {
	if r.Above97() {
		return ""
	}
	return signed(r.Z)
}

// Exact writes the percentile with a digit after the point.
func (r rank) Exact() string {
	switch {
	case r.Above97():
		return "> 97"
	case r.Percentile < 0.1:
		return "< 0.1"
	case r.Percentile > 99.9:
		return "> 99.9"
	}
	return fixed(r.Percentile, 1)
}

// growthCodes are the LOINC codes of what a growing child is measured by: height,
// length lying down, height standing, weight, BMI, head circumference twice.
var growthCodes = map[string]string{
	"8302-2": "height", "8306-3": "length", "8308-9": "standing", "29463-7": "weight", "39156-5": "bmi", "9843-4": "head", "8287-5": "head",
}

// gestationCodes are those of the weeks of pregnancy at birth.
const gestationCodes = "http://loinc.org|76516-4,http://loinc.org|11884-4,http://loinc.org|18185-9"

// These bound the measurements that one page shows, and one that is printed with
// all the rest of a record.
const (
	maxGrowth        = 240
	maxPrintedGrowth = 120
)

func (v *visit) growth(view *recordView) error {
	codes := "http://loinc.org|" + strings.Join(slices.Sorted(maps.Keys(growthCodes)), ",http://loinc.org|") // always alike, for the pages that follow
	count := maxGrowth
	if view.Print {
		count = maxPrintedGrowth
	}
	all, older, err := list[observation](v, "Observation", view.Patient.ID, "-date", count, "code", codes)
	if err != nil {
		return err
	}
	ages, whole := v.query("ages"), v.query("scale") == "whole"
	if view.Print {
		ages, older = "", "" // the charts of the age that the child has now
	}
	weeks, err := v.gestation(view.Patient.ID)
	if err != nil {
		return err
	}
	c := child{words: v.site.words, growth: v.site.growth, birth: view.Patient.BirthDate, sex: growth.Sex(view.Patient.growthSex()), weeks: weeks}
	view.Growth, view.Older = c.view(all, ages, whole), older
	if len(all) >= count {
		view.Growth.Newest = len(all)
	}
	return nil
}

// gestation gives the weeks after which the child was born, 0 when nobody knows.
func (v *visit) gestation(patient string) (float64, error) {
	page, err := v.site.Guard.Search(v.ctx, v.caller(), "Observation", map[string][]string{
		"patient": {patient}, "code": {gestationCodes}, "_sort": {"-date"}, "_count": {"1"}}, false)
	if kindIs(err, fhir.NotFound, fhir.Forbidden) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, o := range decode[observation](page) {
		weeks, ok := o.number()
		if !ok || !o.stands() || o.Quantity.Comparator != "" {
			continue
		}
		switch o.Quantity.ucum() {
		case "wk":
			return weeks, nil
		case "d":
			return weeks / 7, nil
		}
	}
	return 0, nil
}

// stands reports whether a result was meant and made.
func (o observation) stands() bool {
	return o.Status != "entered-in-error" && o.Status != "cancelled" && o.Status != "registered"
}

// A child is whose measurements are compared.
type child struct {
	words
	growth *growth.Reference
	birth  string
	sex    growth.Sex
	weeks  float64 // of pregnancy; 0: not known
}

// view puts the measurements on their charts.
func (c child) view(all []observation, ages string, whole bool) *growthView {
	born, precision := c.parse(c.birth)
	view := &growthView{Undated: precision != "day", Whole: whole}
	if !view.Undated && c.growth.Table(growth.Weight, c.sex) != nil {
		view.Sex = string(c.sex)
	}
	charts := map[growth.Chart][]growthRow{}
	for _, o := range all {
		if chart, row, ok := c.row(o, born, view.Undated); ok {
			charts[chart] = append(charts[chart], row)
		}
	}
	if !view.Undated {
		c.pair(charts)
	}
	for chart, rows := range charts {
		slices.SortStableFunc(rows, func(a, b growthRow) int { return b.at.Compare(a.at) })
		for i := range rows {
			c.rank(chart, &rows[i], view.Undated)
		}
	}
	if correction := growth.Correction(c.weeks); correction > 0 && !view.Undated {
		view.Weeks = trimZeros(math.Floor(c.weeks), 0)
	}
	view.choose(charts, ages)
	for _, chart := range order {
		if rows := charts[chart]; len(rows) > 0 && (view.Ages == "" || slices.Contains(infantCharts, chart) == (view.Ages == "infant")) {
			view.Charts = append(view.Charts, c.chart(chart, rows, view))
		}
	}
	return view
}

var (
	infantCharts = []growth.Chart{growth.InfantWeight, growth.InfantLength, growth.WeightForLength, growth.Head}
	order        = append(slices.Clone(infantCharts), growth.Weight, growth.Height, growth.BMI)
)

// choose picks the ages to show: those asked for, or those of the latest
// measurement.
func (g *growthView) choose(charts map[growth.Chart][]growthRow, ages string) {
	if g.Undated {
		return
	}
	var infant, other time.Time // when the latest of each was
	for chart, rows := range charts {
		for _, r := range rows {
			if slices.Contains(infantCharts, chart) {
				infant = later(infant, r.at)
			} else {
				other = later(other, r.at)
			}
		}
	}
	g.Both = !infant.IsZero() && !other.IsZero()
	switch {
	case !g.Both:
	case ages == "infant" || ages == "child":
		g.Ages = ages
	case infant.After(other):
		g.Ages = "infant"
	default:
		g.Ages = "child"
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// row reads a measurement and says on which chart it belongs.
func (c child) row(o observation, born time.Time, undated bool) (growth.Chart, growthRow, bool) {
	kind := ""
	for _, coding := range o.Code.Coding {
		if k := growthCodes[coding.Code]; k != "" && kind == "" {
			kind = k
		}
	}
	if kind == "" || !o.stands() || o.Value() == "" {
		return "", growthRow{}, false
	}
	at, precision := c.parse(o.When())
	r := growthRow{When: o.When(), Value: o.Value(), at: at, months: -1}
	number, ok := o.number()
	switch {
	case !ok:
		r.Why = "unit"
	case o.Quantity.Comparator != "":
		r.Why = "about"
	default:
		convert := map[string]func(float64, string) (float64, bool){"weight": growth.Mass, "bmi": growth.Index}[kind]
		if convert == nil {
			convert = growth.Length
		}
		unit := o.Quantity.ucum()
		if r.number, ok = convert(number, unit); !ok {
			r.Why = "unit"
		} else if metric := chartUnit[kind]; unit != metric {
			r.Also = quantityText(r.number, metric)
		}
	}
	day := at.In(c.zone)
	switch {
	case r.Why != "":
	case precision != "day" && precision != "time":
		r.Why = "date"
	case undated:
	default:
		r.months = growth.Months(born, day)
	}
	if !undated && (precision == "day" || precision == "time") {
		r.Age = ageOf(born, day)
		r.months = growth.Months(born, day)
	}
	return chartFor(kind, r), r, true
}

var chartUnit = map[string]string{"weight": "kg", "bmi": "kg/m2", "height": "cm", "length": "cm", "standing": "cm", "head": "cm"}

func quantityText(v float64, ucum string) string { return trimZeros(v, 2) + " " + unit("", ucum) }

// chartFor says on which chart a measurement belongs.
func chartFor(kind string, r growthRow) growth.Chart {
	infant := r.Age != nil && r.months < growth.Standing
	switch {
	case kind == "head":
		return growth.Head
	case kind == "bmi":
		return growth.BMI
	case kind == "weight" && infant:
		return growth.InfantWeight
	case kind == "weight":
		return growth.Weight
	case kind == "length" && r.months <= 35.5 && r.Age != nil, kind == "height" && infant:
		return growth.InfantLength
	}
	return growth.Height
}

// pair finds what was measured on the same day: an infant's weight for its
// length, and the body mass index of a day on which nobody wrote it down.
func (c child) pair(charts map[growth.Chart][]growthRow) {
	on := func(chart growth.Chart) map[string]growthRow {
		days := map[string]growthRow{}
		for _, r := range charts[chart] {
			if r.Why == "" && r.Age != nil {
				days[r.at.In(c.zone).Format(time.DateOnly)] = r
			}
		}
		return days
	}
	lengths := on(growth.InfantLength)
	for day, w := range on(growth.InfantWeight) {
		if l, ok := lengths[day]; ok {
			w.Value, w.Also, w.x = quantityText(w.number, "kg")+" / "+quantityText(l.number, "cm"), "", l.number
			charts[growth.WeightForLength] = append(charts[growth.WeightForLength], w)
		}
	}
	heights, known := on(growth.Height), on(growth.BMI)
	for day, w := range on(growth.Weight) {
		h, ok := heights[day]
		if _, have := known[day]; !ok || have || h.number <= 0 {
			continue
		}
		w.number /= h.number * h.number / 10_000
		w.Value, w.Also, w.From = trimZeros(w.number, 1)+" "+unit("", "kg/m2"), "", true
		charts[growth.BMI] = append(charts[growth.BMI], w)
	}
}

// rank compares a measurement and says where it is drawn.
func (c child) rank(chart growth.Chart, r *growthRow, undated bool) {
	switch {
	case r.Why != "":
		return
	case undated:
		r.x = seconds(r.at)
	case chart != growth.WeightForLength:
		r.x = r.months
		if early := growth.Correction(c.weeks); early > 0 && r.months < growth.Standing {
			r.x, r.Early = r.x-early, true
		}
	}
	table := c.growth.Table(chart, c.sex)
	if table == nil || undated {
		if r.drawn = sizes[chart].holds(r.number) && (undated || r.x >= 0); !r.drawn {
			r.Why = "size"
		}
		return
	}
	lms, ok := table.At(r.x)
	switch {
	case !ok:
		r.Why = "ages"
	case !lms.Plausible(r.number):
		r.Why = "size"
	default:
		z := lms.Z(r.number)
		r.Rank, r.drawn = &rank{Percentile: growth.Percentile(z), Z: z, bmi: chart == growth.BMI}, true
		if p95 := lms.Value(growth.ZOf(95)); chart == growth.BMI && r.number > p95 {
			r.Rank.Over = int(math.Round(r.number / p95 * 100))
		}
	}
}

// sizes are what can be measured at all, for when there is no table to ask.
var sizes = map[growth.Chart]ends{
	growth.InfantWeight: {0.2, 40}, growth.InfantLength: {15, 130}, growth.Head: {10, 80}, growth.WeightForLength: {0.2, 60},
	growth.Weight: {0.2, 400}, growth.Height: {15, 260}, growth.BMI: {5, 120},
}

func (e ends) holds(v float64) bool { return v >= e.low && v <= e.high }

// ageOf counts an age, nil before birth.
func ageOf(born, day time.Time) *childAge {
	if growth.Months(born, day) < 0 {
		return nil
	}
	_, months := ageAt(born, day)
	if months < 2 {
		return &childAge{Days: int(math.Round(growth.Months(born, day) * growth.DaysPerMonth))}
	}
	return &childAge{Years: months / 12, Months: months % 12}
}
