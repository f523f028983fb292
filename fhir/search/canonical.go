package search

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// canonicalType reports whether resources of a type are named by canonical URLs
// (https://hl7.org/fhir/R4/references.html#canonical).
func (r *Registry) canonicalType(t fhir.Type) bool {
	p, ok := r.Param(t, "url")
	return ok && p.Kind == URI && t != "Device" // the URL of a device leads to it and is no name
}

// Canonicals gives, by type, the condition on what some resources name by canonical
// URLs in the references of a forward include: of a URL with a version that one, of
// one without all that there are. There is nothing for most, as most references are
// no canonical URLs.
func (i Include) Canonicals(from []*store.Version) map[fhir.Type]store.Expr {
	named := map[fhir.Type]map[string][]string{} // URLs by version
	for _, v := range from {
		if i.Source != "" && i.Source != fhir.Type(v.Type) {
			continue
		}
		for _, p := range i.params(fhir.Type(v.Type)) {
			for value := range v.Terms.Values(p.names.plain) {
				if bytes.IndexByte(value, ':') >= 0 { // neither a type nor an id has one
					i.name(named, p, string(value))
				}
			}
		}
	}
	where := map[fhir.Type]store.Expr{}
	for t, versions := range named {
		var any store.Or
		for _, version := range slices.Sorted(maps.Keys(versions)) {
			one := equalAny(i.registry.nameOf(t, "url"), versions[version])
			if version != "" {
				one = store.And{one, store.Equal{Name: i.registry.nameOf(t, "version"), Value: codeForm(version)}}
			}
			any = append(any, one)
		}
		where[t] = anyOf(any)
	}
	return where
}

// name notes the types of which a canonical URL may be.
func (i Include) name(named map[fhir.Type]map[string][]string, p *Param, canonical string) {
	url, version, _ := strings.Cut(canonical, "|")
	for _, t := range p.Targets {
		if i.Target != "" && i.Target != t || !i.registry.canonicalType(t) {
			continue
		}
		if named[t] == nil {
			named[t] = map[string][]string{}
		}
		if !slices.Contains(named[t][version], url) {
			named[t][version] = append(named[t][version], url)
		}
	}
}

// canonicals lists the canonical URLs of a resource, without and with its version.
func (r *Registry) canonicals(v *store.Version) (urls []string) {
	t := fhir.Type(v.Type)
	if !r.canonicalType(t) {
		return nil
	}
	for url := range v.Terms.Values(r.nameOf(t, "url")) {
		urls = append(urls, string(url))
		for version := range v.Terms.Values(r.nameOf(t, "version")) {
			urls = append(urls, bound(string(url)+"|"+string(version)))
		}
	}
	return urls
}
