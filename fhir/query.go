package fhir

import (
	"net/url"
	"strings"
)

// ParseQuery reads a query string, or a form of the same form. A semicolon is part
// of a value, as in _format=application/fhir+json;fhirVersion=4.0, and separates
// nothing. A part that cannot be read is refused as Invalid by the name of its
// parameter, "http.name" where that can be read; the others are given all the same.
func ParseQuery(s string) (url.Values, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(s, ";", "%3B"))
	if err == nil {
		return values, nil
	}
	for part := range strings.SplitSeq(s, "&") {
		key, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			break
		}
		if _, err := url.QueryUnescape(value); err != nil {
			return values, ElementErrorf(Invalid, "http."+name, "In the value a %% is not followed by two hexadecimal digits.")
		}
	}
	return values, Errorf(Invalid, "The query string is not well-formed.")
}
