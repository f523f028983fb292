package consent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An Account is one upstream identity (issuer and subject) with the people it
// stands for. Accounts are linked by issuer and subject, never by e-mail alone.
type Account struct {
	ID      string `json:"id"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Name    string `json:"name,omitempty"`
	Email   string `json:"email,omitempty"`
	Links   []Link `json:"links,omitempty"`

	Waits time.Time `json:"waits,omitzero"`  // of one that stands for nobody: its latest sign-in
	Asked string    `json:"asked,omitempty"` // the registration as a provider that nobody has decided on yet
}

// A Link says that an account stands for a person in a role.
type Link struct {
	Role   smart.Role `json:"role"`
	Person string     `json:"person"` // "Practitioner/1", "RelatedPerson/1", "Patient/1"
}

// Kinds of records: accounts by id, and the accounts of each person.
const (
	recordAccount   = "account"
	recordAccountOf = "account-of"
)

// SignIn finds the account of an upstream identity, or makes one that stands for
// nobody yet. Name and e-mail are brought up to date; the e-mail must be one that
// the issuer has verified, or empty.
func (g *Guard) SignIn(ctx context.Context, issuer, subject, name, email string) (*Account, error) {
	return g.LinkAccount(ctx, issuer, subject, name, email)
}

// LinkAccount is [Guard.SignIn] that also links the account to people.
func (g *Guard) LinkAccount(ctx context.Context, issuer, subject, name, email string, links ...Link) (*Account, error) {
	return g.linkAccount(ctx, issuer, subject, name, email, nil, links...)
}

// linkAccount is [Guard.LinkAccount] with what else happens in its transaction when
// links are new; nil: nothing.
func (g *Guard) linkAccount(ctx context.Context, issuer, subject, name, email string, also func(tx *engine.Tx, a *Account, added []Link) error, links ...Link) (*Account, error) {
	if issuer == "" || subject == "" {
		return nil, fhir.Errorf(fhir.Invalid, "An account needs an issuer and a subject.")
	}
	var a *Account
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		id := g.accountID(issuer, subject)
		found, err := readAccount(tx.Reader(), id)
		if err == store.ErrNotFound {
			found, err = &Account{ID: id, Issuer: issuer, Subject: subject}, nil
		}
		if err != nil {
			return err
		}
		a = found
		before, words := a.said(), a.words()
		a.Name, a.Email = or(name, a.Name), or(email, a.Email)
		if err := a.list(tx.Writer(), words); err != nil {
			return err
		}
		if len(a.Links)+len(links) == 0 {
			if err := a.wait(tx.Writer(), tx.Now()); err != nil {
				return err
			}
		}
		added := slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return slices.Contains(a.Links, l) })
		if err := a.link(tx.Writer(), links...); err != nil || before == a.said() {
			return err
		}
		if also != nil && len(added) > 0 {
			if err := also(tx, a, added); err != nil {
				return err
			}
		}
		return moveEpoch(tx.Writer(), accountEpoch(a.ID))
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// accountID is the stable id of an upstream identity; it tells nothing about it.
func (g *Guard) accountID(issuer, subject string) string {
	return base64.RawURLEncoding.EncodeToString(g.hash("account", issuer+"\x00"+subject)[:18])
}

// hash is the keyed hash under which secrets and identities are stored.
func (g *Guard) hash(use, text string) []byte {
	h := hmac.New(sha256.New, g.key)
	h.Write([]byte(use + "\x00" + text))
	return h.Sum(nil)
}

func (a *Account) link(w store.Writer, links ...Link) error {
	for _, l := range links {
		if !slices.Contains(a.Links, l) {
			a.Links = append(a.Links, l)
		}
		if err := w.PutRecord(&store.Record{Kind: recordAccountOf, Key: l.Person + " " + a.ID, Value: []byte(l.Role)}); err != nil {
			return err
		}
	}
	if len(a.Links) > 0 {
		if err := a.settle(w); err != nil {
			return err
		}
	}
	return a.put(w)
}

func (a *Account) put(w store.Writer) error {
	return store.PutJSON(w, recordAccount, a.ID, a, time.Time{})
}

func readAccount(r store.Reader, id string) (*Account, error) {
	a := new(Account)
	return a, store.GetJSON(r, recordAccount, id, a)
}

// hasLogin reports whether any account stands for a person.
func hasLogin(r store.Reader, person string) (bool, error) {
	found, err := r.Records(recordAccountOf, person+" ", "", 1)
	return len(found) > 0, err
}

// linkedTo reports whether an account stands for a person.
func linkedTo(r store.Reader, person, account string) (bool, error) {
	if person == "" || account == "" {
		return false, nil
	}
	_, err := r.Record(recordAccountOf, person+" "+account)
	if err == store.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// Account gives an account by id, or NotFound.
func (g *Guard) Account(ctx context.Context, id string) (*Account, error) {
	var a *Account
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		a, err = readAccount(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		return err
	})
	return a, err
}

// Identity gives the identity with which an account acts in a role, or Forbidden
// when it does not hold the role.
func (g *Guard) Identity(ctx context.Context, a *Account, role smart.Role) (smart.Identity, error) {
	id := smart.Identity{Login: a.ID, Name: a.Name, Role: role}
	for _, l := range a.Links {
		if l.Role == role {
			id.Persons = append(id.Persons, l.Person)
		}
	}
	if len(id.Persons) == 0 {
		return smart.Identity{}, fhir.Errorf(fhir.Forbidden, "This account has no such role.")
	}
	id.FHIRUser = id.Persons[0]
	return id, nil
}

// IdentityOf gives the identity of the login that stands for a person, for a
// launch on their behalf; Forbidden when there is none.
func (g *Guard) IdentityOf(ctx context.Context, person string) (smart.Identity, error) {
	var account *Account
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		found, err := tx.Reader().Records(recordAccountOf, person+" ", "", 1)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fhir.Errorf(fhir.Forbidden, "No login stands for this person.")
		}
		account, err = readAccount(tx.Reader(), strings.TrimPrefix(found[0].Key, person+" "))
		return err
	})
	if err != nil {
		return smart.Identity{}, err
	}
	for _, l := range account.Links {
		if l.Person == person {
			id, err := g.Identity(ctx, account, l.Role)
			id.FHIRUser = person
			return id, err
		}
	}
	return smart.Identity{}, fhir.Errorf(fhir.Forbidden, "No login stands for this person.")
}

const systemNPI = "http://hl7.org/fhir/sid/us-npi"

// Register makes a provider of an account that has none: a Practitioner, with a
// role when a specialty or an organisation is given, to be checked by an
// administrator. Where the policy wants that done first, the account stands for
// nobody until then, and has Asked set. An address that the issuer has not verified
// is proven first: [Guard.EmailProof] gives the registration that waits for it.
// Unprocessable issues name the field at fault: given, family, npi, email.
func (g *Guard) Register(ctx context.Context, accountID string, r Registration) (*Account, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var a *Account
	err := g.engine.Update(ctx, func(tx *engine.Tx) (err error) {
		a, err = readAccount(tx.Reader(), accountID)
		if err == store.ErrNotFound {
			return fhir.Errorf(fhir.Forbidden, "Sign in first.")
		}
		if err != nil {
			return err
		}
		by := a.verified(r.Email)
		if by == "" {
			if err := g.mayRegister(tx, a, r); err != nil {
				return err
			}
			return g.askForProof(tx, a.ID, r)
		}
		if err := tx.Writer().DeleteRecord(recordEmailProof, a.ID); err != nil {
			return err
		}
		return g.register(tx, a, r, by)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// mayRegister refuses an account that is registered or waits already, and a number
// that somebody has.
func (g *Guard) mayRegister(tx *engine.Tx, a *Account, r Registration) error {
	if slices.ContainsFunc(a.Links, func(l Link) bool { return l.Role == smart.Provider }) {
		return fhir.Errorf(fhir.Conflict, "This account is registered already.")
	}
	if a.Asked != "" {
		return fhir.Errorf(fhir.Conflict, "This account waits to be checked.")
	}
	taken, err := findAll(tx, "Practitioner", search.TokenTerm("identifier", systemNPI, r.NPI))
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return refuse("npi", "This NPI is registered already. Ask the help desk to link your account.")
	}
	return nil
}

// register carries out a registration whose address is verified.
func (g *Guard) register(tx *engine.Tx, a *Account, r Registration, verified string) error {
	if err := g.mayRegister(tx, a, r); err != nil {
		return err
	}
	key, err := g.newProvider(tx, r)
	if err != nil {
		return err
	}
	if err := g.admit(tx, a, key, verified); err != nil {
		return err
	}
	if err := moveEpoch(tx.Writer(), accountEpoch(a.ID)); err != nil {
		return err
	}
	c := Caller{Grant: smart.Grant{ClientID: PortalClient, ClientName: "Portal", Identity: smart.Identity{Login: a.ID, Name: a.Name, Role: smart.Provider, FHIRUser: key.String()}}}
	e := g.entry(c, "register", "Practitioner")
	e.Returned = []string{key.String()}
	return file(tx, e)
}

func (g *Guard) newProvider(tx *engine.Tx, r Registration) (fhir.Key, error) {
	p, err := g.put(tx, node{
		"resourceType": "Practitioner", "active": !g.policy.CheckProviders, // who waits to be checked is nobody to choose
		"extension":  []any{map[string]any{"url": g.rules.extension("self-registered"), "valueBoolean": true}},
		"identifier": []any{map[string]any{"system": systemNPI, "value": r.NPI}},
		"name":       []any{map[string]any{"family": r.Family, "given": []any{r.Given}}},
		"telecom":    []any{map[string]any{"system": "email", "value": r.Email, "use": "work"}},
	}, "")
	if err != nil || r.Specialty == "" && r.Organization == "" {
		return keyOf(p), err
	}
	role := node{"resourceType": "PractitionerRole", "active": true, "practitioner": reference(p.Key.String())}
	if r.Specialty != "" {
		role["specialty"] = []any{map[string]any{"text": r.Specialty}}
	}
	if r.Organization != "" { // named, not linked: membership of an organisation is not for a person to claim
		role["organization"] = map[string]any{"display": r.Organization}
	}
	_, err = g.put(tx, role, "")
	return p.Key, err
}

// selfClaimed reports whether a Practitioner is what somebody said of themself.
func (g *Guard) selfClaimed(practitioner node) bool {
	claimed, _ := practitioner.extension(g.rules.extension("self-registered"))["valueBoolean"].(bool)
	return claimed
}

func keyOf(r *fhir.Resource) fhir.Key {
	if r == nil {
		return fhir.Key{}
	}
	return r.Key
}

// maxField is the length in bytes of what a registration says of one thing; no
// address of a mail is longer (RFC 5321 section 4.5.3.1.3).
const maxField = 254

func (r *Registration) check() error {
	var issues []fhir.Issue
	at := func(field, text string) { issues = append(issues, fhir.Issue{Expression: field, Text: text}) }
	fields := []*string{&r.Given, &r.Family, &r.NPI, &r.Email, &r.Specialty, &r.Organization}
	for i, name := range []string{"given", "family", "npi", "email", "specialty", "organization"} {
		if *fields[i] = strings.TrimSpace(*fields[i]); len(*fields[i]) > maxField {
			at(name, "This is too long.")
		}
	}
	if r.Given == "" {
		at("given", "Enter your given name.")
	}
	if r.Family == "" {
		at("family", "Enter your family name.")
	}
	if !ValidNPI(r.NPI) {
		at("npi", "This is not an NPI: it has 10 digits, and the last one must fit the others.")
	}
	if local, domain, ok := strings.Cut(r.Email, "@"); !ok || local == "" || !strings.Contains(domain, ".") || strings.ContainsAny(r.Email, " \r\n<>,;") {
		at("email", "Enter the e-mail address that notices go to.")
	}
	if issues != nil {
		return &fhir.Error{Kind: fhir.Unprocessable, Issues: issues}
	}
	return nil
}

// ValidNPI checks a National Provider Identifier: ten digits, the last a Luhn
// check digit over the prefix 80840 and the rest.
func ValidNPI(s string) bool {
	if len(s) != 10 || strings.Trim(s, "0123456789") != "" {
		return false
	}
	sum := 0
	for i, digit := range "80840" + s {
		n := int(digit - '0')
		if i%2 == 1 { // of 15 digits: every second one from the right is doubled
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}
