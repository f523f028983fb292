package web

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/smart"
	"mypatients/smart/idp"
)

// A signInView is the choice of where to sign in.
type signInView struct {
	Providers []signInChoice
	Next      string
	Expired   bool
	Family    bool // on the way to a page for families
}

type signInChoice struct{ ID, Name string }

// A roleView is the choice of a role.
type roleView struct {
	Roles []smart.Role
	Next  string
}

// A strangerView tells somebody that we do not know them, and what they can do.
type strangerView struct{ Next string }

// A ticket is a sign-in under way: the provider's ticket and where to go then.
type ticket struct {
	Ticket idp.Ticket
	Next   string
	Again  string `json:",omitempty"` // the app request that asked to sign in anew
	StepUp bool   `json:",omitempty"` // to approve something
}

// signIn shows the providers to sign in at; the only one is gone to at once,
// unless there is something to say first.
func (s *site) signIn(v *visit) error {
	next := local(v.query("next"))
	choice := v.query("provider")
	if choice == "" && (len(s.Providers) > 1 || v.expired) {
		return v.show(http.StatusOK, "signin", s.signInChoices(next, v.expired), nil)
	}
	provider := s.Providers[0]
	if choice != "" {
		provider = s.provider(choice)
	}
	if provider == nil {
		return errNotHere
	}
	if p := v.appRequest(next); p != nil {
		return v.begin(provider, ticket{Next: next, Again: p.ID}, v.wishes(p))
	}
	return v.begin(provider, ticket{Next: next}, idp.Options{})
}

func (s *site) signInChoices(next string, expired bool) signInView {
	view := signInView{Next: next, Expired: expired, Family: next == "/patient" || strings.HasPrefix(next, "/patient/")}
	for _, p := range s.Providers {
		view.Providers = append(view.Providers, signInChoice{p.ID(), p.Name()})
	}
	return view
}

func (s *site) provider(id string) *idp.Provider {
	i := slices.IndexFunc(s.Providers, func(p *idp.Provider) bool { return p.ID() == id })
	if i < 0 {
		return nil
	}
	return s.Providers[i]
}

// begin sends the browser to a provider, keeping the ticket in the session.
func (v *visit) begin(p *idp.Provider, t ticket, o idp.Options) error {
	o.UILocales = []string{string(v.lang)}
	location, own, err := p.BeginWith(v.ctx, o)
	if err != nil {
		return err
	}
	t.Ticket = own
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	v.setSession(keyTicket, string(b))
	v.touch()
	return v.redirect(location)
}

// signedIn takes the browser back from a provider. Each has an address of its own
// for it, so that an answer of one cannot pass for that of another, even if they do
// not say whose it is (RFC 9700 section 4.4.2).
func (s *site) signedIn(v *visit) error {
	var t ticket
	text := v.session(keyTicket)
	v.dropSession(keyTicket)
	if text == "" || json.Unmarshal([]byte(text), &t) != nil {
		return &smart.Error{Code: "invalid_request", Description: "This sign-in is no longer open. Please start again."}
	}
	provider := s.provider(t.Ticket.Provider)
	if provider == nil {
		return errNotHere
	}
	if v.param("provider") != provider.ID() {
		return &smart.Error{Code: "invalid_request", Description: "This sign-in was not started here, or is no longer open. Please start again."}
	}
	identity, err := provider.Finish(v.ctx, t.Ticket, v.request.URL.Query())
	if p := v.unmetBy(err, t); p != nil {
		return v.denyUnmet(p)
	}
	if err != nil {
		return v.notSignedIn(provider.ID(), err)
	}
	email := identity.Email
	if !identity.EmailVerified { // the guard compares it with addressees
		email = ""
	}
	account, err := s.Guard.SignIn(v.ctx, identity.Issuer, identity.Subject, identity.Name, email)
	if err != nil {
		return err
	}
	if account, err = s.Guard.ClaimRoles(v.ctx, account, s.Roles[provider.ID()].of(identity)...); err != nil {
		return err
	}
	if old := v.session(keyAccount); old != "" && old != account.ID {
		if err := v.endSession(); err != nil { // another person takes over the browser
			return err
		}
	}
	if err := v.startSession(); err != nil {
		return err
	}
	if err := v.settle(identity, account, t); err != nil {
		return err
	}
	v.who = &person{account: account}
	if err := v.keepLanguage(); err != nil {
		return err
	}
	if err := v.logged("sign-in", provider.ID()); err != nil {
		return err
	}
	return v.arrive(roles(account), t.Next)
}

