package search_test

import (
	"encoding/json"
	"math/big"
	"os"
	"strings"
	"testing"
)

// Every two units of one measure agree with exact arithmetic.
func TestUnitsAgreeWithArithmetic(t *testing.T) {
	r := registry(t)
	table, err := os.ReadFile("units.tsv")
	if err != nil {
		t.Fatal(err)
	}
	type unit struct {
		code, measure string
		factor        *big.Rat
	}
	var units []unit
	for line := range strings.Lines(string(table)) {
		if row := strings.Split(strings.TrimSpace(line), "\t"); line[0] != '#' {
			factor, ok := new(big.Rat).SetString(row[2])
			if !ok {
				t.Fatalf("%q", line)
			}
			units = append(units, unit{row[0], row[1], factor})
		}
	}
	holds := func(value *big.Rat, have, ask, query string) bool {
		tree := map[string]any{"resourceType": "Observation", "valueQuantity": map[string]any{
			"value": json.Number(value.FloatString(25)), "system": "http://unitsofmeasure.org", "code": have}}
		return finds(t, r, tree, "value-quantity", query+"|http://unitsofmeasure.org|"+ask)
	}
	for _, have := range units {
		for _, ask := range units {
			in := new(big.Rat).Quo(ask.factor, have.factor) // one of ask, in the unit of have
			seven := new(big.Rat).Mul(in, big.NewRat(7, 1))
			same := have.measure == ask.measure
			if exact, _ := new(big.Rat).SetString(seven.FloatString(25)); exact.Cmp(seven) == 0 {
				if got := holds(seven, have.code, ask.code, "ge7") && holds(seven, have.code, ask.code, "le7"); got != same {
					t.Errorf("7 %s in %s: got %v, want %v", ask.code, have.code, got, same)
				}
			}
			if more := new(big.Rat).Mul(seven, big.NewRat(11, 10)); same && holds(more, have.code, ask.code, "7.0") {
				t.Errorf("7.7 %s is 7.0 %s", have.code, ask.code)
			}
		}
	}
}
