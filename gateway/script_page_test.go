package main

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// formOf finds a button by the beginning of its words, and its form.
func formOf(doc *html.Node, button string) (form, pressed *html.Node) {
	for n := range doc.Descendants() {
		if n.DataAtom != atom.Button || !strings.HasPrefix(words(n), button) {
			continue
		}
		for f := range n.Ancestors() {
			if f.DataAtom == atom.Form {
				return f, n
			}
		}
	}
	return nil, nil
}

// linkOf finds a link by the beginning of its words.
func linkOf(doc *html.Node, text string) *html.Node {
	for n := range doc.Descendants() {
		if n.DataAtom == atom.A && strings.HasPrefix(words(n), text) {
			return n
		}
	}
	return nil
}

func hasField(root *html.Node, name string) bool {
	for n := range root.Descendants() {
		if n.DataAtom != atom.Button && attribute(n, "name") == name {
			return true
		}
	}
	return false
}

// asFilled gives what a form would send as it stands.
func asFilled(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		name, kind := attribute(n, "name"), attribute(n, "type")
		switch {
		case name == "" || n.DataAtom == atom.Button:
		case n.DataAtom == atom.Textarea:
			values.Add(name, words(n))
		case n.DataAtom == atom.Select:
			for o := range n.Descendants() {
				if o.DataAtom == atom.Option && (!values.Has(name) || given(o, "selected")) {
					values.Set(name, attribute(o, "value"))
				}
			}
		case n.DataAtom == atom.Input && ((kind != "radio" && kind != "checkbox") || given(n, "checked")):
			values.Add(name, attribute(n, "value"))
		}
	}
	return values
}

func given(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// words gives what a node shows, with single spaces.
func words(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.DataAtom != atom.Title && n.Parent.DataAtom != atom.Style && n.Parent.DataAtom != atom.Script {
			b.WriteString(n.Data)
		}
		switch n.DataAtom {
		case atom.Li, atom.P, atom.Br, atom.Dd, atom.Dt, atom.Td, atom.Th, atom.H1, atom.H2, atom.H3, atom.Div, atom.Label, atom.Span:
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func titleOf(doc *html.Node) string {
	for n := range doc.Descendants() {
		if n.DataAtom == atom.Title && n.FirstChild != nil {
			return n.FirstChild.Data
		}
	}
	return ""
}
