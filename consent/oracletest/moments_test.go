package oracletest_test

import (
	"slices"
	"time"
)

// moments lists the times after now at which something in a world begins or ends by
// itself, in their order.
func (w *world) moments(now time.Time) []time.Time {
	var list []time.Time
	add := func(times ...time.Time) {
		for _, t := range times {
			if t.After(now) && t.Before(never) {
				list = append(list, t)
			}
		}
	}
	during := func(p period) { add(bounds(p, w.zone)...) }
	var inside func(n *provision)
	inside = func(n *provision) {
		during(n.period)
		for _, child := range n.children {
			inside(child)
		}
	}
	for _, d := range w.consents {
		inside(d.root)
	}
	for _, p := range w.patients {
		add(birthdays(p, w.zone)...)
	}
	for _, r := range w.related {
		during(r.period)
	}
	for _, r := range w.roles {
		during(r.period)
	}
	for _, t := range w.teams {
		during(t.period)
		for _, m := range t.members {
			during(m.period)
		}
	}
	for _, g := range w.groups {
		for _, m := range g.members {
			during(m.period)
		}
	}
	for _, e := range w.emergencies {
		add(e.ends)
	}
	for _, v := range w.vouchings {
		add(v.until)
	}
	slices.SortFunc(list, time.Time.Compare)
	return slices.CompactFunc(list, time.Time.Equal)
}

func bounds(p period, zone *time.Location) []time.Time {
	from, to := p.bounds(zone)
	return []time.Time{from, to}
}

// birthdays are those on which a patient grows into another band, by the first and
// by the last day that a partial birth date may mean, and when they become
// independent.
func birthdays(p *patient, zone *time.Location) (list []time.Time) {
	if p.emancipated != "" {
		from, _ := span(p.emancipated, zone)
		list = append(list, from)
	}
	if p.birth == "" {
		return list
	}
	first, after := span(p.birth, zone)
	last := after.AddDate(0, 0, -1)
	for _, born := range []time.Time{first, last} {
		for _, years := range []int{13, 18} {
			list = append(list, time.Date(born.Year()+years, born.Month(), born.Day(), 0, 0, 0, 0, zone))
		}
	}
	return list
}

// approach lets time pass until a second before something begins or ends; it gives
// that moment, or reports false when nothing does.
func (m *maker) approach(g *gate) (at time.Time, ok bool) {
	list := m.w.moments(m.now.Add(time.Second))
	if len(list) == 0 {
		return time.Time{}, false
	}
	at = list[m.IntN(min(len(list), 4))]
	m.now = at.Add(-time.Second)
	g.set(m.now)
	return at, true
}
