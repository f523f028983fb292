package web

import (
	"context"
	"net/http"
	"net/url"

	"mypatients/consent"
	"mypatients/fhir"
)

// An emergencyView is the form on which a provider opens a record in an emergency,
// and those that they have open.
type emergencyView struct {
	Patient string // a handle, or "Patient/1"; empty: only what is open
	Typed   typed
	Reason  string
	Open    []consent.EmergencyView
}

// An emergenciesView is the review of emergency accesses.
type emergenciesView struct {
	List []consent.EmergencyView
	All  bool   // also those that were reviewed
	At   string // id of the one at fault
	Said string // what was typed there
	Next string // id after which the list goes on
}

// A familyEmergenciesView tells a family who opened the record in an emergency.
type familyEmergenciesView struct {
	about
	List []consent.EmergencyView
}

// endGrant ends what lives by a session: the apps, and what was opened in an
// emergency.
func (s *site) endGrant(ctx context.Context, session string) error {
	if err := s.Guard.EndGrant(ctx, session); err != nil {
		return err
	}
	return s.Server.EndSession(ctx, session)
}

func (s *site) emergencyPage(v *visit) error {
	return v.showEmergency(emergencyView{Patient: v.query("patient")}, nil)
}

func (v *visit) showEmergency(view emergencyView, wrong problems) error {
	var err error
	if view.Open, err = v.site.Guard.MyEmergencies(v.ctx, v.caller()); err != nil {
		return err
	}
	if view.Patient == "" && len(view.Open) == 0 {
		return v.redirect("/")
	}
	view.Typed = v.typedFor(view.Patient)
	return v.show(http.StatusOK, "emergency", view, wrong)
}

// breakGlass opens a record, when the provider has said why and that they know what
// it means; or ends what they have open.
func (s *site) breakGlass(v *visit) error {
	if v.form("action") == "end" {
		return s.endEmergency(v)
	}
	view := emergencyView{Patient: v.form("patient"), Reason: v.form("reason")}
	wrong := problems{}
	if view.Reason == "" {
		wrong["reason"] = "missing"
	} else if len(view.Reason) > maxReason {
		wrong["reason"] = "long"
	}
	if v.form("sure") != "yes" {
		wrong["sure"] = "missing"
	}
	if len(wrong) > 0 {
		return v.showEmergency(view, wrong)
	}
	open, _, err := s.Guard.BreakGlass(v.ctx, v.caller(), consent.Emergency{Patient: view.Patient, Purpose: "BTG", Reason: view.Reason})
	switch {
	case unproven(err):
		return v.show(http.StatusForbidden, "prove", proveView{Next: "/emergency?" + url.Values{"patient": {view.Patient}}.Encode()}, nil)
	case kindIs(err, fhir.Invalid):
		return v.showEmergency(view, problems{"patient": "stale"})
	case kindIs(err, fhir.Throttled):
		return v.showEmergency(view, problems{"patient": "often"})
	case err != nil:
		return err
	}
	v.dropSession(keySelection)
	v.flash(flash{Code: "emergency", Until: open.Ends})
	return v.redirect("/patients/" + open.Patient.Patient.ID)
}

func (s *site) endEmergency(v *visit) error {
	if err := s.Guard.EndBreakGlass(v.ctx, v.caller(), v.form("patient")); err != nil && !kindIs(err, fhir.Conflict) {
		return err
	}
	v.flash(flash{Code: "emergency-ended"})
	return v.redirect("/")
}

// emergenciesPage lists what is to be reviewed.
func (s *site) emergenciesPage(v *visit) error {
	return v.showEmergencies(emergenciesView{All: v.query("all") != ""}, nil)
}

func (v *visit) showEmergencies(view emergenciesView, wrong problems) error {
	var err error
	if view.List, err = v.site.Guard.Emergencies(v.ctx, v.caller(), view.All, v.query("after")); err != nil {
		return err
	}
	if n := len(view.List); n == fullList {
		view.Next = view.List[n-1].ID
	}
	return v.show(http.StatusOK, "emergencies", view, wrong)
}

// fullList is how many entries a list of the guard has that goes on.
const fullList = 100

// reviewEmergency keeps a review, or ends an emergency access at once.
func (s *site) reviewEmergency(v *visit) error {
	view := emergenciesView{All: v.query("all") != "", At: v.form("emergency"), Said: v.form("comment")}
	code := "reviewed"
	var err error
	switch v.form("action") {
	case "justified", "unjustified":
		err = s.Guard.ReviewEmergency(v.ctx, v.caller(), view.At, v.form("action") == "justified", v.form("comment"))
	case "stop":
		code = "emergency-stopped"
		err = s.Guard.StopEmergency(v.ctx, v.caller(), view.At)
	default:
		return errNotHere
	}
	switch {
	case kindIs(err, fhir.Unprocessable) && view.Said != "":
		return v.showEmergencies(view, problems{"comment": "long"})
	case kindIs(err, fhir.Unprocessable):
		return v.showEmergencies(view, problems{"comment": "missing"})
	case kindIs(err, fhir.Forbidden):
		return v.showEmergencies(view, problems{"comment": "own"})
	case kindIs(err, fhir.Conflict):
		code = "changed"
	case err != nil:
		return err
	}
	v.flash(flash{Code: code})
	return v.redirect("/staff/emergencies")
}

func (s *site) familyEmergenciesPage(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	view := familyEmergenciesView{about: who}
	if view.List, err = s.Guard.EmergenciesOf(v.ctx, v.caller(), who.Patient.Patient.ID); err != nil {
		return err
	}
	return v.show(http.StatusOK, "familyemergencies", view, nil)
}
