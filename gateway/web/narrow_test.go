package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// tokenOf exchanges the code that the app got.
func (w *world) tokenOf(b *browser) map[string]any {
	w.t.Helper()
	return w.exchange(b.answer().Get("code"))
}

const (
	laboratory  = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
	problemList = "http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
)

// parts gives the boxes of some parts of a scope.
func parts(p *page, scope string, words ...string) []string {
	form, _ := p.form("Approve")
	var found []string
	for _, value := range filled(form)["part"] {
		rest, ok := strings.CutPrefix(value, scope+" ")
		if ok && slices.Contains(words, rest) {
			found = append(found, value)
		}
	}
	return found
}

func TestNarrowAnApp(t *testing.T) {
	for name, c := range map[string]struct {
		scope, of string
		tick      []string
		want      string
	}{
		"all parts stay as asked": {"patient/Observation.rs launch/patient", "", nil, "patient/Observation.rs launch/patient"},
		"categories":              {"patient/Observation.rs launch/patient", "patient/Observation.rs", []string{"Observation laboratory"}, "patient/Observation.rs?category=" + laboratory + " launch/patient"},
		"a wildcard, expanded": {"launch/patient patient/*.rs", "patient/*.rs", []string{"Patient", "Condition problem-list-item", "Immunization"},
			"launch/patient patient/Patient.rs patient/Condition.rs?category=" + problemList + " patient/Immunization.rs"},
		"a whole type of a wildcard": {"launch/patient patient/*.rs", "patient/*.rs",
			[]string{"Condition encounter-diagnosis", "Condition problem-list-item", "Condition health-concern"}, "launch/patient patient/Condition.rs"},
		"v1 stays v1": {"launch/patient patient/*.read", "patient/*.read", []string{"Patient", "Goal"}, "launch/patient patient/Patient.read patient/Goal.read"},
		"v1 by category becomes v2": {"launch/patient patient/Observation.read", "patient/Observation.read", []string{"Observation laboratory"},
			"launch/patient patient/Observation.rs?category=" + laboratory},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b, page := w.as("grace", w.app(c.scope))
			fill := []string{"patient", "mateo"}
			if c.of != "" {
				page.shows(200, "Choose parts of this")
				found := parts(page, c.of, c.tick...)
				if len(found) != len(c.tick) {
					t.Fatalf("the page offers %v of %v", found, c.tick)
				}
				for _, f := range found {
					fill = append(fill, "part", f)
				}
			}
			page.submit("Approve", fill...)
			if got := w.tokenOf(b)["scope"]; got != c.want {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
	t.Run("no part of it is none of it", func(t *testing.T) {
		w := newWorld(t)
		_, page := w.as("grace", w.app("patient/Observation.rs"))
		page.submit("Approve", "patient", "mateo", "part", "").shows(422, "Tick at least one")
	})
	t.Run("parts that were not asked for", func(t *testing.T) {
		w := newWorld(t)
		b, page := w.as("grace", w.app("launch/patient patient/Observation.rs"))
		page.submit("Approve", "patient", "mateo", "part", "patient/*.cruds Patient", "part", "patient/Observation.rs Patient")
		if got := w.tokenOf(b)["scope"]; got != "launch/patient" {
			t.Errorf("got %v", got)
		}
	})
}

func TestChooseAVisit(t *testing.T) {
	w := newWorld(t)
	w.put(`{"resourceType":"Encounter","id":"sofia-visit","status":"finished","class":{"code":"AMB"},"type":[{"text":"Sofia's visit"}],"subject":{"reference":"Patient/sofia"},"period":{"start":"2024-05-05T10:00:00Z"}}`)
	const scope = "launch/encounter launch/patient openid patient/*.rs"
	visits := func(p *page) (found []string) {
		for n := range p.doc.Descendants() {
			if attr(n, "name") == "visit" {
				found = append(found, attr(n, "value"))
			}
		}
		return found
	}
	b, page := w.as("grace", w.app(scope))
	page = page.submit("Approve", "patient", "mateo").shows(422, "For which visit", "Well child visit", "No particular visit").hides("Sofia's visit")
	offered := visits(page)
	page.submit("Approve", "patient", "mateo", "visit", "sofia-visit").shows(422, "For which visit")
	page.submit("Approve", "patient", "mateo", "visit", offered[0])
	if got := w.tokenOf(b); got["encounter"] != offered[0] || got["patient"] != "mateo" || got["scope"] != scope {
		t.Errorf("got %v, offered %v", got, offered)
	}
	page = b.get(w.app(scope)).submit("Approve", "patient", "mateo")
	page.submit("Approve", "patient", "mateo", "visit", "none")
	if got := w.tokenOf(b); got["encounter"] != nil || got["scope"] != "launch/patient openid patient/*.rs" {
		t.Errorf("none: got %v", got)
	}
}

// exchange has the app redeem a code.
func (w *world) exchange(code string) map[string]any {
	w.t.Helper()
	res, err := http.PostForm(w.base+"/oauth/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {"growth"}, "redirect_uri": {appCallback},
		"code": {code}, "code_verifier": {verifier}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token map[string]any
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("got %d %v %v", res.StatusCode, token, err)
	}
	return token
}
