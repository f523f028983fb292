package web_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// lab gives Sofia a laboratory result.
func (w *world) lab(name, when, value, more string) {
	w.t.Helper()
	w.measured++
	w.put(`{"resourceType":"Observation","id":"x%d","status":"final","category":[{"coding":[{"code":"laboratory"}]}],"code":{"text":%q},"subject":{"reference":"Patient/sofia"},
		"effectiveDateTime":%q,"valueQuantity":%s%s}`, w.measured, name, when, value, more)
}

// shapes gives the shapes of the marks of a drawing, and its shaded areas.
func (p *page) shapes(name string) (shapes, areas []string) {
	for n := range p.doc.Descendants() {
		if n.Type != html.ElementNode || attr(n, "data-plot") != name {
			continue
		}
		for m := range n.Descendants() {
			switch {
			case m.Data == "use":
				shapes = append(shapes, strings.TrimPrefix(attr(m, "href"), "#mark-"))
			case attr(m, "class") == "area":
				areas = append(areas, attr(m, "d"))
			}
		}
	}
	return shapes, areas
}

// Results beyond the range that came with them differ by shape and by a word; the
// range is drawn as it was at the time.
func TestResultCharts(t *testing.T) {
	w := newWorld(t)
	within := func(low, high string) string {
		return fmt.Sprintf(`,"referenceRange":[{"low":{"value":%s,"unit":"g/dL"},"high":{"value":%s,"unit":"g/dL"}}]`, low, high)
	}
	for i, c := range []struct{ value, more string }{
		{"10.1", within("11", "14")}, {"12", within("11", "14")}, {"14.5", within("11", "14")}, {"14.5", within("11.5", "15")}, {"13", within("11.5", "15")},
		{"13.5", `,"interpretation":[{"coding":[{"code":"A"}]}]`},
	} {
		w.lab("Hemoglobin", fmt.Sprintf("202%d-06-01", i), `{"value":`+c.value+`,"unit":"g/dL"}`, c.more)
	}
	w.lab("Hemoglobin", "2020-03", `{"value":130,"unit":"g/L"}`, "") // another unit
	_, p := w.as("adams", "/patients/sofia/results")
	p.shows(200, "usual range", "above it", "below it", "abnormal", "130 g/L")
	shapes, areas := p.shapes("Hemoglobin")
	if want := []string{"low", "dot", "high", "dot", "dot", "odd"}; !slices.Equal(shapes, want) {
		t.Errorf("shapes %q, want %q", shapes, want)
	}
	if len(areas) != 2 {
		t.Errorf("areas %q, want one for each range", areas)
	}
	names, marks := p.drawings()
	contains(t, names, "Hemoglobin: from 10.1 g/dL on 1 June 2020: low to 13.5 g/dL on 1 June 2025: abnormal. 6 values")
	contains(t, marks, "14.5 g/dL on 1 June 2022: high")
}

// Blood pressure is one drawing with two lines.
func TestBloodPressureChart(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.put(`{"resourceType":"Observation","id":"bp%d","status":"final","category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},"subject":{"reference":"Patient/sofia"},
			"effectiveDateTime":"202%d-05-05","component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":%d,"unit":"mm[Hg]"}},{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":%d,"unit":"mm[Hg]"}}]}`, i, i, 60+i, 98+i)
	}
	_, p := w.as("adams", "/patients/sofia/results")
	shapes, _ := p.shows(200, "100 / 62 mmHg", "upper value", "lower value").shapes("Blood pressure")
	if want := []string{"dot", "second", "dot", "second", "dot", "second"}; !slices.Equal(shapes, want) {
		t.Errorf("shapes %q, want %q", shapes, want)
	}
}

// Whatever numbers, ranges and dates a record holds, there is a page, of a
// bounded size, without what is no number.
func TestChartsOfOddResults(t *testing.T) {
	w := newWorld(t)
	series := map[string][]string{
		"huge": {"1e308", "-1e308", "1e307", "1", "2", "3"}, "all huge": {"1e300", "1e301", "1e302"}, "tiny": {"1e-300", "2e-300", "3e-300"}, "same": {"7", "7", "7"},
		"zero": {"0", "0", "0"}, "close": {"999999999999", "999999999998.9999", "999999999999"}, "wide": {"-999999999999", "0.0000001", "999999999999"},
	}
	ranges := []string{
		"", `,"referenceRange":[{"low":{"value":-1e308},"high":{"value":1e308}}]`, `,"referenceRange":[{"low":{"value":9},"high":{"value":1}}]`, `,"referenceRange":[{"high":{"value":5}}]`,
		`,"referenceRange":[{"low":{"value":5}}]`, `,"referenceRange":[{"text":"none"}]`,
	}
	for name, values := range series {
		for i, v := range values {
			w.lab(name, "2024-01-02", `{"value":`+v+`}`, ranges[i%len(ranges)])
			w.lab(name+" later", []string{"0001", "2024-02", "9999-12-31"}[i%3], `{"value":`+v+`}`, ranges[(i+1)%len(ranges)])
		}
	}
	_, p := w.as("adams", "/patients/sofia/results")
	p.shows(200, "huge", "tiny", "close")
	for _, bad := range []string{"NaN", "Inf", "Inf%", "e+"} {
		if strings.Contains(p.body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if len(p.body) > 150_000 {
		t.Errorf("%d bytes", len(p.body))
	}
	if names, _ := p.drawings(); len(names) < 10 {
		t.Errorf("only %d drawings: %q", len(names), names)
	}
	if shapes, _ := p.shapes("all huge"); len(shapes) > 0 {
		t.Errorf("numbers that nobody measures are drawn: %q", shapes)
	}
}

// A range that is turned round is none.
func TestTurnedRange(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.lab("Iron", fmt.Sprintf("2024-01-0%d", i+1), `{"value":7}`, `,"referenceRange":[{"low":{"value":9},"high":{"value":1}}]`)
	}
	_, p := w.as("adams", "/patients/sofia/results")
	if shapes, areas := p.shows(200).hides("Low", "High").shapes("Iron"); !slices.Equal(shapes, []string{"dot", "dot", "dot"}) || len(areas) > 0 {
		t.Errorf("shapes %q, areas %q", shapes, areas)
	}
}

// A result that is only known to be below or above says so.
func TestComparator(t *testing.T) {
	w := newWorld(t)
	w.lab("CRP", "2024-01-02", `{"value":0.5,"comparator":"<","unit":"mg/L"}`, "")
	_, p := w.as("adams", "/patients/sofia/results")
	p.shows(200, "< 0.5 mg/L")
}
