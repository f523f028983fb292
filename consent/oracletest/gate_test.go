package oracletest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
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

// A gate is a Guard in front of a world that is in a store.
type gate struct {
	t     testing.TB
	guard *consent.Guard
	eng   *engine.Engine
	db    store.Store
	rules *consent.Rules
	mu    sync.Mutex
	now   time.Time
	login map[string]string // ids of accounts, by name
}

func (g *gate) Now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gate) set(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = now
}

var registry = sync.OnceValues(search.R4)

func openStore(t testing.TB, now func() time.Time) (store.Store, error) {
	if os.Getenv("STORE") == "postgres" {
		return pgstore.Open(t.Context(), pgstore.Options{DSN: pgtest.Open(t)})
	}
	return badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: now})
}

// newGate stores a world as it is found, past the checks on what people write.
func newGate(t testing.TB, w *world, now time.Time) *gate {
	t.Helper()
	g := &gate{t: t, now: now}
	st, err := openStore(t, g.Now)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	g.db, g.rules = st, consent.NewRules(base, base, w.zone)
	if g.eng, err = g.rules.Engine(engine.Config{Store: st, Registry: reg.In(w.zone), Now: g.Now}); err != nil {
		t.Fatal(err)
	}
	g.guard, err = consent.New(g.config(w))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.guard.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	g.store(bodies(w)...)
	g.live(w)
	return g
}

func (g *gate) config(w *world) consent.Config {
	c := consent.Config{Rules: g.rules, Now: g.Now, Key: []byte(strings.Repeat("k", 32)), MRNSystem: mrnSystem, Policy: consent.DefaultPolicy(),
		AppCode:  func(context.Context, string, string) (bool, error) { return true, nil },
		Standing: func(_ context.Context, held smart.Grant) (smart.Grant, bool, error) { return held, true, nil },
		Endpoint: func(string) bool { return true }}
	c.Policy.CareTeamOrganizations, c.Policy.KeepGuardianGrants = w.site.organizations, w.site.keepGrants
	c.Policy.BreakGlass.Enabled, c.Policy.BreakGlass.PerHour = w.site.ceiling != "", 1000
	c.Policy.BreakGlass.Never, c.Policy.BreakGlass.OptOutsHold, c.Policy.BreakGlass.Roles = w.site.never, w.site.optOuts, w.site.roles
	if w.site.ceiling != "" {
		c.Policy.BreakGlass.Ceiling = w.site.ceiling
	}
	if w.site.joins {
		c.ListAtMost = -1
	}
	return c
}

// store writes resources behind the guard's back, as loading does.
func (g *gate) store(bodies ...[]byte) {
	g.t.Helper()
	var list []*engine.Prepared
	for _, body := range bodies {
		p, err := g.eng.Prepare(body)
		if err != nil {
			g.t.Fatalf("%v: %s", err, body)
		}
		list = append(list, p)
	}
	if err := g.eng.Update(g.t.Context(), func(tx *engine.Tx) error {
		for _, p := range list {
			if _, _, err := tx.Update(p, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		g.t.Fatal(err)
	}
}

// drop deletes a resource behind the guard's back.
func (g *gate) drop(ref string) {
	g.t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.eng.Update(g.t.Context(), func(tx *engine.Tx) error { _, err := tx.Delete(key, nil); return err }); err != nil {
		g.t.Fatal(err)
	}
}

// caller makes a Caller of one of the world's.
func (g *gate) caller(c *caller) consent.Caller {
	g.t.Helper()
	id := smart.Identity{Role: smart.Role(c.role), Name: c.name, Persons: c.persons}
	if len(c.persons) > 0 {
		id.Login, id.FHIRUser = or(g.login[or(c.login, c.name)], "login-"+c.name), c.persons[0]
	}
	if c.scopes == nil {
		grant := consent.Portal(id, c.grant())
		grant.AuthTime = g.Now()
		return consent.Caller{Grant: grant, Address: "192.0.2.1", RequestID: "r"}
	}
	scopes, err := smart.ParseScopes(scopesText(c.scopes))
	if err != nil {
		g.t.Fatal(err)
	}
	return consent.Caller{Grant: smart.Grant{ID: c.grant(), AuthTime: g.Now(), ClientID: "app", Identity: id, Scopes: scopes, Launch: smart.Context{Patient: c.launch}}, Address: "192.0.2.1", RequestID: "r"}
}

// reads tells whether a caller is given a resource; what they are not must be
// absent, or outside their scopes.
func (g *gate) reads(c consent.Caller, ref string) bool {
	g.t.Helper()
	key, err := fhir.ParseKey(ref)
	if err != nil {
		g.t.Fatal(err)
	}
	_, err = g.guard.Read(g.t.Context(), c, key)
	if kind := fhir.KindOf(err); err != nil && kind != fhir.NotFound && kind != fhir.Forbidden {
		g.t.Errorf("%s: %v", ref, err)
	}
	return err == nil
}

// pages runs a search through all its pages.
func (g *gate) pages(ask func(url.Values) (*fhir.Page, error), query string) ([]*fhir.Page, error) {
	g.t.Helper()
	var list []*fhir.Page
	for {
		values, err := url.ParseQuery(query)
		if err != nil {
			g.t.Fatal(err)
		}
		page, err := ask(values)
		if err != nil {
			return list, err
		}
		if list = append(list, page); page.Next == "" {
			return list, nil
		}
		query = page.Next
	}
}

func (g *gate) search(c consent.Caller, kind, query string) ([]*fhir.Page, error) {
	return g.pages(func(v url.Values) (*fhir.Page, error) {
		return g.guard.Search(g.t.Context(), c, fhir.Type(kind), v, false)
	}, query)
}

// refs lists what pages hold, in their order.
func refs(pages []*fhir.Page, modes ...string) []string {
	var list []string
	for _, p := range pages {
		for _, e := range p.Entries {
			if e.Resource != nil && (len(modes) == 0 || slicesHas(modes, e.Mode)) {
				list = append(list, e.Resource.Key.String())
			}
		}
	}
	return list
}

func long() bool { return os.Getenv("LONG") != "" }

// seeded gives the seed of a random test: SEED, or a new one.
func seeded(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64() >> 1
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return seed
}
