package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mypatients/fhir"
	"mypatients/fhir/badgerstore"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/gateway/notify"
)

var category = fhir.Coding{System: "https://gateway.example/fhir/CodeSystem/workflow", Code: "notice"}

// The words that must never be in a mail or a log line.
var personal = []string{"Mateo", "Rivera", "1001", "asthma"}

// post is a mail server.
type post struct {
	address string
	server  *smtp.Server

	mu     sync.Mutex
	mails  []delivered
	refuse func(to string) error
	onData func()
	got    chan struct{}
}

type delivered struct {
	to, id, subject, text string
	header                mail.Header
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{address: "127.0.0.1:0", got: make(chan struct{}, 100)}
	p.open(t)
	t.Cleanup(p.close)
	return p
}

// open listens, on the same address as before.
func (p *post) open(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.address = listener.Addr().String()
	p.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{post: p}, nil }))
	p.server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go func() { _ = p.server.Serve(listener) }()
}

func (p *post) close() { _ = p.server.Close() }

func (p *post) take() []delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.mails
	p.mails = nil
	return list
}

type session struct {
	*post
	to string
}

func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse(to)
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mails = append(s.mails, delivered{s.to, m.Header.Get("Message-ID"), m.Header.Get("Subject"), string(body), m.Header})
	hook := s.onData
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	select {
	case s.got <- struct{}{}:
	default: // nobody counts them
	}
	return nil
}

