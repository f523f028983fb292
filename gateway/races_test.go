package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// TestRaces has many do what excludes each other, at the same time, with one gateway on
// embedded data and with two on a database. With LONG set it does so many times.
func TestRaces(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *stage) {
		defer func(all testing.TB) { s.t = all }(s.t)
		for _, one := range []struct {
			name string
			run  func(*testing.T, *stage)
		}{
			{"ends of emergencies", endOfAnEmergencyHolds}, // whose sign-in has to be recent
			{"answers", answersRace}, {"guardians", guardiansRace}, {"requests", requestsRace}, {"redemptions", redemptionsRace}, {"pages", pagesRace},
			{"strangers", strangersTakeNoPart}, {"revocations", revocationHolds}, {"disconnected apps", stopAgainstRefresh},
		} {
			t.Run(one.name, func(t *testing.T) {
				s.t = t
				s.clock.set(s.clock.Now().Add(61 * time.Minute)) // attempts are limited by the hour
				one.run(t, s)
				s.verified()
			})
		}
	})
}

// ask has a provider ask for a record, and gives the request.
func (w *wire) ask(token, patient string) (id, version string) {
	w.t.Helper()
	made := w.must(token, "POST", "/fhir/Patient/$request-access", parameters("patient", patient))
	if made.status != http.StatusCreated {
		w.t.Fatalf("the request is not new: %d %s", made.status, made.body)
	}
	return made.get("id"), made.get("meta.versionId")
}

// A contest is many people who answer one request or grant at the same time.
type contest struct {
	*stage
	wires    []*wire
	dice     *rand.Rand
	patient  string
	family   []string // tokens of those who decide
	provider string   // of who asked
}

// A blow is one of the ways to move a Consent.
type blow struct {
	name  string
	token string
	send  func(w *wire, token string, consent said) said
}

func operation(name string) func(w *wire, token string, consent said) said {
	return func(w *wire, token string, consent said) said {
		return w.call(token, "POST", "/fhir/Consent/"+consent.get("id")+"/$"+name, "", "If-Match", etag(consent.get("meta.versionId")))
	}
}

// putting writes the Consent whole, as an app does that edits resources.
func putting(status string, performer ...string) func(w *wire, token string, consent said) said {
	return func(w *wire, token string, consent said) said {
		body, _ := sjson.Set(consent.body, "status", status)
		for _, p := range performer {
			body, _ = sjson.Set(body, "performer", []map[string]string{{"reference": p}})
		}
		return w.call(token, "PUT", "/fhir/Consent/"+consent.get("id"), body, "If-Match", etag(consent.get("meta.versionId")))
	}
}

func patching(status string) func(w *wire, token string, consent said) said {
	return func(w *wire, token string, consent said) said {
		return w.call(token, "PATCH", "/fhir/Consent/"+consent.get("id"), `[{"op":"replace","path":"/status","value":"`+status+`"}]`,
			"Content-Type", "application/json-patch+json", "If-Match", etag(consent.get("meta.versionId")))
	}
}

func inTransaction(status string) func(w *wire, token string, consent said) said {
	return func(w *wire, token string, consent said) said {
		body, _ := sjson.Set(consent.body, "status", status)
		return w.call(token, "POST", "/fhir", `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":`+body+
			`,"request":{"method":"PUT","url":"Consent/`+consent.get("id")+`","ifMatch":"W/\"`+consent.get("meta.versionId")+`\""}}]}`)
	}
}

// fight lets 64 move one Consent and tells what it has come to.
func (c *contest) fight(what, id string, ways []blow) said {
	c.t.Helper()
	seen := c.wires[0].must(c.provider, "GET", "/fhir/Consent/"+id, "")
	order := make([]int, 64)
	for i := range order {
		order[i] = c.dice.IntN(len(ways))
	}
	winner := make(chan said, 64)
	only(c.t.(*testing.T), what, race(len(order), func(i int) int {
		way := ways[order[i]]
		got := way.send(c.wires[i%len(c.wires)], way.token, seen)
		if got.status == http.StatusOK {
			winner <- said{body: way.name}
		}
		return got.status
	}), http.StatusConflict, http.StatusPreconditionFailed)
	close(winner)
	return c.settled(what, id, seen, winner)
}

