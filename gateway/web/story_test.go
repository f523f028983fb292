package web_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html/atom"
)

var tokenForm = regexp.MustCompile(`[0-9A-Z]{5}(-[0-9A-Z]{5})+`)

// A provider asks, the mother approves part of it, the provider sees that part;
// the mother stops it, and it is over at once.
func TestRequestAndApproval(t *testing.T) {
	w := newWorld(t)
	okafor, home := w.as("okafor", "/")
	home.at("/").shows(200, "Patient Selection", "Validate a Token", "Nobody yet")
	result := home.submit("Find patient", "mrn", "1001")
	result.shows(200, "You are not authorized to view this record.", "You searched for MRN 1001").hides("Mateo", "Rivera")
	ask := result.follow("Request non-PCP access").shows(200, "For the patient with MRN 1001")
	ask.submit("Request access", "what", "parts").shows(422, "Tick at least one part")
	ask.submit("Request access", "span", "date", "date", "2001-01-01").shows(422, "enter a date that is not over")
	ask.submit("Request access", "part", "results").shows(422, "You ticked some parts.")
	ask.submit("Request access", "span", "6", "date", w.clock.Now().AddDate(0, 1, 0).Format(time.DateOnly)).shows(422, "You entered a date.")
	sent := ask.submit("Request access", "span", "6", "reason", "A heart murmur <b>&")
	sent.at("/requests").shows(200, "Your request was sent to the family.", "Waiting for the family", "A heart murmur <b>&", "The patient with MRN 1001").hides("Mateo")
	okafor.get("/").submit("Find patient", "mrn", "1001").shows(200, "You have already asked")
	okafor.get("/patients/mateo").shows(404, "There is no such page")

	grace, family := w.as("grace", "/patient")
	family.at("/patient").shows(200, "A request is waiting for you", "Dr. Samir Okafor", "A heart murmur <b>&", "Mateo Rivera", "Sofia Rivera")
	request := family.follow("Read and answer").shows(200, "Who is asking", "The whole record", "Information marked as especially private")
	request.submit("Approve this much", "part", "").shows(422, "Tick at least one part")
	request.submit("Approve this much", "date", w.clock.Now().AddDate(0, 1, 0).Format(time.DateOnly)).shows(422, "You entered a date.")
	done := request.submit("Approve this much", "part", "problems", "span", "1")
	done.at("/patient").shows(200, "Dr. Samir Okafor can now see the record").hides("Read and answer")
	request.submit("Approve").shows(200, "answered in the meantime", "It was approved")

	record := okafor.get("/").submit("Find patient", "mrn", "1001").at("/patients/mateo")
	record.shows(200, "Mateo Rivera", "8 years old", "Asthma", "The family approved your request")
	okafor.get("/patients/mateo/results").hides("Hemoglobin")
	okafor.get("/requests").shows(200, "Approved", "Mateo Rivera")
	okafor.get("/").shows(200, "Recent", "Approved by the family")

	stop := grace.get("/patient/mateo/access").shows(200, "Approved by you", "Dr. Samir Okafor", "Care team", "Dr. Mei Chen").follow("Stop access")
	stop.shows(200, "Stop the access of Dr. Samir Okafor?").submit("Stop access").shows(200, "can no longer see the record")
	okafor.get("/patients/mateo").shows(404)
	okafor.get("/requests").shows(200, "Stopped by the family")
	grace.get("/patient/mateo/activity").shows(200, "Dr. Samir Okafor", "looked at", "you approved it", "searched for this patient, was refused", "tried to open the record, was refused")
	grace.get("/patient/mateo/activity?who=" + url.QueryEscape("Grace Tester")).hides("looked at health problems")
}

func TestDeclineAndWithdraw(t *testing.T) {
	w := newWorld(t)
	ask := func(b *browser, mrn string) *page {
		return b.get("/").submit("Find patient", "mrn", mrn).follow("Request non-PCP access").submit("Request access").shows(200, "Your request was sent")
	}
	okafor, _ := w.as("okafor", "/")
	ask(okafor, "1002").submit("Withdraw").shows(200, "Your request was withdrawn", "Withdrawn by you")
	ask(okafor, "1002")
	grace, _ := w.as("grace", "/patient")
	grace.get("/patient").follow("Read and answer").submit("Decline").shows(200, "You declined")
	okafor.get("/requests").shows(200, "Declined")

	luis, _ := w.as("luis", "/patient")
	luis.get("/patient").hides("Sofia")
	for _, path := range []string{"/patient/sofia/access", "/patient/sofia/care-team", "/patient/sofia/invitations", "/patient/sofia/activity", "/patients/sofia", "/patient/nobody/access"} {
		luis.get(path).shows(404, "There is no such page")
	}
}

