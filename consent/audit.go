package consent

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// An auditEntry is an entry of the log that is being made; see [audit.Entry].
type auditEntry struct {
	audit.Entry
	log     *audit.Log
	applied url.Values   // the parameters of a search, until their names are noted
	shown   *sighting    // by which a page was found, until what it shows is noted; see settle
	page    []fhir.Entry // of it
}

// entry begins an audit entry for a call.
func (g *Guard) entry(c Caller, action string, t fhir.Type) *auditEntry {
	return &auditEntry{log: g.auditor.log, Entry: audit.Entry{
		When: g.now(), Login: c.Identity.Login, Name: c.Identity.Name, Person: c.Identity.FHIRUser, Role: c.Identity.Role,
		Client: c.ClientName, ClientID: c.ClientID, Address: c.Address, Request: c.RequestID, Action: action, Type: t, Purpose: purposeOf(c),
	}}
}

// purposeOf gives the purpose of a call, a code of v3-ActReason.
func purposeOf(c Caller) string {
	switch c.Identity.Role {
	case smart.Patient:
		return "PATRQT"
	case smart.Proxy:
		return "FAMRQT"
	case smart.Staff, smart.Admin:
		return "HOPERAT"
	}
	return "TREAT"
}

// seenBy notes who looked and whose record, on which bases.
func (e *auditEntry) seenBy(s *sighting) {
	e.from(s.person)
	e.concern(s.decisions...)
}

// from notes the organisation that a provider practises at.
func (e *auditEntry) from(p *person) {
	if len(p.orgs) > 0 {
		e.Org = p.orgs[0]
	}
}

// concern notes whose record is concerned and on which bases.
func (e *auditEntry) concern(decisions ...*decision) {
	for _, d := range decisions {
		if !slices.Contains(e.Patients, d.patient) {
			e.Patients = append(e.Patients, d.patient)
		}
		for _, b := range d.bases {
			if b.Code == BasisEmergency {
				e.Purpose = purposeBTG
			}
			basis := string(b.Code)
			if b.Source != "" {
				basis += " " + b.Source
			}
			if !slices.Contains(e.Bases[d.patient], basis) {
				if e.Bases == nil {
					e.Bases = map[string][]string{}
				}
				e.Bases[d.patient] = append(e.Bases[d.patient], basis)
			}
		}
	}
}

// returned notes a resource that left the gateway or was written.
func (e *auditEntry) returned(r *fhir.Resource) {
	e.Returned = append(e.Returned, r.Key.String())
	e.owners(store.Terms(r.Terms))
}

// owners notes the patients to whom terms say that something belongs.
func (e *auditEntry) owners(terms store.Terms) {
	last := len(e.Patients) - 1
	for value := range terms.Values(store.Owner) {
		if last >= 0 && e.Patients[last] == string(value) || slices.Contains(e.Patients, string(value)) {
			continue
		}
		e.Patients = append(e.Patients, string(value))
	}
}

// shows notes what a page returns, and on which bases.
func (e *auditEntry) shows(tx *engine.Tx, s *sighting, page *fhir.Page) error {
	e.from(s.person)
	e.page, e.shown = page.Entries, s
	if s.joined == nil {
		return nil
	}
	e.settle()
	joined, err := s.joinedBases(tx, slices.DeleteFunc(slices.Clone(e.Patients), func(p string) bool { return e.Bases[p] != nil }))
	for patient, bases := range joined {
		e.concern(&decision{patient: patient, bases: bases})
	}
	return err
}

// settle notes what a page shows, and the bases that decisions found: when the entry is
// written, unless that was done before.
func (e *auditEntry) settle() {
	if e.applied != nil {
		e.Query, e.applied = parameterNames(e.applied), nil
	}
	s := e.shown
	if s == nil {
		return
	}
	for _, entry := range e.page {
		if r := entry.Resource; r != nil {
			e.Page.Add(r.Type, r.ID)
			e.owners(store.Terms(r.Terms))
		}
	}
	e.shown, e.page = nil, nil
	for _, d := range s.decisions {
		if s.ofOne || slices.Contains(e.Patients, d.patient) {
			e.concern(d)
		}
	}
}

// asked notes the parameters of a search, by their names alone: values can be
// clinical. When it names one patient, it is about them whatever it finds. Whether the
// caller sees others decides nothing: the log of this one would tell.
func (e *auditEntry) asked(s *sighting, applied url.Values, first bool) {
	e.applied = applied
	if first && s.ofOne && len(s.decisions) == 1 {
		e.Asked = []string{s.decisions[0].patient}
	}
}

