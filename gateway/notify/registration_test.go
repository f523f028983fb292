package notify_test

import (
	"io"
	"mime/quotedprintable"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/gateway/lang"
	"mypatients/smart"
)

var mailedCode = regexp.MustCompile(`\d{4} \d{4}`)

// plain is the text of a mail.
func (m delivered) plain(t *testing.T) string {
	t.Helper()
	b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.text)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// A code reaches the address that is to be proven over SMTP, and works; the store
// keeps the mail without it. One that would come too late is not sent.
func TestCodeIsMailed(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	catalogue, err := lang.Of(lang.Spanish)
	if err != nil {
		t.Fatal(err)
	}
	guard, _ := guarded(t, w, func(c *consent.Config) {
		c.Translate = func(tag, english string) (string, bool) {
			if tag != "es" {
				return english, false
			}
			return catalogue.Text(english)
		}
	})
	w.config.Complete = guard.CompleteNotice
	worker := w.worker()
	register := func(login, npi string) *consent.Account {
		t.Helper()
		a, err := guard.SignIn(t.Context(), "https://idp", login, hostile[0], "")
		if err != nil {
			t.Fatal(err)
		}
		if login == "es" {
			who := consent.Caller{Grant: consent.Portal(smart.Identity{Login: a.ID}, "s")}
			if err := guard.SetLanguage(t.Context(), who, "es"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := guard.Register(t.Context(), a.ID, consent.Registration{Given: "Mateo", Family: "Rivera", NPI: npi, Email: login + "@clinic.example", Specialty: "asthma"}); err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b := register("en", "1993999998"), register("es", "1003999996")
	w.flush(worker)
	mails := p.take()
	if len(mails) != 2 {
		t.Fatalf("got %v", mails)
	}
	for _, m := range mails {
		account, words := a.ID, "It works for 30 minutes."
		if m.to == "es@clinic.example" {
			account, words = b.ID, "Sirve por 30 minutos."
		}
		text := m.plain(t)
		if !strings.Contains(text, words) || !strings.Contains(text, "https://gateway.example/register") || strings.Contains(text, "{") || mailedCode.MatchString(m.subject) {
			t.Errorf("%s gets %q: %s", m.to, m.subject, text)
		}
		for _, part := range []string{"Mateo", "Rivera", "asthma", "1993999998"} {
			if strings.Contains(text+m.subject, part) {
				t.Errorf("%q is in the mail: %s", part, text)
			}
		}
		if got, err := guard.ProveEmail(t.Context(), account, mailedCode.FindString(text)); err != nil || len(got.Links) != 1 {
			t.Errorf("%s: %+v, %v", m.to, got, err)
		}
		if strings.Contains(w.log.String(), mailedCode.FindString(text)) {
			t.Error("the code is in the log")
		}
	}

	p.mu.Lock()
	p.refuse = func(string) error {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 0, 0}, Message: "later"}
	}
	p.mu.Unlock()
	late := register("late", "1356405203")
	w.flush(worker)
	p.mu.Lock()
	p.refuse = nil
	p.mu.Unlock()
	w.turn(31 * time.Minute)
	w.flush(worker)
	if mails := p.take(); len(mails) != 0 {
		t.Errorf("a code is mailed that works no more: %v", mails)
	}
	if failed := w.failed(worker); !strings.Contains(failed, "too late") {
		t.Errorf("failed: %q", failed)
	}
	if _, err := guard.ProveEmail(t.Context(), late.ID, "12345678"); fhir.KindOf(err) != fhir.Conflict {
		t.Errorf("got %v", err)
	}
}

// Who registered is told over SMTP what came of it, in their language.
func TestDecisionIsMailed(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	guard, worker := guarded(t, w)
	w.put(`{"resourceType":"Practitioner","id":"root"}`)
	admin, err := guard.LinkAccount(t.Context(), "https://idp", "root", "", "", consent.Link{Role: smart.Admin, Person: "Practitioner/root"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := guard.Identity(t.Context(), admin, smart.Admin)
	if err != nil {
		t.Fatal(err)
	}
	root := consent.Caller{Grant: consent.Portal(id, "s")}
	for npi, right := range map[string]bool{"1993999998": true, "1003999996": false} {
		a, err := guard.SignIn(t.Context(), "https://idp", npi, "", npi+"@clinic.example")
		if err == nil {
			_, err = guard.Register(t.Context(), a.ID, consent.Registration{Given: "Mateo", Family: "Rivera", NPI: npi, Email: npi + "@clinic.example"})
		}
		if err != nil {
			t.Fatal(err)
		}
		list, err := guard.UncheckedProviders(t.Context(), root, "")
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		if err := guard.CheckProvider(t.Context(), root, list[0].ID, right, "asthma of Mateo"); err != nil {
			t.Fatal(err)
		}
		w.flush(worker)
		want := map[bool]string{true: "Your registration was confirmed", false: "Your registration was not accepted"}[right]
		mails := p.take()
		if len(mails) != 1 || mails[0].to != npi+"@clinic.example" || mails[0].subject != want || strings.Contains(mails[0].text, "choose which mails") {
			t.Errorf("got %v", mails)
		}
		w.noPersonalData(mails)
	}
}
