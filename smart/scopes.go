package smart

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Scopes is a set of scopes in the order of the request.
type Scopes []Scope

// ParseScopes reads a space-separated list (RFC 6749 section 3.3). A malformed
// scope is an error.
func ParseScopes(list string) (Scopes, error) {
	var scopes Scopes
	for s := range strings.FieldsSeq(list) {
		scope, err := ParseScope(s)
		if err != nil {
			return nil, err
		}
		if !scopes.Has(scope.Text) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, nil
}

// KnownScopes reads a space-separated list and leaves out what is malformed or
// unknown to SMART, as RFC 6749 section 3.3 lets a server do.
func KnownScopes(list string) Scopes {
	var scopes Scopes
	for s := range strings.FieldsSeq(list) {
		scope, err := ParseScope(s)
		if err == nil && (scope.Level != "" || isKnown(s)) && !scopes.Has(s) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

func isKnown(s string) bool {
	switch s {
	case "openid", "fhirUser", "profile", "launch", "offline_access", "online_access", "introspect":
		return true
	}
	typ, ok := strings.CutPrefix(s, "launch/")
	typ, role, given := strings.Cut(typ, "?role=")
	return ok && typ != "" && strings.Trim(typ, "abcdefghijklmnopqrstuvwxyz") == "" && (!given || role != "")
}

func (s Scopes) String() string {
	parts := make([]string, len(s))
	for i, scope := range s {
		parts[i] = scope.String()
	}
	return strings.Join(parts, " ")
}

// Has reports whether a scope is in the set, as written.
func (s Scopes) Has(text string) bool {
	return slices.ContainsFunc(s, func(scope Scope) bool { return scope.Text == text })
}

// HasLevel reports whether a resource scope of that level is in the set.
func (s Scopes) HasLevel(level string) bool {
	return slices.ContainsFunc(s, func(scope Scope) bool { return scope.Level == level })
}

// WithoutLevel is the set without the resource scopes of a level.
func (s Scopes) WithoutLevel(level string) Scopes {
	return s.Filter(func(scope Scope) bool { return scope.Level != level })
}

// Filter gives those that pass.
func (s Scopes) Filter(keep func(Scope) bool) Scopes {
	var kept Scopes
	for _, scope := range s {
		if keep(scope) {
			kept = append(kept, scope)
		}
	}
	return kept
}

// Allows reports whether some scope lets all of these interactions happen on
// the type. A granular scope counts: it allows some resources of the type; For
// tells which.
func (s Scopes) Allows(typ string, may Permission) bool {
	return slices.ContainsFunc(s, func(scope Scope) bool { return scope.Covers(typ) && scope.May&may == may })
}

// For gives the scopes that let all of these interactions happen on the type.
// One without Params puts no limit on the resources; several with Params are
// ORed, the parameters inside one are ANDed.
func (s Scopes) For(typ string, may Permission) Scopes {
	return s.Filter(func(scope Scope) bool { return scope.Covers(typ) && scope.May&may == may })
}

// Narrow gives the part of the set that another set permits: what a client was
// registered for, or what a person left ticked. Levels must agree; scopes that
// are not about resources must be in the other set. Whatever is permitted as a
// whole stays as it was written.
func (s Scopes) Narrow(by Scopes) Scopes {
	var out Scopes
	for _, scope := range s {
		if scope.Level == "" {
			plain, _, _ := strings.Cut(scope.Text, "?role=") // who may ask for a context may ask for it in any role
			if by.Has(scope.Text) || by.Has(plain) {
				out = append(out, scope)
			}
			continue
		}
		out = out.add(scope.cut(by, true)...)
	}
	return out
}

// Cut gives the part of the set that a cap leaves: resource scopes are cut down
// to the types, interactions and granular parts of the cap's, whatever their
// level; other scopes stay.
func (s Scopes) Cut(limit Scopes) Scopes {
	var out Scopes
	for _, scope := range s {
		if scope.Level == "" {
			out = append(out, scope)
			continue
		}
		out = out.add(scope.cut(limit, false)...)
	}
	return out
}

// Within reports whether another set permits every scope of this one as a whole
// (a refresh may not widen: RFC 6749 section 6).
func (s Scopes) Within(by Scopes) bool {
	for _, scope := range s {
		if by.Has(scope.Text) {
			continue
		}
		if scope.Level == "" {
			return false
		}
		left := scope.cut(by, true)
		if len(left) != 1 || left[0].Text != scope.Text {
			return false
		}
	}
	return true
}

// cut intersects one resource scope with a set.
func (s Scope) cut(by Scopes, level bool) Scopes {
	var parts Scopes
	for _, b := range by {
		if b.Level == "" || level && b.Level != s.Level {
			continue
		}
		typ := s.Type
		if typ == "*" {
			typ = b.Type
		}
		if !b.Covers(typ) && b.Type != "*" || s.May&b.May == 0 {
			continue
		}
		params := bothParams(s.Params, b.Params)
		at := slices.IndexFunc(parts, func(p Scope) bool { return p.Type == typ && sameParams(p.Params, params) })
		if at < 0 {
			parts = append(parts, Scope{Level: s.Level, Type: typ, Params: params})
			at = len(parts) - 1
		}
		parts[at].May |= s.May & b.May
	}
	var out Scopes
	for i, p := range parts {
		if !p.insideOther(parts, i) {
			out = append(out, s.With(p.Type, p.May, p.Params))
		}
	}
	return out
}

// insideOther reports whether another part permits all that parts[i] does.
func (s Scope) insideOther(parts Scopes, i int) bool {
	for j, o := range parts {
		if j == i || o.Type != "*" && o.Type != s.Type || s.May&^o.May != 0 {
			continue
		}
		if sameParams(bothParams(s.Params, o.Params), s.Params) {
			return true
		}
	}
	return false
}

// add appends those that are not in the set yet.
func (s Scopes) add(more ...Scope) Scopes {
	for _, scope := range more {
		if !s.Has(scope.Text) {
			s = append(s, scope)
		}
	}
	return s
}

// bothParams joins two granular parts: all of both must hold.
func bothParams(a, b url.Values) url.Values {
	if len(a) == 0 {
		return b
	}
	both := url.Values{}
	for name, values := range a {
		both[name] = slices.Clone(values)
	}
	for name, values := range b {
		for _, v := range values {
			if !slices.Contains(both[name], v) {
				both[name] = append(both[name], v)
			}
		}
	}
	return both
}

func sameParams(a, b url.Values) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y)))
	})
}
