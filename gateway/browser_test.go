package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/gateway/demo"
)

// TestBrowser plays the six paths of the story through the pages in Chromium,
// and looks at what the people see. SCREENSHOTS=DIR keeps pictures of the pages.
func TestBrowser(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	t.Run("primary care sees the record", c.primaryCare)
	t.Run("the care team sees the record", c.careTeam)
	t.Run("a request is approved and stopped", c.request)
	t.Run("nobody has an account", c.noAccount)
	t.Run("a token opens the record once", c.token)
	t.Run("registration comes first", c.registration)
	t.Run("a teenager answers for herself", c.teenager)
	t.Run("an app is launched", c.standalone)
	t.Run("an app is launched from the record", c.fromRecord)
	t.Run("a token expires", c.expiry) // last: it puts the clock forward
}

var tokenForm = regexp.MustCompile(`[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}`)

func (c *chrome) primaryCare(t *testing.T) {
	adams := c.visitor(t, "dr.adams").open("/")
	adams.isAt("/demo-idp/login").shot("demo-sign-in")
	adams.signIn().isAt("/").sees("Patient Selection", "Validate a Token", "Mateo Rivera", "Sofia Rivera").seesNot("Ava", "Noah", "Lily").shot("patient-selection")
	adams.dark("patient-selection")
	adams.press("Find patient").sees("Enter the MRN.").shot("patient-selection-problem")
	adams.fill("Medical record number", "1001").press("Find patient").isAt("/patients/pt-1")
	adams.sees("Mateo Rivera", "8 years old", "You are the primary care provider").shot("record-summary")
	adams.dark("record-summary")
	for _, tab := range []string{"Results", "Growth", "Medications", "Immunizations", "Visits", "Notes", "Care team"} {
		adams.follow(tab).sees("Mateo Rivera").shot("record-" + strings.ReplaceAll(strings.ToLower(tab), " ", "-"))
	}
	adams.follow("Summary").follow("Print").shot("record-print").printed("record-print")
	adams.open("/?by=name").shot("patient-selection-by-name")
	adams.open("/patients/pt-3").sees("Page not found").seesNot("Ava").shot("not-found")
}

// worklists has an administrator connect the account of somebody who has just signed
// in, and search the log.
func (c *chrome) worklists(t *testing.T, ana *visitor) {
	c.visitor(t, "dr.new").enter("/patient").sees("You are not registered yet")
	ana.open("/staff").sees("What waits for you", "Accounts to connect").shot("worklists").dark("worklists-dark")
	ana.follow("Accounts to connect").shot("accounts-to-connect").open("/staff/registrations").sees("Nobody waits").open("/staff/notices").shot("mails-failed")
	ana.open("/staff/unlinked").follow("Dr. Nora Newton").fill("MRN of the patient", "1001").press("Find the person").sees("parent or guardian of Mateo Rivera").shot("account-connect")
	ana.press("Go on").sees("Choose one of these people").shot("account-connect-problem")
	ana.tick("Grace Rivera").fill("How you checked", "came with a passport").press("Go on").sees("Connect this account?").shot("account-connect-sure")
	ana.open("/staff/log").fill("MRN of the patient", "1001").press("Search the log").sees("Entries, the latest first", "Mateo Rivera").shot("log")
}

