package hooks_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/gateway/hooks"
	"mypatients/smart"
	"mypatients/smart/fetch"
)

const base = "http://gateway.test"

// A world is one or more gateways on one store, with a family and an app's
// endpoint.
//
//	Mateo (child): guardians grace and luis; okafor has no tie to him.
type world struct {
	t     *testing.T
	db    store.Store
	dsn   string
	nodes []*node
	app   *endpoint
	trust *x509.CertPool // of the next nodes, beside plain http

	mu    sync.Mutex
	now   time.Time
	ended map[string]bool // grants
}

// A node is one gateway.
type node struct {
	eng    *engine.Engine
	guard  *consent.Guard
	worker *hooks.Worker
	log    *strings.Builder
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) end(grant string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[grant] = true
}

var registry = sync.OnceValues(search.R4)

func newWorld(t *testing.T) *world { return newWorldOn(t, os.Getenv("STORE") == "postgres") }

func newWorldOn(t *testing.T, postgres bool) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC), ended: map[string]bool{}, app: newEndpoint(t)}
	if postgres {
		w.dsn = pgtest.Open(t)
	}
	w.node()
	w.people()
	return w
}

func (w *world) openStore() store.Store {
	w.t.Helper()
	var db store.Store
	var err error
	if w.dsn != "" {
		db, err = pgstore.Open(w.t.Context(), pgstore.Options{DSN: w.dsn})
	} else if w.db == nil {
		db, err = badgerstore.Open(badgerstore.Config{Dir: w.t.TempDir(), Now: w.Now})
	} else {
		return w.db // one process
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// node starts one more gateway on the store.
func (w *world) node() *node {
	w.t.Helper()
	db := w.openStore()
	w.db = db
	reg, err := registry()
	w.do(err)
	rules := consent.NewRules(base, base, time.UTC)
	n := &node{log: &strings.Builder{}}
	n.eng, err = rules.Engine(engine.Config{Store: db, Registry: reg, Now: w.Now})
	w.do(err)
	n.guard, err = consent.New(consent.Config{Rules: rules, Now: w.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: "urn:mrn", Policy: consent.DefaultPolicy(),
		Standing: func(ctx context.Context, held smart.Grant) (smart.Grant, bool, error) {
			w.mu.Lock()
			ended := w.ended[held.ID]
			w.mu.Unlock()
			if ended {
				return smart.Grant{}, false, nil
			}
			var ok bool
			var err error
			held.Identity, ok, err = n.guard.Today(ctx, held.Identity)
			return held, ok, err
		},
		Endpoint: func(url string) bool { return fetch.MayCall(url, true) },
	})
	w.do(err)
	w.t.Cleanup(func() { _ = n.guard.Close() })
	client := fetch.New(fetch.Config{Timeout: 2 * time.Second, Loopback: true})
	if w.trust != nil {
		client = fetch.New(fetch.Config{Timeout: time.Minute, Loopback: true})
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: w.trust}
	}
	n.worker, err = hooks.New(hooks.Config{Guard: n.guard, Changed: db.Changed, Logger: slog.New(slog.NewTextHandler(n.log, nil)), Client: client})
	w.do(err)
	w.nodes = append(w.nodes, n)
	return n
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) people() {
	w.put(`{"resourceType":"Practitioner","id":"okafor","name":[{"family":"Okafor"}]}`)
	w.put(`{"resourceType":"Patient","id":"mateo","identifier":[{"system":"urn:mrn","value":"1001"}],"birthDate":"2020-01-05"}`)
	for _, g := range []string{"grace", "luis"} {
		w.put(`{"resourceType":"RelatedPerson","id":%q,"active":true,"patient":{"reference":"Patient/mateo"},
			"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}]}`, g)
		w.link(g, smart.Proxy, "RelatedPerson/"+g)
	}
	w.link("okafor", smart.Provider, "Practitioner/okafor")
}

func (w *world) put(format string, args ...any) {
	w.t.Helper()
	p, err := w.nodes[0].eng.Prepare(fmt.Appendf(nil, format, args...))
	w.do(err)
	w.do(w.nodes[0].eng.Update(w.t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err }))
}

func (w *world) link(subject string, role smart.Role, person string) {
	w.t.Helper()
	_, err := w.nodes[0].guard.LinkAccount(w.t.Context(), "https://idp", subject, subject, "", consent.Link{Role: role, Person: person})
	w.do(err)
}

