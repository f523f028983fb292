package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// standalone takes an app that knows nothing but the gateway's FHIR base through
// a whole launch: discovery, sign-in, the approval page, code, token, a read.
func (c *chrome) standalone(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><title>App</title><p>Back in the app</p>`)
	}))
	defer site.Close()
	var found struct {
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
	}
	_, _, body := c.get("/fhir/.well-known/smart-configuration")
	if err := json.Unmarshal([]byte(body), &found); err != nil {
		t.Fatal(err)
	}
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	callback := site.URL + "/callback"
	query := url.Values{
		"response_type": {"code"}, "client_id": {"demo-public"}, "redirect_uri": {callback}, "state": {"s-1"}, "aud": {c.URL + "/fhir"},
		"scope":          {"launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	grace := c.visitor(t, "grace").enter(found.Authorize + "?" + query.Encode())
	grace.sees("Demo app asks to see a health record", "Mateo Rivera", "Sofia Rivera", "127.0.0.1").seesNot("scope", "patient/", "Observation").shot("authorize")
	grace.press("Approve").sees("Choose whose record the app may see.").shot("authorize-problem")
	grace.tick("Sofia Rivera").tick("See health problems").press("Approve").sees("Back in the app")

	back := grace.address().Query()
	if back.Get("state") != "s-1" || back.Get("iss") != c.URL || back.Get("code") == "" {
		t.Fatalf("the app got %v", back)
	}
	res, err := http.PostForm(found.Token, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"demo-public"}, "redirect_uri": {callback}, "code": {back.Get("code")}, "code_verifier": {verifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token struct {
		Access  string `json:"access_token"`
		Patient string `json:"patient"`
		Scope   string `json:"scope"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	if token.Patient != "pt-2" || strings.Contains(token.Scope, "Condition") || !strings.Contains(token.Scope, "patient/Observation.rs") {
		t.Errorf("got patient %s and scope %s", token.Patient, token.Scope)
	}
	for path, want := range map[string]int{"/fhir/Patient/pt-2": 200, "/fhir/Patient/pt-1": 404, "/fhir/Observation?patient=pt-2": 200, "/fhir/Condition?patient=pt-2": 403} {
		if got, _, body := c.get(path, "Authorization", "Bearer "+token.Access); got != want {
			t.Errorf("%s: got %d, want %d: %s", path, got, want, body)
		}
	}
	grace.open("/patient/apps").sees("Demo app", "Sofia Rivera").shot("my-apps").press("Disconnect").sees("The app was disconnected")
	if got, _, _ := c.get("/fhir/Patient/pt-2", "Authorization", "Bearer "+token.Access); got != 401 {
		t.Errorf("after disconnecting: got %d, want 401", got)
	}

	grace.open("/demo/app").shot("demo-app-start").follow("Connect").sees("asks to see a health record")
	grace.tick("Mateo Rivera").press("Approve").sees("Mateo Rivera", "Latest results")
}
