package consent

import (
	"reflect"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// notForOneself refuses staff and administrators a write that would open records
// to themselves in another role of theirs: as the guardian that they are, as PCP
// (themselves, who sponsors them, or an organisation where either holds a role), or
// by a place in an organisation; and one that says of a patient of their family who
// decides beside them, or who is the PCP. What is so already may stay. terms are nil
// for a deletion.
func (g *Guard) notForOneself(tx *engine.Tx, c Caller, key fhir.Key, terms store.Terms) error {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return nil
	}
	var before store.Terms
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == nil {
		before = v.Terms
	} else if err != store.ErrNotFound {
		return err
	}
	var named, families []string
	switch key.Type {
	case "RelatedPerson":
		named = []string{key.String()}
		for _, t := range []store.Terms{before, terms} {
			for owner := range t.Values(store.Owner) {
				families = append(families, string(owner))
			}
		}
	case "Patient":
		if named = added(before, terms, "general-practitioner"); len(named) > 0 {
			families = []string{key.String()}
		}
	case "PractitionerRole":
		for ref := range terms.Values("practitioner") {
			named = append(named, string(ref))
		}
	}
	for _, ref := range named {
		if err := g.notOneself(tx, c, ref); err != nil {
			return err
		}
	}
	for _, patient := range families {
		if err := g.notOfOneself(tx, c, patient); err != nil {
			return err
		}
	}
	return nil
}

// added lists the values of a term that were not there before.
func added(before, after store.Terms, name string) (list []string) {
	was := map[string]bool{}
	for value := range before.Values(name) {
		was[string(value)] = true
	}
	for value := range after.Values(name) {
		if !was[string(value)] {
			list = append(list, string(value))
		}
	}
	return list
}

// notOneself refuses staff and administrators when the login stands for a person,
// for who holds a role, or for somebody with a role in an organisation; or works for
// one of these.
func (g *Guard) notOneself(tx *engine.Tx, c Caller, person string) error {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return nil
	}
	if key, err := fhir.ParseKey(person); err == nil && key.Type == "PractitionerRole" {
		_, role, err := live(tx, person)
		if err != nil {
			return err
		}
		person = relativeTo(g.base, role.ref("practitioner"))
	}
	own, err := linkedTo(tx.Reader(), person, c.Identity.Login)
	if err != nil {
		return err
	}
	if !own {
		if own, err = g.isOneOf(tx, person, c.Identity.Login); err != nil {
			return err
		}
	}
	if own {
		return fhir.Errorf(fhir.Forbidden, "What opens records to oneself is for a colleague to write.")
	}
	return nil
}

// isOneOf tells whether a person is a sponsor of a login, or an organisation in
// which one of its people, or of its sponsors, holds a role, now or at another
// time: one that begins tomorrow would open the record then.
func (g *Guard) isOneOf(tx *engine.Tx, person, login string) (bool, error) {
	people, err := g.sponsorsOf(tx, login)
	if err != nil || slices.Contains(people, person) {
		return err == nil, err
	}
	key, err := fhir.ParseKey(person)
	if err != nil || key.Type != "Organization" {
		return false, nil
	}
	a, err := readAccount(tx.Reader(), login)
	if err == store.ErrNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, l := range a.Links {
		people = append(people, l.Person)
	}
	roles, err := findAll(tx, "PractitionerRole", store.And{referenceIn("practitioner", people), search.ReferenceTerm("organization", key)})
	return len(roles) > 0, err
}

// ofAge are the elements of a Patient on which the age band rests, by which a
// guardian sees a record or does not.
var ofAge = []string{"birthDate", "_birthDate", "deceasedBoolean", "deceasedDateTime", "_deceasedBoolean", "_deceasedDateTime"}

// notTheAge refuses the desk to change a birth date or a death: moving a birthday
// by some years hands a record to a guardian, or takes it from the patient. An
// administrator corrects it, and not that of a patient for whom their own login
// stands in another role. What was deleted counts as it last was.
func (g *Guard) notTheAge(tx *engine.Tx, c Caller, key fhir.Key, after node) error {
	if c.Identity.Role != smart.Staff && c.Identity.Role != smart.Admin {
		return nil
	}
	v, err := tx.Reader().Resource(store.Key{Type: "Patient", ID: key.ID})
	if err == nil && v.Deleted {
		v, err = tx.Reader().ResourceVersion(v.Key, v.Version-1)
	}
	if err == store.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := fhir.Tree(v.Body)
	if err != nil {
		return err
	}
	for _, name := range ofAge {
		if reflect.DeepEqual(before[name], after[name]) {
			continue
		}
		if c.Identity.Role == smart.Staff {
			return &fhir.Error{Kind: fhir.Forbidden, Issues: []fhir.Issue{{Expression: "Patient." + strings.TrimPrefix(name, "_"), Text: "A birth date or a death is for an administrator to correct."}}}
		}
		return g.notOfOneself(tx, c, key.String())
	}
	return nil
}

// notOfOneself refuses staff and administrators what they would do about a patient
// whom their login stands for, or whose guardian it is, today or not.
func (g *Guard) notOfOneself(tx *engine.Tx, c Caller, patient string) error {
	related, err := findAll(tx, "RelatedPerson", ownedBy(patient))
	if err != nil {
		return err
	}
	for _, person := range append(keysOf(related), patient) {
		if err := g.notOneself(tx, c, person); err != nil {
			return err
		}
	}
	return nil
}
