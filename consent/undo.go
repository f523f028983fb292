package consent

import (
	"context"
	"maps"
	"slices"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// What a family stops in the portal is shut at once, and whoever stopped it can take
// that back for a moment, in the same session and as long as nothing else has
// happened to it. What comes back is what there was, never more: so nobody has to
// prove anew who they are, and nobody else has to agree again.
//
// A Consent that was stopped stays so (see transitions): another that says the same
// takes its place, and its Provenance tells of which.

// UndoTime is for how long pages offer to undo. A little more is granted, for the way
// of the page there and of the answer back.
const (
	UndoTime  = 10 * time.Second
	undoGrace = 5 * time.Second
)

// recordUndo is the kind of the records of what can be undone, by what was stopped.
const recordUndo = "undo"

// An undoing says who can take back what.
type undoing struct {
	Session  string           `json:"s"`
	Login    string           `json:"l"`
	Person   string           `json:"p"`
	Versions map[string]int64 `json:"v"` // of the resources, as stopping left them
}

func errUndone() error { return refuse("undo", "This can no longer be undone.") }

// keepUndo notes that a caller can undo what they do in this transaction: somebody
// of the family, in the portal.
func keepUndo(tx *engine.Tx, c Caller, what string, versions map[string]int64) error {
	if c.ClientID != PortalClient || c.ID == "" || !isFamily(c) {
		return nil
	}
	u := undoing{c.ID, c.Identity.Login, c.Identity.FHIRUser, versions}
	return store.PutJSON(tx.Writer(), recordUndo, what, u, tx.Now().Add(UndoTime+undoGrace))
}

// takeUndo uses up what keepUndo noted. Whoever did not do it, or comes too late,
// gets the same answer as for what nobody did.
func takeUndo(tx *engine.Tx, c Caller, what string) (map[string]int64, error) {
	rec, err := tx.Reader().Record(recordUndo, what)
	if err == store.ErrNotFound {
		return nil, errUndone()
	}
	if err != nil {
		return nil, err
	}
	var u undoing
	if err := rec.DecodeJSON(&u); err != nil {
		return nil, err
	}
	if c.ClientID != PortalClient || u.Session != c.ID || u.Login != c.Identity.Login || u.Person != c.Identity.FHIRUser || !tx.Now().Before(rec.Expires) {
		return nil, errUndone()
	}
	return u.Versions, tx.Writer().DeleteRecord(recordUndo, what)
}

// UndoRevoke gives an access back that the caller has just revoked: a new Consent
// that says what the revoked one said. Unprocessable when it is too late, when
// somebody else revoked it, or when anything has happened to it since.
func (g *Guard) UndoRevoke(ctx context.Context, c Caller, id string) (*fhir.Resource, error) {
	key := fhir.Key{Type: "Consent", ID: id}
	e := g.entry(c, "restore", key.Type)
	e.about(key)
	if err := g.requireScope(c, key.Type, smart.MayCreate); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	var r *fhir.Resource
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		v, n, d, err := g.answerable(tx, c, revoke, id)
		if err != nil {
			return err
		}
		versions, err := takeUndo(tx, c, key.String())
		if err != nil {
			return err
		}
		if versions[key.String()] != v.Version {
			return errUndone()
		}
		r, err = g.restore(tx, c, n, d)
		return err
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return r, nil
}

// restore writes what takes the place of a revoked access.
func (g *Guard) restore(tx *engine.Tx, c Caller, revoked node, d *decision) (*fhir.Resource, error) {
	n := without(revoked, "id", "meta")
	n["status"] = "active"
	var labels []any // the rules give theirs anew
	for _, l := range revoked.obj("meta").list("security") {
		if l.extension(g.rules.labelMark()) == nil {
			labels = append(labels, l.any())
		}
	}
	if labels != nil {
		n["meta"] = map[string]any{"security": labels}
	}
	r, err := g.put(tx, n, "")
	if err != nil {
		return nil, err
	}
	patient := relativeTo(g.base, n.ref("patient"))
	if err := g.provenance(tx, c, r.Key, patient, "undo revoke access", "", "Consent/"+revoked.str("id")); err != nil {
		return nil, err
	}
	if provider := g.providerOf(n); provider != "" {
		if err := g.notify(tx, patient, noticeRestored, provider); err != nil {
			return nil, err
		}
	}
	return r, g.auditWrite(tx, c, "restore", r, d)
}

// removal names what RemoveFromCareTeam did, for undoing it.
func removal(patient string, provider fhir.Key) string {
	return "remove " + patient + " " + provider.String()
}

// UndoRemoval puts a provider back on the care teams that the caller has just taken
// them off, as they were on them. Errors as for UndoRevoke.
func (g *Guard) UndoRemoval(ctx context.Context, c Caller, patientID string, provider fhir.Key) error {
	e := g.entry(c, "restore", "CareTeam")
	if err := g.requireScope(c, "CareTeam", smart.MayUpdate); err != nil {
		return g.refused(ctx, e, err)
	}
	patient := "Patient/" + patientID
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		if err := g.mayEditCareTeam(tx, c, patient); err != nil {
			return err
		}
		versions, err := takeUndo(tx, c, removal(patient, provider))
		if err != nil {
			return err
		}
		for _, team := range slices.Sorted(maps.Keys(versions)) {
			if err := g.restoreTeam(tx, c, patient, team, versions[team]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.Patients = []string{patient}
		return g.refused(ctx, e, err)
	}
	return nil
}

// restoreTeam gives a care team the participants that it had before a version.
func (g *Guard) restoreTeam(tx *engine.Tx, c Caller, patient, ref string, version int64) error {
	v, team, err := live(tx, ref)
	if err != nil {
		return err
	}
	if v == nil || v.Version != version {
		return errUndone()
	}
	before, err := tx.Reader().ResourceVersion(v.Key, version-1)
	if err != nil {
		return err
	}
	was, err := fhir.Tree(before.Body)
	if err != nil {
		return err
	}
	team = without(team)
	team["participant"] = was["participant"]
	r, err := g.replace(tx, team)
	if err != nil {
		return err
	}
	if err := g.provenance(tx, c, r.Key, patient, "undo remove from care team", ""); err != nil {
		return err
	}
	return g.auditWrite(tx, c, "restore", r, nil)
}
