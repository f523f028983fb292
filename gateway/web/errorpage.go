package web

import (
	"crypto/rand"
	"net/http"
	"time"

	"mypatients/gateway/lang"
)

// ErrorPage makes the page on which other parts of the gateway tell a browser
// that a request cannot go on, as authserver.Config.ErrorPage does. It knows no
// session, and so not who is there. text is one of our own sentences; with a
// status of 500 and above it is not shown.
func ErrorPage(b Brand) (func(w http.ResponseWriter, r *http.Request, status int, text string), error) {
	b, err := b.complete()
	if err != nil {
		return nil, err
	}
	files, err := newStatic(b)
	if err != nil {
		return nil, err
	}
	sets, err := allPages(files.version, words{zone: time.UTC}) // the page has no times
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request, status int, text string) {
		id := w.Header().Get("X-Request-Id")
		if id == "" {
			id = rand.Text()
			w.Header().Set("X-Request-Id", id)
		}
		view := errorView{Code: "connect", Text: text}
		if status >= http.StatusInternalServerError {
			view = errorView{Code: "internal"}
		}
		spoken := lang.Asked(r)
		body, err := sets[spoken].render("error", frame{Brand: b, Page: "error", Path: r.URL.Path, Request: id, View: view, Here: here(r)})
		if err != nil {
			body = lastWords
		}
		secure(w.Header(), false)
		speak(w.Header(), spoken)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(body) // a browser that left does not matter
	}, nil
}

// lastWords is the page when no page can be made.
var lastWords = []byte("<!doctype html><title>Error</title><p>Something went wrong on our side.</p><p lang=\"es\">Algo salió mal de nuestro lado.</p>\n")