// settled checks that what was done is what the winner did, once, on every node.
func (c *contest) settled(what, id string, seen said, winner chan said) said {
	c.t.Helper()
	name := ""
	for w := range winner {
		name = w.body
	}
	want := map[string]string{"approve": "active", "decline": "rejected", "withdraw": "inactive", "revoke": "inactive"}[name]
	var now said
	for _, w := range c.wires {
		now = w.must(c.provider, "GET", "/fhir/Consent/"+id, "")
		if now.get("status") != want || gjson.Get(now.body, "meta.versionId").Int() != gjson.Get(seen.body, "meta.versionId").Int()+1 {
			c.t.Errorf("%s won by %s: got %s in version %s", what, name, now.get("status"), now.get("meta.versionId"))
		}
		opens, status := want == "active", w.call(c.provider, "GET", "/fhir/"+c.patient, "").status
		if opens != (status == http.StatusOK) || !opens && status != http.StatusNotFound {
			c.t.Errorf("%s won by %s: reading the record gives %d", what, name, status)
		}
	}
	done := map[string]string{"approve": "approve access", "decline": "decline access", "withdraw": "withdraw request", "revoke": "revoke access"}
	var recorded []string
	for _, text := range gjson.Get(c.wires[0].must(c.family[0], "GET", "/fhir/Provenance?target=Consent/"+id, "").body, "entry.#.resource.activity.text").Array() {
		if slices.Contains([]string{"approve access", "decline access", "withdraw request", "revoke access"}, text.String()) {
			recorded = append(recorded, text.String())
		}
	}
	if n := count(recorded, done[name]); n != 1 || want != "inactive" && len(recorded) != 1 {
		c.t.Errorf("%s won by %s: the Provenances say %q", what, name, recorded)
	}
	return now
}

func count(list []string, s string) (n int) {
	for _, one := range list {
		if one == s {
			n++
		}
	}
	return n
}

// answersRace: 64 answer one request at once, each in a way of their own, then
// 64 end the access. One wins, the others learn that they come too late, and what
// is stored is what the winner did.
func answersRace(t *testing.T, s *stage) {
	c := &contest{stage: s, wires: s.wires(), dice: seeded(t), patient: "Patient/pt-2"}
	c.family = []string{s.family("grace", "pt-2"), s.family("grace", "pt-2")}
	c.provider = s.provider("dr.okafor")
	grace := func(i int) string { return c.family[i] }
	answers := []blow{
		{"approve", grace(0), operation("approve")}, {"approve", grace(1), putting("active", "RelatedPerson/rp-2")},
		{"decline", grace(0), operation("decline")}, {"decline", grace(1), patching("rejected")},
		{"withdraw", c.provider, operation("withdraw")}, {"withdraw", c.provider, inTransaction("inactive")},
	}
	ends := []blow{{"revoke", grace(0), operation("revoke")}, {"revoke", grace(1), putting("inactive")}, {"revoke", grace(1), patching("inactive")}, {"revoke", grace(0), inTransaction("inactive")}}
	wins, before := map[string]int{}, s.told("Practitioner/pr-okafor")
	for n := range rounds(1, 40) {
		id, _ := c.wires[n%len(c.wires)].ask(c.provider, c.patient)
		now := c.fight(fmt.Sprintf("round %d, answers", n), id, answers)
		if wins[now.get("status")]++; now.get("status") == "active" {
			c.fight(fmt.Sprintf("round %d, ends", n), id, ends)
		}
	}
	t.Logf("won: %v", wins)
	if mails := less(s.told("Practitioner/pr-okafor"), before); mails["Your request was approved"] != wins["active"] || mails["Your request was declined"] != wins["rejected"] || mails["An access has ended"] != wins["active"] {
		t.Errorf("the notices %v are not those of %v", mails, wins)
	}
}

