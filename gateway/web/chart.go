package web

import (
	"math"
	"slices"
	"strings"
	"time"
)

// A point is a result that can be drawn.
type point struct {
	at        time.Time
	values    []float64 // one, or systolic and diastolic
	low, high float64   // the range that is usual; infinite where it is open
	from      observation
}

// trendOf draws the results that have a number and a date and the unit of the
// latest one; with fewer than three there is no trend to see. The results come
// latest first.
func (w words) trendOf(list []observation) *plot {
	var points []point
	unit, found := "", false
	for _, o := range list {
		values, u := o.numbers()
		t, precision := w.parse(o.When())
		if len(values) == 0 || precision == "" {
			continue
		}
		if !found {
			unit, found = u, true
		}
		if u == unit && (len(points) == 0 || len(points[0].values) == len(values)) {
			low, high := o.bounds()
			points = append(points, point{t, values, low, high, o})
		}
	}
	if len(points) < 3 {
		return nil
	}
	slices.SortStableFunc(points, func(a, b point) int { return a.at.Compare(b.at) })
	return drawTrend(points)
}

// numbers gives what can be drawn of a result, and its unit: one number, or the
// two of a blood pressure.
func (o observation) numbers() (values []float64, unit string) {
	if v, ok := o.number(); ok {
		return drawableOf(v), o.Quantity.ucum()
	}
	for _, c := range o.ordered() {
		if c.Quantity == nil || !c.code.has("8480-6") && !c.code.has("8462-4") { // LOINC: systolic, diastolic
			return nil, ""
		}
		v, err := c.Quantity.Value.Float64()
		if err != nil || math.Abs(v) >= drawable || unit != "" && unit != c.Quantity.ucum() {
			return nil, ""
		}
		values, unit = append(values, v), c.Quantity.ucum()
	}
	if len(values) != 2 {
		return nil, ""
	}
	return values, unit
}

func drawableOf(v float64) []float64 {
	if math.Abs(v) < drawable {
		return []float64{v}
	}
	return nil
}

func drawTrend(points []point) *plot {
	first, last := points[0].at, points[len(points)-1].at
	span := noEnds()
	for _, p := range points {
		for _, v := range append(slices.Clone(p.values), p.low, p.high) {
			span.add(v)
		}
	}
	a := axes{x: axis{seconds(first), seconds(last)}}
	if a.x.low == a.x.high {
		a.x.low, a.x.high = a.x.low-1, a.x.high+1
	}
	var at []float64
	a.y, at = span.round(5)
	out := &plot{Y: a.valueTicks(at), X: a.timeTicks(first, last), Areas: bands(a, points), Lines: make([]string, len(points[0].values))}
	if q := points[0].from.Quantity; q != nil {
		out.Unit = q.unit()
	} else {
		out.Unit = points[0].from.Component[0].Quantity.unit()
	}
	for line := range out.Lines {
		var path strings.Builder
		for i, p := range points {
			a.point(&path, pathCommand(i), seconds(p.at), p.values[line])
		}
		out.Lines[line] = path.String()
	}
	for _, p := range points {
		flag := p.from.Flag()
		for line, v := range p.values {
			m := mark{Shape: shapes[flag], Value: p.from.Value(), When: p.from.When(), Flag: flag}
			if line > 0 {
				m.Shape = "second"
			}
			m.X, m.Y = a.percent(seconds(p.at), v)
			out.Marks = append(out.Marks, m)
		}
		if shape := shapes[flag]; shape != "" && !slices.Contains(out.Flags, shape) {
			out.Flags = append(out.Flags, shape)
		}
	}
	return out
}

// shapes are the marks of results beyond what is usual: the shape says it to
// those who do not see the colour.
var shapes = map[string]string{"H": "high", "HH": "high", "L": "low", "LL": "low", "A": "odd", "AA": "odd"}

func pathCommand(i int) byte {
	if i == 0 {
		return 'M'
	}
	return 'L'
}

// bands shades the range that was usual, as each result came with it: from
// halfway to the result before, to halfway to the one after.
func bands(a axes, points []point) []string {
	var list []string
	for i := 0; i < len(points); {
		p, end := points[i], i+1
		for end < len(points) && points[end].low == p.low && points[end].high == p.high {
			end++
		}
		from, to := a.x.low, a.x.high
		if i > 0 {
			from = (seconds(points[i-1].at) + seconds(p.at)) / 2
		}
		if end < len(points) {
			to = (seconds(points[end-1].at) + seconds(points[end].at)) / 2
		}
		if !math.IsInf(p.low, -1) || !math.IsInf(p.high, 1) {
			list = append(list, box(a, from, to, p.low, p.high))
		}
		i = end
	}
	return list
}

func box(a axes, from, to, low, high float64) string {
	var b strings.Builder
	a.point(&b, 'M', from, high)
	b.WriteString("H" + boxed(a.x.part(to)) + "V" + boxed(1-a.y.part(low)) + "H" + boxed(a.x.part(from)) + "Z")
	return b.String()
}
