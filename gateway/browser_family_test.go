package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mypatients/gateway/demo"
)

// A household is a family at their browser, and a provider without a window who asks
// to see their records.
type household struct {
	*chrome
	mother *visitor
	okafor *browser
}

// familyTasks are what families come for. They are played one after the other, and
// each leaves things as it found them.
var familyTasks = []struct {
	name string
	play func(h *household, t *testing.T)
}{
	{"approve all of it", (*household).approveAll},
	{"see who can see, stop it, and undo that", (*household).stopAndUndo},
	{"approve a part, for a shorter time", (*household).approveLess},
	{"not now, and then decline", (*household).decline},
	{"differ from the other parent", (*household).differ},
	{"add to the care team by search, remove, and undo that", (*household).editCareTeam},
	{"make an invitation, print, copy and send it", (*household).invite},
	{"see who looked, by person and day", (*household).whoLooked},
	{"disconnect an app", (*household).disconnect},
	{"choose which mails come", (*household).choose},
	{"read what a parent sees of a teenager", (*household).teenager},
}

// TestBrowserFamilyTasks plays them on a desktop and on a phone, with scripts and without.
func TestBrowserFamilyTasks(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	for name, w := range map[string]way{
		"desktop": {unseen: true}, "phone": {phone: true, unseen: true},
		"desktop without scripts": {noScripts: true, unseen: true}, "phone without scripts": {phone: true, noScripts: true, unseen: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := *c
			if as.way = w; w != (way{unseen: true}) {
				as.gateway = startDemo(t, c.clock.now)
			}
			h := &household{&as, as.visitor(t, "grace"), as.signedIn(t, "dr.okafor")}
			h.mother.enter("/patient").sees("No requests are waiting")
			for _, task := range familyTasks {
				t.Run(task.name, func(t *testing.T) {
					h.mother.t = t
					task.play(h, t)
				})
			}
			h.mother.t = t
		})
	}
}

// asks has a provider ask for a record, without what is especially private in it.
func (h *household) asks(who *browser, mrn string, also ...string) {
	handle := found(h.t, handleLink, who.submit(who.open(h.URL+"/"), "mrn", url.Values{"mrn": {mrn}}))
	form := who.open(h.URL + "/requests/new?patient=" + handle)
	who.submit(form, "reason", url.Values{"reason": {"A heart murmur was heard at school."}, "part": nil, "private": also, "confidential": nil})
}

// opens fails the test unless a page of a record opens to the provider, or does not.
func (h *household) opens(t *testing.T, path string, want bool) {
	t.Helper()
	page := h.okafor.open(h.URL + path)
	if open := page.status == http.StatusOK; open != want || !open && page.status != http.StatusNotFound {
		t.Errorf("%s answers the provider with %d, and is to open: %t", path, page.status, want)
	}
}

func (h *household) approveAll(t *testing.T) {
	h.asks(h.okafor, "1001")
	h.mother.open("/patient").sees("A request is waiting for you", "Dr. Samir Okafor", "A heart murmur was heard at school.")
	h.mother.follow("Read and answer").sees("Who is asking", "Cardiology", "Longwood Heart", "What they would see", "What stays hidden", "For how long")
	h.mother.unfold("What happens when I approve?").sees("You can stop it at any time")
	h.opens(t, "/patients/pt-1", false)
	h.mother.press("Approve").isAt("/patient").sees("Dr. Samir Okafor can now see the record")
	h.opens(t, "/patients/pt-1", true)
}

func (h *household) stopAndUndo(t *testing.T) {
	h.mother.follow("Who can see").sees("Doctor’s office", "Care team", "Approved by you", "Dr. Samir Okafor")
	h.mother.follow("Stop access").sees("Stop the access of Dr. Samir Okafor?").press("Stop access").sees("can no longer see the record", "You can undo this for 10 seconds")
	h.opens(t, "/patients/pt-1", false)
	h.mother.press("Undo").sees("Dr. Samir Okafor can see the record again", "Approved by you")
	h.opens(t, "/patients/pt-1", true)
	h.mother.follow("Stop access").follow("Keep it").sees("Approved by you").follow("Stop access").press("Stop access").sees("can no longer see the record").seesNot("Approved by you")
	h.opens(t, "/patients/pt-1", false)
}

func (h *household) approveLess(t *testing.T) {
	h.asks(h.okafor, "1001")
	h.mother.open("/patient").follow("Read and answer").unfold("Approve less")
	for _, part := range []string{"Health problems", "Medicines", "Vaccinations", "Operations", "Visits", "Doctors’ notes", "Care plans"} {
		h.mother.tick(part)
	}
	h.mother.tick("1 month").press("Approve this much").isAt("/patient").sees("Dr. Samir Okafor can now see the record, until")
	h.opens(t, "/patients/pt-1/results", true)
	if page := h.okafor.open(h.URL + "/patients/pt-1/medications"); strings.Contains(page.text, "Albuterol") {
		t.Error("the provider sees a part that was not approved")
	}
	h.mother.follow("Who can see").follow("Stop access").press("Stop access").sees("can no longer see the record")
}

func (h *household) decline(t *testing.T) {
	h.asks(h.okafor, "1002")
	h.mother.open("/patient").follow("Read and answer").follow("Not now").isAt("/patient").sees("A request is waiting for you")
	h.mother.follow("Read and answer").press("Decline").isAt("/patient").sees("You declined").seesNot("Read and answer")
	h.opens(t, "/patients/pt-2", false)
	if page := h.okafor.open(h.URL + "/requests"); !strings.Contains(page.text, "Declined") {
		t.Error("the provider is not told")
	}
}