// What Patient Selection answers.
func TestSelection(t *testing.T) {
	w := newWorld(t)
	okafor, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1005").shows(200, "This patient has no portal account, so nobody can approve a request online.").hides("Request non-PCP access", "Lily")
	home.submit("Find patient", "mrn", "9").shows(200, "No patient found")
	if p := home.submit("Find patient").shows(422, "Enter the MRN."); !strings.HasPrefix(p.title(), "Please check: ") {
		t.Errorf("the title does not say that something is wrong: %q", p.title())
	}
	byName := okafor.get("/?by=name")
	byName.submit("Find patient", "family", "Rivera").shows(422, "Enter the first name.", "Enter the full date of birth, up to today.")
	born := time.Date(w.clock.Now().Year()-5, 1, 1, 0, 0, 0, 0, time.UTC)
	byName.submit("Find patient", "family", "rivera", "given", "sofia", "birthdate", born.Format(time.DateOnly)).
		shows(200, "You are not authorized", "sofia rivera, born 1 January")
	_, adams := w.as("adams", "/?by=name")
	adams.submit("Find patient", "family", "Rivera", "given", "Sofia", "birthdate", born.Format("1/2/2006")).at("/patients/sofia").shows(200, "You are the primary care provider")
}

// A provider who has never been here gets a token, signs in, registers, comes
// back to the token and sees the record.
func TestInvitation(t *testing.T) {
	w := newWorld(t)
	grace, _ := w.as("grace", "/patient")
	form := grace.get("/patient/mateo/invitations").shows(200, "None yet")
	made := form.submit("Make an invitation", "span", "6").shows(200, "Your invitation is ready", "MRN 1001", "only this once")
	token := tokenForm.FindString(made.body)
	if token == "" {
		t.Fatalf("no token on the page:\n%s", made.text())
	}
	grace.get("/patient/mateo/invitations").shows(200, "Not used yet").hides(token)

	newton, page := w.as("newton", "/invitation?token="+token)
	page = page.shows(403, "You are not registered yet").follow("Register as a provider").shows(200, "Register as a provider")
	page = page.submit("Register", "given", "Nora", "family", "Newton", "npi", "1234567890")
	page.shows(422, "This is not a valid NPI")
	page = page.submit("Register", "npi", "1234567893", "specialty", "Nephrology").at("/invitation").shows(200, "You are registered")
	form2, _ := page.form("Submit")
	if got := filled(form2).Get("token"); got != token {
		t.Errorf("after registration the token is %q, want %q", got, token)
	}
	page.submit("Submit", "mrn", "1002").shows(422, "This token and MRN do not match an open invitation.")
	record := page.submit("Submit", "token", strings.ToLower(token), "mrn", "1001").at("/patients/mateo").shows(200, "Your token was accepted", "Mateo Rivera")
	record.shows(200, "The family invited you")
	newton.get("/invitation").submit("Submit", "token", token, "mrn", "1001").shows(422, "do not match an open invitation")
	newton.get("/").submit("Find patient", "mrn", "1001").at("/patients/mateo")

	grace.get("/patient/mateo/invitations").shows(200, "Used", "Nora Newton")
	grace.get("/patient/mateo/access").shows(200, "Invited by you", "Nora Newton")
	grace.get("/patient/sofia/invitations").submit("Make an invitation")
	grace.get("/patient/sofia/invitations").submit("Cancel").shows(200, "The invitation was cancelled", "Cancelled")
}

func TestCareTeam(t *testing.T) {
	w := newWorld(t)
	okafor, _ := w.as("okafor", "/")
	okafor.get("/patients/sofia").shows(404)
	grace, _ := w.as("grace", "/patient")
	team := grace.get("/patient/sofia/care-team").shows(200, "Nobody is on the care team yet")
	team.submit("Search", "q", "zzz").shows(200, "Nobody new was found for “zzz”")
	team.submit("Search", "q", "okafor").submit("Add").shows(200, "Dr. Samir Okafor is now on the care team")
	okafor.get("/patients/sofia").shows(200, "You are on the care team")
	grace.get("/patient/sofia/care-team").follow("Remove").submit("Remove").shows(200, "no longer on the care team")
	okafor.get("/patients/sofia").shows(404)
}

