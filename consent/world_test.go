package consent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
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
	"mypatients/smart"
)

const (
	base      = "http://gateway.test"
	mrnSystem = "urn:test:mrn"
)

// A world is a gateway without HTTP: a guard on a real store, with people.
//
//	Mateo (8):  guardians grace and luis, PCP adams, care team chen
//	Sofia (5):  guardian grace, PCP adams
//	Ava (15):   own login, guardian helen, PCP baker
//	Noah (18):  own login, former guardian mark, PCP baker
//	Lily (3):   guardian without a login, PCP baker
//	okafor has no tie to anyone.
type world struct {
	t     testing.TB
	guard *consent.Guard
	eng   *engine.Engine
	rules *consent.Rules
	db    store.Store
	clock *clock
	zone  *time.Location
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) pass(d time.Duration) { c.set(c.Now().Add(d)) }

var registry = sync.OnceValues(search.R4)

// openStore opens the store that the environment variable STORE names: badger, if
// it is not set, or postgres.
func openStore(t testing.TB, now func() time.Time) (store.Store, error) {
	if os.Getenv("STORE") == "postgres" {
		return pgstore.Open(t.Context(), pgstore.Options{DSN: pgtest.Open(t)})
	}
	return badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
}

func newWorld(t testing.TB, with ...func(*engine.Config)) *world {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, zone: zone, clock: &clock{now: time.Date(2026, 3, 10, 15, 0, 0, 0, zone)}}
	st, err := openStore(t, w.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	rules := consent.NewRules(base, base, zone)
	c := engine.Config{Store: st, Registry: reg, Now: w.clock.Now}
	for _, change := range with {
		change(&c)
	}
	w.db, w.rules = st, rules
	w.eng, err = rules.Engine(c)
	if err != nil {
		t.Fatal(err)
	}
	w.guard, err = consent.New(consent.Config{Rules: rules, Now: w.clock.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		AppCode:  func(context.Context, string, string) (bool, error) { return true, nil },
		Standing: func(_ context.Context, held smart.Grant) (smart.Grant, bool, error) { return held, true, nil },
		Endpoint: func(url string) bool { return strings.HasPrefix(url, "https://") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.guard.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	w.people()
	return w
}

func (w *world) people() {
	w.t.Helper()
	var all []*engine.Prepared
	put := func(format string, args ...any) { all = append(all, w.prepare(format, args...)) }
	for _, p := range []struct{ id, family, npi string }{
		{"adams", "Adams", "1234567893"}, {"baker", "Baker", "1245319599"}, {"chen", "Chen", "1679576722"}, {"okafor", "Okafor", "1003000126"}, {"other", "Other", "1000000004"},
	} {
		put(`{"resourceType":"Practitioner","id":%q,"identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":%q}],"name":[{"family":%q,"given":["Dr"]}],"telecom":[{"system":"email","value":"%s@example.org"}]}`, p.id, p.npi, p.family, p.id)
	}
	for _, p := range []struct{ id, mrn, given, family, born, pcp string }{
		{"mateo", "1001", "Mateo", "Rivera", "2018-01-05", "adams"}, {"sofia", "1002", "Sofia", "Rivera", "2020-06-01", "adams"},
		{"ava", "1003", "Ava", "Thompson", "2010-09-09", "baker"}, {"noah", "1004", "Noah", "Williams", "2008-02-01", "baker"},
		{"lily", "1005", "Lily", "Nguyen", "2022-12-24", "baker"},
	} {
		put(`{"resourceType":"Patient","id":%q,"identifier":[{"system":%q,"value":%q}],"name":[{"family":%q,"given":[%q]}],"birthDate":%q,"generalPractitioner":[{"reference":"Practitioner/%s"}]}`,
			p.id, mrnSystem, p.mrn, p.family, p.given, p.born, p.pcp)
		put(`{"resourceType":"Observation","id":"%s-weight","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2025-05-05","valueQuantity":{"value":30.50,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}`, p.id, p.id)
	}
	put(`{"resourceType":"Observation","id":"ava-secret","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SEX"}]},"status":"final","code":{"text":"confidential"},"subject":{"reference":"Patient/ava"}}`)
	put(`{"resourceType":"CareTeam","id":"mateo-team","status":"active","subject":{"reference":"Patient/mateo"},"participant":[{"member":{"reference":"Practitioner/chen"}}]}`)
	for _, r := range []struct{ id, patient, code string }{
		{"grace-mateo", "mateo", "MTH"}, {"grace-sofia", "sofia", "MTH"}, {"luis-mateo", "mateo", "FTH"}, {"helen-ava", "ava", "MTH"}, {"mark-noah", "noah", "FTH"}, {"nobody-lily", "lily", "MTH"},
	} {
		put(`{"resourceType":"RelatedPerson","id":%q,"active":true,"patient":{"reference":"Patient/%s"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":%q}]}],"telecom":[{"system":"email","value":"%s@example.org"}]}`, r.id, r.patient, r.code, r.id)
	}
	if err := w.eng.Update(w.t.Context(), func(tx *engine.Tx) error {
		for _, p := range all {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range []string{"adams", "baker", "chen", "okafor", "other"} {
		w.link(id, smart.Provider, "Practitioner/"+id)
	}
	w.link("grace", smart.Proxy, "RelatedPerson/grace-mateo", "RelatedPerson/grace-sofia")
	w.link("luis", smart.Proxy, "RelatedPerson/luis-mateo")
	w.link("helen", smart.Proxy, "RelatedPerson/helen-ava")
	w.link("mark", smart.Proxy, "RelatedPerson/mark-noah")
	w.link("ava", smart.Patient, "Patient/ava")
	w.link("noah", smart.Patient, "Patient/noah")
}

func (w *world) link(subject string, role smart.Role, persons ...string) {
	w.t.Helper()
	var links []consent.Link
	for _, p := range persons {
		links = append(links, consent.Link{Role: role, Person: p})
	}
	if _, err := w.guard.LinkAccount(w.t.Context(), "https://idp.test", subject, subject, subject+"@example.org", links...); err != nil {
		w.t.Fatal(err)
	}
}

// put stores a resource behind the guard's back, as loading does.
func (w *world) put(format string, args ...any) {
	w.t.Helper()
	if err := w.load(w.prepare(format, args...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) prepare(format string, args ...any) *engine.Prepared {
	w.t.Helper()
	p, err := w.eng.Prepare(fmt.Appendf(nil, format, args...))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// as gives a person as a caller in the portal, in the first role they hold.
func (w *world) as(subject string) consent.Caller {
	w.t.Helper()
	a, err := w.guard.SignIn(w.t.Context(), "https://idp.test", subject, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	if len(a.Links) == 0 {
		w.t.Fatalf("%s stands for nobody", subject)
	}
	id, err := w.guard.Identity(w.t.Context(), a, a.Links[0].Role)
	if err != nil {
		w.t.Fatal(err)
	}
	return consent.Caller{Grant: consent.Portal(id, "session-"+subject), Address: "192.0.2.1", RequestID: "r"}
}

// app gives a person as a caller through an app with scopes and a launch patient.
func (w *world) app(subject, scopes, patient string) consent.Caller {
	w.t.Helper()
	c := w.as(subject)
	parsed, err := smart.ParseScopes(scopes)
	if err != nil {
		w.t.Fatal(err)
	}
	c.ClientID, c.Scopes, c.Launch.Patient = "app", parsed, patient
	return c
}

func (w *world) read(c consent.Caller, ref string) error {
	w.t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.guard.Read(w.t.Context(), c, key)
	return err
}

// may asserts that a person may read resources, mayNot that they are answered
// with what is absent.
func (w *world) may(subject string, refs ...string) {
	w.t.Helper()
	for _, ref := range refs {
		if err := w.read(w.as(subject), ref); err != nil {
			w.t.Errorf("%s reads %s: got %v, want the resource", subject, ref, err)
		}
	}
}

func (w *world) mayNot(subject string, refs ...string) {
	w.t.Helper()
	for _, ref := range refs {
		wantKind(w.t, w.read(w.as(subject), ref), fhir.NotFound)
	}
}

// search gives the ids found, outcomes as "outcome:code".
func (w *world) search(c consent.Caller, t fhir.Type, query string) ([]string, error) {
	w.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	page, err := w.guard.Search(w.t.Context(), c, t, values, false)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, e := range page.Entries {
		if e.Mode == "outcome" {
			ids = append(ids, "outcome:"+outcomeCode(w.t, e.Outcome))
			continue
		}
		ids = append(ids, e.Resource.ID)
	}
	return ids, nil
}

func outcomeCode(t testing.TB, body []byte) string {
	t.Helper()
	var o struct {
		Issue []struct {
			Details struct{ Coding []struct{ Code string } }
		}
	}
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatal(err)
	}
	return o.Issue[0].Details.Coding[0].Code
}

// ask makes a request of a provider by the handle of Patient Selection.
func (w *world) ask(provider, mrn string, req consent.AccessRequest) *fhir.Resource {
	w.t.Helper()
	sel, err := w.guard.Select(w.t.Context(), w.as(provider), consent.Selection{MRN: mrn})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(sel.Outcomes) != 1 || sel.Outcomes[0].Handle == "" {
		w.t.Fatalf("selecting %s: got %+v, want one outcome with a handle", mrn, sel)
	}
	req.Patient = sel.Outcomes[0].Handle
	r, created, err := w.guard.RequestAccess(w.t.Context(), w.as(provider), req)
	if err != nil || !created {
		w.t.Fatalf("request: created %v, %v", created, err)
	}
	return r
}

// notices counts the notices written to a person.
func (w *world) notices(recipient string) []string {
	w.t.Helper()
	reg := w.eng.Registry()
	q, err := reg.Parse("Communication", url.Values{"recipient": {recipient}, "_sort": {"_lastUpdated"}}, search.Options{Base: base + "/fhir"})
	if err != nil {
		w.t.Fatal(err)
	}
	var subjects []string
	if err := w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			var c struct{ Topic struct{ Text string } }
			if err := json.Unmarshal(e.Resource.JSON, &c); err != nil {
				return err
			}
			subjects = append(subjects, c.Topic.Text)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return subjects
}

func status(t testing.TB, r *fhir.Resource) string {
	t.Helper()
	var c struct{ Status string }
	if err := json.Unmarshal(r.JSON, &c); err != nil {
		t.Fatal(err)
	}
	return c.Status
}

func wantKind(t testing.TB, err error, kind fhir.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %v", kind)
		return
	}
	if got := fhir.KindOf(err); got != kind {
		t.Errorf("got %v (%v), want %v", got, err, kind)
	}
}

// load writes as loading does.
func (w *world) load(p *engine.Prepared) error {
	w.t.Helper()
	return w.eng.Update(w.t.Context(), func(tx *engine.Tx) error { _, _, err := tx.Update(p, nil); return err })
}
