package consent_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mypatients/consent"
	"mypatients/fhir"
)

const subscriptionBody = `{"resourceType":"Subscription","status":"requested","reason":"r","criteria":"Consent?status=proposed",
	"channel":{"type":"rest-hook","endpoint":"https://app.example/hook","payload":"application/fhir+json","header":["Authorization: Bearer secret"]}}`

// with changes the first occurrence of a part of the body.
func with(old, new string) string { return strings.Replace(subscriptionBody, old, new, 1) }

func (w *world) subscribe(c consent.Caller, body string) (*fhir.Resource, error) {
	w.t.Helper()
	r, _, err := w.guard.Create(w.t.Context(), c, "Subscription", []byte(body))
	return r, err
}

const patientScopes = "patient/Subscription.cruds patient/Consent.rs"

func TestWhoSubscribes(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]consent.Caller{
		"a patient's app":         w.app("ava", patientScopes, "ava"),
		"a guardian's app":        w.app("grace", patientScopes, "mateo"),
		"a provider's app":        w.app("okafor", "user/Subscription.cruds user/Consent.rs", ""),
		"a system":                system(w, "system/Subscription.cruds system/Consent.rs"),
		"a system, of everything": system(w, "system/*.cruds"),
	} {
		c.ClientID = name // an app each
		r, err := w.subscribe(c, subscriptionBody)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := status(t, r); got != "requested" {
			t.Errorf("%s: status %q", name, got)
		}
		if got, err := w.search(c, "Subscription", "status=requested"); err != nil || !slices.Equal(got, []string{r.ID}) {
			t.Errorf("%s finds %v, %v; want their own alone", name, got, err)
		}
	}
	staff := w.as("adams")
	staff.Identity.Role, staff.ClientID = "staff", "app"
	for name, c := range map[string]consent.Caller{
		"the portal": w.as("ava"), "staff": staff,
		"without the scope for it":          w.app("ava", "patient/Consent.rs", "ava"),
		"without the scope to read":         w.app("ava", "patient/Subscription.cruds patient/Consent.s", "ava"),
		"without the scope of the criteria": w.app("ava", "patient/Subscription.cruds patient/Observation.rs", "ava"),
	} {
		if _, err := w.subscribe(c, subscriptionBody); fhir.KindOf(err) != fhir.Forbidden || err == nil {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if _, err := w.subscribe(w.app("ava", "patient/Subscription.cruds patient/Consent.s", "ava"), with(`,"payload":"application/fhir+json"`, "")); err != nil {
		t.Errorf("to be told, searching is enough: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.app("okafor", "user/*.cruds", "")
	for _, tt := range []struct{ body, element string }{
		{with(`"rest-hook"`, `"email"`), "Subscription.channel.type"},
		{with(`"application/fhir+json"`, `"application/fhir+xml"`), "Subscription.channel.payload"},
		{with(`https://app.example/hook`, `http://app.example/hook`), "Subscription.channel.endpoint"},
		{with(`"endpoint":"https://app.example/hook",`, ``), "Subscription.channel.endpoint"},
		{with(`Consent?status=proposed`, `Nonsense?status=proposed`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `Consent?statsu=proposed`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `Consent?patient.name=x`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `Patient?_has:Consent:patient:status=proposed`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `Consent?status=proposed&_include=Consent:patient`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `AuditEvent?patient=1`), "Subscription.criteria"},
		{with(`Consent?status=proposed`, `Subscription?status=active`), "Subscription.criteria"},
		{with(`Authorization: Bearer secret`, `Host: internal`), "Subscription.channel.header[0]"},
		{with(`Authorization: Bearer secret`, `X: a\r\nHost: b`), "Subscription.channel.header[0]"},
		{with(`Authorization: Bearer secret`, `no colon`), "Subscription.channel.header[0]"},
		{with(`"status":"requested"`, `"status":"error"`), "Subscription.status"},
		{with(`"reason":"r"`, `"reason":"r","end":"2020-01-01T00:00:00Z"`), "Subscription.end"},
	} {
		_, err := w.subscribe(c, tt.body)
		known, ok := err.(*fhir.Error)
		if !ok || known.Kind != fhir.Unprocessable && known.Kind != fhir.Invalid || known.Issues[0].Expression != tt.element {
			t.Errorf("%s: got %v, want a refusal of %s", tt.body, err, tt.element)
		}
	}
	for _, criteria := range []string{"Consent", "Consent?", "Observation?code=http://loinc.org|1&date=gt2020", "Practitioner?name=x"} {
		if _, err := w.subscribe(c, with("Consent?status=proposed", criteria)); err != nil {
			t.Errorf("%s: %v", criteria, err)
		}
	}
}

// What somebody subscribed to, and the secrets in it, is theirs and the app's.
func TestSubscriptionsAreTheirOwners(t *testing.T) {
	w := newWorld(t)
	owner := w.app("grace", "user/*.cruds patient/*.cruds", "mateo")
	r, err := w.subscribe(owner, with(`"reason":"r"`, `"reason":"r","extension":[{"url":"http://gateway.test/fhir/StructureDefinition/subscriber","valueString":"forged"}]`))
	w.do(err)
	if strings.Contains(string(r.JSON), "forged") {
		t.Error("the client says whose it is")
	}
	otherApp := owner
	otherApp.ClientID = "another"
	for name, c := range map[string]consent.Caller{
		"another app of hers": otherApp, "the other guardian": w.app("luis", "user/*.cruds", ""), "the PCP": w.app("adams", "user/*.cruds", ""),
		"the portal": w.as("grace"), "a system": system(w, "system/*.cruds"),
	} {
		wantKind(t, w.read(c, r.Key.String()), fhir.NotFound)
		if _, err := w.guard.VRead(t.Context(), c, r.Key, 1); fhir.KindOf(err) != fhir.NotFound {
			t.Errorf("%s reads its version: %v", name, err)
		}
		if ids, err := w.search(c, "Subscription", "url=https://app.example/hook"); err != nil || len(ids) != 0 {
			t.Errorf("%s finds %v, %v", name, ids, err)
		}
		if page, err := w.guard.TypeHistory(t.Context(), c, "Subscription", nil, false); err != nil || len(page.Entries) != 0 {
			t.Errorf("%s finds it in the history: %v", name, err)
		}
		body := strings.Replace(string(r.JSON), "app.example", "evil.example", 1)
		if _, _, err := w.guard.Update(t.Context(), c, r.Key, []byte(body), nil); fhir.KindOf(err) != fhir.NotFound && fhir.KindOf(err) != fhir.Forbidden {
			t.Errorf("%s replaces it: %v", name, err)
		}
		if err := w.guard.Delete(t.Context(), c, r.Key, nil); fhir.KindOf(err) != fhir.NotFound {
			t.Errorf("%s deletes it: %v", name, err)
		}
	}
	page, err := w.guard.TypeHistory(t.Context(), owner, "Subscription", nil, false)
	if err != nil || len(page.Entries) != 1 {
		t.Errorf("the owner's history: %v, %v", page, err)
	}
	var kept struct{ Channel struct{ Header []string } }
	w.do(json.Unmarshal(r.JSON, &kept))
	if !slices.Equal(kept.Channel.Header, []string{"Authorization: Bearer secret"}) {
		t.Errorf("the owner's headers: %v", kept)
	}
	w.do(w.guard.Delete(t.Context(), owner, r.Key, nil))
	wantKind(t, w.read(owner, r.Key.String()), fhir.Gone)
}

func TestHowManySubscriptions(t *testing.T) {
	w := newWorld(t)
	c := w.app("ava", patientScopes, "ava")
	var first *fhir.Resource
	for i := range 20 {
		r, err := w.subscribe(c, with("example/hook", fmt.Sprint("example/hook", i)))
		w.do(err)
		if first == nil {
			first = r
		}
	}
	_, err := w.subscribe(c, subscriptionBody)
	wantKind(t, err, fhir.Unprocessable)
	_, err = w.guard.Transaction(t.Context(), c, []consent.Step{{Write: consent.Write{Method: consent.Create, Type: "Subscription", Body: []byte(subscriptionBody)}}})
	wantKind(t, err, fhir.Unprocessable)
	if _, err := w.subscribe(w.app("grace", patientScopes, "mateo"), subscriptionBody); err != nil {
		t.Errorf("another person: %v", err)
	}
	_, _, err = w.guard.Update(t.Context(), c, first.Key, []byte(strings.Replace(string(first.JSON), `"status":"requested"`, `"status":"off"`, 1)), nil)
	w.do(err)
	if _, err := w.subscribe(c, subscriptionBody); err != nil {
		t.Errorf("after one was turned off: %v", err)
	}
}
