package search

import (
	_ "embed"
	"fmt"
	"math/big"
	"strings"
)

//go:embed units.tsv
var unitsTSV string

// units are the UCUM units that can be compared with others of the same measure.
// They are a table, not UCUM: what is not in it, alone or as one unit divided by
// others, is compared as written.
type units map[string]unit

// A unit is so many of its measure's: above a fraction bar, and below.
type unit struct {
	measure string
	factor  decimal
	per     decimal // digits are empty when there is no exact one
}

func readUnits(tsv string) (units, error) {
	all := units{}
	for row := range rows(tsv) {
		if len(row) < 3 {
			return nil, fmt.Errorf("search: unit of %d columns", len(row))
		}
		factor, ok := parseDecimal(row[2])
		if !ok {
			return nil, fmt.Errorf("search: the unit %s is no number of %s", row[0], row[1])
		}
		u := unit{measure: row[1], factor: factor.short()}
		switch {
		case len(row) == 3 && u.factor.digits == "1":
			u.per = decimal{digits: "1", exponent: -u.factor.exponent}
		case len(row) == 3:
			return nil, fmt.Errorf("search: the unit %s has no exact inverse", row[0])
		case row[3] != "-":
			per, ok := parseDecimal(row[3])
			if !ok {
				return nil, fmt.Errorf("search: the unit %s divides by no number", row[0])
			}
			u.per = per.short()
		}
		all[row[0]] = u
	}
	return all, nil
}

// find gives the measure of a UCUM code and how many of it a unit is: mg/dL is
// 0.01 g/L. A remark in braces above the bar says nothing: {beats}/min is /min.
func (us units) find(code string) (measure string, factor decimal, ok bool) {
	above, rest, divided := strings.Cut(code, "/")
	if divided && (above == "" || above[0] == '{' && above[len(above)-1] == '}') {
		above = "1"
	}
	u, ok := us[above]
	if !ok {
		return "", decimal{}, false
	}
	measure, factor = u.measure, u.factor
	for divided {
		var below string
		below, rest, divided = strings.Cut(rest, "/")
		u, ok := us[below]
		if !ok || u.per.digits == "" {
			return "", decimal{}, false
		}
		measure += "/" + u.measure
		factor = factor.times(u.per)
	}
	return measure, factor, true
}

// short drops zeros at the end: 1000 is 1 and 3.
func (d decimal) short() decimal {
	digits := strings.TrimRight(d.digits, "0")
	return decimal{d.negative, digits, d.exponent + len(d.digits) - len(digits)}
}

// times multiplies, exactly, by what is above zero.
func (d decimal) times(f decimal) decimal {
	d.exponent += f.exponent
	if f.digits == "1" || d.digits == "" {
		return d
	}
	a, _ := new(big.Int).SetString(d.digits, 10)
	b, _ := new(big.Int).SetString(f.digits, 10)
	d.digits = a.Mul(a, b).String()
	return d
}
