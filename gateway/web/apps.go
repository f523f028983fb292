package web

import (
	"net/http"
	"strings"

	"mypatients/consent"
	"mypatients/smart/authserver"
)

// An appsView lists the apps that a person approved.
type appsView struct {
	Apps []appView
}

type appView struct {
	authserver.GrantView
	Name    string
	Scopes  []scopeView
	Patient *consent.Card // the one whom it may see; nil: nobody in particular
}

func (s *site) appsPage(v *visit) error {
	grants, err := s.Server.Grants(v.ctx, v.who.identity.Login)
	if err != nil {
		return err
	}
	cards, err := s.Guard.MyPatients(v.ctx, v.caller())
	if err != nil {
		return err
	}
	var view appsView
	for _, g := range grants {
		app := appView{GrantView: g, Name: g.Client.Name}
		if app.Name == "" {
			app.Name = g.Client.ID
		}
		for _, scope := range g.Scopes {
			app.Scopes = append(app.Scopes, scopeWords(scope))
		}
		for _, c := range cards {
			if c.Patient.ID == strings.TrimPrefix(g.Patient, "Patient/") {
				app.Patient = &c
			}
		}
		view.Apps = append(view.Apps, app)
	}
	return v.show(http.StatusOK, "apps", view, nil)
}

func (s *site) disconnect(v *visit) error {
	if err := s.Server.RevokeGrant(v.ctx, v.who.identity.Login, v.form("app")); err != nil {
		return err
	}
	v.flash(flash{Code: "disconnected"})
	return v.redirect(v.request.URL.Path)
}
