package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"
)

// A look is one of the ways to see something of Sofia's record. shows tells whether
// an answer shows any of it; shut whether it is the one that a record gets which is
// not there.
type look struct {
	name, method, path, body string
	shows, shut              func(said) bool
}

func (l look) at(w *wire, token string) said {
	kind := "application/fhir+json"
	if strings.HasSuffix(l.path, "_search") {
		kind = "application/x-www-form-urlencoded"
	}
	return w.call(token, l.method, l.path, l.body, "Content-Type", kind)
}

func shown(s said) bool  { return s.status == http.StatusOK }
func absent(s said) bool { return s.status == http.StatusNotFound }
func filled(s said) bool { return s.status == http.StatusOK && gjson.Get(s.body, "entry.#").Int() > 0 }
func empty(s said) bool {
	return s.status == http.StatusOK && gjson.Get(s.body, "entry.#").Int() == 0 && gjson.Get(s.body, "total").Int() == 0
}

func among(s said) bool {
	return s.status == http.StatusOK && strings.Contains(gjson.Get(s.body, "entry.#.resource").Raw, `"birthDate"`)
}
func notAmong(s said) bool { return s.status == http.StatusOK && !among(s) }

// looks gives them all. next is a link to a next page; observation one of hers.
func looks(next, observation string) []look {
	entry := func(path string) string {
		return `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"` + path + `"}}]}`
	}
	inside := func(s said, status string) bool {
		return s.status == http.StatusOK && strings.HasPrefix(s.get("entry.0.response.status"), status)
	}
	return []look{
		{"read", "GET", "/fhir/Patient/pt-2", "", shown, absent},
		{"read of a resource", "GET", "/fhir/" + observation, "", shown, absent},
		{"version", "GET", "/fhir/Patient/pt-2/_history/1", "", shown, absent},
		{"history", "GET", "/fhir/" + observation + "/_history", "", shown, absent},
		{"everything", "GET", "/fhir/Patient/pt-2/$everything", "", shown, absent},
		{"search", "GET", "/fhir/Observation?patient=pt-2", "", filled, empty},
		{"total", "GET", "/fhir/Observation?patient=pt-2&_summary=count", "", func(s said) bool { return gjson.Get(s.body, "total").Int() > 0 }, empty},
		{"posted search", "POST", "/fhir/Observation/_search", "patient=pt-2", filled, empty},
		{"chain", "GET", "/fhir/Observation?patient.given=Sofia", "", filled, empty},
		{"reverse chain", "GET", "/fhir/Patient?_has:Observation:patient:status=final", "", among, notAmong},
		{"included", "GET", "/fhir/Practitioner?_id=pr-adams&_revinclude=Patient:general-practitioner", "", among, notAmong},
		{"next page", "GET", next, "", filled, func(s said) bool { return !filled(s) && s.status < 500 }},
		{"batch", "POST", "/fhir", entry("Patient/pt-2"), func(s said) bool { return inside(s, "200") }, func(s said) bool { return inside(s, "404") }},
		{"access", "GET", "/fhir/Patient/pt-2/$access", "",
			func(s said) bool { return gjson.Get(s.body, `parameter.#(name=="permitted").valueBoolean`).Bool() },
			func(s said) bool {
				return s.status < 500 && !gjson.Get(s.body, `parameter.#(name=="permitted").valueBoolean`).Bool()
			}},
	}
}

// An ending ends what somebody was given, in an answer of 200 or 201.
type ending struct {
	name string
	do   func(w *wire, family, consent string) said
	undo func(w *wire, family string, done said)
}

var endings = []ending{
	{name: "revoke", do: func(w *wire, family, consent string) said {
		return w.call(family, "POST", "/fhir/Consent/"+consent+"/$revoke", "")
	}},
	{name: "put", do: func(w *wire, family, consent string) said {
		return putting("inactive")(w, family, w.call(family, "GET", "/fhir/Consent/"+consent, ""))
	}},
	{name: "opt out", do: func(w *wire, family, _ string) said {
		return w.call(family, "POST", "/fhir/Consent", `{"resourceType":"Consent","status":"active",
			"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
			"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"INFA"}]}],
			"patient":{"reference":"Patient/pt-2"},"performer":[{"reference":"RelatedPerson/rp-2"}],"policyRule":{"text":"opt-out"},
			"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/pr-okafor"}}]}}`)
	}, undo: func(w *wire, family string, done said) {
		if got := putting("inactive")(w, family, done); got.status != http.StatusOK {
			w.t.Fatalf("ending the opt-out: %d %s", got.status, got.body)
		}
	}},
}

// A watch is readers at all gateways, who look in every way there is.
type watch struct {
	t      *testing.T
	ended  atomic.Bool // the answer to the ending is here
	before []atomic.Int64
	after  []atomic.Int64
	warm   sync.WaitGroup // until everybody has seen something
	all    sync.WaitGroup
}

// enough is how often each reader looks after the end.
const enough = 3