// settle writes into the session who signed in, and how.
func (v *visit) settle(identity *idp.Identity, account *consent.Account, t ticket) error {
	now := v.site.Now()
	v.setTime(keyBegan, now)
	v.setTime(keySeen, now)
	v.setTime(keySignedIn, identity.AuthTime) // zero if the provider does not say: nobody knows, so long ago
	v.setSession(keyACR, identity.ACR)
	v.setSession(keyAccount, account.ID)
	v.setSession(keyAgain, t.Again)
	if v.session(keyGrant) == "" {
		v.setSession(keyGrant, rand.Text())
	}
	if t.StepUp {
		v.who = &person{account: account}
		v.steppedUp()
	}
	return v.site.SignOuts.Begin(v.ctx, v.session(keyGrant), append(aliases(identity), aliasOfGrant(v.session(keyGrant))), now.Add(maxTime))
}

// arrive leads a person who signed in to where they wanted to go, by way of the
// choice of a role when there is one to make.
func (v *visit) arrive(held []smart.Role, next string) error {
	switch {
	case len(held) > 1 && v.session(keyRole) == "":
		return v.redirect("/role?" + nextQuery(next))
	case next != "":
		return v.redirect(next)
	case len(held) == 1:
		return v.redirect(home(held[0]))
	}
	return v.redirect("/")
}

// A signedOutView says that the person is signed out, and where to finish it.
type signedOutView struct{ Upstream string }

// signOutPage asks those who come by the address instead of the button, and
// tells those who are signed out already.
func (s *site) signOutPage(v *visit) error {
	if v.who != nil {
		return v.show(http.StatusOK, "signout", nil, nil)
	}
	view := signedOutView{Upstream: v.session(keyUpstream)}
	v.dropSession(keyUpstream)
	if view.Upstream == "" {
		v.dropSession(keyOut) // nobody comes back to be told
	}
	v.reply.refresh = view.Upstream
	return v.show(http.StatusOK, "signedout", view, nil)
}

// signOut ends the session here and at the provider, which would otherwise let
// the next person at this computer in without asking.
func (s *site) signOut(v *visit) error {
	upstream := ""
	if v.who != nil {
		var err error
		if upstream, err = s.issuerOf(v.who.account).EndSession(v.ctx, s.Base+"/"); err != nil {
			s.Log.Warn("the provider's sign-out is not known", "cause", cause(err))
		}
		if err := v.logged("sign-out", ""); err != nil {
			return err
		}
	}
	if err := v.endSession(); err != nil {
		return err
	}
	v.who = nil
	v.setSession(keyOut, "yes")
	v.touch()
	if upstream != "" && strings.HasPrefix(upstream, s.Base+"/") {
		return v.redirect(upstream)
	}
	// A form must not lead to another site, not even by a redirect; a page may.
	v.setSession(keyUpstream, upstream)
	return v.redirect("/signout")
}

// issuerOf gives the provider where an account signs in.
func (s *site) issuerOf(a *consent.Account) *idp.Provider {
	for _, p := range s.Providers {
		if p.Issuer() == a.Issuer {
			return p
		}
	}
	return s.Providers[0]
}

// rolePage shows the roles of an account that has several.
func (s *site) rolePage(v *visit) error {
	held := roles(v.who.account)
	next := local(v.query("next"))
	if len(held) == 0 {
		return v.show(http.StatusForbidden, "stranger", strangerView{Next: next}, nil)
	}
	return v.show(http.StatusOK, "role", roleView{Roles: held, Next: next}, nil)
}

func (s *site) chooseRole(v *visit) error {
	role := smart.Role(v.form("role"))
	held := roles(v.who.account)
	if !slices.Contains(held, role) {
		return v.show(http.StatusOK, "role", roleView{Roles: held, Next: local(v.form("next"))}, problems{"role": "missing"})
	}
	if role != v.who.role {
		// What one role opened is not the other's: a session is of one role.
		if err := v.changeRole(role); err != nil {
			return err
		}
	}
	next := local(v.form("next"))
	if next == "" || next == "/" || next == "/patient" || next == "/staff" {
		next = home(role)
	}
	return v.redirect(next)
}

func (v *visit) changeRole(role smart.Role) error {
	if err := v.startSession(); err != nil {
		return err
	}
	v.dropSession(keySelection)
	v.setSession(keyRole, string(role))
	return nil
}

// age of the proof of who the person is, for apps that set a limit.
func (v *visit) signedInFor() time.Duration { return v.site.Now().Sub(v.time(keySignedIn)) }
