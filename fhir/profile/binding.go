package profile

// A verdict says how a coded value stands to a value set.
type verdict uint8

const (
	inside  verdict = iota
	outside         // it has codes, none of the set
	uncoded         // it has no code: text only
	silent          // nothing can be said: extensions only
)

// judge asks whether a code, Coding, CodeableConcept or Quantity is in the set.
func (c *codes) judge(i item) verdict {
	switch v := i.v.(type) {
	case string: // a code has no system
		if c.any[v] {
			return inside
		}
		return outside
	case map[string]any:
		if list, ok := v["coding"].([]any); ok {
			worst := uncoded
			for _, coding := range list {
				object, _ := coding.(map[string]any)
				switch c.coding(object) {
				case inside:
					return inside
				case outside:
					worst = outside
				case silent:
					if worst == uncoded {
						worst = silent
					}
				}
			}
			return worst
		}
		if i.t != nil && i.t.name == "CodeableConcept" {
			if v["extension"] != nil {
				return silent
			}
			return uncoded
		}
		return c.coding(v)
	}
	return silent
}

// coding judges one Coding, or a Quantity by its unit.
func (c *codes) coding(v map[string]any) verdict {
	code, coded := v["code"].(string)
	system, systemic := v["system"].(string)
	switch {
	case !coded && (v["extension"] != nil || v["_code"] != nil):
		return silent
	case !coded:
		return uncoded
	case systemic && c.systems[system][code], !systemic && v["_system"] != nil && c.any[code]:
		return inside
	}
	return outside
}
