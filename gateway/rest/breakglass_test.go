package rest_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

// A provider opens a record in an emergency with the app that asks, and with no
// other, by the handle of Patient Selection.
func TestBreakGlass(t *testing.T) {
	w := newWorldWith(t, 20_000, func(c *consent.Config) { c.Policy.BreakGlass.Enabled = true })
	account, err := w.guard.LinkAccount(t.Context(), "https://idp.example", "okafor", "Okafor", "", consent.Link{Role: smart.Provider, Person: "Practitioner/okafor"})
	must(t, err)
	scopes, err := smart.ParseScopes("user/*.cruds")
	must(t, err)
	w.router = mount(t, rest.Config{Guard: w.guard, Base: base, Zone: time.UTC, Authenticate: func(ctx context.Context, bearer string) (smart.Grant, error) {
		g := smart.Grant{ID: bearer, ClientID: bearer, Scopes: scopes, AuthTime: noon.Add(-time.Minute),
			Identity: smart.Identity{Login: account.ID, Role: smart.Provider, FHIRUser: "Practitioner/okafor", Persons: []string{"Practitioner/okafor"}}}
		switch bearer {
		case "one", "two":
		case "old":
			g.AuthTime = noon.Add(-time.Hour)
		default:
			return authenticate(ctx, bearer)
		}
		return g, nil
	}})
	found := w.get("/fhir/Patient?identifier=1001", "one").status(200).body
	m := regexp.MustCompile(`emergency-handle","valueString":"([^"]+)"`).FindStringSubmatch(found)
	if m == nil {
		t.Fatalf("no handle in %s", found)
	}
	ask := func(patient, purpose, reason string) string {
		body := `{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"` + patient + `"}`
		if purpose != "" {
			body += `,{"name":"purpose","valueCode":"` + purpose + `"}`
		}
		if reason != "" {
			body += `,{"name":"reason","valueString":"` + reason + `"}`
		}
		return body + `]}`
	}
	const path = "/fhir/Patient/$break-glass"
	w.do("POST", path, "one", ask(m[1], "", "Unconscious")).status(400).has("purpose")
	w.do("POST", path, "one", ask(m[1], "TREAT", "Unconscious")).status(400).has("purpose")
	w.do("POST", path, "one", ask(m[1], "BTG", "")).status(400).has("reason")
	exists := w.do("POST", path, "one", ask("Patient/1", "BTG", "Unconscious")).status(400).body
	if absent := w.do("POST", path, "one", ask("Patient/absent", "BTG", "Unconscious")).status(400).body; absent != exists {
		t.Errorf("%s tells from %s who exists", absent, exists)
	}
	w.do("POST", path, "old", ask(m[1], "BTG", "Unconscious")).status(401).header("WWW-Authenticate",
		`Bearer realm="fhir", error="insufficient_user_authentication", error_description="A stronger or newer sign-in is needed.", max_age="900"`)
	w.do("POST", path, "system", ask(m[1], "BTG", "Unconscious")).status(403)
	w.get("/fhir/Observation/a", "one").status(404)
	w.do("POST", path, "one", ask(m[1], "BTG", "Unconscious")).status(201).has(`"Patient/1"`, `"until"`)
	w.do("POST", path, "one", ask("Patient/1", "BTG", "Unconscious")).status(200)
	w.get("/fhir/Observation/a", "one").status(200)
	w.get("/fhir/Patient/1/$access", "one").status(200).has(`"emergency"`)
	w.get("/fhir/Patient/1/$everything", "one").status(200).has(`"Observation"`)
	w.get("/fhir/Observation/a", "two").status(404)
	w.do("POST", "/fhir/Patient/1/$end-break-glass", "two", "").status(404)
	w.do("POST", "/fhir/Patient/1/$end-break-glass", "one", "").status(204)
	w.do("POST", "/fhir/Patient/1/$end-break-glass", "one", "").status(409)
	w.get("/fhir/Observation/a", "one").status(404)
}