func (c *chrome) careTeam(t *testing.T) {
	chen := c.visitor(t, "dr.chen").enter("/").sees("Mateo Rivera", "Care team").seesNot("Sofia")
	chen.follow("Mateo Rivera").isAt("/patients/pt-1").sees("You are on the care team")

	sam := c.visitor(t, "sam").enter("/").isAt("/staff").shot("staff")
	sam.fill("Medical record number", "1001").press("Find patient").sees("Mateo Rivera", "Linda Chen")
	sam.fill("Name or NPI", "okafor").press("Search").sees("Dr. Samir Okafor")
	sam.tick("Dr. Samir Okafor").press("Add to the care team").sees("Enter how you checked it").shot("staff-patient-problem")
	sam.fill("Who called", "Grace Rivera, mother").fill("How you checked", "birth date and address").fill("What they asked", "that he may see the record")
	sam.press("Add to the care team").sees("Read this to the caller", "Dr. Samir Okafor").shot("staff-read-back")
	sam.press("The caller agrees: add").sees("Read back", "Dr. Samir Okafor is now on the care team").shot("staff-patient")
	ana := c.visitor(t, "ana").enter("/staff/clients").sees("Register an app", "demo-public").shot("apps-registered").follow("Register an app")
	ana.press("Register the app").sees("Enter the name of the app").shot("app-register-problem")
	ana.fill("Name", "Growth chart").tick("A web app with a secret").fill("Redirect URIs", "https://growth.example.org/callback").press("Register the app")
	ana.sees("shown only this once", "Client ID").shot("app-secret")
	ana.follow("Accounts").press("Find accounts").sees("Enter what to search for").shot("accounts-problem")
	ana.fill("Account", "1001").press("Find accounts").sees("Grace Rivera", "Parent or guardian of Mateo Rivera").shot("accounts").follow("Grace Rivera")
	ana.sees("Whom it stands for", "Sign out everywhere").press("Remove the link").sees("Choose the link to remove").shot("account")
	c.worklists(t, ana)
	okafor := c.visitor(t, "dr.okafor").enter("/patients/pt-1").sees("Mateo Rivera", "You are on the care team")
	sam.open("/patients/pt-1").sees("Page not found").seesNot("Mateo")

	grace := c.visitor(t, "grace").enter("/patient/pt-1/care-team").sees("Dr. Linda Chen", "Dr. Samir Okafor").shot("care-team")
	grace.open("/patient/pt-1/access").sees("Care team", "Dr. Samir Okafor")
	grace.open("/patient/pt-1/care-team/pr-okafor").sees("Remove Dr. Samir Okafor").shot("care-team-remove").press("Remove").sees("no longer on the care team")
	okafor.open("/patients/pt-1").sees("Page not found")
	grace.open("/patient/pt-2/care-team").sees("Nobody is on the care team yet").fill("Name of the doctor", "okafor").press("Search").shot("care-team-search")
	grace.press("Add").sees("Dr. Samir Okafor is now on the care team")
	okafor.open("/").fill("Medical record number", "1002").press("Find patient").isAt("/patients/pt-2").sees("Sofia Rivera")
	grace.follow("Remove").press("Remove").sees("no longer on the care team")
	okafor.open("/patients/pt-2").sees("Page not found")
}

func (c *chrome) request(t *testing.T) {
	okafor := c.visitor(t, "dr.okafor").enter("/").fill("Medical record number", "1001").press("Find patient")
	okafor.sees("You are not authorized to view this record.", "1001").seesNot("Mateo", "Rivera").shot("not-authorized")
	okafor.follow("Request non-PCP access").sees("Why you ask").shot("request-form")
	okafor.fill("Why you ask", "A heart murmur was heard at school.").tick("6 months").press("Request access")
	okafor.isAt("/requests").sees("Your request was sent to the family", "Waiting for the family").seesNot("Mateo").shot("my-requests")
	okafor.open("/").fill("Medical record number", "1001").press("Find patient").sees("You have already asked").shot("request-pending")

	grace := c.visitor(t, "grace").enter("/patient").sees("Mateo Rivera", "Dr. Samir Okafor", "A heart murmur was heard at school.").shot("family-home")
	grace.dark("family-home")
	luis := c.visitor(t, "luis").enter("/patient").sees("Dr. Samir Okafor").follow("Read and answer")
	grace.follow("Read and answer").sees("Who is asking", "Dr. Samir Okafor", "Longwood Heart").shot("request")
	grace.unfold("Approve less").unfold("What happens when I approve?").shot("request-less")
	grace.press("Approve").isAt("/patient").sees("Dr. Samir Okafor can now see the record").shot("approved")
	luis.press("Decline").sees("answered in the meantime", "It was approved").shot("answered-already")
	c.mailed(t, "dr.okafor@example.org", "Your request was approved")
	mail := c.visitor(t, "anyone").open("/demo/mail").sees("Your request was approved").shot("demo-mail")
	mail.follow("Your request was approved").sees("/requests").seesNot("Mateo", "Rivera").shot("demo-mail-one")

	okafor.open("/").fill("Medical record number", "1001").press("Find patient").isAt("/patients/pt-1").sees("Mateo Rivera", "The family approved your request").shot("record-approved")
	grace.open("/patient/pt-1/access").sees("Approved by you", "Dr. Samir Okafor").shot("who-can-see")
	grace.follow("Stop access").sees("Stop the access of Dr. Samir Okafor?").shot("stop-access").press("Stop access").sees("can no longer see the record")
	okafor.follow("Results").sees("Page not found").seesNot("Mateo")
	okafor.open("/requests").sees("Stopped by the family").shot("my-requests-answered")
	grace.open("/patient/pt-1/activity").sees("Dr. Samir Okafor", "Dr. Linda Chen").shot("who-looked")
}

func (c *chrome) noAccount(t *testing.T) {
	okafor := c.visitor(t, "dr.okafor").enter("/").fill("Medical record number", "1005").press("Find patient")
	okafor.sees("This patient has no portal account, so nobody can approve a request online.").seesNot("Lily", "Request non-PCP access").shot("no-account")
	okafor.open("/").fill("Medical record number", "4711").press("Find patient").sees("No patient found").shot("no-patient")
}

