package notify_test

import (
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/gateway/lang"
	"mypatients/smart"
)

// TestMailsInTheRecipientsLanguage: every kind reaches a guardian and a provider who
// read Spanish in Spanish, and the privacy office in English.
func TestMailsInTheRecipientsLanguage(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	catalogue, err := lang.Of(lang.Spanish)
	if err != nil {
		t.Fatal(err)
	}
	guard, worker := guarded(t, w, func(c *consent.Config) {
		c.Translate = func(tag, english string) (string, bool) {
			if tag != "es" {
				return english, false
			}
			return catalogue.Text(english)
		}
	})
	w.family(t, guard, 0, "Mateo", "MRN77000")
	for _, person := range []string{"RelatedPerson/g0", "Practitioner/d0"} {
		account, err := guard.SignIn(t.Context(), "https://idp", person, "", "")
		if err != nil {
			t.Fatal(err)
		}
		caller := consent.Caller{Grant: consent.Portal(smart.Identity{Login: account.ID}, "s")}
		if err := guard.SetLanguage(t.Context(), caller, "es"); err != nil {
			t.Fatal(err)
		}
		if got, err := guard.Language(t.Context(), account.ID); got != "es" || err != nil {
			t.Errorf("kept: %q, %v", got, err)
		}
		for _, bad := range []string{"", "español", "es\r\nBcc: x", strings.Repeat("e", 100), "ES"} {
			if guard.SetLanguage(t.Context(), caller, bad) == nil {
				t.Errorf("%q is kept", bad)
			}
		}
		app := caller
		app.ClientID = "an-app"
		if guard.SetLanguage(t.Context(), app, "en") == nil || guard.SetLanguage(t.Context(), consent.Caller{Grant: consent.Portal(smart.Identity{}, "s")}, "en") == nil {
			t.Error("an app, or nobody, sets a language")
		}
	}
	w.everything(t, guard, 0, "MRN77000")
	w.flush(worker)
	kinds := map[string]bool{}
	for _, m := range p.take() {
		if m.to == "privacy@example.org" {
			if !strings.Contains(m.text, "It waits for review.") || m.header.Get("Content-Language") != "" {
				t.Errorf("the privacy office gets %v", m)
			}
			continue
		}
		m = readable(t, m)
		kinds[m.subject] = true
		if m.header.Get("Content-Language") != "es" || !strings.Contains(m.text, "Para seguir, inicie sesión: https://gateway.example/") {
			t.Errorf("%s gets %v", m.to, m)
		}
		for _, word := range []string{" the ", " a record", "Sign in", "mails", "request"} {
			if strings.Contains(strings.ReplaceAll(m.subject+"\n"+m.text, "https://gateway.example/requests", ""), word) {
				t.Errorf("%q is in a Spanish mail: %s\n%s", word, m.subject, m.text)
			}
		}
	}
	if len(kinds) < 10 {
		t.Errorf("only %d kinds: %v", len(kinds), kinds)
	}
}

// readable undoes the encodings of a mail.
func readable(t *testing.T, m delivered) delivered {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.text)))
	if err != nil {
		t.Fatal(err)
	}
	if m.subject, err = new(mime.WordDecoder).DecodeHeader(m.subject); err != nil {
		t.Fatal(err)
	}
	m.text = string(text)
	return m
}
