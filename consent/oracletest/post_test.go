package oracletest_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mypatients/gateway/hooks"
	"mypatients/gateway/notify"
	"mypatients/smart/fetch"
)

// A postman takes what a gate sends: mails, and the deliveries of subscriptions.
type postman struct {
	g        *gate
	mails    *notify.Worker
	hooks    *hooks.Worker
	endpoint string

	mu  sync.Mutex
	got map[string][]string // by mail address, and by path of the endpoint
}

func newPostman(t *testing.T, g *gate) *postman {
	t.Helper()
	p := &postman{g: g, got: map[string][]string{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &letter{p: p}, nil }))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	app := httptest.NewServer(http.HandlerFunc(p.take))
	t.Cleanup(app.Close)
	p.endpoint = app.URL
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if p.mails, err = notify.New(notify.Config{Engine: g.eng, Store: g.db, Now: g.Now, Logger: quiet, Category: g.rules.NoticeCategory(),
		SMTP: notify.SMTP{Host: "127.0.0.1", Port: number, TLS: "none", From: "MyPatients <no-reply@example.org>"}}); err != nil {
		t.Fatal(err)
	}
	if p.hooks, err = hooks.New(hooks.Config{Guard: g.guard, Changed: g.db.Changed, Logger: quiet, Client: fetch.New(fetch.Config{Timeout: time.Minute, Loopback: true})}); err != nil {
		t.Fatal(err)
	}
	return p
}

// take is a call of the endpoint, with every byte of it but the connection's own.
func (p *postman) take(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var head strings.Builder
	for _, name := range sortedNames(r.Header) {
		fmt.Fprintln(&head, name, r.Header[name])
	}
	who, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p.keep(who, fmt.Sprintf("%s %s\n%s\n%s", r.Method, r.URL, head.String(), body))
}

func (p *postman) keep(who, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got[who] = append(p.got[who], what)
}

// round does the chores, sends all there is to send, and gives what each person got.
func (p *postman) round(t *testing.T) map[string][]string {
	t.Helper()
	_, err := p.g.guard.Lapse(t.Context())
	for _, chore := range []error{err, p.g.guard.Remind(t.Context()), p.g.guard.WarnOfEnds(t.Context())} {
		if chore != nil {
			t.Fatal(chore)
		}
	}
	if _, err := p.g.guard.RemindSponsors(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is sent is marked, which is a write, too
		if _, err := p.mails.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.hooks.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = map[string][]string{}
	return got
}

// A letter is one mail on its way.
type letter struct {
	p  *postman
	to string
}

func (l *letter) Reset()                                    {}
func (l *letter) Logout() error                             { return nil }
func (l *letter) Mail(string, *smtp.MailOptions) error      { return nil }
func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error { l.to = to; return nil }

func (l *letter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err == nil {
		l.p.keep(l.to, string(text))
	}
	return err
}

// sameMail compares what two postmen brought somebody; what came at one time came in
// no order.
func sameMail(one, other []string, name func(int, string) string) (string, string) {
	text := func(n int, list []string) string {
		var named []string
		for _, s := range list {
			named = append(named, name(n, s))
		}
		slices.Sort(named)
		return strings.Join(named, "\n---\n")
	}
	return text(0, one), text(1, other)
}
