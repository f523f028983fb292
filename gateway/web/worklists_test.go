package web_test

import (
	"encoding/csv"
	"net/url"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/smart"
)

// Worklists and what they lead to are an administrator's: for the desk, providers and
// families there are no such pages, whatever they send.
func TestWorklistsAreForAdministrators(t *testing.T) {
	w := newWorld(t)
	_, stranger := w.as("newton", "/")
	stranger.shows(403)
	ana, _ := w.as("ana", "/staff")
	account := strings.TrimSuffix(ana.get("/staff/unlinked").follow("Newton").url.Path, "/link")
	forms := map[string]url.Values{
		"/staff/registrations": {"action": {"right"}, "registration": {"x"}, "check": {"seen"}},
		"/staff/notices":       {"action": {"dismiss"}, "notice": {"n"}},
		"/staff/log":           {"mrn": {"1001"}},
		account + "/link":      {"action": {"link"}, "q": {"1001"}, "link": {"proxy RelatedPerson/grace-mateo"}, "check": {"me"}},
	}
	for _, login := range []string{"sam", "adams", "grace", "ava"} {
		b, page := w.as(login, "/signin")
		for _, path := range []string{"/staff/registrations", "/staff/unlinked", "/staff/notices", "/staff/log", "/staff/unclear", account + "/link"} {
			b.get(path).shows(404).hides("Newton", "Worklists")
		}
		for path, form := range forms {
			b.post(page, path, form).shows(404).hides("Newton", "Worklists", "Mateo Rivera, ")
		}
		b.post(page, "/staff/log", url.Values{"action": {"file"}}).shows(404)
	}
	_, desk := w.as("sam", "/staff")
	desk.shows(200, "Find a patient").hides("Providers to check", "Accounts to connect", "Who did what")
	ana.get("/staff").shows(200, "Find a patient", "Accounts to connect", "1 waiting", "None")
	// Without the form's token nothing is done.
	bad := ana.get("/staff/log")
	bad.body = strings.ReplaceAll(bad.body, `name="csrf" value="`, `name="csrf" value="X`)
	ana.post(bad, account+"/link", forms[account+"/link"]).shows(403)
	w.signedIn("newton").get("/patient").shows(403)
}

// signedIn is somebody's browser.
func (w *world) signedIn(who string) *browser {
	w.t.Helper()
	b, _ := w.as(who, "/signin")
	return b
}

// An administrator connects an account to a guardian when they have checked that it
// is theirs, and reads all of it once more before.
func TestLinkAccounts(t *testing.T) {
	w := newWorld(t)
	newton, _ := w.as("newton", "/patient")
	newton.get("/patient/mateo/access").shows(403)
	ana, home := w.as("ana", "/staff")
	form := home.follow("Accounts to connect").shows(200, "newton@example.org", "just now").follow("Newton Tester")
	form.shows(200, "Signs in at", "Test", "newton", "alone it proves nothing")
	form.submit("Find the person").shows(422, "Enter an MRN or an NPI")
	form.submit("Find the person", "q", "77").shows(200, "Nobody was found")
	form.submit("Find the person", "q", "newton@example.org").shows(200, "Nobody was found")
	found := form.submit("Find the person", "q", "1001").shows(200, "parent or guardian of Mateo Rivera", "(PRN)", "One account stands for them already").hides("the patient, born")
	found.submit("Go on").shows(422, "Choose one of these people", "Say in a few words how you checked it")
	found.submit("Go on", "link", "proxy RelatedPerson/luis-mateo", "check", strings.Repeat("x", 501)).shows(422, "fewer than 500 characters")
	found.submit("Go on", "link", "proxy RelatedPerson/both-ava", "check", "license").shows(422, "Choose one of these people")
	sure := found.submit("Go on", "link", "proxy RelatedPerson/luis-mateo", "check", "came with a <license>")
	sure.shows(200, "Connect this account?", "Newton Tester", "parent or guardian of Mateo Rivera", "came with a <license>")
	newton.get("/patient").shows(403)
	again := sure.submit("Change something").shows(200)
	if f, _ := again.form("Go on"); filled(f).Get("link") != "proxy RelatedPerson/luis-mateo" || filled(f).Get("check") != "came with a <license>" {
		t.Errorf("what was typed is lost: %v", filled(f))
	}
	done := sure.submit("Connect the account").shows(200, "The account was connected", "RelatedPerson/luis-mateo", "What was checked", "came with a <license>")
	newton.get("/patient").shows(200, "Mateo Rivera").hides("Sofia")
	sure.submit("Connect the account").shows(422, "stands for this person already")
	ana.get("/staff/unlinked").shows(200, "Nobody waits")
	ana.get("/staff/log").submit("Search the log", "mrn", "1001", "kind", "accounts").shows(200, "Connected an account", "Ana Tester")
	_, grace := w.as("grace", "/patient/mateo/activity")
	grace.hides("<license>", "license")

	done.submit("Remove the link", "link", "proxy RelatedPerson/luis-mateo", "sure", "yes").shows(200, "The link was removed")
	newton.get("/patient").shows(403)

	// Forged: people who are not to be chosen, a role that is not theirs, one's own account.
	path := done.url.Path + "/link"
	for _, link := range []string{"patient Patient/mateo", "admin Practitioner/sam", "staff Practitioner/sam", "provider Practitioner/sam", "proxy Patient/ava", "patient RelatedPerson/both-ava", "proxy RelatedPerson/none", "x"} {
		ana.post(home, path, url.Values{"action": {"link"}, "q": {"1001"}, "link": {link}, "check": {"me"}}).shows(422, "Choose one of these people")
	}
	ana.post(home, path, url.Values{"action": {"nonsense"}}).shows(404)
	own := ana.get("/staff/accounts").submit("Find accounts", "q", "ana@example.org").follow("Ana Tester").hides("Connect to a person")
	ana.post(home, own.url.Path+"/link", url.Values{"action": {"link"}, "q": {"1001"}, "link": {"proxy RelatedPerson/grace-mateo"}, "check": {"me"}}).shows(422, "Another administrator has to connect it")
	ana.get("/staff/accounts/nobody/link").shows(404)

	// A teenager has a login of their own.
	ava := ana.get(path).submit("Find the person", "q", "1003").shows(200, "the patient, born", "parent or guardian of Ava Thompson")
	ava.submit("Go on", "link", "patient Patient/ava", "check", "school ID").submit("Connect the account").shows(200, "The account was connected")
	newton.get("/patient").shows(200, "Ava")
}