func (w *watch) read(what string, at int, on *wire, token string, l look) {
	defer w.all.Done()
	warm := sync.OnceFunc(w.warm.Done)
	defer warm()
	for done := 0; done < enough; {
		late := w.ended.Load() // started after the answer, if so
		got := l.at(on, token)
		switch {
		case late && (l.shows(got) || !l.shut(got)):
			w.t.Errorf("%s, %s: after the end was answered: got %d %.300s", what, l.name, got.status, got.body)
			return
		case late:
			done++
			w.after[at].Add(1)
		case l.shows(got):
			w.before[at].Add(1)
			warm()
		case !l.shut(got):
			w.t.Errorf("%s, %s: got %d %.300s", what, l.name, got.status, got.body)
			return
		}
	}
}

// hammer reads in every way, at every gateway, while something ends that: no read that
// starts after the answer shows anything. It gives how many did before, and did not
// after, and the answer.
func hammer(t *testing.T, what string, wires []*wire, token string, end func() said) (before, after int64, done said) {
	t.Helper()
	first := wires[0].must(token, "GET", "/fhir/Observation?patient=pt-2&_count=1", "")
	next := gjson.Get(first.body, `link.#(relation=="next").url`).String()
	all := looks(next, "Observation/"+first.get("entry.0.resource.id"))
	for _, l := range all {
		if got := l.at(wires[0], token); !l.shows(got) {
			t.Fatalf("%s, %s: shows nothing while it may: %d %.600s", what, l.name, got.status, got.body)
		}
	}
	w := &watch{t: t, before: make([]atomic.Int64, len(all)), after: make([]atomic.Int64, len(all))}
	for at, l := range all {
		for _, on := range wires {
			w.all.Add(1)
			w.warm.Add(1)
			go w.read(what, at, on, token, l)
		}
	}
	w.warm.Wait()
	done = end()
	w.ended.Store(true)
	if done.status < 200 || done.status > 299 {
		t.Errorf("%s: got %d %s", what, done.status, done.body)
	}
	w.all.Wait()
	for at, l := range all {
		if w.before[at].Load() == 0 || w.after[at].Load() == 0 {
			t.Errorf("%s, %s: showed %d times before and was refused %d times after", what, l.name, w.before[at].Load(), w.after[at].Load())
		}
		before, after = before+w.before[at].Load(), after+w.after[at].Load()
	}
	return before, after, done
}

// revocationHolds: while a provider reads a record in every way, at every
// gateway, the family ends the access at one of them. No request that starts after
// that was answered shows anything, at any.
func revocationHolds(t *testing.T, s *stage) {
	wires, dice := s.wires(), seeded(t)
	grace, okafor := s.family("grace", "pt-2"), s.provider("dr.okafor")
	var before, after int64
	first := dice.IntN(len(endings))
	for n := range rounds(2, 60) {
		end := endings[(first+n)%len(endings)]
		what := fmt.Sprintf("round %d, %s", n, end.name)
		id, _ := wires[dice.IntN(len(wires))].ask(okafor, "Patient/pt-2")
		wires[dice.IntN(len(wires))].must(grace, "POST", "/fhir/Consent/"+id+"/$approve", "")
		shown, refused, done := hammer(t, what, wires, okafor, func() said { return end.do(wires[dice.IntN(len(wires))], grace, id) })
		before, after = before+shown, after+refused
		if t.Failed() {
			return
		}
		if end.undo != nil {
			wires[0].must(grace, "POST", "/fhir/Consent/"+id+"/$revoke", "")
			end.undo(wires[0], grace, done)
		}
	}
	t.Logf("%d requests showed the record before, %d were refused after", before, after)
}

// stopAgainstRefresh: while an app refreshes its token again and again at all
// gateways, it is disconnected at one. What it got meanwhile opens nothing.
func stopAgainstRefresh(t *testing.T, s *stage) {
	wires := s.wires()
	form := func(w *wire, endpoint string, v url.Values) said {
		v.Set("client_id", "demo-public")
		return w.call("", "POST", "/oauth/"+endpoint, v.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	}
	for n := range rounds(1, 30) {
		access, refresh := s.tokens("grace", familyScope, "pt-1")
		got := make([]said, 24)
		counts := race(len(got), func(i int) int {
			w := wires[i%len(wires)]
			if i == n%len(got) {
				if form(w, "revoke", url.Values{"token": {refresh}}).status != http.StatusOK {
					t.Errorf("round %d: the app was not disconnected", n)
				}
				if status := w.call(access, "GET", "/fhir/Patient/pt-1", "").status; status != http.StatusUnauthorized {
					t.Errorf("round %d: right after: %d", n, status)
				}
				return 0
			}
			got[i] = form(w, "token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
			return got[i].status
		})
		if counts[200]+counts[400] != len(got)-1 { // an app may ask again until it uses what it got
			t.Errorf("round %d: got %v", n, counts)
		}
		for _, answer := range append(got, said{body: `{"access_token":"` + access + `","refresh_token":"` + refresh + `"}`}) {
			for _, w := range wires {
				if token := answer.get("access_token"); token != "" && w.call(token, "GET", "/fhir/Patient/pt-1", "").status != http.StatusUnauthorized {
					t.Errorf("round %d: a token still opens the record", n)
				}
				if token := answer.get("refresh_token"); token != "" && form(w, "token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}).status == http.StatusOK {
					t.Errorf("round %d: a refresh token still works", n)
				}
			}
		}
	}
}
