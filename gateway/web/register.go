package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
)

// A registerView is the registration of a provider.
type registerView struct {
	consent.Registration
	Next     string
	Verified string // the address that the issuer has verified, if it has one
}

// A codeProofView asks for the code that was mailed.
type codeProofView struct {
	Email string
	Next  string
	Ends  time.Time // of the code; zero: it works no more
}

func (s *site) registerPage(v *visit) error {
	next := local(v.query("next"))
	if slices.Contains(roles(v.who.account), "provider") {
		return v.redirect(cmp.Or(next, "/"))
	}
	if v.who.account.Asked != "" {
		return v.show(http.StatusOK, "waiting", waitingView{}, nil)
	}
	proof, err := s.Guard.EmailProof(v.ctx, v.who.account.ID)
	if err != nil {
		return err
	}
	if proof != nil && v.query("change") == "" {
		return v.showCodeProof(proof, next, nil)
	}
	given, family := splitName(v.who.account.Name)
	r := consent.Registration{Given: given, Family: family, Email: v.who.account.Email}
	if proof != nil {
		r = proof.Registration
	}
	return v.showRegister(registerView{Registration: r, Next: next}, nil)
}

func (v *visit) showRegister(view registerView, wrong problems) error {
	view.Verified = v.who.account.Email
	return v.show(http.StatusOK, "register", view, wrong)
}

func (v *visit) showCodeProof(p *consent.EmailProof, next string, wrong problems) error {
	return v.show(http.StatusOK, "codeproof", codeProofView{Email: p.Email, Next: next, Ends: p.Until}, wrong)
}

// register makes the person a provider and leads back to where they were; an address
// that nobody has verified they prove before.
func (s *site) register(v *visit) error {
	switch v.form("action") {
	case "prove":
		return s.proveEmail(v)
	case "again":
		return s.sendAgain(v)
	}
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
		return v.showRegister(view, wrong)
	}
	account, err := s.Guard.Register(v.ctx, v.who.account.ID, view.Registration)
	if err != nil {
		return v.notRegistered(view, err)
	}
	return v.registered(account, view.Next)
}

// notRegistered shows the form again with what is wrong.
func (v *visit) notRegistered(view registerView, err error) error {
	switch {
	case kindIs(err, fhir.Throttled):
		return v.showRegister(view, problems{"email": "often"})
	case kindIs(err, fhir.Unprocessable, fhir.Invalid, fhir.Conflict):
		wrong := fields(err, "npi", "given", "family", "npi", "email", "specialty", "organization")
		if wrong["npi"] != "" { // the number itself is right
			wrong["npi"] = "taken"
		}
		return v.showRegister(view, wrong)
	}
	return err
}

// registered leads on from a registration: to the code that is to be entered, to
// waiting for an administrator, or back to where the person was.
func (v *visit) registered(account *consent.Account, next string) error {
	if !slices.Contains(roles(account), "provider") {
		return v.redirect("/register?" + nextQuery(next))
	}
	if err := v.changeRole("provider"); err != nil {
		return err
	}
	v.flash(flash{Code: "registered"})
	return v.redirect(cmp.Or(next, "/"))
}

// proveEmail takes the code that was mailed.
func (s *site) proveEmail(v *visit) error {
	next, id := local(v.form("next")), v.who.account.ID
	proof, err := s.Guard.EmailProof(v.ctx, id)
	if err != nil {
		return err
	}
	if proof == nil { // registered in another window, or too late
		return v.redirect("/register?" + nextQuery(next))
	}
	account, err := s.Guard.ProveEmail(v.ctx, id, v.form("code"))
	named := fields(err, "npi", "code", "npi")
	switch {
	case kindIs(err, fhir.Unprocessable) && named["code"] != "", kindIs(err, fhir.Conflict):
		if proof, err = s.Guard.EmailProof(v.ctx, id); err != nil || proof == nil {
			return cmp.Or(err, error(errNotHere))
		}
		return v.showCodeProof(proof, next, problems{"code": "wrong"})
	case err != nil:
		return v.notRegistered(registerView{Registration: proof.Registration, Next: next}, err)
	}
	return v.registered(account, next)
}

// sendAgain has another code mailed.
func (s *site) sendAgain(v *visit) error {
	next, id := local(v.form("next")), v.who.account.ID
	err := s.Guard.SendEmailCode(v.ctx, id)
	switch {
	case kindIs(err, fhir.Throttled):
		proof, err := s.Guard.EmailProof(v.ctx, id)
		if err != nil || proof == nil {
			return cmp.Or(err, error(errNotHere))
		}
		return v.showCodeProof(proof, next, problems{"again": "often"})
	case err != nil && !kindIs(err, fhir.NotFound):
		return err
	case err == nil:
		v.flash(flash{Code: "code-sent"})
	}
	return v.redirect("/register?" + nextQuery(next))
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
