// Package web is the pages: sign-in, the approval of apps, and the portals of
// providers, families and staff. They are plain forms and links made on the
// server; the one small script only adds comfort.
//
// The pages are a client of the guard like any app: a signed-in person acts
// with a grant of the gateway's own client (consent.Portal), so a page can show
// and do no more than that person may over FHIR. The package knows nothing of
// stores and of tokens.
//
// Each group of pages has one Go file and one template file of the same name.
// Handlers answer with a view (a small struct) or an error; every word that a
// person reads is in the templates. They are written in English; package lang makes
// those of the other languages from them.
//
// Charts are SVG drawn here (plot). A library of charts would draw in the browser:
// without its script there would be nothing to see, nothing to print, and nothing
// for a screen reader but what we wrote ourselves all the same.
//
// Our style sheet stands on modern-normalize 3.0.1 (MIT), vendored unchanged: 3 KB
// that undo what browsers do differently, and look like nothing themselves.
package web

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/gateway/growth"
	"mypatients/gateway/lang"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/idp"
)

// Config is what the pages need. Everything but Brand, Zone, Log, Notices, Mail and Roles is
// required.
type Config struct {
	Guard     *consent.Guard
	Server    *authserver.Server
	Providers []*idp.Provider  // where people sign in; with several they choose
	Sessions  scs.CtxStore     // keeps sessions; may judge expiry by its own clock
	SignOuts  SignOuts         // which of them providers have ended
	Now       func() time.Time // the clock of everything that is shown or decided here
	Key       []byte           // 32 bytes: seals what the browsers of strangers keep
	Base      string           // external base URL without a trailing slash; https makes the cookie secure
	Zone      *time.Location   // in which dates are shown and typed; nil: UTC
	Brand     Brand
	Log       *slog.Logger // nil: nothing is logged
	Notices   Notices      // mails that failed; nil: there are none

	// Mail sends a mail at once, to one address; nil: invitations are not mailed. What
	// it says of an error is logged, so it must name nobody.
	Mail func(ctx context.Context, to, subject, text string) error

	// Components adds the page that shows the design system, for anyone.
	Components bool

	// What the claims of providers mean, by their ids; others' mean nothing.
	Roles map[string]RoleMap
}

// A Brand is how the pages present themselves.
type Brand struct {
	Name   string // of the product, as people call it; empty: MyPatients
	Logo   []byte // a square picture, SVG or PNG, to stand before the name; empty: the name alone
	Accent string // colour, #rrggbb; should reach a contrast of 4.5 on white; empty: the product's own
	Phone  string // that people call for help; empty: none is shown
}

// A site is the pages with all they need.
type site struct {
	Config
	sessions *scs.SessionManager
	seal     cipher.AEAD // of what the browsers of strangers keep
	origin   *http.CrossOriginProtection
	pages    map[lang.Language]pages
	static   static
	words    words
	growth   *growth.Reference
	https    bool
}

// complete checks a brand and fills in what it leaves out.
func (b Brand) complete() (Brand, error) {
	if b.Accent != "" && !colour.MatchString(b.Accent) {
		return b, errors.New("web: the accent is not a colour of the form #rrggbb")
	}
	if len(b.Logo) > 0 && b.LogoFile() == "" {
		return b, errors.New("web: the logo is neither SVG nor PNG")
	}
	if b.Name == "" {
		b.Name = "MyPatients"
	}
	return b, nil
}

