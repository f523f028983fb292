package consent

import (
	"context"
	"fmt"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// gatewayTypes are written by the gateway alone.
var gatewayTypes = []fhir.Type{"AuditEvent", "Provenance", "Communication"}

// familyTypes are what patients and guardians write.
var familyTypes = []fhir.Type{"CareTeam", "Consent"}

// mayWrite reports whether a role writes a type at all; the record it belongs to
// is judged apart. A system writes what its registration allows.
func mayWrite(role smart.Role, t fhir.Type) bool {
	switch role {
	case smart.System:
		return t != "AuditEvent"
	case smart.Provider:
		return !isDirectory(t) && !slices.Contains(gatewayTypes, t) && !slices.Contains(staffTypes, t)
	case smart.Patient, smart.Proxy:
		return slices.Contains(familyTypes, t)
	case smart.Staff: // care teams on a caller's word only: AddToCareTeam
		return slices.Contains(staffTypes, t) && t != "CareTeam"
	case smart.Admin:
		return slices.Contains(staffTypes, t) && t != "CareTeam" || isDirectory(t) || t == "Consent"
	}
	return false
}

// writeBases are the bases on which a record may be written, not only read.
var writeBases = []BasisCode{BasisSelf, BasisProxy, BasisPCP, BasisCareTeam, BasisStaff, BasisSystem}

// Create adds a resource. A Consent goes through the life cycle it belongs to:
// then created may be false, and the resource the one that was there already.
func (g *Guard) Create(ctx context.Context, c Caller, t fhir.Type, body []byte) (r *fhir.Resource, created bool, err error) {
	e := g.entry(c, "create", t)
	p, err := g.prepareWrite(c, t, smart.MayCreate, body)
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	if t == "Consent" && c.Identity.Role == smart.Provider {
		return g.createRequest(ctx, c, p)
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		r, err = nil, nil
		if err := g.allowImage(tx, c, smart.MayCreate, t, p.Terms()); err != nil {
			return err
		}
		if t == "Consent" {
			if err := g.checkDirective(c, tx, node(p.Tree)); err != nil {
				return err
			}
		}
		if err := g.watch(tx, c, t, p.Terms()); err != nil {
			return err
		}
		if r, err = tx.Create(p, ""); err != nil {
			return err
		}
		return g.recordWrite(tx, c, "create", r)
	})
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	return r, true, nil
}

// prepareWrite does what comes before a transaction: scopes, role, body.
func (g *Guard) prepareWrite(c Caller, t fhir.Type, want smart.Permission, body []byte) (*engine.Prepared, error) {
	if err := g.requireScope(c, t, want); err != nil {
		return nil, err
	}
	if !mayWrite(c.Identity.Role, t) {
		return nil, fhir.Errorf(fhir.Forbidden, "This account does not write resources of type %s.", t)
	}
	p, err := g.engine.Prepare(body)
	if err != nil {
		return nil, err
	}
	if err := refuseNotice(p.Terms()); err != nil {
		return nil, err
	}
	if tag := fhir.Subsetted(p.Tree); tag >= 0 {
		return nil, fhir.ElementErrorf(fhir.Unprocessable, fmt.Sprintf("%s.meta.tag[%d]", t, tag), "This is a part of a resource only, as _summary and _elements give it; to store it would lose the rest.")
	}
	if p.Type != t {
		return nil, fhir.ElementErrorf(fhir.Invalid, "resourceType", "The body is a %s, the address says %s.", p.Type, t)
	}
	return p, nil
}

// refuseNotice keeps notices to the gateway: they are mailed.
func refuseNotice(terms store.Terms) error {
	for kind := range terms.Values(termKind) {
		if string(kind) == kindNotice {
			return fhir.Errorf(fhir.Forbidden, "Notices are written by the gateway alone.")
		}
	}
	return nil
}

// allowImage judges what a resource will be after a write: every patient it will
// belong to must be one on whom the caller has a basis that lets them write, and
// the scopes and the patients' consents must open it as it will be.
func (g *Guard) allowImage(tx *engine.Tx, c Caller, want smart.Permission, t fhir.Type, terms store.Terms) error {
	owners := []string{}
	for o := range terms.Values(store.Owner) {
		owners = append(owners, string(o))
		if t != "Patient" && !exists(tx, string(o)) {
			if c.Identity.Role != smart.System { // whether it exists is no matter of theirs
				return errClosed()
			}
			return refuse(string(t), "It belongs to the record of %s, which does not exist.", string(o))
		}
	}
	s, err := g.look(tx, c, t, want, owners)
	if err != nil {
		return err
	}
	if t == "Consent" && s.person.is(smart.Admin) {
		return nil // see checkDirective and correct
	}
	open, err := store.Eval(tx.Reader(), &store.Version{Key: store.Key{Type: string(t)}, Terms: terms}, s.sight(t))
	if err != nil {
		return err
	}
	if !open {
		return errClosed()
	}
	if s.person.is(smart.System) || s.person.is(smart.Staff) || s.person.is(smart.Admin) {
		return nil
	}
	if len(owners) == 0 {
		return fhir.Errorf(fhir.Forbidden, "The resource names no patient whose record it belongs to.")
	}
	for _, o := range owners {
		writes := slices.ContainsFunc(s.decisions, func(d *decision) bool {
			return d.patient == o && slices.ContainsFunc(d.bases, func(b Basis) bool { return slices.Contains(writeBases, b.Code) })
		})
		if !writes {
			return fhir.Errorf(fhir.Forbidden, "The access to this record is for reading only.")
		}
	}
	return nil
}

