package web

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/idp"
)

// A RoleMap reads roles from an issuer's claims: the values of a claim and the
// roles that they give.
type RoleMap struct {
	Claim  string
	Values map[string]smart.Role
}

// of gives the roles of somebody who signed in.
func (m RoleMap) of(who *idp.Identity) []smart.Role {
	var roles []smart.Role
	for _, value := range who.Values(m.Claim) {
		if role, ok := m.Values[value]; ok && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles
}

// A proveView asks somebody to prove who they are before they go on.
type proveView struct{ Next string }

// proven reports whether the person has signed in lately and strongly enough to
// let somebody into a record. It only makes pages kind: the guard decides.
func (v *visit) proven() bool {
	return v.site.Guard.Proven(v.who.account, v.caller().Grant)
}

// unproven reports whether the guard wants a stronger or newer sign-in.
func unproven(err error) bool {
	var u *consent.Unproven
	return errors.As(err, &u)
}

// askForProof shows the page that leads to the issuer and back to this one. The
// form itself must not: it would lead to another site.
func (v *visit) askForProof() error {
	return v.show(http.StatusForbidden, "prove", proveView{Next: v.request.URL.Path}, nil)
}

// wantsStepUp reports whether an app asks for a strength of sign-in that the rule
// for the person knows and the session does not have (RFC 9470 section 4). For
// other values nobody is asked to sign in again: it would not help.
func (v *visit) wantsStepUp(acr []string) bool {
	rule, _ := v.site.Guard.StepUp(v.who.account)
	known := slices.ContainsFunc(acr, func(s string) bool { return slices.Contains(rule.ACR, s) })
	return known && v.unmet(acr)
}

// unmet reports whether the person has signed in with none of the strengths that
// an app asks for, if it asks for any.
func (v *visit) unmet(acr []string) bool {
	return len(acr) > 0 && !slices.Contains(acr, v.session(keyACR))
}

// denyUnmet tells an app that the sign-in it asked for is not to be had
// (https://openid.net/specs/openid-connect-unmet-authentication-requirements-1_0.html,
// RFC 9470 section 5).
func (v *visit) denyUnmet(p *authserver.Pending) error {
	return v.deny(p, errUnmet, "The person has not signed in in a way that the app asks for.")
}

const errUnmet = "unmet_authentication_requirements"

// unmetBy finds the app's request for which a provider could not sign somebody in
// strongly enough, if that is what it says.
func (v *visit) unmetBy(err error, t ticket) *authserver.Pending {
	var refused *smart.Error
	if t.Again == "" || !errors.As(err, &refused) || refused.Code != errUnmet {
		return nil
	}
	p, err := v.site.Server.Pending(v.ctx, t.Again)
	if err != nil {
		return nil
	}
	return p
}

// freshly is how new a sign-in is that nobody asks for again where no rule says how
// strong it must be: what wants a new one would ask without end.
const freshly = time.Minute

// stepUp sends somebody to their issuer to sign in again, as strongly as the
// configuration asks.
func (s *site) stepUp(v *visit) error {
	next := local(v.query("next"))
	provider := s.issuerOf(v.who.account)
	rule, ok := s.Guard.StepUp(v.who.account)
	if ok && v.proven() || !ok && v.signedInFor() < freshly {
		if next == "" {
			next = "/"
		}
		return v.redirect(next)
	}
	// What the browser carries to the provider can be changed there. With a limit
	// of age the answer has to say when the person signed in, and is held to it.
	return v.begin(provider, ticket{Next: next, StepUp: true}, idp.Options{Prompt: "login", ACRValues: rule.ACR, MaxAge: &rule.Within})
}

// steppedUp tells somebody who comes back from a step-up how it went.
func (v *visit) steppedUp() {
	if v.proven() {
		v.flash(flash{Code: "proven"})
		return
	}
	v.flash(flash{Code: "unproven"})
}
