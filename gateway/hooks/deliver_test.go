package hooks_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// A patient app learns of a request at once, as R4 says it.
func TestPatientAppLearnsOfARequest(t *testing.T) {
	w := newWorld(t)
	full := w.subscribe(w.graceApp(), "Consent?status=proposed", "/full/?key=1", withPayload)
	w.wantState(full, "active")
	ping := w.subscribe(w.graceApp(), "Consent?status=proposed", "/ping", "")
	w.wantCalls() // nothing is sent to find out whether somebody is there
	r := w.ask()
	w.app.answer(func(rw http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer hook-secret" || req.Method == "PUT" && req.Header.Get("Content-Type") != "application/fhir+json" || req.Method == "POST" && req.ContentLength != 0 {
			t.Errorf("%s: header %v, %d bytes", req.Method, req.Header, req.ContentLength)
		}
	})
	w.flush()
	calls := w.app.take()
	if len(calls) != 2 || !strings.Contains(strings.Join(calls, " "), "PUT /full/Consent/"+r.ID+"?key=1") || !strings.Contains(strings.Join(calls, " "), "POST /ping") {
		t.Errorf("got %v", calls)
	}
	_, err := w.nodes[0].guard.Approve(t.Context(), w.caller("grace", smart.Proxy, "", ""), r.ID, consent.Narrowing{}, nil)
	w.do(err)
	w.flush()
	w.wantCalls() // no longer proposed
	w.pass(time.Hour)
	w.flush()
	w.wantCalls()
	w.wantState(full, "active")
	w.wantState(ping, "active")
}

// The body is what a read gives, and the delivery is in the log of the record.
func TestBodyAndLog(t *testing.T) {
	w := newWorld(t)
	w.subscribe(w.graceApp(), "Consent?status=proposed", "", withPayload)
	r := w.ask()
	w.flush()
	if w.app.body != string(r.JSON) {
		t.Errorf("sent %s, want %s", w.app.body, r.JSON)
	}
	looks, err := w.nodes[0].guard.WhoLooked(t.Context(), w.caller("grace", smart.Proxy, "", ""), "mateo", 50)
	w.do(err)
	told := 0
	for _, l := range looks {
		if l.Action == "notify" && l.Person == "grace" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the log tells of it %d times: %+v", told, looks)
	}
}

// All between an event and its delivery: what is judged is now.
func TestJudgedAtDelivery(t *testing.T) {
	order := func(w *world) {
		w.put(`{"resourceType":"Consent","id":"order","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
			"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:court"}],
			"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/grace"}}]}}`)
	}
	for _, tt := range []struct {
		name      string
		meanwhile func(w *world, id string)
		state     string
	}{
		{"nothing", nil, "active"},
		{"the app's grant is revoked", func(w *world, _ string) { w.end("grant-grace") }, "off The access of the app has ended."},
		{"the person loses the role", func(w *world, _ string) {
			c := w.graceApp()
			_, err := w.nodes[0].guard.UnlinkAccount(t.Context(), c.Identity.Login, consent.Link{Role: smart.Proxy, Person: "RelatedPerson/grace"})
			w.do(err)
		}, "off The access of the app has ended."},
		{"the relationship ends", func(w *world, _ string) {
			w.put(`{"resourceType":"RelatedPerson","id":"grace","active":false,"patient":{"reference":"Patient/mateo"}}`)
		}, "active"},
		{"a court order", func(w *world, _ string) { order(w) }, "active"},
		{"the child is of age", func(w *world, _ string) { w.pass(13 * 365 * 24 * time.Hour) }, "active"},
		{"the owner turns it off", func(w *world, id string) {
			c := w.graceApp()
			r, err := w.nodes[0].guard.Read(t.Context(), c, fhir.Key{Type: "Subscription", ID: id})
			w.do(err)
			_, _, err = w.nodes[0].guard.Update(t.Context(), c, r.Key, []byte(strings.Replace(string(r.JSON), `"status":"active"`, `"status":"off"`, 1)), nil)
			w.do(err)
		}, "off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.subscribe(w.graceApp(), "Consent?status=proposed", "", "")
			w.ask()
			for more := true; more; { // the event is kept
				var err error
				more, err = w.nodes[0].guard.Follow(t.Context())
				w.do(err)
			}
			if tt.meanwhile != nil {
				tt.meanwhile(w, id)
			}
			w.flush()
			if tt.meanwhile == nil {
				w.wantCalls("POST /")
			} else {
				w.wantCalls()
			}
			w.wantState(id, tt.state)
		})
	}
}

