package pgstore

import (
	"slices"

	"mypatients/fhir/store"
)

// valuesOf gives values under a name of which each match has one, if the
// condition says so.
func valuesOf(e store.Expr, name string) (values []string, ok bool) {
	switch e := e.(type) {
	case store.Equal:
		return []string{e.Value}, e.Name == name
	case store.In:
		return e.Values, e.Name == name
	case store.And:
		for _, part := range e {
			if v, has := valuesOf(part, name); has && (!ok || len(v) < len(values)) {
				values, ok = v, true
			}
		}
		return values, ok
	case store.Or:
		for _, part := range e {
			v, has := valuesOf(part, name)
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

// flatten lists the parts of nested Ands.
func flatten(list []store.Expr, e store.Expr) []store.Expr {
	switch e := e.(type) {
	case nil:
		return list
	case store.And:
		for _, part := range e {
			list = flatten(list, part)
		}
		return list
	}
	return append(list, e)
}
