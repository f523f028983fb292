package web

import (
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
)

// A sponsoredView is the people who work for a provider.
type sponsoredView struct {
	List  []consent.SponsorView
	Name  string
	Email string
	Offer *consent.Offered // just made; its code is shown this once
	Link  string           // where it is taken up
}

// A codeView is the form to take up the code of a provider.
type codeView struct{ Code string }

// A workingView is the home of those who work for a provider.
type workingView struct {
	Patients []consent.Card
	Next     string // where the next page of them begins; empty on the last
	Sponsors []consent.SponsorView
}

func (s *site) sponsoredPage(v *visit) error { return v.showSponsored(sponsoredView{}, nil) }

func (v *visit) showSponsored(view sponsoredView, wrong problems) error {
	var err error
	if view.List, err = v.site.Guard.MyStaff(v.ctx, v.caller()); err != nil {
		return err
	}
	view.Link = v.site.Base + "/sponsored/code"
	return v.show(http.StatusOK, "sponsored", view, wrong)
}

// changeSponsored offers somebody to work for the provider, confirms that they
// still do, or ends it.
func (s *site) changeSponsored(v *visit) error {
	switch v.form("action") {
	case "confirm":
		return v.changed(s.Guard.ConfirmStaff(v.ctx, v.caller(), v.form("id")), "confirmed", "/sponsored")
	case "end":
		return v.changed(s.Guard.EndStaff(v.ctx, v.caller(), v.form("id")), "sponsor-ended", "/sponsored")
	}
	view := sponsoredView{Name: v.form("name"), Email: v.form("email")}
	offer, err := s.Guard.SponsorStaff(v.ctx, v.caller(), view.Name, view.Email)
	if kindIs(err, fhir.Unprocessable, fhir.Invalid) {
		return v.showSponsored(view, fields(err, "name", "name", "email"))
	}
	if err != nil {
		return err
	}
	view.Offer = offer
	return v.showSponsored(view, nil)
}

// changed goes on after a change that somebody else may have made meanwhile.
func (v *visit) changed(err error, code, next string) error {
	if err != nil && !kindIs(err, fhir.Conflict) {
		return err
	}
	if err != nil {
		code = "changed"
	}
	v.flash(flash{Code: code})
	return v.redirect(next)
}

func (s *site) codePage(v *visit) error { return v.show(http.StatusOK, "code", codeView{}, nil) }

func (s *site) takeUp(v *visit) error {
	view := codeView{Code: v.form("code")}
	if view.Code == "" {
		return v.show(http.StatusOK, "code", view, problems{"code": "missing"})
	}
	_, err := s.Guard.TakeUpSponsorship(v.ctx, v.who.account.ID, view.Code, v.address)
	if kindIs(err, fhir.Unprocessable) {
		return v.show(http.StatusOK, "code", view, problems{"code": "invalid"})
	}
	if kindIs(err, fhir.Throttled) {
		return v.show(http.StatusOK, "code", view, problems{"code": "often"})
	}
	if err != nil {
		return err
	}
	if err := v.changeRole("sponsored"); err != nil {
		return err
	}
	v.flash(flash{Code: "working"})
	return v.redirect("/working")
}

func (s *site) workingPage(v *visit) error {
	var view workingView
	var err error
	if view.Patients, view.Next, err = s.Guard.MyPatients(v.ctx, v.caller(), v.query("from")); err != nil {
		return err
	}
	if view.Sponsors, err = s.Guard.MyStaff(v.ctx, v.caller()); err != nil {
		return err
	}
	return v.show(http.StatusOK, "working", view, nil)
}

// leave ends what somebody works for a provider.
func (s *site) leave(v *visit) error {
	return v.changed(s.Guard.EndStaff(v.ctx, v.caller(), v.form("id")), "sponsor-left", "/working")
}
