package rest_test

import (
	"context"
	"testing"
	"time"

	"mypatients/gateway/rest"
	"mypatients/smart"
)

// An administrator asks for somebody else; to all others the refusal names the
// parameter, and is the same whoever it names.
func TestAccessAs(t *testing.T) {
	w := newWorld(t)
	scopes, err := smart.ParseScopes("user/*.cruds")
	must(t, err)
	w.router = mount(t, rest.Config{Guard: w.guard, Base: base, Zone: time.UTC, Authenticate: func(ctx context.Context, bearer string) (smart.Grant, error) {
		if bearer == "boss" {
			return smart.Grant{ID: "boss", ClientID: "app", Scopes: scopes, Identity: smart.Identity{Login: "boss", Role: smart.Admin, FHIRUser: "Practitioner/boss", Persons: []string{"Practitioner/boss"}}}, nil
		}
		return authenticate(ctx, bearer)
	}})
	const path = "/fhir/Patient/1/$access"
	body := func(as string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"as","valueReference":{"reference":"` + as + `"}}]}`
	}
	want := []string{`"name":"permitted","valueBoolean":true`, `"name":"role","valueCode":"provider"`, `"code":"pcp"`, `"basis-source"`, `"name":"source","valueReference":{"reference":"Patient/1"}`}
	w.get(path+"?as=Practitioner/adams", "boss").status(200).has(want...)
	w.do("POST", path, "boss", body("Practitioner/adams")).status(200).has(want...)
	w.get(path+"?as=Practitioner/okafor", "boss").status(200).has(`"valueBoolean":false`, `"request-access"`)
	w.get(path+"?as=Practitioner/nobody", "boss").status(422).has(`"http.as"`)
	w.do("POST", path, "boss", body("Practitioner/nobody")).status(422).has(`"as"`)
	w.get(path+"?as=Practitioner/adams&as=Practitioner/okafor", "boss").status(400).has(`"http.as"`)
	w.get(path+"?as=Practitioner/adams&how=x", "boss").status(400).has(`"http.how"`)
	w.do("POST", path+"?as=Practitioner/adams", "boss", "").status(400).has(`"http.as"`)
	w.do("POST", path, "boss", `{"resourceType":"Parameters","parameter":[{"name":"as","valueBoolean":true}]}`).status(400).has("Parameters.parameter[0]")

	refused := w.get(path+"?as=Practitioner/adams", "adams").status(403).has(`"http.as"`).body
	for _, other := range []string{path + "?as=Practitioner/nobody", path + "?as=", "/fhir/Patient/nobody/$access?as=Practitioner/adams", "/fhir/Patient/nobody/$access?as=x%20y"} {
		if got := w.get(other, "adams").status(403).body; got != refused {
			t.Errorf("%s: got %s, want %s", other, got, refused)
		}
	}
	w.do("POST", path, "adams", body("Practitioner/adams")).status(403).has(`"as"`)
	w.get(path, "adams").status(200).has(`"code":"pcp"`, `"name":"source","valueReference":{"reference":"Patient/1"}`)
	w.get("/fhir/OperationDefinition/Patient-access", "adams").status(200).has(`"basis-source"`, `"sponsor"`, `"as"`)
}
