package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/pgstore"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

const (
	site = "https://gateway.example.org"
	base = site + "/fhir"
)

var noon = time.Date(2031, 5, 7, 12, 0, 0, 120_000_000, time.UTC)

// A world is the binding on a real guard, engine and store.
type world struct {
	t      *testing.T
	guard  *consent.Guard
	router *gin.Engine
}

// openStore opens the store that the environment variable STORE names: badger, if
// it is not set, or postgres.
func openStore(t *testing.T, now func() time.Time) (store.Store, error) {
	if os.Getenv("STORE") == "postgres" {
		return pgstore.Open(t.Context(), pgstore.Options{DSN: pgtest.Open(t)})
	}
	return badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
}

// newWorld makes a world in which a token is the name of a caller of its table.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldFor(t, 20_000)
}

// newWorldFor makes a world that takes bodies of so many bytes.
func newWorldFor(t *testing.T, maxBody int64) *world {
	t.Helper()
	return newWorldWith(t, maxBody, func(*consent.Config) {})
}

// newWorldWith makes a world whose guard has more in its configuration.
func newWorldWith(t *testing.T, maxBody int64, more func(*consent.Config)) *world {
	t.Helper()
	now := func() time.Time { return noon }
	s, err := openStore(t, now)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	registry, err := search.R4()
	must(t, err)
	rules := consent.NewRules(site, site, time.UTC)
	e, err := rules.Engine(engine.Config{Store: s, Registry: registry, Now: now})
	must(t, err)
	c := consent.Config{Rules: rules, Now: now, Key: make([]byte, 32), MRNSystem: "urn:mrn", Policy: consent.DefaultPolicy()}
	more(&c)
	guard, err := consent.New(c)
	must(t, err)
	t.Cleanup(func() { _ = guard.Close() })
	for _, body := range records {
		must(t, e.Update(t.Context(), func(tx *engine.Tx) error {
			p, err := e.Prepare([]byte(body))
			if err == nil {
				_, _, err = tx.Update(p, nil)
			}
			return err
		}))
	}
	return &world{t, guard, mount(t, rest.Config{Guard: guard, Authenticate: authenticate, Base: base, Zone: time.UTC, MaxBody: maxBody})}
}

func mount(t *testing.T, c rest.Config) *gin.Engine {
	t.Helper()
	gin.SetMode(gin.TestMode)
	r := gin.New()
	r.Use(func(c *gin.Context) { c.Header(rest.RequestIDHeader, "request-1") })
	must(t, rest.Mount(r, c))
	return r
}

var records = []string{
	`{"resourceType":"Practitioner","id":"adams","name":[{"family":"Adams"}]}`,
	`{"resourceType":"Practitioner","id":"okafor","name":[{"family":"Okafor"}]}`,
	`{"resourceType":"Patient","id":"1","identifier":[{"system":"urn:mrn","value":"1001"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":"2023-01-01","generalPractitioner":[{"reference":"Practitioner/adams"}]}`,
	`{"resourceType":"Observation","id":"a","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":"2030-01-01","valueQuantity":{"value":1.20,"unit":"m"}}`,
	`{"resourceType":"Observation","id":"b","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":"2031-01-01","valueQuantity":{"value":1.30,"unit":"m"}}`,
	`{"resourceType":"Observation","id":"c","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8302-2"}]},"subject":{"reference":"Patient/1"},"effectiveDateTime":"2031-02-01","valueQuantity":{"value":1.31,"unit":"m"}}`,
}

func authenticate(_ context.Context, bearer string) (smart.Grant, error) {
	grant := func(role smart.Role, user, scopes string) (smart.Grant, error) {
		parsed, err := smart.ParseScopes(scopes)
		id := smart.Identity{Role: role, FHIRUser: user}
		if user != "" {
			id.Persons = []string{user}
		}
		return smart.Grant{ID: "g-" + bearer, ClientID: "app", Identity: id, Scopes: parsed}, err
	}
	switch bearer {
	case "system":
		return grant(smart.System, "", "system/*.cruds")
	case "adams":
		return grant(smart.Provider, "Practitioner/adams", "user/*.cruds")
	case "okafor":
		return grant(smart.Provider, "Practitioner/okafor", "user/*.cruds")
	case "narrow":
		return grant(smart.Provider, "Practitioner/adams", "user/Patient.r")
	case "broken":
		return smart.Grant{}, errors.New("pq: password authentication failed for user gateway at /var/lib/db.go:17")
	}
	return smart.Grant{}, &smart.Error{Code: "invalid_token", Status: http.StatusUnauthorized}
}

