package web

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/idp"
)

// An authorizeView asks a person what an app may see.
type authorizeView struct {
	App      string
	Site     string // the host that this request's answer goes to; empty: none, as for an app on a phone
	Local    bool   // the answer goes to the person's own device
	Request  string
	Scopes   []scopeView
	Offline  bool // it wants to go on when the person is away
	Choose   bool // a patient must be chosen
	Patients []consent.Card
	Patient  string // chosen, or set by the launch
	Fixed    *consent.Card
	Search   *Selection // of providers, who may have many patients
	Nobody   bool       // there is no patient to choose

	Visits []visitChoice // to choose from, once the patient is known
}

// A Selection is what was typed to find a patient.
type Selection struct{ MRN string }

// A scopeView is one thing that an app wants. Kind selects its words: resource,
// identity, patient, offline, online, other.
type scopeView struct {
	Text    string
	Kind    string
	Type    string // resource type, or "*"
	Read    bool
	Write   bool
	Own     bool   // of one patient; else of all that the person may see
	Only    string // limits the type, as the app wrote it
	Checked bool
	Parts   []portionView // that can be left out
}

// authorizePage is where the authorization server sends the browser: it sees to
// the sign-in that the app asked for and then shows what the app wants.
func (s *site) authorizePage(v *visit) error {
	p, done, err := v.pending(v.query("request"))
	if err != nil || done {
		return err
	}
	view, err := v.authorizeView(p)
	if err != nil {
		return err
	}
	return v.showAuthorize(view, nil)
}

func (v *visit) showAuthorize(view authorizeView, wrong problems) error {
	v.reply.leadsAway = true
	return v.show(http.StatusOK, "authorize", view, wrong)
}

// pending finds the app's request and makes sure that somebody with a role is
// signed in as the app asked; done means that the visit is answered.
func (v *visit) pending(id string) (p *authserver.Pending, done bool, err error) {
	p, err = v.site.Server.Pending(v.ctx, id)
	if err != nil {
		return nil, false, err
	}
	silent := slices.Contains(p.Prompt, "none")
	next := "/authorize?" + url.Values{"request": {id}}.Encode()
	login := v.who == nil || v.session(keyAgain) != id && v.mustSignInAgain(p)
	switch {
	case silent && login:
		return nil, true, v.deny(p, "login_required", "The person is not signed in.")
	case silent && v.who.role == "":
		return nil, true, v.deny(p, "interaction_required", "The person has to choose a role.")
	case silent:
		return nil, true, v.deny(p, "consent_required", "The person has to approve the app.")
	case login:
		return nil, true, v.signInFor(p, next)
	case v.unmet(p.ACRValues):
		return nil, true, v.denyUnmet(p)
	case len(roles(v.who.account)) == 0:
		return nil, true, v.show(http.StatusForbidden, "stranger", strangerView{Next: next}, nil)
	case v.who.role == "":
		return nil, true, v.redirect("/role?" + nextQuery(next))
	case p.Launch != nil && p.Launch.Identity.FHIRUser != "" && p.Launch.Identity.FHIRUser != v.who.identity.FHIRUser:
		return nil, true, v.deny(p, "access_denied", "The app was opened for another person.")
	}
	return p, false, nil
}

// mustSignInAgain reports whether an app asks for a newer proof of who the
// person is than the session has.
func (v *visit) mustSignInAgain(p *authserver.Pending) bool {
	if slices.Contains(p.Prompt, "login") || slices.Contains(p.Prompt, "select_account") {
		return true
	}
	return v.wantsStepUp(p.ACRValues) || p.MaxAge != nil && v.signedInFor() > time.Duration(*p.MaxAge)*time.Second
}

// signInFor starts the sign-in that an app's request asks for.
func (v *visit) signInFor(p *authserver.Pending, next string) error {
	if len(v.site.Providers) > 1 && v.who == nil {
		return v.redirect("/signin?" + nextQuery(next)) // which comes back here, see wishes
	}
	provider := v.site.Providers[0]
	if v.who != nil {
		provider = v.site.issuerOf(v.who.account)
	}
	return v.begin(provider, ticket{Next: next, Again: p.ID}, v.wishes(p))
}