func (c *chrome) token(t *testing.T) {
	grace := c.visitor(t, "grace").enter("/patient/pt-1/invitations").sees("None yet").shot("invite")
	grace.press("Make an invitation").sees("Your invitation is ready", "MRN 1001").shot("invitation-ready")
	token := tokenForm.FindString(grace.text())

	okafor := c.visitor(t, "dr.okafor").enter("/").follow("Validate a Token").isAt("/invitation").shot("validate-token")
	okafor.fill("Token", token).fill("MRN", "1002").press("Submit").sees("This token and MRN do not match an open invitation.").shot("validate-token-problem")
	okafor.fill("MRN", "1001").press("Submit").isAt("/patients/pt-1").sees("Your token was accepted", "Mateo Rivera", "The family invited you").shot("token-accepted")
	okafor.open("/").fill("Medical record number", "1001").press("Find patient").isAt("/patients/pt-1")
	okafor.open("/invitation").fill("Token", token).fill("MRN", "1001").press("Submit").sees("do not match an open invitation")
	baker := c.visitor(t, "dr.baker").enter("/invitation?token="+token).fill("MRN", "1001").press("Submit")
	baker.sees("do not match an open invitation").open("/patients/pt-1").sees("Page not found")
	grace.open("/patient/pt-1/invitations").sees("Used", "Samir Okafor").shot("invitations")
	c.mailed(t, "grace@example.org", "An invitation was used")
}

func (c *chrome) registration(t *testing.T) {
	grace := c.visitor(t, "grace").enter("/patient/pt-2/invitations").press("Make an invitation")
	token := tokenForm.FindString(grace.text())
	newton := c.visitor(t, "dr.new").enter("/invitation?token=" + token).sees("You are not registered yet").shot("not-registered")
	newton.follow("Register as a provider").shot("register")
	newton.fill("First name", "Nora").fill("Last name", "Newton").fill("NPI", "1234567890").press("Register").sees("This is not a valid NPI").shot("register-problem")
	newton.fill("NPI", "1730155060").fill("Specialty", "Nephrology").press("Register").isAt("/invitation").sees("You are registered")
	newton.fill("MRN", "1002").press("Submit").isAt("/patients/pt-2").sees("Sofia Rivera", "The family invited you")
}

func (c *chrome) teenager(t *testing.T) {
	okafor := c.visitor(t, "dr.okafor").enter("/").fill("Medical record number", "1003").press("Find patient")
	okafor.follow("Request non-PCP access").press("Request access").sees("Your request was sent")
	ava := c.visitor(t, "ava").enter("/patient").sees("Dr. Samir Okafor").shot("teen-home")
	ava.follow("Read and answer").shot("teen-request").press("Decline").sees("You declined")
	okafor.open("/requests").sees("Declined")
	helen := c.visitor(t, "helen").enter("/patients/pt-3").sees("Ava Thompson").shot("record-parent")
	helen.open("/patients/pt-3/notes").seesNot("confidential", "contracept")
	mark := c.visitor(t, "mark").enter("/patient").seesNot("Noah").shot("family-nobody")
	mark.open("/patients/pt-4").sees("Page not found")
}

// mailed waits for a mail.
func (c *chrome) mailed(t *testing.T, address, subject string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !c.hasMail(address, subject) {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("no mail %q to %s", subject, address)
		}
	}
}

func (c *chrome) hasMail(address, subject string) bool {
	for _, m := range c.mailbox.Mails() {
		if m.Subject == subject && len(m.To) == 1 && m.To[0] == address {
			return true
		}
	}
	return false
}

func (c *chrome) fromRecord(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/patients/pt-1").follow("Open an app").sees("Demo app").shot("open-app")
	adams.press("Open").sees("Demo app asks to see a health record", "Mateo Rivera").seesNot("Sofia").shot("authorize-ehr")
	adams.press("Approve").isAt(demo.AppPath).sees("Mateo Rivera", "Latest results").shot("demo-app")
	adams.open("/provider/apps").sees("Demo app").shot("provider-apps")
}

func (c *chrome) expiry(t *testing.T) {
	grace := c.visitor(t, "grace").enter("/patient/pt-1/invitations").press("Make an invitation")
	token := tokenForm.FindString(grace.text())
	c.clock.put(time.Until(time.Now().AddDate(0, 6, 1)))
	grace.open("/patient/pt-1/invitations").sees("You were signed out").shot("signed-out")
	grace.signIn().sees("Expired").shot("invitation-expired")
	baker := c.visitor(t, "dr.baker").enter("/invitation?token="+token).fill("MRN", "1001").press("Submit")
	baker.sees("This token and MRN do not match an open invitation.")
}
