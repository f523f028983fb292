package consent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// recordAccountWord leads from what an account is called by (words of the name,
// e-mail address, subject) to it: "word id".
const recordAccountWord = "account-word"

const (
	maxAccountsFound = 20
	maxWord          = 100 // bytes of a word that is listed
)

// A LinkView is a link with the name of the person, and of whose guardian it is,
// as far as they may be told.
type LinkView struct {
	Link
	Name string
	Of   string
}

// An AccountView is an account as an administrator sees it.
type AccountView struct {
	Account
	People []LinkView // its links, in their order
	Checks []Check    // what administrators checked about it, the latest first; of one account
}

// words are what an account can be found by, in small letters.
func (a *Account) words() []string {
	var all []string
	for _, text := range []string{a.Name, a.Email, a.Subject} {
		for _, word := range wordsOf(text) {
			if !slices.Contains(all, word) {
				all = append(all, word)
			}
		}
	}
	return all
}

func wordsOf(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(strings.ToValidUTF8(text, "")), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	return slices.DeleteFunc(words, func(w string) bool { return len(w) > maxWord })
}

// list brings the words that lead to an account in line with what it is now.
func (a *Account) list(w store.Writer, before []string) error {
	now := a.words()
	for _, word := range before {
		if slices.Contains(now, word) {
			continue
		}
		if err := w.DeleteRecord(recordAccountWord, word+" "+a.ID); err != nil {
			return err
		}
	}
	for _, word := range now {
		if err := w.PutRecord(&store.Record{Kind: recordAccountWord, Key: word + " " + a.ID}); err != nil {
			return err
		}
	}
	return nil
}

// requireAdmin refuses everybody else, as if there were nothing.
func requireAdmin(c Caller) error {
	if c.Identity.Role != smart.Admin {
		return fhir.ErrNotFound()
	}
	return nil
}

// FindAccounts lists the accounts that an administrator means, at most twenty:
// those of a person, by NPI, MRN or a reference like Practitioner/1; of a patient
// their guardians' too; else those whose name, e-mail address or subject has words
// that begin like these.
func (g *Guard) FindAccounts(ctx context.Context, c Caller, query string) ([]AccountView, error) {
	e := g.entry(c, "find-accounts", "Practitioner")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var found []AccountView
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		found = nil
		ids, err := g.accountsOf(tx, strings.TrimSpace(query))
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			if ids, err = accountsNamed(tx.Reader(), wordsOf(query)); err != nil {
				return err
			}
		}
		for _, id := range ids[:min(len(ids), maxAccountsFound)] {
			view, err := g.accountView(tx, c, e, id)
			if err != nil {
				return err
			}
			found = append(found, *view)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return found, g.auditor.write(ctx, e)
}

// accountsOf lists the ids of the accounts of a person.
func (g *Guard) accountsOf(tx *engine.Tx, query string) ([]string, error) {
	persons, err := g.personsMeant(tx, query)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, person := range persons {
		found, err := tx.Reader().Records(recordAccountOf, person+" ", "", maxAccountsFound)
		if err != nil {
			return nil, err
		}
		for _, rec := range found {
			if id := strings.TrimPrefix(rec.Key, person+" "); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// personsMeant lists who an NPI, an MRN or a reference means.
func (g *Guard) personsMeant(tx *engine.Tx, query string) ([]string, error) {
	if ValidNPI(query) {
		found, err := findAll(tx, "Practitioner", search.TokenTerm("identifier", systemNPI, query))
		return keysOf(found), err
	}
	if key, err := fhir.ParseKey(query); err == nil {
		return []string{key.String()}, nil
	}
	if query == "" {
		return nil, nil
	}
	patient, err := g.findMRN(tx, query)
	if fhir.KindOf(err) == fhir.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	guardians, err := findAll(tx, "RelatedPerson", search.ReferenceTerm("patient", fhir.Key{Type: "Patient", ID: patient.ID}))
	return append([]string{patient.Key.String()}, keysOf(guardians)...), err
}

func keysOf(versions []*store.Version) []string {
	keys := make([]string, len(versions))
	for i, v := range versions {
		keys[i] = v.Key.String()
	}
	return keys
}

// accountsNamed lists the ids of the accounts that have a word beginning with
// each of some.
func accountsNamed(r store.Reader, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	longest := slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) })
	listed, err := r.Records(recordAccountWord, longest, "", 10*maxAccountsFound)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, rec := range listed {
		id := rec.Key[strings.LastIndexByte(rec.Key, ' ')+1:]
		if slices.Contains(ids, id) {
			continue
		}
		a, err := readAccount(r, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		own := a.words()
		begins := func(word string) bool {
			return slices.ContainsFunc(own, func(w string) bool { return strings.HasPrefix(w, word) })
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !begins(w) }) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// AccountFor gives an account to an administrator; NotFound when there is none.
func (g *Guard) AccountFor(ctx context.Context, c Caller, id string) (*AccountView, error) {
	e := g.entry(c, "read-account", "Practitioner")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var view *AccountView
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		if view, err = g.accountView(tx, c, e, id); err != nil {
			return err
		}
		view.Checks, err = checksOf(tx.Reader(), id)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return view, g.auditor.write(ctx, e)
}

func (g *Guard) accountView(tx *engine.Tx, c Caller, e *auditEntry, id string) (*AccountView, error) {
	a, err := readAccount(tx.Reader(), id)
	if err == store.ErrNotFound {
		return nil, fhir.ErrNotFound()
	}
	if err != nil {
		return nil, err
	}
	view := &AccountView{Account: *a}
	for _, l := range a.Links {
		named := LinkView{Link: l}
		if err := g.nameFor(tx, c, e, &named); err != nil {
			return nil, err
		}
		view.People = append(view.People, named)
	}
	return view, nil
}

// nameFor fills in the names of a link, of families only as far as the record of
// the patient is open to the caller.
func (g *Guard) nameFor(tx *engine.Tx, c Caller, e *auditEntry, l *LinkView) error {
	e.Returned = append(e.Returned, l.Person)
	_, n, err := live(tx, l.Person)
	if err != nil || n == nil {
		return err
	}
	patient := ""
	switch n.str("resourceType") {
	case "Patient":
		patient = l.Person
	case "RelatedPerson":
		patient = relativeTo(g.base, n.ref("patient"))
	}
	if patient != "" {
		d, err := g.decisionFor(tx, c, patient, smart.MayRead)
		if err != nil || !d.permitted() {
			return err
		}
		e.concern(d)
	}
	l.Name = humanName(n.list("name"))
	if patient == "" || patient == l.Person {
		return nil
	}
	_, child, err := live(tx, patient)
	l.Of = humanName(child.list("name"))
	return err
}

// Unlink takes a link away from an account, as an administrator: the login cannot
// act as that person from the next request on. Nobody takes away what they
// themselves act by, lest nobody be left (Unprocessable).
func (g *Guard) Unlink(ctx context.Context, c Caller, id string, link Link) error {
	e := g.entry(c, "unlink", "Practitioner")
	if err := requireAdmin(c); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		a, err := readAccount(tx.Reader(), id)
		if err == store.ErrNotFound || err == nil && !slices.Contains(a.Links, link) {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		if id == c.Identity.Login && link.Role == smart.Admin {
			return refuse("link", "Another administrator has to take this away.")
		}
		if err := a.unlink(tx.Writer(), link); err != nil {
			return err
		}
		e.Returned = []string{link.Person}
		if key, err := fhir.ParseKey(link.Person); err == nil && key.Type == "Patient" {
			e.Patients = []string{link.Person}
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}
