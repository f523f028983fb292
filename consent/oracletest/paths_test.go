package oracletest_test

import (
	"fmt"
	"net/url"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// joins are the ways by which a search leads from one resource to another: from a
// type, by a parameter that reads an element, to a type.
var joins = []struct{ from, param, element, to string }{
	{"Observation", "has-member", "hasMember", "Observation"}, {"Observation", "subject", "subject", "Patient"}, {"Observation", "performer", "performer", "Patient"},
	{"DiagnosticReport", "result", "result", "Observation"}, {"List", "item", "entry", "Observation"}, {"Encounter", "diagnosis", "diagnosis", "Condition"},
	{"Condition", "evidence-detail", "evidence", "Observation"}, {"Procedure", "reason-reference", "reasonReference", "Condition"},
	{"Condition", "patient", "subject", "Patient"}, {"CareTeam", "patient", "subject", "Patient"}, {"Provenance", "target", "target", "Patient"},
	{"DocumentReference", "author", "author", "Patient"}, {"Group", "member", "member", "Patient"}, {"AllergyIntolerance", "asserter", "asserter", "Patient"},
}

// paths compares what a caller is given by ways that lead from one resource to
// another, and by those that list versions. Each of them sees what a search sees.
func (d *difference) paths(who consent.Caller, finds map[string]bool) {
	seen := func(r *resource) bool { return finds[r.ref()] }
	byRef := map[string]*resource{}
	for _, r := range d.all {
		byRef[r.ref()] = r
	}
	j := joins[d.m.IntN(len(joins))]
	var from, include, back, to []string
	for _, r := range d.all {
		if r.kind == j.to && seen(r) {
			to = append(to, r.ref())
		}
		if r.kind != j.from || !seen(r) {
			continue
		}
		from = append(from, r.ref())
		for _, ref := range r.links[j.element] {
			if target := byRef[ref]; target != nil && target.kind == j.to && seen(target) {
				include, back = append(include, ref), append(back, r.ref())
			}
		}
	}
	for _, ask := range []struct {
		kind, query string
		want        []string
	}{
		{j.from, fmt.Sprintf("_include=%s:%s:%s", j.from, j.param, j.to), slices.Concat(from, include)},
		{j.to, fmt.Sprintf("_revinclude=%s:%s", j.from, j.param), slices.Concat(to, back)},
		{j.to, fmt.Sprintf("_has:%s:%s:_lastUpdated=gt1999", j.from, j.param), include},
		{j.from, fmt.Sprintf("%s:%s._lastUpdated=gt1999", j.param, j.to), back},
	} {
		pages, err := d.g.search(who, ask.kind, ask.query+fmt.Sprintf("&_count=%d", 1+d.m.IntN(20)))
		d.sameSet(ask.kind+"?"+ask.query, refs(pages), ask.want, err)
	}
	d.versions(who, finds)
	d.exports(who, finds)
}

// versions compares the newest of what histories and $everything list.
func (d *difference) versions(who consent.Caller, finds map[string]bool) {
	kind := kinds[d.m.IntN(len(kinds))]
	pages, err := d.g.pages(func(v url.Values) (*fhir.Page, error) {
		return d.g.guard.TypeHistory(d.t.Context(), who, fhir.Type(kind), v, false)
	}, fmt.Sprintf("_count=%d", 1+d.m.IntN(30)))
	d.newest("history of "+kind, pages, err, finds, func(r *resource) bool { return r.kind == kind })
	p := d.w.patients[d.m.IntN(len(d.w.patients))]
	pages, err = d.g.pages(func(v url.Values) (*fhir.Page, error) {
		return d.g.guard.Everything(d.t.Context(), who, p.id, v, false)
	}, fmt.Sprintf("_count=%d", 1+d.m.IntN(30)))
	if err != nil {
		if !finds["Patient/"+p.id] && fhir.KindOf(err) == fhir.NotFound {
			return
		}
		d.t.Errorf("%s everything of %s: %v", d.who(), p.id, err)
		return
	}
	d.newest("everything of "+p.id, pages, nil, finds, func(r *resource) bool {
		return slices.Contains(d.w.owners(r), p) && !d.w.unsettled(d.c, r, p, d.m.now)
	})
}

// newest compares those of the newest versions listed that are wanted, and that
// nothing else is listed which may not be seen.
func (d *difference) newest(what string, pages []*fhir.Page, err error, finds map[string]bool, wanted func(*resource) bool) {
	listed := refs(pages)
	var got, want []string
	for _, r := range d.all {
		if slices.Contains(listed, r.ref()) && (wanted(r) || !finds[r.ref()]) {
			got = append(got, r.ref())
		}
		if finds[r.ref()] && wanted(r) {
			want = append(want, r.ref())
		}
	}
	d.sameSet(what, got, want, err)
}

func (d *difference) sameSet(what string, got, want []string, err error) {
	got, want = distinct(got), distinct(want)
	if err != nil || !slices.Equal(got, want) {
		d.t.Errorf("%s %s: %v\n too much %v\n too little %v", d.who(), what, err, without(got, want), without(want, got))
	}
}

func distinct(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// without lists what is in a but not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
