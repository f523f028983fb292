package web

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"mypatients/gateway/growth"
)

// percentiles are the curves that are drawn; a body mass index is judged by
// others than a weight.
func percentiles(c growth.Chart) []float64 {
	if c == growth.BMI {
		return []float64{5, 10, 25, 50, 75, 85, 95}
	}
	return []float64{3, 10, 25, 50, 75, 90, 97}
}

// chart lays out the measurements of one kind, latest first.
func (c child) chart(code growth.Chart, rows []growthRow, view *growthView) growthChart {
	out := growthChart{Code: code, Rows: rows, By: "years"}
	switch {
	case view.Undated:
		out.By = "date"
	case code == growth.WeightForLength:
		out.By = "length"
	case slices.Contains(infantCharts, code):
		out.By = "months"
	}
	var drawn []growthRow
	for i := range rows {
		if !rows[i].drawn {
			continue
		}
		if out.Latest == nil {
			out.Latest = &rows[i]
		}
		drawn = append(drawn, rows[i])
	}
	if len(drawn) == 0 {
		return out
	}
	slices.Reverse(drawn)
	var table *growth.Table
	if view.Sex != "" {
		table = c.growth.Table(code, c.sex)
	}
	out.Plot = drawGrowth(out, drawn, table, view.Whole)
	return out
}

// drawGrowth draws measurements, earliest first, over the curves of a table if
// there is one.
func drawGrowth(c growthChart, rows []growthRow, table *growth.Table, whole bool) *plot {
	a := axes{x: c.across(rows, table, whole)}
	span := noEnds()
	for _, r := range rows {
		span.add(r.number)
	}
	list := percentiles(c.Code)
	if table != nil {
		for _, x := range samples(a.x, table) {
			lms, _ := table.At(x)
			span.add(lms.Value(growth.ZOf(list[0])))
			span.add(lms.Value(growth.ZOf(list[len(list)-1])))
		}
	}
	var at []float64
	a.y, at = span.round(7)
	p := &plot{Y: a.valueTicks(at), Unit: units[c.Code]}
	if c.By == "date" {
		p.X = a.timeTicks(rows[0].at, rows[len(rows)-1].at)
	} else {
		p.X = c.ageTicks(a)
	}
	if table != nil {
		p.curves(a, table, list)
	}
	sorted := slices.Clone(rows)
	if c.By == "length" {
		slices.SortStableFunc(sorted, func(a, b growthRow) int {
			if a.x < b.x {
				return -1
			}
			return 1
		})
	}
	var line strings.Builder
	for i, r := range sorted {
		a.point(&line, pathCommand(i), r.x, r.number)
	}
	p.Lines = []string{line.String()}
	for _, r := range rows {
		m := mark{Value: r.Value, When: r.When, Rank: r.Rank}
		m.X, m.Y = a.percent(r.x, r.number)
		p.Marks = append(p.Marks, m)
	}
	return p
}

var units = map[growth.Chart]string{
	growth.InfantWeight: "kg", growth.InfantLength: "cm", growth.Head: "cm", growth.WeightForLength: "kg", growth.Weight: "kg", growth.Height: "cm", growth.BMI: "kg/m²",
}

// across fits the horizontal axis to the measurements, or to the whole table:
// infants from birth to the next half year, older children from two years to
// the birthday after the next, lengths with five centimetres to spare.
func (c growthChart) across(rows []growthRow, table *growth.Table, whole bool) axis {
	e := noEnds()
	for _, r := range rows {
		e.add(r.x)
	}
	var first, last float64
	switch c.By {
	case "date":
		if e.low == e.high {
			return axis{e.low - 1, e.high + 1}
		}
		return axis(e)
	case "length":
		first, last = math.Floor(e.low/5-1)*5, math.Ceil(e.high/5+1)*5
	case "months":
		first, last = 0, math.Max(6, math.Ceil((e.high+0.5)/6)*6)
	default:
		first, last = 24, math.Max(48, math.Ceil(e.high/12+0.5)*12)
		if e.low > 8*12 {
			first = math.Floor(e.low/12-1) * 12
		}
	}
	if table == nil {
		return axis{first, last}
	}
	low, high := table.Limits()
	if c.By == "months" {
		high = math.Max(high, 36)
	}
	if c.By == "years" {
		high = 240
	}
	if whole {
		return axis{low, high}
	}
	return axis{math.Max(first, low), math.Min(last, high)}
}

