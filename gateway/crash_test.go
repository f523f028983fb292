package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/tidwall/gjson"

	"mypatients/config"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/search"
)

// The environment of a gateway that TestCrashes kills: where its data is, where mails
// go, and how far its clock is ahead.
const (
	crashFolder = "CRASH_FOLDER"
	crashDSN    = "CRASH_DSN"
	crashMail   = "CRASH_MAIL"
	crashAhead  = "CRASH_AHEAD"
)

// crashing starts the gateway that is to be killed, or one after it.
func crashing(ctx context.Context, folder, dsn, mailServer string, ahead time.Duration) (*Program, error) {
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(mailServer)
	if err != nil {
		return nil, err
	}
	c.Listen, c.BaseURL, c.SMTP.Host, c.SMTP.TLS = "127.0.0.1:0", scriptBase, host, "none"
	if c.SMTP.Port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	now, log := func() time.Time { return time.Now().Add(ahead) }, slog.New(slog.DiscardHandler)
	if dsn == "" {
		c.Storage.Path = folder
		return startDemoOn(ctx, c, now, log)
	}
	c.Key = config.Secret(secrets["GATEWAY_KEY"])
	c.Storage = config.Storage{Engine: "postgres", DSN: config.Secret(dsn), PoolSize: 8}
	return start(ctx, c, now, log)
}

// TestCrashingGateway is the process that TestCrashes kills.
func TestCrashingGateway(t *testing.T) {
	if os.Getenv(crashMail) == "" {
		t.Skip("run by TestCrashes")
	}
	ahead, err := time.ParseDuration(os.Getenv(crashAhead))
	if err != nil {
		t.Fatal(err)
	}
	p, err := crashing(t.Context(), os.Getenv(crashFolder), os.Getenv(crashDSN), os.Getenv(crashMail), ahead)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listens", p.listener.Addr())
	t.Error(p.finish(t.Context())) // it never ends by itself
}

// A post office takes all mails and counts them by Message-ID.
type postOffice struct {
	address string

	mu     sync.Mutex
	mails  map[string][]string // the texts by id
	onMail func(id string)     // before the answer to the sender
}

func newPostOffice(t *testing.T) *postOffice {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{address: listener.Addr().String(), mails: map[string][]string{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return counter{p}, nil }))
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

func (p *postOffice) watch(onMail func(string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onMail = onMail
}

type counter struct{ *postOffice }

func (counter) Reset()                               {}
func (counter) Logout() error                        { return nil }
func (counter) Mail(string, *smtp.MailOptions) error { return nil }
func (counter) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (c counter) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	id := m.Header.Get("Message-ID")
	c.mu.Lock()
	c.mails[id] = append(c.mails[id], m.Header.Get("To")+" "+m.Header.Get("Subject")+"\n"+string(text))
	hook := c.onMail
	c.mu.Unlock()
	if hook != nil {
		hook(id)
	}
	return nil
}

// moves are what is done to a Consent, in order, and what each leaves: the status, the
// activity of its Provenance, its action in the audit log, and who is told what.
var moves = []struct{ status, activity, action, person, subject string }{
	{"proposed", "request access", "request-access", "RelatedPerson/rp-2", "A request waits for your answer"},
	{"active", "approve access", "approve", "Practitioner/pr-okafor", "Your request was approved"},
	{"inactive", "revoke access", "revoke", "Practitioner/pr-okafor", "An access has ended"},
}

// A crashTest kills a gateway, again and again.
type crashTest struct {
	t           *testing.T
	folder, dsn string
	post        *postOffice
	dice        *rand.Rand
	ahead       time.Duration

	refresh  map[string]string // tokens, by person
	reached  map[string]int    // by Consent: how many steps were acknowledged
	requests map[string]bool   // ids of requests that were acknowledged
	sent     int
	killed   map[string]int
}

// TestCrashes kills a gateway with SIGKILL at any moment of asking, approving and
// revoking, of the notices and of the audit log. What was acknowledged is there
// afterwards, nothing is half done, and every notice is sent. With LONG set it does so
// two hundred times on each store; SEED repeats the dice, not the scheduler.
func TestCrashes(t *testing.T) {
	withoutRaceDetector(t)
	t.Run("badger", func(t *testing.T) { crashes(t, t.TempDir(), "") })
	t.Run("postgres", func(t *testing.T) { crashes(t, "", pgtest.Open(t)) })
}

