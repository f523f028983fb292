package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// AppPath is where the demo's SMART app lives.
const AppPath = "/demo/app"

const appCookie = "demo_app"

// An appKind is one of the two ways in which the app is registered.
type appKind struct{ slug, client, secret, name string }

var (
	publicApp       = appKind{"public", "demo-public", "", "Demo app"}
	confidentialApp = appKind{"confidential", "demo-confidential", ConfidentialSecret, "Demo app with a secret"}
)

func (k appKind) path(end string) string { return AppPath + "/" + k.slug + "/" + end }

// app is a SMART app like any other: it knows the gateway by its FHIR base
// alone, and speaks to it over HTTP.
type app struct {
	base string
	http *http.Client

	mu       sync.Mutex
	launches shelf[launch] // by browser
	views    shelf[appView]
}

// A launch is an authorization under way in a browser.
type launch struct {
	kind            appKind
	state, verifier string
}

// An appView is what the page shows.
type appView struct {
	Kind    string
	Patient string
	Born    appDay
	User    string // fhirUser
	Granted []string
	Latest  []finding
	Error   string // what went wrong, of which the template has the words
	Detail  string // for developers
	Kinds   []string
}

// A finding is a row of the table of observations.
type finding struct {
	When              appDay
	What, Value, Unit string
}

// An appDay is a FHIR date, with the day that it is if it says one.
type appDay struct {
	Text string
	Day  time.Time
}

func dayOf(text string) appDay {
	if len(text) > len(time.DateOnly) {
		text = text[:len(time.DateOnly)] // of a time, the day
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return appDay{Text: text}
	}
	return appDay{text, day}
}

// App is a small SMART app for the demo. It takes launches from an EHR and
// starts on its own, as a public client (public) or as one with a secret
// (confidential), and shows the patient's name, the latest observations, and
// what it was granted. It answers the full paths below AppPath; client carries
// its requests to the gateway at base.
func App(base string, client *http.Client) http.Handler {
	a := &app{base: strings.TrimSuffix(base, "/"), http: client}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+AppPath, a.home)
	for _, kind := range []appKind{publicApp, confidentialApp} {
		mux.HandleFunc("GET "+kind.path("connect"), func(w http.ResponseWriter, r *http.Request) {
			a.start(w, r, kind, "launch/patient", "")
		})
		mux.HandleFunc("GET "+kind.path("launch"), func(w http.ResponseWriter, r *http.Request) {
			handle := r.FormValue("launch")
			if strings.TrimSuffix(r.FormValue("iss"), "/") != a.base+"/fhir" || handle == "" {
				a.fail(w, r, http.StatusBadRequest, "elsewhere")
				return
			}
			a.start(w, r, kind, "launch", handle)
		})
		mux.HandleFunc("GET "+kind.path("callback"), func(w http.ResponseWriter, r *http.Request) { a.callback(w, r, kind) })
	}
	return mux
}

// home shows what the last launch in this browser brought.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	view := a.views.get(browser(r))
	a.mu.Unlock()
	view.Kinds = []string{publicApp.slug, confidentialApp.slug}
	render(w, r, http.StatusOK, "app", AppPath, view)
}

func (a *app) fail(w http.ResponseWriter, r *http.Request, status int, code string) {
	render(w, r, status, "app", AppPath, appView{Error: code, Kinds: []string{publicApp.slug, confidentialApp.slug}})
}

// start sends the browser to the authorization endpoint.
func (a *app) start(w http.ResponseWriter, r *http.Request, kind appKind, how, handle string) {
	meta, err := a.discover(r.Context())
	if err != nil {
		a.fail(w, r, http.StatusBadGateway, "silent")
		return
	}
	l := launch{kind: kind, state: rand.Text(), verifier: rand.Text() + rand.Text()}
	id := rand.Text()
	a.mu.Lock()
	a.launches.put(id, l)
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: appCookie, Value: id, Path: AppPath, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(a.base, "https://")})
	challenge := sha256.Sum256([]byte(l.verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {kind.client}, "redirect_uri": {a.base + kind.path("callback")}, "aud": {a.base + "/fhir"},
		"scope": {how + " openid fhirUser patient/Patient.rs patient/Observation.rs patient/AllergyIntolerance.rs"}, "state": {l.state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if handle != "" {
		q.Set("launch", handle)
	}
	http.Redirect(w, r, meta.Authorize+"?"+q.Encode(), http.StatusSeeOther)
}

// callback takes the answer, and moves on to an address without a code in it.
func (a *app) callback(w http.ResponseWriter, r *http.Request, kind appKind) {
	id := browser(r)
	a.mu.Lock()
	l := a.launches.take(id)
	a.mu.Unlock()
	if l.state == "" || l.kind != kind || subtle.ConstantTimeCompare([]byte(r.FormValue("state")), []byte(l.state)) != 1 {
		a.fail(w, r, http.StatusBadRequest, "foreign")
		return
	}
	view := appView{Kind: kind.name}
	if code := r.FormValue("error"); code != "" {
		view.Error, view.Detail = "refused", strings.TrimSpace(code+" "+r.FormValue("error_description"))
		if code == "access_denied" {
			view.Error = "denied"
		}
	} else if err := a.fill(r.Context(), &view, l, r.FormValue("code")); err != nil {
		view = appView{Kind: kind.name, Error: "unclear", Detail: err.Error()}
	}
	a.mu.Lock()
	a.views.put(id, view)
	a.mu.Unlock()
	http.Redirect(w, r, AppPath, http.StatusSeeOther)
}

// fill exchanges the code and reads what the page shows.
func (a *app) fill(ctx context.Context, view *appView, l launch, code string) error {
	t, err := a.exchange(ctx, l, code)
	if err != nil {
		return err
	}
	view.Granted, view.User = strings.Fields(t.Scope), t.fhirUser()
	if t.Patient == "" {
		return fmt.Errorf("no patient was chosen")
	}
	var patient struct {
		BirthDate string
		Name      []struct {
			Given  []string
			Family string
		}
	}
	if err := a.get(ctx, t.AccessToken, "/Patient/"+url.PathEscape(t.Patient), &patient); err != nil {
		return err
	}
	view.Born = dayOf(patient.BirthDate)
	if len(patient.Name) > 0 {
		view.Patient = strings.Join(append(patient.Name[0].Given, patient.Name[0].Family), " ")
	}
	// What was not granted stays empty.
	view.Latest, _ = a.latest(ctx, t)
	return nil
}

func browser(r *http.Request) string {
	c, err := r.Cookie(appCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// A shelf keeps the newest hundred values.
type shelf[T any] struct {
	values map[string]T
	order  []string
}

func (s *shelf[T]) put(key string, value T) {
	if s.values == nil {
		s.values = map[string]T{}
	}
	if len(s.order) == 100 {
		delete(s.values, s.order[0])
		s.order = s.order[1:]
	}
	s.values[key] = value
	s.order = append(s.order, key)
}

func (s *shelf[T]) get(key string) T { return s.values[key] }

func (s *shelf[T]) take(key string) T {
	value := s.values[key]
	delete(s.values, key)
	return value
}