// ageTicks marks months, years or centimetres.
func (c growthChart) ageTicks(a axes) []tick {
	unit, wish := 1.0, 8.0
	if c.By == "years" {
		unit = 12
	}
	step := math.Ceil((a.x.high - a.x.low) / unit / wish)
	switch {
	case c.By == "length":
		step = niceStep((a.x.high - a.x.low) / 7)
	case c.By == "months" && step > 1:
		step = math.Ceil(step/3) * 3
	}
	var list []tick
	for v := math.Ceil(a.x.low/unit/step) * step; v*unit <= a.x.high && len(list) < maxTicks; v += step {
		list = append(list, tick{At: percent(a.x.part(v * unit)), Text: strconv.Itoa(int(v))})
	}
	return list
}

// samples are where curves are worked out: closer together at the beginning,
// where children grow fastest.
func samples(x axis, table *growth.Table) []float64 {
	const count = 40
	low, high := table.Limits()
	low, high = math.Max(low, x.low), math.Min(high, x.high)
	list := make([]float64, count+1)
	for i := range list {
		part := float64(i) / count
		list[i] = low + (high-low)*part*(1+part)/2
	}
	list[count] = high
	return list
}

// curves draws the percentiles and shades what lies between the outermost and
// between the next two.
func (p *plot) curves(a axes, table *growth.Table, list []float64) {
	xs := samples(a.x, table)
	paths := make([][]float64, len(list))
	for i, percentile := range list {
		z := growth.ZOf(percentile)
		for _, x := range xs {
			lms, _ := table.At(x)
			paths[i] = append(paths[i], lms.Value(z))
		}
	}
	last := len(list) - 1
	p.Areas = []string{between(a, xs, paths[0], paths[last]), between(a, xs, paths[2], paths[last-2])}
	for i := last; i >= 0; i-- {
		var b strings.Builder
		for j, x := range xs {
			a.point(&b, pathCommand(j), x, paths[i][j])
		}
		p.Curves = append(p.Curves, curve{Path: b.String(), Mid: list[i] == 50})
	}
	p.nameCurves(a, paths, list)
}

// nameCurves writes the percentiles at the ends of the curves: the outermost and
// the median first, the others where there is room.
func (p *plot) nameCurves(a axes, paths [][]float64, list []float64) {
	const room = 0.036 // of the height: closer together, names would run into each other
	last := len(list) - 1
	var taken []float64
	for _, i := range append([]int{last, 0, slices.Index(list, 50)}, 1, 2, last-2, last-1) {
		at := 1 - a.y.part(paths[i][len(paths[i])-1])
		if slices.ContainsFunc(taken, func(other float64) bool { return math.Abs(at-other) < room }) {
			continue
		}
		taken = append(taken, at)
		c := &p.Curves[last-i]
		c.Name, c.At = trimZeros(list[i], 0), percent(at)
	}
}

// between closes two lines to an area.
func between(a axes, xs, low, high []float64) string {
	var b strings.Builder
	for i, x := range xs {
		a.point(&b, pathCommand(i), x, high[i])
	}
	for i := len(xs) - 1; i >= 0; i-- {
		a.point(&b, 'L', xs[i], low[i])
	}
	b.WriteByte('Z')
	return b.String()
}

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// signed writes a number with a minus as people print it.
func signed(v float64) string {
	s := fixed(v, 2)
	if rest, ok := strings.CutPrefix(s, "-"); ok && strings.Trim(rest, "0.") != "" {
		return "−" + rest
	}
	return strings.TrimPrefix(s, "-")
}