func (h *household) differ(t *testing.T) {
	luis := h.signedIn(t, "luis")
	h.asks(h.okafor, "1001")
	luis.submit(luis.open(h.URL+"/patient/requests/"+found(t, requestLink, luis.open(h.URL+"/patient"))), "version", url.Values{"action": {"decline"}})
	h.mother.open("/patient").sees("Luis Rivera", "Declined").follow("Read and answer").press("Approve").sees("You and another parent or guardian answered differently")
	h.opens(t, "/patients/pt-1", false)
	h.mother.follow("Read, or change your answer").sees("The answers differ", "You can change your answer").press("Decline").sees("You declined")
	h.opens(t, "/patients/pt-1", false)
}

func (h *household) editCareTeam(t *testing.T) {
	h.mother.open("/patient/pt-2/care-team").sees("Nobody is on the care team yet").fill("Name of the doctor", "okafor").press("Search").sees("Dr. Samir Okafor")
	h.mother.press("Add").sees("Dr. Samir Okafor is now on the care team")
	h.opens(t, "/patients/pt-2", true)
	h.mother.follow("Remove").press("Remove").sees("is no longer on the care team", "You can undo this for 10 seconds")
	h.opens(t, "/patients/pt-2", false)
	h.mother.press("Undo").sees("Dr. Samir Okafor is back on the care team")
	h.opens(t, "/patients/pt-2", true)
	h.mother.follow("Remove").press("Remove").sees("is no longer on the care team")
	h.opens(t, "/patients/pt-2", false)
}

func (h *household) invite(t *testing.T) {
	h.mother.open("/patient/pt-1/invitations").sees("None yet").fill("E-mail of the provider", "dr.baker@example.org").press("Make an invitation")
	h.mother.sees("Your invitation is ready", "MRN 1001", "once, only with this MRN")
	token := tokenForm.FindString(h.mother.text())
	if h.way.noScripts {
		h.mother.seesNot("Copy", "Print")
	} else {
		h.mother.do("copy it", h.mother.choose("copy it", button("Copy"), ""), chromedp.WaitVisible(button("Copied")))
		h.mother.do("watch for printing", chromedp.Evaluate[chromedp.Void](`window.print = () => { document.title = "printed" }`))
		h.mother.do("print it", h.mother.choose("print it", button("Print"), ""))
		if title := evaluate[string](h.mother, `document.title`); title != "printed" {
			t.Errorf("nothing is printed: the title is %s", title)
		}
	}
	h.mother.press("Send").sees("We sent the token to dr.baker@example.org", "MRN 1001")
	h.mailed(t, "dr.baker@example.org", "You were invited to see a record")
	mails := h.mailbox.Mails()
	i := slices.IndexFunc(mails, func(m demo.Mail) bool { return m.Subject == "You were invited to see a record" })
	if text := mails[i].Text; !strings.Contains(text, token) || strings.Contains(text, "1001") || strings.Contains(text, "Mateo") {
		t.Errorf("the mail says %s", text)
	}
	h.mother.follow("I have it").sees("For dr.baker@example.org", "Not used yet").press("Cancel").sees("The invitation was cancelled", "Cancelled").seesNot("Not used yet")
}

func (h *household) whoLooked(t *testing.T) {
	h.mother.open("/patient/pt-1/activity").sees("Dr. Samir Okafor", "looked at", "you approved it", "stopped an access", day(time.Now()))
	h.mother.do("choose whom", chromedp.SetValue(field("Person"), "Dr. Samir Okafor"))
	h.mother.press("Show").sees("Dr. Samir Okafor", "looked at").seesNot("stopped an access")
}

func (h *household) disconnect(t *testing.T) {
	token := h.launch("grace", "launch/patient openid patient/Patient.rs", "pt-1")["access_token"]
	h.mother.open("/patient").follow("My apps").sees("Demo app", "Mateo Rivera", "you cannot undo this").unfold("What it may do").press("Disconnect").sees("The app was disconnected", "No apps are connected")
	if got, _, _ := h.get("/fhir/Patient/pt-1", "Authorization", fmt.Sprint("Bearer ", token)); got != http.StatusUnauthorized {
		t.Errorf("the app gets %d", got)
	}
}

func (h *household) choose(t *testing.T) {
	ticked := func() bool {
		return evaluate[bool](h.mother, `document.querySelector("[name=kind][value=invited]").checked`)
	}
	h.mother.open("/patient")
	menu(h.mother)
	h.mother.follow("E-mails").sees("Choose when we write to you", "This cannot be switched off")
	if !ticked() {
		t.Error("mails are off from the start")
	}
	h.mother.tick("an invitation was made").press("Save").sees("Your choice was saved")
	if h.mother.open("/patient/notices"); ticked() {
		t.Error("the choice was not kept")
	}
	h.mother.tick("an invitation was made").press("Save").sees("Your choice was saved")
}

func (h *household) teenager(t *testing.T) {
	ava := h.visitor(t, "ava").enter("/patient").follow("What your parent can and cannot see")
	ava.sees("From age 13 to 18", "Mental health", "What you can do").follow("Back to Home").isAt("/patient")
	helen := h.visitor(t, "helen").enter("/patient").follow("What you do not see").sees("What you do not see of Ava’s record", "Why this is so", "Mental health")
	helen.follow("Back to Home").follow("See the record").sees("Ava Thompson").seesNot("contracept")
}

// day writes a day as the pages do.
func day(t time.Time) string {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	return t.In(zone).Format("2 January 2006")
}