// parameterNames gives the names of parameters, in order.
func parameterNames(applied url.Values) string {
	names := make([]string, 0, len(applied))
	for name := range applied {
		if name != "_cursor" && isParameterName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "&")
}

// isParameterName holds for up to a hundred letters, digits and _ . : -, of which
// the first is a letter or _.
func isParameterName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || c == '.' || c == ':' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// file records an entry in the transaction that makes what it tells of; one that
// gathers entries writes them at its end.
func file(tx *engine.Tx, e *auditEntry) error {
	if in := gatheringOf(tx); in != nil {
		in.audits = append(in.audits, e)
		return nil
	}
	return fileAll(tx, []*auditEntry{e})
}

func fileAll(tx *engine.Tx, entries []*auditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	plain := make([]*audit.Entry, len(entries))
	for i, e := range entries {
		e.settle()
		plain[i] = &e.Entry
	}
	ended, err := entries[0].log.Put(tx.Writer(), plain)
	if err == nil {
		tx.Ended(ended)
	}
	return err
}

// An auditor writes the entries of what changes nothing.
type auditor struct {
	log    *audit.Log
	engine *engine.Engine
	record func(context.Context, *auditEntry) error // [auditor.keep]
}

func newAuditor(log *audit.Log, e *engine.Engine) *auditor {
	a := &auditor{log: log, engine: e}
	a.record = a.keep
	return a
}

// write returns when the entry is durable: no audit, no answer.
func (a *auditor) write(ctx context.Context, e *auditEntry) error {
	if err := a.engine.Confirm(ctx); err != nil {
		return err
	}
	return a.record(ctx, e)
}

// keep puts an entry into the log.
func (a *auditor) keep(ctx context.Context, e *auditEntry) error {
	e.settle()
	err := a.log.Write(ctx, &e.Entry)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &fhir.Error{Kind: fhir.Unavailable, Issues: []fhir.Issue{{Text: "The request was given up."}}, Cause: err}
	}
	return &fhir.Error{Kind: fhir.Unavailable, Issues: []fhir.Issue{{Text: "The access could not be recorded, so it was not given."}}, Cause: err}
}

// refused audits a call that was refused and gives back its error. It stands in the
// logs of those to whom belongs what the call was about.
func (g *Guard) refused(ctx context.Context, e *auditEntry, err error) error {
	e.settle()
	e.Outcome = fhir.KindOf(err).String()
	e.Returned, e.Page = nil, audit.Keys{}
	if viewErr := g.ownersOfAbout(ctx, e); viewErr != nil {
		return viewErr
	}
	if auditErr := g.auditor.write(ctx, e); auditErr != nil {
		return auditErr
	}
	return err
}

// ownersOfAbout notes the patients to whom belongs what a refused call was about.
// What does not exist is no part of the entry.
func (g *Guard) ownersOfAbout(ctx context.Context, e *auditEntry) error {
	if len(e.About) == 0 {
		return nil
	}
	about := e.About
	e.About = nil
	return g.engine.View(ctx, func(tx *engine.Tx) error {
		for _, ref := range about {
			key, err := fhir.ParseKey(ref)
			if err != nil {
				continue
			}
			v, err := tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
			if err == store.ErrNotFound {
				continue
			}
			if err != nil {
				return err
			}
			e.About = append(e.About, ref)
			e.owners(v.Terms)
			if key.Type == "Patient" && !slices.Contains(e.Patients, ref) {
				e.Patients = append(e.Patients, ref)
			}
		}
		return nil
	})
}

// about notes what a call asks for, by its key, until it is answered.
func (e *auditEntry) about(keys ...fhir.Key) {
	for _, key := range keys {
		if !key.IsZero() && key.ID != "" {
			e.About = append(e.About, key.String())
		}
	}
}

// An Event is something to be recorded that is no interaction with a record:
// somebody signed in, an administrator changed an app.
type Event struct {
	Action  string // see auditAction
	Detail  string // what it was done to: the id of an account, of a client
	Refused bool
}

// Record writes an event to the log.
func (g *Guard) Record(ctx context.Context, c Caller, ev Event) error {
	e := g.entry(c, ev.Action, "")
	e.Detail = ev.Detail
	if ev.Refused {
		e.Outcome = fhir.Forbidden.String()
	}
	return g.auditor.write(ctx, e)
}
