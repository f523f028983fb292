package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/config"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// TestBrowserTasks plays what providers and staff come for beside the six paths of the
// story, on a desktop with scripts and on a phone without; with LONG=1 also the other
// way round.
func TestBrowserTasks(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	ways := map[string]way{"desktop": {unseen: true}, "phone without scripts": {phone: true, noScripts: true, unseen: true}}
	if os.Getenv("LONG") != "" {
		ways["phone"], ways["desktop without scripts"] = way{phone: true, unseen: true}, way{noScripts: true, unseen: true}
	}
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := *c
			as.way, as.gateway = w, startTasks(t, c.clock.now)
			t.Run("patients are found", as.findsPatients)
			t.Run("a request is taken back", as.takesBack)
			t.Run("a record is read", as.readsRecord)
			t.Run("an emergency", as.emergency)
			t.Run("staff of a provider", as.sponsors)
			t.Run("a registration is checked", as.checksRegistration)
			t.Run("a caller changes the care team", as.callerChanges)
			t.Run("administration", as.administers)
		})
	}
}

// findsPatients: by MRN, by name, among the recent ones, among one's own.
func (c *chrome) findsPatients(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/").sees("Patient Selection", "Validate a Token", "Primary care").seesNot("Recent")
	adams.fill("Medical record number", "1002").press(find).isAt("/patients/pt-2").sees("Sofia Rivera")
	adams.follow("Patients").follow("Name and date of birth").press(find).sees("Enter the last name.")
	adams.fill("Last name", "Rivera").fill("First name", "Mateo")
	adams.fill("Date of birth", c.born(t, "pt-1")).press(find).isAt("/patients/pt-1").sees("8 years old")
	adams.follow("Patients").sees("Recent", "My patients").follow("Sofia Rivera").isAt("/patients/pt-2")
	adams.open("/").fill("Medical record number", "1003").press(find).sees("You are not authorized to view this record.", "1003").seesNot("Ava")
	adams.open("/").fill("Medical record number", "1005").press(find).sees("This patient has no portal account").seesNot("Lily")
	adams.open("/").fill("Medical record number", "4711").press(find).sees("No patient found")
}

// takesBack asks for parts, sees the request wait, and withdraws it.
func (c *chrome) takesBack(t *testing.T) {
	okafor := c.visitor(t, "dr.okafor").enter("/").fill("Medical record number", "1001").press(find).follow("Request non-PCP access")
	okafor.tick("Only some parts").press("Request access").sees("Tick at least one part")
	okafor.tick("Test results").tick("3 months").fill("Why you ask", "A murmur.").press("Request access").isAt("/requests").sees("Waiting for the family", "MRN 1001")
	okafor.press("Withdraw").sees("Withdrawn").seesNot("Waiting for the family")
	okafor.follow("Patients").follow("Validate a Token").fill("Token", "AAAAA-BBBBB-CCCCC-DDDDD").fill("MRN", "1001").press("Submit").sees("This token and MRN do not match an open invitation.")
}

// readsRecord reads charts and lists, narrows them, prints, and opens an app.
func (c *chrome) readsRecord(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/patients/pt-1").sees("Mateo Rivera", "8 years old", "Allergies", "You are the primary care provider")
	adams.follow("Growth").sees("percentile", "2 to 20 years")
	if n := evaluate[int](adams, `document.querySelectorAll(".plot svg").length`); n == 0 {
		t.Error("there is no growth chart")
	}
	adams.follow("Results").sees("usual range", "Vital signs").unfold("Narrow this list").fill("Words in the name", "hemoglobin").press("Show these").sees("Hemoglobin").seesNot("Vital signs Blood", "Glucose")
	adams.follow("Show all").sees("Vital signs")
	adams.follow("Medications").unfold("Narrow this list").fill("Words in the name", "nothing like this").press("Show these").sees("Nothing matches.")
	adams.follow("Visits").sees("Well child visit").follow("Notes").follow("Care team").sees("Dr. Linda Chen").follow("Immunizations")
	adams.follow("Summary").follow("Print").sees("Health problems", "Back to the record").follow("Back to the record")
	adams.follow("Open an app").press("Open").sees("Demo app asks to see a health record", "Mateo Rivera").press("Approve").sees("Latest results")
}

