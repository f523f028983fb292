package search

import (
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// An Include is one _include or _revinclude
// (https://hl7.org/fhir/R4/search.html#include). The engine adds, for each page,
// the resources that [Include.Targets] names, or those that [Include.Where]
// finds, each under the sight of its own type.
type Include struct {
	Reverse bool      // _revinclude: those that refer to a match
	Iterate bool      // apply to included resources too
	Source  fhir.Type // the type that holds the reference; empty: any
	Param   string    // the reference parameter, or "*" for all of the source
	Target  fhir.Type // only references to this type; empty: any

	registry *Registry
}

// Targets lists what a resource refers to by this include, references on this
// server only, in order of their names, without repetitions; none when the
// resource is not of the source type. What is named by a canonical URL is not among
// them, see [Include.Canonicals]. It is for forward includes.
func (i Include) Targets(v *store.Version) []fhir.Key {
	if i.Source != "" && i.Source != fhir.Type(v.Type) {
		return nil
	}
	var keys []fhir.Key
	for _, p := range i.params(fhir.Type(v.Type)) {
		for value := range v.Terms.Values(p.names.plain) {
			key, err := fhir.ParseKey(string(value))
			if err == nil && (i.Target == "" || i.Target == key.Type) && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Sources lists the types to look through for a reverse include.
func (i Include) Sources() []fhir.Type {
	if i.Source != "" {
		return []fhir.Type{i.Source}
	}
	return fhir.Types()
}

// Where is the condition on resources of a source type to refer to one of some
// others, by a reference or by a canonical URL; [store.None] when they have no such
// reference. It is for reverse includes.
func (i Include) Where(source fhir.Type, to []*store.Version) store.Expr {
	var values []string
	for _, v := range to {
		if i.Target == "" || i.Target == fhir.Type(v.Type) {
			values = append(append(values, v.Key.String()), i.registry.canonicals(v)...)
		}
	}
	if len(values) == 0 {
		return store.None()
	}
	var any store.Or
	for _, p := range i.params(source) {
		any = append(any, equalAny(p.names.plain, values))
	}
	return any
}

// params are those under which a type has the references.
func (i Include) params(t fhir.Type) []*Param {
	var list []*Param
	tp := i.registry.types[t]
	if tp == nil {
		return nil
	}
	for _, p := range i.registry.visible(t, tp.list) {
		if p.Kind == Reference && (i.Param == "*" || i.Param == p.Name) {
			list = append(list, p)
		}
	}
	return list
}