// wishes are what the app asks of the sign-in, for the provider.
func (v *visit) wishes(p *authserver.Pending) idp.Options {
	o := idp.Options{LoginHint: p.LoginHint, ACRValues: p.ACRValues}
	switch {
	case v.who != nil || slices.Contains(p.Prompt, "login"):
		o.Prompt = "login"
	case slices.Contains(p.Prompt, "select_account"):
		o.Prompt = "select_account"
	}
	if p.MaxAge != nil {
		age := time.Duration(*p.MaxAge) * time.Second
		o.MaxAge = &age
	}
	return o
}

// appRequest finds the app's request that a sign-in leads back to, if it does.
func (v *visit) appRequest(next string) *authserver.Pending {
	u, err := url.Parse(next)
	if err != nil || u.Path != "/authorize" || u.Query().Get("request") == "" {
		return nil
	}
	p, err := v.site.Server.Pending(v.ctx, u.Query().Get("request"))
	if err != nil {
		return nil // the page that follows says so
	}
	return p
}

func (v *visit) deny(p *authserver.Pending, code, text string) error {
	location, err := v.site.Server.Deny(v.ctx, p.ID, code, text)
	if err != nil {
		return err
	}
	return v.redirect(location)
}

func (v *visit) authorizeView(p *authserver.Pending) (authorizeView, error) {
	view := authorizeView{App: p.Client.Name, Request: p.ID, Choose: p.NeedPatient}
	view.Site, view.Local = siteOf(p.RedirectURI)
	if view.App == "" {
		view.App = p.Client.ID
	}
	for _, scope := range p.Scopes {
		item := scopeWords(scope)
		item.Checked = true
		for _, part := range portionsOf(scope) {
			item.Parts = append(item.Parts, part.portionView)
		}
		view.Offline = view.Offline || item.Kind == "offline"
		view.Scopes = append(view.Scopes, item)
	}
	if p.Launch != nil && p.Launch.Context.Patient != "" {
		view.Patient, view.Choose = p.Launch.Context.Patient, false
		card, err := v.card(view.Patient)
		if err != nil && !kindIs(err, fhir.NotFound) {
			return view, err
		}
		view.Fixed = card
		return view, nil
	}
	if !view.Choose {
		return view, nil
	}
	return view, v.choices(&view)
}

// choices fills in the patients to choose from.
func (v *visit) choices(view *authorizeView) error {
	cards, _, err := v.site.Guard.MyPatients(v.ctx, v.caller(), "")
	if err != nil {
		return err
	}
	view.Patients = cards
	if v.who.role == smart.Provider {
		view.Search = &Selection{MRN: v.query("mrn")}
		if view.Search.MRN != "" {
			found, err := v.site.Guard.Select(v.ctx, v.caller(), consent.Selection{MRN: view.Search.MRN})
			if err != nil {
				return err
			}
			view.Patients = found.Matches
		}
	}
	view.Nobody = len(view.Patients) == 0
	if len(view.Patients) == 1 {
		view.Patient = view.Patients[0].Patient.ID
	}
	return nil
}

// card finds the card of one of the person's patients.
func (v *visit) card(id string) (*consent.Card, error) {
	cards, err := v.site.Guard.ThePatients(v.ctx, v.caller(), []string{id})
	if err != nil {
		return nil, err
	}
	if len(cards) != 1 {
		return nil, fhir.ErrNotFound()
	}
	return &cards[0], nil
}

