package notify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mypatients/fhir"
	"mypatients/gateway/notify"
)

func (w *world) failed(worker *notify.Worker) string {
	w.t.Helper()
	list, err := worker.Failed(w.t.Context(), "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, f := range list {
		lines = append(lines, fmt.Sprintf("%s to %s: %s", f.Notice, strings.Join(f.Recipients, ","), f.Why))
	}
	return strings.Join(lines, "\n")
}

func (w *world) backlog(worker *notify.Worker) notify.Backlog {
	w.t.Helper()
	b, err := worker.Backlog(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// An address that is none, and one that is refused, keep no other recipient of the
// same notice waiting; what failed is listed, and can be sent again.
func TestFailuresAreSeenAndRetried(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	worker := w.worker()
	p.refuse = func(to string) error {
		if to == "dr.okafor@example.org" {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "unknown"}
		}
		return nil
	}
	w.notice("both", "Practitioner/broken", "Practitioner/d", "RelatedPerson/g")
	w.notice("lost", "Practitioner/d")
	w.flush(worker)
	first := p.take()
	if len(first) != 1 || first[0].to != "grace@example.org" {
		t.Fatalf("got %v, want the one who can be reached", first)
	}
	want := "both to Practitioner/broken,Practitioner/d,RelatedPerson/g: The mail server refused the recipient's address.\n" +
		"lost to Practitioner/d: The mail server refused the recipient's address."
	if got := w.failed(worker); got != want {
		t.Errorf("failed:\n%s\nwant:\n%s", got, want)
	}
	if got := w.backlog(worker); got != (notify.Backlog{Failed: 2}) {
		t.Errorf("backlog: %+v", got)
	}
	w.noPersonalData(first)

	p.mu.Lock()
	p.refuse = nil
	p.mu.Unlock()
	if err := worker.Retry(t.Context(), "lost"); err != nil {
		t.Fatal(err)
	}
	if got := w.backlog(worker); got != (notify.Backlog{Waiting: 1, Failed: 1}) {
		t.Errorf("backlog: %+v", got)
	}
	w.flush(w.worker()) // whichever gateway
	again := p.take()
	if len(again) != 1 || again[0].to != "dr.okafor@example.org" || again[0].id != "<lost@gateway.example>" || !strings.HasPrefix(w.state("lost"), "completed") || strings.Contains(w.failed(worker), "lost") {
		t.Errorf("again: %v, %q, still failed: %s", again, w.state("lost"), w.failed(worker))
	}
	if err := worker.Retry(t.Context(), "lost"); fhir.KindOf(err) != fhir.NotFound {
		t.Errorf("what did not fail was sent again: %v", err)
	}
}

// What the mail server answers and never takes is given up after five days.
func TestGivenUp(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	worker := w.worker()
	p.refuse = func(string) error {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 0, 0}, Message: "later"}
	}
	w.notice("n", "Practitioner/d")
	for range 6 {
		w.flush(worker)
		if b := w.backlog(worker); b.Failed > 0 {
			t.Fatal("given up too soon")
		}
		w.turn(20 * time.Hour)
	}
	if b := w.backlog(worker); b.Retrying != 1 {
		t.Errorf("backlog: %+v", b)
	}
	w.flush(worker)
	if got := w.state("n"); got != "not-done The mail server did not take the message." {
		t.Errorf("it is %q", got)
	}
}

// An office is reached by the address that the notice holds.
func TestOffice(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	w.put(fmt.Sprintf(`{"resourceType":"Communication","id":"o","status":"preparation","category":[{"coding":[{"system":%q,"code":%q}]}],
		"contained":[{"resourceType":"Organization","id":"privacy","name":"Privacy office","telecom":[{"system":"email","value":"privacy@example.org"}]}],
		"recipient":[{"reference":"#privacy"}],"topic":{"text":"x"},"payload":[{"contentString":"y"}]}`, category.System, category.Code))
	w.flush(w.worker())
	if mails := p.take(); len(mails) != 1 || mails[0].to != "privacy@example.org" {
		t.Errorf("got %v", mails)
	}
}
