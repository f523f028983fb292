package main

import (
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// A stranger is somebody who has a token and no say.
type stranger struct {
	name, token string
	sees        bool // they know of the request all the same
}

// sameAs takes out of an answer what differs from one request to the next.
var sameAs = regexp.MustCompile(`Consent/[A-Za-z0-9.-]+`)

// strangersTakeNoPart: while a family and a provider answer requests, everybody
// else tries to. Nobody of them moves anything; who may not know of a request gets
// the answer that one gets which does not exist, byte for byte.
func strangersTakeNoPart(t *testing.T, s *stage) {
	wires, dice := s.wires(), seeded(t)
	grace, okafor := s.family("grace", "pt-2"), s.provider("dr.okafor")
	limited := func(person, scope, patient string) string {
		token, _ := s.tokens(person, scope, patient)
		return token
	}
	strangers := []stranger{
		{name: "a guardian of another child", token: s.family("helen", "pt-3")},
		{name: "the father of a sibling alone", token: s.family("luis", "pt-1")},
		{name: "the mother with an app for the sibling", token: s.family("grace", "pt-1")},
		{name: "a grown patient", token: s.family("noah", "pt-4")},
		{name: "a provider without a tie", token: s.provider("dr.baker")},
		{name: "the primary care provider", token: s.provider("dr.adams")},
		{name: "who asked", token: okafor, sees: true},
		{name: "the mother with an app that reads", token: limited("grace", "launch/patient patient/*.rs", "pt-2"), sees: true},
		{name: "the mother with an app for other things", token: limited("grace", "launch/patient patient/Observation.cruds", "pt-2"), sees: true},
	}
	tries := []func(w *wire, token string, consent said) said{
		operation("approve"), operation("decline"), operation("revoke"), putting("active", "RelatedPerson/rp-2"), putting("rejected"), patching("active"), patching("rejected"), inTransaction("active"),
	}
	for n := range rounds(1, 20) {
		id, _ := wires[0].ask(okafor, "Patient/pt-2")
		request := wires[0].must(okafor, "GET", "/fhir/Consent/"+id, "")
		absent := said{body: regexp.MustCompile(regexp.QuoteMeta(id)).ReplaceAllString(request.body, "absent")}
		var moved atomic.Int64
		way := func(i int) (stranger, func(*wire, string, said) said) {
			return strangers[i%len(strangers)], tries[i/len(strangers)]
		}
		approves := dice.IntN(2) == 1
		final := dice.IntN(len(strangers) * len(tries))
		race(len(strangers)*len(tries), func(i int) int {
			w := wires[i%len(wires)]
			if i == final && approves { // what they race with
				if got := operation("approve")(w, grace, request); got.status != http.StatusOK {
					t.Errorf("the mother: %d %s", got.status, got.body)
				}
			}
			who, try := way(i)
			got := try(w, who.token, request)
			if got.status < 400 || got.status > 499 {
				moved.Add(1)
				t.Errorf("%s, try %d: got %d %.300s", who.name, i/len(strangers), got.status, got.body)
			}
			none := try(w, who.token, absent)
			if !who.sees && (got.status != none.status || sameAs.ReplaceAllString(got.body, "") != sameAs.ReplaceAllString(none.body, "")) {
				t.Errorf("%s, try %d: of the request: %d %s\nof none: %d %s", who.name, i/len(strangers), got.status, got.body, none.status, none.body)
			}
			return got.status
		})
		want, version := "proposed", "1"
		if approves {
			want, version = "active", "2"
		}
		if now := wires[0].must(okafor, "GET", "/fhir/Consent/"+id, ""); now.get("status") != want || now.get("meta.versionId") != version {
			t.Errorf("round %d: it is %s in version %s", n, now.get("status"), now.get("meta.versionId"))
		}
		end, token := operation("withdraw"), okafor
		if approves {
			end, token = operation("revoke"), grace
		}
		if got := end(wires[0], token, wires[0].must(okafor, "GET", "/fhir/Consent/"+id, "")); got.status != http.StatusOK {
			t.Errorf("round %d: %d %s", n, got.status, got.body)
		}
	}
}

// requestsRace: a provider asks 64 times at once, in every way: one request is
// made, and all that ask are shown it.
func requestsRace(t *testing.T, s *stage) {
	wires := s.wires()
	made, before := 0, s.told("RelatedPerson/rp-2")
	for n := range rounds(1, 10) {
		s.clock.set(s.clock.Now().Add(61 * time.Minute)) // attempts to ask are limited
		okafor, grace := s.provider("dr.okafor"), s.family("grace", "pt-2")
		id, _ := wires[0].ask(okafor, "Patient/pt-2")
		whole := wires[0].must(okafor, "GET", "/fhir/Consent/"+id, "").body
		wires[0].must(okafor, "POST", "/fhir/Consent/"+id+"/$withdraw", "")
		ids := make([]string, 64)
		got := race(len(ids), func(i int) int {
			w := wires[i%len(wires)]
			var answer said
			switch i / 2 % 3 {
			case 0:
				answer = w.call(okafor, "POST", "/fhir/Patient/$request-access", parameters("patient", "Patient/pt-2"))
			case 1:
				answer = w.call(okafor, "POST", "/fhir/Consent", whole)
			default:
				answer = w.call(okafor, "POST", "/fhir", `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":`+whole+`,"request":{"method":"POST","url":"Consent"}}]}`)
				ids[i] = answer.get("entry.0.resource.id")
				if status := answer.get("entry.0.response.status"); len(status) > 2 && answer.status == 200 {
					answer.status = map[string]int{"200": 200, "201": 201}[status[:3]]
				}
			}
			if id := answer.get("id"); answer.get("resourceType") == "Consent" {
				ids[i] = id
			}
			return answer.status
		})
		known := map[string]bool{}
		for _, id := range ids {
			if id != "" {
				known[id] = true
			}
		}
		if got[201] != 1 || got[200]+got[201]+got[409] != len(ids) || len(known) != 1 {
			t.Errorf("round %d: got %v, and %d requests", n, got, len(known))
		}
		found := wires[0].must(grace, "GET", "/fhir/Consent?patient=pt-2&status=proposed", "")
		if gjson.Get(found.body, "entry.#").Int() != 1 {
			t.Errorf("round %d: %s", n, found.body)
		}
		for id := range known {
			wires[0].must(okafor, "POST", "/fhir/Consent/"+id+"/$withdraw", "")
		}
		made += 2
	}
	if told := less(s.told("RelatedPerson/rp-2"), before); told["A request waits for your answer"] != made {
		t.Errorf("of %d requests the mother was told %v", made, told)
	}
}

// endOfAnEmergencyHolds: a provider reads on in every way while they end
// their emergency access at one of the gateways, or sign out.
func endOfAnEmergencyHolds(t *testing.T, s *stage) {
	wires := s.wires()
	for n := range rounds(1, 5) {
		okafor := s.provider("dr.okafor")
		selected := wires[0].must(okafor, "GET", "/fhir/Patient?identifier=1002", "")
		handle := regexp.MustCompile(`emergency-handle","valueString":"([^"]+)"`).FindStringSubmatch(selected.body)
		if handle == nil {
			t.Fatalf("no handle: %s", selected.body)
		}
		wires[n%len(wires)].must(okafor, "POST", "/fhir/Patient/$break-glass",
			`{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"`+handle[1]+`"},{"name":"purpose","valueCode":"BTG"},{"name":"reason","valueString":"Unconscious"}]}`)
		hammer(t, fmt.Sprintf("round %d", n), wires, okafor, func() said {
			return wires[n%len(wires)].call(okafor, "POST", "/fhir/Patient/pt-2/$end-break-glass", "")
		})
	}
}