// authorize takes the person's answer.
func (s *site) authorize(v *visit) error {
	p, done, err := v.pending(v.form("request"))
	if err != nil || done {
		return err
	}
	if v.form("action") != "approve" {
		if err := v.logged("decline-app", p.Client.ID); err != nil {
			return err
		}
		return v.deny(p, "access_denied", "The person did not approve the app.")
	}
	scopes := chosenScopes(p.Scopes, v.request.PostForm)
	patient := v.form("patient")
	wrong := problems{}
	if len(scopes) == 0 {
		wrong["scope"] = "missing"
	}
	fixed := p.Launch != nil && p.Launch.Context.Patient != ""
	switch {
	case fixed:
		patient = p.Launch.Context.Patient
	case !p.NeedPatient:
		patient = ""
	case patient == "":
		wrong["patient"] = "missing"
	default:
		if err := v.maySee(patient); kindIs(err, fhir.NotFound) {
			wrong["patient"] = "unknown"
		} else if err != nil {
			return err
		}
	}
	visit, visits := "", []visitChoice(nil)
	if len(wrong) == 0 && p.NeedEncounter && scopes.Has("launch/encounter") {
		if visits, err = v.visitChoices(patient); err != nil {
			return err
		}
		switch visit = v.form("visit"); {
		case visit == noVisit || len(visits) == 0:
			visit = ""
		case !slices.ContainsFunc(visits, func(c visitChoice) bool { return c.ID == visit }):
			wrong["visit"] = "missing"
		}
	}
	if len(wrong) > 0 {
		return v.askAgain(p, patient, visits, wrong)
	}
	related, err := v.related(p, scopes, patient)
	if err != nil {
		return err
	}
	location, err := s.Server.Approve(v.ctx, p.ID, authserver.Approval{
		Identity: v.who.identity, Scopes: scopes, Patient: patient, Encounter: visit, Related: related,
		AuthTime: v.time(keySignedIn), ACR: v.session(keyACR), SessionID: v.session(keyGrant),
	})
	if err != nil {
		return err
	}
	if err := v.logged("approve-app", p.Client.ID); err != nil {
		return err
	}
	v.dropSession(keyAgain)
	return v.redirect(location)
}

// askAgain shows the page with what was answered, and what is missing.
func (v *visit) askAgain(p *authserver.Pending, patient string, visits []visitChoice, wrong problems) error {
	view, err := v.authorizeView(p)
	if err != nil {
		return err
	}
	form := v.request.PostForm
	for i := range view.Scopes {
		item := &view.Scopes[i]
		item.Checked = slices.Contains(form["scope"], item.Text)
		for k := range item.Parts {
			item.Parts[k].Checked = slices.Contains(form["part"], item.Parts[k].Value)
		}
	}
	view.Patient, view.Visits = patient, visits
	return v.showAuthorize(view, wrong)
}

// maySee checks that the person may see a patient, for the choice of one.
func (v *visit) maySee(patient string) error {
	report, err := v.site.Guard.Access(v.ctx, v.caller(), patient)
	if err != nil {
		return err
	}
	if !report.Permitted {
		return fhir.ErrNotFound()
	}
	return nil
}

// scopeWords takes a scope apart for the words of the page.
func scopeWords(s smart.Scope) scopeView {
	item := scopeView{Text: s.String(), Kind: "other", Type: s.Type, Own: s.Level == "patient", Only: only(s.Params)}
	if s.Level != "" {
		item.Kind = "resource"
		item.Read = s.May&(smart.MayRead|smart.MaySearch) != 0
		item.Write = s.May&(smart.MayCreate|smart.MayUpdate|smart.MayDelete) != 0
		return item
	}
	switch s.Text {
	case "openid", "fhirUser", "profile", "email":
		item.Kind = s.Text
	case "launch", "launch/patient", "launch/encounter":
		item.Kind = "context"
	case "offline_access":
		item.Kind = "offline"
	case "online_access":
		item.Kind = "online"
	}
	return item
}

// only shortens the granular part of a scope to its last words: the codes that
// it is limited to.
func only(params url.Values) string {
	var parts []string
	for _, values := range params {
		for _, value := range values {
			parts = append(parts, strings.ReplaceAll(value[strings.LastIndexAny(value, "|/")+1:], "-", " "))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// siteOf names the place to which an answer goes: its host, or the person's own
// device (RFC 8252 section 7).
func siteOf(redirect string) (host string, local bool) {
	u, err := url.Parse(redirect)
	if err != nil {
		return "", false
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return "", true
	}
	name := u.Hostname()
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() || name == "localhost" {
		return u.Host, true
	}
	return u.Host, false
}