// emergency opens a record, and has it reviewed.
func (c *chrome) emergency(t *testing.T) {
	baker := c.visitor(t, "dr.baker").enter("/").fill("Medical record number", "1002").press(find).follow("Emergency access")
	baker.press("Open the record").sees("Say why").fill("Why this record", "She cannot speak.").tick("This is an emergency").press("Open the record")
	baker.isAt("/patients/pt-2").sees("Sofia Rivera", "emergency")
	c.mailed(t, "grace@example.org", "A record was opened under the emergency rule")
	ana := c.visitor(t, "ana").enter("/staff").follow("Emergency accesses to review").sees("She cannot speak.", "James Baker")
	ana.press("It was justified").sees("Say").fill("What you found", "The ward confirms it.").press("It was justified").seesNot("She cannot speak.")
	baker.open("/emergency").press("End").open("/patients/pt-2").sees("Page not found").seesNot("Sofia")
}

// sponsors has somebody work for a provider, and ends it.
func (c *chrome) sponsors(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/").follow("My staff").sees("Make a code").fill("Name", "Mark Williams").fill("E-mail address", "mark@example.org").press("Make a code")
	code := evaluate[string](adams, `document.querySelector(".say.good [translate=no]").innerText`)
	mark := c.visitor(t, "mark").enter("/sponsored/code").fill("Code", code).press("Go on").open("/role").press("As staff of a provider").sees("Mateo Rivera", "Sofia Rivera")
	mark.follow("Mateo Rivera").isAt("/patients/pt-1").sees("Mateo Rivera")
	adams.open("/sponsored").sees("Mark Williams").press("End").sees("Mark Williams")
	mark.open("/patients/pt-1").sees("Page not found").seesNot("Mateo")
}

// checksRegistration registers with an address that is proven, is confirmed, and goes
// on; another is turned away.
func (c *chrome) checksRegistration(t *testing.T) {
	newton := c.visitor(t, "dr.new").enter("/requests").sees("You are not registered yet").follow("Register as a provider")
	newton.fill("NPI", "1234567890").press("Register").sees("This is not a valid NPI")
	newton.fill("NPI", "1730155060").fill("E-mail at work", "nora@clinic.example").fill("Specialty", "Nephrology").press("Register").sees("Check your e-mail", "nora@clinic.example")
	newton.fill("Code", "12345678").press("Register").sees("This is not the code")
	newton.fill("Code", c.mailedCode(t, "nora@clinic.example")).press("Register").sees("Your registration is being checked")
	newton.open("/").sees("You are not registered yet")

	ana := c.visitor(t, "ana").enter("/staff").follow("Providers to check").sees("Nora Newton", "1730155060", "they entered the code")
	ana.press("Turn this provider away").sees("Say in a few words how you checked it").fill("How you checked it", "The clinic does not know her.").press("Turn this provider away").sees("was turned away")
	c.mailed(t, "nora@clinic.example", "Your registration was not accepted")
	newton.open("/register").fill("NPI", "1730155060").press("Register").sees("Your registration is being checked")
	ana.open("/staff/registrations").fill("How you checked it", "Called the clinic.").press("Confirm this provider").sees("is confirmed")
	c.mailed(t, "dr.new@example.org", "Your registration was confirmed")
	newton.open("/requests").sees("My requests")
}

