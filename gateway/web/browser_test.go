package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// A browser has cookies, follows redirects within the gateway, and knows forms.
// Every page of ours that it sees is checked for what holds on all of them.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	speaks string // Accept-Language
	away   string // where the last redirect led, when it left the gateway
}

// A page is what the browser shows.
type page struct {
	b      *browser
	status int
	url    *url.URL
	header http.Header
	doc    *html.Node
	body   string
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b := &browser{t: w.t, base: w.base}
	b.client = &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if "http://"+r.URL.Host != w.base {
			b.away = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// as signs somebody in by way of a page.
func (w *world) as(who, path string) (*browser, *page) {
	w.t.Helper()
	b := w.browser()
	return b, b.get(path).signIn(who)
}

func (b *browser) get(path string) *page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	return b.do(r)
}

func (b *browser) do(r *http.Request) *page {
	b.t.Helper()
	b.away = ""
	if b.speaks != "" {
		r.Header.Set("Accept-Language", b.speaks)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p := &page{b: b, status: answer.StatusCode, url: answer.Request.URL, header: answer.Header, body: string(body)}
	if p.doc, err = html.Parse(strings.NewReader(p.body)); err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode/100 != 3 && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") && !strings.HasPrefix(p.url.Path, "/demo-idp") {
		checkPage(b.t, p.url.String(), p.header, p.body)
	}
	return p
}

// signIn fills in the issuer's form, which is in the language of the browser.
func (p *page) signIn(who string) *page {
	p.b.t.Helper()
	button := "Sign in"
	if attr(find(p.doc, atom.Html), "lang") == "es" {
		button = "Iniciar sesión"
	}
	return p.submit(button, "username", who, "password", "demo")
}

// submit sends the form that has a button of these words, as a browser would:
// with everything that stands in it, changed by name and value in turn. Without
// a value "" a box is unticked and a field emptied.
func (p *page) submit(button string, changes ...string) *page {
	p.b.t.Helper()
	form, pressed := p.form(button)
	values := filled(form)
	for i := 0; i < len(changes); i += 2 {
		values.Del(changes[i])
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] != "" {
			values.Add(changes[i], changes[i+1])
		}
	}
	if name := attr(pressed, "name"); name != "" {
		values.Set(name, attr(pressed, "value"))
	}
	target, err := p.url.Parse(attr(form, "action"))
	if err != nil {
		p.b.t.Fatal(err)
	}
	method, body := http.MethodPost, values.Encode()
	if !strings.EqualFold(attr(form, "method"), "post") {
		method, target.RawQuery, body = http.MethodGet, body, ""
	}
	r, err := http.NewRequestWithContext(p.b.t.Context(), method, target.String(), strings.NewReader(body))
	if err != nil {
		p.b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.b.base)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.b.do(r)
}

// form finds the form of a button by the beginning of its words.
func (p *page) form(button string) (form, pressed *html.Node) {
	p.b.t.Helper()
	for n := range p.doc.Descendants() {
		if n.DataAtom == atom.Button && strings.HasPrefix(text(n), button) {
			for f := range n.Ancestors() {
				if f.DataAtom == atom.Form {
					return f, n
				}
			}
		}
	}
	p.b.t.Fatalf("%s has no form with a button %q:\n%s", p.url, button, p.text())
	return nil, nil
}

// follow goes to the link of these words.
func (p *page) follow(link string) *page {
	p.b.t.Helper()
	for n := range p.doc.Descendants() {
		if n.DataAtom == atom.A && strings.HasPrefix(text(n), link) {
			target, err := p.url.Parse(attr(n, "href"))
			if err != nil {
				p.b.t.Fatal(err)
			}
			return p.b.get(target.RequestURI())
		}
	}
	p.b.t.Fatalf("%s has no link %q:\n%s", p.url, link, p.text())
	return nil
}

// shows fails the test unless the page has a status and all of some words.
func (p *page) shows(status int, words ...string) *page {
	p.b.t.Helper()
	if p.status != status {
		p.b.t.Fatalf("%s: got status %d, want %d:\n%s", p.url, p.status, status, p.text())
	}
	for _, word := range words {
		if !strings.Contains(p.text(), word) {
			p.b.t.Errorf("%s does not say %q:\n%s", p.url, word, p.text())
		}
	}
	return p
}

func (p *page) hides(words ...string) *page {
	p.b.t.Helper()
	for _, word := range words {
		if strings.Contains(p.text(), word) {
			p.b.t.Errorf("%s says %q", p.url, word)
		}
	}
	return p
}

func (p *page) at(path string) *page {
	p.b.t.Helper()
	if p.url.Path != path {
		p.b.t.Errorf("at %s, want %s:\n%s", p.url.Path, path, p.text())
	}
	return p
}

func (p *page) text() string { return text(find(p.doc, atom.Body)) }
func (p *page) title() string {
	return text(find(p.doc, atom.Title))
}

// filled gives what a form would send as it stands.
func filled(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch {
		case name == "" || n.DataAtom == atom.Button:
		case n.DataAtom == atom.Textarea:
			values.Add(name, text(n))
		case n.DataAtom == atom.Select:
			for o := range n.Descendants() {
				if o.DataAtom == atom.Option && (!values.Has(name) || has(o, "selected")) {
					values.Set(name, attr(o, "value"))
				}
			}
		case n.DataAtom != atom.Input:
		case (attr(n, "type") == "radio" || attr(n, "type") == "checkbox") && !has(n, "checked"):
		default:
			values.Add(name, attr(n, "value"))
		}
	}
	return values
}

func find(root *html.Node, a atom.Atom) *html.Node {
	for n := range root.Descendants() {
		if n.DataAtom == a {
			return n
		}
	}
	return &html.Node{}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// shown gives the words of a node without what is hidden.
func shown(root *html.Node) string {
	for n := range root.Descendants() {
		if has(n, "hidden") {
			for n.FirstChild != nil {
				n.RemoveChild(n.FirstChild)
			}
		}
	}
	return text(root)
}

// text gives the words of a node, with single spaces.
func text(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		if n.DataAtom == atom.Li || n.DataAtom == atom.P || n.DataAtom == atom.Br || n.DataAtom == atom.Dd {
			b.WriteString(" ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// mustForm is the form of a button.
func mustForm(p *page, button string) *html.Node {
	p.b.t.Helper()
	form, _ := p.form(button)
	return form
}
