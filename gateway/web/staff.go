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

func (s *site) staffPage(v *visit) error {
	return v.showDesk(deskView{ByName: v.query("by") == "name"}, nil)
}

// findPatient leads to the one patient with an MRN, or with a name and a date of
// birth, as callers know them; of several, staff choose.
func (s *site) findPatient(v *visit) error {
	view, wrong := deskView{}, problems{}
	view.ByName, view.Typed = v.sought(wrong)
	if len(wrong) > 0 {
		return v.showDesk(view, wrong)
	}
	mrn := view.Typed.MRN
	if view.ByName {
		found, err := v.named(view.Typed)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return v.showDesk(view, problems{"name": "unknown"})
		}
		if len(found) > 1 {
			view.Matches = found
			return v.showDesk(view, nil)
		}
		mrn = found[0].MRN
	}
	card, err := s.Guard.PatientByMRN(v.ctx, v.caller(), mrn)
	if kindIs(err, fhir.NotFound) {
		return v.showDesk(view, problems{"mrn": "unknown"})
	}
	if err != nil {
		return err
	}
	return v.redirect("/staff/patients/" + url.PathEscape(card.MRN))
}

// maxNamed bounds the patients of one name and date of birth.
const maxNamed = 20

// named lists the patients of a name and a date of birth who have an MRN, by which
// staff go on.
func (v *visit) named(t typed) ([]patientView, error) {
	page, err := v.site.Guard.Search(v.ctx, v.caller(), "Patient", url.Values{
		"family": {searched.Replace(t.Family)}, "given": {searched.Replace(t.Given)}, "birthdate": {t.BirthDate}, "_count": {itoa(maxNamed)},
	}, false)
	if err != nil {
		return nil, err
	}
	var list []patientView
	for _, e := range page.Entries {
		if e.Resource == nil || e.Mode != "match" {
			continue
		}
		patient, err := patientOf(e.Resource)
		if err != nil {
			return nil, err
		}
		if patient.MRN != "" {
			list = append(list, patient)
		}
	}
	return list, nil
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
