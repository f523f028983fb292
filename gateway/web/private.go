package web

// The ceilings of an access, as codes of v3-Confidentiality: what is marked
// above the ceiling stays hidden. A request without one reaches up to normal.
const (
	normal     = "N"
	restricted = "R" // what pages call "marked as especially private"
)

// private reports whether a ceiling reaches above what is normal.
func private(label string) bool { return label == restricted || label == "V" }

// guarded reports whether a ceiling lies below what is normal, so that most of a
// record stays hidden.
func guarded(label string) bool { return label == "U" || label == "L" || label == "M" }

// ceiling gives the ceiling to send along with a decision on what was asked for:
// especially private information is included only when somebody ticked it, and
// never what nobody asked for.
func ceiling(asked string, ticked bool) string {
	switch {
	case private(asked) && ticked:
		return restricted
	case guarded(asked):
		return asked
	}
	return normal
}

// ticked reports whether the form's box for especially private information is.
func (v *visit) ticked() bool { return v.form("private") == "yes" }
