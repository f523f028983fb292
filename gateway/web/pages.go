package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"unicode/utf8"

	"mypatients/gateway/lang"
	"mypatients/smart"
)

//go:embed templates/*.html
var templateFiles embed.FS

// A frame is what the layout around every page needs. View is the page's own.
type frame struct {
	Brand    Brand
	Page     string
	Path     string
	Request  string // id, shown on error pages
	CSRF     string
	Account  string // the name of the login; empty when nobody is signed in
	Person   string // the name of the person in the role
	Role     smart.Role
	Roles    bool // there are others to change to
	Flash    *flash
	Problems problems
	View     any
	Here     string // the address of the page, to come back to

	Title, Content template.HTML // made by render, for the layout
}

// MayUndo reports whether the page offers to undo what was just done.
func (f frame) MayUndo() bool { return f.Flash != nil && f.Flash.Undo != "" && f.Flash.At == f.Path }

// Problem gives the code of what is wrong with a field, or "".
func (f frame) Problem(field string) string { return f.Problems[field] }

// Pages holds the parsed templates of all pages.
type pages struct{ all *template.Template }

// parsePages parses every template, so that a mistake stops the program and not
// a person. A page "x" is the two blocks "x:title" and "x:content".
func parsePages(version string, w words, t translation) (pages, error) {
	root := template.New("")
	root.Funcs(template.FuncMap{
		"kinds":      func(list []string) (template.HTML, error) { return listed(root, w.lang, "kind", list) },
		"lang":       func() lang.Language { return w.lang },
		"languages":  w.languages,
		"said":       t.said,
		"shortMonth": w.lang.ShortMonth,
		"static":     func(file string) string { return "/static/" + file + "?v=" + version },
		"day":        w.day,
		"time":       w.time,
		"now":        w.now,
		"lastDay":    w.lastDay,
		"date":       w.date,
		"input":      w.input,
		"age":        w.age,
		"ago":        w.ago,
		"initials":   initials,
		"first":      first,
		"groups":     groups,
		"private":    private,
		"guarded":    guarded,
		"ranges":     ranges,
		"dict":       dict,
		"ordinal":    w.lang.Ordinal,
	}).Option("missingkey=error")
	all, err := t.parse(root)
	if err != nil {
		return pages{}, err
	}
	for _, t := range all.Templates() {
		if name, ok := strings.CutSuffix(t.Name(), ":content"); ok && all.Lookup(name+":title") == nil {
			return pages{}, fmt.Errorf("web: page %s has no title", name)
		}
	}
	return pages{all}, nil
}

// names lists the pages.
func (p pages) names() []string {
	var names []string
	for _, t := range p.all.Templates() {
		if name, ok := strings.CutSuffix(t.Name(), ":content"); ok {
			names = append(names, name)
		}
	}
	return names
}

// render makes a page: its title and its content first, then the layout around
// them. Both are made, and so escaped, as text of HTML, which is where the layout
// puts them; the title's element holds text alone.
func (p pages) render(name string, f frame) ([]byte, error) {
	var title, content, b bytes.Buffer
	if err := p.all.ExecuteTemplate(&title, name+":title", f); err != nil {
		return nil, err
	}
	if err := p.all.ExecuteTemplate(&content, name+":content", f); err != nil {
		return nil, err
	}
	f.Title, f.Content = template.HTML(title.String()), template.HTML(content.String())
	if err := p.all.ExecuteTemplate(&b, "layout", f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// dict makes the argument of a template that needs several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict needs names and values in turn")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict needs names that are texts")
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// nextQuery writes the parameter that leads back to an address.
func nextQuery(address string) string { return url.Values{"next": {address}}.Encode() }

// initials gives up to two letters for a person without a picture.
func initials(name string) string {
	var letters []rune
	for _, word := range strings.Fields(name) {
		if strings.HasSuffix(word, ".") { // Dr.
			continue
		}
		r, _ := utf8.DecodeRuneInString(word)
		letters = append(letters, r)
	}
	if len(letters) > 2 {
		letters = []rune{letters[0], letters[len(letters)-1]}
	}
	return strings.ToUpper(string(letters))
}

// first gives the first word of a name, to speak of a child by.
func first(name string) string {
	for word := range strings.FieldsSeq(name) {
		return word
	}
	return ""
}

// groups cuts a token where it is written with dashes, to show it in pieces.
func groups(token string) []string { return strings.Split(token, "-") }

// listed writes each of several values by a template, and joins what it wrote as
// people join things in a sentence.
func listed[T any](all *template.Template, l lang.Language, name string, values []T) (template.HTML, error) {
	var parts []string
	for _, value := range values {
		var b strings.Builder
		if err := all.ExecuteTemplate(&b, name, value); err != nil {
			return "", err
		}
		parts = append(parts, b.String())
	}
	return template.HTML(l.List(parts)), nil // the parts are HTML, by html/template
}