// callerChanges edits a care team on a caller's word, read back before.
func (c *chrome) callerChanges(t *testing.T) {
	sam := c.visitor(t, "sam").enter("/staff").sees("Find a patient").seesNot("Who did what", "Worklists")
	sam.press(find).sees("Enter the MRN.").fill("Medical record number", "1001").press(find).fill("Name or NPI", "okafor").press("Search").tick("Dr. Samir Okafor")
	sam.press("Add to the care team").sees("Enter how you checked it")
	sam.fill("Who called", "Grace Rivera, mother").fill("How you checked", "birth date and address").fill("What they asked", "that he may see the record")
	sam.press("Add to the care team").sees("Read this to the caller").press("The caller agrees: add").sees("Dr. Samir Okafor is now on the care team")
	c.visitor(t, "dr.okafor").enter("/patients/pt-1").sees("Mateo Rivera", "You are on the care team")
}

// administers connects an account, looks after apps and mails, and searches the log.
func (c *chrome) administers(t *testing.T) {
	c.visitor(t, "noah").enter("/patient").sees("Noah")
	ana := c.visitor(t, "ana").enter("/staff").sees("What waits for you").follow("Apps").sees("demo-public").follow("Register an app")
	ana.fill("Name", "Growth chart").tick("A web app with a secret").fill("Redirect URIs", "https://growth.example.org/callback").press("Register the app").sees("shown only this once")
	ana.follow("Accounts").fill("Account", "1001").press("Find accounts").sees("Grace Rivera").follow("Grace Rivera").sees("Whom it stands for")
	address := ana.at()
	ana.open(address+"/link").fill("MRN of the patient", "1003").press("Find the person").tick("Helen Thompson")
	ana.fill("How you checked", "came with a passport").press("Go on").sees("Connect this account?").press("Connect the account").sees("The account was connected")
	c.visitor(t, "grace").enter("/patient").sees("Ava Thompson")
	c.failedMail(t)
	ana.follow("Worklists").follow("E-mails that did not arrive").sees("Luis Rivera", "not valid").press("Send again").sees("is being sent again")
	ana.follow("Who did what").fill("MRN of the patient", "1003").press("Search the log").sees("Entries, the latest first", "Ava Thompson", "Connected an account")
	ana.fill("MRN of the patient", "none").press("Search the log").sees("There is no patient with this MRN.")
}

// startTasks is a demo that checks its providers, opens records in emergencies, and
// cannot mail one father.
func startTasks(t *testing.T, now func() time.Time) *gateway {
	t.Helper()
	g := startDemoIn(t, t.TempDir(), "127.0.0.1:0", now, func(c *config.Config) {
		c.Policy.CheckProviders, c.Policy.BreakGlass.Enabled, c.Policy.PrivacyEmail = true, true, "privacy@example.org"
	})
	err := g.core.engine.Update(t.Context(), func(tx *engine.Tx) error {
		r, err := tx.Read(fhir.Key{Type: "RelatedPerson", ID: "rp-3"}, engine.Everything)
		if err != nil {
			return err
		}
		p, err := g.core.engine.Prepare(bytes.ReplaceAll(r.JSON, []byte("luis@example.org"), []byte("not an address")))
		if err == nil {
			_, _, err = tx.Update(p, nil)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var bornOn = regexp.MustCompile(`born <span class="nowrap">([^<]+)<`)

// born is when a patient was born, as one types it into a field for dates.
func (c *chrome) born(t *testing.T, patient string) string {
	t.Helper()
	day, err := time.Parse("2 January 2006", found(t, bornOn, c.signedIn(t, "dr.adams").open(c.URL+"/patients/"+patient)))
	if err != nil {
		t.Fatal(err)
	}
	return day.Format("01022006")
}

// failedMail waits until a mail has failed.
func (c *chrome) failedMail(t *testing.T) {
	t.Helper()
	ana := c.signedIn(t, "ana")
	deadline, look := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer look.Stop()
	for !strings.Contains(ana.open(c.URL+"/staff/notices").text, "not valid") {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatal("no mail failed")
		}
	}
}
