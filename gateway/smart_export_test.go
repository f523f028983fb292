package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// kickOff asks for an export, and gives where its status is told.
func (w *smartWorld) kickOff(t *testing.T, path, token string) (status string) {
	t.Helper()
	r := w.fhir(path, token, "Accept", "application/fhir+json", "Prefer", "respond-async")
	if status = r.header.Get("Content-Location"); r.status != http.StatusAccepted || status == "" {
		t.Fatalf("%s: %d %v %s", path, r.status, r.header, r.body)
	}
	return status
}

func (w *smartWorld) bearer(method, url, token string) reply {
	w.t.Helper()
	return w.send(method, url, "", "Authorization", "Bearer "+token, "Accept", "application/json")
}

// exported gives the lines of all files of an export, by type.
func (w *smartWorld) exported(t *testing.T, path, token string) map[string][]string {
	t.Helper()
	r := w.bearer("GET", w.kickOff(t, path, token), token)
	if r.status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	files := map[string][]string{}
	for _, f := range gjson.Get(r.body, "output").Array() {
		kind := f.Get("type").Str
		file := w.send("GET", f.Get("url").Str, "", "Authorization", "Bearer "+token)
		if file.status != http.StatusOK || files[kind] != nil {
			t.Fatalf("%s: %d, %d lines before", f.Raw, file.status, len(files[kind]))
		}
		for line := range strings.Lines(file.body) {
			if gjson.Get(line, "resourceType").Str != kind {
				t.Errorf("in the file of %s: %s", kind, line)
			}
			files[kind] = append(files[kind], gjson.Get(line, "id").Str)
		}
	}
	return files
}

// searched gives the ids that searches of a type find, on all pages.
func (w *smartWorld) searched(t *testing.T, kind, token string) (ids []string) {
	t.Helper()
	for path := kind + "?_count=500"; path != ""; {
		r := w.fhir(path, token)
		if r.status == http.StatusForbidden {
			return nil
		}
		if r.status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		for _, e := range gjson.Get(r.body, `entry.#(search.mode=="match")#.resource.id`).Array() {
			ids = append(ids, e.Str)
		}
		path = strings.TrimPrefix(gjson.Get(r.body, `link.#(relation=="next").url`).Str, w.URL+"/fhir/")
	}
	return ids
}

