package consent

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// Who registers as a provider is written to at the address that they give, and
// administrators go by it. An address that the issuer has not verified is proven
// first, by a code that is mailed to it: until then nothing is registered. The
// store holds no code and no hash of one: it is made from a random name and the
// guard's key, again when it is mailed and again when it is compared.
const (
	recordEmailProof = "email-proof" // by account: the registration that waits for its code
	recordEmailCode  = "email-code"  // by notice: whose code it is to bring
)

const (
	codeLife     = 30 * time.Minute // of a code
	proofLife    = 24 * time.Hour   // of a registration that waits for one
	maxCodes     = 5                // that an account is sent in an hour
	maxCodesTo   = 10               // that go to an address in an hour
	maxCodeTries = 5                // with one code
	codeDigits   = 8
)

// How an address was verified.
const (
	VerifiedByIssuer = "issuer" // where the person signs in
	VerifiedByCode   = "code"   // by a mail of ours
)

// codeMark stands for the code in the words of a notice.
const codeMark = "{code}"

type emailProof struct {
	Registration Registration `json:"registration"`
	Name         string       `json:"name"` // of the code that was sent last
	Ends         time.Time    `json:"ends"` // of the code
	Wrong        int          `json:"wrong,omitempty"`
}

type emailCode struct {
	Account string    `json:"account"`
	Name    string    `json:"name"`
	Ends    time.Time `json:"ends"`
}

// An EmailProof is a registration that waits for the code that was mailed.
type EmailProof struct {
	Registration
	Until time.Time // the code works; zero: it does not any more
}

// EmailProof gives the registration of an account that waits for its code; nil when
// none does.
func (g *Guard) EmailProof(ctx context.Context, account string) (*EmailProof, error) {
	var view *EmailProof
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		view = nil
		p, err := readProof(tx, account)
		if p == nil || err != nil {
			return err
		}
		view = &EmailProof{Registration: p.Registration, Until: p.Ends}
		if !p.open(tx.Now()) {
			view.Until = time.Time{}
		}
		return nil
	})
	return view, err
}

// SendEmailCode sends another code for the registration of an account that waits for
// one; the one before works no more. NotFound when none waits, Throttled when too
// many were sent in the hour.
func (g *Guard) SendEmailCode(ctx context.Context, account string) error {
	return g.engine.Update(ctx, func(tx *engine.Tx) error {
		p, err := readProof(tx, account)
		if err != nil {
			return err
		}
		if p == nil {
			return fhir.ErrNotFound()
		}
		return g.askForProof(tx, account, p.Registration)
	})
}

// ProveEmail carries out the registration of an account that waits for a code, as
// [Guard.Register] does. A wrong code is Unprocessable at code; one that is too old,
// or was tried too often, is a Conflict: another has to be sent. NotFound when no
// registration waits.
func (g *Guard) ProveEmail(ctx context.Context, account, code string) (*Account, error) {
	var a *Account
	var wrong error
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		wrong = nil
		p, err := readProof(tx, account)
		if err != nil {
			return err
		}
		if p == nil {
			return fhir.ErrNotFound()
		}
		if !p.open(tx.Now()) {
			return fhir.Errorf(fhir.Conflict, "This code works no more.")
		}
		given := strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r < '0' || r > '9' }), "")
		if subtle.ConstantTimeCompare([]byte(given), []byte(g.emailCode(account, p.Name))) != 1 {
			p.Wrong++
			wrong = refuse("code", "This is not the code.")
			return p.put(tx, account)
		}
		if a, err = readAccount(tx.Reader(), account); err != nil {
			return err
		}
		if err := tx.Writer().DeleteRecord(recordEmailProof, account); err != nil {
			return err
		}
		return g.register(tx, a, p.Registration, VerifiedByCode)
	})
	if err == nil {
		err = wrong
	}
	if err != nil {
		e := g.entry(Caller{Grant: Portal(smart.Identity{Login: account}, "")}, "register", "Practitioner")
		return nil, g.refused(ctx, e, err)
	}
	return a, nil
}

// verified says how the address of a registration is known to be the person's; ""
// when it is not.
func (a *Account) verified(email string) string {
	if a.Email != "" && strings.EqualFold(a.Email, email) {
		return VerifiedByIssuer
	}
	return ""
}

// askForProof keeps a registration until its address is proven, and mails a code.
func (g *Guard) askForProof(tx *engine.Tx, account string, r Registration) error {
	to := fmt.Sprintf("%x", g.hash("address", strings.ToLower(r.Email)))
	if err := allowAttempt(tx.Writer(), tx.Now(), recordEmailCode, account, maxCodes); err != nil {
		return err
	}
	if err := allowAttempt(tx.Writer(), tx.Now(), recordEmailCode, to, maxCodesTo); err != nil {
		return err
	}
	p := &emailProof{Registration: r, Name: rand.Text(), Ends: tx.Now().Add(codeLife)}
	if err := p.put(tx, account); err != nil {
		return err
	}
	mail, err := g.mailTo(tx, account, noticeCode, r.Email)
	if err != nil {
		return err
	}
	return store.PutJSON(tx.Writer(), recordEmailCode, mail.ID, emailCode{account, p.Name, p.Ends}, p.Ends)
}

// mailTo writes a notice to an address that nobody in the directory has yet.
func (g *Guard) mailTo(tx *engine.Tx, account string, n notice, address string) (*fhir.Resource, error) {
	tag, err := languageOf(tx.Reader(), account)
	if err != nil {
		return nil, err
	}
	c := g.communication("", n, tag)
	c["contained"] = []any{map[string]any{"resourceType": "Practitioner", "id": "applicant",
		"telecom": []any{map[string]any{"system": "email", "value": address}}}}
	c["recipient"] = []any{reference("#applicant")}
	return g.put(tx, c, "")
}

// CompleteNotice puts the code into the words of a notice that brings one, when it is
// mailed. It reports false when the code would come too late.
func (g *Guard) CompleteNotice(tx *engine.Tx, id, text string) (whole string, inTime bool, err error) {
	if !strings.Contains(text, codeMark) {
		return text, true, nil
	}
	var code emailCode
	err = store.GetJSON(tx.Reader(), recordEmailCode, id, &code)
	if err == store.ErrNotFound {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	digits := g.emailCode(code.Account, code.Name)
	digits = digits[:codeDigits/2] + " " + digits[codeDigits/2:]
	return strings.ReplaceAll(text, codeMark, digits), tx.Now().Before(code.Ends), nil
}

// emailCode makes a code from its name.
func (g *Guard) emailCode(account, name string) string {
	n := binary.BigEndian.Uint64(g.hash("email-code", account+"\x00"+name))
	return fmt.Sprintf("%0*d", codeDigits, n%100_000_000)
}

func (p *emailProof) open(now time.Time) bool { return p.Wrong < maxCodeTries && now.Before(p.Ends) }

func (p *emailProof) put(tx *engine.Tx, account string) error {
	return store.PutJSON(tx.Writer(), recordEmailProof, account, p, p.Ends.Add(proofLife))
}

// readProof gives what waits for a code; nil: nothing does.
func readProof(tx *engine.Tx, account string) (*emailProof, error) {
	rec, err := tx.Reader().Record(recordEmailProof, account)
	if err == store.ErrNotFound || err == nil && !tx.Now().Before(rec.Expires) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := new(emailProof)
	return p, rec.DecodeJSON(p)
}
