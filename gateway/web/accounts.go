package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// An accountsView is the search for a login.
type accountsView struct {
	Query    string
	Searched bool
	Found    []consent.AccountView
}

// An accountView is a login: who it stands for and what it let in.
type accountView struct {
	consent.AccountView
	Provider string // where it signs in
	Apps     []appView
	Own      bool   // it is the administrator's
	Chosen   string // the link to take away
}

func (s *site) accountsPage(v *visit) error {
	return v.show(http.StatusOK, "accounts", accountsView{}, nil)
}

// findAccounts answers the search at once: what is searched for is no part of an
// address.
func (s *site) findAccounts(v *visit) error {
	view := accountsView{Query: v.form("q"), Searched: true}
	if view.Query == "" {
		view.Searched = false
		return v.show(http.StatusOK, "accounts", view, problems{"q": "missing"})
	}
	var err error
	if view.Found, err = s.Guard.FindAccounts(v.ctx, v.caller(), view.Query); err != nil {
		return err
	}
	return v.show(http.StatusOK, "accounts", view, nil)
}

func (s *site) accountPage(v *visit) error { return v.showAccount("", nil) }

func (v *visit) showAccount(chosen string, wrong problems) error {
	found, err := v.site.Guard.AccountFor(v.ctx, v.caller(), v.param("account"))
	if err != nil {
		return err
	}
	view := accountView{AccountView: *found, Own: found.ID == v.who.account.ID, Chosen: chosen, Provider: v.site.providerName(found.Issuer)}
	grants, err := v.site.Server.Grants(v.ctx, found.ID)
	if err != nil {
		return err
	}
	for _, g := range grants {
		view.Apps = append(view.Apps, appOf(g))
	}
	return v.show(http.StatusOK, "account", view, wrong)
}

// changeAccount ends the access of an app, ends all apps and sessions of a login,
// or takes away a person it stands for. All of it holds from the next request on.
func (s *site) changeAccount(v *visit) error {
	account, err := s.Guard.AccountFor(v.ctx, v.caller(), v.param("account"))
	if err != nil {
		return err
	}
	action := v.form("action")
	switch action {
	case "end-app":
		err = s.Server.RevokeGrant(v.ctx, account.ID, v.form("app"))
	case "end-all":
		err = s.endAccount(v, &account.Account)
	case "unlink":
		role, person, _ := strings.Cut(v.form("link"), " ")
		link := consent.Link{Role: smart.Role(role), Person: person}
		wrong := problems{}
		if !slices.Contains(account.Links, link) {
			wrong["link"] = "missing"
		}
		if v.form("sure") != "yes" {
			wrong["sure"] = "missing"
		}
		if len(wrong) > 0 {
			return v.showAccount(v.form("link"), wrong)
		}
		if err = s.Guard.Unlink(v.ctx, v.caller(), account.ID, link); kindIs(err, fhir.Unprocessable) {
			return v.showAccount(v.form("link"), problems{"link": "own"})
		}
	default:
		return errNotHere
	}
	if err != nil {
		return err
	}
	switch action {
	case "end-app":
		err = v.logged("end-app", account.ID)
	case "end-all":
		err = v.logged("end-account", account.ID)
	}
	if err != nil {
		return err
	}
	s.Log.Info("account changed", "account", account.ID, "action", action, "by", v.who.identity.FHIRUser)
	v.flash(flash{Code: "account-" + action, Name: account.Name})
	return v.redirect("/staff/accounts/" + url.PathEscape(account.ID))
}

// endAccount ends all sessions of a login, and whatever it let in.
func (s *site) endAccount(v *visit, a *consent.Account) error {
	sessions, err := s.SignOuts.End(v.ctx, []string{aliasOfPerson(a.Issuer, a.Subject)}, s.Now().Add(maxTime))
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if err := s.endGrant(v.ctx, session); err != nil {
			return err
		}
	}
	return s.Server.EndLogin(v.ctx, a.ID)
}
