package oracletest_test

import "slices"

// levels is the order of confidentiality.
const levels = "ULMNRV"

// covers lists what a sensitivity stands for besides itself.
var covers = map[string][]string{
	"ETH": {"ETHUD", "OPIOIDUD", "SUD"},
	"SUD": {"ETH", "ETHUD", "OPIOIDUD"},
	"SEX": {"STD", "GENDER", "HIV"}, "PSY": {"MH", "PSYTHPN"}, "MH": {"PSY", "PSYTHPN"}, "STD": {"HIV"},
}

// sensitivities are the codes of v3-ActCode that this project knows as such.
var sensitivities = []string{"ETH", "ETHUD", "OPIOIDUD", "PSY", "SDV", "HIV", "SEX", "STD", "SUD", "GDIS", "GENDER", "MH", "PSYTHPN", "ADOL", "PRS", "PHY", "CEL", "TBOO"}

func isLevel(c coding) bool {
	return c.system == confidentiality && len(c.code) == 1 && slices.Contains([]byte(levels), c.code[0])
}

func isSensitivity(c coding) bool {
	return c.system == actCode && slices.Contains(sensitivities, c.code)
}

// level is the rank of a set of labels: the highest confidentiality named; a
// sensitivity implies at least R; without either, N.
func level(labels []coding) int {
	highest := -1
	for _, l := range labels {
		switch {
		case isLevel(l):
			highest = max(highest, rank(l.code))
		case isSensitivity(l):
			highest = max(highest, rank("R"))
		}
	}
	if highest < 0 {
		return rank("N")
	}
	return highest
}

func rank(code string) int { return slices.Index([]byte(levels), code[0]) }

func sensitive(labels []coding) []string {
	var codes []string
	for _, l := range labels {
		if isSensitivity(l) {
			codes = append(codes, l.code)
		}
	}
	return codes
}

// stands tells whether naming one sensitivity names another.
func stands(named, code string) bool { return named == code || slices.Contains(covers[named], code) }

// anyNamed: a deny needs any of the resource's sensitivities.
func anyNamed(named, codes []string) bool {
	return slices.ContainsFunc(codes, func(c string) bool {
		return slices.ContainsFunc(named, func(n string) bool { return stands(n, c) })
	})
}

// allNamed: a permit must cover all of them.
func allNamed(named, codes []string) bool {
	return !slices.ContainsFunc(codes, func(c string) bool {
		return !slices.ContainsFunc(named, func(n string) bool { return stands(n, c) })
	})
}

// giving are the references along which labels flow, one step: what is said of a
// result is said of its report.
var giving = []string{"hasMember", "result", "diagnosis", "reasonReference", "evidence"}

// givers lists what a resource takes labels over from: what it refers to so in the
// record of the same patient.
func (w *world) givers(r *resource) (list []*resource) {
	for _, element := range giving {
		for _, ref := range r.links[element] {
			for _, other := range w.resources {
				if other.ref() == ref && slices.ContainsFunc(w.owners(other), func(p *patient) bool { return slices.Contains(w.owners(r), p) }) {
					list = append(list, other)
				}
			}
		}
	}
	return list
}

// asLabelled gives a resource with the labels that it takes over too: sensitivities,
// and what is above normal.
func (w *world) asLabelled(r *resource) *resource {
	whole := *r
	for _, giver := range w.givers(r) {
		for _, l := range giver.labels {
			if isSensitivity(l) || isLevel(l) && rank(l.code) > rank("N") {
				whole.labels = append(slices.Clone(whole.labels), l)
			}
		}
	}
	return &whole
}
