package web_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/gateway/demo"
	"mypatients/gateway/web"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/authserver/keytest"
	"mypatients/smart/idp"
)

const mrnSystem = "urn:test:mrn"

// A world is the pages on a real guard, authorization server and store, with an
// OpenID Connect issuer to sign in at, served over HTTP.
//
//	Mateo 1001: guardians grace and luis, PCP adams, care team chen
//	Sofia 1002: guardian grace, PCP adams
//	Ava   1003: own login, PCP adams
//	Lily  1005: nobody has a login
//	okafor has no tie to anyone; newton is not registered; sam is staff, ana an administrator;
//	both is a provider and the guardian of Ava.
type world struct {
	t     *testing.T
	base  string
	guard *consent.Guard
	oauth *authserver.Server
	eng   *engine.Engine
	rules *consent.Rules
	db    store.Store
	clock *clock
	mail  func(ctx context.Context, to, subject, text string) error // nil: it is taken and forgotten

	sessions memory

	measured int // measurements made, for their ids
}

var signingKey keytest.Key // of all worlds

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var registry = sync.OnceValues(search.R4)

func newWorld(t *testing.T, with ...func(*consent.Config)) *world {
	t.Helper()
	gin.SetMode(gin.TestMode)
	router := gin.New()
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	zone, err := time.LoadLocation("America/New_York")
	reg, err2 := registry()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	// Cookies of the test's browser know only the real time, so ours starts there.
	w := &world{t: t, base: server.URL, clock: &clock{now: time.Now()}, sessions: memory{memstore.NewWithCleanupInterval(0)}}
	now := w.clock.Now

	st, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(strings.Repeat("k", 32))
	rules := consent.NewRules(w.base, w.base, zone)
	w.rules, w.db = rules, st
	w.eng, err = rules.Engine(engine.Config{Store: st, Registry: reg, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c := consent.Config{Rules: rules, Now: now, Key: key, MRNSystem: mrnSystem, Policy: consent.DefaultPolicy()}
	for _, change := range with {
		change(&c)
	}
	w.guard, err = consent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.guard.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	signingKey.Lend(t, st)
	w.oauth, err = authserver.New(t.Context(), authserver.Config{
		Store: st, Now: now, Issuer: w.base, Key: key, LoginURL: func(id string) string { return w.base + "/authorize?request=" + id }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	signingKey.Keep(t, st)
	err = web.Mount(router, web.Config{
		Guard: w.guard, Server: w.oauth, Providers: []*idp.Provider{w.issuer(router)}, Sessions: w.sessions, SignOuts: &signOuts{names: map[string][]string{}, ended: map[string]bool{}},
		Notices: mailNotices{w.mailer(1)},
		Mail: func(ctx context.Context, to, subject, text string) error {
			if w.mail == nil {
				return nil
			}
			return w.mail(ctx, to, subject, text)
		},
		Now: now, Key: key, Base: w.base, Zone: zone, Brand: web.Brand{Name: "Test Hospital", Accent: "#104488"},
	})
	if err != nil {
		t.Fatal(err)
	}
	router.Any("/oauth/*path", gin.WrapH(w.oauth.Handler()))
	w.people()
	return w
}

// issuer mounts an issuer where everyone's password is "demo".
func (w *world) issuer(router *gin.Engine) *idp.Provider {
	w.t.Helper()
	var people []demo.Person
	for _, name := range []string{"grace", "luis", "ava", "adams", "chen", "okafor", "newton", "sam", "ana", "both"} {
		people = append(people, demo.Person{Username: name, Name: strings.ToUpper(name[:1]) + name[1:] + " Tester", Email: name + "@example.org"})
	}
	callback := w.base + "/signin/callback/test"
	issuer, err := demo.NewIssuer(demo.IssuerConfig{Base: w.base, RedirectURLs: []string{callback}, SignedOut: []string{w.base + "/"}, People: people, Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	router.Any(demo.IssuerPath+"/*path", gin.WrapH(issuer))
	id, secret := issuer.Party()
	p, err := idp.New(idp.Config{ID: "test", Name: "Test", Issuer: issuer.URL(), ClientID: id, ClientSecret: secret, RedirectURL: callback,
		HTTPClient: &http.Client{Transport: demo.Transport(issuer)}, Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range []struct {
		login  string
		role   smart.Role
		person string
	}{
		{"grace", smart.Proxy, "RelatedPerson/grace-mateo"}, {"grace", smart.Proxy, "RelatedPerson/grace-sofia"}, {"luis", smart.Proxy, "RelatedPerson/luis-mateo"},
		{"ava", smart.Patient, "Patient/ava"}, {"adams", smart.Provider, "Practitioner/adams"}, {"chen", smart.Provider, "Practitioner/chen"},
		{"okafor", smart.Provider, "Practitioner/okafor"}, {"sam", smart.Staff, "Practitioner/sam"}, {"ana", smart.Admin, "Practitioner/sam"},
		{"both", smart.Provider, "Practitioner/both"}, {"both", smart.Proxy, "RelatedPerson/both-ava"},
	} {
		if _, err := w.guard.LinkAccount(w.t.Context(), issuer.URL(), l.login, "", "", consent.Link{Role: l.role, Person: l.person}); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

func (w *world) people() {
	for id, name := range map[string]string{"adams": "Ruth Adams", "chen": "Mei Chen", "okafor": "Samir Okafor", "sam": "Sam Porter", "both": "Pat Both"} {
		given, family, _ := strings.Cut(name, " ")
		w.put(`{"resourceType":"Practitioner","id":%q,"active":true,"name":[{"family":%q,"given":[%q],"prefix":["Dr."]}],"telecom":[{"system":"email","value":"%s@example.org"}]}`, id, family, given, id)
	}
	year := w.clock.Now().Year()
	for _, p := range []struct {
		id, mrn, given, family string
		age                    int
	}{{"mateo", "1001", "Mateo", "Rivera", 8}, {"sofia", "1002", "Sofia", "Rivera", 5}, {"ava", "1003", "Ava", "Thompson", 15}, {"lily", "1005", "Lily", "Nguyen", 3}} {
		w.put(`{"resourceType":"Patient","id":%q,"identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":%q,"value":%q}],
			"name":[{"family":%q,"given":[%q]}],"gender":"female","birthDate":"%d-01-01","generalPractitioner":[{"reference":"Practitioner/adams"}]}`,
			p.id, mrnSystem, p.mrn, p.family, p.given, year-p.age)
	}
	for _, r := range []struct{ id, patient string }{{"grace-mateo", "mateo"}, {"grace-sofia", "sofia"}, {"luis-mateo", "mateo"}, {"nobody-lily", "lily"}, {"both-ava", "ava"}} {
		w.put(`{"resourceType":"RelatedPerson","id":%q,"active":true,"patient":{"reference":"Patient/%s"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"PRN"}]}]}`, r.id, r.patient)
	}
	w.put(`{"resourceType":"CareTeam","id":"mateo-team","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
	w.chart()
}

// chart gives Mateo a record with something in every part of it.
func (w *world) chart() {
	const subject = `"subject":{"reference":"Patient/mateo"}`
	for i := range 4 {
		w.put(`{"resourceType":"Observation","id":"h%d","status":"final","category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}]},%s,"effectiveDateTime":"202%d-05-05","valueQuantity":{"value":%d.2534,"unit":"cm"}}`, i, subject, i, 90+6*i)
		w.put(`{"resourceType":"Observation","id":"hb%d","status":"final","category":[{"coding":[{"code":"laboratory"}]}],"code":{"text":"Hemoglobin"},%s,"effectiveDateTime":"202%d-06-05","valueQuantity":{"value":%d.1,"unit":"g/dL"},"referenceRange":[{"low":{"value":11},"high":{"value":14,"unit":"g/dL"}}]}`, i, subject, i, 10+2*i)
	}
	w.put(`{"resourceType":"Observation","id":"bp","status":"final","category":[{"coding":[{"code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},%s,"effectiveDateTime":"2024-05-05","component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":60,"unit":"mm[Hg]"}},{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":98,"unit":"mm[Hg]"}}]}`, subject)
	w.put(`{"resourceType":"Condition","id":"c1","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]},"code":{"text":"Asthma (disorder)"},%s,"onsetDateTime":"2021-02"}`, subject)
	w.put(`{"resourceType":"AllergyIntolerance","id":"a1","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}]},"criticality":"high","code":{"text":"Peanut"},"patient":{"reference":"Patient/mateo"}}`)
	w.put(`{"resourceType":"MedicationRequest","id":"m1","status":"active","intent":"order","medicationCodeableConcept":{"text":"Albuterol"},%s,"authoredOn":"2024-01-02","dosageInstruction":[{"text":"Two puffs"}]}`, subject)
	w.put(`{"resourceType":"Immunization","id":"i1","status":"completed","vaccineCode":{"text":"MMR"},"patient":{"reference":"Patient/mateo"},"occurrenceDateTime":"2019-03-04"}`)
	w.put(`{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"type":[{"text":"Well child visit"}],%s,"period":{"start":"2024-05-05T10:00:00Z"}}`, subject)
	w.put(`{"resourceType":"DocumentReference","id":"d1","status":"current","type":{"text":"Visit note"},%s,"date":"2024-05-05T10:00:00Z","content":[{"attachment":{"contentType":"text/plain; charset=utf-8","data":"QWxsIHdlbGw8c2NyaXB0PmFsZXJ0KDEpPC9zY3JpcHQ+"}}]}`, subject)
}

// put stores a resource behind the guard's back, as loading does.
func (w *world) put(format string, args ...any) {
	w.t.Helper()
	p, err := w.eng.Prepare(fmt.Appendf(nil, format, args...))
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.eng.Update(w.t.Context(), func(tx *engine.Tx) error {
		_, _, err := tx.Update(p, nil)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// memory keeps sessions; scs's own store knows no contexts.
// signOuts remembers what has ended, by the names of each session.
type signOuts struct {
	mu    sync.Mutex
	names map[string][]string // of sessions
	ended map[string]bool
}

func (s *signOuts) Begin(_ context.Context, session string, aliases []string, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[session] = aliases
	return nil
}

func (s *signOuts) End(_ context.Context, aliases []string, _ time.Time) (sessions []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for session, names := range s.names {
		if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(aliases, name) }) {
			s.ended[session] = true
			sessions = append(sessions, session)
			delete(s.names, session)
		}
	}
	return sessions, nil
}

func (s *signOuts) Ended(_ context.Context, session string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[session], nil
}

func (*signOuts) Once(context.Context, string, time.Time) (bool, error) { return true, nil }

type memory struct{ *memstore.MemStore }

func (m memory) FindCtx(_ context.Context, token string) ([]byte, bool, error) { return m.Find(token) }
func (m memory) DeleteCtx(_ context.Context, token string) error               { return m.Delete(token) }
func (m memory) CommitCtx(_ context.Context, token string, b []byte, expires time.Time) error {
	return m.Commit(token, b, expires)
}
