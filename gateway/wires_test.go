package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"mypatients/config"
	"mypatients/consent/audit"
	"mypatients/fhir/pgstore/pgtest"
)

// A wire is a way to one of the gateways of a stage that many can use at a time.
type wire struct {
	t      testing.TB
	client *http.Client
}

// Said is an answer on a wire.
type said struct {
	status int
	header http.Header
	body   string
}

func (s said) get(path string) string { return gjson.Get(s.body, path).String() }

// wires gives a way to each gateway that runs.
func (s *stage) wires() []*wire {
	var list []*wire
	for _, n := range s.nodes {
		address := n.listener.Addr().String()
		line := &http.Transport{MaxIdleConnsPerHost: 100, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		s.t.Cleanup(line.CloseIdleConnections)
		list = append(list, &wire{s.t, &http.Client{Transport: line, Timeout: 2 * time.Minute}})
	}
	return list
}

// try sends a request with a token; headers are names and values.
func (w *wire) try(token, method, path, body string, headers ...string) (said, error) {
	if !strings.HasPrefix(path, "http") {
		path = scriptBase + path
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		return said{}, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.client.Do(r)
	if err != nil {
		return said{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return said{res.StatusCode, res.Header, string(text)}, err
}

// call is try where the answer comes.
func (w *wire) call(token, method, path, body string, headers ...string) said {
	got, err := w.try(token, method, path, body, headers...)
	if err != nil {
		w.t.Error(err)
	}
	return got
}

// must is call for what has to go well.
func (w *wire) must(token, method, path, body string, headers ...string) said {
	w.t.Helper()
	got := w.call(token, method, path, body, headers...)
	if got.status < 200 || got.status > 299 {
		w.t.Fatalf("%s %s: got %d %.400s", method, path, got.status, got.body)
	}
	return got
}

// parameters composes a Parameters of references and strings, by name and value.
func parameters(list ...string) string {
	var rows []map[string]any
	for i := 0; i+1 < len(list); i += 2 {
		row := map[string]any{"name": list[i], "valueString": list[i+1]}
		if strings.HasPrefix(list[i+1], "Patient/") {
			row = map[string]any{"name": list[i], "valueReference": map[string]any{"reference": list[i+1]}}
		}
		rows = append(rows, row)
	}
	text, _ := json.Marshal(map[string]any{"resourceType": "Parameters", "parameter": rows})
	return string(text)
}

// tokens takes a person with an app through a launch and gives what the app gets.
func (s *stage) tokens(person, scope, patient string) (access, refresh string) {
	s.t.Helper()
	a, fill := s.cast(person), url.Values{}
	if patient != "" {
		fill.Set("patient", patient)
	}
	for _, step := range []func() error{
		func() error { return a.enter("/") },
		func() error { return a.authorize("demo-public", scope, "") },
		func() error { return a.press("Approve", fill) },
		a.exchange,
	} {
		if err := step(); err != nil {
			s.t.Fatalf("%s: %v: %s", person, err, a.scene())
		}
	}
	return a.bearer, gjson.GetBytes(a.body, "refresh_token").String()
}

const (
	familyScope   = "launch/patient openid fhirUser offline_access patient/*.cruds"
	providerScope = "openid fhirUser offline_access user/*.cruds"
)

// family and provider give the token of an app of theirs.
func (s *stage) family(person, patient string) string {
	s.t.Helper()
	token, _ := s.tokens(person, familyScope, patient)
	return token
}

func (s *stage) provider(person string) string {
	s.t.Helper()
	token, _ := s.tokens(person, providerScope, "")
	return token
}

// onEachStore runs a test with one gateway on embedded data, and with two on a
// database of PostgreSQL. Nobody has to wait before they ask again.
func onEachStore(t *testing.T, test func(t *testing.T, s *stage)) {
	prepared := func(c *config.Config) {
		c.Policy.CoolDownDays = 0
		c.Policy.BreakGlass.Enabled, c.Policy.PrivacyEmail = true, "privacy@example.org"
	}
	t.Run("badger", func(t *testing.T) {
		folder := loadedFolder(t) // outlives the stage
		s := emptyStage(t)
		s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
			c.Storage.Path = folder
			prepared(c)
			return startDemoOn(t.Context(), c, s.clock.Now, log)
		})
		test(t, s)
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := pgtest.Open(t)
		s := emptyStage(t)
		for range 2 {
			s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
				c.Key = config.Secret(secrets["GATEWAY_KEY"])
				c.Storage = config.Storage{Engine: "postgres", DSN: config.Secret(dsn), PoolSize: 16}
				prepared(c)
				return start(t.Context(), c, s.clock.Now, log)
			})
		}
		s.reach(0)
		test(t, s)
	})
}

// verified checks the audit log as the command does.
func (s *stage) verified() {
	s.t.Helper()
	var out bytes.Buffer
	err := verifyAudit(s.t.Context(), environment{stdout: &out, now: s.clock.Now}, &guardedLog{s.program.core.guard}, audit.Check{})
	if err != nil || !strings.Contains(out.String(), "verified ") {
		s.t.Errorf("the audit log: %v\n%s", err, &out)
	}
}

// seeded gives chance, and prints how to have the same again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// rounds is how often something is tried.
func rounds(short, long int) int {
	if os.Getenv("LONG") != "" {
		return long
	}
	return short
}

// race lets many do something at once, and gives how often which status came.
func race(n int, act func(i int) int) map[int]int {
	var all sync.WaitGroup
	var mu sync.Mutex
	count, start := map[int]int{}, make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			status := act(i)
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	close(start)
	all.Wait()
	return count
}

// only fails the test unless one of a race got 200 and all others one of the
// statuses that losers get.
func only(t *testing.T, what string, count map[int]int, losers ...int) {
	t.Helper()
	rest := 0
	for _, status := range losers {
		rest += count[status]
	}
	total := 0
	for _, n := range count {
		total += n
	}
	if count[http.StatusOK] != 1 || rest != total-1 {
		t.Errorf("%s: got %v, want one 200 and else %v", what, count, losers)
	}
}

// etag is the If-Match of a version.
func etag(version string) string { return fmt.Sprintf("W/%q", version) }
