package oracletest_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// shrink gives the smallest world found in which a caller's reading of a resource
// still differs from what the checker says, as its resources one a line.
func shrink(t *testing.T, w *world, c *caller, ref string, now time.Time) string {
	t.Helper()
	small := w
	differs := func(smaller *world) bool {
		var r *resource
		for _, x := range smaller.all() {
			if x.ref() == ref {
				r = x
			}
		}
		if r == nil {
			return false
		}
		differ := false
		t.Run("shrink", func(t *testing.T) {
			g := newGate(t, smaller, now)
			want, _ := smaller.may(c, r, now)
			differ = g.reads(g.caller(c), ref) != want
		})
		return differ
	}
	if !differs(w) {
		return "not in a world that is stored anew: the guard remembered what holds no more"
	}
	for again := true; again; {
		again = false
		for _, smaller := range smallerWorlds(small, ref) {
			if differs(smaller) {
				small, again = smaller, true
				break
			}
		}
	}
	var lines []string
	for line := range strings.Lines(small.String()) {
		if !strings.Contains(line, `"resourceType":"Organization"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// smallerWorlds are a world with something taken away, what is much first.
func smallerWorlds(w *world, ref string) []*world {
	var list []*world
	with := func(change func(*world)) {
		s := *w
		change(&s)
		list = append(list, &s)
	}
	if len(w.resources) > 1 {
		with(func(s *world) {
			s.resources = slices.DeleteFunc(slices.Clone(w.resources), func(r *resource) bool { return r.ref() != ref })
		})
	}
	if n := len(w.consents); n > 3 {
		with(func(s *world) { s.consents = w.consents[:n/2] })
		with(func(s *world) { s.consents = w.consents[n/2:] })
	}
	for n := range w.consents {
		with(func(s *world) { s.consents = slices.Delete(slices.Clone(w.consents), n, n+1) })
	}
	if w.groups != nil {
		with(func(s *world) { s.groups = nil })
	}
	if w.related != nil {
		with(func(s *world) { s.related = nil })
	}
	for n := range w.related {
		with(func(s *world) { s.related = slices.Delete(slices.Clone(w.related), n, n+1) })
	}
	for n := range w.teams {
		with(func(s *world) { s.teams = slices.Delete(slices.Clone(w.teams), n, n+1) })
	}
	for n := range w.roles {
		with(func(s *world) { s.roles = slices.Delete(slices.Clone(w.roles), n, n+1) })
	}
	for n := range w.patients {
		with(func(s *world) { s.patients = slices.Delete(slices.Clone(w.patients), n, n+1) })
	}
	for n, d := range w.consents {
		for _, root := range smallerProvisions(d.root) {
			with(func(s *world) {
				changed := *d
				changed.root = root
				s.consents = slices.Clone(w.consents)
				s.consents[n] = &changed
			})
		}
	}
	return list
}

func smallerProvisions(p *provision) []*provision {
	var list []*provision
	with := func(applies bool, change func(*provision)) {
		if applies {
			s := *p
			change(&s)
			list = append(list, &s)
		}
	}
	for n, child := range p.children {
		with(true, func(s *provision) { s.children = slices.Delete(slices.Clone(p.children), n, n+1) })
		for _, smaller := range smallerProvisions(child) {
			with(true, func(s *provision) {
				s.children = slices.Clone(p.children)
				s.children[n] = smaller
			})
		}
	}
	with(p.period.given(), func(s *provision) { s.period = period{} })
	with(p.dataPeriod.given(), func(s *provision) { s.dataPeriod = period{} })
	with(p.modifier, func(s *provision) { s.modifier = false })
	with(p.action != nil, func(s *provision) { s.action = nil })
	with(p.purpose != nil, func(s *provision) { s.purpose = nil })
	with(p.class != nil, func(s *provision) { s.class = nil })
	with(p.code != nil, func(s *provision) { s.code = nil })
	with(p.data != nil, func(s *provision) { s.data = nil })
	with(p.labels != nil, func(s *provision) { s.labels = nil })
	with(len(p.labels) > 1, func(s *provision) { s.labels = p.labels[1:] })
	with(len(p.labels) > 1, func(s *provision) { s.labels = p.labels[:1] })
	with(p.actors != nil, func(s *provision) { s.actors = nil })
	with(len(p.actors) > 1, func(s *provision) { s.actors = p.actors[1:] })
	with(len(p.actors) > 1, func(s *provision) { s.actors = p.actors[:1] })
	return list
}