// The desk changes a care team on a caller's word, and sees nothing clinical.
func TestStaff(t *testing.T) {
	w := newWorld(t)
	sam, home := w.as("sam", "/")
	byName := home.at("/staff").follow("Name and date of birth").submit("Find patient").shows(422, "Enter the last name", "Enter the first name", "Enter the full date of birth")
	born := fmt.Sprintf("%d-01-01", w.clock.Now().Year()-8)
	byName.submit("Find patient", "family", "Rivera", "given", "Mateo", "birthdate", "2001-01-01").shows(422, "No patient found").hides("1001")
	byName.submit("Find patient", "family", "rivera", "given", "mateo", "birthdate", born).at("/staff/patients/1001").shows(200, "Mateo Rivera")
	w.put(`{"resourceType":"Patient","id":"twin","identifier":[{"type":{"coding":[{"code":"MR"}]},"system":%q,"value":"1099"}],"name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":%q}`, mrnSystem, born)
	w.put(`{"resourceType":"Patient","id":"unnumbered","name":[{"family":"Rivera","given":["Mateo"]}],"birthDate":%q}`, born)
	byName.submit("Find patient", "family", "Rivera", "given", "Mateo", "birthdate", born).shows(200, "Which of them?", "1001", "1099").hides("unnumbered")
	home.at("/staff").submit("Find patient", "mrn", "77").shows(422, "There is no patient with this MRN")
	patient := home.submit("Find patient", "mrn", "1002").shows(200, "Sofia Rivera", "Nobody. Search above")
	found := patient.submit("Search", "q", "okafor")
	found.submit("Add", "provider", "okafor").shows(422, "Enter how you checked it", "Enter what they asked for")
	found.submit("Add", "caller", "Grace, mother", "check", "birth date", "asked", "add Okafor").shows(422, "Choose whom to add")
	sure := found.submit("Add", "provider", "okafor", "caller", "Grace, mother", "check", "birth date", "asked", "add Okafor")
	sure.shows(200, "Read this to the caller", "I put Dr. Samir Okafor on the care team of Sofia Rivera", "Nothing has changed yet", "Grace, mother")
	again := sure.submit("Change something").shows(200, "Whom it is about")
	if form, _ := again.form("Add to the care team"); filled(form).Get("caller") != "Grace, mother" || filled(form).Get("provider") != "okafor" {
		t.Errorf("what was typed is lost: %v", filled(form))
	}
	done := sure.submit("The caller agrees")
	done.shows(200, "Read back", "Dr. Samir Okafor is now on the care team")
	okafor, _ := w.as("okafor", "/")
	okafor.get("/patients/sofia").shows(200, "Sofia Rivera")
	done.submit("Remove", "provider", "okafor", "caller", "Grace, mother", "check", "birth date", "asked", "remove Okafor").
		shows(200, "I take Dr. Samir Okafor off the care team").submit("The caller agrees").shows(200, "is no longer on the care team")
	okafor.get("/patients/sofia").shows(404)
	sam.get("/patients/sofia").shows(404)

	invite := sam.get("/staff/patients/1002").follow("Make an invitation token").shows(200, "Sofia Rivera")
	invite.submit("Make an invitation").shows(422, "Enter the name", "Enter how you checked it", "Enter what they asked for")
	invite.submit("Make an invitation", "caller", "Grace, mother", "check", "birth date", "asked", "let a doctor in", "email", "none").shows(422, "does not look like an e-mail address")
	made := invite.submit("Make an invitation", "caller", "Grace, mother", "check", "birth date", "asked", "let a doctor in")
	made.shows(200, "Read the token to the caller", "MRN 1002").follow("The caller has it").shows(200, "Find a provider to add")
	okafor.get("/invitation").submit("Submit", "token", tokenForm.FindString(made.body), "mrn", "1002").at("/patients/sofia").shows(200, "Your token was accepted")
	grace, _ := w.as("grace", "/patient/sofia/access")
	grace.get("/patient/sofia/access").shows(200, "Dr. Samir Okafor")
	sam.get("/requests").shows(404)
}

func TestRecord(t *testing.T) {
	w := newWorld(t)
	chen, _ := w.as("chen", "/")
	for tab, words := range map[string][]string{
		"":               {"Asthma", "Peanut", "Severe", "98 / 60 mmHg", "Albuterol", "Well child visit", "since February 2021"},
		"/results":       {"Hemoglobin", "16.1 g/dL", "High", "11 – 14 g/dL", "All 4 results"},
		"/growth":        {"Height", "108.3 cm"},
		"/medications":   {"Albuterol", "Two puffs"},
		"/immunizations": {"MMR", "4 March 2019"},
		"/visits":        {"Well child visit", "Clinic visit"},
		"/notes":         {"Visit note", "All well<script>alert(1)</script>"},
		"/care-team":     {"Mei Chen"},
		"/print":         {"Asthma", "Hemoglobin", "MMR"},
	} {
		p := chen.get("/patients/mateo"+tab).shows(200, append(words, "Mateo Rivera", "You are on the care team")...)
		if tab == "/growth" && find(p.doc, atom.Svg).Data != "svg" {
			t.Error("growth draws nothing")
		}
	}
	chen.get("/patients/mateo/nonsense").shows(404)
	chen.get("/patients/sofia").shows(404)
	chen.get("/patients/%2e%2e").shows(404)
	chen.get("/patient").shows(404)
	_, own := w.as("ava", "/patients/ava")
	own.shows(200, "This is your own record").hides("Open an app")
}
