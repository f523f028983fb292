package store

import (
	"bytes"
	"slices"
)

// What both engines read out of a condition before they plan.

// ValuesOf gives values under a name of which each match has one, if the
// condition says so.
func ValuesOf(e Expr, name string) (values []string, ok bool) {
	switch e := e.(type) {
	case Equal:
		return []string{e.Value}, e.Name == name
	case In:
		return e.Values, e.Name == name
	case And:
		for _, part := range e {
			if v, has := ValuesOf(part, name); has && (!ok || len(v) < len(values)) {
				values, ok = v, true
			}
			if ok && len(values) <= 1 {
				break
			}
		}
		return values, ok
	case Or:
		for _, part := range e {
			v, has := ValuesOf(part, name)
			if !has {
				return nil, false
			}
			values = append(values, v...)
		}
		slices.Sort(values)
		return slices.Compact(values), true
	}
	return nil, false
}

// Parts lists what must all hold for a condition to hold: itself, or the parts
// of an And, however deep.
func Parts(e Expr) []Expr { return parts(make([]Expr, 0, 8), e) }

func parts(list []Expr, e Expr) []Expr {
	switch e := e.(type) {
	case nil:
		return list
	case And:
		for _, part := range e {
			list = parts(list, part)
		}
		return list
	}
	return append(list, e)
}

// Beside gives the parts of a condition but for those that hold for whatever belongs to
// one of some owners.
func Beside(e Expr, owners []string) And {
	return slices.DeleteFunc(Parts(e), func(part Expr) bool {
		switch part := part.(type) {
		case Equal:
			return part.Name == Owner && len(owners) == 1 && owners[0] == part.Value
		case In:
			return part.Name == Owner && slices.Equal(part.Values, owners)
		}
		return false
	})
}

// Beyond gives the first string behind all those that begin with prefix, nil if
// there is none.
func Beyond(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			to := bytes.Clone(prefix[:i+1])
			to[i]++
			return to
		}
	}
	return nil
}
