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
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds:               deeds(),
		Setup: func(e *testscript.Env) error {
			t := e.T().(testing.TB)
			e.Values[stageKey{}] = newStage(t, loadedFolder(t))
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
	program *Program // the one that is reached
	nodes   []node   // all that run, on the same data
	clock   *handClock
	zone    *time.Location
	net     *http.Transport
	actors  map[string]*actor
	actor   *actor
	read    map[int]bool // mails that the script has seen
	close   func()
}

// A node is a gateway of a stage; give ends it.
type node struct {
	*Program
	log  *lines
	give func()
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
	s := emptyStage(t)
	s.enter(func(c *config.Config, log *slog.Logger) (*Program, error) {
		c.Storage.Path = folder
		return startDemoOn(t.Context(), c, s.clock.Now, log)
	})
	return s
}

// emptyStage is a stage on which no gateway runs yet.
func emptyStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t, clock: new(handClock), actors: map[string]*actor{}, read: map[int]bool{}}
	s.zone = s.demoConfig().Zone()
	begin, err := time.ParseInLocation(clockLayout, curtain, s.zone)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.set(begin)
	s.net = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.program.listener.Addr().String())
	}}
	s.close = sync.OnceFunc(func() {
		s.net.CloseIdleConnections()
		for _, n := range s.nodes {
			n.give()
		}
	})
	t.Cleanup(s.close)
	s.cast("nobody")
	return s
}

func (s *stage) demoConfig() *config.Config {
	s.t.Helper()
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Listen, c.BaseURL, c.Limits.MaxBodyMB = "127.0.0.1:0", scriptBase, 1
	return c
}

// enter starts one more gateway, which is reached from now on.
func (s *stage) enter(start func(*config.Config, *slog.Logger) (*Program, error)) {
	s.t.Helper()
	log := new(lines)
	p, err := start(s.demoConfig(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- p.finish(ctx) }()
	s.nodes = append(s.nodes, node{p, log, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the gateway ended with %v", err)
		}
		for _, name := range []string{"Rivera", "Mateo", "Thompson", "Ava ", "Nguyen"} {
			if strings.Contains(log.String(), name) {
				s.t.Errorf("the log names %s", name)
			}
		}
		if s.t.Failed() && testing.Verbose() {
			s.t.Log(log)
		}
	})})
	s.reach(len(s.nodes) - 1)
}

// reach sends everybody's requests to a gateway.
func (s *stage) reach(n int) {
	s.net.CloseIdleConnections()
	s.program = s.nodes[n].Program
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
