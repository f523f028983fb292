package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"mypatients/consent"
	"mypatients/fhir"
)

// A registerView is the registration of a provider.
type registerView struct {
	consent.Registration
	Next string
}

func (s *site) registerPage(v *visit) error {
	next := local(v.query("next"))
	if slices.Contains(roles(v.who.account), "provider") {
		if next == "" {
			next = "/"
		}
		return v.redirect(next)
	}
	if v.who.account.Asked != "" {
		return v.show(http.StatusOK, "waiting", waitingView{}, nil)
	}
	given, family := splitName(v.who.account.Name)
	r := consent.Registration{Given: given, Family: family, Email: v.who.account.Email}
	return v.show(http.StatusOK, "register", registerView{Registration: r, Next: next}, nil)
}

// register makes the person a provider and leads back to where they were.
func (s *site) register(v *visit) error {
	view := registerView{Next: local(v.form("next")), Registration: consent.Registration{
		Given: v.form("given"), Family: v.form("family"), NPI: strings.Join(strings.Fields(v.form("npi")), ""),
		Email: v.form("email"), Specialty: v.form("specialty"), Organization: v.form("organization"),
	}}
	wrong := problems{}
	for field, value := range map[string]string{"given": view.Given, "family": view.Family, "npi": view.NPI, "email": view.Email} {
		if value == "" {
			wrong[field] = "missing"
		}
	}
	if view.NPI != "" && !consent.ValidNPI(view.NPI) {
		wrong["npi"] = "invalid"
	}
	if len(wrong) > 0 {
		return v.show(http.StatusOK, "register", view, wrong)
	}
	account, err := s.Guard.Register(v.ctx, v.who.account.ID, view.Registration)
	if kindIs(err, fhir.Unprocessable, fhir.Invalid, fhir.Conflict) {
		wrong := fields(err, "npi", "given", "family", "npi", "email")
		if wrong["npi"] != "" { // the number itself is right
			wrong["npi"] = "taken"
		}
		return v.show(http.StatusOK, "register", view, wrong)
	}
	if err != nil {
		return err
	}
	if account.Asked != "" {
		return v.redirect("/register")
	}
	if err := v.changeRole("provider"); err != nil {
		return err
	}
	v.flash(flash{Code: "registered"})
	if view.Next == "" {
		view.Next = "/"
	}
	return v.redirect(view.Next)
}

// fields turns the issues of an error into problems of a form; one that names
// no known field is shown at the first.
func fields(err error, first string, known ...string) problems {
	wrong := problems{}
	var e *fhir.Error
	if errors.As(err, &e) {
		for _, issue := range e.Issues {
			name := issue.Expression[strings.LastIndexByte(issue.Expression, '.')+1:]
			if slices.Contains(known, name) {
				wrong[name] = "invalid"
			}
		}
	}
	if len(wrong) == 0 {
		wrong[first] = "invalid"
	}
	return wrong
}

// splitName guesses given and family name for a form that the person checks.
func splitName(name string) (given, family string) {
	words := slices.DeleteFunc(strings.Fields(name), func(w string) bool { return strings.HasSuffix(w, ".") })
	if len(words) < 2 {
		return strings.Join(words, ""), ""
	}
	last := len(words) - 1
	return strings.Join(words[:last], " "), words[last]
}
