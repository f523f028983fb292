package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
	"mypatients/smart/idp"
)

// An unlinkedView lists accounts that stand for nobody.
type unlinkedView struct {
	List []consent.LooseAccount
	Next string // after which the list goes on
}

// fullUnlinked is how many entries a list of the guard has that goes on.
const fullUnlinked = 50

func (s *site) unlinkedPage(v *visit) error {
	list, err := s.Guard.LooseAccounts(v.ctx, v.caller(), v.query("after"))
	if err != nil {
		return err
	}
	view := unlinkedView{List: list}
	if n := len(list); n == fullUnlinked {
		view.Next = list[n-1].At
	}
	return v.show(http.StatusOK, "unlinked", view, nil)
}

// A linkView connects an account to a person: the search, whom it found, what was
// checked, and at last all of it to be read once more.
type linkView struct {
	Account  consent.AccountView
	Provider string // where it signs in
	Query    string
	Searched bool
	Found    []consent.LinkChoice
	Chosen   string // role and person
	Check    string
	Sure     *consent.LinkChoice // to be confirmed
}

func (s *site) linkPage(v *visit) error { return v.showLink(linkView{Query: v.query("q")}, nil) }

func (v *visit) showLink(view linkView, wrong problems) error {
	found, err := v.site.Guard.AccountFor(v.ctx, v.caller(), v.param("account"))
	if err != nil {
		return err
	}
	view.Account, view.Provider = *found, v.site.providerName(found.Issuer)
	if view.Query != "" {
		view.Searched = true
		if view.Found, err = v.site.Guard.LinkChoices(v.ctx, v.caller(), view.Query); err != nil {
			return err
		}
	}
	if len(wrong) == 0 && view.Chosen != "" && view.Check != "" {
		i := slices.IndexFunc(view.Found, func(c consent.LinkChoice) bool { return linkValue(c.Link) == view.Chosen })
		if i >= 0 {
			view.Sure = &view.Found[i]
			return v.show(http.StatusOK, "linksure", view, nil)
		}
		wrong = problems{"link": "missing"}
	}
	return v.show(http.StatusOK, "link", view, wrong)
}

// providerName is what people call the place where an account signs in.
func (s *site) providerName(issuer string) string {
	if i := slices.IndexFunc(s.Providers, func(p *idp.Provider) bool { return p.Issuer() == issuer }); i >= 0 {
		return s.Providers[i].Name()
	}
	return issuer
}

// linkValue names a link in a form.
func linkValue(l consent.Link) string { return string(l.Role) + " " + l.Person }

// link searches, has the administrator read once more what is to be, and does it.
func (s *site) link(v *visit) error {
	view := linkView{Query: v.form("q"), Chosen: v.form("link"), Check: v.form("check")}
	switch v.form("action") {
	case "find":
		view.Chosen = ""
		if view.Query == "" {
			return v.showLink(view, problems{"q": "missing"})
		}
		return v.showLink(view, nil)
	case "edit":
		return v.showLinkAgain(view)
	case "check", "link":
	default:
		return errNotHere
	}
	wrong := problems{}
	if view.Chosen == "" {
		wrong["link"] = "missing"
	}
	if view.Check == "" {
		wrong["check"] = "missing"
	} else if len(view.Check) > maxReason {
		wrong["check"] = "long"
	}
	if len(wrong) > 0 || v.form("action") == "check" {
		return v.showLink(view, wrong)
	}
	role, person, _ := strings.Cut(view.Chosen, " ")
	id := v.param("account")
	err := s.Guard.Link(v.ctx, v.caller(), id, consent.Link{Role: smart.Role(role), Person: person}, view.Check)
	switch {
	case kindIs(err, fhir.Unprocessable):
		return v.showLink(view, problems{"link": "missing"})
	case kindIs(err, fhir.Forbidden) && !unproven(err):
		return v.showLink(view, problems{"link": "own"})
	case kindIs(err, fhir.Conflict):
		return v.showLink(view, problems{"link": "already"})
	case err != nil:
		return err
	}
	s.Log.Info("account linked", "account", id, "by", v.who.identity.FHIRUser)
	v.flash(flash{Code: "linked"})
	return v.redirect("/staff/accounts/" + url.PathEscape(id))
}

// showLinkAgain goes back from the last look to the form, with all that was typed.
func (v *visit) showLinkAgain(view linkView) error {
	found, err := v.site.Guard.AccountFor(v.ctx, v.caller(), v.param("account"))
	if err != nil {
		return err
	}
	view.Account, view.Provider, view.Searched = *found, v.site.providerName(found.Issuer), true
	if view.Found, err = v.site.Guard.LinkChoices(v.ctx, v.caller(), view.Query); err != nil {
		return err
	}
	return v.show(http.StatusOK, "link", view, nil)
}
