package main

import (
	"net/url"
	"strings"
	"testing"
)

func partA6(t *testing.T, w *smartWorld) {
	t.Run("A.6 the consent that opened the record, for an app that asks", func(t *testing.T) {
		role := w.URL + "/fhir/CodeSystem/launch-context-role#access-basis"
		asks := "launch/patient launch/consent?role=" + url.QueryEscape(role) + " openid patient/*.rs"
		r := w.enter("dr.adams", "public", asks, mateo)
		if r.json["fhirContext"] != nil || strings.Contains(r.str("scope"), "launch/consent") {
			t.Errorf("a PCP needs no consent: %s", r.body)
		}
		consent := w.approvedRequest(t)
		r = w.enter("dr.okafor", "public", asks, mateo)
		context := decoded[struct {
			FHIRContext []struct{ Reference, Role string }
		}](t, r.body).FHIRContext
		if len(context) != 1 || context[0].Reference != "Consent/"+consent || context[0].Role != role {
			t.Errorf("got %s", r.body)
		}
		if r := w.enter("dr.okafor", "public", "launch/patient openid patient/*.rs", mateo); r.json["fhirContext"] != nil {
			t.Errorf("told without being asked: %s", r.body)
		}
	})
	t.Run("A.6 roles of an EHR's context", func(t *testing.T) {
		raw := func(context string) int {
			bearer := w.system("backend", "system/*.rs") // may_launch by open registration
			body := `{"client_id":"` + w.ids["public"] + `","user":"Practitioner/pr-adams","fhirContext":[` + context + `]}`
			return w.send("POST", "/oauth/launch", body, "Content-Type", "application/json", "Authorization", "Bearer "+bearer.str("access_token")).status
		}
		for context, want := range map[string]int{
			`{"reference":"ImagingStudy/1"}`: 200, `{"reference":"ImagingStudy/1","role":"launch"}`: 200, `{"reference":"Patient/pt-1"}`: 400, `{"reference":"Encounter/1","role":"launch"}`: 400,
			`{"reference":"Patient/pt-1","role":"https://ehr.example/sibling"}`: 200, `{"reference":"ImagingStudy/1","role":"sibling"}`: 400, `{"role":"launch"}`: 400,
		} {
			if got := raw(context); got != want {
				t.Errorf("%s: got %d", context, got)
			}
		}
	})
	t.Run("A.7 app state", func(t *testing.T) { appStateRows(t, w) })
	t.Run("A.7 app state of an app that was removed", func(t *testing.T) { removedState(t, w) })
	t.Run("A.8 brands", func(t *testing.T) { brandRows(t, w) })
}

