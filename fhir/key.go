package fhir

import (
	"fmt"
	"strings"
)

// A Key names a resource on this server: its type and its logical id
// (https://hl7.org/fhir/R4/resource.html#id).
type Key struct {
	Type Type
	ID   string
}

// String gives the key as a relative reference, "Patient/123".
func (k Key) String() string { return string(k.Type) + "/" + k.ID }

// IsZero reports whether the key names nothing.
func (k Key) IsZero() bool { return k.Type == "" && k.ID == "" }

// ParseKey reads a relative reference of the form "Type/id", without a version.
func ParseKey(s string) (Key, error) {
	t, id, ok := strings.Cut(s, "/")
	if !ok || !Type(t).Valid() || !ValidID(id) {
		return Key{}, fmt.Errorf("%q is not a reference of the form Type/id", s)
	}
	return Key{Type(t), id}, nil
}

// ValidID reports whether s is an id in the sense of
// https://hl7.org/fhir/R4/datatypes.html#id: 1 to 64 of A-Z a-z 0-9 - and dot.
func ValidID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
