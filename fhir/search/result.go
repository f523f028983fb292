package search

import (
	"slices"
	"strconv"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// resultParameters are the parameters that shape the answer and do not filter
// (https://hl7.org/fhir/R4/search.html#return).
var resultParameters = map[string]func(ps *parser, key, value string) (applied bool, err error){
	"_count":      (*parser).count,
	"_sort":       (*parser).sortBy,
	"_total":      (*parser).total,
	"_summary":    (*parser).summary,
	"_elements":   (*parser).elements,
	"_include":    (*parser).include,
	"_revinclude": (*parser).include,
	"_cursor":     (*parser).cursor,
	"_format":     carried,
	"_pretty":     carried,
	"_contained":  (*parser).contained,
}

// carried are parameters that others look at; they stay in the self link.
func carried(_ *parser, key, _ string) (bool, error) { return plainKey(key) }

// plainKey refuses modifiers.
func plainKey(key string) (bool, error) {
	if strings.Contains(key, ":") {
		return false, unsupported("modifiers are not supported here")
	}
	return true, nil
}

// once refuses a parameter that was given before, or with a modifier.
func (ps *parser) once(key string) error {
	if ps.q.Applied.Has(key) {
		return badValue("the parameter was given more than once")
	}
	_, err := plainKey(key)
	return err
}

// contained takes _contained=false, which is how it is: contained resources are not
// found by themselves.
func (ps *parser) contained(key, value string) (bool, error) {
	if err := ps.once(key); err != nil {
		return false, err
	}
	if value != "false" {
		return false, unsupported("contained resources cannot be searched for")
	}
	return true, nil
}

func (ps *parser) count(key, value string) (bool, error) {
	if err := ps.once(key); err != nil {
		return false, err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return false, badValue("%q is not a count", value)
	}
	most := n > ps.opt.MaxCount // the self link tells what was done
	if most {
		n = ps.opt.MaxCount
		ps.q.Applied.Set(key, strconv.Itoa(n))
	}
	if ps.q.Summary != "count" {
		ps.q.Count = n
	}
	return !most, nil
}

func (ps *parser) total(key, value string) (bool, error) {
	if err := ps.once(key); err != nil {
		return false, err
	}
	if !slices.Contains([]string{"none", "estimate", "accurate"}, value) {
		return false, badValue("%q is none of none, estimate, accurate", value)
	}
	ps.q.Total = value
	return true, nil
}

func (ps *parser) summary(key, value string) (bool, error) {
	if err := ps.once(key); err != nil {
		return false, err
	}
	if !slices.Contains([]string{"true", "text", "data", "count", "false"}, value) {
		return false, badValue("%q is none of true, text, data, count, false", value)
	}
	ps.q.Summary = value
	if value == "count" {
		ps.q.Count = 0
	}
	return true, nil
}

func (ps *parser) elements(key, value string) (bool, error) {
	if _, err := plainKey(key); err != nil {
		return false, err
	}
	e, read := ps.elementsOf[value]
	if !read && len(ps.elementsOf) == 20 {
		return false, badValue("more than 20 lists are too costly")
	}
	if !read {
		types := ps.types
		if ps.includes { // what they bring may have them
			types = nil
		}
		e.names, e.unknown, e.err = fhir.ParseElements(value, types...)
		ps.elementsOf[value] = e
	}
	switch {
	case e.err != nil:
		return false, badValue("%q is no list of names of elements", value)
	case len(e.unknown) == 0:
	case !ps.opt.Lenient:
		return false, badValue("no type that is asked for has an element %q", e.unknown[0])
	case len(e.names) > 0: // the self link tells what was done
		ps.q.Applied.Add(key, strings.Join(e.names, ","))
	}
	ps.q.Elements = append(ps.q.Elements, e.names...)
	return len(e.unknown) == 0, nil
}

// elementNames are the names of one value of _elements, the same for all types of a
// search of several.
type elementNames struct {
	names, unknown []string
	err            error
}

func (ps *parser) cursor(key, value string) (bool, error) {
	if ps.q.Cursor != "" {
		return false, badValue("the parameter was given more than once")
	}
	ps.q.Cursor = value
	_, err := plainKey(key)
	return false, err
}

// sortBy reads _sort=family,-birthdate. Nothing more can be sorted behind the id.
func (ps *parser) sortBy(key, value string) (bool, error) {
	if err := ps.once(key); err != nil {
		return false, err
	}
	var sorts []store.Sort
	byID := false
	for item := range strings.SplitSeq(value, ",") {
		name, descending := strings.CutPrefix(item, "-")
		p, ok := ps.r.Param(ps.q.Type, name)
		if !ok {
			return false, ps.noParam(ps.q.Type, name)
		}
		if len(p.unionOf) == 1 {
			p = p.unionOf[0]
		}
		if p.unionOf != nil || p.Kind == Composite || p.Kind == Special {
			return false, unsupported("results cannot be sorted by %s", name)
		}
		if byID || slices.ContainsFunc(sorts, func(s store.Sort) bool { return s.Name == p.Name }) {
			continue // changes nothing
		}
		if name == store.ID && !descending { // the order among equals
			byID = true
			continue
		}
		sorts = append(sorts, store.Sort{Name: p.Name, Descending: descending})
		byID = name == store.ID
	}
	if len(sorts) > 5 {
		return false, badValue("more than 5 keys are too costly")
	}
	ps.q.sort = sorts
	return true, nil
}

// include reads _include=Source:param:Target and _revinclude, with :iterate and *.
func (ps *parser) include(key, value string) (bool, error) {
	name, modifier, _ := strings.Cut(key, ":")
	if modifier != "" && modifier != "iterate" {
		return false, unsupported("the modifier :%s is not supported here", modifier)
	}
	i := Include{Reverse: name == "_revinclude", Iterate: modifier == "iterate", registry: ps.r}
	parts := strings.Split(value, ":")
	switch {
	case value == "*":
		i.Param = "*"
	case len(parts) < 2 || len(parts) > 3:
		return false, badValue("%q is not of the form Type:parameter or Type:parameter:Type", value)
	default:
		i.Source, i.Param = fhir.Type(parts[0]), parts[1]
		if len(parts) == 3 {
			i.Target = fhir.Type(parts[2])
		}
		if err := ps.checkInclude(i); err != nil {
			return false, err
		}
	}
	if len(ps.q.includes) >= 50 {
		return false, badValue("more than 50 are too costly")
	}
	ps.q.includes = append(ps.q.includes, i)
	return true, nil
}

// checkInclude sees that an include can lead anywhere.
func (ps *parser) checkInclude(i Include) error {
	if !i.Source.Valid() {
		return badValue("%q is no resource type of R4", i.Source)
	}
	if i.Target != "" && !i.Target.Valid() {
		return badValue("%q is no resource type of R4", i.Target)
	}
	if !i.Reverse && !i.Iterate && !slices.Contains(ps.types, i.Source) {
		return badValue("%s is not what is searched for: its references need :iterate", i.Source)
	}
	if i.Param == "*" {
		return nil
	}
	p, ok := ps.r.Param(i.Source, i.Param)
	if !ok {
		return ps.noParam(i.Source, i.Param)
	}
	if p.Kind != Reference {
		return badValue("%s of %s is no reference", i.Param, i.Source)
	}
	if i.Target != "" && !slices.Contains(p.Targets, i.Target) {
		return badValue("%s of %s never refers to a %s", i.Param, i.Source, i.Target)
	}
	if i.Reverse && !i.Iterate && !slices.ContainsFunc(ps.types, func(t fhir.Type) bool { return slices.Contains(p.Targets, t) }) {
		return badValue("%s of %s never refers to a %s", i.Param, i.Source, ps.q.Type)
	}
	return nil
}
