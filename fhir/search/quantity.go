package search

import (
	"encoding/json"
	"strings"

	"mypatients/fhir/store"
)

// The system of UCUM units, by far the most frequent: it gets a short form.
const ucum = "http://unitsofmeasure.org"

const currencies = "urn:iso:std:iso:4217"

// quantityForms gives the forms of a Quantity, a Money, or of the ends of a Range
// or of SampledData: the bare number, and the number behind its unit.
func (us units) quantityForms(item any, yield func(number, unit string)) {
	if n, ok := item.(json.Number); ok {
		us.numberForm(n, nil, yield)
		return
	}
	m, ok := item.(map[string]any)
	if !ok {
		return
	}
	if n, ok := m["value"].(json.Number); ok {
		us.numberForm(n, m, yield)
		return
	}
	for _, end := range []string{"low", "high"} {
		if q, ok := m[end].(map[string]any); ok {
			if n, ok := q["value"].(json.Number); ok {
				us.numberForm(n, q, yield)
			}
		}
	}
	if origin, ok := m["origin"].(map[string]any); ok {
		for _, end := range []string{"lowerLimit", "upperLimit"} {
			if n, ok := m[end].(json.Number); ok {
				us.numberForm(n, origin, yield)
			}
		}
	}
}

// numberForm gives the forms of one number with the unit of a quantity.
func (us units) numberForm(n json.Number, quantity map[string]any, yield func(number, unit string)) {
	value, ok := parseDecimal(string(n))
	if !ok {
		return
	}
	number := value.encode()
	yield(number, "")
	system, _ := quantity["system"].(string)
	code, _ := quantity["code"].(string)
	unit, _ := quantity["unit"].(string)
	if currency, ok := quantity["currency"].(string); ok {
		system, code = currencies, currency
	}
	switch {
	case code != "" && system == ucum:
		if measure, factor, ok := us.find(code); ok {
			yield(value.times(factor).encode(), unitHead('c', "", measure))
		} else {
			yield(number, unitHead('u', "", code))
		}
	case code != "":
		yield(number, unitHead('o', "", code))
		if system != "" {
			yield(number, unitHead('s', system, code))
		}
	}
	if unit != "" && unit != code {
		yield(number, unitHead('o', "", unit))
	}
}

// unitHead writes the unit before a number: c the measure of a UCUM unit, u any
// other UCUM code, o a code of no UCUM unit or the unit as people read it, s a code
// with its system.
func unitHead(kind byte, system, code string) string {
	if kind == 's' {
		code = systemForm(system) + "|" + clean(code)
	} else {
		code = clean(code)
	}
	return string(kind) + bound(code) + "\x01"
}

// A quantityValue is what a query asks for: numbers, behind any of some units.
type quantityValue []unitRanges

// unitRanges are ranges of numbers behind a unit; without one, whatever the unit.
type unitRanges struct {
	head   string
	ranges []numberRange
}

// readQuantity reads "5.4", "5.4|system|code" and "5.4||code"; v is still escaped.
func (us units) readQuantity(v string) (quantityValue, error) {
	parts := splitEscaped(v, '|')
	for i := range parts {
		parts[i] = unescape(parts[i])
	}
	prefix, text := cutPrefix(parts[0])
	ranges, err := numberRanges(prefix, text, unity)
	if err != nil {
		return nil, err
	}
	switch {
	case len(parts) == 1:
		return quantityValue{{"", ranges}}, nil
	case len(parts) != 3 || parts[2] == "":
		return nil, badValue("%q is not of the form number|system|code", strings.Join(parts, "|"))
	case parts[1] != "" && parts[1] != ucum:
		return quantityValue{{unitHead('s', parts[1], parts[2]), ranges}}, nil
	}
	in := unitRanges{unitHead('u', "", parts[2]), ranges}
	if measure, factor, ok := us.find(parts[2]); ok {
		in.head = unitHead('c', "", measure)
		if in.ranges, err = numberRanges(prefix, text, factor); err != nil {
			return nil, err
		}
	}
	if parts[1] == ucum {
		return quantityValue{in}, nil
	}
	return quantityValue{in, {unitHead('o', "", parts[2]), ranges}}, nil
}

// quantityQuery is the condition of a quantity parameter.
func (us units) quantityQuery(names termNames, value string) (store.Expr, error) {
	q, err := us.readQuantity(value)
	if err != nil {
		return nil, err
	}
	if q[0].head == "" {
		return q.behind(names.plain, ""), nil
	}
	return q.behind(names.coded, ""), nil
}

// behind is the condition on values that begin with a head, where unit and number
// follow under one name.
func (q quantityValue) behind(name, head string) store.Expr {
	var any store.Or
	for _, u := range q {
		any = append(any, inRanges(name, head+u.head, u.ranges))
	}
	return anyOf(any)
}
