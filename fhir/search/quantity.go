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
func quantityForms(item any, yield func(number, unit string)) {
	if n, ok := item.(json.Number); ok {
		numberForm(n, nil, yield)
		return
	}
	m, ok := item.(map[string]any)
	if !ok {
		return
	}
	if n, ok := m["value"].(json.Number); ok {
		numberForm(n, m, yield)
		return
	}
	for _, end := range []string{"low", "high"} {
		if q, ok := m[end].(map[string]any); ok {
			if n, ok := q["value"].(json.Number); ok {
				numberForm(n, q, yield)
			}
		}
	}
	if origin, ok := m["origin"].(map[string]any); ok {
		for _, end := range []string{"lowerLimit", "upperLimit"} {
			if n, ok := m[end].(json.Number); ok {
				numberForm(n, origin, yield)
			}
		}
	}
}

// numberForm gives the forms of one number with the unit of a quantity.
func numberForm(n json.Number, quantity map[string]any, yield func(number, unit string)) {
	number := encodeDecimal(string(n))
	if number == "" {
		return
	}
	yield(number, "")
	system, _ := quantity["system"].(string)
	code, _ := quantity["code"].(string)
	unit, _ := quantity["unit"].(string)
	if currency, ok := quantity["currency"].(string); ok {
		system, code = currencies, currency
	}
	switch {
	case code != "" && system == ucum:
		yield(number, unitHead('u', "", code))
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

// unitHead writes the unit before a number: u a UCUM code, o any other code or the
// unit as people read it, s a code with its system.
func unitHead(kind byte, system, code string) string {
	if kind == 's' {
		code = clean(system) + "|" + clean(code)
	} else {
		code = clean(code)
	}
	return string(kind) + bound(code) + "\x01"
}

// A quantityValue is what a query asks for: ranges of numbers behind any of some
// units.
type quantityValue struct {
	heads  []string // empty: whatever the unit
	ranges []numberRange
}

// readQuantity reads "5.4", "5.4|system|code" and "5.4||code"; v is still escaped.
func readQuantity(v string) (quantityValue, error) {
	parts := splitEscaped(v, '|')
	for i := range parts {
		parts[i] = unescape(parts[i])
	}
	prefix, text := cutPrefix(parts[0])
	ranges, err := numberRanges(prefix, text)
	if err != nil {
		return quantityValue{}, err
	}
	q := quantityValue{ranges: ranges}
	switch {
	case len(parts) == 1:
	case len(parts) != 3 || parts[2] == "":
		return q, badValue("%q is not of the form number|system|code", strings.Join(parts, "|"))
	case parts[1] == "":
		q.heads = []string{unitHead('u', "", parts[2]), unitHead('o', "", parts[2])}
	case parts[1] == ucum:
		q.heads = []string{unitHead('u', "", parts[2])}
	default:
		q.heads = []string{unitHead('s', parts[1], parts[2])}
	}
	return q, nil
}

// quantityQuery is the condition of a quantity parameter.
func quantityQuery(names termNames, value string) (store.Expr, error) {
	q, err := readQuantity(value)
	if err != nil {
		return nil, err
	}
	if q.heads == nil {
		return inRanges(names.plain, "", q.ranges), nil
	}
	return q.behind(names.coded, ""), nil
}

// behind is the condition on values that begin with a head, where unit and number
// follow under one name.
func (q quantityValue) behind(name, head string) store.Expr {
	if q.heads == nil {
		return inRanges(name, head, q.ranges)
	}
	var any store.Or
	for _, unit := range q.heads {
		any = append(any, inRanges(name, head+unit, q.ranges))
	}
	return anyOf(any)
}