func crashes(t *testing.T, folder, dsn string) {
	c := &crashTest{t: t, folder: folder, dsn: dsn, post: newPostOffice(t), dice: seeded(t),
		refresh: map[string]string{}, reached: map[string]int{}, requests: map[string]bool{}, killed: map[string]int{}}
	c.within(func(s *stage) {
		for person, scope := range map[string]string{"grace": familyScope, "dr.okafor": providerScope} {
			patient := map[string]string{"grace": "pt-2"}[person]
			_, c.refresh[person] = s.tokens(person, scope, patient)
		}
	})
	n := rounds(3, 200)
	for round := range n {
		c.kill(round)
		c.inspect(round)
		if t.Failed() {
			return
		}
	}
	mails, twice := 0, 0
	for id, texts := range c.post.mails {
		mails++
		for _, text := range texts[1:] {
			if twice++; text != texts[0] {
				t.Errorf("%s was sent twice, differently", id)
			}
		}
	}
	t.Logf("killed %d times (%v), %d requests of which %d were answered, %d consents; %d mails, %d of them sent again", n, c.killed, c.sent, len(c.requests), len(c.reached), mails, twice)
	if len(c.requests) == 0 || mails == 0 {
		t.Error("nothing was done")
	}
}

// within runs a gateway in this process and lets somebody use it. Each one's clock is
// ahead of the last one's: what that had claimed is free.
func (c *crashTest) within(use func(s *stage)) {
	c.t.Helper()
	c.ahead += 6 * time.Minute
	c.t.Run("restarted", func(t *testing.T) {
		s := emptyStage(t)
		s.enter(func(*config.Config, *slog.Logger) (*Program, error) {
			return crashing(t.Context(), c.folder, c.dsn, c.post.address, c.ahead)
		})
		use(s)
	})
}

// enter gets fresh tokens.
func (c *crashTest) enter(w *wire) map[string]string {
	tokens := map[string]string{}
	for _, person := range slices.Sorted(maps.Keys(c.refresh)) {
		got := w.must("", "POST", "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.refresh[person]}, "client_id": {"demo-public"}}.Encode(),
			"Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
		tokens[person] = got.get("access_token")
		if next := got.get("refresh_token"); next != "" {
			c.refresh[person] = next
		}
	}
	return tokens
}

// kill starts a gateway, has people use it, and kills it at some moment.
func (c *crashTest) kill(round int) {
	c.t.Helper()
	c.ahead += 6 * time.Minute
	child := exec.Command(os.Args[0], "-test.run=^TestCrashingGateway$")
	child.Env = append(os.Environ(), crashFolder+"="+c.folder, crashDSN+"="+c.dsn, crashMail+"="+c.post.address, crashAhead+"="+c.ahead.String())
	out, err := child.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		c.t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { _ = child.Process.Kill() })
	defer func() {
		kill()
		_ = child.Wait()
	}()
	lines, address := bufio.NewScanner(out), ""
	for address == "" {
		if !lines.Scan() {
			c.t.Fatal("the gateway did not start")
		}
		address, _ = strings.CutPrefix(lines.Text(), "listens ")
	}
	line := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer line.CloseIdleConnections()
	w := &wire{c.t, &http.Client{Transport: line, Timeout: time.Minute}}
	tokens := c.enter(w)

	left := -1                                                                          // requests until the kill
	switch how := []string{"after an answer", "at a mail", "at a time"}[round%3]; how { // the last may come before anything was done
	case "at a time":
		timer := time.AfterFunc(time.Duration(c.dice.IntN(150_000))*time.Microsecond, kill)
		defer timer.Stop()
		c.killed[how]++
	case "at a mail":
		mails, wait := 1+c.dice.IntN(6), time.Duration(c.dice.IntN(3_000))*time.Microsecond
		c.post.watch(func(string) {
			if mails--; mails == 0 {
				if wait < time.Millisecond {
					kill() // before it knows that the mail was taken
				} else {
					time.AfterFunc(wait, kill)
				}
			}
		})
		defer c.post.watch(nil)
		c.killed[how]++
	default:
		left = 1 + c.dice.IntN(12)
		c.killed[how]++
	}
	c.use(w, tokens, fmt.Sprintf("round%d", round), func() {
		if left--; left == 0 {
			kill()
		}
	})
}

