package search

import (
	"encoding/json"
	"slices"
	"strings"

	"mypatients/fhir/store"
)

// tokens gives the codes of an element: system is "" where there is none, and
// coded tells a Coding or an Identifier from a bare code.
func tokens(item any, yield func(system, code string, coded bool)) {
	switch v := item.(type) {
	case string:
		yield("", v, false)
	case bool:
		if v {
			yield("", "true", false)
		} else {
			yield("", "false", false)
		}
	case json.Number:
		yield("", string(v), false)
	case map[string]any:
		if codings, ok := v["coding"].([]any); ok {
			for _, c := range codings {
				coding(c, "code", yield)
			}
			return
		}
		if _, ok := v["code"].(string); ok {
			coding(v, "code", yield)
			return
		}
		coding(v, "value", yield)
	}
}

func coding(item any, element string, yield func(system, code string, coded bool)) {
	m, ok := item.(map[string]any)
	if !ok {
		return
	}
	code, ok := m[element].(string)
	if !ok || code == "" {
		return
	}
	system, _ := m["system"].(string)
	yield(system, code, true)
}

// tokenText gives what people read of a token, folded and joined.
func tokenText(item any) string {
	m, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	var list []string
	add := func(v any) {
		if s, ok := v.(string); ok {
			if s = fold(s); s != "" && !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	add(m["text"])
	add(m["display"])
	spread(m["coding"], func(c any) bool {
		if c, ok := c.(map[string]any); ok {
			add(c["display"])
		}
		return true
	})
	if t, ok := m["type"].(map[string]any); ok {
		add(t["text"])
	}
	return cutText(strings.Join(list, "\x02"), maxText)
}

// tokenForm writes a code with its system.
func tokenForm(system, code string) string { return bound(systemForm(system) + "|" + clean(code)) }

// codeForm writes a code alone.
func codeForm(code string) string { return bound(clean(code)) }

// identifiersOfType gives system|code|value for each type of an Identifier.
func identifiersOfType(item any, yield func(string)) {
	m, ok := item.(map[string]any)
	if !ok {
		return
	}
	value, _ := m["value"].(string)
	t, ok := m["type"].(map[string]any)
	if value == "" || !ok {
		return
	}
	tokens(t, func(system, code string, _ bool) {
		yield(bound(systemForm(system) + "|" + systemForm(code) + "|" + clean(value)))
	})
}

// A tokenValue is what a query asks for.
type tokenValue struct {
	system, code string
	hasSystem    bool // a bar was written: system is meant, also when it is empty
}

// readToken reads code, system|code, |code and system|; v is still escaped.
func readToken(v string) (tokenValue, error) {
	parts := splitEscaped(v, '|')
	for i := range parts {
		parts[i] = unescape(parts[i])
	}
	switch {
	case len(parts) == 1 && parts[0] != "":
		return tokenValue{code: parts[0]}, nil
	case len(parts) == 2 && parts[0]+parts[1] != "":
		return tokenValue{parts[0], parts[1], true}, nil
	}
	return tokenValue{}, badValue("%q is not of the form code, system|code, |code or system|", strings.Join(parts, "|"))
}

// tokenQuery is the condition that there is such a code. systems are those that a
// bare code has by its binding.
func tokenQuery(plain, coded string, systems []string, value string) (store.Expr, error) {
	v, err := readToken(value)
	switch {
	case err != nil:
		return nil, err
	case !v.hasSystem:
		return store.Equal{Name: plain, Value: codeForm(v.code)}, nil
	case len(systems) > 0: // a code element: it has no terms with a system
		if !slices.Contains(systems, v.system) {
			return store.None(), nil
		}
		if v.code == "" {
			return store.Exists{Name: plain}, nil
		}
		return store.Equal{Name: plain, Value: codeForm(v.code)}, nil
	case v.code == "":
		system := systemForm(v.system) + "|"
		if len(system) > maxValue-40 {
			return nil, badValue("the system is longer than %d bytes", maxValue-41)
		}
		return store.Prefix{Name: coded, Prefix: system}, nil
	}
	return store.Equal{Name: coded, Value: tokenForm(v.system, v.code)}, nil
}

// ofTypeQuery is the condition of identifier:of-type=system|code|value.
func ofTypeQuery(name, value string) (store.Expr, error) {
	parts := splitEscaped(value, '|')
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return nil, badValue("%q is not of the form system|code|value", value)
	}
	system, code, of := unescape(parts[0]), unescape(parts[1]), unescape(parts[2])
	return store.Equal{Name: name, Value: bound(systemForm(system) + "|" + systemForm(code) + "|" + clean(of))}, nil
}
