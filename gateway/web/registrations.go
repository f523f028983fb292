package web

import (
	"net/http"

	"mypatients/consent"
	"mypatients/fhir"
)

// A registrationsView lists providers who registered themselves and whom nobody has
// checked.
type registrationsView struct {
	List  []consent.UncheckedProvider
	At    string // id of the one at fault
	Check string // what was typed there
	Next  string // id after which the list goes on
}

// fullRegistrations is how many entries a list of the guard has that goes on.
const fullRegistrations = 50

func (s *site) registrationsPage(v *visit) error {
	return v.showRegistrations(registrationsView{}, nil)
}

func (v *visit) showRegistrations(view registrationsView, wrong problems) error {
	var err error
	if view.List, err = v.site.Guard.UncheckedProviders(v.ctx, v.caller(), v.query("after")); err != nil {
		return err
	}
	if n := len(view.List); n == fullRegistrations {
		view.Next = view.List[n-1].ID
	}
	return v.show(http.StatusOK, "registrations", view, wrong)
}

// decideRegistration keeps what an administrator found about a provider.
func (s *site) decideRegistration(v *visit) error {
	view := registrationsView{At: v.form("registration"), Check: v.form("check")}
	said := flash{Code: "provider-checked", Name: v.form("name")}
	right := v.form("action") == "right"
	if !right {
		said.Code = "provider-refused"
	}
	if !right && v.form("action") != "wrong" {
		return errNotHere
	}
	err := s.Guard.CheckProvider(v.ctx, v.caller(), view.At, right, view.Check)
	switch {
	case kindIs(err, fhir.Unprocessable):
		return v.showRegistrations(view, problems{"check": "missing"})
	case kindIs(err, fhir.Forbidden) && !unproven(err):
		return v.showRegistrations(view, problems{"check": "own"})
	case kindIs(err, fhir.Conflict):
		said = flash{Code: "settled"}
	case err != nil:
		return err
	}
	v.flash(said)
	return v.redirect("/staff/registrations")
}

// A waitingView tells a provider who registered that they are to be checked.
type waitingView struct{}
