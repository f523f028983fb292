package consent

import (
	"context"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// patientKey reads "Patient/1".
func patientKey(s string) (fhir.Key, error) {
	key, err := fhir.ParseKey(s)
	if err != nil || key.Type != "Patient" {
		return fhir.Key{}, fhir.Errorf(fhir.Invalid, "This does not refer to a patient.")
	}
	return key, nil
}

// look prepares what one call may see of some patients; nil stands for all on
// whom the caller may have a basis.
func (g *Guard) look(tx *engine.Tx, c Caller, about fhir.Type, want smart.Permission, patients []string) (*sighting, error) {
	return g.lookAs(tx, &c, about, want, patients)
}

// lookAs is look for a caller who does not change.
func (g *Guard) lookAs(tx *engine.Tx, caller *Caller, about fhir.Type, want smart.Permission, patients []string) (*sighting, error) {
	c := *caller
	if err := g.readAhead(tx, c, patients); err != nil {
		return nil, err
	}
	p, err := g.cachedPerson(tx, c)
	if err != nil {
		return nil, err
	}
	s := &sighting{g: g, caller: caller, person: p, now: tx.Now(), about: about, want: want, ofOne: len(patients) == 1, behind: !tx.Derived()}
	if seesByRole(p.identity.Role) {
		return s, nil
	}
	named := patients != nil
	if !named {
		panel, err := g.panel(tx, c, p)
		if err != nil {
			return nil, err
		}
		if patients, err = g.knownEmergencies(tx, c, panel.patients); err != nil {
			return nil, err
		}
		s.joined = panel.joined
	}
	if want&(smart.MayRead|smart.MaySearch) == 0 {
		c.ID = "" // an emergency is for reading: what it opens is not there to be written
	}
	if err := store.ReadRecords(tx.Reader(), recordEpoch, slices.Values(patients)); err != nil {
		return nil, err
	}
	for _, patient := range patients {
		if named {
			stranger, err := g.isStranger(tx, c, patient)
			if err != nil {
				return nil, err
			}
			if stranger {
				continue
			}
		}
		d, err := g.cachedDecision(tx, c, p, patient)
		if err != nil {
			return nil, err
		}
		if d.permitted() {
			s.decisions = append(s.decisions, d)
		}
	}
	return s, nil
}

// lookAt prepares what a call may see of one resource: the decisions are those of
// the patients who own it.
func (g *Guard) lookAt(tx *engine.Tx, c Caller, key fhir.Key, want smart.Permission) (*sighting, error) {
	owners := []string{}
	if c.Launch.Patient != "" { // mostly the owner: the epochs then come with the resource
		if err := g.readAhead(tx, c, []string{"Patient/" + c.Launch.Patient}); err != nil {
			return nil, err
		}
	}
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err != nil && err != store.ErrNotFound {
		return nil, err
	}
	if err == nil {
		for o := range v.Terms.Values(store.Owner) {
			owners = append(owners, string(o))
		}
	}
	if key.Type == "Patient" { // see whose
		owners = []string{key.String()}
	}
	s, err := g.look(tx, c, key.Type, want, owners)
	if err == nil && v != nil {
		s.owners = owners
	}
	return s, err
}

// Read gives a resource. What the caller has no basis for is NotFound, like what
// does not exist.
func (g *Guard) Read(ctx context.Context, c Caller, key fhir.Key) (*fhir.Resource, error) {
	if key.Type == "AuditEvent" {
		return g.readAuditEvent(ctx, c, key.ID)
	}
	return g.readWith(ctx, c, key, "read", func(tx *engine.Tx, sight engine.Sight) (*fhir.Resource, error) { return tx.Read(key, sight) })
}

// VRead gives one version of a resource.
func (g *Guard) VRead(ctx context.Context, c Caller, key fhir.Key, version int64) (*fhir.Resource, error) {
	return g.readWith(ctx, c, key, "vread", func(tx *engine.Tx, sight engine.Sight) (*fhir.Resource, error) {
		return tx.VRead(key, version, sight)
	})
}

func (g *Guard) readWith(ctx context.Context, c Caller, key fhir.Key, action string, read func(*engine.Tx, engine.Sight) (*fhir.Resource, error)) (*fhir.Resource, error) {
	e := g.entry(c, action, key.Type)
	if err := g.mayRead(c, key); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var found *fhir.Resource
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		found, err = g.readIn(tx, c, e, key, func(sight engine.Sight) (*fhir.Resource, error) { return read(tx, sight) })
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.auditor.write(ctx, e); err != nil {
		return nil, err
	}
	return found, nil
}

// isOwn reports whether a caller asks for themself: whoever may know who they are
// may read it.
func isOwn(c Caller, key fhir.Key) bool {
	return c.Scopes.Has("fhirUser") && key.String() == c.Identity.FHIRUser
}

// mayRead refuses a read that no scope covers.
func (g *Guard) mayRead(c Caller, key fhir.Key) error {
	if isOwn(c, key) {
		return nil
	}
	return g.requireScope(c, key.Type, smart.MayRead)
}

// readIn reads inside a transaction and notes in the entry what was seen.
func (g *Guard) readIn(tx *engine.Tx, c Caller, e *auditEntry, key fhir.Key, read func(engine.Sight) (*fhir.Resource, error)) (*fhir.Resource, error) {
	s, err := g.lookAt(tx, c, key, smart.MayRead)
	if err != nil {
		return nil, err
	}
	e.Patients, e.About = s.owners, nil
	sight := engine.Sight(s.sight)
	if isOwn(c, key) {
		sight = engine.Everything
	}
	e.seenBy(s)
	found, err := read(sight)
	if err != nil {
		e.about(key)
		return nil, err
	}
	e.returned(found)
	return found, nil
}

// list reads a page on a snapshot, logs what it shows and binds its next link,
// which is for the interaction that what names, to the caller.
func (g *Guard) list(ctx context.Context, c Caller, e *auditEntry, what string, read func(*engine.Tx) (*fhir.Page, error)) (*fhir.Page, error) {
	var page *fhir.Page
	err := g.engine.View(ctx, func(tx *engine.Tx) (err error) {
		page, err = read(tx)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	if err := g.auditor.write(ctx, e); err != nil {
		return nil, err
	}
	page.Next = g.sealLink(c, what, page.Next)
	return page, nil
}

// maxPage is the most entries that a page can be asked for.
const maxPage = 1000

// limitsTo gives the patients to whom the scopes of a grant limit a type: the
// launch patient when only patient scopes speak of it; nil when nothing does.
func limitsTo(c Caller, t fhir.Type, want smart.Permission) []string {
	if isDirectory(t) || t == "Subscription" {
		return []string{}
	}
	for _, s := range c.Scopes {
		if s.Covers(string(t)) && s.May&want == want && s.Level != "patient" {
			return nil
		}
	}
	if c.Launch.Patient == "" {
		return nil
	}
	return []string{"Patient/" + c.Launch.Patient}
}

// narrowest gives the shorter of two lists of patients; nil is no limit.
func narrowest(a, b []string) []string {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	both := []string{}
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}
