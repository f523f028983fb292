package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The hot path: every FHIR request does this once.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, nil)
	token := w.login("launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs patient/Encounter.rs patient/Immunization.rs patient/AllergyIntolerance.rs").str("access_token")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.server.Authenticate(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

// direct calls the handler without a network.
func (w *world) direct(path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	return rec
}

// serve is direct for any request.
func (w *world) serve(req *http.Request) *answer {
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	a := &answer{status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
	_ = json.Unmarshal(a.body, &a.json)
	return a
}

func BenchmarkCodeExchange(b *testing.B) {
	w := newWorld(b, nil)
	for b.Loop() {
		b.StopTimer()
		w.pass(time.Second) // so that no limit is met
		code := w.code("public", standalone)
		b.StartTimer()
		if rec := w.direct("/oauth/token", exchange(code, "client_id", "public")); rec.Code != 200 {
			b.Fatal(rec.Body)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b, nil)
	token := w.login(standalone).str("refresh_token")
	for b.Loop() {
		rec := w.direct("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"public"}})
		_, rest, ok := strings.Cut(rec.Body.String(), `"refresh_token":"`)
		if !ok {
			b.Fatal(rec.Body)
		}
		token, _, _ = strings.Cut(rest, `"`)
	}
}

func BenchmarkBackendToken(b *testing.B) {
	w := newWorld(b, nil)
	w.backend("kiosk", "system/*.rs")
	for b.Loop() {
		b.StopTimer()
		form := asserted(url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}}, w.assertion("kiosk"))
		b.StartTimer()
		if rec := w.direct("/oauth/token", form); rec.Code != 200 {
			b.Fatal(rec.Body)
		}
	}
}
