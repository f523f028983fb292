package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mypatients/smart"
)

// The kinds of apps as an administrator tells them apart.
const (
	kindPublic  = "public"  // cannot keep a secret: runs in browsers and on phones
	kindSecret  = "secret"  // a web app with a server and a shared secret
	kindKey     = "key"     // a web app with a server and a key of its own
	kindBackend = "backend" // a system, with nobody in front of it
)

// What a new app may ask for when the administrator does not say.
const (
	usualAppScope     = "launch launch/patient openid fhirUser offline_access patient/*.rs"
	usualBackendScope = "system/*.rs"
)

// A clientsView lists the registered apps.
type clientsView struct{ Clients []clientRow }

type clientRow struct {
	smart.Client
	Kind string
}

// A clientForm is the form to register an app.
type clientForm struct {
	Name      string
	Kind      string
	Redirects string // one URI a line
	Launch    string
	Scope     string
	JWKS      string // the keys themselves
	JWKSURI   string // or where they are
	MayLaunch bool
}

// A clientView is one app.
type clientView struct {
	clientRow
	Scopes []string
	Grants int
	Secret string // a new one, shown this once
}

func kindOf(c smart.Client) string {
	switch {
	case c.MayUse(smart.GrantClientCredentials):
		return kindBackend
	case c.AuthMethod == smart.AuthPrivateKeyJWT:
		return kindKey
	case c.AuthMethod == smart.AuthSecretBasic:
		return kindSecret
	}
	return kindPublic
}

func (s *site) clientsPage(v *visit) error {
	clients, err := s.Server.Clients(v.ctx)
	if err != nil {
		return err
	}
	var view clientsView
	for _, c := range clients {
		view.Clients = append(view.Clients, clientRow{c, kindOf(c)})
	}
	slices.SortStableFunc(view.Clients, func(a, b clientRow) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return v.show(http.StatusOK, "clients", view, nil)
}

func (s *site) newClientPage(v *visit) error {
	return v.show(http.StatusOK, "newclient", clientForm{Kind: kindPublic}, nil)
}

// addClient registers an app. What the server finds wrong with it is said at the
// field that it is about, in the server's words, which are made for developers
// and administrators.
func (s *site) addClient(v *visit) error {
	form := clientForm{Name: v.form("name"), Kind: v.form("kind"), Redirects: v.form("redirects"), Launch: v.form("launch"),
		Scope: v.form("scope"), JWKS: v.form("jwks"), JWKSURI: v.form("jwks_uri"), MayLaunch: v.form("may_launch") == "yes"}
	client, wrong := form.client()
	if len(wrong) > 0 {
		return v.show(http.StatusOK, "newclient", form, wrong)
	}
	id, secret, err := s.Server.AddClient(v.ctx, client, "")
	var bad *smart.Error
	if errors.As(err, &bad) && bad.Status == 0 {
		return v.show(http.StatusOK, "newclient", form, problems{fieldOf(bad.Description): bad.Description})
	}
	if err != nil {
		return err
	}
	if err := v.logged("add-client", id); err != nil {
		return err
	}
	s.Log.Info("client registered", "client", id, "by", v.who.identity.FHIRUser)
	if secret != "" {
		return v.showClient(id, secret, nil)
	}
	v.flash(flash{Code: "client-added", Name: client.Name})
	return v.redirect("/staff/clients/" + url.PathEscape(id))
}

// client makes the registration that the form asks for.
func (f *clientForm) client() (smart.Client, problems) {
	wrong := problems{}
	c := smart.Client{Name: f.Name, LaunchURI: f.Launch, AuthMethod: smart.AuthNone, GrantTypes: []string{smart.GrantCode}}
	usual := usualAppScope
	switch f.Kind {
	case kindPublic:
	case kindSecret:
		c.AuthMethod = smart.AuthSecretBasic
	case kindKey, kindBackend:
		c.AuthMethod, c.JWKSURI, c.MayLaunch = smart.AuthPrivateKeyJWT, f.JWKSURI, f.MayLaunch
		if f.JWKS != "" {
			c.JWKS = json.RawMessage(f.JWKS)
		}
		if (f.JWKS == "") == (f.JWKSURI == "") || f.JWKS != "" && !json.Valid(c.JWKS) {
			wrong["jwks"] = "invalid"
		}
	default:
		wrong["kind"] = "missing"
	}
	if f.Kind == kindBackend {
		c.GrantTypes, c.LaunchURI = []string{smart.GrantClientCredentials}, ""
		usual = usualBackendScope
	} else if c.RedirectURIs = strings.Fields(f.Redirects); len(c.RedirectURIs) == 0 {
		wrong["redirects"] = "missing"
	}
	if f.Name == "" {
		wrong["name"] = "missing"
	}
	if f.Scope == "" {
		f.Scope = usual
	}
	scopes := smart.KnownScopes(f.Scope)
	if len(scopes) != len(strings.Fields(f.Scope)) {
		wrong["scope"] = "invalid"
	}
	c.Scope = scopes.String()
	if f.Kind != kindBackend && (scopes.Has("offline_access") || scopes.Has("online_access")) {
		c.GrantTypes = append(c.GrantTypes, smart.GrantRefresh)
	}
	return c, wrong
}

// fieldOf finds the field that a sentence of the server is about; its sentences
// begin with the name of the metadata.
func fieldOf(description string) string {
	name, _, _ := strings.Cut(description, " ")
	switch strings.TrimSuffix(name, ":") {
	case "redirect_uris":
		return "redirects"
	case "launch_uri":
		return "launch"
	case "jwks", "jwks_uri":
		return "jwks"
	}
	return "name"
}

func (s *site) clientPage(v *visit) error { return v.showClient(v.param("client"), "", nil) }

func (v *visit) showClient(id, secret string, wrong problems) error {
	c, err := v.site.Server.Client(v.ctx, id)
	if unknownClient(err) {
		return errNotHere
	}
	if err != nil {
		return err
	}
	n, err := v.site.Server.ClientGrants(v.ctx, id, maxShownGrants)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "client", clientView{clientRow{c, kindOf(c)}, strings.Fields(c.Scope), n, secret}, wrong)
}