// caller gives a person in the portal, or in an app by a grant.
func (w *world) caller(subject string, role smart.Role, grant, scopes string) consent.Caller {
	w.t.Helper()
	g := w.nodes[0].guard
	a, err := g.SignIn(w.t.Context(), "https://idp", subject, "", "")
	w.do(err)
	id, err := g.Identity(w.t.Context(), a, role)
	w.do(err)
	c := consent.Caller{Grant: consent.Portal(id, "session"), Address: "192.0.2.1", RequestID: "r"}
	if grant == "" {
		return c
	}
	c.Scopes, err = smart.ParseScopes(scopes)
	w.do(err)
	c.ID, c.ClientID = grant, "app"
	if strings.Contains(scopes, "patient/") {
		c.Launch.Patient = "mateo"
	}
	return c
}

func (w *world) graceApp() consent.Caller {
	return w.caller("grace", smart.Proxy, "grant-grace", "patient/Subscription.cruds patient/Consent.rs")
}

func (w *world) okaforApp() consent.Caller {
	return w.caller("okafor", smart.Provider, "grant-okafor", "user/Subscription.cruds user/Observation.rs user/Consent.rs")
}

// subscribe makes a subscription to the app's endpoint and has it checked.
func (w *world) subscribe(c consent.Caller, criteria, path, payload string) string {
	w.t.Helper()
	r, _, err := w.nodes[0].guard.Create(w.t.Context(), c, "Subscription", fmt.Appendf(nil, `{"resourceType":"Subscription","status":"requested","reason":"r","criteria":%q,
		"channel":{"type":"rest-hook","endpoint":%q,"header":["Authorization: Bearer hook-secret"]%s}}`, criteria, w.app.url+path, payload))
	w.do(err)
	w.flush()
	return r.ID
}

const withPayload = `,"payload":"application/fhir+json"`

// flush has all gateways deliver, side by side.
func (w *world) flush() {
	w.t.Helper()
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(func() {
			if err := n.worker.Flush(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		})
	}
	all.Wait()
	for _, n := range w.nodes {
		if log := n.log.String(); strings.Contains(log, "127.0.0.1") || strings.Contains(log, "secret") {
			w.t.Errorf("the log tells: %s", log)
		}
	}
}

// state gives status and error of a subscription.
func (w *world) state(id string) string {
	w.t.Helper()
	var body map[string]any
	w.do(w.nodes[0].eng.View(w.t.Context(), func(tx *engine.Tx) error {
		r, err := tx.Read(fhir.Key{Type: "Subscription", ID: id}, engine.Everything)
		if err == nil {
			body, err = fhir.Tree(r.JSON)
		}
		return err
	}))
	text, _ := body["error"].(string)
	return strings.TrimSpace(body["status"].(string) + " " + text)
}

func (w *world) wantState(id, want string) {
	w.t.Helper()
	if got := w.state(id); got != want {
		w.t.Errorf("the subscription is %q, want %q", got, want)
	}
}

// ask has okafor ask for Mateo's record.
func (w *world) ask() *fhir.Resource {
	w.t.Helper()
	r, _, err := w.nodes[0].guard.RequestAccess(w.t.Context(), w.caller("okafor", smart.Provider, "", ""), consent.AccessRequest{Patient: "Patient/mateo"})
	w.do(err)
	return r
}

func (w *world) observe(id string) {
	w.t.Helper()
	w.put(`{"resourceType":"Observation","id":%q,"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`, id)
}

// An endpoint is an app's server. Calls are written as "METHOD path".
type endpoint struct {
	url    string
	server *httptest.Server

	mu    sync.Mutex
	calls []string
	last  *http.Request
	body  string
	do    func(w http.ResponseWriter, r *http.Request) // nil: 200
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{}
	e.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		e.calls = append(e.calls, r.Method+" "+r.URL.RequestURI())
		e.last, e.body = r, string(body)
		do := e.do
		e.mu.Unlock()
		if do != nil {
			do(w, r)
		}
	}))
	e.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(e.server.Close)
	e.url = e.server.URL
	return e
}

func (e *endpoint) answer(do func(w http.ResponseWriter, r *http.Request)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.do = do
}

func (e *endpoint) status(code int) {
	e.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func (e *endpoint) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

func (w *world) wantCalls(want ...string) {
	w.t.Helper()
	if got := w.app.take(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("the endpoint got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
