package demo_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"

	"mypatients/gateway/demo"
)

func TestMailbox(t *testing.T) {
	var log strings.Builder
	box, err := demo.NewMailbox(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	send := func(message string) error {
		return smtp.SendMail(box.Addr(), nil, "gateway@example.org", []string{"grace@example.org"}, []byte(strings.ReplaceAll(message, "\n", "\r\n")))
	}
	page := func(path string) (int, string) {
		w := httptest.NewRecorder()
		box.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if _, text := page("/demo/mail"); !strings.Contains(text, "No mails yet") {
		t.Errorf("empty mailbox: %s", text)
	}

	if err := send("From: a@example.org\nSubject: =?UTF-8?q?Una_petici=C3=B3n?=\nMessage-ID: <1@example.org>\nContent-Type: text/plain; charset=UTF-8\n" +
		"Content-Transfer-Encoding: quoted-printable\n\nCaf=C3=A9 <script>\nGo on: http://127.0.0.1:8080/patient?a=3Db now\n"); err != nil {
		t.Fatal(err)
	}
	if err := send("From: a@example.org\nSubject: Second\nContent-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/html\n\n<p>no</p>\n--x\n" +
		"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n--x--\n"); err != nil {
		t.Fatal(err)
	}
	if err := send("no message at all\n"); err == nil {
		t.Error("took something that is no message")
	}

	mails := box.Mails()
	if len(mails) != 2 || mails[0].Subject != "Second" || mails[0].Text != "Hello" || mails[1].Subject != "Una petición" || mails[1].ID != "1@example.org" ||
		mails[1].To[0] != "grace@example.org" || !strings.Contains(mails[1].Text, "Café <script>\nGo on: http://127.0.0.1:8080/patient?a=b now") {
		t.Errorf("got %+v", mails)
	}
	if status, text := page("/demo/mail"); status != http.StatusOK || !strings.Contains(text, "Una petición") || !strings.Contains(text, `href="/demo/mail/1"`) {
		t.Errorf("list: %d %s", status, text)
	}
	status, text := page("/demo/mail/1")
	if status != http.StatusOK || !strings.Contains(text, "Café &lt;script&gt;") || !strings.Contains(text, `<a href="http://127.0.0.1:8080/patient?a=b">`) {
		t.Errorf("mail: %d %s", status, text)
	}
	for _, path := range []string{"/demo/mail/9", "/demo/mail/x"} {
		if status, _ := page(path); status != http.StatusNotFound {
			t.Errorf("%s answers %d", path, status)
		}
	}
	if strings.Contains(log.String(), "grace") || strings.Count(log.String(), "mail received") != 2 {
		t.Errorf("log: %s", log.String())
	}
}
