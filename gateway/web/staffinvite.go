package web

import (
	"net/http"
	"net/url"

	"mypatients/consent"
	"mypatients/fhir"
)

// A staffInviteView is the form on which staff make an invitation for a caller.
type staffInviteView struct {
	Patient consent.Card
	Word    consent.CallersWord
	Email   string
	Span    string // 3, 6, 12 (months), date
	Date    string
}

func (s *site) staffInvitePage(v *visit) error {
	return v.showStaffInvite(staffInviteView{Span: "6"}, nil)
}

func (v *visit) showStaffInvite(view staffInviteView, wrong problems) error {
	card, err := v.site.Guard.PatientByMRN(v.ctx, v.caller(), v.param("mrn"))
	if err != nil {
		return err
	}
	view.Patient = *card
	return v.show(http.StatusOK, "staffinvite", view, wrong)
}

// staffInvite makes an invitation on a caller's word, which is kept with it, and
// shows the token this once.
func (s *site) staffInvite(v *visit) error {
	card, err := s.Guard.PatientByMRN(v.ctx, v.caller(), v.param("mrn"))
	if err != nil {
		return err
	}
	view := staffInviteView{Word: v.word(), Email: v.form("email"), Span: v.form("span"), Date: v.form("date")}
	wrong := missingWord(view.Word)
	until := v.end(wrong)
	if !addressee(view.Email) {
		wrong["email"] = "invalid"
	}
	if len(wrong) > 0 {
		return v.showStaffInvite(view, wrong)
	}
	i := consent.Invitation{Email: view.Email, Word: &view.Word}
	i.Until, i.Label = until, normal
	made, err := s.Guard.Invite(v.ctx, v.caller(), card.Patient.ID, i)
	if kindIs(err, fhir.Unprocessable, fhir.Invalid) {
		return v.showStaffInvite(view, fields(err, "email", "email", "caller", "check", "asked"))
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "invited", invitedView{
		about: about{Patient: *card}, Invited: *made, Link: s.Base + "/invitation", Staff: true, Back: "/staff/patients/" + url.PathEscape(card.MRN),
	}, nil)
}

// word reads on whose word staff act.
func (v *visit) word() consent.CallersWord {
	return consent.CallersWord{Caller: v.form("caller"), Check: v.form("check"), Asked: v.form("asked")}
}

// missingWord names the fields of a caller's word that are empty.
func missingWord(w consent.CallersWord) problems {
	wrong := problems{}
	for field, value := range map[string]string{"caller": w.Caller, "check": w.Check, "asked": w.Asked} {
		if value == "" {
			wrong[field] = "missing"
		} else if len(value) > maxReason {
			wrong[field] = "long"
		}
	}
	return wrong
}
