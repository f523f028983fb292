package web

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An observation is a measurement or test result.
type observation struct {
	Status    string   `json:"status"`
	Code      codeable `json:"code"`
	Effective string   `json:"effectiveDateTime"`
	Period    period   `json:"effectivePeriod"`
	Issued    string   `json:"issued"`
	value
	Interpretation []codeable `json:"interpretation"`
	Range          []struct {
		Low  quantity `json:"low"`
		High quantity `json:"high"`
		Type codeable `json:"type"`
		Text string   `json:"text"`
	} `json:"referenceRange"`
	Component []struct {
		Code codeable `json:"code"`
		value
	} `json:"component"`
	Note []struct {
		Text string `json:"text"`
	} `json:"note"`
}

// A value is value[x] in the forms that results come in.
type value struct {
	Quantity *quantity `json:"valueQuantity"`
	Concept  *codeable `json:"valueCodeableConcept"`
	Text     string    `json:"valueString"`
	Integer  *int      `json:"valueInteger"`
	Boolean  *bool     `json:"valueBoolean"`
}

func (v value) String() string {
	switch {
	case v.Quantity != nil:
		return v.Quantity.String()
	case v.Concept != nil:
		return v.Concept.String()
	case v.Integer != nil:
		return strconv.Itoa(*v.Integer)
	case v.Boolean != nil && *v.Boolean:
		return "✓"
	}
	return v.Text
}

// Brief reports whether the result fits on a line and should not be broken.
func (o observation) Brief() bool { return utf8.RuneCountInString(o.Value()) <= 18 }

// When is the clinically relevant time.
func (o observation) When() string {
	return cmp.Or(o.Effective, o.Period.Start, o.Issued)
}

// Value writes the result; blood pressure and the like in the order of their
// components, "118 / 76 mmHg".
func (o observation) Value() string {
	if s := o.String(); s != "" {
		return s
	}
	var parts []string
	unit := ""
	for _, c := range o.ordered() {
		if c.Quantity == nil {
			parts = append(parts, c.value.String())
			continue
		}
		parts = append(parts, short(c.Quantity.Value))
		unit = " " + c.Quantity.unit()
	}
	return strings.TrimSpace(strings.Join(parts, " / ") + unit)
}

func (q quantity) unit() string { return unit(q.Unit, q.Code) }

type component struct {
	code codeable
	value
}

// ordered puts systolic before diastolic, as people say it.
func (o observation) ordered() []component {
	list := make([]component, 0, len(o.Component))
	for _, c := range o.Component {
		list = append(list, component{c.Code, c.value})
	}
	slices.SortStableFunc(list, func(a, b component) int {
		return cmp.Compare(boolInt(a.code.has("8462-4")), boolInt(b.code.has("8462-4"))) // LOINC: diastolic
	})
	return list
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Flag is the code of how a result stands to its range: H, L, HH, LL, A, AA; ""
// when nothing is to be said.
func (o observation) Flag() string {
	for _, i := range o.Interpretation {
		switch code := i.Code(); code {
		case "H", "L", "HH", "LL", "A", "AA":
			return code
		case "HU":
			return "HH"
		case "LU":
			return "LL"
		}
	}
	number, ok := o.number()
	low, high := o.bounds()
	switch {
	case !ok || len(o.Interpretation) > 0:
		return ""
	case number < low:
		return "L"
	case number > high:
		return "H"
	}
	return ""
}

// Reference writes the reference range.
func (o observation) Reference() string {
	for _, r := range o.Range {
		switch {
		case r.Text != "":
			return r.Text
		case r.Low.Value != "" && r.High.Value != "":
			return short(r.Low.Value) + " – " + r.High.String()
		case r.Low.Value != "":
			return "≥ " + r.Low.String()
		case r.High.Value != "":
			return "≤ " + r.High.String()
		}
	}
	return ""
}

func (o observation) number() (float64, bool) {
	if o.Quantity == nil {
		return 0, false
	}
	f, err := o.Quantity.Value.Float64()
	return f, err == nil && !math.IsInf(f, 0)
}

// bounds gives the reference range of healthy people; infinite where it is open.
// One that is turned round, or in another unit than the result, is none.
func (o observation) bounds() (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	for _, r := range o.Range {
		if r.Type.Code() != "" && !r.Type.has("normal") {
			continue
		}
		if f, ok := o.bound(r.Low); ok {
			low = f
		}
		if f, ok := o.bound(r.High); ok {
			high = f
		}
		if low > high {
			return math.Inf(-1), math.Inf(1)
		}
		break
	}
	return low, high
}

func (o observation) bound(q quantity) (float64, bool) {
	f, err := q.Value.Float64()
	other := o.Quantity != nil && q.ucum() != "" && o.Quantity.ucum() != "" && q.ucum() != o.Quantity.ucum() && q.Unit != o.Quantity.Unit
	return f, err == nil && math.Abs(f) < drawable && !other
}

// A series is one test over time, the latest result first.
type series struct {
	Code   string
	Name   string
	Latest observation
	All    []observation
	Chart  *plot // nil when there is nothing to draw
}

// Ranged reports whether any result came with the range that is usual.
func (s series) Ranged() bool {
	return slices.ContainsFunc(s.All, func(o observation) bool { return o.Reference() != "" })
}

// ranges reports whether any of several tests came with the range that is usual.
func ranges(all []series) bool { return slices.ContainsFunc(all, series.Ranged) }

// seriesOf groups results by test, in the order in which each first appears.
func (w words) seriesOf(list []observation) []series {
	var all []series
	index := map[string]int{}
	for _, o := range list {
		if o.Status == "entered-in-error" || o.Status == "cancelled" {
			continue
		}
		key := cmp.Or(o.Code.Code(), o.Code.String())
		i, ok := index[key]
		if !ok {
			i = len(all)
			index[key] = i
			all = append(all, series{Code: o.Code.Code(), Name: o.Code.String(), Latest: o})
		}
		all[i].All = append(all[i].All, o)
	}
	for i := range all {
		all[i].Chart = w.trendOf(all[i].All)
	}
	return all
}

// trimZeros writes a number with at most so many digits after the point.
func trimZeros(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// vitalOrder is the order in which people read measurements, by LOINC code:
// weight, height, length, BMI, blood pressure, heart rate, temperature, breathing
// rate, oxygen saturation twice. All others follow.
const vitalOrder = "29463-7 8302-2 8306-3 39156-5 85354-9 8867-4 8310-5 9279-1 2708-6 59408-5"

// vitalsOf leaves out measurements of more than two years ago, unless there are
// no others, and puts the rest in the order in which people read them.
func (w words) vitalsOf(all []series) []series {
	oldest := w.now().AddDate(-2, 0, 0)
	lately := slices.DeleteFunc(slices.Clone(all), func(s series) bool {
		t, precision := w.parse(s.Latest.When())
		return precision != "" && t.Before(oldest)
	})
	if len(lately) == 0 {
		lately = slices.Clone(all)
	}
	order := strings.Fields(vitalOrder)
	place := func(s series) int {
		if i := slices.Index(order, s.Code); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(lately, func(a, b series) int { return cmp.Compare(place(a), place(b)) })
	return lately
}
