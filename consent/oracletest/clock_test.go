package oracletest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// A boundary is a moment at which what a caller may see changes by itself.
type boundary struct {
	name string
	at   time.Time
	who  *caller
	ref  string
	then bool // whether they may from then on; before, it is the opposite
}

// days are in the two zones: plain ones, and those on which the clocks change.
var days = map[string][]string{
	"America/New_York": {"2026-06-15", "2026-03-08", "2026-11-01"},
	"Pacific/Auckland": {"2026-06-15", "2026-09-27", "2026-04-05"},
}

// TestBoundaries asks a second before each boundary and at it, with a guard that
// remembers what it decided before.
func TestBoundaries(t *testing.T) {
	for name, list := range days {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range list {
			t.Run(name+"/"+day, func(t *testing.T) {
				w := &world{zone: zone, practitioners: []string{"doc", "boss"}, nurses: []string{"nurse"}, organizations: []string{"org"}, site: site{ceiling: "R"}}
				bounds := boundaries(w, day)
				g := newGate(t, w, bounds[0].at.Add(-48*time.Hour))
				for _, at := range moments(bounds) {
					for _, now := range []time.Time{at.Add(-time.Second), at} {
						g.set(now)
						for _, b := range bounds {
							compareBoundary(t, g, w, b, now)
						}
					}
				}
			})
		}
	}
}

func compareBoundary(t *testing.T, g *gate, w *world, b boundary, now time.Time) {
	t.Helper()
	want, c := b.then != now.Before(b.at), g.caller(b.who)
	if got := g.reads(c, b.ref); got != want {
		t.Errorf("%s: at %s %s reads %s: %v, want %v", b.name, now.In(w.zone), b.who.name, b.ref, got, want)
	}
	kind, id, _ := strings.Cut(b.ref, "/")
	pages, err := g.search(c, kind, "_id="+id+"&_total=accurate")
	if got := len(refs(pages)) == 1; err != nil || got != want || *pages[0].Total != len(refs(pages)) {
		t.Errorf("%s: at %s %s finds %s: %v, %v, want %v", b.name, now.In(w.zone), b.who.name, b.ref, got, err, want)
	}
	for _, r := range w.all() {
		if may, _ := w.may(b.who, r, now); r.ref() == b.ref && may != want {
			t.Errorf("%s: at %s the checker says %v, want %v", b.name, now.In(w.zone), may, want)
		}
	}
}

