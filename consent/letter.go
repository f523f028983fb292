package consent

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// A Letter is a mail to a provider whom a family has invited. It is not a notice: it
// holds the token, which is stored nowhere, so it is handed over at once and never
// written down.
type Letter struct{ To, Subject, Text string }

// How many letters are sent within an hour: by one login, and to one address whoever
// has them sent.
const (
	maxLetters   = 10
	maxLettersTo = 3
)

// MailInvitation has an invitation mailed to the address that it was made for, by the
// person who made it and has its token. The mail says no name, and not the MRN,
// without which the token opens nothing: whoever reads it on the way has one half of
// two, and is not the provider whom the invitation names. Unprocessable for anything
// but an open invitation of the caller's own that names an address, Throttled after
// too many, Unavailable when send fails, which is told the words alone.
func (g *Guard) MailInvitation(ctx context.Context, c Caller, patientID, token string, send func(context.Context, Letter) error) (until time.Time, err error) {
	e := g.entry(c, "mail-invitation", "Consent")
	if err := g.requireScope(c, "Consent", smart.MayRead); err != nil {
		return until, g.refused(ctx, e, err)
	}
	var rec invitationRecord
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		e.Returned, e.Patients, e.Bases = nil, nil, nil
		if rec, err = g.ownInvitation(tx, c, "Patient/"+patientID, token); err != nil {
			return err
		}
		if err := allowAttempt(tx.Writer(), tx.Now(), "letter", c.Identity.Login, maxLetters); err != nil {
			return err
		}
		if err := allowAttempt(tx.Writer(), tx.Now(), "letter-to", hex.EncodeToString(g.hash("letter", rec.Email)), maxLettersTo); err != nil {
			return err
		}
		d, err := g.decisionFor(tx, c, rec.Patient, smart.MayRead)
		if err != nil {
			return err
		}
		e.concern(d)
		e.Patients, e.Returned = []string{rec.Patient}, []string{"Consent/" + rec.Consent}
		return file(tx, e)
	})
	if err != nil {
		return until, g.refused(ctx, e, err)
	}
	if err := send(ctx, g.letter(rec, inGroups(normalToken(token)))); err != nil {
		failed := g.entry(c, "mail-invitation", "Consent")
		failed.about(fhir.Key{Type: "Consent", ID: rec.Consent})
		return rec.Expires, g.refused(ctx, failed, &fhir.Error{Kind: fhir.Unavailable, Cause: err, Issues: []fhir.Issue{{Text: "The mail could not be sent."}}})
	}
	return rec.Expires, nil
}

// ownInvitation finds the open invitation of a token that a caller has made for an
// address.
func (g *Guard) ownInvitation(tx *engine.Tx, c Caller, patient, token string) (rec invitationRecord, err error) {
	none := refuse("token", "This is no open invitation of yours to an e-mail address.")
	if _, err := g.say(tx, c, patient); err != nil {
		return rec, err
	}
	err = store.GetJSON(tx.Reader(), recordInvitation, g.tokenKey(token), &rec)
	if err == store.ErrNotFound {
		return rec, none
	}
	if err != nil {
		return rec, err
	}
	_, consent, err := live(tx, "Consent/"+rec.Consent)
	if err != nil {
		return rec, err
	}
	if rec.Patient != patient || rec.Issuer != c.Identity.Login || rec.Email == "" || consent.str("status") != "draft" || !tx.Now().Before(rec.Expires) {
		return rec, none
	}
	return rec, nil
}

// letter writes to somebody of whom nothing is known but an address. What they read
// best is not known either: it is in English.
func (g *Guard) letter(rec invitationRecord, token string) Letter {
	return Letter{To: rec.Email, Subject: "You were invited to see a record", Text: strings.Join([]string{
		"Somebody who decides about a record has invited you to see it.",
		"Your token: " + token,
		"It works once, until " + rec.Expires.In(g.zone).Format("2 January 2006") + ".",
		"You also need the MRN that it belongs to. It is not in this mail: ask the person who invited you.",
		"Sign in and choose Validate a Token: " + g.base + "/invitation",
		"If you do not expect this, you need not do anything.",
	}, "\n\n")}
}
