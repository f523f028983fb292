package web

import (
	"slices"
	"strings"
)

// signCodes are the LOINC codes of vital signs in the order in which people read
// them: blood pressure twice, heart rate, breathing rate, temperature, oxygen
// saturation twice.
var signCodes = []string{"85354-9", "55284-4", "8867-4", "9279-1", "8310-5", "59408-5", "2708-6"}

// signsPage is what a page of older vital signs continues.
const signsPage = "Observation"

// signs reads the vital signs, those with a trend to draw first.
func (v *visit) signs(view *recordView) error {
	all, older, err := list[observation](v, "Observation", view.Patient.ID, "-date", maxResults,
		append(view.Filter.params("results"), "code", "http://loinc.org|"+strings.Join(signCodes, ",http://loinc.org|"))...)
	if err != nil {
		return err
	}
	view.Signs, view.OlderSigns = v.site.words.seriesOf(all), older
	place := func(s series) int {
		i := slices.Index(signCodes, s.Code)
		if s.Chart == nil {
			i += len(signCodes)
		}
		return i
	}
	slices.SortStableFunc(view.Signs, func(a, b series) int { return place(a) - place(b) })
	return nil
}
