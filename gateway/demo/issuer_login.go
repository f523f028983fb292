package demo

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

const cookie = "demo_idp"

// login shows the sign-in form and takes it; a browser that is signed in
// already, as lately as asked for, passes without it.
func (i *Issuer) login(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("request")
	req, err := i.memory.request(id)
	if err != nil {
		stale(w, r)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		i.askOrPass(w, r, req)
	case http.MethodPost:
		i.password(w, r, req)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (i *Issuer) askOrPass(w http.ResponseWriter, r *http.Request, req *request) {
	s, ok := i.memory.session(sessionID(r))
	silent := slices.Contains(req.asked.Prompt, oidc.PromptNone)
	choose := slices.Contains(req.asked.Prompt, oidc.PromptSelectAccount)
	// prompt=login reaches us as max_age=0, which no session satisfies.
	if age := req.asked.MaxAge; age != nil && ok {
		ok = i.cfg.Now().Sub(s.at) < time.Duration(*age)*time.Second
	}
	switch {
	case ok && !choose:
		i.pass(w, r, req, s)
	case silent:
		back(w, r, req, url.Values{"error": {"login_required"}}, i.issuer)
	default:
		username := r.URL.Query().Get("username") // of a name that was clicked in the list
		if username == "" {
			username = req.asked.LoginHint
		}
		i.form(w, r, http.StatusOK, req, username, "")
	}
}

// password checks the form. The usernames are no secret here, so the two
// errors may differ.
func (i *Issuer) password(w http.ResponseWriter, r *http.Request, req *request) {
	username := strings.ToLower(strings.TrimSpace(r.PostFormValue("username")))
	_, known := i.memory.people[username]
	right := subtle.ConstantTimeCompare([]byte(r.PostFormValue("password")), []byte(Password)) == 1
	if !known || !right {
		wrong := "username"
		if known {
			wrong = "password"
		}
		i.form(w, r, http.StatusUnprocessableEntity, req, r.PostFormValue("username"), wrong)
		return
	}
	id, s := i.memory.signIn(username)
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: id, Path: IssuerPath, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(i.issuer, "https://")})
	i.pass(w, r, req, s)
}

func (i *Issuer) pass(w http.ResponseWriter, r *http.Request, req *request, s session) {
	done, code, err := i.memory.finish(req.id, s)
	if err != nil {
		stale(w, r)
		return
	}
	back(w, r, done, url.Values{"code": {code}}, i.issuer)
}

// back sends the browser to the relying party, naming the issuer (RFC 9207).
func back(w http.ResponseWriter, r *http.Request, req *request, answer url.Values, issuer string) {
	u, err := url.Parse(req.GetRedirectURI())
	if err != nil {
		stale(w, r)
		return
	}
	q := u.Query()
	for name := range answer {
		q.Set(name, answer.Get(name))
	}
	q.Set("iss", issuer)
	if req.asked.State != "" {
		q.Set("state", req.asked.State)
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// A loginForm is what the sign-in page shows.
type loginForm struct {
	Request, Username, Wrong string // Wrong names the field in error
	People                   []Person
}

func (i *Issuer) form(w http.ResponseWriter, r *http.Request, status int, req *request, username, wrong string) {
	here := IssuerPath + "/login?" + url.Values{"request": {req.id}, "username": {username}}.Encode()
	render(w, r, status, "login", here, loginForm{req.id, username, wrong, i.cfg.People})
}

func stale(w http.ResponseWriter, r *http.Request) {
	render(w, r, http.StatusBadRequest, "stale", "/", nil)
}

func sessionID(r *http.Request) string {
	c, err := r.Cookie(cookie)
	if err != nil {
		return ""
	}
	return c.Value
}

func signedOut(w http.ResponseWriter, r *http.Request) {
	render(w, r, http.StatusOK, "signed-out", IssuerPath+"/signed-out", nil)
}
