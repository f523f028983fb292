//go:build unix

package consent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

// BenchmarkAuditOverHTTP compares requests over loopback with the same by a guard that
// records nothing, on the engine that STORE names. Who asks is known by the token
// itself, so that the rest of a request is as little as it can be, and the record the
// more of it.
//
// Alone, one request is under way, and waits for a flush of its own: that the answer
// comes after the record is what it costs. Together there are 256, which share flushes.
func BenchmarkAuditOverHTTP(b *testing.B) {
	w := newWorld(b)
	for i := range 60 {
		w.put(`{"resourceType":"Observation","id":"o%d","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/mateo"}}`, i)
	}
	quiet := w.another(1000, func(*consent.Policy) {})
	quiet.StopRecording()
	sides := []string{w.served(b, quiet), w.served(b, w.guard)}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	b.Cleanup(client.CloseIdleConnections)
	for _, by := range []string{"adams", "grace"} {
		for op, path := range map[string]string{"read": "/Observation/o7", "search": "/Observation?patient=mateo&_count=50"} {
			ask := func(side int) func() error {
				return func() error { return fetch(client, sides[side]+path, by) }
			}
			b.Run("by="+by+"/op="+op+"/alone", func(b *testing.B) { compare(b, 1.15, ask(0), ask(1), func() {}) })
			b.Run("by="+by+"/op="+op+"/together", func(b *testing.B) { compareTogether(b, ask(0), ask(1)) })
		}
	}
}

// served gives the address at which a guard answers.
func (w *world) served(b *testing.B, g *consent.Guard) string {
	b.Helper()
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.ContextWithFallback = true
	callers := map[string]consent.Caller{"adams": w.as("adams"), "grace": w.as("grace")}
	if err := rest.Mount(r, rest.Config{
		Guard: g, Base: base + "/fhir", Zone: w.zone,
		Authenticate: func(_ context.Context, bearer string) (smart.Grant, error) { return callers[bearer].Grant, nil },
	}); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(r)
	b.Cleanup(server.Close)
	return server.URL + "/fhir"
}

func fetch(client *http.Client, address, bearer string) error {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("got %d", res.StatusCode)
	}
	return err
}
