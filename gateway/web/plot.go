package web

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A plot is a drawing of values, laid out for templates/chart.html. It has no
// size of its own: marks and texts stand at percentages of the plotted area, and
// paths are in a box that the page stretches over it, so that lines are as
// thick, and words as large, on a phone as on a wall.
type plot struct {
	Areas  []string // paths: where values usually are
	Curves []curve
	Lines  []string // paths through the marks
	Marks  []mark
	X, Y   []tick
	Unit   string   // of the vertical axis
	Flags  []string // the shapes of marks that need to be explained
}

// A curve is one that others' values follow.
type curve struct {
	Path string
	Name string // at its right end; "" where there is no room
	At   string
	Mid  bool // the median
}

// A mark is one value. What it says is put together in the templates.
type mark struct {
	X, Y  string
	Shape string // high, low, odd, second; "" is a dot
	Value string
	When  string // as it was recorded
	Flag  string
	Rank  *rank
}

// A tick is a place on an axis, with a text or with a date.
type tick struct {
	At     string
	Text   string
	Date   string // as FHIR writes it
	Anchor string // of the text: start, end; "" is the middle
}

// Last is the latest value.
func (p *plot) Last() mark { return p.Marks[len(p.Marks)-1] }

// First is the earliest value.
func (p *plot) First() mark { return p.Marks[0] }

// Second reports whether there are two lines.
func (p *plot) Second() bool { return len(p.Lines) > 1 }

// pathBox is the width and the height of the box that paths are in.
const pathBox = 4000

// drawable is what a value must be smaller than to have a place on a chart;
// nothing that is measured of people is as large.
const drawable = 1e12

// An axis is what part of the numbers is in sight.
type axis struct{ low, high float64 }

// part tells where a number is, 0 to 1; outside it is at the edge.
func (a axis) part(v float64) float64 { return max(0, min(1, (v-a.low)/(a.high-a.low))) }

// The axes of a drawing turn values into coordinates.
type axes struct{ x, y axis }

func (a axes) percent(x, y float64) (string, string) {
	return percent(a.x.part(x)), percent(1 - a.y.part(y))
}

// point writes a point of a path.
func (a axes) point(b *strings.Builder, command byte, x, y float64) {
	b.WriteByte(command)
	b.WriteString(boxed(a.x.part(x)))
	b.WriteByte(' ')
	b.WriteString(boxed(1 - a.y.part(y)))
}

func boxed(part float64) string { return strconv.Itoa(int(math.Round(part * pathBox))) }

func percent(part float64) string { return trimZeros(part*100, 1) + "%" }

// The ends of some numbers are the least and the greatest of them.
type ends struct{ low, high float64 }

func noEnds() ends { return ends{math.Inf(1), math.Inf(-1)} }

func (e *ends) add(v float64) {
	if math.Abs(v) < drawable { // and a number
		e.low, e.high = min(e.low, v), max(e.high, v)
	}
}

// maxTicks bounds the ticks of an axis, whatever the numbers are.
const maxTicks = 24

// round widens the ends to round numbers and marks about so many of them.
func (e ends) round(wish int) (axis, []float64) {
	step := niceStep((e.high - e.low) / float64(wish))
	low, high := math.Floor(e.low/step)*step, math.Ceil(e.high/step)*step
	if high-low < step/2 {
		low, high = low-step, high+step
	}
	var at []float64
	for i := range min(maxTicks, int(math.Round((high-low)/step))+1) {
		at = append(at, low+float64(i)*step)
	}
	return axis{low, high}, at
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

// valueTicks writes the ticks of the vertical axis.
func (a axes) valueTicks(at []float64) []tick {
	var list []tick
	for _, v := range at {
		list = append(list, tick{At: percent(1 - a.y.part(v)), Text: strings.ReplaceAll(trimZeros(v, 6), "-", "−")})
	}
	return list
}

// timeTicks marks the years along a time axis, or its two ends when it is short.
func (a axes) timeTicks(first, last time.Time) []tick {
	if first.Format(time.DateOnly) == last.Format(time.DateOnly) {
		return []tick{{At: "50%", Date: first.Format(time.DateOnly)}}
	}
	years := last.Year() - first.Year()
	if years < 2 {
		return []tick{{At: "0%", Date: first.Format(time.DateOnly), Anchor: "start"}, {At: "100%", Date: last.Format(time.DateOnly), Anchor: "end"}}
	}
	every := 1 + years/6
	var list []tick
	for year := first.Year() + 1; year <= last.Year() && len(list) < maxTicks; year += every {
		at := time.Date(year, 1, 1, 0, 0, 0, 0, first.Location())
		list = append(list, tick{At: percent(a.x.part(seconds(at))), Text: strconv.Itoa(year)})
	}
	return list
}

// seconds is a time as a number for an axis.
func seconds(t time.Time) float64 { return float64(t.Unix()) }
