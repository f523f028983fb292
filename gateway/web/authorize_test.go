package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"mypatients/smart"
)

const (
	appCallback = "http://127.0.0.1:9/callback"
	verifier    = "a-verifier-that-is-long-enough-for-the-standard-43"
)

// app registers an app and gives the address that starts its authorization.
func (w *world) app(scope string, more ...string) string {
	w.t.Helper()
	return w.register(diaryApp(scope), more...)
}

func diaryApp(scope string) smart.Client {
	return smart.Client{
		ID: "growth", Name: "Growth <i>Diary</i>", RedirectURIs: []string{appCallback}, Scope: scope, AuthMethod: smart.AuthNone,
		GrantTypes: []string{"authorization_code", "refresh_token"}, LaunchURI: "http://127.0.0.1:9/launch",
	}
}

func (w *world) register(app smart.Client, more ...string) string {
	w.t.Helper()
	if err := w.oauth.PutClient(w.t.Context(), app); err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {app.ID}, "redirect_uri": {appCallback}, "scope": {app.Scope}, "state": {"s-1234567890"},
		"aud": {w.base + "/fhir"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "/oauth/authorize?" + q.Encode()
}

// answer gives the parameters with which the browser went back to the app.
func (b *browser) answer() url.Values {
	b.t.Helper()
	u, err := url.Parse(b.away)
	if err != nil || !strings.HasPrefix(b.away, appCallback) {
		b.t.Fatalf("the browser went to %q", b.away)
	}
	return u.Query()
}

const diary = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs patient/Condition.cruds"

func TestApproveApp(t *testing.T) {
	w := newWorld(t)
	b, page := w.as("grace", w.app(diary))
	page.at("/authorize").shows(200, "Growth <i>Diary</i> asks to see a health record", "Mateo Rivera", "Sofia Rivera", "See test results and measurements (only vital signs)",
		"See, add and change health problems", "It asks for access while you are away")
	page.submit("Approve").shows(422, "Choose whose record the app may see")
	page.submit("Approve", "patient", "ava").shows(422, "Choose whose record")
	page.submit("Approve", "patient", "mateo", "scope", "").shows(422, "Tick at least one")
	page.submit("Approve", "patient", "mateo")
	if got := b.answer(); got.Get("code") == "" || got.Get("state") != "s-1234567890" {
		t.Fatalf("the app got %v", got)
	}
	page.submit("Approve", "patient", "mateo").shows(400, "Start again from the app")
}

func TestDenyApp(t *testing.T) {
	w := newWorld(t)
	b, page := w.as("grace", w.app(diary))
	page.submit("Do not approve")
	if got := b.answer(); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("the app got %v", got)
	}
	okafor, page := w.as("okafor", w.app(diary))
	page.shows(200, "There is no patient to choose").submit("Find", "mrn", "1001").shows(200, "You may not see a patient with this MRN")
	page.submit("Approve", "patient", "mateo").shows(422)
	_, adams := w.as("adams", w.app(diary))
	adams.shows(200, "Mateo Rivera", "Ava Thompson").submit("Find", "mrn", "1002").shows(200, "Sofia Rivera").hides("Ava")
	_ = okafor
}

func TestPrompts(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.get(w.app("openid patient/*.rs", "prompt", "none"))
	if got := b.answer().Get("error"); got != "login_required" {
		t.Errorf("nobody signed in, prompt=none: %q", got)
	}
	b, _ = w.as("grace", "/patient")
	b.get(w.app("openid patient/*.rs", "prompt", "none"))
	if got := b.answer().Get("error"); got != "consent_required" {
		t.Errorf("signed in, prompt=none: %q", got)
	}
	b.get(w.app("openid patient/*.rs")).at("/authorize")
	b.get(w.app("openid patient/*.rs", "prompt", "login")).at("/demo-idp/login").signIn("grace").at("/authorize").shows(200, "asks to see")
	w.clock.pass(10 * time.Minute)
	b.get(w.app("openid patient/*.rs", "max_age", "3600")).at("/authorize")
	p := b.get(w.app("openid patient/*.rs", "max_age", "60")).at("/demo-idp/login").signIn("grace").at("/authorize")
	p.submit("Approve", "patient", "sofia")
	if b.answer().Get("code") == "" {
		t.Error("no code after signing in again")
	}
	w.clock.pass(time.Minute)
	b.get(w.app("openid patient/*.rs", "max_age", "0")).at("/demo-idp/login").signIn("grace").at("/authorize").shows(200)
}

// The portal opens an app for a patient: the app comes back with the launch.
func TestOpenApp(t *testing.T) {
	w := newWorld(t)
	w.app(diary)
	b, page := w.as("adams", "/patients/mateo")
	page.follow("Open an app").shows(200, "It opens with Mateo Rivera").submit("Open")
	u, err := url.Parse(b.away)
	if err != nil || !strings.HasPrefix(b.away, "http://127.0.0.1:9/launch?") || u.Query().Get("iss") != w.base+"/fhir" || u.Query().Get("launch") == "" {
		t.Fatalf("the browser went to %q", b.away)
	}
	approval := b.get(w.app("openid launch patient/Patient.rs", "launch", u.Query().Get("launch")))
	approval.at("/authorize").shows(200, "Mateo Rivera").hides("Sofia").submit("Approve")
	if b.answer().Get("code") == "" {
		t.Error("no code after the launch")
	}
	again := b.get("/patients/mateo/open").submit("Open")
	_ = again
	launch, err := url.Parse(b.away)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := w.as("chen", w.app("openid launch patient/Patient.rs", "launch", launch.Query().Get("launch")))
	if got := other.answer().Get("error"); got != "access_denied" {
		t.Errorf("somebody else with the launch: %q", got)
	}
	b.get("/patients/nobody/open").shows(404)
}

func TestMyApps(t *testing.T) {
	w := newWorld(t)
	b, page := w.as("grace", w.app(diary))
	b.get("/patient/apps").shows(200, "No apps are connected")
	page.submit("Approve", "patient", "mateo")
	r := url.Values{"grant_type": {"authorization_code"}, "code": {b.answer().Get("code")}, "redirect_uri": {appCallback}, "client_id": {"growth"}, "code_verifier": {verifier}}
	answer, err := b.client.PostForm(w.base+"/oauth/token", r)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("token: %v %v", answer, err)
	}
	_ = answer.Body.Close()
	apps := b.get("/patient/apps").shows(200, "Growth <i>Diary</i>", "For Mateo Rivera", "See, add and change health problems")
	apps.submit("Disconnect").shows(200, "The app was disconnected", "No apps are connected")
}
