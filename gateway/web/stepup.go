package web

import (
	"net/http"
	"slices"
	"time"

	"mypatients/smart"
	"mypatients/smart/idp"
)

// A StepUp is what an issuer's people have to do before they approve a request.
type StepUp struct {
	ACR    []string      // one of these must be the strength of the sign-in
	Within time.Duration // how long ago that may be
}

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
// approve. An issuer for which nothing is configured asks for nothing.
func (v *visit) proven() bool {
	rule, ok := v.site.StepUp[v.site.issuerOf(v.who.account).ID()]
	if !ok {
		return true
	}
	return slices.Contains(rule.ACR, v.session(keyACR)) && v.signedInFor() <= rule.Within
}

// askForProof shows the page that leads to the issuer and back. The form itself
// must not: it would lead to another site.
func (v *visit) askForProof(next string) error {
	return v.show(http.StatusForbidden, "prove", proveView{Next: next}, nil)
}

// stepUp sends somebody to their issuer to sign in again, as strongly as the
// configuration asks.
func (s *site) stepUp(v *visit) error {
	next := local(v.query("next"))
	provider := s.issuerOf(v.who.account)
	rule, ok := s.StepUp[provider.ID()]
	if !ok || v.proven() {
		if next == "" {
			next = "/"
		}
		return v.redirect(next)
	}
	return v.begin(provider, ticket{Next: next, StepUp: true}, idp.Options{Prompt: "login", ACRValues: rule.ACR})
}

// steppedUp tells somebody who comes back from a step-up how it went.
func (v *visit) steppedUp() {
	if v.proven() {
		v.flash(flash{Code: "proven"})
		return
	}
	v.flash(flash{Code: "unproven"})
}
