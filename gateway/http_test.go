package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/fhir/badgerstore"
	"mypatients/gateway/rest"
)

func testRouter(t *testing.T) (*gin.Engine, *lines) {
	t.Helper()
	log := new(lines)
	r, err := newRouter(slog.New(slog.NewTextHandler(log, nil)), newMetrics(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, log
}

func ask(r http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestPanicsSayNothing(t *testing.T) {
	r, log := testRouter(t)
	r.GET("/page", func(*gin.Context) { panic("secret at /var/lib/x.go") })
	r.GET("/fhir/:type", func(*gin.Context) { panic(errors.New("secret")) })
	w := ask(r, "GET", "/page")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	w = ask(r, "GET", "/fhir/Patient")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), `"exception"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "secret at") || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log lacks the cause: %s", log)
	}
}

func TestCutOffAnswerIsNoWholeAnswer(t *testing.T) {
	r, _ := testRouter(t)
	r.GET("/half", func(c *gin.Context) {
		c.String(200, "half")
		panic("x")
	})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("got %v, want the connection to be cut", err)
		}
	}()
	ask(r, "GET", "/half")
}

// TestAnswersInPartsGetTime: what a router puts around an answer lets its time be set.
func TestAnswersInPartsGetTime(t *testing.T) {
	r, _ := testRouter(t)
	r.GET("/parts", func(c *gin.Context) {
		prolong(c.Writer)
		if err := http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	})
	s := httptest.NewServer(r)
	defer s.Close()
	res, err := s.Client().Get(s.URL + "/parts")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestLogNamesNobody(t *testing.T) {
	r, log := testRouter(t)
	r.GET("/patients/:id", func(c *gin.Context) {
		c.Set(rest.LogClient, "app")
		c.Set(rest.LogGrant, "g1")
		c.Status(204)
	})
	ask(r, "GET", "/patients/rivera?family=Rivera")
	ask(r, "GET", "/absent/rivera")
	ask(r, "BREW", "/patients/rivera")
	text := log.String()
	if strings.Contains(strings.ToLower(text), "rivera") || strings.Contains(text, "BREW") || strings.Contains(text, "192.0.2.1") {
		t.Errorf("the log names somebody: %s", text)
	}
	for _, part := range []string{"route=/patients/:id", "status=204", "client=app", "grant=g1", "ms=", "route=none"} {
		if !strings.Contains(text, part) {
			t.Errorf("missing %s in %s", part, text)
		}
	}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	r, _ := testRouter(t)
	for _, w := range []*httptest.ResponseRecorder{ask(r, "GET", "/absent"), ask(r, "GET", "/fhir/absent")} {
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Strict-Transport-Security": "max-age=63072000",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

func TestSessionsEndByTheClockGiven(t *testing.T) {
	now := time.Date(2031, 5, 7, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	kept := &sessions{s, clock}
	if err := kept.Commit("t", []byte("data"), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	find := func(want bool) {
		t.Helper()
		data, found, err := kept.Find("t")
		if err != nil || found != want || found && string(data) != "data" {
			t.Errorf("got %q %v %v, want found %v", data, found, err, want)
		}
	}
	find(true)
	now = now.Add(59 * time.Second)
	find(true)
	now = now.Add(time.Second)
	find(false)
	now = now.Add(-time.Minute)
	find(true)
	if err := kept.Delete("t"); err != nil {
		t.Fatal(err)
	}
	find(false)
	if err := kept.Delete("t"); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}

// Two processes share a store: what a provider ends at one has ended at the other.
func TestSignOutsAreShared(t *testing.T) {
	now := time.Date(2031, 5, 7, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s, err := badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	here, there := &signOuts{s, clock}, &signOuts{s, clock}
	until := now.Add(time.Hour)
	for session, names := range map[string][]string{"s1": {"grace", "sid-1"}, "s2": {"grace", "sid-2"}, "s3": {"luis", "sid-3"}} {
		if err := here.Begin(t.Context(), session, names, until); err != nil {
			t.Fatal(err)
		}
	}
	ended := func(want ...string) {
		t.Helper()
		for _, session := range []string{"s1", "s2", "s3"} {
			got, err := there.Ended(t.Context(), session)
			if err != nil || got != slices.Contains(want, session) {
				t.Errorf("%s: got %v, %v", session, got, err)
			}
		}
	}
	ended()
	for _, step := range []struct{ name, sessions, all string }{{"sid-1", "s1", "s1"}, {"sid-1", "", "s1"}, {"sid", "", "s1"}, {"grace", "s1 s2", "s1 s2"}} {
		got, err := here.End(t.Context(), []string{step.name}, until)
		if err != nil || strings.Join(got, " ") != step.sessions {
			t.Errorf("%s: got %v, %v", step.name, got, err)
		}
		ended(strings.Fields(step.all)...)
	}
	for i, want := range []bool{true, false} {
		if got, err := []*signOuts{here, there}[i].Once(t.Context(), "message", until); err != nil || got != want {
			t.Errorf("a message for the %dth time: got %v, %v", i+1, got, err)
		}
	}
	now = until
	if got, err := here.Once(t.Context(), "message", until); err != nil || !got {
		t.Errorf("long after: got %v, %v", got, err)
	}
}
