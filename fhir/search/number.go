package search

import (
	"math/big"
	"strings"

	"mypatients/fhir/store"
)

// maxDigits bounds the digits of a number that are looked at.
const maxDigits = 60

// A decimal is digits × 10^exponent, as a text says it: "6.30" is 630 and -2.
type decimal struct {
	negative bool
	digits   string // without leading zeros; empty: zero
	exponent int
}

var unity = decimal{digits: "1"}

// parseDecimal reads a decimal as JSON and FHIR write them.
func parseDecimal(s string) (decimal, bool) {
	var d decimal
	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		d.negative = rest[0] == '-'
		rest = rest[1:]
	}
	whole := leadingDigits(rest)
	rest = rest[len(whole):]
	fraction := ""
	if rest != "" && rest[0] == '.' {
		fraction = leadingDigits(rest[1:])
		rest = rest[1+len(fraction):]
		if fraction == "" {
			return d, false
		}
	}
	if whole == "" || len(whole)+len(fraction) > 1000 {
		return d, false
	}
	d.exponent = -len(fraction)
	if rest != "" {
		e, ok := parseExponent(rest)
		if !ok {
			return d, false
		}
		d.exponent += e
	}
	d.digits = strings.TrimLeft(whole+fraction, "0")
	if over := len(d.digits) - maxDigits; over > 0 {
		d.digits = d.digits[:maxDigits]
		d.exponent += over
	}
	return d, true
}

func leadingDigits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

// parseExponent reads "e-3" and the like.
func parseExponent(s string) (int, bool) {
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	s = s[1:]
	negative := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		s = s[1:]
	}
	if s == "" || len(s) > 4 || leadingDigits(s) != s {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// encode writes the value so that texts sort as values do: a sign, the power of
// ten, the digits. It begins with '-', '0' or '1'.
func (d decimal) encode() string {
	digitsOnly := strings.TrimRight(d.digits, "0")
	if digitsOnly == "" {
		return "0"
	}
	power := min(max(len(d.digits)+d.exponent+2048, 0), 4095)
	if !d.negative {
		return string([]byte{'1', digits[power>>6], digits[power&63]}) + digitsOnly
	}
	power = 4095 - power
	b := append(make([]byte, 0, len(digitsOnly)+4), '-', digits[power>>6], digits[power&63])
	for i := range len(digitsOnly) {
		b = append(b, '0'+'9'-digitsOnly[i])
	}
	return string(append(b, '~'))
}

// encodeDecimal encodes the text of a number; what is none gives "".
func encodeDecimal(s string) string {
	d, ok := parseDecimal(s)
	if !ok {
		return ""
	}
	return d.encode()
}

// around gives the value less and plus a share of it: half a unit of the last
// digit, or a tenth of the value.
func (d decimal) around(tenth bool) (low, high decimal) {
	n := new(big.Int)
	if d.digits != "" {
		n.SetString(d.digits, 10)
	}
	margin := big.NewInt(5)
	if tenth {
		margin.Set(n)
	}
	if d.negative {
		n.Neg(n)
	}
	n.Mul(n, big.NewInt(10))
	return fromInt(new(big.Int).Sub(n, margin), d.exponent-1), fromInt(new(big.Int).Add(n, margin), d.exponent-1)
}

func fromInt(n *big.Int, exponent int) decimal {
	d := decimal{negative: n.Sign() < 0, exponent: exponent}
	if n.Sign() != 0 {
		d.digits = new(big.Int).Abs(n).String()
	}
	return d
}

// A numberRange is a stretch of encoded numbers, the end excluded.
type numberRange struct{ from, to string }

// above is greater than every encoded number, below smaller than every one.
const (
	aboveNumbers = "2"
	belowNumbers = "-"
)

// next is greater than an encoded number and not greater than any other that is:
// no encoded number continues with '!'.
func next(encoded string) string { return encoded + "!" }

// numberRanges gives the encoded numbers that a value with a prefix asks for.
// Without a prefix, and with ne, the value stands for all that round to it; with
// the others it is exact (https://hl7.org/fhir/R4/search.html#number).
// factor turns the value, and what it stands for, into those of another unit.
func numberRanges(prefix, text string, factor decimal) ([]numberRange, error) {
	d, ok := parseDecimal(text)
	if !ok {
		return nil, badValue("%q is not a number", text)
	}
	exact := d.times(factor).encode()
	low, high := d.around(prefix == "ap")
	low, high = low.times(factor), high.times(factor)
	switch prefix {
	case "eq":
		return []numberRange{{low.encode(), high.encode()}}, nil
	case "ap":
		return []numberRange{{low.encode(), next(high.encode())}}, nil
	case "ne":
		return []numberRange{{belowNumbers, low.encode()}, {high.encode(), aboveNumbers}}, nil
	case "gt", "sa":
		return []numberRange{{next(exact), aboveNumbers}}, nil
	case "lt", "eb":
		return []numberRange{{belowNumbers, exact}}, nil
	case "ge":
		return []numberRange{{exact, aboveNumbers}}, nil
	default: // le
		return []numberRange{{belowNumbers, next(exact)}}, nil
	}
}

// inRanges is the condition that a value under a name is head and a number of one
// of the ranges.
func inRanges(name, head string, ranges []numberRange) store.Expr {
	var any store.Or
	for _, r := range ranges {
		any = append(any, store.Range{Name: name, From: head + r.from, To: head + r.to})
	}
	return anyOf(any)
}

// numberQuery is the condition of a number parameter.
func numberQuery(name, value string) (store.Expr, error) {
	prefix, text := cutPrefix(value)
	ranges, err := numberRanges(prefix, text, unity)
	if err != nil {
		return nil, err
	}
	return inRanges(name, "", ranges), nil
}
