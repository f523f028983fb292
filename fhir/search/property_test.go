package search_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"mypatients/fhir"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// finds reports whether a query finds a resource.
func finds(t interface {
	Helper()
	Fatalf(string, ...any)
}, r *search.Registry, tree map[string]any, name, value string) bool {
	t.Helper()
	typ := fhir.Type(tree["resourceType"].(string))
	terms, err := r.Index(typ, tree, base)
	if err != nil {
		t.Fatalf("index: %v", err)
	}
	q, err := r.Parse(typ, url.Values{name: {value}}, search.Options{Base: base})
	if err != nil {
		t.Fatalf("%s=%s: %v", name, value, err)
	}
	ok, err := store.Eval(nil, &store.Version{Terms: store.NewTerms(terms)}, q.Plan(everything).Where)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return ok
}

// escape writes a value so that a query means it literally.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`).Replace(s)
}

// Every prefix on numbers agrees with exact arithmetic.
func TestNumbersAgreeWithArithmetic(t *testing.T) {
	r := registry(t)
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?([eE][-+]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		have, ask := number.Draw(t, "have"), number.Draw(t, "ask")
		if rapid.Bool().Draw(t, "near") {
			ask = have + "0"
			if !strings.Contains(have, ".") || strings.ContainsAny(have, "eE") {
				ask = have
			}
		}
		x, _ := new(big.Rat).SetString(have)
		y, _ := new(big.Rat).SetString(ask)
		low, high := rounding(ask, y)
		tree := map[string]any{"resourceType": "Observation", "valueQuantity": map[string]any{"value": json.Number(have)}}
		for prefix, want := range map[string]bool{
			"":   x.Cmp(low) >= 0 && x.Cmp(high) < 0,
			"eq": x.Cmp(low) >= 0 && x.Cmp(high) < 0,
			"ne": x.Cmp(low) < 0 || x.Cmp(high) >= 0,
			"gt": x.Cmp(y) > 0, "sa": x.Cmp(y) > 0,
			"lt": x.Cmp(y) < 0, "eb": x.Cmp(y) < 0,
			"ge": x.Cmp(y) >= 0,
			"le": x.Cmp(y) <= 0,
		} {
			if got := finds(t, r, tree, "value-quantity", prefix+ask); got != want {
				t.Fatalf("%s against %s%s: got %v, want %v", have, prefix, ask, got, want)
			}
		}
	})
}

// rounding gives the numbers that round to a text: half a unit of its last digit.
func rounding(text string, y *big.Rat) (low, high *big.Rat) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	power := 0
	if exponent != "" {
		power, _ = strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	}
	half, _ := new(big.Rat).SetString(fmt.Sprintf("5e%d", power-len(fraction)-1))
	return new(big.Rat).Sub(y, half), new(big.Rat).Add(y, half)
}

// A text is found by itself, by its beginning, by a part, and exactly.
func TestTextsFindThemselves(t *testing.T) {
	r := registry(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 60, 200).Draw(t, "text")
		tree := map[string]any{"resourceType": "Patient", "name": []any{map[string]any{"family": text}}, "identifier": []any{map[string]any{"system": text, "value": text}}}
		if strings.IndexByte(text, 0) >= 0 || strings.TrimFunc(text, func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) }) == "" {
			t.Skip()
		}
		for _, name := range []string{"family", "family:exact", "family:contains", "name", "identifier"} {
			if !finds(t, r, tree, name, escape(text)) {
				t.Fatalf("%q is not found by %s", text, name)
			}
		}
		if !finds(t, r, tree, "identifier", escape(text)+"|"+escape(text)) {
			t.Fatalf("%q is not found with its system", text)
		}
		if upper := strings.ToUpper(text); strings.EqualFold(upper, text) && !finds(t, r, tree, "family", escape(upper)) {
			t.Fatalf("%q is not found in capitals", text)
		}
	})
}

// Every prefix on dates agrees with the definition on intervals.
func TestDatesAgreeWithIntervals(t *testing.T) {
	r := registry(t)
	rapid.Check(t, func(t *rapid.T) {
		have, x0, x1 := drawDate(t, "have")
		ask, y0, y1 := drawDate(t, "ask")
		tree := map[string]any{"resourceType": "Observation", "effectiveDateTime": have}
		inside := !x0.Before(y0) && !x1.After(y1)
		for prefix, want := range map[string]bool{
			"": inside, "eq": inside, "ne": !inside,
			"gt": x1.After(y1), "lt": x0.Before(y0),
			"ge": x1.After(y1) || inside, "le": x0.Before(y0) || inside,
			"sa": !x0.Before(y1), "eb": !x1.After(y0),
			"ap": x0.Before(y1) && x1.After(y0),
		} {
			if got := finds(t, r, tree, "date", prefix+ask); got != want {
				t.Fatalf("%s against %s%s: got %v, want %v", have, prefix, ask, got, want)
			}
		}
	})
}

// drawDate gives a date of some precision and the time that it covers, the end
// excluded.
func drawDate(t *rapid.T, label string) (text string, from, to time.Time) {
	base := time.Date(rapid.IntRange(2019, 2021).Draw(t, label), time.Month(rapid.IntRange(1, 12).Draw(t, "month")),
		rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"),
		rapid.IntRange(0, 59).Draw(t, "second"), rapid.IntRange(0, 999).Draw(t, "millisecond")*1e6, time.UTC)
	zone := time.FixedZone("", rapid.IntRange(-12, 14).Draw(t, "zone")*3600)
	switch rapid.IntRange(0, 4).Draw(t, "precision") {
	case 0:
		from = time.Date(base.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		return from.Format("2006"), from, from.AddDate(1, 0, 0)
	case 1:
		from = time.Date(base.Year(), base.Month(), 1, 0, 0, 0, 0, time.UTC)
		return from.Format("2006-01"), from, from.AddDate(0, 1, 0)
	case 2:
		from = base.Truncate(24 * time.Hour)
		return from.Format(time.DateOnly), from, from.AddDate(0, 0, 1)
	case 3:
		from = base.Truncate(time.Second)
		return from.In(zone).Format(time.RFC3339), from, from.Add(time.Second)
	default:
		return base.In(zone).Format("2006-01-02T15:04:05.000Z07:00"), base, base.Add(time.Millisecond)
	}
}
