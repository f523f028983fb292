package oracletest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestNoByteTells asks two worlds over HTTP that differ in nothing but what the
// caller may not see, reads first and then writes, and compares every byte of the
// answers.
func TestNoByteTells(t *testing.T) {
	seed, worlds, of := seeded(t), 3, 25 // of a hundred questions
	if long() {
		worlds, of = 100, 100
	}
	for n := range worlds {
		seed := seed + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			zone, now := someTime(t, r)
			w := makeWorld(r, zone, now)
			m := &maker{r, w, now}
			callers := m.callers()
			m.emergencies(callers)
			c := pick(m, callers[:len(callers)-2]...)
			gates, differing := m.pair(t, c)
			servers := []*server{newServer(gates[0], w), newServer(gates[1], w)}
			same := func(what fmt.Stringer, ask func(s *server) string) {
				if one, other := ask(servers[0]), ask(servers[1]); one != other {
					t.Errorf("SEED=%d: %s (%s %v %s) %s:\n%s", seed, c.name, c.role, c.persons, scopesText(c.scopes), what, firstDifference(one, other))
				}
			}
			for _, asks := range [][]call{m.readings(c), m.writings(c)} {
				m.bustle(servers, callers, c, differing)
				for _, ask := range asks {
					if m.chance(of) {
						same(ask, func(s *server) string { return s.do(s.g.caller(c), ask) })
					}
				}
				for _, ask := range questions(w) {
					if c.scopes != nil {
						break // these are of our pages, where no app comes
					}
					same(ask, func(s *server) string { return s.named(ask.of(s.g, s.g.caller(c))) })
				}
			}
		})
	}
}

// bustle has others look at records. What they are given differs from one world to
// the other, and stands in the logs of the patients; but of what the caller may see
// too it is the same, or there would be something to see. So is on what basis they
// look, which the log tells: that of sponsored staff is not.
func (m *maker) bustle(servers []*server, callers []*caller, not *caller, differing *world) {
	for range 6 {
		c, kind := pick(m, callers...), pick(m, "Observation", "Patient", "Encounter")
		if c.login == not.login || c.role == "sponsored" || slices.ContainsFunc(m.w.all(), func(r *resource) bool {
			reads, finds := m.w.may(not, r, m.now)
			return (reads || finds) && m.w.open(c, r, m.now) != differing.open(c, r, m.now)
		}) {
			continue
		}
		list := []call{get(kind + "?_count=100"), get("Patient/" + m.id("pat", manyPatients) + "/$everything"), get(fmt.Sprintf("Observation/r%d", 1000+m.IntN(40)))}
		for range 8 {
			list = append(list, get(pick(m, m.w.resources...).ref()))
		}
		for _, one := range list {
			for _, s := range servers {
				s.do(s.g.caller(c), one)
			}
		}
	}
}

// firstDifference shows two texts where they part.
func firstDifference(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	from := max(0, at-400)
	return a[from:min(len(a), at+400)] + "\nbut with other things hidden\n" + b[from:min(len(b), at+400)]
}

func get(path string, headers ...string) call {
	return call{method: "GET", path: "/fhir/" + path, headers: headers}
}

// readings are ways to look for what is hidden.
func (m *maker) readings(c *caller) (list []call) {
	add := func(path string, headers ...string) { list = append(list, get(path, headers...)) }
	add("metadata")
	for _, kind := range append(slices.Clone(kinds), "Communication", "AuditEvent", "Subscription") {
		add(fmt.Sprintf("%s?_total=accurate&_count=%d", kind, 1+m.IntN(9)))
		add(fmt.Sprintf("%s?_sort=-_lastUpdated&_count=%d&_summary=true", kind, 1+m.IntN(9)))
		add(kind + "?_summary=count")
		add(kind + "/_history?_count=7")
	}
	add("?_count=25&_type=" + strings.Join(kinds, ","))
	add("_history?_count=25")
	async := []string{"Prefer", "respond-async"}
	add("$export", async...)
	add("Patient/$export?_type=Patient,Observation,Consent&_typeFilter="+url.QueryEscape("Observation?code="+ourCodes+"|"+m.id("c", 4)), append(slices.Clone(async), "Prefer", "respond-async, handling=lenient")...)
	for _, g := range m.w.groups {
		add("Group/"+g.id+"/$export", async...)
	}
	one := object{"name": "patient", "valueReference": to("Patient/" + m.id("pat", manyPatients))}
	list = append(list, call{method: "POST", path: "/fhir/Patient/$export", body: text(object{"resourceType": "Parameters", "parameter": []any{one}}), headers: async})
	for _, j := range joins {
		add(j.from + "?_include=" + j.from + ":" + j.param + "&_count=3&_total=accurate")
		add(j.to + "?_revinclude=" + j.from + ":" + j.param + "&_count=3&_total=accurate")
		add(j.to + "?_has:" + j.from + ":" + j.param + ":_lastUpdated=gt1999&_total=accurate")
		add(j.from + "?" + j.param + ":" + j.to + "._lastUpdated=gt1999&_total=accurate")
		add(j.from + "?" + j.param + "=Patient/" + m.id("pat", manyPatients) + "&_summary=count")
	}
	for _, p := range m.w.patients {
		for _, query := range []string{"identifier=MRN" + p.id, "_id=" + p.id, "family=Family" + p.id + "&given=Given&birthdate=" + p.birth, "email=" + p.id + "@example.org", "family=Fam&_sort=birthdate"} {
			add("Patient?" + query)
		}
		code := url.QueryEscape(ourCodes + "|" + m.id("c", 4))
		add("Observation?patient=" + p.id + "&_sort=code,-date&_total=accurate")
		add("Observation?patient=" + p.id + "&code=" + code + "&_summary=count")
		add("Observation?patient=" + p.id + "&_security=" + url.QueryEscape(actCode+"|"+m.sensitivity()) + "&_total=accurate")
		add("Observation?code:not=" + code + "&_elements=code&_count=4")
		add("AuditEvent?patient=" + p.id)
		add("Patient/" + p.id + "/$everything?_count=9")
		add("Patient/" + p.id + "/$everything?_count=0")
		add("Patient/" + p.id + "/$access")
		list = append(list, call{method: "POST", path: "/fhir/Observation/_search", body: "patient=" + p.id, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}})
	}
	batch := []any{}
	for _, r := range append(m.w.all(), &resource{kind: "Observation", id: "r1001"}, &resource{kind: "Observation", id: "absent"}) {
		add(r.ref())
		add(r.ref()+"/_history", "Accept", "application/fhir+json")
		add(r.ref() + "/_history?_count=0")
		add(r.ref() + "/_history/1")
		add(r.ref(), "If-None-Match", `W/"1"`)
		list = append(list, call{method: "HEAD", path: "/fhir/" + r.ref()}, call{method: "GET", path: "/fhir/" + r.ref() + "/$validate?mode=delete"})
		if len(batch) < 40 {
			batch = append(batch, object{"request": object{"method": "GET", "url": r.ref()}})
		}
	}
	return append(list, call{method: "POST", path: "/fhir", body: text(object{"resourceType": "Bundle", "type": "batch", "entry": batch})})
}

