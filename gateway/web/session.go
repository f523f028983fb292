package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"

	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/smart"
)

// How long a session lasts.
const (
	idleTime = 15 * time.Minute // without a visit
	maxTime  = 12 * time.Hour   // whatever happens
)

// What a session holds; all values are strings.
const (
	keyAccount   = "account"   // id of the account
	keyRole      = "role"      // the role the person acts in
	keyGrant     = "grant"     // names the session towards the guard and the authorization server; not the cookie
	keySignedIn  = "signedIn"  // when the person proved who they are
	keyACR       = "acr"       // how strong that proof was, in the provider's words
	keySeen      = "seen"      // when the session was last used
	keyBegan     = "began"     // when it began
	keyCSRF      = "csrf"      // what forms must send back
	keyTicket    = "ticket"    // sign-in under way
	keyFlash     = "flash"     // what to say on the next page
	keySelection = "selection" // what was typed on Patient Selection
	keyAsked     = "asked"     // what was typed for which requests
	keyOut       = "out"       // the person has just signed out
	keyLanguage  = "language"  // which the person has chosen, or kept
	keyUpstream  = "upstream"  // where to go on signing out
	keyAgain     = "again"     // the app request for which the person signed in anew
)

// A person is who is signed in. Role is empty as long as the account belongs to
// nobody we know, or none of several roles has been chosen.
type person struct {
	account  *consent.Account
	role     smart.Role
	identity smart.Identity
}

// A need says for whom a page is: anyone, anyone signed in, or people acting in
// one of some roles.
type need struct {
	account bool
	roles   []smart.Role
}

func (s *site) newSessions() *scs.SessionManager {
	m := scs.New()
	m.Store = &idleStore{CtxStore: s.Sessions, now: s.Now}
	m.Lifetime = maxTime
	m.HashTokenInStore = true
	m.Cookie.Name = "session"
	if s.https {
		m.Cookie.Name = "__Host-session" // the browser takes it only from us, over TLS, for the whole host
	}
	m.Cookie.Secure = s.https
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode // Strict would sign people out on every way back from a provider or an app
	m.Cookie.Persist = false
	return m
}

// An idleStore has sessions end by our clock, not by that of the machine.
type idleStore struct {
	scs.CtxStore
	now func() time.Time
}

func (s *idleStore) CommitCtx(ctx context.Context, token string, b []byte, _ time.Time) error {
	return s.CtxStore.CommitCtx(ctx, token, b, s.now().Add(idleTime))
}

func (v *visit) session(key string) string       { return v.site.sessions.GetString(v.ctx, key) }
func (v *visit) setSession(key, value string)    { v.site.sessions.Put(v.ctx, key, value) }
func (v *visit) dropSession(key string)          { v.site.sessions.Remove(v.ctx, key) }
func (v *visit) setTime(key string, t time.Time) { v.setSession(key, t.UTC().Format(time.RFC3339Nano)) }
func (v *visit) time(key string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, v.session(key)) // unreadable: zero, which is long over
	return t
}

// loadSession takes up the session of the browser's cookie and ends it if it
// was left alone for too long.
func (v *visit) loadSession() error {
	token := ""
	if cookie, err := v.request.Cookie(v.site.sessions.Cookie.Name); err == nil {
		token = cookie.Value
	}
	ctx, err := v.site.sessions.Load(v.ctx, token)
	if err != nil {
		// The page that says so shows an empty session; the browser keeps its own.
		v.lost = true
		v.ctx, _ = v.site.sessions.Load(v.ctx, "") // cannot fail
		return err
	}
	v.ctx = ctx
	if token == "" {
		v.loadStranger()
		return nil
	}
	now := v.site.Now()
	if v.session(keySeen) == "" { // the store has let go of it
		v.expired = true
		v.loadStranger() // who may be on the way back from signing in anew
		return nil
	}
	if now.Sub(v.time(keySeen)) >= idleTime || now.Sub(v.time(keyBegan)) >= maxTime {
		v.expired = true
		return v.endSession()
	}
	if grant := v.session(keyGrant); grant != "" {
		ended, err := v.site.SignOuts.Ended(v.ctx, grant)
		if err != nil {
			return err
		}
		if ended { // by the provider, or by the person in another visit
			v.expired = true
			return v.endSession()
		}
	}
	v.setTime(keySeen, now)
	return nil
}

// storeSession keeps what the visit changed and gives the browser its cookie.
func (v *visit) storeSession(w http.ResponseWriter) error {
	m := v.site.sessions
	if v.session(keyAccount) == "" {
		return v.storeStranger(w)
	}
	if m.Status(v.ctx) != scs.Modified {
		return nil
	}
	token, expiry, err := m.Commit(v.ctx)
	if err != nil {
		return err
	}
	m.WriteSessionCookie(v.ctx, w, token, expiry)
	v.forgetStranger(w)
	return nil
}

// startSession begins or renews a session: a new cookie, so that nobody can
// have planted the old one, and a new form token.
func (v *visit) startSession() error {
	if err := v.site.sessions.RenewToken(v.ctx); err != nil {
		return err
	}
	v.dropSession(keyCSRF)
	return nil
}

