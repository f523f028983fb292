package main

import (
	"net/url"
	"regexp"
	"testing"
	"time"

	"mypatients/config"
	"mypatients/consent"
)

// carefulTours are the pages of a site that checks who registers as a provider, and
// of people whom their sign-in service does not know well.
var carefulTours = []tour{
	{"dr.new", []pageState{
		{"register-another-address", "/register", does(open("/register"), fill("NPI", "1730155060"), fill("E-mail at work", "nora@clinic.example"), press("Register"))},
		{"register-code-problem", "/register", does(open("/register"), fill("Code from the e-mail", "12345678"), press("Register"))},
		{"register-code-again", "/register", does(open("/register"), press("Send another code"))},
		{"register-change-address", "/register", does(open("/register"), follow("Use another address"))},
		{"register-code-over", "/register", does(open("/register"), wrongly, wrongly, wrongly, wrongly, wrongly)},
	}},
	{"mark", []pageState{
		{"registration-waits", "/register", does(open("/register"))},
		{"several-roles", "/role", does(open("/role"))},
	}},
	{"ana", []pageState{
		{"worklists-waiting", "/staff", does(open("/staff"))},
		{"registrations-waiting", "/staff/registrations", does(open("/staff/registrations"))},
		{"registrations-problem", "/staff/registrations", does(open("/staff/registrations"), press("Confirm this provider"))},
	}},
	{"dr.adams", []pageState{
		{"patients-recent", "/", does(open("/patients/pt-2"), open("/patients/pt-1"), open("/"))},
		{"record-narrowed", "/patients/:id/:tab", does(open("/patients/pt-1/visits?kind=AMB&from=2020-01-01"))},
		{"record-narrowed-problem", "/patients/:id/:tab", does(open("/patients/pt-1/visits?from=2020-02-02&to=2020-01-01"))},
		{"record-narrowed-empty", "/patients/:id/:tab", does(open("/patients/pt-1/medications?text=nothing+like+this"))},
	}},
	{"sam", []pageState{ // last: the clock moves
		{"signed-out-after-a-while", "/staff", does(open("/staff"), later, open("/staff/patients/1001"))},
		{"back-where-one-was", "/staff/patients/:mrn", does(open("/staff/patients/1001"), func(v *visitor) {
			v.signIn().isAt("/staff/patients/1001").sees("Mateo Rivera")
		})},
	}},
}

// wrongly enters a code that is none.
func wrongly(v *visitor) {
	v.fill("Code from the e-mail", "12345678").press("Register")
}

// later is after a coffee.
func later(v *visitor) { v.clock.put(16 * time.Minute) }

// TestPagesOfACarefulSite is TestPages for what only such a site shows.
func TestPagesOfACarefulSite(t *testing.T) {
	withoutRaceDetector(t)
	clock := new(lateClock)
	c := openChrome(t, clock, func() *gateway {
		return startDemoIn(t, t.TempDir(), "127.0.0.1:0", clock.now, func(c *config.Config) { c.Policy.CheckProviders = true })
	})
	guard := c.core.guard
	// Mark is a father, and asks to be a provider.
	mark := c.signedIn(t, "mark")
	form := mark.open(c.URL + "/register")
	mark.submit(form, "npi", url.Values{"given": {"Mark"}, "family": {"Williams"}, "npi": {"1356405203"}, "email": {"mark@practice.example"}, "specialty": {"Cardiology"}, "organization": {"Longwood Heart"}})
	code := mark.open(c.URL + "/register")
	mark.submit(code, "code", url.Values{"code": {c.mailedCode(t, "mark@practice.example")}, "action": {"prove"}})
	luis := c.signedIn(t, "luis")
	luis.submit(luis.open(c.URL+"/register"), "npi", url.Values{"given": {"Luis"}, "family": {"Rivera"}, "npi": {"1245319599"}, "email": {"luis@example.org"}})
	issuer := c.URL + "/demo-idp"
	if _, err := guard.LinkAccount(t.Context(), issuer, "mark", "", "", consent.Link{Role: "staff", Person: "Practitioner/pr-sam"}); err != nil {
		t.Fatal(err)
	}
	last := len(carefulTours) - 1
	fillAlbum(t, c, carefulTours[:last])
	fillAlbum(t, c, carefulTours[last:])
}

var codeOfMail = regexp.MustCompile(`\d{4} \d{4}`)

// mailedCode waits for the code that is mailed to an address.
func (c *chrome) mailedCode(t *testing.T, address string) string {
	t.Helper()
	c.mailed(t, address, "Your code")
	code := ""
	for _, m := range c.mailbox.Mails() {
		if code == "" && len(m.To) == 1 && m.To[0] == address && m.Subject == "Your code" {
			code = codeOfMail.FindString(m.Text) // the newest
		}
	}
	if code == "" {
		t.Fatalf("no code was mailed to %s", address)
	}
	return code
}
