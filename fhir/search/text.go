package search

import (
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"mypatients/fhir/store"
)

const (
	maxText  = 400 // bytes of a folded text that are indexed
	maxExact = 64  // bytes of a text kept as it is, for :exact; longer ones are hashed
	maxValue = 250 // bytes of a code, URI or reference kept as it is
)

// clean takes out control characters: the layout of terms needs them.
func clean(s string) string {
	for i := range len(s) {
		if s[i] < ' ' {
			return strings.Map(func(r rune) rune {
				if r < ' ' {
					return ' '
				}
				return r
			}, s)
		}
	}
	return s
}

// systemForm writes the system of a code or unit, in which a bar would be taken for
// the end of it. A URI has none.
func systemForm(s string) string { return strings.ReplaceAll(clean(s), "|", "%7C") }

// bound shortens a value that is too long for a term to its beginning and a hash.
func bound(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return cutText(s, maxValue-40) + "\x01" + hash(s)
}

// hash gives 30 capital letters: no folded text holds any, so a search inside
// texts never matches a hash.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	b := make([]byte, 0, 30)
	for _, c := range sum[:15] {
		b = append(b, 'A'+c>>4, 'A'+c&15)
	}
	return string(b)
}

// cutText cuts a text to so many bytes, between characters.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fold brings a text to the form in which texts are compared: lower case, without
// accents, blanks as one space (https://hl7.org/fhir/R4/search.html#string). Of a
// text that is nothing but accents, they stay.
func fold(s string) string {
	plain := true
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' || c < ' ' || c == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	folded := s
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			folded = foldUnicode(s)
			break
		}
	}
	if folded = strings.Join(strings.Fields(strings.ToLower(clean(folded))), " "); folded == "" {
		return strings.Join(strings.Fields(clean(s)), " ")
	}
	return folded
}

func foldUnicode(s string) string {
	s = norm.NFKD.String(cases.Fold().String(strings.ToValidUTF8(s, "")))
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s)
}

// stringTerm writes a text: folded, and as it is where that differs.
func stringTerm(s string) string {
	folded := fold(s)
	exact := clean(s)
	if folded == "" {
		return ""
	}
	if len(folded) > maxText || len(exact) > maxExact && exact != folded {
		return cutText(folded, maxText) + "\x01" + hash(exact)
	}
	if exact == folded {
		exact = ""
	}
	return folded + "\x01" + exact
}

// The parts of a HumanName and of an Address that a string parameter looks at.
var textParts = []string{"text", "family", "given", "prefix", "suffix",
	"line", "city", "district", "state", "postalCode", "country"}

// texts gives the texts of an element: itself, or the parts of a name or address.
func texts(item any, yield func(string)) {
	switch v := item.(type) {
	case string:
		yield(v)
	case map[string]any:
		for _, part := range textParts {
			spread(v[part], func(s any) bool {
				if s, ok := s.(string); ok {
					yield(s)
				}
				return true
			})
		}
	}
}

// stringQuery is the condition of a string parameter.
func stringQuery(name, modifier, value string) (store.Expr, error) {
	folded := fold(value)
	if folded == "" {
		return nil, badValue("a text is missing")
	}
	if modifier == "exact" {
		return store.Equal{Name: name, Value: stringTerm(value)}, nil
	}
	if len(folded) > maxText {
		return nil, badValue("the text is longer than %d bytes", maxText)
	}
	if modifier == "contains" {
		return store.Contains{Name: name, Part: folded}, nil
	}
	return store.Prefix{Name: name, Prefix: folded}, nil
}
