package web

import (
	"net/http"
	"net/url"

	"mypatients/fhir"
)

// An invitationView is Validate a Token.
type invitationView struct{ Token, MRN string }

func (s *site) invitationPage(v *visit) error {
	return v.show(http.StatusOK, "invitation", invitationView{Token: v.query("token"), MRN: v.query("mrn")}, nil)
}

// redeem tries a token. Whatever is wrong with it, the answer is the same.
func (s *site) redeem(v *visit) error {
	view := invitationView{Token: v.form("token"), MRN: v.form("mrn")}
	wrong := problems{}
	if view.Token == "" {
		wrong["token"] = "missing"
	}
	if view.MRN == "" {
		wrong["mrn"] = "missing"
	}
	if len(wrong) > 0 {
		return v.show(http.StatusOK, "invitation", view, wrong)
	}
	done, err := s.Guard.Redeem(v.ctx, v.caller(), view.Token, view.MRN, "")
	if kindIs(err, fhir.Unprocessable, fhir.Invalid, fhir.NotFound, fhir.Forbidden, fhir.Conflict) {
		return v.show(http.StatusOK, "invitation", view, problems{"token": "no-match"})
	}
	if err != nil {
		return err
	}
	v.flash(flash{Code: "redeemed"})
	return v.redirect("/patients/" + url.PathEscape(done.Patient.ID))
}
