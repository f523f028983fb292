package search

import (
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/store"
)

// maxMembers bounds the entries of the lists of a query.
const maxMembers = 20_000

// list reads _list=42: what a List names
// (https://hl7.org/fhir/R4/search.html#list). A list that the caller may not see
// has no members, like one that is not there. The functional lists ($current-…) are
// not offered.
func (ps *parser) list(t fhir.Type, value string) (condition, error) {
	var ids []string
	for _, v := range splitEscaped(value, ',') {
		v = strings.TrimPrefix(unescape(v), "List/")
		switch {
		case strings.HasPrefix(v, "$"):
			return nil, unsupported("functional lists like %s are not supported", v)
		case !fhir.ValidID(v):
			return nil, badValue("%q is not the id of a List", v)
		}
		if err := ps.spend(1); err != nil {
			return nil, err
		}
		ids = append(ids, v)
	}
	return ps.looking(func(p *planning) (store.Expr, error) {
		lists, err := p.find("List", equalAny(store.ID, ids), len(ids))
		if err != nil {
			return nil, err
		}
		members := store.In{Name: store.ID}
		for _, l := range lists {
			for item := range l.Terms.Values("item") {
				key, err := fhir.ParseKey(string(item))
				if err == nil && key.Type == t {
					members.Values = append(members.Values, key.ID)
				}
			}
		}
		if len(members.Values) > maxMembers {
			return nil, &problem{code: "too-costly", text: "the list names more than can be looked at"}
		}
		if len(members.Values) == 0 {
			return store.None(), nil
		}
		return members, nil
	}), nil
}
