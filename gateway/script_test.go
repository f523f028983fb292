package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mypatients/config"
)

// TestScripts plays the story of the product, people as actors, over HTTP. Each
// script of testdata/script has a whole demo of its own, with a clock that only
// it moves. The commands are explained beside deeds, in script_commands_test.go.
func TestScripts(t *testing.T) {
	seed := t.TempDir()
	newStage(t, seed).close()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds:               deeds(),
		Setup: func(e *testscript.Env) error {
			t := e.T().(testing.TB)
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(seed)); err != nil {
				return err
			}
			e.Values[stageKey{}] = newStage(t, folder)
			e.Setenv("BASE", scriptBase)
			return nil
		},
	})
}

// scriptBase is what every stage takes its base URL to be, so that all can begin
// with the same loaded data. Its clients reach its own port by it.
const scriptBase = "http://127.0.0.1:8080"

// curtain is when every script begins: the end of an August before a leap year,
// so that six calendar months are a day short, and end in winter time.
const curtain = "2031-08-31 14:30"

type stageKey struct{}

// A stage is a running demo with the people that act on it.
type stage struct {
	t       testing.TB
	program *Program
	clock   *handClock
	zone    *time.Location
	net     *http.Transport
	actors  map[string]*actor
	actor   *actor
	read    map[int]bool // mails that the script has seen
	close   func()
}

// handClock shows what it was set to.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// newStage starts a demo on a data folder; it ends with the test, or with close.
func newStage(t testing.TB, folder string) *stage {
	t.Helper()
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.BaseURL, c.Storage.Path, c.Limits.MaxBodyMB = "127.0.0.1:0", scriptBase, folder, 1
	s := &stage{t: t, zone: c.Zone(), clock: new(handClock), actors: map[string]*actor{}, read: map[int]bool{}}
	begin, err := time.ParseInLocation(clockLayout, curtain, s.zone)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.set(begin)
	log := new(lines)
	if s.program, err = startDemoOn(t.Context(), c, s.clock.Now, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	address := s.program.listener.Addr().String()
	s.net = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.program.finish(ctx) }()
	s.close = sync.OnceFunc(func() {
		s.net.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		for _, name := range []string{"Rivera", "Mateo", "Thompson", "Ava ", "Nguyen"} {
			if strings.Contains(log.String(), name) {
				t.Errorf("the log names %s", name)
			}
		}
		if t.Failed() && testing.Verbose() {
			t.Log(log)
		}
	})
	t.Cleanup(s.close)
	s.cast("nobody")
	return s
}

// cast makes somebody the one who acts. Everyone has a browser of their own.
func (s *stage) cast(name string) *actor {
	if s.actors[name] == nil {
		s.actors[name] = newActor(s, name)
	}
	s.actor = s.actors[name]
	return s.actor
}

// mail waits until a mail to an address came that holds all the words and that
// the script has not seen yet.
func (s *stage) mail(address string, words []string) bool {
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		for _, m := range s.program.mailbox.Mails() {
			if s.read[m.Number] || !slices.Contains(m.To, address) || !containsAll(m.Subject+"\n"+m.Text, words) {
				continue
			}
			s.read[m.Number] = true
			return true
		}
		select {
		case <-look.C:
		case <-patience.C:
			return false
		}
	}
}

// mailsSaying counts the mails, to whomever, that hold a word.
func (s *stage) mailsSaying(word string) (n int) {
	for _, m := range s.program.mailbox.Mails() {
		if strings.Contains(strings.ToLower(m.Subject+"\n"+m.Text), strings.ToLower(word)) {
			n++
		}
	}
	return n
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}