func text(o object) string {
	body, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// writings are ways to find out what is hidden by writing. What is written leads to
// nothing from which labels flow: who may see it learns from it what that is about, as
// is meant.
func (m *maker) writings(c *caller) (list []call) {
	add := func(method, path string, body any, headers ...string) {
		one := call{method: method, path: "/fhir/" + path, headers: headers}
		switch body := body.(type) {
		case object:
			one.body = text(body)
		case string:
			one.body = body
		}
		list = append(list, one)
	}
	hidden := []*resource{{kind: "Observation", id: "absent"}, {kind: "Consent", id: "absent"}, {kind: "Patient", id: "absent"}}
	for _, r := range m.w.all() {
		if reads, finds := m.w.may(c, r, m.now); !reads && !finds && m.chance(25) {
			hidden = append(hidden, r)
		}
	}
	patch := `[{"op":"add","path":"/language","value":"en"}]`
	mine := func(p *patient) string { return "Patient/" + p.id }
	for _, r := range hidden {
		p := pick(m, m.w.patients...)
		code := url.QueryEscape(ourCodes + "|" + r.code.code)
		entry := object{"resourceType": "List", "status": "current", "mode": "working", "subject": to(mine(p)), "entry": []any{object{"item": to(r.ref())}}}
		observation := object{"resourceType": "Observation", "status": "final", "code": concept(coding{ourCodes, "new"}), "subject": to(mine(p))}
		add("PATCH", r.ref(), patch, "Content-Type", "application/json-patch+json")
		add("PATCH", r.ref(), patch, "Content-Type", "application/json-patch+json", "If-Match", `W/"1"`)
		add("PATCH", r.ref(), patch, "Content-Type", "application/json-patch+json", "If-Match", "*")
		add("PUT", r.ref(), object{"resourceType": r.kind, "id": r.id}, "If-Match", "*")
		add("DELETE", r.ref(), nil, "If-Match", "*")
		add("DELETE", r.ref(), nil)
		add("DELETE", "Observation?code="+code+"&patient="+p.id, nil)
		add("PATCH", "Observation?_id="+r.id, patch, "Content-Type", "application/json-patch+json")
		add("POST", "Observation", observation, "If-None-Exist", "_id="+r.id)
		add("POST", "Observation", observation, "If-None-Exist", "code="+code+"&patient="+p.id)
		add("PUT", "Observation?_id="+r.id+"&code="+code, observation)
		add("POST", "List", entry)
		add("POST", r.ref()+"/$validate", object{"resourceType": r.kind, "id": r.id})
		add("POST", "", object{"resourceType": "Bundle", "type": "transaction", "entry": []any{
			object{"fullUrl": "urn:uuid:6c5a1e0a-0000-4000-8000-000000000001", "resource": entry, "request": object{"method": "POST", "url": "List", "ifNoneExist": "item=" + r.ref()}},
			object{"request": object{"method": "DELETE", "url": r.ref()}}}})
		for _, move := range []string{"$approve", "$decline", "$revoke", "$withdraw"} {
			add("POST", r.ref()+"/"+move, nil)
		}
	}
	for _, p := range m.w.patients {
		add("POST", "Patient/"+p.id+"/$invite", nil)
		add("POST", "Patient/$redeem-invitation", object{"resourceType": "Parameters", "parameter": []any{object{"name": "token", "valueString": "00000-00000-00000-00000"}, object{"name": "mrn", "valueString": "MRN" + p.id}}})
		add("GET", "Patient/"+p.id+"/$access", nil)
		add("POST", "Patient/"+p.id+"/$end-break-glass", nil)
		if reads, finds := m.w.may(c, &resource{kind: "Patient", id: p.id}, m.now); reads || finds {
			continue // it would open what was hidden
		}
		add("POST", "Patient/$break-glass", object{"resourceType": "Parameters", "parameter": []any{object{"name": "patient", "valueString": "Patient/" + p.id}, object{"name": "purpose", "valueCode": "BTG"}, object{"name": "reason", "valueString": "Unconscious"}}})
	}
	for _, r := range hidden {
		add("GET", r.ref(), nil)
	}
	return list
}
