package fhir

import (
	"net/url"
	"strings"
)

// A Form is one of the ways to write a reference
// (https://hl7.org/fhir/R4/references.html#literal).
type Form uint8

// The forms.
const (
	Malformed   Form = iota
	Relative         // Type/id, perhaps with /_history/version
	Literal          // an absolute URL that ends so
	Absolute         // any other absolute URI: urn:uuid:…, a canonical, another server's way
	Fragment         // #id, of a contained resource; # alone is the container
	Conditional      // Type?parameter=value, in a transaction
)

// A Reference is a parsed Reference.reference.
type Reference struct {
	Form    Form
	Key     Key    // of Relative and Literal; of Conditional only the type
	Version string // what follows /_history/, mostly empty
	Base    string // of Literal: the URL before the type, without a slash
	Query   string // of Conditional
	Text    string // as it was written
}

// ParseReference reads a reference. It never fails: what it cannot read is
// Malformed.
func ParseReference(text string) Reference {
	ref := Reference{Text: text}
	switch {
	case text == "" || strings.ContainsAny(text, " \t\r\n"):
		return ref
	case text[0] == '#':
		ref.Form = Fragment
		return ref
	}
	if scheme, rest, found := strings.Cut(text, ":"); found && isScheme(scheme) {
		return absolute(ref, scheme, rest)
	}
	if kind, query, found := strings.Cut(text, "?"); found {
		if Type(kind).Valid() && query != "" {
			ref.Form, ref.Key.Type, ref.Query = Conditional, Type(kind), query
		}
		return ref
	}
	if key, version, ok := keyAndVersion(strings.Split(text, "/")); ok {
		ref.Form, ref.Key, ref.Version = Relative, key, version
	}
	return ref
}

func absolute(ref Reference, scheme, rest string) Reference {
	if _, err := url.Parse(ref.Text); err != nil || rest == "" {
		return ref
	}
	ref.Form = Absolute
	if scheme != "http" && scheme != "https" || strings.ContainsAny(rest, "?#") {
		return ref
	}
	parts := strings.Split(rest, "/")
	for _, n := range []int{4, 2} { // with a version, or without
		if len(parts) < n+3 {
			continue
		}
		tail := parts[len(parts)-n:]
		if key, version, ok := keyAndVersion(tail); ok {
			ref.Form, ref.Key, ref.Version = Literal, key, version
			ref.Base = strings.TrimSuffix(ref.Text, "/"+strings.Join(tail, "/"))
			return ref
		}
	}
	return ref
}

func keyAndVersion(parts []string) (Key, string, bool) {
	if len(parts) != 2 && (len(parts) != 4 || parts[2] != "_history" || !ValidID(parts[3])) {
		return Key{}, "", false
	}
	key := Key{Type(parts[0]), parts[1]}
	if !key.Type.Valid() || !ValidID(key.ID) {
		return Key{}, "", false
	}
	if len(parts) == 4 {
		return key, parts[3], true
	}
	return key, "", true
}

// Local gives the key of a reference to this server, whose base URL is given
// without a trailing slash: relative, or absolute under the base.
func (r Reference) Local(base string) (Key, bool) {
	return r.Key, r.Form == Relative || r.Form == Literal && base != "" && r.Base == base
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if c >= 'a' && c <= 'z' || i > 0 && (s[i] >= '0' && s[i] <= '9' || strings.IndexByte("+-.", s[i]) >= 0) {
			continue
		}
		return false
	}
	return s != ""
}
