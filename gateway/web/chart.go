package web

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A chart is a line over time, laid out for the drawing in templates/chart.html:
// coordinates are in the units of its view box.
type chart struct {
	Width, Height int
	Left, Right   int // of the plotted area
	Top, Bottom   int
	Line          string // points of the polyline
	Dots          []dot
	Band          *band // the reference range, as far as it is in sight
	Ticks         []tick
	Days          []tick // along the time axis
}

// A dot is one value; Label is its text.
type dot struct {
	X, Y  string
	At    time.Time
	Label string
}

type band struct{ Y, Height string }

type tick struct {
	At     string // coordinate
	Text   string
	Anchor string // of the text: start, end; "" is the middle
}

// Last is the latest value.
func (c *chart) Last() dot { return c.Dots[len(c.Dots)-1] }

// Span is the width of the plotted area.
func (c *chart) Span() int { return c.Right - c.Left }

// Label is where the texts of the value axis end.
func (c *chart) Label() int { return c.Left - 8 }

// Foot is the base line of the texts along the time axis.
func (c *chart) Foot() int { return c.Height - 10 }

// newChart lays out points in the order of time. The reference range is from low
// to high, infinite where it is open.
func newChart(points []point, low, high float64) *chart {
	c := &chart{Width: 640, Height: 200, Left: 48, Right: 624, Top: 12, Bottom: 168}
	first, last := points[0].At, points[len(points)-1].At
	bottom, top := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		bottom, top = math.Min(bottom, p.Value), math.Max(top, p.Value)
	}
	if !math.IsInf(low, 0) && !math.IsInf(high, 0) {
		bottom, top = math.Min(bottom, low), math.Max(top, high)
	}
	step := niceStep((top - bottom) / 4)
	bottom, top = math.Floor(bottom/step)*step, math.Ceil(top/step)*step
	if top <= bottom {
		top = bottom + step
	}
	x := func(t time.Time) float64 {
		span := last.Sub(first)
		if span <= 0 {
			return float64(c.Left+c.Right) / 2
		}
		return float64(c.Left) + float64(t.Sub(first))/float64(span)*float64(c.Right-c.Left)
	}
	y := func(v float64) float64 {
		v = math.Max(bottom, math.Min(top, v))
		return float64(c.Bottom) - (v-bottom)/(top-bottom)*float64(c.Bottom-c.Top)
	}
	var line strings.Builder
	for _, p := range points {
		px, py := coordinate(x(p.At)), coordinate(y(p.Value))
		line.WriteString(px + "," + py + " ")
		c.Dots = append(c.Dots, dot{X: px, Y: py, At: p.At, Label: p.Label})
	}
	c.Line = strings.TrimSpace(line.String())
	if !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		upper, lower := y(high), y(low)
		c.Band = &band{Y: coordinate(upper), Height: coordinate(lower - upper)}
	}
	for i := 0; i <= int(math.Round((top-bottom)/step)); i++ {
		v := bottom + float64(i)*step
		c.Ticks = append(c.Ticks, tick{At: coordinate(y(v)), Text: trimZeros(v, 3)})
	}
	c.Days = days(first, last, x)
	return c
}

// days marks the years along the time axis, or its two ends when it is short.
func days(first, last time.Time, x func(time.Time) float64) []tick {
	years := last.Year() - first.Year()
	if years < 2 {
		return []tick{{coordinate(x(first)), first.Format("Jan 2006"), "start"}, {coordinate(x(last)), last.Format("Jan 2006"), "end"}}
	}
	every := 1 + years/8
	var marks []tick
	for year := first.Year() + 1; year <= last.Year(); year += every {
		at := time.Date(year, 1, 1, 0, 0, 0, 0, first.Location())
		marks = append(marks, tick{At: coordinate(x(at)), Text: strconv.Itoa(year)})
	}
	return marks
}

// niceStep rounds a distance between ticks up to 1, 2 or 5 times a power of ten.
func niceStep(raw float64) float64 {
	if raw <= 0 || math.IsNaN(raw) || math.IsInf(raw, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw {
			return m * power
		}
	}
	return 10 * power
}

// coordinate writes a number for an SVG attribute.
func coordinate(f float64) string { return trimZeros(f, 1) }
