package web_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestNoticePreferences(t *testing.T) {
	w := newWorld(t)
	_, home := w.as("grace", "/patient")
	form := home.follow("E-mails").at("/patient/notices").shows(200, "somebody asks to see a record", "This cannot be switched off").hides("a request of mine")
	saved := form.submit("Save", "kind", "redeemed").shows(200, "Your choice was saved") // all others go, but those that cannot
	node, _ := saved.form("Save")
	if got := filled(node)["kind"]; strings.Join(got, ",") != "redeemed,break-glass,linked" {
		t.Errorf("ticked afterwards: %v", got)
	}
	if n := strings.Count(saved.body, " checked"); n != 3 {
		t.Errorf("%d are ticked, want the chosen and the two that are fixed", n)
	}
	b, home := w.as("okafor", "/")
	home.follow("E-mails").at("/notices").shows(200, "a request of mine was approved").hides("emergency rule")
	b.get("/patient/notices").shows(http.StatusNotFound)
	w.as("sam", "/staff")
}

// A provider who was declined is told when they can ask again.
func TestDeclinedIsToldWhen(t *testing.T) {
	w := newWorld(t)
	b, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1002").follow("Request non-PCP access").submit("Request access").shows(200, "Your request was sent")
	_, family := w.as("grace", "/patient")
	family.follow("Read and answer").submit("Decline").shows(200, "You declined")
	b.get("/").submit("Find patient", "mrn", "1002").shows(200, "not authorized to view this record", "Your last request was declined. You can ask again from").hides("Request non-PCP access")
}