// touch makes sure the session has its times.
func (v *visit) touch() {
	now := v.site.Now()
	if v.session(keyBegan) == "" {
		v.setTime(keyBegan, now)
	}
	v.setTime(keySeen, now)
}

// endSession forgets the person, here and in the apps that live by the session. A
// visit that is still under way stores the session once more when it ends, so that
// it is over is noted apart.
func (v *visit) endSession() error {
	if grant := v.session(keyGrant); grant != "" {
		if _, err := v.site.SignOuts.End(v.ctx, []string{aliasOfGrant(grant)}, v.site.Now().Add(maxTime)); err != nil {
			return err
		}
		if err := v.site.endGrant(v.ctx, grant); err != nil {
			return err
		}
	}
	return v.site.sessions.Destroy(v.ctx)
}

// csrf gives the token that the session's forms carry.
func (v *visit) csrf() string {
	if token := v.session(keyCSRF); token != "" {
		return token
	}
	token := rand.Text()
	v.setSession(keyCSRF, token)
	v.touch()
	return token
}

// identify finds out who the session's person is. It asks the guard at every
// visit, so that a role taken away is gone at once.
func (v *visit) identify() error {
	id := v.session(keyAccount)
	if id == "" {
		return nil
	}
	account, err := v.site.Guard.Account(v.ctx, id)
	if kindIs(err, fhir.NotFound) {
		return v.endSession()
	}
	if err != nil {
		return err
	}
	v.who = &person{account: account}
	role := smart.Role(v.session(keyRole))
	if held := roles(account); role == "" && len(held) == 1 {
		role = held[0]
	}
	if role == "" {
		return nil
	}
	identity, err := v.site.Guard.Identity(v.ctx, account, role)
	if kindIs(err, fhir.Forbidden) {
		v.dropSession(keyRole)
		return nil
	}
	if err != nil {
		return err
	}
	v.who.role, v.who.identity = role, identity
	v.setSession(keyRole, string(role))
	return nil
}

// meet checks that the page is for the person; if not it answers the visit with
// the way there.
func (v *visit) meet(n need) error {
	if !n.account {
		return nil
	}
	next := "?" + nextQuery(v.here())
	if v.who == nil && v.session(keyOut) != "" { // coming back from the provider
		v.dropSession(keyOut)
		return v.show(http.StatusOK, "signedout", signedOutView{}, nil)
	}
	if v.who == nil && v.expired {
		return v.show(http.StatusOK, "signin", v.site.signInChoices(v.here(), true), nil)
	}
	if v.who == nil {
		return v.redirect("/signin" + next)
	}
	if n.roles == nil || slices.Contains(n.roles, v.who.role) {
		return nil
	}
	held := roles(v.who.account)
	holds := slices.ContainsFunc(n.roles, func(r smart.Role) bool { return slices.Contains(held, r) })
	switch {
	case len(held) == 0:
		return v.show(http.StatusForbidden, "stranger", strangerView{Next: v.here()}, nil)
	case holds || v.who.role == "":
		return v.redirect("/role" + next)
	case v.request.URL.Path == "/":
		return v.redirect(home(v.who.role))
	}
	return errNotHere
}

// roles lists the roles that an account holds, each once, in the order of a menu.
func roles(a *consent.Account) []smart.Role {
	var held []smart.Role
	for _, role := range []smart.Role{smart.Provider, smart.Sponsored, smart.Patient, smart.Proxy, smart.Staff, smart.Admin} {
		if slices.ContainsFunc(a.Links, func(l consent.Link) bool { return l.Role == role }) {
			held = append(held, role)
		}
	}
	return held
}

// home is where a role starts.
func home(role smart.Role) string {
	switch role {
	case smart.Patient, smart.Proxy:
		return "/patient"
	case smart.Staff, smart.Admin:
		return "/staff"
	case smart.Sponsored:
		return "/working"
	}
	return "/"
}

// A flash is said once, on the next page: a code, and what its sentence names.
type flash struct {
	Code  string
	Name  string    `json:",omitempty"`
	Until time.Time `json:",omitzero"`

	Private bool `json:",omitempty"` // what is marked as especially private is included

	// What can be undone, for the page at an address alone, and until when.
	Undo string    `json:",omitempty"`
	At   string    `json:",omitempty"`
	Ends time.Time `json:",omitzero"`
}

func (v *visit) flash(f flash) {
	b, err := json.Marshal(f)
	if err == nil {
		v.setSession(keyFlash, string(b))
	}
}

func (v *visit) popFlash() *flash {
	text := v.session(keyFlash)
	if text == "" {
		return nil
	}
	v.dropSession(keyFlash)
	var f flash
	if json.Unmarshal([]byte(text), &f) != nil {
		return nil
	}
	if !v.site.Now().Before(f.Ends) {
		f.Undo = ""
	}
	return &f
}

// errForged is a form that did not come from our own page, or from an older session.
var errForged = errors.New("a form without the session's token, or from another site")

// errNotHere is a page that is not for the person's role.
var errNotHere = fhir.Errorf(fhir.NotFound, "No such page.")
