package lang

import (
	"golang.org/x/text/language"
)

// A Language is one that the pages and mails are written in, as a BCP 47 tag.
type Language string

// The languages. English is the source of all others.
const (
	English Language = "en"
	Spanish Language = "es"
)

// All lists the languages, the one for people of whom nothing is known first.
func All() []Language { return []Language{English, Spanish} }

// Parse reads the tag of one of the languages, exactly; anything else is none.
func Parse(tag string) (Language, bool) {
	for _, l := range All() {
		if tag == string(l) {
			return l, true
		}
	}
	return "", false
}

// Name is the language's name in itself.
func (l Language) Name() string {
	if l == Spanish {
		return "Español"
	}
	return "English"
}

// Match gives the language that serves best whoever sends an Accept-Language
// header (RFC 9110 section 12.5.4); English when there is none, none that we have,
// or one that cannot be read.
func Match(acceptLanguage string) Language {
	if len(acceptLanguage) > maxHeader {
		return English
	}
	wanted, weights, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		return English
	}
	for len(weights) > 0 && weights[len(weights)-1] == 0 { // q=0: not acceptable
		wanted, weights = wanted[:len(wanted)-1], weights[:len(weights)-1]
	}
	_, i, confidence := language.NewMatcher([]language.Tag{language.English, language.LatinAmericanSpanish, language.Spanish}).Match(wanted...)
	if confidence == language.No || i == 0 {
		return English
	}
	return Spanish
}

// maxHeader is the length of the longest Accept-Language that is read, in bytes.
const maxHeader = 1000
