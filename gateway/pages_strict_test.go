package main

import (
	"net/url"
	"testing"

	"mypatients/config"
)

// strictTours are the pages that only a site shows which asks for more: people of a
// second issuer, who have to prove anew who they are; guardians who all have to agree,
// and teenagers with them. Its mail server is away.
var strictTours = []tour{
	{"", []pageState{
		{"sign-in", "", does(open("/signin?next=/patient"))},
		{"sign-in-weak", "/patient", does(open(strictSignIn))},
		{"sign-in-once-more", "/patient/requests/:consent", does(open("/patient"), follow("Read and answer"), press("Approve"))},
	}},
	{"grace", []pageState{
		{"request-unchecked", "/patient/requests/:consent", does(open("/patient/requests/{unchecked}"))},
		{"answer-waits", "/patient", does(open("/patient/requests/{waiting}"), press("Approve"))},
		{"request-answered-in-part", "/patient/requests/:consent", does(open("/patient/requests/{waiting}"))},
		{"care-team-not-alone", "/patient/:id/care-team", does(open("/patient/pt-1/care-team?q=baker"), press("Add"))},
		{"invitation-not-sent", "/patient/:id/invitations", does(open("/patient/pt-1/invitations"), fill("E-mail of the provider", "dr.okafor@example.org"), press("Make an invitation"), press("Send"))},
		{"invitation-to-agree", "/patient/:id/invitations", does(open("/patient/pt-1/invitations"))},
	}},
	{"ava", []pageState{
		{"teen-private-together", "/patient/:id/private", does(open("/patient/pt-3/private"))},
	}},
	{"helen", []pageState{
		{"teen-parent-private-together", "/patient/:id/private", does(open("/patient/pt-3/private"))},
	}},
}

// TestPagesOfAStrictSite is TestPages for what only such a site shows.
func TestPagesOfAStrictSite(t *testing.T) {
	withoutRaceDetector(t)
	clock := new(lateClock)
	c := openChrome(t, clock, func() *gateway {
		return startStrict(t, clock.now, func(c *config.Config) {
			c.Policy.Guardians, c.Policy.TeenApproval = "all", "both"
			c.SMTP = config.SMTP{Host: "127.0.0.1", Port: 1, TLS: "none", From: c.SMTP.From}
		})
	})
	h := &household{chrome: c, okafor: c.signedIn(t, "dr.okafor")}
	h.asks(h.okafor, "1001")
	grace := c.signedIn(t, "grace")
	c.made = map[string]string{"waiting": found(t, requestLink, grace.open(c.URL+"/patient"))}
	newton := c.signedIn(t, "dr.new")
	newton.submit(newton.open(c.URL+"/register"), "npi", url.Values{"given": {"Nora"}, "family": {"Newton"}, "npi": {"1730155060"}, "specialty": {"Nephrology"}})
	h.asks(newton, "1002", "yes") // also what is especially private
	c.made["unchecked"] = found(t, ownRequest, newton.open(c.URL+"/requests"))
	fillAlbum(t, c, strictTours)
}