const goodNPI = "1245319599"

// registers has newton register as a provider.
func (w *world) registers() (*browser, *page) {
	w.t.Helper()
	b, page := w.as("newton", "/register")
	code := page.submit("Register", "given", "Nora", "family", "Newton", "npi", goodNPI, "email", "nora@clinic.example").shows(200, "Check your e-mail")
	return b, code.submit("Register", "code", w.code())
}

// A provider who registered is confirmed or turned away, once.
func TestRegistrations(t *testing.T) {
	w := newWorld(t)
	newton, in := w.registers()
	in.shows(200, "You are registered")
	_, home := w.as("ana", "/staff")
	list := home.shows(200, "1 waiting").follow("Providers to check").shows(200, "Nora Newton", goodNPI, "nora@clinic.example", "Newton Tester", "Families read that nobody has checked them")
	list.submit("Confirm this provider").shows(422, "Say in a few words how you checked it")
	list.submit("Confirm this provider", "check", "Called the clinic").shows(200, "Nora Newton is confirmed", "Nobody waits")
	list.submit("Turn this provider away", "check", "No").shows(200, "Somebody else has done this already")
	_, team := w.as("grace", "/patient/sofia/care-team")
	team.submit("Search", "q", "Newton").shows(200, "Nora Newton").hides("Says they are")
	newton.get("/").shows(200, "Patient Selection")
	home.b.get("/staff/log").submit("Search the log", "kind", "accounts").shows(200, "Confirmed a provider", "Registered as a provider")
}

func TestRegistrationTurnedAway(t *testing.T) {
	w := newWorld(t)
	newton, _ := w.registers()
	newton.get("/").shows(200, "Patient Selection")
	ana, _ := w.as("ana", "/staff")
	ana.get("/staff/registrations").submit("Turn this provider away", "check", "The clinic does not know them").shows(200, "was turned away")
	newton.get("/").shows(403)
	_, team := w.as("grace", "/patient/sofia/care-team")
	team.submit("Search", "q", "Newton").shows(200, "Nobody new was found")
	ana.get("/staff/unlinked")
	account := ana.get("/staff/accounts").submit("Find accounts", "q", "newton").follow("Newton Tester")
	account.shows(200, "sees nothing", "Turned away as a provider: The clinic does not know them")
	_, again := w.registers() // the number is free for whose it is
	again.shows(200, "You are registered")
}