// An answer is a response, read.
type answer struct {
	*http.Response
	t    *testing.T
	body string
}

// do sends a request; headers are name, value, name, value …
func (w *world) do(method, path, token, body string, headers ...string) *answer {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	w.router.ServeHTTP(recorder, r)
	text, err := io.ReadAll(recorder.Result().Body)
	must(w.t, err)
	return &answer{recorder.Result(), w.t, string(text)}
}

func (w *world) get(path, token string, headers ...string) *answer {
	w.t.Helper()
	return w.do("GET", path, token, "", headers...)
}

func (a *answer) status(want int) *answer {
	a.t.Helper()
	if a.StatusCode != want {
		a.t.Fatalf("got status %d, want %d: %s", a.StatusCode, want, a.body)
	}
	return a
}

func (a *answer) header(name, want string) *answer {
	a.t.Helper()
	if got := a.Header.Get(name); got != want {
		a.t.Errorf("%s: got %q, want %q", name, got, want)
	}
	return a
}

func (a *answer) has(parts ...string) *answer {
	a.t.Helper()
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			a.t.Errorf("missing %s in %s", part, a.body)
		}
	}
	return a
}

func (a *answer) lacks(parts ...string) *answer {
	a.t.Helper()
	for _, part := range parts {
		if strings.Contains(a.body, part) {
			a.t.Errorf("found %s in %s", part, a.body)
		}
	}
	return a
}

// outcome checks that the body is an OperationOutcome with an issue code.
func (a *answer) outcome(status int, code string) *answer {
	a.t.Helper()
	a.status(status).header("Content-Type", "application/fhir+json; charset=utf-8")
	var o struct {
		ResourceType string
		Issue        []struct{ Severity, Code, Diagnostics string }
	}
	if err := json.Unmarshal([]byte(a.body), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) == 0 {
		a.t.Fatalf("got %s, want an OperationOutcome", a.body)
	}
	if o.Issue[0].Code != code {
		a.t.Errorf("got issue code %q, want %q", o.Issue[0].Code, code)
	}
	return a
}

type bundle struct {
	ResourceType, Type string
	Total              *int
	Link               []struct{ Relation, URL string }
	Entry              []struct {
		FullURL  string
		Resource struct{ ResourceType, ID string }
		Search   struct{ Mode string }
		Request  struct{ Method, URL string }
		Response struct {
			Status, Location, Etag, LastModified string
			Outcome                              *struct {
				Issue []struct {
					Code, Diagnostics string
					Expression        []string
				}
			}
		}
	}
}

func (a *answer) bundle() bundle {
	a.t.Helper()
	a.status(http.StatusOK)
	var b bundle
	if err := json.Unmarshal([]byte(a.body), &b); err != nil || b.ResourceType != "Bundle" {
		a.t.Fatalf("got %s, want a Bundle", a.body)
	}
	return b
}

func (b bundle) link(relation string) string {
	for _, l := range b.Link {
		if l.Relation == relation {
			return strings.TrimPrefix(l.URL, site)
		}
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := rest.Config{Guard: new(consent.Guard), Authenticate: authenticate, Base: base, Zone: time.UTC}
	for name, spoil := range map[string]func(*rest.Config){
		"guard": func(c *rest.Config) { c.Guard = nil }, "authenticate": func(c *rest.Config) { c.Authenticate = nil },
		"zone": func(c *rest.Config) { c.Zone = nil }, "slash": func(c *rest.Config) { c.Base += "/" },
		"no path": func(c *rest.Config) { c.Base = site }, "relative": func(c *rest.Config) { c.Base = "/fhir" },
	} {
		c := good
		spoil(&c)
		if rest.Mount(gin.New(), c) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestEveryKindHasAStatus keeps the table complete: only Internal is a 500.
func TestEveryKindHasAStatus(t *testing.T) {
	gin.SetMode(gin.TestMode)
	for kind := fhir.Internal; kind <= fhir.Unavailable; kind++ {
		recorder := httptest.NewRecorder()
		c, _ := gin.CreateTestContext(recorder)
		c.Request = httptest.NewRequest("GET", "/fhir/Patient/1", nil)
		rest.Fail(c, fhir.Errorf(kind, "text"))
		if (recorder.Code == http.StatusInternalServerError) != (kind == fhir.Internal) {
			t.Errorf("%v: got %d", kind, recorder.Code)
		}
		if !strings.Contains(recorder.Body.String(), `"code":"`+kind.IssueCode()+`"`) {
			t.Errorf("%v: got %s", kind, recorder.Body)
		}
	}
}