// use asks, approves, reads and revokes until the gateway does not answer any more,
// and notes what was acknowledged. Every request has an id, to be found in the log.
func (c *crashTest) use(w *wire, tokens map[string]string, round string, answered func()) {
	grace, okafor := tokens["grace"], tokens["dr.okafor"]
	send := func(token, method, path, body string) (said, bool) {
		c.sent++
		id := fmt.Sprintf("%s.%d.", round, c.sent)
		got, err := w.try(token, method, path, body, "X-Request-Id", id)
		if err != nil { // dead, perhaps in the middle of the answer
			return got, false
		}
		if got.status != http.StatusOK && got.status != http.StatusCreated {
			c.t.Errorf("%s %s: got %d %.300s", method, path, got.status, got.body)
			return got, false
		}
		c.requests[id] = true
		return got, true
	}
	for {
		asked, ok := send(okafor, "POST", "/fhir/Patient/$request-access", parameters("patient", "Patient/pt-2"))
		if !ok {
			return
		}
		id := asked.get("id")
		c.reached[id] = max(c.reached[id], 1)
		answered()
		for step, do := range []func() (said, bool){
			func() (said, bool) { return send(grace, "POST", "/fhir/Consent/"+id+"/$approve", "") },
			func() (said, bool) { return send(okafor, "GET", "/fhir/Patient/pt-2", "") },
			func() (said, bool) { return send(grace, "POST", "/fhir/Consent/"+id+"/$revoke", "") },
		} {
			if _, ok := do(); !ok {
				return
			}
			c.reached[id] = max(c.reached[id], []int{2, 2, 3}[step])
			answered()
		}
	}
}

// stored gives all resources of a type that belong to the patient, in a transaction.
func (s *stage) stored(tx *engine.Tx, of fhir.Type) (list []said, err error) {
	q, err := s.program.core.engine.Registry().Parse(of, url.Values{"patient": {"Patient/pt-2"}, "_count": {"100000"}}, search.Options{MaxCount: 100_000})
	if err != nil {
		return nil, err
	}
	page, err := tx.Search(q, engine.Everything)
	if err != nil {
		return nil, err
	}
	for _, e := range page.Entries {
		list = append(list, said{body: string(e.Resource.JSON)})
	}
	return list, nil
}

// inspect looks, in a gateway that was started again, at what the killed one left.
func (c *crashTest) inspect(round int) {
	c.t.Helper()
	c.within(func(s *stage) {
		w := s.wires()[0]
		tokens := c.enter(w)
		s.drained()
		var consents, provenances, notices []said
		if err := s.program.core.engine.View(s.t.Context(), func(tx *engine.Tx) (err error) {
			if consents, err = s.stored(tx, "Consent"); err != nil {
				return err
			}
			if provenances, err = s.stored(tx, "Provenance"); err != nil {
				return err
			}
			notices, err = s.stored(tx, "Communication")
			return err
		}); err != nil {
			s.t.Fatal(err)
		}
		open := c.whole(s, consents, provenances)
		c.told(s, consents, notices)
		c.logged(s, consents)
		s.verified()
		want := http.StatusNotFound
		if open {
			want = http.StatusOK
		}
		if got := w.call(tokens["dr.okafor"], "GET", "/fhir/Patient/pt-2", ""); got.status != want {
			s.t.Errorf("round %d: the record answers with %d, want %d", round, got.status, want)
		}
		if open { // the next round begins with nothing open
			for _, consent := range consents {
				if consent.get("status") == "active" {
					w.must(tokens["grace"], "POST", "/fhir/Consent/"+consent.get("id")+"/$revoke", "")
					c.reached[consent.get("id")] = 3
				}
			}
		}
	})
}

