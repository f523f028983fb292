package web_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// checkPage checks what holds on every page: its headers, and its HTML.
func checkPage(t *testing.T, where string, h http.Header, body string) {
	t.Helper()
	policy := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s: the content security policy lacks %q: %q", where, want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("%s: the content security policy is unsafe: %q", where, policy)
	}
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin",
	} {
		if !strings.Contains(strings.Join(h.Values(name), ","), want) {
			t.Errorf("%s: %s is %q, want %q", where, name, h.Values(name), want)
		}
	}
	if h.Get("X-Request-Id") == "" {
		t.Errorf("%s has no request id", where)
	}
	checkHTML(t, where, body)
}

// checkHTML checks the form of a page: tags that match, nothing inline, forms
// with their token, fields with labels, one heading, ids that are one of a kind.
func checkHTML(t *testing.T, where, body string) {
	t.Helper()
	checkNesting(t, where, body)
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	if !strings.HasPrefix(body, "<!doctype html>") || attr(find(doc, atom.Html), "lang") == "" || text(find(doc, atom.Title)) == "" {
		t.Errorf("%s lacks a doctype, a language or a title", where)
	}
	ids, labels := map[string]int{}, map[string]bool{}
	scripts, headings, whole := 0, 0, ""
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s: <%s> has %s=%q", where, n.Data, a.Key, a.Val)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "http://127.0.0.1") && !strings.HasPrefix(a.Val, "https://") && a.Val != "tel:555-555-0100" {
				t.Errorf("%s: <%s> leads to %q", where, n.Data, a.Val)
			}
			if a.Key == "id" {
				ids[a.Val]++
			}
			if a.Key == "for" {
				labels[a.Val] = true
			}
		}
		switch n.DataAtom {
		case atom.Script:
			scripts++
			if !strings.HasPrefix(attr(n, "src"), "/static/app.js?v=") || text(n) != "" {
				t.Errorf("%s has a script of its own: %q", where, text(n))
			}
		case atom.Style:
			t.Errorf("%s has a style of its own", where)
		case atom.Link:
			if attr(n, "rel") == "expect" && attr(n, "blocking") == "render" {
				whole = strings.TrimPrefix(attr(n, "href"), "#")
			}
		case atom.H1:
			headings++
		case atom.Form:
			if attr(n, "method") == "post" && filled(n).Get("csrf") == "" {
				t.Errorf("%s: the form to %s has no token", where, attr(n, "action"))
			}
		case atom.Img, atom.Svg:
			if !has(n, "alt") && !has(n, "aria-label") && attr(n, "aria-hidden") != "true" && n.Parent.DataAtom != atom.Svg {
				t.Errorf("%s: a picture without words", where)
			}
		}
	}
	if scripts != 1 || headings != 1 {
		t.Errorf("%s has %d scripts and %d main headings, want one of each", where, scripts, headings)
	}
	if ids[whole] != 1 {
		t.Errorf("%s may be painted before its bar is whole, which moves the bar's end", where)
	}
	checkIDs(t, where, doc, ids, labels)
}

// checkIDs checks that ids are unique, that what is referred to exists, and that
// every field has a label.
func checkIDs(t *testing.T, where string, doc *html.Node, ids map[string]int, labels map[string]bool) {
	t.Helper()
	for id, count := range ids {
		if count > 1 {
			t.Errorf("%s has %d elements with the id %q", where, count, id)
		}
	}
	for id := range labels {
		if ids[id] == 0 {
			t.Errorf("%s has a label for %q, which is not there", where, id)
		}
	}
	for n := range doc.Descendants() {
		for _, name := range []string{"aria-describedby", "aria-labelledby"} {
			for id := range strings.FieldsSeq(attr(n, name)) {
				if ids[id] == 0 {
					t.Errorf("%s: %s of <%s> names %q, which is not there", where, name, n.Data, id)
				}
			}
		}
		field := n.DataAtom == atom.Input && attr(n, "type") != "hidden" || n.DataAtom == atom.Textarea || n.DataAtom == atom.Select
		if !field || labels[attr(n, "id")] && has(n, "id") {
			continue
		}
		inside := false
		for a := range n.Ancestors() {
			inside = inside || a.DataAtom == atom.Label
		}
		if !inside {
			t.Errorf("%s: the field %q has no label", where, attr(n, "name"))
		}
	}
}

// checkNesting checks that every tag that is opened is closed, in order.
func checkNesting(t *testing.T, where, body string) {
	t.Helper()
	void := map[string]bool{"input": true, "meta": true, "link": true, "br": true, "img": true}
	var open []string
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("%s: never closed: %v", where, open)
			}
			return
		case html.StartTagToken:
			name, _ := z.TagName()
			if !void[string(name)] {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Errorf("%s: </%s> closes %v", where, name, open)
				return
			}
			open = open[:len(open)-1]
		}
	}
}
