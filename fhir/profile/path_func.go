package profile

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func errUnknown(name string) error { return fmt.Errorf("%s is not known", name) }

// function makes the step of a call.
func function(name string, args []expr) (step, error) {
	if f := ofCriteria(name, args); f != nil {
		return f, nil
	}
	if f := ofCollections(name, args); f != nil {
		return f, nil
	}
	if f, err := ofStrings(name, args); f != nil || err != nil {
		return f, err
	}
	return nil, fmt.Errorf("there is no function %s with %d arguments", name, len(args))
}

// ofCriteria are the functions whose argument is asked about each item.
func ofCriteria(name string, args []expr) step {
	if len(args) != 1 {
		return ofIf(name, args)
	}
	test := args[0]
	filter := func(r *run, in []item) []item {
		var out []item
		for i := range in {
			if ok, _ := truth(test(r, in[i:i+1])); ok {
				out = append(out, in[i])
			}
		}
		return out
	}
	switch name {
	case "where":
		return func(r *run, in, _ []item) []item { return filter(r, in) }
	case "exists":
		return func(r *run, in, _ []item) []item { return truthItems(len(filter(r, in)) > 0) }
	case "all":
		return func(r *run, in, _ []item) []item {
			for i := range in {
				if ok, known := truth(test(r, in[i:i+1])); !known {
					return nil
				} else if !ok {
					return no
				}
			}
			return yes
		}
	case "repeat":
		return func(r *run, in, _ []item) []item {
			var out []item
			for next := in; len(next) > 0 && r.budget > 0; { // down a tree, which has an end
				var found []item
				for i := range next {
					found = append(found, test(r, next[i:i+1])...)
				}
				r.budget -= len(found)
				out, next = append(out, found...), found
			}
			return out
		}
	case "select":
		return func(r *run, in, _ []item) []item {
			var out []item
			for i := range in {
				out = append(out, test(r, in[i:i+1])...)
			}
			return out
		}
	}
	return nil
}

func ofIf(name string, args []expr) step {
	if name != "iif" || len(args) < 2 {
		return nil
	}
	return func(r *run, in, _ []item) []item {
		if ok, _ := truth(args[0](r, in)); ok {
			return args[1](r, in)
		}
		if len(args) > 2 {
			return args[2](r, in)
		}
		return nil
	}
}

// ofCollections are the functions of collections.
func ofCollections(name string, args []expr) step {
	if name == "trace" {
		return func(_ *run, in, _ []item) []item { return in }
	}
	if len(args) == 1 {
		other := args[0]
		switch name {
		case "intersect":
			return func(r *run, in, this []item) []item { return intersect(in, other(r, this)) }
		case "combine":
			return func(r *run, in, this []item) []item { return append(in[:len(in):len(in)], other(r, this)...) }
		}
		return nil
	}
	if len(args) != 0 {
		return nil
	}
	simple := map[string]func(in []item) []item{
		"exists":     func(in []item) []item { return truthItems(len(in) > 0) },
		"empty":      func(in []item) []item { return truthItems(len(in) == 0) },
		"count":      func(in []item) []item { return number(strconv.Itoa(len(in))) },
		"isDistinct": func(in []item) []item { return truthItems(distinct(in)) },
		"hasValue":   func(in []item) []item { return truthItems(len(in) == 1 && hasValue(in[0])) },
		"allTrue": func(in []item) []item {
			return truthItems(!slices.ContainsFunc(in, func(i item) bool { return i.v == false }))
		},
		"first": func(in []item) []item { return in[:min(1, len(in))] },
		"tail":  func(in []item) []item { return in[min(1, len(in)):] },
		"not": func(in []item) []item {
			value, known := truth(in)
			if !known {
				return nil
			}
			return truthItems(!value)
		},
	}
	if f := simple[name]; f != nil {
		return func(_ *run, in, _ []item) []item { return f(in) }
	}
	switch name {
	case "descendants":
		return func(r *run, in, _ []item) []item { return r.descendants(in) }
	case "children":
		return func(r *run, in, _ []item) []item {
			var out []item
			for _, i := range in {
				out = r.children(out, i, "")
			}
			return out
		}
	case "resolve":
		return func(r *run, in, _ []item) []item { return r.resolve(in) }
	}
	return nil
}