// told counts what somebody was told, by subject.
func (s *stage) told(person string) map[string]int {
	s.t.Helper()
	core, subjects := s.program.core, map[string]int{}
	q, err := core.engine.Registry().Parse("Communication", url.Values{"recipient": {person}, "_count": {"1000"}}, search.Options{Base: scriptBase + "/fhir"})
	if err != nil {
		s.t.Fatal(err)
	}
	err = core.engine.View(s.t.Context(), func(tx *engine.Tx) error {
		clear(subjects)
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			subjects[gjson.GetBytes(e.Resource.JSON, "topic.text").String()]++
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return subjects
}

// less gives what was added to counts.
func less(now, before map[string]int) map[string]int {
	for key, n := range before {
		now[key] -= n
	}
	return now
}

// guardiansRace: two guardians of one child answer differently and change their
// minds, all at once, while the provider takes the request back. Whatever the order,
// nothing opens that somebody declines last, and the answers are those of an order.
func guardiansRace(t *testing.T, s *stage) {
	wires, dice := s.wires(), seeded(t)
	tokens := []string{s.family("grace", "pt-1"), s.family("luis", "pt-1")}
	okafor := s.provider("dr.okafor")
	ends := map[string]int{}
	for n := range rounds(1, 40) {
		id, _ := wires[0].ask(okafor, "Patient/pt-1")
		kinds := make([]int, 16)
		for i := range kinds {
			kinds[i] = dice.IntN(8)
		}
		got := race(len(kinds), func(i int) int {
			token, name := tokens[i%2], "decline"
			switch {
			case i == 0 && n%3 == 0:
				token, name = okafor, "withdraw"
			case kinds[i] < 3:
				name = "approve"
			}
			return wires[i/2%len(wires)].call(token, "POST", "/fhir/Consent/"+id+"/$"+name, "").status
		})
		for status := range got {
			if !slices.Contains([]int{200, 409, 422, 429}, status) {
				t.Errorf("round %d: got %v", n, got)
			}
		}
		state := wires[len(wires)-1].must(okafor, "GET", "/fhir/Consent/"+id, "").get("status")
		ends[state]++
		for _, w := range wires {
			if status := w.call(okafor, "GET", "/fhir/Patient/pt-1", "").status; (status == 200) != (state == "active") {
				t.Errorf("round %d: %s, and reading the record gives %d", n, state, status)
			}
		}
		// Whatever it is, it can be brought to an end, once.
		last := map[string]blow{"active": {"revoke", tokens[0], operation("revoke")}, "proposed": {"withdraw", okafor, operation("withdraw")}}
		if end, open := last[state]; open {
			w := wires[n%len(wires)]
			if got := end.send(w, end.token, w.must(okafor, "GET", "/fhir/Consent/"+id, "")); got.status != 200 {
				t.Errorf("round %d: ending what is %s: %d %s", n, state, got.status, got.body)
			}
		}
	}
	t.Logf("ended: %v", ends)
}

// redemptionsRace: many providers use one token at once, while the family may
// cancel it: one gets in at most, all others get the one answer.
func redemptionsRace(t *testing.T, s *stage) {
	wires := s.wires()
	grace := s.family("grace", "pt-1")
	providers := []string{s.provider("dr.okafor"), s.provider("dr.baker")}
	dice := seeded(t)
	used, before := 0, s.told("RelatedPerson/rp-1")
	for n := range rounds(1, 30) {
		made := wires[0].must(grace, "POST", "/fhir/Patient/pt-1/$invite", "")
		token := gjson.Get(made.body, `parameter.#(name=="token").valueString`).String()
		consent := gjson.Get(made.body, `parameter.#(name=="consent").valueReference.reference`).String()
		answers, cancels := make([]said, 64), dice.IntN(2) == 1
		got := race(len(answers), func(i int) int {
			w := wires[i%len(wires)]
			if i == 0 && cancels {
				if w.call(grace, "POST", "/fhir/"+consent+"/$revoke", "").status == 200 {
					return -1
				}
				return -2
			}
			answers[i] = w.call(providers[i/2%2], "POST", "/fhir/Patient/$redeem-invitation", parameters("token", token, "mrn", "1001"))
			return answers[i].status
		})
		others := map[string]bool{}
		for _, a := range answers {
			if a.status == 422 {
				others[a.body] = true
			}
		}
		// Attempts are limited: twenty an hour for an account.
		if got[200] > 1 || got[200] == 0 && got[-1] == 0 || got[200]+got[422]+got[429]+got[-1]+got[-2] != 64 || len(others) > 1 {
			t.Errorf("round %d: got %v, and refusals of %d kinds", n, got, len(others))
		}
		used += got[200]
		c := wires[0].must(grace, "GET", "/fhir/"+consent, "")
		want := "active"
		if got[-1] > 0 { // cancelled, perhaps after it was used
			want = "inactive"
		}
		if c.get("status") != want || (got[200] > 0) != strings.Contains(c.body, "Practitioner/pr-") {
			t.Errorf("round %d: got %v and %s", n, got, c.body)
		}
		redeemed := count(activities(wires[0], grace, consent), "redeem invitation")
		if redeemed != got[200] {
			t.Errorf("round %d: %d Provenances of a use, %v", n, redeemed, got)
		}
		open := 0
		for _, p := range providers {
			for _, w := range wires {
				if w.call(p, "GET", "/fhir/Patient/pt-1", "").status == 200 {
					open++
				}
			}
		}
		if want == "active" && open != len(wires) || want == "inactive" && open != 0 {
			t.Errorf("round %d: %s, and the record opens %d times", n, want, open)
		}
		if want == "active" {
			wires[0].must(grace, "POST", "/fhir/"+consent+"/$revoke", "")
		}
		s.clock.set(s.clock.Now().Add(61 * time.Minute))
		providers = []string{s.provider("dr.okafor"), s.provider("dr.baker")}
		grace = s.family("grace", "pt-1")
	}
	if mails := less(s.told("RelatedPerson/rp-1"), before); mails["An invitation was used"] != used {
		t.Errorf("%d were used, and the notices are %v", used, mails)
	}
}

func activities(w *wire, token, target string) (list []string) {
	w.t.Helper()
	for _, text := range gjson.Get(w.must(token, "GET", "/fhir/Provenance?target="+target, "").body, "entry.#.resource.activity.text").Array() {
		list = append(list, text.String())
	}
	return list
}

// pagesRace: a mother who sends both forms of a request at once, again and again,
// has answered it once.
func pagesRace(t *testing.T, s *stage) {
	wires := s.wires()
	grace, okafor := s.family("grace", "pt-2"), s.provider("dr.okafor")
	for n := range rounds(1, 20) {
		id, _ := wires[0].ask(okafor, "Patient/pt-2")
		a := s.cast("grace")
		if err := a.enter("/patient/requests/" + id); err != nil {
			t.Fatal(err)
		}
		var forms []url.Values
		var target string
		for _, button := range []string{"Approve", "Decline"} {
			form, pressed := formOf(a.doc, button)
			if form == nil {
				t.Fatalf("no button %s: %s", button, a.scene())
			}
			values := asFilled(form)
			values.Set(attribute(pressed, "name"), attribute(pressed, "value"))
			to, err := a.at.Parse(attribute(form, "action"))
			if err != nil {
				t.Fatal(err)
			}
			forms, target = append(forms, values), to.String()
		}
		got := race(16, func(i int) int {
			browser := *wires[i/2%len(wires)].client
			browser.Jar, browser.CheckRedirect = a.client.Jar, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			w := &wire{t, &browser}
			return w.call("", "POST", target, forms[i%2].Encode(), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded", "Origin", scriptBase, "Sec-Fetch-Site", "same-origin").status
		})
		for status := range got {
			if status >= 500 || status == 403 {
				t.Errorf("round %d: got %v", n, got)
			}
		}
		state := wires[len(wires)-1].must(okafor, "GET", "/fhir/Consent/"+id, "").get("status")
		done := activities(wires[0], grace, "Consent/"+id)
		if count(done, map[string]string{"active": "approve access", "rejected": "decline access"}[state]) != 1 || len(done) != 2 {
			t.Errorf("round %d: it is %s after %v, and the Provenances say %q", n, state, got, done)
		}
		if state == "active" {
			wires[0].must(grace, "POST", "/fhir/Consent/"+id+"/$revoke", "")
		}
	}
}