// withGroup stores a Group of all patients of the demo.
func (w *smartWorld) withGroup(t *testing.T) {
	t.Helper()
	w.register("loader", map[string]any{"client_name": "Loader", "grant_types": []string{"client_credentials"}, "scope": "system/*.cruds", "jwks_uri": w.app.URL + "/jwks"})
	token := w.system("loader", "system/*.cruds").str("access_token")
	var members []string
	for _, id := range w.searched(t, "Patient", token) {
		members = append(members, fmt.Sprintf(`{"entity":{"reference":"Patient/%s"}}`, id))
	}
	body := `{"resourceType":"Group","id":"all","type":"person","actual":true,"member":[` + strings.Join(members, ",") + `]}`
	if r := w.send("PUT", "/fhir/Group/all", body, "Authorization", "Bearer "+token, "Content-Type", "application/fhir+json"); r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

// exportRows are those on bulk exports.
func exportRows(t *testing.T, w *smartWorld) {
	w.withGroup(t)
	token := w.system("backend", "system/*.read").str("access_token") // BK-1, BK-13: one token through all of it
	t.Run("M-8 BK-1 the operation is declared", func(t *testing.T) {
		r := w.send("GET", "/fhir/metadata", "")
		const bulk = "http://hl7.org/fhir/uv/bulkdata/"
		for path, want := range map[string]string{
			`rest.0.resource.#(type=="Group").operation.#(name=="export").definition`:   bulk + "OperationDefinition/group-export",
			`rest.0.resource.#(type=="Patient").operation.#(name=="export").definition`: bulk + "OperationDefinition/patient-export",
			`rest.0.operation.#(name=="export").definition`:                             bulk + "OperationDefinition/export",
			`instantiates.#(=="` + bulk + `CapabilityStatement/bulk-data")`:             bulk + "CapabilityStatement/bulk-data",
		} {
			if got := gjson.Get(r.body, path).Str; got != want {
				t.Errorf("%s: got %s", path, got)
			}
		}
	})
	levels := []string{"Group/all/$export", "Patient/$export", "$export"}
	t.Run("BK-2 R-5 without a token", func(t *testing.T) {
		for _, path := range levels {
			if r := w.send("GET", "/fhir/"+path, "", "Accept", "application/fhir+json", "Prefer", "respond-async"); r.status != http.StatusUnauthorized {
				t.Errorf("%s: %d", path, r.status)
			}
		}
	})
	t.Run("BK-3 BK-4 BK-5 BK-6 BK-8 BK-12 BK-13 an export from its beginning to its end", func(t *testing.T) {
		for _, path := range levels {
			r := w.bearer("GET", w.kickOff(t, path, token), token)
			if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
				t.Fatalf("%s: %d %v", path, r.status, r.header)
			}
			for _, key := range []string{"transactionTime", "request", "requiresAccessToken", "output", "error"} {
				if _, ok := r.json[key]; !ok {
					t.Errorf("%s: without %s: %s", path, key, r.body)
				}
			}
			if _, err := time.Parse(time.RFC3339, r.str("transactionTime")); err != nil || r.json["requiresAccessToken"] != true || r.str("request") != w.URL+"/fhir/"+path {
				t.Errorf("%s: %s", path, r.body)
			}
			if expires, err := http.ParseTime(r.header.Get("Expires")); err != nil || !expires.After(w.clock.Now()) {
				t.Errorf("%s: Expires %v", path, r.header)
			}
			files := gjson.Get(r.body, "output").Array()
			if len(files) < 5 {
				t.Fatalf("%s: %s", path, r.body)
			}
			for _, f := range files {
				address := f.Get("url").Str
				if !strings.HasPrefix(address, w.URL) || f.Get("type").Str == "" {
					t.Errorf("got %s", f.Raw)
				}
				if r := w.send("GET", address, ""); r.status != http.StatusUnauthorized {
					t.Errorf("%s without a token: %d", address, r.status)
				}
				r := w.send("GET", address, "", "Authorization", "Bearer "+token, "Accept", "application/fhir+ndjson")
				if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "application/fhir+ndjson") {
					t.Fatalf("%s: %d %v", address, r.status, r.header)
				}
				for line := range strings.Lines(r.body) {
					if !json.Valid([]byte(line)) || gjson.Get(line, "resourceType").Str != f.Get("type").Str {
						t.Fatalf("in %s: %s", address, line)
					}
				}
			}
		}
	})
	t.Run("BK-7 all patients, and what is theirs", func(t *testing.T) {
		files := w.exported(t, levels[0], token)
		for kind, least := range map[string]int{"Patient": 5, "Observation": 100, "Encounter": 10, "Condition": 5, "Immunization": 5, "CareTeam": 1} {
			if len(files[kind]) < least {
				t.Errorf("%d of %s", len(files[kind]), kind)
			}
		}
	})
	t.Run("BK-9 BK-10 cancelling", func(t *testing.T) {
		for _, path := range levels {
			status := w.kickOff(t, path, token)
			if r := w.bearer("DELETE", status, token); r.status != http.StatusAccepted {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
			if r := w.bearer("GET", status, token); r.status != http.StatusNotFound || r.str("resourceType") != "OperationOutcome" {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
	})
	t.Run("BK-11 parameters", func(t *testing.T) {
		for _, path := range levels {
			for _, query := range []string{"_outputFormat=application%2Ffhir%2Bndjson", "_outputFormat=application/fhir+ndjson", "_outputFormat=application/ndjson", "_outputFormat=ndjson", "_since=2020-01-01T00:00:00.000Z", "_since=2020-01-01T00:00:00-05:00"} {
				if r := w.bearer("DELETE", w.kickOff(t, path+"?"+query, token), token); r.status != http.StatusAccepted {
					t.Errorf("%s?%s: %d %s", path, query, r.status, r.body)
				}
			}
		}
	})
	t.Run("people export what they find by searches", func(t *testing.T) { exportsOfPeople(t, w) })
}

// exportsOfPeople: everybody gets what searches of each type give, and nothing else.
func exportsOfPeople(t *testing.T, w *smartWorld) {
	person := func(user, scope string, patient url.Values) string {
		return w.enter(user, "public", scope, patient).str("access_token")
	}
	var kinds []string
	for _, k := range gjson.Get(w.send("GET", "/fhir/metadata", "").body, "rest.0.resource.#.type").Array() {
		if k.Str != "AuditEvent" {
			kinds = append(kinds, k.Str)
		}
	}
	adams := person("dr.adams", "openid user/*.cruds", nil)
	for who, token := range map[string]string{
		"the PCP": adams, "a provider without a tie": person("dr.okafor", "openid user/*.cruds", nil), "a mother of two": person("grace", "openid user/*.cruds", nil),
		"a teenager": person("ava", fullScope, nil), "her mother": person("helen", "openid user/*.cruds", nil),
		"an app of the mother for one child": person("grace", fullScope, mateo), "an app for one type": person("grace", "launch/patient patient/Observation.rs", mateo),
		"a system for patients": w.system("narrow", "system/Patient.rs").str("access_token"),
	} {
		files := w.exported(t, "$export", token)
		for _, kind := range kinds {
			want := w.searched(t, kind, token)
			if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(files[kind])), want) {
				t.Errorf("%s, %s: the file has %d, searches find %d", who, kind, len(files[kind]), len(want))
			}
		}
	}
	if page := w.browser("grace").open(w.URL + "/patient/pt-1/activity"); !strings.Contains(page.text, "took a copy of") || !strings.Contains(page.text, "Dr. Emily Adams") {
		t.Errorf("the mother does not see who took a copy: %d at %s", page.status, page.at)
	}
	status := w.kickOff(t, "$export", adams)
	for _, thief := range []string{person("dr.baker", "openid user/*.cruds", nil), w.enter("dr.adams", "confidential", "openid user/*.cruds", nil).str("access_token")} {
		for _, address := range []string{status, status + "/Patient"} {
			if r := w.bearer("GET", address, thief); r.status != http.StatusNotFound {
				t.Errorf("of another caller: %d", r.status)
			}
		}
	}
}
