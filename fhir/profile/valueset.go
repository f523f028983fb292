package profile

import (
	"maps"
	"slices"
	"strings"
)

// ValueSet gives a packaged value set by its canonical URL, perhaps with |version,
// as a decoded resource with its whole expansion; nil when there is none. Of
// several versions, R4's own comes first, then the newest of US Core. There is
// one when a binding that is checked needs it and the packages hold all its codes.
func ValueSet(canonical string) (map[string]any, error) {
	all, err := theProfiles()
	if err != nil {
		return nil, err
	}
	url, version, _ := strings.Cut(canonical, "|")
	for _, p := range all.packs {
		if set := p.valueSet(url, version); set != nil {
			return map[string]any{"resourceType": "ValueSet", "url": url, "expansion": map[string]any{"contains": set.contains()}}, nil
		}
	}
	return nil, nil
}

// valueSet finds a set by URL and version; it is kept under its URL as bindings
// write it, with a version or without.
func (p *pack) valueSet(url, version string) *codes {
	if version == "" || version == p.version {
		if set := p.sets[url]; set != nil {
			return set
		}
	}
	if version != "" {
		return p.sets[url+"|"+version]
	}
	return p.sets[url+"|"+p.version]
}

// contains lists the codes as an expansion does, sorted.
func (c *codes) contains() []any {
	var list []any
	for _, system := range slices.Sorted(maps.Keys(c.systems)) {
		for _, code := range slices.Sorted(maps.Keys(c.systems[system])) {
			list = append(list, map[string]any{"system": system, "code": code})
		}
	}
	return list
}
