package consent

import (
	"context"
	"errors"
	"strings"

	"mypatients/consent/emergency"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/store"
	"mypatients/smart"
)

// maxEmergencies is how many emergency accesses a list shows.
const maxEmergencies = 100

// Emergencies lists emergency accesses for an administrator, newest first: those
// that nobody has reviewed, or all. The page after an id follows it.
func (g *Guard) Emergencies(ctx context.Context, c Caller, all bool, after string) ([]EmergencyView, error) {
	e := g.entry(c, "list-emergencies", "Patient")
	if err := requireAdmin(c); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	list := emergency.Unreviewed
	if all {
		list = emergency.All
	}
	return g.emergencyViews(ctx, e, func(tx *engine.Tx) ([]*emergency.Session, error) { return list(tx.Reader(), after, maxEmergencies) }, g.forReviewer)
}

// EmergenciesOf lists the emergency accesses to a patient's record, newest first,
// for the patient and those who decide for them. The guardians of a teenager learn
// who and when; the reason may tell what is hidden from them.
func (g *Guard) EmergenciesOf(ctx context.Context, c Caller, patientID string) ([]EmergencyView, error) {
	e := g.entry(c, "list-emergencies", "Patient")
	if err := g.requireScope(c, "Consent", smart.MaySearch); err != nil {
		return nil, g.refused(ctx, e, err)
	}
	patient, hides := "Patient/"+patientID, false
	return g.emergencyViews(ctx, e, func(tx *engine.Tx) ([]*emergency.Session, error) {
		if _, err := g.authority(tx, c, patient); err != nil {
			return nil, err
		}
		var err error
		if hides, err = g.hidesReason(tx, patient); err != nil {
			return nil, err
		}
		hides = hides && c.Identity.Role != smart.Patient
		return emergency.On(tx.Reader(), patient, maxEmergencies)
	}, func(_ *engine.Tx, v *EmergencyView) error {
		v.Client, v.Review = "", nil
		if hides {
			v.Reason = ""
		}
		return nil
	})
}

// MyEmergencies lists the emergency accesses that run for the grant of the call, with
// the names of those patients whose records they do open.
func (g *Guard) MyEmergencies(ctx context.Context, c Caller) ([]EmergencyView, error) {
	e := g.entry(c, "list-emergencies", "Patient")
	return g.emergencyViews(ctx, e, func(tx *engine.Tx) ([]*emergency.Session, error) { return g.runningEmergencies(tx, c) }, func(tx *engine.Tx, v *EmergencyView) error {
		card, _, err := g.visibleCard(tx, c, v.Patient.Patient.String())
		if card != nil { // else the family denies it to them by name, in an emergency too
			v.Patient = *card
		}
		return err
	})
}

func (g *Guard) emergencyViews(ctx context.Context, e *auditEntry, list func(*engine.Tx) ([]*emergency.Session, error), show func(*engine.Tx, *EmergencyView) error) ([]EmergencyView, error) {
	var views []EmergencyView
	err := g.engine.View(ctx, func(tx *engine.Tx) error {
		views, e.Patients = nil, nil
		sessions, err := list(tx)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			v := EmergencyView{ID: s.ID, Client: s.Client, Reason: s.Reason, Began: s.Began, Ends: s.Ends, Over: s.Over(tx.Now()), EndedBy: s.EndedBy, Review: s.Review}
			if v.Patient.Patient, err = fhir.ParseKey(s.Patient); err != nil {
				return err
			}
			if v.Provider, err = g.provider(tx, s.Person); err != nil {
				return err
			}
			v.Provider.Name = or(v.Provider.Name, s.Name)
			if !s.Ended.IsZero() {
				v.Ends = s.Ended
			}
			if err := show(tx, &v); err != nil {
				return err
			}
			e.Patients = appendNew(e.Patients, s.Patient)
			views = append(views, v)
		}
		return nil
	})
	if err != nil {
		return nil, g.refused(ctx, e, err)
	}
	return views, g.auditor.write(ctx, e)
}

// forReviewer names the patient.
func (g *Guard) forReviewer(tx *engine.Tx, v *EmergencyView) error {
	_, n, err := live(tx, v.Patient.Patient.String())
	if err != nil || n == nil {
		return err
	}
	v.Patient.Name, v.Patient.MRN, v.Patient.BirthDate = humanName(n.list("name")), g.mrnOf(n), n.str("birthDate")
	return nil
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// ReviewEmergency records whether an emergency access was justified, with a
// comment, for an administrator; never one of their own, which is Forbidden. Who
// comes second gets Conflict.
func (g *Guard) ReviewEmergency(ctx context.Context, c Caller, id string, justified bool, comment string) error {
	comment = strings.TrimSpace(comment)
	return g.officer(ctx, c, "review-emergency", id, func(tx *engine.Tx, s *emergency.Session) error {
		if comment == "" || len(comment) > maxReason {
			return refuse("comment", "Say in a few words what you found.")
		}
		err := emergency.Judge(tx.Writer(), s, emergency.Review{Justified: justified, Comment: comment, Login: c.Identity.Login, Name: c.Identity.Name, When: tx.Now()})
		if errors.Is(err, emergency.ErrReviewed) {
			return fhir.Errorf(fhir.Conflict, "Somebody has reviewed this already.")
		}
		return err
	})
}

// StopEmergency ends an emergency access at once, for an administrator.
func (g *Guard) StopEmergency(ctx context.Context, c Caller, id string) error {
	return g.officer(ctx, c, "stop-emergency", id, func(tx *engine.Tx, s *emergency.Session) error {
		return g.endEmergency(tx, c, s, emergency.ByOfficer)
	})
}

// officer does what administrators do about an emergency access.
func (g *Guard) officer(ctx context.Context, c Caller, action, id string, do func(*engine.Tx, *emergency.Session) error) error {
	e := g.entry(c, action, "Patient")
	if err := requireAdmin(c); err != nil {
		return g.refused(ctx, e, err)
	}
	err := g.engine.Update(ctx, func(tx *engine.Tx) error {
		s, err := emergency.Get(tx.Reader(), id)
		if err == store.ErrNotFound {
			return fhir.ErrNotFound()
		}
		if err != nil {
			return err
		}
		if action == "review-emergency" {
			own, err := g.isCaller(tx, c, s.Person)
			if err != nil {
				return err
			}
			if own || s.Login == c.Identity.Login {
				return fhir.Errorf(fhir.Forbidden, "What you opened yourself is for a colleague to review.")
			}
		}
		e.When, e.Patients, e.Returned = tx.Now(), []string{s.Patient}, []string{s.Record}
		if err := do(tx, s); err != nil {
			return err
		}
		return file(tx, e)
	})
	if err != nil {
		return g.refused(ctx, e, err)
	}
	return nil
}