// drained waits until every notice is settled.
func (s *stage) drained() {
	s.t.Helper()
	for patience := time.Now().Add(time.Minute); ; {
		waiting := 0
		if err := s.program.core.engine.View(s.t.Context(), func(tx *engine.Tx) error {
			notices, err := s.stored(tx, "Communication")
			waiting = 0
			for _, n := range notices {
				if n.get("status") == "preparation" {
					waiting++
				}
			}
			return err
		}); err != nil {
			s.t.Fatal(err)
		}
		if waiting == 0 {
			return
		}
		if time.Now().After(patience) {
			s.t.Fatalf("%d notices are not sent", waiting)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// whole checks that each Consent is where it was acknowledged to be, or a step on, and
// has the Provenances of that, and tells whether one opens the record.
func (c *crashTest) whole(s *stage, consents, provenances []said) (open bool) {
	s.t.Helper()
	recorded := map[string]int{}
	for _, p := range provenances {
		for _, target := range gjson.Get(p.body, "target.#.reference").Array() {
			recorded[p.get("activity.text")+" "+target.String()]++
		}
	}
	there := map[string]bool{}
	for _, consent := range consents {
		id, version := consent.get("id"), int(gjson.Get(consent.body, "meta.versionId").Int())
		there[id] = true
		acknowledged := c.reached[id]
		if version < 1 || version > len(moves) || version < acknowledged || version > acknowledged+1 || consent.get("status") != moves[version-1].status {
			s.t.Errorf("Consent/%s is %s in version %d, and step %d was acknowledged", id, consent.get("status"), version, acknowledged)
			continue
		}
		c.reached[id] = version
		open = open || consent.get("status") == "active"
		for at, step := range moves {
			want := 0
			if at < version {
				want = 1
			}
			if n := recorded[step.activity+" Consent/"+id]; n != want {
				s.t.Errorf("Consent/%s in version %d has %d Provenances that say %s", id, version, n, step.activity)
			}
		}
	}
	for id := range c.reached {
		if !there[id] {
			s.t.Errorf("Consent/%s was acknowledged and is lost", id)
		}
	}
	return open
}

// told checks that there is one notice for every step, that each was sent, and that
// nothing was sent that does not stand here.
func (c *crashTest) told(s *stage, consents, notices []said) {
	s.t.Helper()
	want, got, known := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, consent := range consents {
		for _, step := range moves[:min(int(gjson.Get(consent.body, "meta.versionId").Int()), len(moves))] {
			want[step.person+" "+step.subject]++
		}
	}
	c.post.mu.Lock()
	defer c.post.mu.Unlock()
	for _, n := range notices {
		got[n.get("recipient.0.reference")+" "+n.get("topic.text")]++
		id := "<" + n.get("id") + "@harbor-childrens.example>"
		if known[id] = true; len(c.post.mails[id]) == 0 || n.get("status") != "completed" {
			s.t.Errorf("Communication/%s is %s and was mailed %d times", n.get("id"), n.get("status"), len(c.post.mails[id]))
		}
	}
	if !maps.Equal(want, got) {
		s.t.Errorf("the notices are %v, want %v", got, want)
	}
	for id := range c.post.mails {
		if !known[id] {
			s.t.Errorf("the mail %s is of nothing that is stored", id)
		}
	}
}

// logged checks that the audit log has an entry of each step of each Consent, and of
// every request that was answered.
func (c *crashTest) logged(s *stage, consents []said) {
	s.t.Helper()
	var log bytes.Buffer
	if err := (&guardedLog{s.program.core.guard}).Export(s.t.Context(), time.Time{}, time.Time{}, &log); err != nil {
		s.t.Fatal(err)
	}
	done, requests := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(log.String()) {
		action := gjson.Get(line, "subtype.#.display").String()
		for _, e := range gjson.Get(line, "entity").Array() {
			if ref := e.Get("what.reference").String(); strings.HasPrefix(ref, "Consent/") && gjson.Get(line, "outcome").String() == "0" {
				done[action+" "+ref]++
			}
			requests[e.Get("what.identifier.value").String()] = true
		}
	}
	for id := range c.requests {
		if !requests[id] {
			s.t.Errorf("the request %s was answered and is not in the audit log", id)
		}
	}
	for _, consent := range consents {
		for _, step := range moves[:min(int(gjson.Get(consent.body, "meta.versionId").Int()), len(moves))] {
			if n := done[fmt.Sprintf("[%q] Consent/%s", step.action, consent.get("id"))]; n < 1 || n > 1 && step.action != "request-access" {
				s.t.Errorf("Consent/%s: the audit log says %d times %s", consent.get("id"), n, step.action)
			}
		}
	}
}