// world is a gateway's store and engine, with a clock.
type world struct {
	t      *testing.T
	store  *badgerstore.Store
	engine *engine.Engine
	log    *bytes.Buffer
	config notify.Config

	mu  sync.Mutex
	now time.Time
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) turn(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// registry is read once: it is immutable, and reading it takes a while.
var registry = sync.OnceValues(search.R4)

func newWorld(t *testing.T, p *post) *world {
	t.Helper()
	w := &world{t: t, log: &bytes.Buffer{}, now: time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)}
	params, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	if w.store, err = badgerstore.Open(badgerstore.Config{Dir: t.TempDir(), Now: w.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.engine, err = engine.New(engine.Config{Store: w.store, Registry: params, Now: w.Now, Base: "https://gateway.example/fhir"}); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	w.config = notify.Config{Engine: w.engine, Store: w.store, Now: w.Now, Logger: slog.New(slog.NewTextHandler(w.log, nil)), Category: category,
		SMTP: notify.SMTP{Host: host, Port: number, TLS: "none", From: "MyPatients <no-reply@gateway.example>"}}
	w.put(`{"resourceType":"Patient","id":"p","name":[{"family":"Rivera","given":["Mateo"]}],"identifier":[{"value":"1001"}]}`)
	w.put(`{"resourceType":"Practitioner","id":"d","telecom":[{"system":"phone","value":"555"},{"system":"email","value":"old@example.org","use":"old"},{"system":"email","value":"dr.okafor@example.org"}]}`)
	w.put(`{"resourceType":"RelatedPerson","id":"g","patient":{"reference":"Patient/p"},"telecom":[{"system":"email","value":"grace@example.org"}]}`)
	w.put(`{"resourceType":"Practitioner","id":"silent"}`)
	w.put(`{"resourceType":"Practitioner","id":"broken","telecom":[{"system":"email","value":"not an address"}]}`)
	return w
}

func (w *world) worker() *notify.Worker {
	w.t.Helper()
	worker, err := notify.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return worker
}

func (w *world) put(body string) {
	w.t.Helper()
	prepared, err := w.engine.Prepare([]byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.engine.Update(w.t.Context(), func(tx *engine.Tx) error {
		_, _, err := tx.Update(prepared, nil)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// notice writes what the guard writes when something happens.
func (w *world) notice(id string, recipients ...string) {
	w.t.Helper()
	var refs []string
	for _, r := range recipients {
		refs = append(refs, fmt.Sprintf(`{"reference":%q}`, r))
	}
	w.put(fmt.Sprintf(`{"resourceType":"Communication","id":%q,"status":"preparation","category":[{"coding":[{"system":%q,"code":%q}]}],
		"subject":{"reference":"Patient/p"},"topic":{"text":"Your request was approved"},"recipient":[%s],
		"note":[{"text":"Mateo Rivera, MRN 1001, asthma"}],
		"payload":[{"contentString":"A request that you made was approved.\n\nSign in to go on: https://gateway.example/requests"}]}`,
		id, category.System, category.Code, strings.Join(refs, ",")))
}

func (w *world) flush(worker *notify.Worker) {
	w.t.Helper()
	if _, err := worker.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// state gives status, sent and reason of a notice.
func (w *world) state(id string) string {
	w.t.Helper()
	var c struct {
		Status, Sent string
		StatusReason struct{ Text string }
	}
	err := w.engine.View(w.t.Context(), func(tx *engine.Tx) error {
		r, err := tx.Read(fhir.Key{Type: "Communication", ID: id}, engine.Everything)
		if err != nil {
			return err
		}
		return json.Unmarshal(r.JSON, &c)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(c.Status + " " + c.Sent + c.StatusReason.Text)
}

func (w *world) noPersonalData(mails []delivered) {
	w.t.Helper()
	for _, word := range personal {
		for _, m := range mails {
			if strings.Contains(fmt.Sprint(m), word) {
				w.t.Errorf("%q is in a mail: %v", word, m)
			}
		}
		if strings.Contains(w.log.String(), word) {
			w.t.Errorf("%q is in the log: %s", word, w.log)
		}
	}
	if regexp.MustCompile(`\S@\S`).MatchString(w.log.String()) {
		w.t.Errorf("an address is in the log: %s", w.log)
	}
}

func TestNoticeIsSent(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	worker := w.worker()
	w.notice("n1", "Practitioner/d")
	w.flush(worker)
	mails := p.take()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	m := mails[0]
	if m.to != "dr.okafor@example.org" || m.subject != "Your request was approved" || m.id != "<n1@gateway.example>" ||
		!strings.Contains(m.text, "https://gateway.example/requests") || m.header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("got %+v", m)
	}
	if date, err := m.header.Date(); err != nil || !date.Equal(w.Now()) {
		t.Errorf("dated %v (%v)", date, err)
	}
	if got := w.state("n1"); got != "completed 2031-03-04T05:06:07Z" {
		t.Errorf("afterwards it is %q", got)
	}
	w.noPersonalData(mails)

	w.turn(time.Hour)
	w.flush(worker)
	w.flush(w.worker()) // another gateway, or this one after a restart
	if again := p.take(); len(again) != 0 {
		t.Errorf("sent again: %v", again)
	}
}

func TestEachRecipientGetsTheirOwn(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	w.notice("n1", "Practitioner/d", "RelatedPerson/g", "Practitioner/gone", "Practitioner/silent")
	w.flush(w.worker())
	mails := p.take()
	if len(mails) != 2 || mails[0].to != "dr.okafor@example.org" || mails[1].to != "grace@example.org" || mails[0].id == mails[1].id {
		t.Errorf("got %+v", mails)
	}
	if strings.Contains(fmt.Sprint(mails[0]), "grace") {
		t.Error("one recipient sees the other's address")
	}
}

func TestServerAway(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	worker := w.worker()
	p.close()
	w.notice("n1", "Practitioner/d")
	w.notice("n2", "RelatedPerson/g")
	for range 20 { // waits grow, the log does not
		w.flush(worker)
		w.turn(time.Minute)
	}
	if got := w.state("n1"); got != "preparation" {
		t.Errorf("while the server is away it is %q", got)
	}
	if n := strings.Count(w.log.String(), "cannot be reached"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, w.log)
	}
	p.open(t)
	w.flush(worker)
	if mails := p.take(); len(mails) != 0 {
		t.Errorf("it was tried before its time: %v", mails)
	}
	w.turn(11 * time.Minute)
	w.flush(worker)
	mails := p.take()
	if len(mails) != 2 || !strings.HasPrefix(w.state("n1"), "completed") || !strings.HasPrefix(w.state("n2"), "completed") {
		t.Errorf("afterwards: %v, %q", mails, w.state("n1"))
	}
	if !strings.Contains(w.log.String(), "answers again") {
		t.Errorf("log: %s", w.log)
	}
	w.noPersonalData(mails)
}

func TestRestartWhileServerIsAway(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	p.close()
	w.notice("n1", "Practitioner/d")
	w.flush(w.worker())
	p.open(t)
	w.flush(w.worker()) // a new process tries at once
	if mails := p.take(); len(mails) != 1 {
		t.Errorf("%d mails", len(mails))
	}
}

// TestDeathBeforeTheMark: the process ends after the server has taken the mail
// and before the notice is marked.
func TestDeathBeforeTheMark(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	w.notice("n1", "Practitioner/d")
	ctx, die := context.WithCancel(t.Context())
	p.onData = die
	if _, err := w.worker().Flush(ctx); err == nil || w.state("n1") != "preparation" {
		t.Fatalf("it lived on: %v, %q", err, w.state("n1"))
	}
	p.mu.Lock()
	p.onData = nil
	p.mu.Unlock()
	first := p.take()
	w.flush(w.worker())
	if early := p.take(); len(early) != 0 {
		t.Errorf("sent while another's claim holds: %v", early)
	}
	w.turn(time.Hour)
	w.flush(w.worker())
	second := p.take()
	if len(first) != 1 || len(second) != 1 || first[0].id != second[0].id || !strings.HasPrefix(w.state("n1"), "completed") {
		t.Errorf("first %v, second %v, state %q", first, second, w.state("n1"))
	}
}

func TestTwoGatewaysSendOnce(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	for i := range 20 {
		w.notice(fmt.Sprintf("n%d", i), "Practitioner/d")
	}
	var group sync.WaitGroup
	for range 3 {
		worker := w.worker()
		group.Go(func() {
			if _, err := worker.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	ids := map[string]int{}
	for _, m := range p.take() {
		ids[m.id]++
	}
	if len(ids) != 20 {
		t.Errorf("%d different mails", len(ids))
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	worker := w.worker()
	p.refuse = func(to string) error {
		code := 550
		if to == "grace@example.org" {
			code = 451
		}
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no mail for Mateo Rivera, " + to}
	}
	w.notice("unknown", "Practitioner/d")
	w.notice("later", "RelatedPerson/g")
	w.notice("silent", "Practitioner/silent")
	w.notice("broken", "Practitioner/broken")
	w.flush(worker)
	for id, want := range map[string]string{
		"unknown": "not-done The mail server refused the recipient's address.",
		"later":   "preparation",
		"silent":  "not-done The recipient has no e-mail address.",
		"broken":  "not-done The recipient's e-mail address is not valid.",
	} {
		if got := w.state(id); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	w.noPersonalData(nil)
	p.mu.Lock()
	p.refuse = nil
	p.mu.Unlock()
	w.turn(time.Minute)
	w.flush(worker)
	if mails := p.take(); len(mails) != 1 || mails[0].to != "grace@example.org" {
		t.Errorf("got %v", mails)
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	w.put(`{"resourceType":"Communication","id":"foreign","status":"preparation","recipient":[{"reference":"Practitioner/d"}],"payload":[{"contentString":"Buy!"}]}`)
	w.put(fmt.Sprintf(`{"resourceType":"Communication","id":"done","status":"completed","category":[{"coding":[{"system":%q,"code":%q}]}],
		"recipient":[{"reference":"Practitioner/d"}],"payload":[{"contentString":"x"}]}`, category.System, category.Code))
	w.flush(w.worker())
	w.notice("done", "Practitioner/d") // a later version is no new notice
	w.flush(w.worker())
	if mails := p.take(); len(mails) != 0 || w.state("foreign") != "preparation" || w.state("done") != "preparation" {
		t.Errorf("sent %v", mails)
	}
}

func TestChangedMeanwhile(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	w.notice("n1", "Practitioner/d")
	p.onData = func() {
		w.put(`{"resourceType":"Communication","id":"n1","status":"entered-in-error"}`)
	}
	w.flush(w.worker())
	if got := w.state("n1"); got != "entered-in-error" {
		t.Errorf("the worker overwrote another's change: %q", got)
	}
}

func TestNoServerConfigured(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	with := w.worker()
	w.config.SMTP = notify.SMTP{}
	w.notice("n1", "Practitioner/d")
	w.flush(w.worker())
	if got := w.state("n1"); got != "preparation" {
		t.Errorf("without a server it is %q", got)
	}
	w.flush(with)
	if mails := p.take(); len(mails) != 1 {
		t.Errorf("%d mails once there is one", len(mails))
	}
}

func TestTLSIsNotGivenUp(t *testing.T) {
	p := newPost(t) // a server without STARTTLS
	w := newWorld(t, p)
	w.config.SMTP.TLS = "starttls"
	w.notice("n1", "Practitioner/d")
	w.flush(w.worker())
	if mails := p.take(); len(mails) != 0 || w.state("n1") != "preparation" || !strings.Contains(w.log.String(), "does not accept us") {
		t.Errorf("sent %v, %q, log %s", mails, w.state("n1"), w.log)
	}
}

func TestRunFollows(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	worker := w.worker()
	go func() { ended <- worker.Run(ctx) }()
	for i := range 3 {
		w.notice(fmt.Sprintf("n%d", i), "Practitioner/d")
		select {
		case <-p.got:
		case <-time.After(20 * time.Second):
			t.Fatal("no mail came")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	for name, spoil := range map[string]func(*notify.Config){
		"no clock":     func(c *notify.Config) { c.Now = nil },
		"no engine":    func(c *notify.Config) { c.Engine = nil },
		"no category":  func(c *notify.Config) { c.Category = fhir.Coding{} },
		"wrong sender": func(c *notify.Config) { c.SMTP.From = "nobody" },
		"wrong TLS":    func(c *notify.Config) { c.SMTP.TLS = "perhaps" },
		"wrong port":   func(c *notify.Config) { c.SMTP.Port = 99999 },
	} {
		c := w.config
		spoil(&c)
		if _, err := notify.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