// maxShownGrants is up to where grants are counted.
const maxShownGrants = 1000

func unknownClient(err error) bool {
	var known *smart.Error
	return errors.As(err, &known) && known.Code == "invalid_client"
}

// clientActions are what the log calls the actions of the form.
var clientActions = map[string]string{"end": "end-client", "secret": "change-client", "remove": "remove-client"}

// changeClient ends an app's access, gives it a new secret, or removes it.
func (s *site) changeClient(v *visit) error {
	id := v.param("client")
	if _, err := s.Server.Client(v.ctx, id); unknownClient(err) {
		return errNotHere
	} else if err != nil {
		return err
	}
	action := v.form("action")
	said := flash{Code: "client-" + action, Name: v.form("name")}
	back := "/staff/clients/" + url.PathEscape(id)
	var secret string
	var err error
	switch action {
	case "end":
		err = s.Server.EndClientGrants(v.ctx, id)
	case "secret":
		secret, err = s.Server.NewSecret(v.ctx, id)
	case "remove":
		if v.form("sure") != "yes" {
			return v.showClient(id, "", problems{"sure": "missing"})
		}
		err = s.Server.RemoveClient(v.ctx, id)
		back = "/staff/clients"
	default:
		return errNotHere
	}
	if err != nil {
		return err
	}
	if err := v.logged(clientActions[action], id); err != nil {
		return err
	}
	s.Log.Info("client changed", "client", id, "action", action, "by", v.who.identity.FHIRUser)
	if secret != "" {
		return v.showClient(id, secret, nil)
	}
	v.flash(said)
	return v.redirect(back)
}
