package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mypatients/config"
)

func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	status := m.Run()
	if err := endShared(); err != nil {
		slog.Error("the demo of many tests ended badly", "error", err)
		status = 1
	}
	os.Exit(status)
}

// A gateway is a running program of a test.
type gateway struct {
	*Program
	t      testing.TB
	folder string
	log    *lines
	stop   func()
}

// startDemo runs a whole demo on a free port in this process, as the command
// does, on fresh data; it ends with the test. A nil clock is the real one.
func startDemo(t testing.TB, now func() time.Time) *gateway {
	t.Helper()
	return startDemoIn(t, t.TempDir(), "127.0.0.1:0", now)
}

// startDemoIn is startDemo on a data folder and an address, with changes to the
// demo's configuration.
func startDemoIn(t testing.TB, folder, address string, now func() time.Time, changes ...func(*config.Config)) *gateway {
	t.Helper()
	if now == nil {
		now = time.Now
	}
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Storage.Path = address, folder
	for _, change := range changes {
		change(c)
	}
	g := &gateway{t: t, folder: folder, log: new(lines)}
	g.Program, err = startDemoOn(t.Context(), c, now, slog.New(slog.NewTextHandler(g.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.stop = running(t, g.Program)
	return g
}

// running has a gateway go on until stop is called, or the test is over.
func running(t testing.TB, p *Program) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- p.finish(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// lines is a log that tests can read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// get sends a GET and gives status, headers and body. Redirects are not followed.
func (g *gateway) get(path string, headers ...string) (int, http.Header, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.URL+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestDemoServes(t *testing.T) {
	g := sharedDemo(t)
	for path, want := range map[string]struct {
		status int
		part   string
	}{
		"/healthz":                              {200, "ok"},
		"/readyz":                               {200, "ready"},
		"/metrics":                              {200, "go_goroutines"},
		"/fhir/metadata":                        {200, `"CapabilityStatement"`},
		"/fhir/Patient/pt-1":                    {401, `"login"`},
		"/fhir/Patient?name=x":                  {401, `"login"`},
		"/fhir/a/b/c/d/e/f/g":                   {404, "OperationOutcome"},
		"/fhir/Patient//x":                      {400, "OperationOutcome"},
		"/nothing":                              {404, ""},
		"/demo/mail":                            {200, ""},
		"/demo/app":                             {200, ""},
		stylePath:                               {200, "color_text"},
		"/oauth/jwks":                           {200, `"keys"`},
		"/oauth/authorize":                      {400, ""},
		"/signin":                               {303, ""},
		"/.well-known/openid-configuration":     {200, `"issuer":"` + g.URL + `"`},
		"/fhir/.well-known/smart-configuration": {200, `"code_challenge_methods_supported":["S256"]`},
		"/demo-idp/.well-known/openid-configuration": {200, `"issuer":"` + g.URL + `/demo-idp"`},
	} {
		status, header, body := g.get(path)
		if status != want.status || !strings.Contains(body, want.part) {
			t.Errorf("%s: got %d %.300s, want %d and %s", path, status, body, want.status, want.part)
		}
		if header.Get("X-Request-Id") == "" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got headers %v", path, header)
		}
	}
	if _, header, _ := g.get("/healthz", "X-Request-Id", "mine-1.2"); header.Get("X-Request-Id") != "mine-1.2" {
		t.Errorf("got request id %q, want the caller's", header.Get("X-Request-Id"))
	}
	if _, header, _ := g.get("/healthz", "X-Request-Id", "a b\tlevel=ERROR"); strings.Contains(header.Get("X-Request-Id"), "ERROR") {
		t.Error("a request id that is none was taken")
	}
	if log := g.log.String(); strings.Contains(log, "pt-1") || strings.Contains(log, "name=x") || !strings.Contains(log, `route="fhir read"`) {
		t.Errorf("the log of requests: %s", log)
	}
}

func TestDemoIsForThisMachine(t *testing.T) {
	g := sharedDemo(t)
	port := g.URL[strings.LastIndex(g.URL, ":"):]
	for host, want := range map[string]int{"127.0.0.1" + port: 200, "localhost" + port: 200, "evil.example.org" + port: 421, "evil.example.org": 421} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/fhir/metadata", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", host, res.StatusCode, want)
		}
	}
	local := strings.Replace(g.URL, "127.0.0.1", "localhost", 1)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, local+"/patient?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Location"); res.StatusCode != 307 || got != g.URL+"/patient?x=1" {
		t.Errorf("got %d %q, want the browser sent to the address that cookies are for", res.StatusCode, got)
	}
}

func TestDemoKeepsItsData(t *testing.T) {
	g := startDemo(t, nil)
	_, _, keys := g.get("/oauth/jwks")
	address := strings.TrimPrefix(g.URL, "http://")
	g.stop()

	again := startDemoIn(t, g.folder, address, nil)
	if _, _, after := again.get("/oauth/jwks"); after != keys {
		t.Error("the second start made new keys")
	}
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Storage.Path = "127.0.0.1:0", g.folder
	if p, err := startDemoOn(t.Context(), c, time.Now, slog.New(slog.DiscardHandler)); err == nil {
		_ = p.Close()
		t.Error("two gateways run on one data folder")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %q, want a sentence about the folder in use", err)
	}
}

func TestStoppingLetsRequestsFinish(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, release := make(chan bool), make(chan bool)
	p := &Program{URL: "http://" + listener.Addr().String(), log: slog.New(slog.DiscardHandler), listener: listener}
	p.server = newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-release
		_, _ = io.WriteString(w, "done")
	}), p.log)
	background := make(chan bool)
	p.tasks = []task{{"background", func(ctx context.Context) error {
		<-ctx.Done()
		close(background)
		return nil
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	ended, answered := make(chan error, 1), make(chan string, 1)
	go func() { ended <- p.Run(ctx) }()
	go func() {
		res, err := http.Get(p.URL)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		answered <- string(body)
	}()
	<-arrived
	cancel()
	for { // it stops accepting while the request runs
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	release <- true
	if got := <-answered; got != "done" {
		t.Errorf("got %q, want the answer", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-background
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
