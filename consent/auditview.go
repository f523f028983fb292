package consent

import (
	"context"
	"slices"
	"strings"

	"mypatients/consent/audit"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// Patients and those who decide for them see the log of their record, each
// patient's apart; reading it is logged. A viewer sees no row that tells of what
// they may not know. Whatever a row is about is judged as it may be seen now:
//
//   - of what was returned, only what belongs to the patient and is open to the
//     viewer is named; a row about nothing else is not shown, unless the question
//     itself was about the patient: then it looks as if nothing had been found;
//   - what was asked for in vain is not named, and hides the row if it is hidden;
//   - a basis that rests on something hidden (a grant, a team) is not named, and
//     hides the row if there is no other;
//   - who looked for a teenager and found no way in is not for the guardians;
//   - what a patient themself looked at is for nobody else, who sees only what the
//     patient wrote, if that is open to them.
//
// Which of several answers Patient Selection gave is not told: one says that there
// is a request.

// A viewer reads one patient's log.
type viewer struct {
	tx      *engine.Tx
	sight   *sighting
	patient string
	self    bool // it is the patient
	open    map[string]visibility
}

// A visibility is what a viewer may know of a resource.
type visibility int

const (
	absent   visibility = iota // it does not exist, or belongs to others
	hidden                     // it is the patient's, and not for the viewer
	openToMe                   // it is the patient's, and open to the viewer
)

func newViewer(tx *engine.Tx, c Caller, s *sighting, patient string) *viewer {
	return &viewer{tx: tx, sight: s, patient: patient, self: c.Identity.Role == smart.Patient && c.Identity.FHIRUser == patient, open: map[string]visibility{}}
}

// show gives a row as the viewer may see it, or that they may not.
func (v *viewer) show(row audit.Row) (audit.Row, bool, error) {
	own := *row.Entry
	own.Returned, own.About, own.Asked = nil, nil, nil
	if row.Action == "access" {
		own.Detail = "" // about whom an administrator asked may be somebody whom the viewer is not to know of
	}
	hides, shows := false, false
	for _, ref := range row.Returned {
		switch is, err := v.look(ref); {
		case err != nil:
			return row, false, err
		case is == hidden:
			hides = true
		case is == openToMe:
			own.Returned, shows = append(own.Returned, ref), true
		}
	}
	for _, ref := range row.About {
		switch is, err := v.look(ref); {
		case err != nil:
			return row, false, err
		case is == hidden:
			hides = true
		case is == openToMe:
			shows = true
		}
	}
	if hides && !shows && !slices.Contains(row.Asked, v.patient) {
		return row, false, nil
	}
	if !v.self && row.Person == v.patient && (len(own.Returned) == 0 || !changesRecord(row.Action)) {
		return row, false, nil
	}
	if len(own.Returned) == 0 && v.sight.isVain(row.Entry, v.patient) {
		return row, false, nil
	}
	bases, known, err := v.bases(row.Bases[v.patient])
	if err != nil || !known {
		return row, false, err
	}
	own.Patients = []string{v.patient}
	own.Bases = map[string][]string{v.patient: bases}
	if own.Purpose == purposeBTG && row.Bases != nil && !slices.ContainsFunc(row.Bases[v.patient], ofEmergency) {
		own.Purpose = "TREAT" // the emergency was another's
	}
	if row.Action == "select" && own.Outcome != "" {
		own.Outcome = NotAuthorized
	}
	return audit.Row{ID: row.ID, Entry: &own}, true, nil
}

// look tells what the viewer may know of a resource, once for a page.
func (v *viewer) look(ref string) (visibility, error) {
	if is, done := v.open[ref]; done {
		return is, nil
	}
	key, err := fhir.ParseKey(ref)
	if err != nil {
		return absent, nil
	}
	is := absent
	r, err := v.tx.Reader().Resource(store.Key{Type: string(key.Type), ID: key.ID})
	if err != nil && err != store.ErrNotFound {
		return absent, err
	}
	if err == nil {
		if is, err = v.judge(r, key.Type); err != nil {
			return absent, err
		}
	}
	v.open[ref] = is
	return is, nil
}

func (v *viewer) judge(r *store.Version, t fhir.Type) (visibility, error) {
	ours, err := store.Eval(v.tx.Reader(), r, ownedBy(v.patient))
	if err != nil || !ours {
		return absent, err
	}
	open, err := store.Eval(v.tx.Reader(), r, v.sight.ownership(t))
	if err != nil || !open {
		return hidden, err
	}
	return openToMe, nil
}

// bases gives the bases that the viewer may know of; known is false when all that
// there are rest on something hidden.
func (v *viewer) bases(all []string) (list []string, known bool, err error) {
	for _, b := range all {
		code, source, _ := strings.Cut(b, " ")
		if source != "" {
			is, err := v.look(source)
			if err != nil {
				return nil, false, err
			}
			if is == hidden {
				continue
			}
		}
		list = append(list, code)
	}
	return list, len(list) > 0 || len(all) == 0, nil
}

// ofEmergency reports whether a basis of the log is an emergency access.
func ofEmergency(basis string) bool {
	code, _, _ := strings.Cut(basis, " ")
	return code == string(BasisEmergency)
}

// changesRecord reports whether an action writes.
func changesRecord(action string) bool {
	a := auditActionOf(action)
	return a.writes || a.letter == "C" || a.letter == "U" || a.letter == "D"
}

// maxHidden is how many hidden rows one page of the log steps over at most.
const maxHidden = 10000

// auditPageOf gives rows of a patient's log that the caller may see. The caller
// must have authority over the patient.
func (g *Guard) auditPageOf(tx *engine.Tx, c Caller, q audit.Query, cursor string, count int) (rows []audit.Row, next string, err error) {
	if _, err := g.authority(tx, c, q.Patient); err != nil {
		return nil, "", err
	}
	s, err := g.look(tx, c, "AuditEvent", smart.MaySearch, []string{q.Patient})
	if err != nil {
		return nil, "", err
	}
	v := newViewer(tx, c, s, q.Patient)
	skipped := 0
	next, err = g.auditor.log.Walk(tx.Reader(), q, cursor, func(row audit.Row) (bool, error) {
		if len(rows) == count || skipped == maxHidden {
			return false, nil
		}
		shown, ok, err := v.show(row)
		if err != nil {
			return false, err
		}
		if ok {
			rows = append(rows, shown)
		} else {
			skipped++
		}
		return true, nil
	})
	return rows, next, err
}

// WhoLooked lists who looked at a patient's record, newest first, for the patient
// and those who decide for them.
func (g *Guard) WhoLooked(ctx context.Context, c Caller, patientID string, limit int) ([]Look, error) {
	e := g.entry(c, "search", "AuditEvent")
	if err := g.requireScope(c, "AuditEvent", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	patient := "Patient/" + patientID
	e.Patients = []string{patient}
	var looks []Look
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		looks = nil
		rows, _, err := g.auditPageOf(tx, c, audit.Query{Patient: patient}, "", limit)
		if err != nil {
			return err
		}
		names := map[string]string{}
		for _, row := range rows {
			look, err := g.lookOf(tx, row, patient, names)
			if err != nil {
				return err
			}
			looks = append(looks, look)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return looks, g.auditor.write(ctx, e)
}

// lookOf renders a row for people. Of a provider it gives the name that the
// directory has, and the organisation that they practised at then.
func (g *Guard) lookOf(tx *engine.Tx, row audit.Row, patient string, names map[string]string) (Look, error) {
	look := Look{When: row.When, Person: row.Name, Role: row.Role, What: string(row.Type), Action: row.Action, Client: row.Client, Outcome: row.Outcome, Origin: row.Address, ID: row.ID}
	for _, code := range row.Bases[patient] {
		look.Why = append(look.Why, BasisCode(code))
	}
	for _, ref := range row.Returned {
		if t, _, _ := strings.Cut(ref, "/"); !slices.Contains(look.Kinds, fhir.Type(t)) {
			look.Kinds = append(look.Kinds, fhir.Type(t))
		}
	}
	if !strings.HasPrefix(row.Person, "Practitioner/") {
		return look, nil
	}
	name, known := names[row.Person]
	if !known {
		view, err := g.provider(tx, row.Person)
		if err != nil {
			return look, err
		}
		name = view.Name + "\x00" + view.Organization
		names[row.Person] = name
	}
	name, look.Organization, _ = strings.Cut(name, "\x00")
	look.Person = or(name, row.Name)
	org, err := g.organizationName(tx, row.Org)
	look.Organization = or(org, look.Organization)
	return look, err
}
