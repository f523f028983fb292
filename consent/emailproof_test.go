package consent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
)

// A codeMail is a mail that brings a code, as it waits to be sent.
type codeMail struct{ id, to, stored, sent string }

var digits = regexp.MustCompile(`\d{4} \d{4}`)

func (m codeMail) code() string { return digits.FindString(m.sent) }

// codeMails are the mails with codes, the latest last.
func (w *world) codeMails() []codeMail {
	w.t.Helper()
	q, err := w.eng.Registry().Parse("Communication", url.Values{"category": {"code"}, "_sort": {"_lastUpdated"}}, search.Options{Base: base + "/fhir"})
	if err != nil {
		w.t.Fatal(err)
	}
	var list []codeMail
	err = w.eng.View(w.t.Context(), func(tx *engine.Tx) error {
		list = nil
		page, err := tx.Search(q, engine.Everything)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			var c struct {
				Contained []struct{ Telecom []struct{ Value string } }
				Payload   []struct{ ContentString string }
			}
			if err := json.Unmarshal(e.Resource.JSON, &c); err != nil {
				return err
			}
			m := codeMail{id: e.Resource.ID, to: c.Contained[0].Telecom[0].Value, stored: string(e.Resource.JSON)}
			if m.sent, _, err = w.guard.CompleteNotice(tx, m.id, c.Payload[0].ContentString); err != nil {
				return err
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// lastCode is the code that was mailed last.
func (w *world) lastCode() string {
	w.t.Helper()
	list := w.codeMails()
	if len(list) == 0 {
		w.t.Fatal("no code was mailed")
	}
	w.clock.pass(time.Second) // whatever is mailed next is later
	return list[len(list)-1].code()
}

func nora(email string) consent.Registration {
	return consent.Registration{Given: "Nora", Family: "Newton", NPI: "1993999998", Email: email}
}

// An address that the issuer has not verified is proven by a code before anything is
// registered, at whichever gateway; the store does not hold the code.
func TestAddressIsProven(t *testing.T) {
	w := newWorld(t)
	other := w.with(t, func(*consent.Config) {})
	a := w.signIn("nora")
	got, err := w.guard.Register(t.Context(), a.ID, nora("nora@clinic.example"))
	if err != nil || len(got.Links) != 0 {
		t.Fatalf("registered with an address that nobody has verified: %+v, %v", got, err)
	}
	mails := w.codeMails()
	if len(mails) != 1 || mails[0].to != "nora@clinic.example" || mails[0].code() == "" {
		t.Fatalf("got %+v", mails)
	}
	code := mails[0].code()
	for _, personal := range []string{"Nora", "Newton", "1993999998", strings.ReplaceAll(code, " ", ""), code} {
		if strings.Contains(mails[0].stored, personal) {
			t.Errorf("%q is in the notice as it is stored", personal)
		}
	}
	for _, personal := range []string{"Nora", "Newton", "1993999998", "clinic"} {
		if strings.Contains(mails[0].sent, personal) {
			t.Errorf("%q is in the mail: %s", personal, mails[0].sent)
		}
	}
	w.noCodeIn(code)
	if root := w.root(); len(w.unchecked(root)) != 0 {
		t.Error("a registration waits whose address nobody has proven")
	}
	wantKind(t, errOf(w.guard.ProveEmail(t.Context(), a.ID, "0000 0000")), fhir.Unprocessable)
	wantKind(t, errOf(w.guard.ProveEmail(t.Context(), w.signIn("eve").ID, code)), fhir.NotFound)
	if got, err = other.ProveEmail(t.Context(), a.ID, strings.ReplaceAll(code, " ", "-")); err != nil || len(got.Links) != 1 {
		t.Fatalf("the code: %+v, %v", got, err)
	}
	wantKind(t, errOf(w.guard.ProveEmail(t.Context(), a.ID, code)), fhir.NotFound)
	if p, err := w.guard.EmailProof(t.Context(), a.ID); p != nil || err != nil {
		t.Errorf("it still waits: %+v, %v", p, err)
	}
	if list := w.unchecked(w.as("root")); len(list) != 1 || list[0].Verified != consent.VerifiedByCode || list[0].Email != "nora@clinic.example" {
		t.Errorf("got %+v", list)
	}
	w.clock.pass(time.Second) // lists have the latest first
	ben := w.signIn("ben")
	mine := nora("BEN@example.org")
	mine.NPI = "1003999996"
	if !consent.ValidNPI(mine.NPI) {
		t.Fatal("not an NPI")
	}
	if got, err := w.guard.Register(t.Context(), ben.ID, mine); err != nil || len(got.Links) != 1 || len(w.codeMails()) != 1 {
		t.Errorf("the issuer has verified it: %+v, %v", got, err)
	}
	if list := w.unchecked(w.as("root")); len(list) != 2 || list[0].Verified != consent.VerifiedByIssuer {
		t.Errorf("got %+v", list)
	}
}

// Codes end with their time, with wrong tries, with the next one; few are sent.
func TestCodesAreLimited(t *testing.T) {
	w := newWorld(t)
	a := w.signIn("nora")
	register := func(address string) error {
		w.clock.pass(time.Second)
		_, err := w.guard.Register(t.Context(), a.ID, nora(address))
		return err
	}
	again := func() error {
		w.clock.pass(time.Second)
		return w.guard.SendEmailCode(t.Context(), a.ID)
	}
	prove := func(code string) error { return errOf(w.guard.ProveEmail(t.Context(), a.ID, code)) }
	if err := register("nora@clinic.example"); err != nil {
		t.Fatal(err)
	}
	first := w.lastCode()
	for range 5 {
		wantKind(t, prove("12345678"), fhir.Unprocessable)
	}
	wantKind(t, prove(first), fhir.Conflict) // tried too often
	if p, err := w.guard.EmailProof(t.Context(), a.ID); err != nil || p == nil || !p.Until.IsZero() || p.Given != "Nora" {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	second := w.lastCode()
	wantKind(t, prove(first), fhir.Unprocessable) // of the one before
	w.clock.pass(31 * time.Minute)
	wantKind(t, prove(second), fhir.Conflict)              // too late
	if err := register("nora@other.example"); err != nil { // another address
		t.Fatal(err)
	}
	if mails := w.codeMails(); mails[len(mails)-1].to != "nora@other.example" {
		t.Errorf("got %+v", mails)
	}
	wantKind(t, prove(second), fhir.Unprocessable)
	for range 2 {
		if err := again(); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, again(), fhir.Throttled)
	wantKind(t, register("nora@third.example"), fhir.Throttled)
	w.clock.pass(61 * time.Minute)
	if err := again(); err != nil {
		t.Error(err)
	}
	w.clock.pass(time.Second)
	taken := nora("ben@clinic.example")
	if _, err := w.guard.Register(t.Context(), w.signIn("ben").ID, taken); err != nil {
		t.Fatal(err)
	}
	if err := errOf(w.guard.ProveEmail(t.Context(), w.signIn("ben").ID, w.lastCode())); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, prove(w.lastCode()), fhir.Unprocessable) // somebody else has the NPI now
	w.clock.pass(25 * time.Hour)
	wantKind(t, again(), fhir.NotFound)
}

// Nobody is mailed without end, whoever asks for it.
func TestAnAddressIsNotFlooded(t *testing.T) {
	w := newWorld(t)
	sent := 0
	for i := range 12 {
		a := w.signIn(fmt.Sprintf("someone%d", i))
		_, err := w.guard.Register(t.Context(), a.ID, nora("Victim@example.com"))
		if err == nil {
			sent++
		} else if fhir.KindOf(err) != fhir.Throttled {
			t.Fatal(err)
		}
	}
	if sent != 10 || len(w.codeMails()) != 10 {
		t.Errorf("%d mails were sent, %d are there", sent, len(w.codeMails()))
	}
	long := nora("a@example.org")
	long.Specialty = strings.Repeat("x", 255)
	_, err := w.guard.Register(t.Context(), w.signIn("long").ID, long)
	var e *fhir.Error
	if !errors.As(err, &e) || len(e.Issues) != 1 || e.Issues[0].Expression != "specialty" {
		t.Errorf("got %v", err)
	}
}

// Who registered hears what came of it, with no word about anybody.
func TestRegistrationIsAnswered(t *testing.T) {
	w := newWorld(t)
	root := w.root()
	strict := w.with(t, func(c *consent.Config) { c.Policy.CheckProviders = true })
	for name, right := range map[string]bool{"nora": true, "nils": false} {
		r := nora(name + "@example.org")
		if !right {
			r.NPI = "1003999996"
		}
		a, err := strict.Register(t.Context(), w.signIn(name).ID, r)
		if err != nil || a.Asked == "" {
			t.Fatalf("%+v, %v", a, err)
		}
		waiting := w.unchecked(root)[0]
		if err := strict.CheckProvider(t.Context(), root, waiting.ID, right, "called the clinic"); err != nil {
			t.Fatal(err)
		}
		want := []string{"Your registration was confirmed"}
		if !right {
			want = []string{"Your registration was not accepted"}
		}
		if got := w.notices(waiting.Provider.Key.String()); !slices.Equal(got, want) {
			t.Errorf("%s is told %q", name, got)
		}
	}
}

func (w *world) unchecked(root consent.Caller) []consent.UncheckedProvider {
	w.t.Helper()
	list, err := w.guard.UncheckedProviders(w.t.Context(), root, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// noCodeIn fails when the code is in a record of what waits for it.
func (w *world) noCodeIn(code string) {
	w.t.Helper()
	n := 0
	err := w.db.View(w.t.Context(), func(r store.Reader) error {
		n = 0
		for _, kind := range []string{"email-proof", "email-code", "attempts"} {
			records, err := r.Records(kind, "", "", 100)
			if err != nil {
				return err
			}
			for _, rec := range records {
				n++
				if text := rec.Key + string(rec.Value); strings.Contains(text, code) || strings.Contains(text, strings.ReplaceAll(code, " ", "")) {
					w.t.Errorf("the code is stored: %s %s", kind, text)
				}
			}
		}
		return nil
	})
	if err != nil || n < 3 {
		w.t.Errorf("looked at %d records, %v", n, err)
	}
}

func errOf(_ *consent.Account, err error) error { return err }
