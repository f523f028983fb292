package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/config"
	"mypatients/fhir/engine"
	"mypatients/gateway/demo"
)

// startScene starts Chromium and a demo in which things have happened, so that
// every page has something to show: requests, accesses, invitations, emergencies,
// staff of a provider, and apps. Reason is what people write where they may.
func startScene(t *testing.T, reason string, before func(*gateway)) *chrome {
	t.Helper()
	clock := new(lateClock)
	c := openChrome(t, clock, func() *gateway {
		return startDemoIn(t, t.TempDir(), "127.0.0.1:0", clock.now, func(c *config.Config) {
			c.Policy.BreakGlass.Enabled, c.Policy.PrivacyEmail, c.Policy.KeepGuardianGrants = true, "privacy@example.org", true
		})
	})
	if before != nil {
		before(c.gateway)
	}
	c.made = map[string]string{}
	c.happen(t, reason)
	return c
}

var (
	handleLink  = regexp.MustCompile(`href="/(?:requests/new|emergency)\?patient=([^"]+)"`)
	requestLink = regexp.MustCompile(`href="/patient/requests/([^"]+)"`)
	stopLink    = regexp.MustCompile(`href="/patient/pt-2/access/([^"]+)"`)
	ownRequest  = regexp.MustCompile(`name="request" value="([^"]+)"`)
	accountLink = regexp.MustCompile(`href="/staff/accounts/([^"]+)"`)
	tokenShown  = regexp.MustCompile(`class="unseen">([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})<`)
	codeShown   = regexp.MustCompile(`translate="no">([^<]+)<`)
)

// happen plays the scene, without Chromium.
func (c *chrome) happen(t *testing.T, reason string) {
	t.Helper()
	okafor, adams := c.signedIn(t, "dr.okafor"), c.signedIn(t, "dr.adams")
	handle := func(b *browser, mrn string) string {
		return found(t, handleLink, b.submit(b.open(c.URL+"/"), "mrn", url.Values{"mrn": {mrn}}))
	}
	ask := func(who *browser, mrn string) {
		form := who.open(c.URL + "/requests/new?patient=" + handle(who, mrn))
		who.submit(form, "reason", url.Values{"reason": {reason}, "part": nil, "private": nil, "confidential": nil})
	}
	grace := c.signedIn(t, "grace")
	ask(okafor, "1002")
	answer := grace.open(c.URL + "/patient/requests/" + found(t, requestLink, grace.open(c.URL+"/patient")))
	grace.submit(answer, "part", url.Values{"action": {"less"}, "what": {"parts"}, "part": {"problems", "results"}, "private": nil})
	ask(okafor, "1001")
	c.made["waiting"] = found(t, requestLink, grace.open(c.URL+"/patient"))
	c.made["approved"] = found(t, stopLink, grace.open(c.URL+"/patient/pt-2/access"))
	okafor.open(c.URL + "/patients/pt-2")
	baker := c.signedIn(t, "dr.baker")
	ask(baker, "1001")
	c.made["differs"] = found(t, ownRequest, baker.open(c.URL+"/requests"))
	luis := c.signedIn(t, "luis")
	answerAs := func(who *browser, action string) {
		who.submit(who.open(c.URL+"/patient/requests/"+c.made["differs"]), "version", url.Values{"action": {action}, "private": nil})
	}
	answerAs(luis, "decline") // first: one who approves would settle it
	answerAs(grace, "approve")
	invite := func(patient, email string) string {
		form := grace.open(c.URL + "/patient/" + patient + "/invitations")
		return found(t, tokenShown, grace.submit(form, "email", url.Values{"email": {email}, "part": nil}))
	}
	used := baker.submit(baker.open(c.URL+"/invitation"), "token", url.Values{"token": {invite("pt-2", "")}, "mrn": {"1002"}})
	if used.at.Path != "/patients/pt-2" {
		t.Fatalf("the token was not accepted: %s", used.text)
	}
	invite("pt-2", "")
	invite("pt-1", "someone@example.org")
	emergency := baker.open(c.URL + "/emergency?patient=" + handle(baker, "1001"))
	baker.submit(emergency, "reason", url.Values{"reason": {reason}, "sure": {"yes"}})

	offer := adams.submit(adams.open(c.URL+"/sponsored"), "email", url.Values{"name": {"Mark Williams"}, "email": {"mark@example.org"}, "action": {"add"}})
	mark := c.signedIn(t, "mark")
	mark.submit(mark.open(c.URL+"/sponsored/code"), "code", url.Values{"code": {found(t, codeShown, offer)}})

	ana := c.signedIn(t, "ana")
	c.made["account"] = found(t, accountLink, ana.submit(ana.open(c.URL+"/staff/accounts"), "q", url.Values{"q": {"grace@example.org"}}))

	c.outgrow(t)

	const scope = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
	for _, who := range []string{"grace", "dr.adams"} {
		c.launch(who, scope, "pt-1")
	}
	sum := sha256.Sum256([]byte(rand.Text()))
	c.made["authorize"] = c.URL + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"demo-public"}, "redirect_uri": {appCallback}, "scope": {scope + " patient/Condition.rs"}, "state": {"s-1"},
		"aud": {c.URL + "/fhir"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	// Okafor's way to Ava; the handle belongs to the session that searched.
	c.made["ava"] = handle(okafor, "1003")
	waitForMail(t, c)
}

// outgrow gives Noah, who is of age, an access that his father approved a year ago.
func (c *chrome) outgrow(t *testing.T) {
	t.Helper()
	p, err := c.core.engine.Prepare(fmt.Appendf(nil, `{"resourceType":"Consent","id":"outgrown","status":"active",
		"scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
		"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"policy":[{"uri":"%s/fhir/policy/access-grant"}],
		"patient":{"reference":"Patient/pt-4"},"performer":[{"reference":"RelatedPerson/rp-5"}],"dateTime":%q,
		"provision":{"type":"permit","period":{"end":%q},"actor":[{"reference":{"reference":"Practitioner/pr-chen"},
			"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]}}]}}`,
		c.URL, time.Now().AddDate(-1, 0, 0).Format(time.DateOnly), time.Now().AddDate(1, 0, 0).Format(time.DateOnly)))
	if err == nil {
		err = c.core.engine.Update(t.Context(), func(tx *engine.Tx) error {
			_, _, err := tx.Update(p, nil)
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// demoSignIn leads to the demo's issuer, also where there are others, and on.
const demoSignIn = "/signin?provider=demo&next="

// signedIn is somebody's browser without a window.
func (c *chrome) signedIn(t *testing.T, who string) *browser {
	t.Helper()
	b := newBrowser(t)
	b.submit(b.open(c.URL+demoSignIn+"/notices"), "username", url.Values{"username": {who}, "password": {demo.Password}})
	return b
}

// found is what a pattern captures on a page.
func found(t *testing.T, pattern *regexp.Regexp, p webPage) string {
	t.Helper()
	m := pattern.FindStringSubmatch(p.text)
	if m == nil {
		t.Fatalf("%s: no %s: status %d", p.at, pattern, p.status)
	}
	return strings.ReplaceAll(m[1], "&amp;", "&")
}

// waitForMail waits until there is a mail to show.
func waitForMail(t *testing.T, c *chrome) {
	t.Helper()
	deadline, look := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer look.Stop()
	for len(c.mailbox.Mails()) < 3 {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatal("no mail came")
		}
	}
}
