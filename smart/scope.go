package smart

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Letters of SMART v2 scopes, in the order in which a scope writes them.
const letters = "cruds"

// A Permission is a set of interactions: create, read, update, delete, search.
type Permission uint8

// The interactions of
// https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-fhir-resources
const (
	MayCreate Permission = 1 << iota
	MayRead              // read, vread, history of an instance
	MayUpdate            // update, patch, update-as-create
	MayDelete
	MaySearch // search and history of a type or of the system
)

// What the words of v1 scopes mean.
const (
	mayV1Read  = MayRead | MaySearch
	mayV1Write = MayCreate | MayUpdate | MayDelete
	mayAll     = mayV1Read | mayV1Write
)

// A Scope is one parsed scope. The zero Level marks a scope that is not about
// resources (openid, launch/patient, offline_access …); Text tells which.
type Scope struct {
	Level  string     // "patient", "user", "system"; empty for other scopes
	Type   string     // a resource type or "*"
	May    Permission //
	Params url.Values // granular part: ?category=…; nil when there is none
	V1     bool       // written in the v1 form, and echoed in it
	Text   string     // as written
}

// ParseScope reads one scope. Anything that does not look like a resource scope
// is taken as a scope of another kind; a resource scope that is malformed is an
// error.
func ParseScope(s string) (Scope, error) {
	if !isScopeToken(s) {
		return Scope{}, fmt.Errorf("%q is not a scope", s)
	}
	level, rest, ok := strings.Cut(s, "/")
	if !ok || level != "patient" && level != "user" && level != "system" {
		return Scope{Text: s}, nil
	}
	bad := fmt.Errorf("%q is not a resource scope", s)
	rest, query, granular := strings.Cut(rest, "?")
	typ, rights, ok := strings.Cut(rest, ".")
	if !ok || !isType(typ) {
		return Scope{}, bad
	}
	may, v1, ok := parseRights(rights)
	if !ok {
		return Scope{}, bad
	}
	scope := Scope{Level: level, Type: typ, May: may, V1: v1, Text: s}
	if !granular {
		return scope, nil
	}
	params, err := url.ParseQuery(query)
	if err != nil || v1 || len(params) == 0 || !plainParams(params) {
		return Scope{}, bad
	}
	scope.Params = params
	return scope, nil
}

// isScopeToken holds the characters of RFC 6749 section 3.3.
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func isType(s string) bool {
	if s == "*" {
		return true
	}
	for i := range len(s) {
		upper, lower := s[i] >= 'A' && s[i] <= 'Z', s[i] >= 'a' && s[i] <= 'z'
		if !upper && (i == 0 || !lower) {
			return false
		}
	}
	return s != ""
}

func parseRights(s string) (may Permission, v1, ok bool) {
	switch s {
	case "read":
		return mayV1Read, true, true
	case "write":
		return mayV1Write, true, true
	case "*":
		return mayAll, true, true
	}
	last := -1
	for i := range len(s) {
		at := strings.IndexByte(letters, s[i])
		if at <= last { // unknown, repeated or out of order
			return 0, false, false
		}
		last = at
		may |= 1 << at
	}
	return may, false, may != 0
}

// plainParams refuses what the specification marks as experimental and the
// search index cannot answer inside a decision: modifiers, chains, _filter,
// _has; and values that say nothing.
func plainParams(params url.Values) bool {
	for name, values := range params {
		if name == "" || strings.ContainsAny(name, ":.") || name == "_filter" || name == "_has" || slices.Contains(values, "") {
			return false
		}
	}
	return true
}

// String writes the scope; a parsed scope as it was written.
func (s Scope) String() string {
	if s.Text != "" {
		return s.Text
	}
	var b strings.Builder
	b.WriteString(s.Level + "/" + s.Type + ".")
	for i := range len(letters) {
		if s.May&(1<<i) != 0 {
			b.WriteByte(letters[i])
		}
	}
	sep := byte('?')
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		for _, value := range s.Params[name] {
			b.WriteByte(sep)
			b.WriteString(strings.ReplaceAll(escapeValue(name), "=", "%3D") + "=" + escapeValue(value))
			sep = '&'
		}
	}
	return b.String()
}

// escapeValue escapes only what would change the meaning of the scope: apps and
// test kits write "http://…|code" bare and compare text.
func escapeValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`"\&+%#;`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Covers reports whether the scope speaks of a type.
func (s Scope) Covers(typ string) bool { return s.Level != "" && (s.Type == "*" || s.Type == typ) }

// Expand writes a wildcard scope out for the types given, each as written by
// itself; any other scope stays alone.
func (s Scope) Expand(types []string) Scopes {
	if s.Level == "" || s.Type != "*" {
		return Scopes{s}
	}
	scopes := make(Scopes, len(types))
	for i, typ := range types {
		scopes[i] = s.With(typ, s.May, s.Params)
	}
	return scopes
}

// With gives the resource scope of the same level for another type, set of
// interactions and granular part, in the v1 form if this one is in it and the
// rights can be said so.
func (s Scope) With(typ string, may Permission, params url.Values) Scope {
	if s.Type == typ && s.May == may && sameParams(s.Params, params) {
		return s
	}
	next := Scope{Level: s.Level, Type: typ, May: may, Params: params}
	if s.V1 && len(params) == 0 {
		word := map[Permission]string{mayV1Read: "read", mayV1Write: "write", mayAll: "*"}[may]
		if word != "" {
			next.V1, next.Text = true, s.Level+"/"+typ+"."+word
			return next
		}
	}
	next.Text = next.String()
	return next
}
