package demo

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"mypatients/gateway/lang"
)

//go:embed pages
var files embed.FS

// pages are the templates in each language, translated before they are parsed; the
// words are in pages/es.txt. They are read when the first page is asked for: most
// runs of the program are no demo.
var pages = sync.OnceValue(func() map[lang.Language]*template.Template {
	return map[lang.Language]*template.Template{
		lang.English: template.Must(parsePages(lang.English, "")),
		lang.Spanish: template.Must(parsePages(lang.Spanish, "pages/es.txt")),
	}
})

// parsePages reads the templates in a language, with the file of its words.
func parsePages(l lang.Language, words string) (*template.Template, error) {
	known := ""
	if words != "" {
		read, err := fs.ReadFile(files, words)
		if err != nil {
			return nil, err
		}
		known = string(read)
	}
	catalogue, err := lang.Read(known)
	if err != nil {
		return nil, err
	}
	root := template.New("").Funcs(template.FuncMap{
		"lang": func() string { return string(l) },
		"said": func(english string) string { s, _ := catalogue.Text(english); return s },
		"day":  l.Day,
		"time": l.Clock,
	})
	err = lang.TranslateFiles(files, "pages/*.html", catalogue.Say, func(name, text string) error {
		_, err := root.New(name).Parse(text)
		return err
	})
	return root, err
}

// A frame is what stands round every page.
type frame struct {
	Title, Content template.HTML
	Narrow         bool
	Language       lang.Language // the other one
	Switch         string        // leads to this page in it
}

// render writes a page, "NAME:title" and "NAME:content" of the templates, in the
// language that the browser asks for. Here is the address of the page, for coming
// back to it. Its policy names no form-action: browsers apply that to the whole
// chain of redirects behind a form, which here ends at other origins.
func render(w http.ResponseWriter, r *http.Request, status int, page, here string, data any) {
	spoken := lang.Asked(r)
	f := frame{Narrow: page == "login" || page == "stale" || page == "signed-out", Language: lang.Spanish}
	if spoken == lang.Spanish {
		f.Language = lang.English
	}
	f.Switch = "/language?" + url.Values{"to": {string(f.Language)}, "next": {here}}.Encode()
	var b bytes.Buffer
	part := func(name string, data any) template.HTML {
		b.Reset()
		if err := pages()[spoken].ExecuteTemplate(&b, name, data); err != nil {
			return ""
		}
		return template.HTML(b.String()) // of a template, which has escaped it
	}
	f.Title, f.Content = part(page+":title", data), part(page+":content", data)
	whole := part("layout", f)
	if f.Title == "" || f.Content == "" || whole == "" {
		http.Error(w, "This page could not be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(spoken))
	h.Add("Vary", "Accept-Language, Cookie")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(whole))
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "pages/style.css")
}