func errClosed() error {
	return fhir.Errorf(fhir.Forbidden, "This would write to a record, or a part of one, that is not open to the caller.")
}

// recordWrite leaves the traces of a write: an audit entry, and for a care team
// a Provenance.
func (g *Guard) recordWrite(tx *engine.Tx, c Caller, action string, r *fhir.Resource) error {
	if r.Type == "CareTeam" && !r.Deleted {
		for o := range store.Terms(r.Terms).Values(store.Owner) {
			if err := g.provenance(tx, c, r.Key, string(o), action+" care team", ""); err != nil {
				return err
			}
			break
		}
	}
	return g.auditWrite(tx, c, action, r, nil)
}

// Update replaces a resource, or creates it under an id that is free. What it was
// and what it will be must both be open to the caller.
func (g *Guard) Update(ctx context.Context, c Caller, key fhir.Key, body []byte, ifMatch *int64) (r *fhir.Resource, created bool, err error) {
	e := g.entry(c, "update", key.Type)
	body, seen, err := g.keepLabels(ctx, key, body)
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	p, err := g.prepareWrite(c, key.Type, smart.MayUpdate, body)
	if err == nil && p.ID != key.ID {
		err = fhir.ElementErrorf(fhir.Invalid, string(key.Type)+".id", "The id of the body must be the id of the address.")
	}
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	if key.Type == "Consent" {
		handled, r, err := g.updateConsent(ctx, c, key.ID, node(p.Tree), ifMatch)
		if handled || err != nil {
			return r, false, err
		}
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := g.allowBefore(tx, c, key, smart.MayUpdate); err != nil {
			return err
		}
		if now, err := versionOf(tx, key); err != nil || now != seen {
			return orElse(err, fhir.Errorf(fhir.Conflict, "The resource was changed meanwhile."))
		}
		if err := g.allowImage(tx, c, smart.MayUpdate, key.Type, p.Terms()); err != nil {
			return err
		}
		if key.Type == "Consent" {
			if err := g.checkOldDirective(c, tx, key); err != nil {
				return err
			}
			if err := g.checkDirective(c, tx, node(p.Tree)); err != nil {
				return err
			}
		}
		if err := g.watch(tx, c, key.Type, p.Terms()); err != nil {
			return err
		}
		if r, created, err = tx.Update(p, ifMatch); err != nil {
			return err
		}
		return g.recordWrite(tx, c, "update", r)
	})
	if err != nil {
		return nil, false, g.refused(ctx, e, err)
	}
	return r, created, nil
}

// versionOf gives the number of the newest version; 0 when there is none.
func versionOf(tx *engine.Tx, key fhir.Key) (int64, error) {
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return v.Version, nil
}

// keepLabels adds to a body the security labels of the version that it replaces
// (https://hl7.org/fhir/R4/resource.html#Meta: labels are merged on update), so
// that an app that leaves meta out does not open what was closed. It gives the
// number of that version.
func (g *Guard) keepLabels(ctx context.Context, key fhir.Key, body []byte) ([]byte, int64, error) {
	var old []any
	var seen int64
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
		if err == store.ErrNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		seen = v.Version
		if v.Deleted {
			return nil
		}
		tree, err := fhir.Tree(v.Body)
		old, _ = node(tree).obj("meta")["security"].([]any)
		return err
	})
	if err != nil || len(old) == 0 {
		return body, seen, err
	}
	return fhir.AddSecurity(body, old), seen, nil
}

// allowBefore judges the resource that a write replaces: hidden is NotFound, and
// so is, for people, an id that is free: or trying ids would tell which are not.
func (g *Guard) allowBefore(tx *engine.Tx, c Caller, key fhir.Key, want smart.Permission) error {
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound && c.Identity.Role == smart.System {
		return nil
	}
	if err == store.ErrNotFound {
		return fhir.ErrNotFound()
	}
	if err != nil {
		return err
	}
	if err := refuseNotice(v.Terms); err != nil {
		return err
	}
	if key.Type == "Provenance" {
		return fhir.Errorf(fhir.Forbidden, "A Provenance is never changed.")
	}
	s, err := g.lookAt(tx, c, key, want)
	if err != nil {
		return err
	}
	if key.Type == "Consent" && s.person.is(smart.Admin) {
		return nil
	}
	open, err := store.Eval(tx.Reader(), v, s.sight(key.Type))
	if err != nil || !open {
		return orNotFound(err)
	}
	return g.allowImage(tx, c, want, key.Type, v.Terms)
}

// Delete removes a resource; removing what is gone already is no error.
func (g *Guard) Delete(ctx context.Context, c Caller, key fhir.Key, ifMatch *int64) error {
	e := g.entry(c, "delete", key.Type)
	err := g.requireScope(c, key.Type, smart.MayDelete)
	if err == nil && !mayWrite(c.Identity.Role, key.Type) {
		err = fhir.Errorf(fhir.Forbidden, "This account does not delete resources of type %s.", key.Type)
	}
	if err != nil {
		return g.refused(ctx, e, err)
	}
	err = g.engine.Update(ctx, func(tx *engine.Tx) error {
		if _, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID}); err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err := g.allowBefore(tx, c, key, smart.MayDelete); err != nil {
			return err
		}
		if key.Type == "Consent" {
			if err := g.checkOldDirective(c, tx, key); err != nil {
				return err
			}
		}
		if err := g.watch(tx, c, key.Type, store.Terms{}); err != nil {
			return err
		}
		r, err := tx.Delete(key, ifMatch)
		if err != nil || r == nil {
			return err
		}
		return g.recordWrite(tx, c, "delete", r)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}