// Where the site wants it, who registers is no provider before they are confirmed.
func TestRegistrationWaits(t *testing.T) {
	w := newWorld(t, func(c *consent.Config) { c.Policy.CheckProviders = true })
	newton, in := w.registers()
	in.shows(200, "Your registration is being checked")
	newton.get("/").shows(403)
	newton.get("/register").shows(200, "Your registration is being checked")
	newton.post(in, "/register", url.Values{"given": {"N"}, "family": {"N"}, "npi": {"1679576722"}, "email": {"n@example.org"}}).shows(422)
	_, team := w.as("grace", "/patient/sofia/care-team")
	team.submit("Search", "q", "Newton").shows(200, "Nobody new was found")
	ana, _ := w.as("ana", "/staff")
	ana.get("/staff/unlinked").shows(200, "Nobody waits")
	ana.get("/staff/registrations").shows(200, "They see nothing before you confirm them").submit("Confirm this provider", "check", "Called").shows(200, "is confirmed")
	newton.get("/").shows(200, "Patient Selection")

	// Nobody confirms themself.
	account := ana.get("/staff/accounts").submit("Find accounts", "q", "ana@example.org").follow("Ana").url.Path
	if _, err := w.guard.Register(t.Context(), strings.TrimPrefix(account, "/staff/accounts/"), consent.Registration{Given: "Ana", Family: "Admin", NPI: "1679576722", Email: "ana@example.org"}); err != nil {
		t.Fatal(err)
	}
	ana.get("/staff/registrations").submit("Confirm this provider", "check", "I know myself").shows(422, "for a colleague to decide on")
}

// The log is searched by patient, person, days, kind and outcome; the search is in it.
func TestLog(t *testing.T) {
	w := newWorld(t)
	adams, _ := w.as("adams", "/")
	adams.get("/patients/mateo").shows(200)
	okafor, _ := w.as("okafor", "/")
	okafor.get("/patients/mateo").shows(404)
	ana, home := w.as("ana", "/staff")
	form := home.follow("Who did what").shows(200, "With nothing entered you see the latest entries")
	form.submit("Search the log").shows(200, "Adams Tester", "Opened", "Mateo Rivera", "MRN 1001", "127.0.0.1")
	form.submit("Search the log", "mrn", "77").shows(422, "There is no patient with this MRN")
	form.submit("Search the log", "who", "Nobody Known").shows(422, "No account and no app is called that")
	form.submit("Search the log", "from", "soon", "to", "1/2").shows(422, "Enter a day")
	form.submit("Search the log", "from", "2027-03-02", "to", "2027-03-01").shows(422, "This day is before the first one")
	form.submit("Search the log", "from", "2000-03-02", "to", "2001-03-01").shows(200, "Nothing was found")
	several := form.submit("Search the log", "who", "tester").shows(422, "Several people are called that", "adams@example.org", "okafor@example.org")
	form.submit("Search the log", "who", "adams", "mrn", "1001", "kind", "looked").shows(200, "Opened", "Adams").hides("Refused", "Okafor")
	form.submit("Search the log", "who", "okafor", "outcome", "refused").shows(200, "Refused").hides("Adams")
	form.submit("Search the log", "who", "adams", "outcome", "refused").shows(200, "Nothing was found")
	form.submit("Search the log", "who", "growth").shows(422)
	w.app("launch/patient openid patient/*.rs")
	form.submit("Search the log", "who", "growth").shows(200, "Nothing was found")
	radio := strings.Split(several.body, `name="login" value="`)[1]
	several.submit("Search the log", "login", radio[:strings.IndexByte(radio, '"')]).shows(200)

	// Pages go on where the last ended.
	for range 60 {
		ana.get("/staff/patients/1002")
	}
	page := form.submit("Search the log", "mrn", "1002").shows(200, "Sofia Rivera", "Older entries")
	older := page.submit("Older entries").shows(200)
	if n := strings.Count(page.body, "<tr>") + strings.Count(older.body, "<tr>"); n < 61 {
		t.Errorf("two pages have %d entries", n)
	}
	ana.post(page, "/staff/log", url.Values{"mrn": {"1002"}, "cursor": {"forged"}}).shows(422)
	form.submit("Search the log", "kind", "log").shows(200, "Searched this log")
	_, family := w.as("grace", "/patient/mateo/activity")
	family.shows(200, "Dr. Sam Porter", "looked at who looked")
}