// LogoFile is the name under which the logo is served; "" without one.
func (b Brand) LogoFile() string {
	head := b.Logo[:min(len(b.Logo), 1024)]
	switch {
	case http.DetectContentType(head) == "image/png":
		return "logo.png"
	case bytes.Contains(head, []byte("<svg")):
		return "logo.svg"
	}
	return ""
}

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// Mount adds the pages to a router; to an engine also the page for addresses that
// are nowhere.
func Mount(r gin.IRouter, c Config) error {
	switch {
	case c.Guard == nil, c.Server == nil, c.Sessions == nil, c.SignOuts == nil, c.Now == nil:
		return errors.New("web: guard, authorization server, sessions, sign-outs and clock are required")
	case len(c.Providers) == 0:
		return errors.New("web: nobody could sign in without a provider")
	}
	base, err := url.Parse(c.Base)
	if err != nil || base.Host == "" || strings.HasSuffix(c.Base, "/") {
		return errors.New("web: the base is not an absolute URL without a trailing slash")
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Notices == nil {
		c.Notices = noNotices{}
	}
	if c.Brand, err = c.Brand.complete(); err != nil {
		return err
	}
	s := &site{Config: c, https: base.Scheme == "https", origin: http.NewCrossOriginProtection()}
	if err := s.origin.AddTrustedOrigin(base.Scheme + "://" + base.Host); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	if s.seal, err = sealOf(c.Key); err != nil {
		return err
	}
	if s.static, err = newStatic(c.Brand); err != nil {
		return err
	}
	s.words = words{now: c.Now, zone: c.Zone}
	if s.growth, err = growth.Load(); err != nil {
		return err
	}
	if s.pages, err = allPages(s.static.version, s.words); err != nil {
		return err
	}
	s.sessions = s.newSessions()
	s.routes(r)
	if engine, ok := r.(*gin.Engine); ok {
		engine.NoRoute(s.noRoute)
	}
	return nil
}

// noRoute answers what is nowhere: browsers with a page, others with a line.
func (s *site) noRoute(c *gin.Context) {
	if c.Request.Method == http.MethodGet && strings.Contains(c.GetHeader("Accept"), "text/html") {
		s.serve(anyone, func(*visit) error { return errNotHere })(c)
		return
	}
	c.String(http.StatusNotFound, "There is nothing at this address.\n")
}

// The people that a page is for.
var (
	anyone    = need{}
	known     = need{account: true}
	providers = need{account: true, roles: []smart.Role{smart.Provider}}
	family    = need{account: true, roles: []smart.Role{smart.Patient, smart.Proxy}}
	staff     = need{account: true, roles: []smart.Role{smart.Staff, smart.Admin}}
	admins    = need{account: true, roles: []smart.Role{smart.Admin}}
	readers   = need{account: true, roles: []smart.Role{smart.Provider, smart.Patient, smart.Proxy, smart.Sponsored}}
	sponsored = need{account: true, roles: []smart.Role{smart.Sponsored}}
)

// routes is every address of the pages. A form is sent to the address of the
// page that shows it, so that reloading and signing in again lead back there.
func (s *site) routes(r gin.IRouter) {
	get := func(path string, n need, h handler) { r.GET(path, s.serve(n, h)) }
	both := func(path string, n need, show, act handler) {
		r.GET(path, s.serve(n, show))
		r.POST(path, s.serve(n, act))
	}
	r.GET("/static/*file", s.static.serve)

	get("/language", anyone, s.chooseLanguage)
	if s.Components {
		get(ComponentsPath, anyone, s.componentsPage)
	}

	get("/signin", anyone, s.signIn)
	get("/signin/callback/:provider", anyone, s.signedIn)
	get("/signin/step-up", known, s.stepUp)
	r.POST("/signin/backchannel/:provider", s.backChannel)
	both("/signout", anyone, s.signOutPage, s.signOut)
	both("/role", known, s.rolePage, s.chooseRole)
	both("/register", known, s.registerPage, s.register)
	both("/authorize", anyone, s.authorizePage, s.authorize)

	both("/", providers, s.selectionPage, s.selectPatient)
	both("/requests/new", providers, s.askPage, s.ask)
	both("/requests", providers, s.requestsPage, s.withdraw)
	both("/invitation", providers, s.invitationPage, s.redeem)
	both("/emergency", providers, s.emergencyPage, s.breakGlass)
	both("/sponsored", providers, s.sponsoredPage, s.changeSponsored)
	both("/sponsored/code", known, s.codePage, s.takeUp)
	both("/working", sponsored, s.workingPage, s.leave)
	both("/provider/apps", providers, s.appsPage, s.disconnect)
	both("/notices", providers, s.noticesPage, s.chooseNotices)
	both("/patients/:id/open", providers, s.openPage, s.open)
	get("/patients/:id", readers, s.recordPage)
	get("/patients/:id/:tab", readers, s.recordPage)

	get("/patient", family, s.familyPage)
	both("/patient/apps", family, s.appsPage, s.disconnect)
	both("/patient/notices", family, s.noticesPage, s.chooseNotices)
	both("/patient/requests/:consent", family, s.decisionPage, s.decide)
	both("/patient/:id/access", family, s.accessPage, s.undoStop)
	both("/patient/:id/access/:consent", family, s.stopPage, s.stop)
	both("/patient/:id/care-team", family, s.careTeamPage, s.addMember)
	both("/patient/:id/care-team/:member", family, s.memberPage, s.removeMember)
	both("/patient/:id/invitations", family, s.invitationsPage, s.invite)
	get("/patient/:id/activity", family, s.activityPage)
	get("/patient/:id/private", family, s.privatePage)
	get("/patient/:id/emergencies", family, s.familyEmergenciesPage)

	both("/staff", staff, s.staffPage, s.findPatient)
	both("/staff/patients/:mrn", staff, s.staffPatientPage, s.editCareTeam)
	both("/staff/patients/:mrn/invitation", staff, s.staffInvitePage, s.staffInvite)
	both("/staff/emergencies", admins, s.emergenciesPage, s.reviewEmergency)
	both("/staff/registrations", admins, s.registrationsPage, s.decideRegistration)
	both("/staff/notices", admins, s.failedPage, s.settleFailed)
	both("/staff/log", admins, s.logPage, s.searchLog)
	get("/staff/unclear", admins, s.unclearPage)
	get("/staff/unlinked", admins, s.unlinkedPage)
	both("/staff/accounts/:account/link", admins, s.linkPage, s.link)
	both("/staff/accounts", admins, s.accountsPage, s.findAccounts)
	both("/staff/accounts/:account", admins, s.accountPage, s.changeAccount)
	get("/staff/clients", admins, s.clientsPage)
	both("/staff/clients/new", admins, s.newClientPage, s.addClient)
	both("/staff/clients/:client", admins, s.clientPage, s.changeClient)
}