func hasValue(i item) bool {
	_, complex := i.v.(map[string]any)
	return i.v != nil && !complex
}

func number(text string) []item { return []item{{v: json.Number(text)}} }

// ofStrings are the functions of one string.
func ofStrings(name string, args []expr) (step, error) {
	one := func(f func(r *run, s string, this []item) []item) step {
		return func(r *run, in, this []item) []item {
			if len(in) != 1 {
				return nil
			}
			s, ok := asText(in[0].v)
			if !ok {
				return nil
			}
			return f(r, s, this)
		}
	}
	test := func(f func(s, arg string) bool) step {
		return one(func(r *run, s string, this []item) []item {
			arg := args[0](r, this)
			if len(arg) != 1 {
				return nil
			}
			return truthItems(f(s, textOf(arg[0].v)))
		})
	}
	switch name + "/" + strconv.Itoa(len(args)) {
	case "startsWith/1":
		return test(strings.HasPrefix), nil
	case "contains/1":
		return test(strings.Contains), nil
	case "matches/1":
		pattern, err := fixedPattern(args[0])
		if err != nil {
			return nil, err
		}
		return test(func(s, _ string) bool { return pattern.MatchString(s) }), nil
	case "replaceMatches/2":
		pattern, err := fixedPattern(args[0])
		if err != nil {
			return nil, err
		}
		return one(func(r *run, s string, this []item) []item {
			with := args[1](r, this)
			if len(with) != 1 {
				return nil
			}
			return []item{{v: pattern.ReplaceAllString(s, textOf(with[0].v))}}
		}), nil
	case "substring/1", "substring/2":
		return one(func(r *run, s string, this []item) []item { return substring(r, s, this, args) }), nil
	case "length/0":
		return one(func(_ *run, s string, _ []item) []item { return number(strconv.Itoa(utf8.RuneCountInString(s))) }), nil
	case "toString/0":
		return one(func(_ *run, s string, _ []item) []item { return []item{{v: s}} }), nil
	case "toInteger/0":
		return one(func(_ *run, s string, _ []item) []item {
			if n, err := strconv.ParseInt(s, 10, 32); err == nil {
				return number(strconv.FormatInt(n, 10))
			}
			return nil
		}), nil
	case "memberOf/1":
		return func(r *run, in, this []item) []item { return r.memberOf(in, args[0](r, this)) }, nil
	}
	return nil, nil
}

func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// fixedPattern compiles a regular expression that is written in the rule. Go's
// take time that is linear in the text.
func fixedPattern(arg expr) (*regexp.Regexp, error) {
	in := arg(nil, nil)
	if len(in) != 1 {
		return nil, fmt.Errorf("a pattern must be a string")
	}
	return regexp.Compile(textOf(in[0].v))
}

func substring(r *run, s string, this []item, args []expr) []item {
	bounds := [2]int{0, len(s)}
	for i, arg := range args {
		in := arg(r, this)
		if len(in) != 1 {
			return nil
		}
		n, ok := in[0].v.(json.Number)
		if !ok {
			return nil
		}
		value, err := strconv.Atoi(string(n))
		if err != nil || value < 0 {
			return nil
		}
		bounds[i] = value
	}
	runes := []rune(s)
	if bounds[0] >= len(runes) {
		return nil
	}
	runes = runes[bounds[0]:]
	return []item{{v: string(runes[:min(bounds[1], len(runes))])}}
}

// memberOf is unknown for value sets that are not packaged.
func (r *run) memberOf(in, set []item) []item {
	if len(in) != 1 || len(set) != 1 {
		return nil
	}
	c := r.sets[textOf(set[0].v)]
	if c == nil {
		return nil
	}
	return truthItems(c.judge(in[0]) == inside)
}
