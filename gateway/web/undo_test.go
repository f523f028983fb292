package web_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html/atom"
)

// approved has Okafor see Mateo's record, by Grace.
func (w *world) approved() (okafor, grace *browser) {
	w.t.Helper()
	okafor, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1001").follow("Request non-PCP access").submit("Request access").shows(200, "Your request was sent")
	grace, family := w.as("grace", "/patient")
	family.follow("Read and answer").submit("Approve").shows(200, "can now see the record")
	okafor.get("/patients/mateo").shows(200)
	return okafor, grace
}

// undoes tells whether a page offers to undo.
func (p *page) undoes() bool {
	for n := range p.doc.Descendants() {
		if n.DataAtom == atom.Button && attr(n, "name") == "undo" {
			return true
		}
	}
	return false
}

// Who stops an access has a moment to take it back, on the page that says so.
func TestUndoStop(t *testing.T) {
	w := newWorld(t)
	okafor, grace := w.approved()
	stopped := grace.get("/patient/mateo/access").follow("Stop access").shows(200, "You can undo it for 10 seconds").submit("Stop access")
	stopped.at("/patient/mateo/access").shows(200, "can no longer see the record", "You can undo this for 10 seconds", "Undo")
	okafor.get("/patients/mateo").shows(404)
	if grace.get("/patient/mateo/access").undoes() {
		t.Error("the offer is shown twice")
	}
	w.clock.pass(9 * time.Second)
	stopped.submit("Undo").at("/patient/mateo/access").shows(200, "Dr. Samir Okafor can see the record again, until", "Approved by you")
	okafor.get("/patients/mateo").shows(200, "The family approved your request")
	stopped.submit("Undo").shows(200, "This can no longer be undone", "Approved by you")
	grace.get("/patient/mateo/activity").shows(200, "stopped an access", "undid that they had stopped an access")

	stopped = grace.get("/patient/mateo/access").follow("Stop access").submit("Stop access")
	luis, _ := w.as("luis", "/patient")
	forged := luis.get("/patient/mateo/care-team") // the form of somebody else with the token of theirs
	form, _ := stopped.form("Undo")
	for n := range form.Descendants() {
		if n.DataAtom == atom.Button {
			forged.submit("Search", "q", "okafor").submit("Add", "undo", attr(n, "value")).shows(200, "This can no longer be undone")
		}
	}
	w.clock.pass(16 * time.Second)
	stopped.submit("Undo").shows(200, "This can no longer be undone").hides("Approved by you")
	okafor.get("/patients/mateo").shows(404)
	if late := grace.get("/patient/mateo/access"); late.undoes() {
		t.Error("what is over is offered")
	}
}

func TestUndoRemovalFromTheCareTeam(t *testing.T) {
	w := newWorld(t)
	chen, _ := w.as("chen", "/patients/mateo")
	grace, _ := w.as("grace", "/patient")
	removed := grace.get("/patient/mateo/care-team").follow("Remove").shows(200, "You can undo this for 10 seconds").submit("Remove")
	removed.shows(200, "no longer on the care team", "Undo")
	chen.get("/patients/mateo").shows(404)
	removed.submit("Undo").at("/patient/mateo/care-team").shows(200, "Dr. Mei Chen is back on the care team")
	chen.get("/patients/mateo").shows(200, "You are on the care team")
	removed = grace.get("/patient/mateo/care-team").follow("Remove").submit("Remove")
	w.clock.pass(time.Minute)
	removed.submit("Undo").shows(200, "This can no longer be undone", "Nobody is on the care team yet")
	chen.get("/patients/mateo").shows(404)
	removed.submit("Undo", "undo", "../x").shows(200, "can no longer be undone") // the button's own value counts
}

// An invitation with an address is mailed from the page that shows it; one without
// is not, and a mail server that is away leaves the token on the page.
func TestSendInvitation(t *testing.T) {
	w := newWorld(t)
	grace, _ := w.as("grace", "/patient")
	made := grace.get("/patient/mateo/invitations").submit("Make an invitation", "email", "okafor@example.org")
	token := tokenForm.FindString(made.body)
	made.shows(200, "mails the token to okafor@example.org, without the MRN")
	w.mail = func(context.Context, string, string, string) error { return errors.New("away") }
	failed := made.submit("Send").shows(503, "The mail could not be sent", "MRN 1001")
	if tokenForm.FindString(failed.body) != token || !strings.HasPrefix(failed.title(), "Please check: ") {
		t.Errorf("the token is lost: %s", failed.text())
	}
	var to, text string
	w.mail = func(_ context.Context, address, _, words string) error { to, text = address, words; return nil }
	sent := failed.submit("Send").shows(200, "We sent the token to okafor@example.org", token[:5])
	if to != "okafor@example.org" || !strings.Contains(text, token) || strings.Contains(text, "1001") {
		t.Errorf("mailed %q to %s", text, to)
	}
	if strings.Contains(sent.text(), "Send to") {
		t.Error("it is offered again")
	}
	okafor, _ := w.as("okafor", "/")
	okafor.get("/invitation").submit("Submit", "token", token, "mrn", "1001").at("/patients/mateo")
	failed.submit("Send").at("/patient/mateo/invitations").shows(200, "answered in the meantime", "Used")

	open := grace.get("/patient/mateo/invitations").submit("Make an invitation").shows(200, "Your invitation is ready")
	if strings.Contains(open.text(), "Send") {
		t.Errorf("offers to send it to nobody: %s", open.text())
	}
}

// A teenager reads what is private, and a parent what they do not see and why. Nobody
// else does.
func TestWhatIsPrivate(t *testing.T) {
	w := newWorld(t)
	ava, home := w.as("ava", "/patient")
	page := home.follow("What your parent can and cannot see").at("/patient/ava/private")
	page.shows(200, "From age 13 to 18", "Mental health", "If you answer, your answer counts", "When you turn 18", "keep it between the two of you")
	page.follow("Who can see").at("/patient/ava/access")
	both, _ := w.as("both", "/patient")
	parent := both.get("/role?next=/patient").submit("As a parent or guardian").follow("What you do not see").at("/patient/ava/private")
	parent.shows(200, "What you do not see of Ava’s record", "Why this is so", "It does not mean that there is anything of the kind", "Mental health")
	grace, family := w.as("grace", "/patient")
	if strings.Contains(family.text(), "What you do not see") {
		t.Error("a parent of children is told of teenagers")
	}
	grace.get("/patient/mateo/private").shows(404)
	grace.get("/patient/ava/private").shows(404)
	ava.get("/patient/mateo/private").shows(404)
}
