package consent

import (
	"context"
	"slices"

	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// gatewayTypes are written by the gateway alone.
var gatewayTypes = []fhir.Type{"AuditEvent", "Provenance", "Communication"}

// identityTypes say who somebody is, and so what is open to them.
var identityTypes = []fhir.Type{"Person"}

// familyTypes are what patients and guardians write.
var familyTypes = []fhir.Type{"CareTeam", "Consent"}

// mayWrite reports whether a role writes a type at all; the record it belongs to
// is judged apart. A system writes what its registration allows.
func mayWrite(role smart.Role, t fhir.Type) bool {
	switch role {
	case smart.System:
		return t != "AuditEvent"
	case smart.Provider:
		return !isDirectory(t) && !slices.Contains(gatewayTypes, t) && !slices.Contains(staffTypes, t) && !slices.Contains(identityTypes, t)
	case smart.Patient, smart.Proxy:
		return slices.Contains(familyTypes, t) || t == "Subscription"
	case smart.Staff: // care teams on a caller's word only: AddToCareTeam
		return slices.Contains(staffTypes, t) && t != "CareTeam"
	case smart.Admin:
		return slices.Contains(staffTypes, t) && t != "CareTeam" || isDirectory(t) || t == "Consent"
	}
	return false
}

// writeBases are the bases on which a record may be written, not only read.
var writeBases = []BasisCode{BasisSelf, BasisProxy, BasisPCP, BasisCareTeam, BasisStaff, BasisSystem}

// A Method is what a write does.
type Method string

// The methods.
const (
	Create Method = "create"
	Update Method = "update"
	Patch  Method = "patch"
	Delete Method = "delete"
)

// AnyVersion as an IfMatch asks for a resource that is there, of whatever version.
const AnyVersion = engine.AnyVersion

// A Write is one interaction that changes something. Without an ID it is
// conditional: the criteria, a query string, say which resource is meant. With a
// creation they are those of If-None-Exist, or empty.
type Write struct {
	Method   Method
	Type     fhir.Type
	ID       string
	Criteria string
	Body     []byte // a resource; of a Patch a JSON Patch
	IfMatch  *int64 // the version that it must have, or AnyVersion
	OnlyNew  bool   // If-None-Match: *, of an Update
}

// Written is what came of a Write.
type Written struct {
	Resource *fhir.Resource // nil when there was nothing to delete
	Created  bool
}

// Write carries out one write. A Consent goes through the life cycle it belongs
// to; a provider's request that is open already is what Create then gives. What
// a resource was and what it will be must both be open to the caller; of what is
// not, nothing is told. Criteria match only what the caller could find by a
// search.
func (g *Guard) Write(ctx context.Context, c Caller, w Write) (*Written, error) {
	t := newTask(w)
	if err := g.carryOut(ctx, c, &work{tasks: []*task{t}}); err != nil {
		return nil, err
	}
	return &t.done.Written, nil
}

// Create adds a resource; created is false when it was there already.
func (g *Guard) Create(ctx context.Context, c Caller, t fhir.Type, body []byte) (r *fhir.Resource, created bool, err error) {
	return unpack(g.Write(ctx, c, Write{Method: Create, Type: t, Body: body}))
}

// Update replaces a resource, or creates it under an id that is free.
func (g *Guard) Update(ctx context.Context, c Caller, key fhir.Key, body []byte, ifMatch *int64) (r *fhir.Resource, created bool, err error) {
	return unpack(g.Write(ctx, c, Write{Method: Update, Type: key.Type, ID: key.ID, Body: body, IfMatch: ifMatch}))
}

// Delete removes a resource; removing what is gone already is no error.
func (g *Guard) Delete(ctx context.Context, c Caller, key fhir.Key, ifMatch *int64) error {
	_, err := g.Write(ctx, c, Write{Method: Delete, Type: key.Type, ID: key.ID, IfMatch: ifMatch})
	return err
}

func unpack(w *Written, err error) (*fhir.Resource, bool, error) {
	if err != nil {
		return nil, false, err
	}
	return w.Resource, w.Created, nil
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
// belong to must be one on whom the caller has a basis that lets them write such a
// thing, and the scopes and the patients' consents must open it as it will be.
func (g *Guard) allowImage(tx *engine.Tx, c Caller, want smart.Permission, t fhir.Type, terms store.Terms) error {
	owners := []string{}
	for o := range terms.Values(store.Owner) {
		owners = append(owners, string(o))
		if t != "Patient" && !exists(tx, string(o)) && !isComing(tx, string(o)) {
			if c.Identity.Role != smart.System { // whether it exists is no matter of theirs
				return errClosed()
			}
			return refuse(string(t), "It belongs to the record of %s, which does not exist.", string(o))
		}
	}
	if limits := limitsTo(c, t, want); limits != nil && !isDirectory(t) && slices.ContainsFunc(owners, func(o string) bool { return !slices.Contains(limits, o) }) {
		return errClosed() // what belongs to the launch patient and to others is not for an app of one patient to write
	}
	s, err := g.look(tx, c, t, want, owners)
	if err != nil {
		return err
	}
	if t == "Consent" && s.person.is(smart.Admin) {
		return nil // see checkDirective and correct
	}
	image := &store.Version{Key: store.Key{Type: string(t)}, Terms: terms}
	open, err := store.Eval(tx.Reader(), image, s.sight(t))
	if err != nil {
		return err
	}
	if !open {
		return errClosed()
	}
	if t == "Subscription" || s.person.is(smart.System) || s.person.is(smart.Staff) || s.person.is(smart.Admin) {
		return nil
	}
	if t == "Group" && s.person.is(smart.Provider) && namesProviders(terms) {
		return fhir.Errorf(fhir.Forbidden, "Who is in a group of providers decides what they see; it is for others to say.")
	}
	if len(owners) == 0 {
		return fhir.Errorf(fhir.Forbidden, "The resource names no patient whose record it belongs to.")
	}
	for _, o := range owners {
		var writable store.Or
		for _, d := range s.decisions {
			if d.patient == o {
				writable = append(writable, d.writable(t))
			}
		}
		writes, err := store.Eval(tx.Reader(), image, writable)
		if err != nil {
			return err
		}
		if !writes {
			return fhir.Errorf(fhir.Forbidden, "The access to this record, or to this part of it, is for reading only.")
		}
	}
	return nil
}

// namesProviders tells whether there are providers among the members of a Group.
func namesProviders(terms store.Terms) bool {
	for m := range terms.Values("member") {
		if key, err := fhir.ParseKey(string(m)); err == nil && key.Type != "Patient" {
			return true
		}
	}
	return false
}

func errClosed() error {
	return fhir.Errorf(fhir.Forbidden, "This would write to a record, or a part of one, that is not open to the caller.")
}

// recordWrite leaves the traces of a write: an audit entry, for a care team a
// Provenance, for a Subscription what serves it.
func (g *Guard) recordWrite(tx *engine.Tx, c Caller, action string, r *fhir.Resource, before ...string) error {
	if r.Type == "CareTeam" && !r.Deleted {
		for o := range store.Terms(r.Terms).Values(store.Owner) {
			if err := g.provenance(tx, c, r.Key, string(o), action+" care team", ""); err != nil {
				return err
			}
			break
		}
	}
	if r.Type == "Subscription" {
		if err := g.enlist(tx, c, r); err != nil {
			return err
		}
	}
	return g.auditWrite(tx, c, action, r, nil, before...)
}

// versionOf gives the number of the newest version and to whom it belongs; 0 when
// there is none.
func versionOf(tx *engine.Tx, key fhir.Key) (number int64, owners []string, err error) {
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	for o := range v.Terms.Values(store.Owner) {
		owners = append(owners, string(o))
	}
	return v.Version, owners, nil
}

// replaceable gives the newest version of what a write replaces: hidden is
// NotFound, and so is, for people, an id that is free: or trying ids would tell
// which are not. To a system, whose a free id is, it gives nil.
func (g *Guard) replaceable(tx *engine.Tx, c Caller, key fhir.Key, want smart.Permission) (*store.Version, error) {
	v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err == store.ErrNotFound && c.Identity.Role == smart.System {
		return nil, nil
	}
	if err == store.ErrNotFound {
		return nil, fhir.ErrNotFound()
	}
	if err != nil || key.Type == "Consent" && c.Identity.Role == smart.Admin { // see checkDirective and correct
		return v, err
	}
	s, err := g.lookAt(tx, c, key, want)
	if err != nil {
		return nil, err
	}
	if open, err := store.Eval(tx.Reader(), v, s.sight(key.Type)); err != nil || !open {
		return nil, orNotFound(err)
	}
	return v, nil
}

// allowBefore judges the resource that a write replaces.
func (g *Guard) allowBefore(tx *engine.Tx, c Caller, key fhir.Key, want smart.Permission) error {
	v, err := g.replaceable(tx, c, key, want)
	if v == nil || err != nil {
		return err
	}
	if err := refuseNotice(v.Terms); err != nil {
		return err
	}
	if key.Type == "Provenance" {
		return fhir.Errorf(fhir.Forbidden, "A Provenance is never changed.")
	}
	return g.allowImage(tx, c, want, key.Type, v.Terms)
}