// moments lists the times of boundaries, in their order.
func moments(bounds []boundary) []time.Time {
	var list []time.Time
	for _, b := range bounds {
		if !slicesHasTime(list, b.at) {
			list = append(list, b.at)
		}
	}
	for i := range list {
		for j := i; j > 0 && list[j].Before(list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list
}

func slicesHasTime(list []time.Time, t time.Time) bool {
	for _, x := range list {
		if x.Equal(t) {
			return true
		}
	}
	return false
}

// boundaries fills a world with a patient for each boundary on a day: what starts
// then does so at its midnight, what ends then at the next one.
func boundaries(w *world, day string) []boundary {
	start, end := span(day, w.zone)
	doc := &caller{name: "doc", role: "provider", persons: []string{"Practitioner/doc"}}
	named := []actor{{role: coding{participation, "IRCP"}, reference: "Practitioner/doc"}}
	from, until, child := period{start: day}, period{end: day}, "2022-02-02"
	var list []boundary
	add := func(name, birth string, at time.Time, then bool, who *caller, ref string, fill func(p *patient)) {
		p := &patient{id: fmt.Sprintf("p%d", len(w.patients)), birth: birth}
		w.patients = append(w.patients, p)
		w.resources = append(w.resources,
			&resource{kind: "Observation", id: "plain-" + p.id, code: coding{ourCodes, "c0"}, links: map[string][]string{"subject": {"Patient/" + p.id}}},
			&resource{kind: "Observation", id: "secret-" + p.id, code: coding{ourCodes, "c0"}, labels: []coding{{actCode, "SEX"}}, links: map[string][]string{"subject": {"Patient/" + p.id}}})
		if who == nil {
			who = &caller{name: "guardian of " + p.id, role: "proxy", persons: []string{"RelatedPerson/rel-" + p.id}}
			w.related = append(w.related, &related{id: "rel-" + p.id, patient: p.id, relation: "MTH", active: "true"})
		} else if who.role == "patient" {
			who = &caller{name: p.id, role: "patient", persons: []string{"Patient/" + p.id}}
		}
		if fill != nil {
			fill(p)
		}
		list = append(list, boundary{name, at, who, "Observation/" + ref + "-" + p.id, then})
	}
	self := &caller{role: "patient"}
	years := func(n int) string { return start.AddDate(-n, 0, 0).Format("2006-01-02") }
	add("the guardian of a teenager", years(13), start, false, nil, "secret", nil)
	add("the guardian of an adult", years(18), start, false, nil, "plain", nil)
	add("a login of one's own", years(13), start, true, self, "secret", nil)
	first := time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, w.zone)
	add("a birth date of a month", first.AddDate(-18, 0, 0).Format("2006-01"), first, false, nil, "plain", nil)
	leap := time.Date(start.Year(), 3, 1, 0, 0, 0, 0, w.zone)
	add("born on 29 February", "2008-02-29", leap, false, nil, "plain", nil)
	consents := func(root *provision) func(*patient) {
		return func(p *patient) {
			w.consents = append(w.consents, &directive{id: "cons-" + p.id, patient: p.id, status: "active", scope: "patient-privacy", root: root})
		}
	}
	add("a consent starts", child, start, true, doc, "plain", consents(&provision{kind: "permit", actors: named, period: from}))
	add("a consent ends", child, end, false, doc, "plain", consents(&provision{kind: "permit", actors: named, period: until}))
	night := start.Add(2*time.Hour + 30*time.Minute)
	add("a consent ends at night", child, night, false, doc, "plain", consents(&provision{kind: "permit", actors: named, period: period{end: night.Format(time.RFC3339)}}))
	add("a deny inside starts", child, start, false, doc, "plain", consents(&provision{kind: "permit", actors: named, children: []*provision{{kind: "deny", period: from}}}))
	add("a deny inside ends", child, end, true, doc, "plain", consents(&provision{kind: "permit", actors: named, children: []*provision{{kind: "deny", period: until}}}))
	add("a permit inside outlives its consent", child, end, false, doc, "plain", consents(&provision{kind: "permit", actors: named, period: until, children: []*provision{{kind: "permit", period: period{end: "2050"}}}}))
	add("what a guardian granted", years(18), start, false, doc, "plain", func(p *patient) {
		w.related = append(w.related, &related{id: "rel-" + p.id, patient: p.id, relation: "MTH", active: "true"})
		w.consents = append(w.consents, &directive{id: "cons-" + p.id, patient: p.id, status: "active", scope: "patient-privacy", root: &provision{kind: "permit", actors: named}, performers: []string{"RelatedPerson/rel-" + p.id}})
	})
	teams := func(whole, part period) func(*patient) {
		return func(p *patient) {
			w.teams = append(w.teams, &team{id: "team-" + p.id, status: "active", subject: p.id, period: whole, members: []member{{reference: "Practitioner/doc", period: part}}})
		}
	}
	add("a team starts", child, start, true, doc, "plain", teams(from, period{}))
	add("a team ends", child, end, false, doc, "plain", teams(until, period{}))
	add("a membership starts", child, start, true, doc, "plain", teams(period{}, from))
	add("a membership ends", child, end, false, doc, "plain", teams(period{}, until))
	guardians := func(part period) func(*patient) {
		return func(p *patient) { w.related[len(w.related)-1].period = part }
	}
	add("a guardianship starts", child, start, true, nil, "plain", guardians(from))
	add("a guardianship ends", child, end, false, nil, "plain", guardians(until))
	add("a guardianship starts at night", child, night, true, nil, "plain", guardians(period{start: night.Format(time.RFC3339)}))
	practice := func(part period) func(*patient) {
		return func(p *patient) {
			w.roles = append(w.roles, &employment{id: "role-" + p.id, practitioner: "doc", organization: "org-" + p.id, active: "true", period: part})
			w.organizations = append(w.organizations, "org-"+p.id)
			p.pcp = []string{"Organization/org-" + p.id}
		}
	}
	add("a role starts", child, start, true, doc, "plain", practice(from))
	add("a role ends", child, end, false, doc, "plain", practice(until))
	add("a role starts at night", child, night, true, doc, "plain", practice(period{start: night.Format(time.RFC3339)}))
	groups := func(part period) func(*patient) {
		return func(p *patient) {
			w.groups = append(w.groups, &group{id: "group-" + p.id, members: []member{{reference: "Practitioner/doc", period: part}}})
			consents(&provision{kind: "permit", actors: []actor{{role: coding{participation, "IRCP"}, reference: "Group/group-" + p.id}}})(p)
		}
	}
	add("a place in a group starts", child, start, true, doc, "plain", groups(from))
	add("a place in a group ends", child, end, false, doc, "plain", groups(until))
	add("independence", child, start, true, self, "secret", func(p *patient) { p.emancipated = day })
	add("a guardian of somebody independent", child, start, false, nil, "plain", func(p *patient) { p.emancipated = day })
	emergencies := func(ends time.Time) func(*patient) {
		return func(p *patient) {
			w.emergencies = append(w.emergencies, &emergent{caller: "doc", doctor: "doc", patient: p.id, began: ends.Add(-time.Hour), ends: ends, record: "emergency-" + p.id})
		}
	}
	add("an emergency ends at midnight", child, start, false, doc, "secret", emergencies(start))
	add("an emergency ends at night", child, night, false, doc, "secret", emergencies(night))
	nurse := &caller{name: "nurse", role: "sponsored", persons: []string{"Practitioner/nurse"}}
	w.vouchings = append(w.vouchings, &vouching{sponsor: "boss", nurse: "nurse", until: night})
	add("a sponsor has not confirmed", child, night, false, nurse, "secret", func(p *patient) { p.pcp = []string{"Practitioner/boss"} })
	add("a place in a group starts at night", child, night, true, doc, "plain", groups(period{start: night.Format(time.RFC3339)}))
	return list
}

// TestInvitationsAndRequestsEnd: an invitation ends after calendar months at the
// same local time, a request after days, also over a change of the clocks.
func TestInvitationsAndRequestsEnd(t *testing.T) {
	for name, issued := range map[string]string{"America/New_York": "2026-01-31T08:15:00-05:00", "Pacific/Auckland": "2026-03-31T08:15:00+13:00"} {
		t.Run(name, func(t *testing.T) {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := span(issued, zone)
			w := &world{zone: zone, practitioners: []string{"doc"}, patients: []*patient{{id: "p", birth: "2020-01-01"}}, related: []*related{{id: "rel", patient: "p", relation: "MTH", active: "true"}}}
			g := newGate(t, w, at)
			link := func(name string, role smart.Role, person string) consent.Caller {
				a, err := g.guard.LinkAccount(t.Context(), "https://idp.test", name, name, name+"@example.org", consent.Link{Role: role, Person: person})
				if err != nil {
					t.Fatal(err)
				}
				id, err := g.guard.Identity(t.Context(), a, role)
				if err != nil {
					t.Fatal(err)
				}
				return consent.Caller{Grant: consent.Portal(id, "session-"+name), Address: "192.0.2.1"}
			}
			mother, doc := link("mother", smart.Proxy, "RelatedPerson/rel"), link("doc", smart.Provider, "Practitioner/doc")
			invited := make([]*consent.Invited, 2)
			for n := range invited {
				if invited[n], err = g.guard.Invite(t.Context(), mother, "p", consent.Invitation{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := g.guard.RequestAccess(t.Context(), doc, consent.AccessRequest{Patient: "Patient/p"}); err != nil {
				t.Fatal(err)
			}
			lapse := at.Add(30 * 24 * time.Hour)
			for want, now := range []time.Time{lapse.Add(-time.Second), lapse} {
				g.set(now)
				if n, err := g.guard.Lapse(t.Context()); err != nil || n != want {
					t.Errorf("at %s %d lapsed, %v, want %d", now, n, err, want)
				}
			}
			local := at.In(zone)
			expires := time.Date(local.Year(), local.Month()+7, 0, local.Hour(), local.Minute(), 0, 0, zone) // the last day of the sixth month
			redeem := func(n int, now time.Time) error {
				g.set(now)
				_, err := g.guard.Redeem(t.Context(), doc, invited[n].Token, "MRNp", "")
				return err
			}
			if err := redeem(0, expires.Add(-time.Second)); err != nil {
				t.Errorf("a second before %s: %v", expires, err)
			}
			if err := redeem(1, expires); fhir.KindOf(err) != fhir.Unprocessable {
				t.Errorf("at %s: %v", expires, err)
			}
		})
	}
}
