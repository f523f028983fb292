package profile

import (
	"strings"
	"unicode"
)

// A format tells what is wrong with a primitive, or nothing.
type format func(text string) string

// formatOf gives what google/fhir does not ask of the values of a type
// (https://hl7.org/fhir/R4/datatypes.html#primitive).
func formatOf(name string) format {
	switch name {
	case "uri", "url", "canonical":
		return func(s string) string {
			if strings.ContainsFunc(s, unicode.IsSpace) {
				return "There is no white space in a URI."
			}
			return ""
		}
	case "date", "dateTime", "instant":
		return func(s string) string {
			if strings.HasPrefix(s, "0000") {
				return "There is no year 0."
			}
			return ""
		}
	}
	return nil
}

// addFormats is for codes of terminologies that are not packaged: their look.
func (m *model) addFormats() {
	m.types["Money"].elements["currency"].format = func(s string) string {
		if len(s) == 3 && strings.ToUpper(s) == s && strings.ToLower(s) != s {
			return ""
		}
		return "A currency is a code of ISO 4217: three capital letters."
	}
	media := func(s string) string {
		kind, rest, found := strings.Cut(s, "/")
		if found && kind != "" && rest != "" && !strings.ContainsAny(kind, " \t\r\n;,") {
			return ""
		}
		return "This is no media type, like image/png."
	}
	m.types["Attachment"].elements["contentType"].format = media
	m.types["Binary"].elements["contentType"].format = media
}
