package search

import "strings"

// maxSets bounds the value sets that one query looks into.
const maxSets = 100

// A codeSet is what a value set holds: codes, and whole systems whose codes are
// not known one by one.
type codeSet struct {
	codes   map[systemCode]bool
	systems map[string]bool
}

func newCodeSet() *codeSet {
	return &codeSet{map[systemCode]bool{}, map[string]bool{}}
}

// valueSet finds a ValueSet and gives its codes, or refuses.
func (p *planning) valueSet(reference string) (*codeSet, error) {
	if set, ok := p.sets[reference]; ok {
		if set == nil {
			return nil, missing("the ValueSet %s refers to itself", reference)
		}
		return set, nil
	}
	if len(p.sets) >= maxSets {
		return nil, missing("this leads to more than %d value sets", maxSets)
	}
	if p.sets == nil {
		p.sets = map[string]*codeSet{}
	}
	p.sets[reference] = nil // until it is read
	set, err := p.readValueSet(reference)
	p.sets[reference] = set
	return set, err
}

func (p *planning) readValueSet(reference string) (*codeSet, error) {
	tree, err := p.definition("ValueSet", reference)
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, missing("the ValueSet %s is not on this server", reference)
	}
	if expansion, ok := tree["expansion"].(map[string]any); ok {
		if set, ok := expanded(expansion); ok {
			return set, nil
		}
	}
	compose, ok := tree["compose"].(map[string]any)
	if !ok {
		return nil, missing("the ValueSet %s says nothing of its codes on this server", reference)
	}
	return p.compose(reference, compose)
}

// expanded reads an expansion, if it is whole.
func expanded(expansion map[string]any) (*codeSet, bool) {
	set := newCodeSet()
	n := 0
	var read func(any)
	read = func(list any) {
		spread(list, func(item any) bool {
			c, _ := item.(map[string]any)
			n++
			system, _ := c["system"].(string)
			code, _ := c["code"].(string)
			if code != "" && c["abstract"] != true {
				set.codes[systemCode{system, code}] = true
			}
			read(c["contains"])
			return true
		})
	}
	read(expansion["contains"])
	total, counted := expansion["total"].(float64)
	offset, _ := expansion["offset"].(float64)
	return set, n > 0 && offset == 0 && (!counted || int(total) <= n)
}

// compose reads what a value set includes and excludes.
func (p *planning) compose(reference string, compose map[string]any) (*codeSet, error) {
	all := newCodeSet()
	err := eachPart(compose["include"], func(part map[string]any) error {
		set, err := p.include(reference, part)
		if err != nil {
			return err
		}
		for c := range set.codes {
			all.codes[c] = true
		}
		for s := range set.systems {
			all.systems[s] = true
		}
		if len(all.codes) > maxCodes {
			return missing("the ValueSet %s has more than %d codes", reference, maxCodes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachPart(compose["exclude"], func(part map[string]any) error {
		set, err := p.include(reference, part)
		if err != nil {
			return err
		}
		for c := range set.codes {
			if all.systems[c.system] {
				return missing("the ValueSet %s excludes codes of %s, which is not on this server", reference, c.system)
			}
			delete(all.codes, c)
		}
		for s := range set.systems {
			delete(all.systems, s)
			for c := range all.codes {
				if c.system == s {
					delete(all.codes, c)
				}
			}
		}
		return nil
	})
	return all, err
}

func eachPart(list any, visit func(map[string]any) error) (err error) {
	spread(list, func(item any) bool {
		part, ok := item.(map[string]any)
		if ok {
			err = visit(part)
		}
		return err == nil
	})
	return err
}

// include reads one part of a compose: codes of a system, and of them those that
// are in other value sets too.
func (p *planning) include(reference string, part map[string]any) (*codeSet, error) {
	set, err := p.ofSystem(reference, part)
	if err != nil {
		return nil, err
	}
	spread(part["valueSet"], func(item any) bool {
		url, _ := item.(string)
		var other *codeSet
		if other, err = p.valueSet(url); err != nil {
			return false
		}
		if set == nil {
			set = other
		} else {
			set, err = both(reference, set, other)
		}
		return err == nil
	})
	if set == nil && err == nil {
		err = missing("a part of the ValueSet %s names neither a system nor a value set", reference)
	}
	return set, err
}

// ofSystem gives the codes that a part names by its system; nil when it names none.
func (p *planning) ofSystem(reference string, part map[string]any) (*codeSet, error) {
	system, _ := part["system"].(string)
	if system == "" {
		return nil, nil
	}
	set := newCodeSet()
	if part["concept"] != nil {
		spread(part["concept"], func(item any) bool {
			c, _ := item.(map[string]any)
			if code, _ := c["code"].(string); code != "" {
				set.codes[systemCode{system, code}] = true
			}
			return true
		})
		return set, nil
	}
	canonical := system
	if version, _ := part["version"].(string); version != "" {
		canonical += "|" + version
	}
	codes, err := p.codeSystem(canonical)
	if err != nil {
		if _, lacking := err.(*problem); lacking && part["filter"] == nil {
			set.systems[system] = true // every code of the system, whichever there are
			return set, nil
		}
		return nil, err
	}
	chosen := map[string]bool{}
	for _, code := range codes.codes {
		chosen[code] = true
	}
	err = eachPart(part["filter"], func(f map[string]any) error {
		keep, err := codes.filter(reference, f)
		if err != nil {
			return err
		}
		for code := range chosen {
			if !keep[code] {
				delete(chosen, code)
			}
		}
		return nil
	})
	for code := range chosen {
		set.codes[systemCode{system, code}] = true
	}
	return set, err
}

// filter gives the codes that a filter on the hierarchy, or on the codes, keeps.
func (s *codeSystem) filter(reference string, f map[string]any) (map[string]bool, error) {
	property, _ := f["property"].(string)
	op, _ := f["op"].(string)
	value, _ := f["value"].(string)
	if property != "concept" && property != "code" {
		return nil, missing("the ValueSet %s filters by %s, which is not supported", reference, property)
	}
	keep := map[string]bool{}
	take := func(codes []string, not bool) {
		for _, code := range codes {
			keep[code] = true
		}
		if not {
			for _, code := range s.codes {
				keep[code] = !keep[code]
			}
		}
	}
	switch op {
	case "is-a", "descendent-of", "is-not-a", "generalizes":
		codes, err := s.related(value, op == "generalizes")
		if err != nil {
			return nil, err
		}
		take(codes, op == "is-not-a")
		if op == "descendent-of" {
			delete(keep, value)
		}
	case "=":
		take([]string{value}, false)
	case "in", "not-in":
		take(strings.Split(value, ","), op == "not-in")
	default:
		return nil, missing("the ValueSet %s filters with %s, which is not supported", reference, op)
	}
	return keep, nil
}

// both gives the codes that are in two sets.
func both(reference string, a, b *codeSet) (*codeSet, error) {
	set := newCodeSet()
	for c := range a.codes {
		if b.codes[c] || b.systems[c.system] {
			set.codes[c] = true
		}
	}
	for c := range b.codes {
		if a.systems[c.system] {
			set.codes[c] = true
		}
	}
	for s := range a.systems {
		if b.systems[s] {
			set.systems[s] = true
		}
	}
	if len(set.codes) > maxCodes {
		return nil, missing("the ValueSet %s has more than %d codes", reference, maxCodes)
	}
	return set, nil
}