// A provider's app hears of a record while its owner may see it.
func TestConsentRevokedBetween(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(w.okaforApp(), "Observation?status=final", "", withPayload)
	w.observe("before")
	w.flush()
	w.wantCalls()
	r := w.ask()
	grace := w.caller("grace", smart.Proxy, "", "")
	_, err := w.nodes[0].guard.Approve(t.Context(), grace, r.ID, consent.Narrowing{}, nil)
	w.do(err)
	w.observe("granted")
	w.flush()
	w.wantCalls("PUT /Observation/granted")
	w.observe("late")
	_, err = w.nodes[0].guard.Follow(t.Context())
	w.do(err)
	_, err = w.nodes[0].guard.Revoke(t.Context(), grace, r.ID, "", nil)
	w.do(err)
	w.flush()
	w.wantCalls()
	w.wantState(id, "active")
}

// What limits a guardian is never told to them, though it meets their criteria.
func TestCustodyIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.subscribe(w.graceApp(), "Consent", "/grace", "")
	w.subscribe(w.caller("luis", smart.Proxy, "grant-luis", "patient/Subscription.cruds patient/Consent.rs"), "Consent", "/luis", "")
	w.put(`{"resourceType":"Consent","id":"order","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:court"}],
		"provision":{"type":"deny","class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}],
			"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"RelatedPerson/luis"}}]}}`)
	w.flush()
	w.wantCalls("POST /grace")
}

// In order, at least once, when the endpoint is back; the app can read why not.
func TestEndpointAway(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(w.system(), "Observation?status=final", "", withPayload)
	w.app.status(http.StatusServiceUnavailable)
	for i := range 3 {
		w.observe(fmt.Sprint("o", i))
	}
	for range 6 {
		w.flush()
		w.pass(time.Hour)
	}
	w.wantState(id, "active The endpoint answers with status 503. It is tried again.")
	for _, call := range w.app.take() {
		if call != "PUT /Observation/o0" {
			t.Errorf("out of order: %s", call)
		}
	}
	w.app.answer(nil)
	w.flush()
	w.wantCalls("PUT /Observation/o0", "PUT /Observation/o1", "PUT /Observation/o2")
	w.wantState(id, "active")

	w.app.status(http.StatusInternalServerError)
	w.observe("lost")
	for range 80 {
		w.flush()
		w.pass(time.Hour)
	}
	w.wantState(id, "error The endpoint answers with status 500.")
	w.app.answer(nil)
	w.app.take()
	w.observe("later")
	w.flush()
	w.wantCalls()
	// Requested anew, it goes on with what comes.
	w.pass(time.Hour)
	r, err := w.nodes[0].guard.Read(t.Context(), w.system(), fhir.Key{Type: "Subscription", ID: id})
	w.do(err)
	_, _, err = w.nodes[0].guard.Update(t.Context(), w.system(), r.Key, []byte(strings.Replace(string(r.JSON), `"status":"error"`, `"status":"requested"`, 1)), nil)
	w.do(err)
	w.observe("anew")
	w.flush()
	w.wantCalls("PUT /Observation/anew")
}

func (w *world) system() consent.Caller {
	scopes, err := smart.ParseScopes("system/*.cruds")
	w.do(err)
	return consent.Caller{Grant: smart.Grant{ID: "s", ClientID: "backend", Identity: smart.Identity{Role: smart.System}, Scopes: scopes}}
}

// The gateway dies in the middle of a call: another calls again, when the claim of
// the first has ended.
func TestDeathInTheMiddle(t *testing.T) {
	w := newWorld(t)
	w.subscribe(w.graceApp(), "Consent?status=proposed", "", "")
	w.ask()
	dying, die := context.WithCancel(t.Context())
	w.app.answer(func(http.ResponseWriter, *http.Request) { die() })
	_ = w.nodes[0].worker.Flush(dying)
	w.wantCalls("POST /")
	w.app.answer(nil)
	w.node()
	w.flush()
	w.wantCalls() // the claim holds
	w.pass(3 * time.Minute)
	w.flush()
	w.wantCalls("POST /")
}

