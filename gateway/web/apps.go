package web

import (
	"cmp"
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
	var ids []string
	for _, g := range grants {
		if id := strings.TrimPrefix(g.Patient, "Patient/"); id != "" {
			ids = append(ids, id)
		}
	}
	cards, err := s.Guard.ThePatients(v.ctx, v.caller(), ids)
	if err != nil {
		return err
	}
	var view appsView
	for _, g := range grants {
		app := appOf(g)
		for _, c := range cards {
			if c.Patient.ID == strings.TrimPrefix(g.Patient, "Patient/") {
				app.Patient = &c
			}
		}
		view.Apps = append(view.Apps, app)
	}
	return v.show(http.StatusOK, "apps", view, nil)
}

// appOf says of a grant which app it is and what it may do.
func appOf(g authserver.GrantView) appView {
	app := appView{GrantView: g, Name: cmp.Or(g.Client.Name, g.Client.ID)}
	for _, scope := range g.Scopes {
		app.Scopes = append(app.Scopes, scopeWords(scope))
	}
	return app
}

func (s *site) disconnect(v *visit) error {
	if err := s.Server.RevokeGrant(v.ctx, v.who.identity.Login, v.form("app")); err != nil {
		return err
	}
	if err := v.logged("end-app", v.form("app")); err != nil {
		return err
	}
	v.flash(flash{Code: "disconnected"})
	return v.redirect(v.request.URL.Path)
}
