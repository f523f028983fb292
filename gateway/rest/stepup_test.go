package rest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

// Who signed in too weakly or too long ago to let somebody in is told how to do
// better, in the words of RFC 9470.
func TestStepUpChallenge(t *testing.T) {
	const issuer, challenge = "https://idp.example", `Bearer realm="fhir", error="insufficient_user_authentication", ` +
		`error_description="A stronger or newer sign-in is needed.", acr_values="mfa hwk", max_age="300"`
	w := newWorldWith(t, 20_000, func(c *consent.Config) {
		c.StepUp = map[string]consent.StepUp{issuer: {ACR: []string{"mfa", "hwk"}, Within: 5 * time.Minute}}
	})
	system := func(body string) { w.do("POST", "/fhir/RelatedPerson", "system", body).status(201) }
	system(`{"resourceType":"RelatedPerson","active":true,"patient":{"reference":"Patient/1"},"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"MTH"}]}]}`)
	body := w.get("/fhir/RelatedPerson?patient=1", "system").status(200).body
	_, rest1, _ := strings.Cut(body, `"fullUrl":"`+base+`/RelatedPerson/`)
	id, _, _ := strings.Cut(rest1, `"`)
	mother := "RelatedPerson/" + id
	account, err := w.guard.LinkAccount(t.Context(), issuer, "grace", "Grace", "", consent.Link{Role: smart.Proxy, Person: mother})
	must(t, err)
	scopes, err := smart.ParseScopes("user/*.cruds")
	must(t, err)
	w.router = mount(t, rest.Config{Guard: w.guard, Base: base, Zone: time.UTC, Authenticate: func(ctx context.Context, bearer string) (smart.Grant, error) {
		g := smart.Grant{ID: bearer, ClientID: "app", Scopes: scopes, AuthTime: noon.Add(-time.Minute), ACR: "mfa",
			Identity: smart.Identity{Login: account.ID, Role: smart.Proxy, FHIRUser: mother, Persons: []string{mother}}}
		switch bearer {
		case "strong":
		case "weak":
			g.ACR = "pwd"
		case "old":
			g.AuthTime = noon.Add(-time.Hour)
		default:
			return authenticate(ctx, bearer)
		}
		return g, nil
	}})
	asked := w.do("POST", "/fhir/Patient/$request-access", "okafor", `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/1"}}]}`).status(201)
	at := strings.TrimPrefix(asked.Header.Get("Location"), site)
	at, _, _ = strings.Cut(at, "/_history")
	active := strings.Replace(asked.body, `"status":"proposed"`, `"status":"active"`, 1)
	const nothing = `{"resourceType":"Parameters"}`
	calls := map[string]func(token string) *answer{
		"$approve": func(token string) *answer { return w.do("POST", at+"/$approve", token, nothing) },
		"$invite":  func(token string) *answer { return w.do("POST", "/fhir/Patient/1/$invite", token, nothing) },
		"PUT":      func(token string) *answer { return w.do("PUT", at, token, active) },
		"PATCH": func(token string) *answer {
			return w.do("PATCH", at, token, `[{"op":"replace","path":"/status","value":"active"}]`, "Content-Type", "application/json-patch+json")
		},
		"CareTeam": func(token string) *answer {
			return w.do("POST", "/fhir/CareTeam", token, `{"resourceType":"CareTeam","status":"active","subject":{"reference":"Patient/1"},"participant":[{"member":{"reference":"Practitioner/okafor"}}]}`)
		},
	}
	for name, call := range calls {
		for _, token := range []string{"weak", "old"} {
			t.Run(name+" "+token, func(t *testing.T) {
				call(token).status(401).header("WWW-Authenticate", challenge).has(`"code":"login"`, "stronger")
			})
		}
	}
	// In a batch each entry is told for itself; a transaction is refused whole.
	entry := `{"resourceType":"Bundle","type":%,"entry":[{"request":{"method":"GET","url":"Patient/1"}},{"request":{"method":"PUT","url":"` + strings.TrimPrefix(at, "/fhir/") + `"},"resource":` + active + `}]}`
	w.do("POST", "/fhir", "weak", strings.Replace(entry, "%", `"batch"`, 1)).status(200).has(`"status":"200`, `"status":"401`)
	w.do("POST", "/fhir", "weak", strings.Replace(entry, "%", `"transaction"`, 1)).status(401).header("WWW-Authenticate", challenge)
	w.get("/fhir/Patient/1", "okafor").status(404)
	w.get("/fhir/Patient/1", "weak").status(200) // to read takes nothing
	calls["$invite"]("strong").status(200)
	calls["CareTeam"]("strong").status(201)
	calls["$approve"]("strong").status(200)
	w.get("/fhir/Patient/1", "okafor").status(200)
	w.do("POST", at+"/$revoke", "weak", nothing).status(200)
}
