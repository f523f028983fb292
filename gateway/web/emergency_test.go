package web_test

import (
	"testing"
	"time"

	"mypatients/consent"
)

// A provider opens a record in an emergency; the family reads who and why, and an
// administrator reviews it. Signing out closes the record.
func TestEmergency(t *testing.T) {
	w := newWorld(t, func(c *consent.Config) { c.Policy.BreakGlass.Enabled = true })
	okafor, home := w.as("okafor", "/")
	okafor.get("/emergency").at("/")
	form := home.submit("Find patient", "mrn", "1001").shows(200, "An emergency?").follow("Emergency access")
	form.shows(200, "For the patient with MRN 1001", "The family and the privacy office").hides("Mateo")
	form.submit("Open the record", "sure", "yes").shows(422, "Say why.")
	form.submit("Open the record", "reason", "Unconscious").shows(422, "Confirm that you know")
	okafor.get("/patients/mateo").shows(404)
	record := form.submit("Open the record", "reason", "Unconscious <b>&", "sure", "yes")
	record.at("/patients/mateo").shows(200, "Mateo Rivera", "Asthma", "The record is open until", "Emergency access")
	okafor.get("/").shows(200, "Mateo Rivera", "Emergency access")

	grace, _ := w.as("grace", "/patient")
	grace.get("/patient/mateo/activity").shows(200, "opened the record in an emergency").follow("Emergency accesses, and why").
		shows(200, "Dr. Samir Okafor", "Unconscious <b>&")
	luis, _ := w.as("luis", "/patient")
	luis.get("/patient/sofia/emergencies").shows(404)
	okafor.get("/staff/emergencies").shows(404)
	sam, _ := w.as("sam", "/staff")
	sam.get("/staff/emergencies").shows(404)

	ana, _ := w.as("ana", "/staff")
	review := ana.get("/staff/emergencies").shows(200, "Dr. Samir Okafor", "Mateo Rivera", "Unconscious <b>&", "open now")
	review.submit("It was justified").shows(422, "Say in a few words")
	review.submit("It was justified", "comment", "Seen in the ER").shows(200, "Your review was kept.", "Nothing to review")
	review.submit("It was not justified", "comment", "No").shows(200, "answered in the meantime")
	ana.get("/staff/emergencies?all=1").shows(200, "Justified", "Seen in the ER").submit("End it now").shows(200, "was ended")
	okafor.get("/patients/mateo").shows(404)

	// Ended by the provider, by signing out, and by itself.
	again := func(b *browser) *page {
		return b.get("/").submit("Find patient", "mrn", "1001").follow("Emergency access").submit("Open the record", "reason", "Again", "sure", "yes").shows(200, "Asthma")
	}
	again(okafor)
	okafor.get("/emergency").shows(200, "Open now", "Mateo Rivera").submit("End it now").shows(200, "Your emergency access has ended.")
	okafor.get("/patients/mateo").shows(404)
	again(okafor)
	w.put(`{"resourceType":"Consent","id":"not-okafor","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:x"}],
		"provision":{"type":"deny","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Practitioner/okafor"}}]}}`)
	okafor.get("/emergency").shows(200, "A record that stays closed to you").hides("Mateo")
	w.put(`{"resourceType":"Consent","id":"not-okafor","status":"inactive","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"policy":[{"uri":"urn:x"}]}`)
	okafor.get("/").submit("Sign out")
	okafor, _ = w.as("okafor", "/")
	okafor.get("/patients/mateo").shows(404)
	ana.get("/staff/emergencies").hides("open now")

	// A sign-in of a while ago is not enough; after a new one it goes on.
	w.clock.pass(14 * time.Minute)
	okafor.get("/")
	w.clock.pass(2 * time.Minute)
	stale := okafor.get("/").submit("Find patient", "mrn", "1001").follow("Emergency access").submit("Open the record", "reason", "Late", "sure", "yes")
	stale.shows(403, "Sign in once more")
}

func TestNoEmergencyByDefault(t *testing.T) {
	w := newWorld(t)
	_, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1001").shows(200, "You are not authorized").hides("An emergency?", "Emergency access")
}

// A provider has somebody work for them, who sees what the provider sees and no
// more, until it ends.
func TestSponsored(t *testing.T) {
	w := newWorld(t)
	adams, _ := w.as("adams", "/")
	staff := adams.get("/sponsored").shows(200, "My staff")
	staff.submit("Make a code", "name", "", "email", "newton@example.org").shows(422, "Enter the name")
	staff.submit("Make a code", "name", "Newton", "email", "newton").shows(422, "Check the address")
	offered := staff.submit("Make a code", "name", "Newton", "email", "newton@example.org").shows(200, "Give this code to Newton", "has not used the code yet")
	code := tokenForm.FindString(offered.body)
	newton, stranger := w.as("newton", "/")
	enter := stranger.follow("Enter the code").shows(200, "The provider has given you a code")
	enter.submit("Go on").shows(422, "Enter the code.")
	enter.submit("Go on", "code", "AAAAA-AAAAA-AAAAA-AAAAA").shows(422, "This code does not work")
	enter.submit("Go on", "code", code).at("/working").shows(200, "You now see what your provider sees", "Mateo Rivera", "Sofia Rivera", "Dr. Ruth Adams")
	newton.get("/patients/mateo").shows(200, "Asthma", "You work for a provider who sees it")
	for _, path := range []string{"/", "/requests", "/emergency", "/sponsored", "/staff", "/patient", "/invitation"} {
		newton.get(path).hides("Find patient", "My staff", "Validate")
	}
	adams.get("/sponsored").submit("Still works for me").shows(200, "Confirmed")
	adams.get("/sponsored").submit("End their access").shows(200, "They no longer see your patients")
	newton.get("/patients/mateo").shows(404)
	newton.get("/working").shows(200, "Nobody now", "has ended").hides("Mateo")
}
