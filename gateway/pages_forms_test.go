package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notForms are the routes whose POST is not a form of ours.
var notForms = []string{"/fhir", "/oauth/", "/appstate", "/demo", "/signin/backchannel/", "/.well-known/"}

// TestFormsNeedTheirToken sends every form without its token, with the token of
// somebody else, and from another site: nothing of it is carried out.
func TestFormsNeedTheirToken(t *testing.T) {
	g := sharedDemo(t)
	c := &chrome{gateway: g}
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	grace, luis := c.signedIn(t, "grace"), c.signedIn(t, "luis")
	own, others := found(t, csrf, grace.open(g.URL+"/patient")), found(t, csrf, luis.open(g.URL+"/patient"))
	forms := 0
	for _, r := range g.routes() {
		if r.Method != http.MethodPost || slices.ContainsFunc(notForms, func(p string) bool { return strings.HasPrefix(r.Path, p) }) {
			continue
		}
		forms++
		address := g.URL + regexp.MustCompile(`:[a-z]+`).ReplaceAllString(r.Path, "pt-1")
		for what, request := range map[string]struct{ token, site string }{
			"without a token": {"", "same-origin"}, "with the token of another": {others, "same-origin"}, "from another site": {own, "cross-site"},
		} {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(url.Values{"csrf": {request.token}}.Encode()))
			if err == nil {
				q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				q.Header.Set("Sec-Fetch-Site", request.site)
			}
			if page := grace.send(q, err); page.status != http.StatusForbidden || !strings.Contains(page.text, "Nothing was changed") {
				t.Errorf("%s %s: got status %d", r.Path, what, page.status)
			}
		}
	}
	if forms < 20 {
		t.Errorf("only %d forms were tried", forms)
	}
	if page := grace.open(g.URL + "/patient"); page.status != http.StatusOK || !strings.Contains(page.text, "Mateo") {
		t.Errorf("a forged form signed her out: %d", page.status)
	}
}
