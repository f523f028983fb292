package consent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/consent/quorum"
	"mypatients/fhir"
)

// An invitation is mailed to the address that it was made for, by whoever made it. The
// mail names nobody and holds one half of what opens the record.
func TestMailInvitation(t *testing.T) {
	w := newWorld(t)
	grace := w.as("grace")
	invite := func(email string) *consent.Invited {
		t.Helper()
		made, err := w.guard.Invite(t.Context(), grace, "mateo", consent.Invitation{Email: email})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	var sent []consent.Letter
	send := func(_ context.Context, l consent.Letter) error { sent = append(sent, l); return nil }
	mail := func(c consent.Caller, patient, token string) error {
		_, err := w.guard.MailInvitation(t.Context(), c, patient, token, send)
		return err
	}
	made := invite("Okafor@example.org")
	if err := mail(grace, "mateo", strings.ToLower(made.Token)); err != nil || len(sent) != 1 {
		t.Fatalf("sent %v, %v", sent, err)
	}
	l := sent[0]
	if l.To != "okafor@example.org" || !strings.Contains(l.Text, made.Token) || !strings.Contains(l.Text, base+"/invitation") || strings.Contains(l.Text, "token=") {
		t.Errorf("got %+v", l)
	}
	for _, word := range []string{"1001", "mateo", "rivera", "grace", "child", "patient", "doctor", "health"} {
		if strings.Contains(strings.ToLower(l.Subject+l.Text), word) {
			t.Errorf("%q is in %+v", word, l)
		}
	}
	open, cancelled := invite(""), invite("okafor@example.org")
	w.stop("grace", cancelled.Consent.ID)
	for name, err := range map[string]error{
		"to nobody":          mail(grace, "mateo", open.Token),
		"of another child":   mail(grace, "sofia", made.Token),
		"cancelled":          mail(grace, "mateo", cancelled.Token),
		"unknown":            mail(grace, "mateo", "AAAAA-BBBBB-CCCCC-DDDDD"),
		"by another parent":  mail(w.as("luis"), "mateo", made.Token),
		"twice in an hour":   nil,
		"by the team":        mail(w.as("chen"), "mateo", made.Token),
		"by another family":  mail(w.as("helen"), "mateo", made.Token),
		"of another's child": mail(w.as("helen"), "ava", made.Token),
	} {
		if name != "twice in an hour" && fhir.KindOf(err) != fhir.Unprocessable && fhir.KindOf(err) != fhir.Forbidden {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(sent) != 1 {
		t.Errorf("sent %v", sent[1:])
	}
	for i := range 4 { // three to one address in an hour, of which one has gone
		err := mail(grace, "mateo", made.Token)
		if i < 2 && err != nil || i >= 2 && fhir.KindOf(err) != fhir.Throttled {
			t.Errorf("letter %d: got %v", i+2, err)
		}
	}
	if got := strings.Join(w.looks("luis", "mateo"), "\n"); strings.Count(got, "mail-invitation") < 3 || strings.Contains(got, made.Token) {
		t.Errorf("the log has\n%s", got)
	}
	w.clock.pass(time.Hour)
	failing := func(context.Context, consent.Letter) error { return errors.New("no server") }
	_, err := w.guard.MailInvitation(t.Context(), grace, "mateo", made.Token, failing)
	wantKind(t, err, fhir.Unavailable)
	w.clock.pass(7 * 31 * 24 * time.Hour)
	wantKind(t, mail(w.as("grace"), "mateo", made.Token), fhir.Unprocessable)
}

// The rules of a teenager's age are for them and for their guardians.
func TestAgeRules(t *testing.T) {
	w := newWorld(t)
	for _, who := range []string{"ava", "helen"} {
		r, err := w.guard.AgeRules(t.Context(), w.as(who), "ava")
		if err != nil || r.From != 13 || r.Until != 18 || !slices.Contains(r.Hidden, "SEX") || r.Approval != quorum.Either || !r.Between {
			t.Errorf("%s: got %+v, %v", who, r, err)
		}
	}
	for who, patient := range map[string]string{"grace": "mateo", "baker": "ava", "luis": "ava", "noah": "noah", "mark": "noah", "okafor": "ava"} {
		_, err := w.guard.AgeRules(t.Context(), w.as(who), patient)
		wantKind(t, err, fhir.NotFound)
	}
	w.site(func(p *consent.Policy) { p.TeenAge, p.TeenHidden, p.TeenApproval = 12, []string{"PSY"}, quorum.Both })
	r, err := w.guard.AgeRules(t.Context(), w.as("ava"), "ava")
	if err != nil || r.From != 12 || len(r.Hidden) != 1 || r.Approval != quorum.Both || r.Between {
		t.Errorf("got %+v, %v", r, err)
	}
}
