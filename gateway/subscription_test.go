package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// TestAppSubscribes goes all the way: a mother lets an app in, the app subscribes to
// requests, hears of one at once, and of none any more when she disconnects it.
func TestAppSubscribes(t *testing.T) {
	w := newSmartWorld(t)
	heard := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
	}))
	t.Cleanup(hook.Close)
	subscribe := func(token, path string) string {
		t.Helper()
		r := w.send("POST", "/fhir/Subscription", fmt.Sprintf(`{"resourceType":"Subscription","status":"requested","reason":"requests","criteria":"Consent?status=proposed",
			"channel":{"type":"rest-hook","endpoint":"%s/%s","payload":"application/fhir+json","header":["Authorization: Bearer mine"]}}`, hook.URL, path),
			"Content-Type", "application/fhir+json", "Authorization", "Bearer "+token)
		expect(t, r, http.StatusCreated)
		w.until(r.str("id"), "active")
		return r.str("id")
	}
	const scope = "launch/patient offline_access patient/Subscription.cruds patient/Consent.rs"
	app := w.enter("grace", "public", scope, mateo)
	first := subscribe(app.str("access_token"), "grace")

	doctor := w.enter("dr.okafor", "public", "user/Patient.rs user/Consent.cruds", nil).str("access_token")
	ask := func() string {
		t.Helper()
		r := w.send("POST", "/fhir/Patient/$request-access", `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/pt-1"}}]}`,
			"Content-Type", "application/fhir+json", "Authorization", "Bearer "+doctor)
		expect(t, r, http.StatusCreated)
		return r.str("id")
	}
	started := time.Now()
	id := ask()
	select {
	case got := <-heard:
		if !strings.HasPrefix(got, "PUT /grace/Consent/"+id+" Bearer mine {") {
			t.Errorf("heard %s", got)
		}
		t.Logf("heard after %v", time.Since(started))
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
	}

	// She disconnects the app; another one of hers still hears.
	luis := w.enter("luis", "public", scope, mateo)
	subscribe(luis.str("access_token"), "luis")
	expect(t, w.form("/oauth/revoke", map[string][]string{"token": {app.str("refresh_token")}, "client_id": {w.ids["public"]}}), http.StatusOK)
	expect(t, w.send("POST", "/fhir/Consent/"+id+"/$withdraw", "", "Authorization", "Bearer "+doctor), http.StatusOK)
	id = ask()
	w.until(first, "off")
	select {
	case got := <-heard:
		if !strings.HasPrefix(got, "PUT /luis/Consent/"+id) {
			t.Errorf("heard %s", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
	}
	select {
	case got := <-heard:
		t.Errorf("heard also %s", got)
	default:
	}
}

// until waits for a status of a subscription.
func (w *smartWorld) until(id, status string) {
	w.t.Helper()
	for range 400 {
		found := false
		err := w.core.engine.View(w.t.Context(), func(tx *engine.Tx) error {
			r, err := tx.Read(fhir.Key{Type: "Subscription", ID: id}, engine.Everything)
			found = err == nil && strings.Contains(string(r.JSON), `"status":"`+status+`"`)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		if found {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	w.t.Fatalf("the subscription never became %s", status)
}