// Several gateways on one database call once for each event.
func TestGatewaysShareTheWork(t *testing.T) {
	w := newWorldOn(t, true)
	w.node()
	w.node()
	for i := range 5 {
		w.subscribe(w.system(), "Observation?status=final", fmt.Sprintf("/%d", i), "")
	}
	w.app.take()
	for i := range 4 {
		w.observe(fmt.Sprint("o", i))
	}
	w.flush()
	w.flush()
	counts := map[string]int{}
	for _, call := range w.app.take() {
		counts[call]++
	}
	for i := range 5 {
		if n := counts[fmt.Sprintf("POST /%d", i)]; n != 4 {
			t.Errorf("endpoint %d was called %d times, want 4", i, n)
		}
	}
}

// An endpoint that never answers holds up no other.
func TestSlowEndpoint(t *testing.T) {
	w := newWorld(t)
	release, quick := make(chan struct{}), make(chan struct{}, 10)
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	for i := range 12 { // more than a host has places
		w.subscribe(w.system(), "Observation?status=final", fmt.Sprintf("/slow/%d", i), "")
	}
	other := newEndpoint(t)
	slow := w.app
	w.app = other
	w.subscribe(w.system(), "Observation?status=final", "/quick", "")
	w.app = slow
	slow.answer(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	other.answer(func(http.ResponseWriter, *http.Request) { quick <- struct{}{} })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.nodes[0].worker.Run(ctx) }()
	for i := range 3 {
		w.observe(fmt.Sprint("o", i))
		select {
		case <-quick:
		case <-time.After(1500 * time.Millisecond): // less than a call may take
			t.Fatal("the quick one waits for the slow ones")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A redirect is an answer like any other that is none; 410 is the last.
func TestRedirectAndGone(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(w.graceApp(), "Consent?status=proposed", "", "")
	w.app.answer(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	})
	w.ask()
	w.flush()
	w.wantCalls("POST /") // and nowhere else
	w.app.status(http.StatusGone)
	w.pass(time.Minute)
	w.flush()
	w.wantState(id, "error The endpoint answers with status 410.")
}

// One that cannot be reached is not active; its time ends when it says.
func TestBeginAndEnd(t *testing.T) {
	w := newWorld(t)
	w.app.server.Close()
	id := w.subscribe(w.graceApp(), "Consent?status=proposed", "", "")
	w.wantState(id, "requested")
	for range 5 {
		w.pass(time.Hour)
		w.flush()
	}
	w.wantState(id, "requested The endpoint cannot be reached. It is tried again.")

	w = newWorld(t)
	r, _, err := w.nodes[0].guard.Create(t.Context(), w.graceApp(), "Subscription", fmt.Appendf(nil, `{"resourceType":"Subscription","status":"active","reason":"r","criteria":"Consent",
		"end":%q,"channel":{"type":"rest-hook","endpoint":%q}}`, w.Now().Add(time.Hour).Format(time.RFC3339), w.app.url))
	w.do(err)
	w.wantState(r.ID, "requested") // what an app says of it does not count
	w.flush()
	w.wantState(r.ID, "active")
	w.pass(time.Hour)
	w.ask()
	w.flush()
	w.wantCalls()
	w.wantState(r.ID, "off Its time is over.")
}

// Much that is not for the owner keeps what is from them no longer than it takes.
func TestMuchThatIsHidden(t *testing.T) {
	w := newWorld(t)
	w.subscribe(w.okaforApp(), "Observation?status=final", "", withPayload)
	r := w.ask()
	for i := range 250 {
		w.observe(fmt.Sprint("hidden", i))
	}
	for more := true; more; {
		var err error
		more, err = w.nodes[0].guard.Follow(t.Context())
		w.do(err)
	}
	w.flush()
	_, err := w.nodes[0].guard.Approve(t.Context(), w.caller("grace", smart.Proxy, "", ""), r.ID, consent.Narrowing{}, nil)
	w.do(err)
	w.observe("shown")
	w.flush()
	w.wantCalls("PUT /Observation/shown")
}
