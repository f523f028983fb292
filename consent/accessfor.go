package consent

import (
	"context"
	"slices"
	"strings"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// AccessFor tells an administrator what [Guard.Access] would tell somebody else: a
// person ("Practitioner/1", "RelatedPerson/1", "Patient/1"), in the first of their
// roles in which the record opens, or an account, by its id. It tells too that the
// family has excluded something, which a guardian themself is not told. An emergency
// access belongs to a session and is not among the bases. Everybody else is refused
// alike, whoever is named (Forbidden, "as"); an administrator who names nobody known
// too (Unprocessable, "as").
func (g *Guard) AccessFor(ctx context.Context, c Caller, patientID, as string) (*AccessReport, error) {
	e := g.entry(c, "access", "Patient")
	patient := fhir.Key{Type: "Patient", ID: patientID}
	if c.Identity.Role != smart.Admin { // without a look at whom they name
		e.about(patient)
		return nil, g.refused(ctx, e, fhir.ElementErrorf(fhir.Forbidden, "as", "Only administrators can ask this for somebody else."))
	}
	if err := g.requireUserScope(c, "Patient", smart.MayRead); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	report := &AccessReport{}
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		*report, e.Detail = AccessReport{}, ""
		own, err := g.decisionFor(tx, c, patient.String(), smart.MayRead)
		if err != nil {
			return err
		}
		e.concern(own)
		people, err := g.standIns(tx, as)
		if err != nil {
			return err
		}
		e.Detail = relativeTo(g.base, as)
		for _, id := range people {
			if err := g.accessAs(tx, c, id, patient.String(), report); err != nil || report.Permitted {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return report, g.auditor.write(ctx, e)
}

// accessAs fills in what somebody would be told. Which sources are named is for what
// the caller may read.
func (g *Guard) accessAs(tx *engine.Tx, c Caller, id smart.Identity, patient string, report *AccessReport) error {
	theirs := Caller{Grant: Portal(id, "")}
	d, err := g.decisionFor(tx, theirs, patient, smart.MayRead)
	if err != nil {
		return err
	}
	p, err := g.cachedPerson(tx, theirs)
	if err != nil {
		return err
	}
	whole, err := g.cachedDecision(tx, theirs, p, patient)
	if err != nil {
		return err
	}
	*report = AccessReport{As: id.Role}
	if !d.permitted() {
		if whole.restricted() {
			report.Limits = []string{limitRestrict}
		}
		report.Next, report.From, err = g.nextSteps(tx, theirs, patient)
		return err
	}
	report.Permitted, report.Limits, report.Until = true, d.limits(), lastEnd(d.bases)
	if d.restricted() && !slices.Contains(report.Limits, limitRestrict) {
		report.Limits = append(report.Limits, limitRestrict)
	}
	report.Bases, err = g.sourced(tx, c, patient, d.bases)
	return err
}

// restricted tells whether consents of the patient deny something that a basis opens.
func (d *decision) restricted() bool {
	return d.permitted() && !d.self && slices.ContainsFunc(d.consents, func(c node) bool {
		return !isNone(simplify(d.asker.read(c, "Observation").deny))
	})
}

// sourced names the sources of bases as far as a caller may read them: of a PCP and
// of patients themselves it is the Patient.
func (g *Guard) sourced(tx *engine.Tx, c Caller, patient string, bases []Basis) ([]Basis, error) {
	bases = slices.Clone(bases)
	for i, b := range bases {
		if b.Code == BasisSelf || b.Code == BasisPCP {
			b.Source = patient
		}
		readable, err := g.mayName(tx, c, b.Source)
		if err != nil {
			return nil, err
		}
		if bases[i].Source = b.Source; !readable {
			bases[i].Source = ""
		}
	}
	return bases, nil
}

// mayName tells whether a caller could read a resource: only then its reference is
// theirs to know.
func (g *Guard) mayName(tx *engine.Tx, c Caller, ref string) (bool, error) {
	key, err := fhir.ParseKey(ref)
	if err != nil {
		return false, nil
	}
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound || err == nil && v.Deleted {
		return false, nil
	}
	if err != nil || isOwn(c, key) {
		return err == nil, err
	}
	s, err := g.lookAt(tx, c, key, smart.MayRead)
	if err != nil {
		return false, err
	}
	return store.Eval(tx.Reader(), v, s.sight(key.Type))
}

// standIns lists as whom somebody would be in a session, in the order in which they
// are tried.
func (g *Guard) standIns(tx *engine.Tx, as string) ([]smart.Identity, error) {
	unknown := fhir.ElementErrorf(fhir.Unprocessable, "as", "Name a Practitioner, RelatedPerson or Patient who is known here, or an account by its id.")
	ref := relativeTo(g.base, as)
	key, err := fhir.ParseKey(ref)
	if err != nil {
		all, err := identitiesOf(tx.Reader(), as, "")
		if err == nil && len(all) == 0 {
			err = unknown
		}
		return all, err
	}
	role, known := map[fhir.Type]smart.Role{"Practitioner": smart.Provider, "RelatedPerson": smart.Proxy, "Patient": smart.Patient}[key.Type]
	v, _, err := live(tx, ref)
	if err != nil || v == nil || !known {
		return nil, orElse(err, unknown)
	}
	logins, err := tx.Reader().Records(recordAccountOf, ref+" ", "", maxLogins)
	if err != nil {
		return nil, err
	}
	var all []smart.Identity
	for _, login := range logins {
		some, err := identitiesOf(tx.Reader(), strings.TrimPrefix(login.Key, ref+" "), ref)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 { // as whom they would be with a login
		all = []smart.Identity{identityOf(role, ref)}
	}
	return all, nil
}

// sessionRoles are the roles in which somebody may look at records, in the order in
// which they are tried.
var sessionRoles = []smart.Role{smart.Patient, smart.Proxy, smart.Provider, smart.Sponsored, smart.Staff, smart.Admin}

// identitiesOf gives the identities of an account, or those of a person: none when it
// is not there, or stands for nobody.
func identitiesOf(r store.Reader, account, person string) ([]smart.Identity, error) {
	a, err := readAccount(r, account)
	if err == store.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []smart.Identity
	for _, role := range sessionRoles {
		id := smart.Identity{Login: a.ID, Role: role, FHIRUser: person}
		for _, l := range a.Links {
			if l.Role == role {
				id.Persons = append(id.Persons, l.Person)
			}
		}
		if len(id.Persons) == 0 || person != "" && !slices.Contains(id.Persons, person) {
			continue
		}
		id.FHIRUser = or(person, id.Persons[0])
		all = append(all, id)
	}
	return all, nil
}
