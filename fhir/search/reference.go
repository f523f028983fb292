package search

import (
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// splitReference gives type and id of a relative or absolute reference.
func splitReference(text string) (typ, id string) {
	ref := fhir.ParseReference(text)
	if ref.Form != fhir.Relative && ref.Form != fhir.Literal {
		return "", ""
	}
	return string(ref.Key.Type), ref.Key.ID
}

// referenceForm writes where a reference leads: "Type/id" on this server, without
// a version; any other as it is.
func referenceForm(text, base string) string {
	ref := fhir.ParseReference(text)
	if key, ok := ref.Local(base); ok {
		return key.String()
	}
	if ref.Form == fhir.Literal {
		return bound(ref.Base + "/" + ref.Key.String())
	}
	return bound(clean(text))
}

// referenceOf gives the text of a Reference, a canonical, or, for what is itself a
// resource of one of the types (the first entry of a document), its key; "" when
// there is none.
func referenceOf(item any, types []fhir.Type) string {
	switch v := item.(type) {
	case string:
		return v
	case map[string]any:
		if text, ok := v["reference"].(string); ok {
			return text
		}
		typ, _ := v["resourceType"].(string)
		if id, ok := v["id"].(string); ok && slices.Contains(types, fhir.Type(typ)) {
			return typ + "/" + id
		}
	}
	return ""
}

// referenceQuery is the condition of a reference parameter: Type/id, an id alone,
// a URL; target is the type that a modifier names.
func (ps *parser) referenceQuery(p *Param, target fhir.Type, value string) (store.Expr, error) {
	forms, err := ps.referenceForms(p, target, value)
	if err != nil {
		return nil, err
	}
	if strings.Contains(forms[0], ":") { // a canonical without a version stands for all
		return canonicalQuery(p.names.plain, forms[0]), nil
	}
	return equalAny(p.names.plain, forms), nil
}

// referenceForms gives the terms that a value of a reference parameter may mean.
func (ps *parser) referenceForms(p *Param, target fhir.Type, value string) ([]string, error) {
	value = unescape(value)
	ref := fhir.ParseReference(value)
	key, local := ref.Local(ps.opt.Base)
	switch {
	case ref.Version != "":
		return nil, badValue("references to a version cannot be searched for")
	case local && target != "" && key.Type != target:
		return nil, badValue("%q is no %s", value, target)
	case local:
		return []string{key.String()}, nil
	case ref.Form == fhir.Literal || ref.Form == fhir.Absolute:
		return []string{referenceForm(value, ps.opt.Base)}, nil
	case !fhir.ValidID(value):
		return nil, badValue("%q is not a reference: Type/id, id or URL", value)
	case target != "":
		return []string{fhir.Key{Type: target, ID: value}.String()}, nil
	}
	if len(p.Targets) == 0 {
		return []string{value}, nil
	}
	if err := ps.spend(len(p.Targets) - 1); err != nil {
		return nil, err
	}
	forms := make([]string, 0, len(p.Targets))
	for _, t := range p.Targets {
		forms = append(forms, fhir.Key{Type: t, ID: value}.String())
	}
	return forms, nil
}

// canonicalQuery is the condition that there is such a URI, or that URI with any
// version (url|version).
func canonicalQuery(name, form string) store.Expr {
	if strings.Contains(form, "|") {
		return store.Equal{Name: name, Value: form}
	}
	return store.Or{store.Equal{Name: name, Value: form}, store.Prefix{Name: name, Prefix: form + "|"}}
}

// uriQuery is the condition of a uri parameter
// (https://hl7.org/fhir/R4/search.html#uri). :below takes the path below a URI,
// :above what the path of a URI is below of.
func uriQuery(name, modifier, value string) (store.Expr, error) {
	value = clean(unescape(value))
	if value == "" {
		return nil, badValue("a URI is missing")
	}
	switch modifier {
	case "below":
		value = strings.TrimSuffix(value, "/")
		if len(value) > maxValue-41 {
			return nil, badValue("the URI is longer than %d bytes", maxValue-41)
		}
		return store.Or{store.Equal{Name: name, Value: value}, store.Prefix{Name: name, Prefix: value + "/"}}, nil
	case "above":
		values := []string{bound(value)}
		for v := value; ; {
			at := strings.LastIndexByte(v, '/')
			if at <= 0 || strings.HasSuffix(v[:at], "/") {
				return equalAny(name, values), nil
			}
			values = append(values, bound(v[:at+1]), bound(v[:at]))
			v = v[:at]
		}
	}
	return canonicalQuery(name, bound(value)), nil
}
