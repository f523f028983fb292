package web_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"testing"

	"github.com/emersion/go-smtp"

	"mypatients/gateway/notify"
	"mypatients/gateway/web"
)

// mailNotices are the mails of a worker, as main gives them to the pages.
type mailNotices struct{ *notify.Worker }

func (m mailNotices) Failed(ctx context.Context, after string, limit int) ([]web.FailedNotice, error) {
	found, err := m.Worker.Failed(ctx, after, limit)
	var list []web.FailedNotice
	for _, f := range found {
		list = append(list, web.FailedNotice{ID: f.Notice, Kind: f.Kind, Recipients: f.Recipients, When: f.When, Why: f.Why})
	}
	return list, err
}

// mailer sends the mails of the world to a port of this machine.
func (w *world) mailer(port int) *notify.Worker {
	w.t.Helper()
	m, err := notify.New(notify.Config{Engine: w.eng, Store: w.db, Now: w.clock.Now, Logger: slog.New(slog.DiscardHandler), Category: w.rules.NoticeCategory(),
		SMTP: notify.SMTP{Host: "127.0.0.1", Port: port, TLS: "none", From: "no-reply@example.org"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// refusing is a mail server that takes nothing.
type refusing struct{}

func (refusing) Reset()                               {}
func (refusing) Logout() error                        { return nil }
func (refusing) Mail(string, *smtp.MailOptions) error { return nil }
func (refusing) Rcpt(string, *smtp.RcptOptions) error {
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "unknown"}
}
func (refusing) Data(io.Reader) error { return nil }

// bounce sends what waits, and every mail fails.
func (w *world) bounce() {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return refusing{}, nil }))
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	if _, err := w.mailer(listener.Addr().(*net.TCPAddr).Port).Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// failedOf gives the id of the mail of a kind that failed.
func (w *world) failedOf(kind string) string {
	w.t.Helper()
	list, err := w.mailer(1).Failed(w.t.Context(), "", 10)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range list {
		if f.Kind == kind {
			return f.Notice
		}
	}
	w.t.Fatalf("no mail of the kind %s has failed", kind)
	return ""
}

// A mail that failed is listed with whom it is for, sent again, or taken off.
func TestFailedNotices(t *testing.T) {
	w := newWorld(t)
	ana, _ := w.as("ana", "/staff")
	ana.get("/staff/notices").shows(200, "All e-mails have arrived")
	_, provider := w.as("okafor", "/")
	provider.submit("Find patient", "mrn", "1002").follow("Request non-PCP access").submit("Request access").shows(200, "Your request was sent")
	_, family := w.as("grace", "/patient")
	family.follow("Read and answer").submit("Decline")
	w.bounce()
	list := ana.get("/staff").shows(200, "E-mails that did not arrive", "2 waiting").follow("E-mails that did not arrive")
	list.shows(200, "A request was declined", "Dr. Samir Okafor", "refused the recipient", "Somebody asks for access", "(for Sofia Rivera)", "has no e-mail address")
	family = ana.get("/staff/notices").submit("Take off the list", "notice", w.failedOf("request")).shows(200, "was taken off the list", "A request was declined").hides("Sofia")
	family.submit("Send again").at("/staff/notices").shows(200, "is being sent again", "All e-mails have arrived")
	w.bounce()
	again := ana.get("/staff/notices").shows(200, "A request was declined")
	again.submit("Take off the list").shows(200, "was taken off the list", "All e-mails have arrived")
	again.submit("Send again").shows(200, "Somebody else has done this already")
	ana.get("/staff").shows(200, "Nothing waits")
	ana.post(again, "/staff/notices", url.Values{"action": {"retry"}, "notice": {"../x"}}).shows(404)
	ana.get("/staff/log").submit("Search the log", "kind", "mail").shows(200, "Sent an e-mail again", "Took an e-mail off the list", "Ana Tester")
}
