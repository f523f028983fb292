package main

import (
	"net/http"
	"strings"
	"testing"

	"mypatients/fhir/pgstore/pgtest"
)

// TestLostDatabase takes the database away under a running gateway, and gives it
// back: requests are refused for the time, and nothing has to be restarted.
func TestLostDatabase(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := emptyStage(t)
	s.enterOn(server.DSN())
	grace := s.cast("grace")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, s.actor.scene())
		}
	}
	must(grace.enter("/patient"))
	must(grace.authorize("demo-public", "launch/patient patient/*.rs", ""))
	must(grace.press("Approve", map[string][]string{"patient": {"pt-1"}}))
	must(grace.exchange())
	get := func(path string) (int, http.Header, string) {
		t.Helper()
		must(grace.call(http.MethodGet, path, "application/fhir+json", nil, nil))
		return grace.status, grace.header, string(grace.body)
	}
	answers := func(when string) {
		t.Helper()
		for _, path := range []string{"/fhir/Patient/pt-1", "/fhir/Observation?patient=pt-1", "/readyz", "/oauth/jwks"} {
			if status, _, body := get(path); status != 200 {
				t.Errorf("%s, %s: got %d %.300s, want 200", when, path, status, body)
			}
		}
	}
	answers("before")
	for range 2 {
		server.Stop(t)
		for _, path := range []string{"/fhir/Patient/pt-1", "/fhir/Observation?patient=pt-1", "/fhir/Patient/pt-3"} {
			status, header, body := get(path)
			if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(body, `"OperationOutcome"`) || !strings.Contains(body, `"transient"`) {
				t.Errorf("without a database, %s: got %d, %v, %s", path, status, header, body)
			}
			if strings.Contains(body, "pgstore") || strings.Contains(body, "SQL") {
				t.Errorf("the answer tells of the database: %s", body)
			}
		}
		if status, _, _ := get("/readyz"); status != 503 {
			t.Errorf("without a database, readyz: got %d", status)
		}
		if status, _, _ := get("/healthz"); status != 200 {
			t.Errorf("without a database, healthz: got %d", status)
		}
		if status, header, body := get("/oauth/jwks"); status != 503 || header.Get("Retry-After") == "" {
			t.Errorf("without a database, the keys: got %d %v %s", status, header, body)
		}
		must(grace.open("/patient"))
		if grace.status != 503 {
			t.Errorf("without a database, a page: got %d %s", grace.status, grace.said())
		}
		server.Restart(t)
		answers("after")
		must(grace.open("/patient"))
		if grace.status != 200 {
			t.Errorf("after, a page: got %d %s", grace.status, grace.said())
		}
	}
}