// approvedRequest has Dr. Okafor ask for Mateo's record, and Grace say yes.
func (w *smartWorld) approvedRequest(t *testing.T) (consent string) {
	t.Helper()
	okafor := w.enter("dr.okafor", "public", "openid user/*.cruds", nil).str("access_token")
	post := func(path, token, body string) reply {
		r := w.send("POST", "/fhir/"+path, body, "Content-Type", "application/fhir+json", "Authorization", "Bearer "+token)
		if r.status/100 != 2 {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		return r
	}
	r := post("Patient/$request-access", okafor, `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/pt-1"}},{"name":"reason","valueString":"Heart"}]}`)
	grace := w.enter("grace", "public", "openid user/*.cruds", nil).str("access_token")
	post("Consent/"+r.str("id")+"/$approve", grace, `{"resourceType":"Parameters"}`)
	return r.str("id")
}

func appStateRows(t *testing.T, w *smartWorld) {
	grace := w.enter("grace", "public", "launch/patient openid fhirUser patient/Basic.cuds user/Basic.cuds", mateo).str("access_token")
	call := func(method, path, token, body string, headers ...string) reply {
		t.Helper()
		return w.send(method, "/appstate/"+path, body, append([]string{"Content-Type", "application/fhir+json", "Authorization", "Bearer " + token}, headers...)...)
	}
	code := w.app.URL[:strings.LastIndex(w.app.URL, ":")] + "|settings" // the origin of the app, whose ports are free
	system, _, _ := strings.Cut(code, "|")
	state := func(subject, more string) string {
		if subject != "" {
			subject = `"subject":{"reference":"` + w.URL + "/fhir/" + subject + `"},`
		}
		return `{"resourceType":"Basic",` + more + subject + `"code":{"coding":[{"system":"` + system + `","code":"settings"}]},"extension":[{"url":"https://app.example/x","valueString":"{\"dark\":true}"}]}`
	}
	find := func(token, code, subject string) reply {
		query := url.Values{"code": {code}}
		if subject == "" {
			query.Set("subject:missing", "true")
		} else {
			query.Set("subject", w.URL+"/fhir/"+subject)
		}
		return call("GET", "Basic?"+query.Encode(), token, "")
	}
	creates := func() int { // in Mateo's log, which tells that, but not what, as it is no part of the record
		token := w.enter("grace", "public", "openid user/*.rs", nil).str("access_token")
		return strings.Count(w.fhir("AuditEvent?patient=pt-1&_count=1000", token).body, `"code":"create"`)
	}
	before := creates()
	made := call("POST", "Basic", grace, state("Patient/pt-1", ""))
	if made.status != 201 || made.header.Get("ETag") != `W/"1"` || made.str("id") == "" || !strings.HasSuffix(made.header.Get("Location"), "/appstate/Basic/"+made.str("id")) || !strings.Contains(made.body, `"versionId":"1"`) || !strings.Contains(made.body, "dark") {
		t.Fatalf("create: %d %v %s", made.status, made.header, made.body)
	}
	id := made.str("id")
	if r := find(grace, code, "Patient/pt-1"); r.status != 200 || r.json["total"] != 1.0 || !strings.Contains(r.body, id) {
		t.Errorf("find: %d %s", r.status, r.body)
	}
	if r := find(grace, code, "Patient/pt-2"); r.status != 200 || r.json["total"] != 0.0 { // user/Basic: hers too
		t.Errorf("another subject: %d %s", r.status, r.body)
	}
	// Writes need If-Match of the version that there is, and change no code or subject.
	body := state("Patient/pt-1", `"id":"`+id+`",`)
	expect(t, call("PUT", "Basic/"+id, grace, body), 428)
	expect(t, call("PUT", "Basic/"+id, grace, body, "If-Match", `W/"7"`), 412)
	expect(t, call("PUT", "Basic/"+id, grace, body, "If-Match", "*"), 400) // it has to be what the app read
	expect(t, call("PUT", "Basic/"+id, grace, strings.ReplaceAll(body, "pt-1", "pt-2"), "If-Match", `W/"1"`), 412)
	expect(t, call("PUT", "Basic/"+id, grace, strings.Replace(body, `"settings"`, `"other"`, 1), "If-Match", `W/"1"`), 412)
	if r := call("PUT", "Basic/"+id, grace, strings.Replace(body, "true", "false", 1), "If-Match", `W/"1"`); r.status != 200 || r.header.Get("ETag") != `W/"2"` {
		t.Errorf("update: %d %s", r.status, r.body)
	}
	expect(t, call("DELETE", "Basic/"+id, grace, ""), 428)
	expect(t, call("DELETE", "Basic/"+id, grace, "", "If-Match", `W/"1"`), 412)

	// What it may not be.
	for name, b := range map[string]string{
		"an id": state("Patient/pt-1", `"id":"mine",`), "a version": state("Patient/pt-1", `"meta":{"versionId":"1"},`), "a relative subject": strings.Replace(state("Patient/pt-1", ""), w.URL+"/fhir/", "", 1),
		"two codings": strings.Replace(state("Patient/pt-1", ""), `"coding":[`, `"coding":[{"system":"x","code":"y"},`, 1), "another extension": strings.Replace(state("Patient/pt-1", ""), `"valueString":"{\"dark\":true}"`, `"valueCode":"x"`, 1),
		"another member": state("Patient/pt-1", `"author":{"reference":"Patient/pt-1"},`), "a subject of another type": state("Observation/x", ""), "another resource": `{"resourceType":"Patient"}`,
	} {
		if r := call("POST", "Basic", grace, b); r.status != 422 && r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	expect(t, call("POST", "Basic", grace, strings.Replace(state("Patient/pt-1", ""), "dark", strings.Repeat("x", 300<<10), 1)), 413)

	// Whose it is.
	stolen := strings.ReplaceAll(state("Patient/pt-1", ""), `"`+system+`"`, `"https://another-app.example"`)
	expect(t, call("POST", "Basic", grace, stolen), 403)
	expect(t, find(grace, "https://another-app.example|settings", "Patient/pt-1"), 403)
	expect(t, call("POST", "Basic", grace, state("Patient/pt-3", "")), 403)
	expect(t, find(grace, code, "Patient/pt-3"), 403)
	expect(t, call("POST", "Basic", grace, state("RelatedPerson/rp-1", "")), 201)
	expect(t, call("POST", "Basic", grace, state("RelatedPerson/rp-4", "")), 403)
	expect(t, call("POST", "Basic", grace, state("", "")), 403) // global: administrators write it
	expect(t, find(grace, code, ""), 200)
	admin := w.enter("ana", "public", "openid user/Basic.cuds", nil).str("access_token")
	expect(t, call("POST", "Basic", admin, state("", "")), 201)
	if r := find(grace, code, ""); r.json["total"] != 1.0 {
		t.Errorf("global: %s", r.body)
	}
	expect(t, call("POST", "Basic", admin, state("Patient/pt-1", "")), 403)
	okafor := w.enter("dr.baker", "public", "openid user/Basic.cuds", nil).str("access_token")
	expect(t, call("DELETE", "Basic/"+id, okafor, "", "If-Match", `W/"2"`), 412)
	expect(t, find(okafor, code, "Patient/pt-1"), 403)

	// Scopes: by letter, by patient, by code.
	read := w.enter("grace", "public", "launch/patient patient/Basic.s", mateo).str("access_token")
	expect(t, find(read, code, "Patient/pt-1"), 200)
	expect(t, find(read, code, "Patient/pt-2"), 403)
	expect(t, find(read, code, ""), 403)
	expect(t, call("POST", "Basic", read, state("Patient/pt-1", "")), 403)
	granular := w.enter("grace", "public", "launch/patient patient/Basic.cuds?code="+code, mateo).str("access_token")
	expect(t, find(granular, code, "Patient/pt-1"), 200)
	expect(t, find(granular, system+"|other", "Patient/pt-1"), 403)
	expect(t, find(w.enter("grace", "public", "launch/patient patient/Patient.rs", mateo).str("access_token"), code, "Patient/pt-1"), 403)
	expect(t, w.send("GET", "/appstate/Basic?code=x", ""), 401)
	expect(t, call("GET", "Basic", grace, ""), 400)
	expect(t, call("GET", "Basic/"+id, grace, ""), 405)

	// It is no part of the record.
	ordinary := w.enter("grace", "public", "launch/patient patient/*.cruds", mateo).str("access_token")
	if hits, _ := w.all("Basic?_count=10", ordinary); len(hits) > 0 {
		t.Errorf("surfaces in the record: %v", hits)
	}
	expect(t, w.fhir("Basic/"+id, ordinary), 404)
	if creates() <= before {
		t.Error("it is in no log")
	}
	expect(t, call("DELETE", "Basic/"+id, grace, "", "If-Match", `W/"2"`), 204)
	expect(t, call("DELETE", "Basic/"+id, grace, "", "If-Match", `W/"2"`), 412)
	expect(t, call("PUT", "Basic/"+id, grace, body, "If-Match", `W/"2"`), 412)
	if r := find(grace, code, "Patient/pt-1"); r.json["total"] != 0.0 {
		t.Errorf("after: %s", r.body)
	}
}

func brandRows(t *testing.T, w *smartWorld) {
	d := w.send("GET", "/fhir/.well-known/smart-configuration", "")
	r := w.send("GET", d.str("user_access_brand_bundle"), "", "Origin", "https://any.example")
	if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "*" || !strings.HasPrefix(r.header.Get("ETag"), `W/"`) {
		t.Fatalf("got %d %v", r.status, r.header)
	}
	expect(t, w.send("GET", d.str("user_access_brand_bundle"), "", "If-None-Match", r.header.Get("ETag")), 304)
	bundle := decoded[struct {
		ResourceType, Type, Timestamp string
		Entry                         []struct {
			FullURL  string
			Resource struct {
				ResourceType, ID string
				Identifier       []struct{ System, Value string }
				Endpoint         []struct{ Reference string }
				Address          any
			}
		}
	}](t, r.body)
	if bundle.Type != "collection" || bundle.Timestamp == "" || len(bundle.Entry) != 2 {
		t.Fatalf("got %s", r.body)
	}
	brand, endpoint := bundle.Entry[0].Resource, bundle.Entry[1].Resource
	id, _ := d.json["user_access_brand_identifier"].(map[string]any)
	if len(brand.Identifier) != 1 || id["value"] != brand.Identifier[0].Value || id["system"] != brand.Identifier[0].System || id["value"] == nil {
		t.Errorf("identifier %v, Organization %v", id, brand.Identifier)
	}
	if len(brand.Endpoint) != 1 || brand.Endpoint[0].Reference != "Endpoint/"+endpoint.ID || endpoint.Address != w.URL+"/fhir" || !strings.Contains(r.body, w.URL+"/patient") {
		t.Errorf("got %s", r.body)
	}
	if again := w.send("GET", "/brands.json", ""); again.header.Get("ETag") != r.header.Get("ETag") {
		t.Error("the ETag changes by itself")
	}
}
