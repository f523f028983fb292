package web_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
)

// code is that of the mail that was written last.
func (w *world) code() string {
	w.t.Helper()
	q, err := w.eng.Registry().Parse("Communication", url.Values{"category": {"code"}, "_sort": {"-_lastUpdated"}}, search.Options{Base: w.base})
	if err != nil {
		w.t.Fatal(err)
	}
	text := ""
	err = w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		page, err := tx.Search(q, engine.Everything)
		if err != nil || len(page.Entries) == 0 {
			return err
		}
		var c struct {
			Payload []struct{ ContentString string }
		}
		if err := json.Unmarshal(page.Entries[0].Resource.JSON, &c); err != nil {
			return err
		}
		text, _, err = w.guard.CompleteNotice(tx, page.Entries[0].Resource.ID, c.Payload[0].ContentString)
		return err
	})
	found := regexp.MustCompile(`\d{4} \d{4}`).FindString(text)
	if err != nil || found == "" {
		w.t.Fatalf("no code in %q, %v", text, err)
	}
	w.clock.pass(time.Second)
	return found
}

// Who registers with an address that their issuer has not verified enters the code
// from the mail, and goes on where they were.
func TestRegisterWithAnotherAddress(t *testing.T) {
	w := newWorld(t)
	b, in := w.as("newton", "/invitation?token=7K3QX-M2VTR-9PWBD-7K3QX")
	form := in.shows(403, "You are not registered yet").follow("Register as a provider").shows(200, "newton@example.org", "we send you a code first")
	fields := []string{"given", "Nora", "family", "Newton", "npi", goodNPI, "specialty", "Nephrology"}
	page := form.submit("Register", append(fields, "email", "nora@clinic.example")...)
	page.at("/register").shows(200, "Check your e-mail", "nora@clinic.example", "It works until").hides(goodNPI)
	b.get("/").shows(403)
	first := w.code()
	page.submit("Register", "code", "").shows(422, "This is not the code")
	page = page.submit("Register", "code", "1234 5678").shows(422, "This is not the code")
	if !strings.HasPrefix(page.title(), "Please check: ") {
		t.Errorf("the title is %q", page.title())
	}
	page = page.submit("Send another code").at("/register").shows(200, "Another code is on its way")
	second := w.code()
	page.submit("Register", "code", first).shows(422, "This is not the code")

	changed := b.get("/register").follow("Use another address").shows(200, "Register as a provider")
	if input := filled(mustForm(changed, "Register")); input.Get("npi") != goodNPI || input.Get("specialty") != "Nephrology" {
		t.Errorf("what was typed is lost: %v", input)
	}
	page = changed.submit("Register", "email", "n@other.example", "next", "/invitation?token=X").shows(200, "n@other.example")
	page.submit("Register", "code", second).shows(422, "This is not the code")
	for range 3 { // the session goes on, the code does not
		w.clock.pass(11 * time.Minute)
		b.get("/register").shows(200, "Check your e-mail")
	}
	page = page.submit("Register", "code", w.code()).shows(422, "works no more", "Nothing was registered")
	page = page.submit("Send another code").shows(200, "It works until")
	page.submit("Register", "code", " "+w.code()+" ").at("/invitation").shows(200, "You are registered", "Validate a Token")
	if page := b.get("/register").at("/"); page.status != 200 {
		t.Error("a provider is asked to register")
	}
	ana, _ := w.as("ana", "/staff/registrations")
	ana.get("/staff/registrations").shows(200, "n@other.example", "they entered the code that we sent to it")
}

// Codes are not sent without end; who has none can try again later.
func TestTooManyCodes(t *testing.T) {
	w := newWorld(t, func(c *consent.Config) { c.Policy.CheckProviders = true })
	b, in := w.as("newton", "/register")
	page := in.submit("Register", "given", "N", "family", "N", "npi", goodNPI, "email", "nora@clinic.example")
	for range 4 {
		w.code() // and a second later
		page = page.submit("Send another code").shows(200)
	}
	page.submit("Send another code").shows(422, "We have sent too many codes")
	b.get("/register?change=1").submit("Register", "email", "x@other.example").shows(422, "We have sent too many codes")
	page.submit("Register", "code", w.code()).at("/register").shows(200, "Your registration is being checked", "We write to you")
	b.get("/").shows(403)
}

// An address that the issuer has verified needs no code.
func TestRegisterWithTheIssuersAddress(t *testing.T) {
	w := newWorld(t)
	_, in := w.as("newton", "/register")
	in.submit("Register", "given", "N", "family", "N", "npi", goodNPI, "email", "Newton@Example.org").shows(200, "You are registered")
	ana, _ := w.as("ana", "/staff/registrations")
	ana.get("/staff/registrations").shows(200, "their sign-in service has checked it")
}
