package search

import (
	"encoding/json"
	"fmt"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// maxCodes bounds the codes of a value set or code system that are looked at.
const maxCodes = 20_000

// A systemCode is a code in its system.
type systemCode struct{ system, code string }

// missing refuses a query for lack of content.
func missing(format string, args ...any) error {
	return &problem{code: "not-supported", text: fmt.Sprintf(format, args...)}
}

// definition gives a ValueSet or CodeSystem by its canonical URL or, of a stored
// one, as Type/id; nil when there is none that may be seen. Of several with one
// URL, and no version named, the one written last counts.
func (p *planning) definition(t fhir.Type, reference string) (map[string]any, error) {
	url, version, _ := strings.Cut(reference, "|")
	where := store.And{canonicalQuery(p.registry.nameOf(t, "url"), bound(clean(url)))}
	if version != "" {
		where = append(where, store.Equal{Name: p.registry.nameOf(t, "version"), Value: codeForm(version)})
	}
	if key, err := fhir.ParseKey(reference); err == nil {
		if key.Type != t {
			return nil, badValue("%s is no %s", reference, t)
		}
		where = store.And{store.Equal{Name: store.ID, Value: key.ID}}
	}
	found, err := p.find(t, where, 100)
	if err != nil {
		return nil, err
	}
	var newest *store.Version
	for _, v := range found {
		if newest == nil || v.Time.After(newest.Time) {
			newest = v
		}
	}
	if newest == nil {
		if p.sources.Packaged == nil {
			return nil, nil
		}
		return p.sources.Packaged(t, reference)
	}
	var tree map[string]any
	if err := json.Unmarshal(newest.Body, &tree); err != nil {
		return nil, fmt.Errorf("search: %s: %w", newest.Key, err)
	}
	return tree, nil
}

// nameOf gives the name under which a parameter has its terms: its own, or that of
// another with the same expression.
func (r *Registry) nameOf(t fhir.Type, name string) string {
	if p, ok := r.Param(t, name); ok && len(p.unionOf) == 1 {
		return p.unionOf[0].names.plain
	}
	return name
}

// A codeSystem is the codes of a CodeSystem and how they are below one another.
type codeSystem struct {
	url      string
	codes    []string
	known    map[string]bool
	children map[string][]string
	parents  map[string][]string
}

// codeSystem reads a complete CodeSystem, or refuses.
func (p *planning) codeSystem(url string) (*codeSystem, error) {
	if s := p.systems[url]; s != nil {
		return s, nil
	}
	tree, err := p.definition("CodeSystem", url)
	switch {
	case err != nil:
		return nil, err
	case tree == nil:
		return nil, missing("the CodeSystem %s is not on this server", url)
	case tree["content"] != "complete":
		return nil, missing("the CodeSystem %s is not complete on this server", url)
	case tree["hierarchyMeaning"] != nil && tree["hierarchyMeaning"] != "is-a":
		return nil, missing("the hierarchy of the CodeSystem %s does not mean is-a", url)
	}
	s := &codeSystem{url: url, known: map[string]bool{}, children: map[string][]string{}, parents: map[string][]string{}}
	s.read(tree["concept"], "")
	if len(s.codes) > maxCodes {
		return nil, missing("the CodeSystem %s has more than %d codes", url, maxCodes)
	}
	if p.systems == nil {
		p.systems = map[string]*codeSystem{}
	}
	p.systems[url] = s
	return s, nil
}

// read takes in concepts and what is nested in them.
func (s *codeSystem) read(concepts any, parent string) {
	spread(concepts, func(item any) bool {
		concept, _ := item.(map[string]any)
		code, _ := concept["code"].(string)
		if code == "" {
			return true
		}
		if !s.known[code] {
			s.known[code] = true
			s.codes = append(s.codes, code)
		}
		if parent != "" {
			s.link(parent, code)
		}
		spread(concept["property"], func(item any) bool {
			property, _ := item.(map[string]any)
			other, _ := property["valueCode"].(string)
			switch {
			case other == "":
			case property["code"] == "parent":
				s.link(other, code)
			case property["code"] == "child":
				s.link(code, other)
			}
			return true
		})
		s.read(concept["concept"], code)
		return len(s.codes) <= maxCodes
	})
}

func (s *codeSystem) link(parent, child string) {
	s.children[parent] = append(s.children[parent], child)
	s.parents[child] = append(s.parents[child], parent)
}

// related gives a code and all that are below it, or above it.
func (s *codeSystem) related(code string, up bool) ([]string, error) {
	if !s.known[code] {
		return nil, badValue("the CodeSystem %s has no code %s", s.url, code)
	}
	edges := s.children
	if up {
		edges = s.parents
	}
	all, seen := []string{code}, map[string]bool{code: true}
	for i := 0; i < len(all); i++ {
		for _, next := range edges[all[i]] {
			if !seen[next] {
				seen[next] = true
				all = append(all, next)
			}
		}
	}
	return all, nil
}
