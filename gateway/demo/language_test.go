package demo_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mypatients/gateway/demo"
	"mypatients/gateway/lang"
)

// What the templates and the people say has a translation, and no translation is
// left over.
func TestEverySentenceOfTheDemoIsTranslated(t *testing.T) {
	words, err := os.ReadFile("pages/es.txt")
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := lang.Read(string(words))
	if err != nil {
		t.Fatal(err)
	}
	used := map[lang.Source]bool{}
	find := func(where string, s lang.Source) string {
		e, ok := catalogue.Find(s)
		if !ok {
			t.Errorf("%s: pages/es.txt has no translation of\n%s", where, s.Text)
		}
		used[e.Source] = true
		return s.Text
	}
	names, err := filepath.Glob("pages/*.html")
	if err != nil || len(names) < 5 {
		t.Fatalf("%d templates: %v", len(names), err)
	}
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lang.Translate(string(source), func(s lang.Source) string { return find(name, s) }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range demo.People() {
		find("a person's part", lang.Source{Text: p.Part})
	}
	for _, said := range []string{"Demo app", "Demo app with a secret", "per minute"} { // of app.go and app_gateway.go
		find("the app", lang.Source{Text: said})
	}
	for _, e := range catalogue.Entries() {
		if !used[e.Source] {
			t.Errorf("pages/es.txt: nothing says any more\n%s", e.Text)
		}
	}
}

// The app's page is in the language that was chosen in the browser, else in the one
// that it asks for, and leads to the other.
func TestDemoLanguage(t *testing.T) {
	app := demo.App("http://127.0.0.1:8080", http.DefaultClient)
	for _, c := range []struct{ asks, chosen, lang, says, leads string }{
		{"", "", "en", "This is a small app", `href="/language?next=%2Fdemo%2Fapp&amp;to=es" lang="es"`},
		{"es-MX,es;q=0.9", "", "es", "Es una aplicación pequeña", `href="/language?next=%2Fdemo%2Fapp&amp;to=en" lang="en"`},
		{"es", "en", "en", "This is a small app", "Español"},
		{"", "es", "es", "Página de inicio", "English"},
		{"", "xx", "en", "Start page", "Español"},
	} {
		r := httptest.NewRequest(http.MethodGet, demo.AppPath, nil)
		r.Header.Set("Accept-Language", c.asks)
		r.AddCookie(&http.Cookie{Name: lang.Cookie, Value: c.chosen})
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		page := w.Body.String()
		if w.Header().Get("Content-Language") != c.lang || w.Header().Get("Vary") != "Accept-Language, Cookie" {
			t.Errorf("%+v: headers %v", c, w.Header())
		}
		for _, want := range []string{`<html lang="` + c.lang + `">`, c.says, c.leads} {
			if !strings.Contains(page, want) {
				t.Errorf("%+v: %q is not on the page:\n%s", c, want, page)
			}
		}
	}
}
