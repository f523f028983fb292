package web

import (
	"net/http"
	"net/url"
	"slices"

	"mypatients/consent"
	"mypatients/fhir"
)

// A staffPatientView is a patient's care team as the desk edits it on a
// caller's word.
type staffPatientView struct {
	Patient consent.Card
	Team    []member
	Query   string
	Found   []consent.ProviderView
	Word    consent.CallersWord
	Chosen  string
}

func (s *site) staffPage(v *visit) error { return v.showDesk(deskView{}, nil) }

func (s *site) findPatient(v *visit) error {
	view := deskView{MRN: v.form("mrn")}
	if view.MRN == "" {
		return v.showDesk(view, problems{"mrn": "missing"})
	}
	card, err := s.Guard.PatientByMRN(v.ctx, v.caller(), view.MRN)
	if kindIs(err, fhir.NotFound) {
		return v.showDesk(view, problems{"mrn": "unknown"})
	}
	if err != nil {
		return err
	}
	return v.redirect("/staff/patients/" + url.PathEscape(card.MRN))
}

func (s *site) staffPatientPage(v *visit) error {
	return v.showStaffPatient(staffPatientView{Query: v.query("q")}, nil)
}

func (v *visit) showStaffPatient(view staffPatientView, wrong problems) error {
	card, err := v.site.Guard.PatientByMRN(v.ctx, v.caller(), v.param("mrn"))
	if err != nil {
		return err
	}
	view.Patient = *card
	if view.Team, err = v.careTeam(card.Patient.ID); err != nil {
		return err
	}
	if view.Query != "" {
		found, err := v.site.Guard.Directory(v.ctx, v.caller(), view.Query)
		if err != nil {
			return err
		}
		view.Found = slices.DeleteFunc(found, func(p consent.ProviderView) bool {
			return slices.ContainsFunc(view.Team, func(m member) bool { return m.Key == p.Key })
		})
	}
	return v.show(http.StatusOK, "staffpatient", view, wrong)
}

// editCareTeam adds or removes a member on a caller's word, which is kept with the
// change, once it was read back to the caller.
func (s *site) editCareTeam(v *visit) error {
	card, err := s.Guard.PatientByMRN(v.ctx, v.caller(), v.param("mrn"))
	if err != nil {
		return err
	}
	view := staffPatientView{Query: v.form("q"), Chosen: v.form("provider"), Word: v.word()}
	action := v.form("action")
	if action == "edit" {
		return v.showStaffPatient(view, nil)
	}
	wrong := missingWord(view.Word)
	key, err := practitioner(view.Chosen)
	if err != nil || !slices.Contains([]string{"add", "remove", "add-sure", "remove-sure"}, action) {
		wrong["provider"] = "missing"
	}
	if len(wrong) > 0 {
		return v.showStaffPatient(view, wrong)
	}
	said := flash{Name: v.practitionerName(key)}
	switch action {
	case "add", "remove":
		return v.askTeam(*card, view, said.Name, action == "remove")
	case "add-sure":
		said.Code = "staff-added"
		err = s.Guard.AddToCareTeam(v.ctx, v.caller(), card.Patient.ID, key, &view.Word)
	case "remove-sure":
		said.Code = "staff-removed"
		err = s.Guard.RemoveFromCareTeam(v.ctx, v.caller(), card.Patient.ID, key, &view.Word)
	}
	if kindIs(err, fhir.Unprocessable, fhir.Invalid) {
		return v.showStaffPatient(view, fields(err, "provider", "caller", "check", "asked"))
	}
	if kindIs(err, fhir.Forbidden) && !unproven(err) {
		return v.showStaffPatient(view, problems{"provider": "own"})
	}
	if err != nil {
		return err
	}
	v.flash(said)
	return v.redirect("/staff/patients/" + url.PathEscape(card.MRN))
}