// What is found is saved as a table, in which nothing is a formula.
func TestLogAsFile(t *testing.T) {
	w := newWorld(t)
	id, err := w.guard.LinkAccount(t.Context(), "https://idp.test", "evil", "=HYPERLINK(\"x\")", "", consent.Link{Role: smart.Provider, Person: "Practitioner/adams"})
	if err != nil {
		t.Fatal(err)
	}
	who, err := w.guard.Identity(t.Context(), id, smart.Provider)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.guard.Patient(t.Context(), consent.Caller{Grant: consent.Portal(who, "s"), Address: "@1"}, "mateo"); err != nil {
		t.Fatal(err)
	}
	ana, _ := w.as("ana", "/staff")
	found := ana.get("/staff/log").submit("Search the log", "mrn", "1001")
	saved := found.submit("Save as a file")
	if saved.status != 200 || saved.header.Get("Content-Disposition") != `attachment; filename="log.csv"` || saved.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %v", saved.status, saved.header)
	}
	rows, err := csv.NewReader(strings.NewReader(saved.body)).ReadAll()
	if err != nil || len(rows) < 3 {
		t.Fatalf("%v, %v", rows, err)
	}
	seen := false
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("%q is a formula", cell)
			}
			seen = seen || cell == `'=HYPERLINK("x")`
		}
	}
	if !seen {
		t.Errorf("the row is not there: %v", rows)
	}
	ana.get("/staff/log").submit("Search the log", "kind", "log").shows(200, "Saved this log as a file")
	_, family := w.as("grace", "/patient/mateo/activity")
	family.shows(200, "Dr. Sam Porter", "looked at who looked")
}

// A consent that nobody here understands is listed with whose it is.
func TestUnclearConsents(t *testing.T) {
	w := newWorld(t)
	ana, home := w.as("ana", "/staff")
	home.follow("Decisions that cannot be read").shows(200, "All can be read")
	w.put(`{"resourceType":"Consent","id":"odd","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/mateo"},"dateTime":"2025-04-05","modifierExtension":[{"url":"urn:x","valueBoolean":true}],"policyRule":{"text":"x"},"provision":{"type":"deny"}}`)
	ana.get("/staff").shows(200, "1 waiting").follow("Decisions that cannot be read").shows(200, "Mateo Rivera", "1001", "5 April 2025", "Not understood")
}

// The review of an emergency leads to what was looked at, and keeps what was typed.
func TestEmergencyReviewIsComplete(t *testing.T) {
	w := newWorld(t, func(c *consent.Config) { c.Policy.BreakGlass.Enabled = true })
	_, home := w.as("okafor", "/")
	home.submit("Find patient", "mrn", "1001").follow("Emergency access").submit("Open the record", "reason", "Unconscious", "sure", "yes").shows(200)
	_, desk := w.as("ana", "/staff")
	review := desk.shows(200, "1 waiting").follow("Emergency accesses to review").shows(200, "Unconscious")
	review.submit("See what they looked at").shows(200, "Who did what", "Mateo Rivera", "Opened a record in an emergency", "Searched", "Okafor")
	long := strings.Repeat("x", 1100)
	bad := review.submit("It was justified", "comment", long).shows(422, "fewer than 500 characters")
	if f, _ := bad.form("It was justified"); filled(f).Get("comment") != long {
		t.Error("what was typed is lost")
	}
}

// The desk's errors are in place and keep what was typed.
func TestStaffErrorsInPlace(t *testing.T) {
	w := newWorld(t)
	sam, _ := w.as("sam", "/staff")
	found := sam.get("/staff/patients/1002?q=okafor").shows(200, "Okafor")
	long := strings.Repeat("x", 600)
	bad := found.submit("Add", "provider", "okafor", "caller", long, "check", "birth date", "asked", "add").shows(422, "fewer than 500 characters")
	if f, _ := bad.form("Add"); filled(f).Get("caller") != long || filled(f).Get("provider") != "okafor" {
		t.Error("what was typed is lost")
	}
	word := []string{"caller", "Grace", "check", "birth date", "asked", "remove"}
	sure := found.submit("Remove", append(word, "provider", "okafor")...).shows(200, "Read this to the caller")
	sure.submit("The caller agrees").shows(422, "This cannot be done any more")
	sam.post(found, "/staff/patients/1002", url.Values{"action": {"add-sure"}, "provider": {"okafor"}}).shows(422, "Enter how you checked it")
	sam.post(found, "/staff/patients/1002", url.Values{"action": {"nonsense"}, "provider": {"okafor"}, "caller": {"x"}, "check": {"x"}, "asked": {"x"}}).shows(422, "Choose whom")
	sam.post(found, "/staff/patients/77", url.Values{"action": {"add-sure"}}).shows(404)
	for _, login := range []string{"okafor", "grace"} {
		b, page := w.as(login, "/signin")
		b.post(page, "/staff/patients/1002", url.Values{"action": {"add-sure"}, "provider": {"okafor"}, "caller": {"x"}, "check": {"x"}, "asked": {"x"}}).shows(404)
	}
}
