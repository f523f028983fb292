package config

import (
	"fmt"
	"reflect"
	"strings"
)

// A PolicyChange is a key of the policy that two configurations give differently.
type PolicyChange struct {
	Key      string // "policy.bases.pcp.ceiling"
	From, To string // as YAML would have them
}

// Changes lists the keys in which another policy differs, in their order. Both have
// their defaults.
func (p *Policy) Changes(to *Policy) []PolicyChange {
	return changes("policy", reflect.ValueOf(*p), reflect.ValueOf(*to))
}

func changes(key string, from, to reflect.Value) (list []PolicyChange) {
	if from.Kind() != reflect.Struct {
		if a, b := valueText(from), valueText(to); a != b {
			return []PolicyChange{{key, a, b}}
		}
		return nil
	}
	for i := range from.NumField() {
		list = append(list, changes(key+"."+from.Type().Field(i).Tag.Get("yaml"), from.Field(i), to.Field(i))...)
	}
	return list
}

func valueText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		all := make([]string, v.Len())
		for i := range all {
			all[i] = valueText(v.Index(i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case reflect.String:
		if v.String() == "" {
			return `""`
		}
	}
	return fmt.Sprint(v.Interface())
}
