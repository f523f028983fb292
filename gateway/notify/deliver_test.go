package notify_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// An invitation that a family sends arrives at once, with the token and without the
// MRN or a name, whatever the names are. Nothing of it is stored.
func TestLettersArriveAtOnce(t *testing.T) {
	p := newPost(t)
	w := newWorld(t, p)
	guard, worker := guarded(t, w)
	send := func(ctx context.Context, l consent.Letter) error { return worker.Deliver(ctx, l.To, l.Subject, l.Text) }
	for i, name := range hostile[:4] {
		mrn := "MRN7700" + string(rune('0'+i))
		w.family(t, guard, i, name, mrn)
		person := "RelatedPerson/g" + string(rune('0'+i))
		account, err := guard.SignIn(t.Context(), "https://idp", person, "", "")
		if err != nil {
			t.Fatal(err)
		}
		c := consent.Caller{Grant: consent.Portal(smart.Identity{Login: account.ID, Role: smart.Proxy, FHIRUser: person, Persons: []string{person}}, "s")}
		made, err := guard.Invite(t.Context(), c, "p"+string(rune('0'+i)), consent.Invitation{Email: "someone@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		until, err := guard.MailInvitation(t.Context(), c, "p"+string(rune('0'+i)), made.Token, send)
		if i == 3 { // one too many to this address within an hour
			if fhir.KindOf(err) != fhir.Throttled {
				t.Errorf("got %v", err)
			}
			continue
		}
		mails := p.take()
		if err != nil || len(mails) != 1 || !until.Equal(made.Expires) {
			t.Fatalf("got %v, %v, %v", mails, until, err)
		}
		m := mails[0]
		if m.to != "someone@example.org" || !strings.Contains(m.text, made.Token) || !strings.Contains(m.text, "https://gateway.example/invitation") || m.header.Get("Auto-Submitted") == "" {
			t.Errorf("got %v", m)
		}
		said := strings.ToLower(m.subject + " " + strings.ReplaceAll(m.text, "=\n", ""))
		for _, part := range telling {
			if strings.Contains(said, part) {
				t.Errorf("%q is in %v", part, m)
			}
		}
		for _, word := range strings.FieldsFunc(said, func(r rune) bool { return r < 'a' || r > 'z' }) {
			if slices.Contains(clinical, word) {
				t.Errorf("%q is in %v", word, m)
			}
		}
	}
	p.close()
	err := worker.Deliver(t.Context(), "someone@example.org", "s", "t")
	if err == nil || strings.Contains(err.Error(), "someone") {
		t.Errorf("without a server: got %v", err)
	}
	for _, address := range []string{"", "x", "a@example.org, b@example.org", "a@example.org\r\nBcc: b@example.org"} {
		if worker.Deliver(t.Context(), address, "s", "t") == nil {
			t.Errorf("%q is an address", address)
		}
	}
	if strings.Contains(w.log.String(), "example.org") {
		t.Errorf("log: %s", w.log)
	}
}
