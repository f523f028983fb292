package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/gateway/rest"
)

// newRouter makes the router with what every request goes through.
func newRouter(log *slog.Logger, m *metrics, https bool, proxies []string) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false
	r.ContextWithFallback = true
	if err := r.SetTrustedProxies(proxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	r.Use(identify, secure(https), record(log, m), recoverPanics(log), comeBack)
	r.NoRoute(func(c *gin.Context) { plain(c, http.StatusNotFound, "There is nothing at this address.") })
	r.NoMethod(func(c *gin.Context) { plain(c, http.StatusMethodNotAllowed, "This is not supported here.") })
	return r, nil
}

// identify gives a request its id: the caller's own, if it looks like one
// (https://hl7.org/fhir/R4/http.html#custom), or a random one.
func identify(c *gin.Context) {
	id := c.GetHeader(rest.RequestIDHeader)
	if !goodRequestID(id) {
		var random [12]byte
		_, _ = rand.Read(random[:]) // never fails
		id = hex.EncodeToString(random[:])
	}
	c.Header(rest.RequestIDHeader, id)
}

func goodRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) < 0
}

// secure sets the headers that are right for every answer. Pages set stricter
// ones of their own.
func secure(https bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		h := c.Writer.Header()
		h["X-Content-Type-Options"] = noSniff
		h["X-Frame-Options"] = deny
		h["Referrer-Policy"] = noReferrer
		if https {
			h["Strict-Transport-Security"] = transport
		}
	}
}

// comeBack says with every 503 when to try again, and that it is not to be kept.
func comeBack(c *gin.Context) { c.Writer = &comingBack{c.Writer} }

type comingBack struct{ gin.ResponseWriter }

// Unwrap is for http.ResponseController.
func (w *comingBack) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *comingBack) WriteHeader(status int) {
	if status == http.StatusServiceUnavailable {
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "30")
		}
		w.Header().Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Header values made once, as requests are many.
var (
	noSniff    = []string{"nosniff"}
	deny       = []string{"DENY"}
	noReferrer = []string{"no-referrer"}
	transport  = []string{"max-age=63072000"}
)

// record writes the one log event of a request and counts it. It names the
// route, not the path, and no query: neither may hold anybody's data. Addresses
// and people are for the audit log.
func record(log *slog.Logger, m *metrics) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		c.Next()
		took := time.Since(start)
		route, status := c.FullPath(), c.Writer.Status()
		if name := c.GetString(rest.LogInteraction); name != "" {
			route = "fhir " + name
		}
		if route == "" {
			route = "none"
		}
		m.observe(route, c.Request.Method, status, took)
		level := slog.LevelInfo
		switch {
		case status >= http.StatusInternalServerError:
			level = slog.LevelError
		case strings.HasPrefix(route, "/static/") || route == "/healthz" || route == "/readyz" || route == "/metrics":
			level = slog.LevelDebug
		}
		if !log.Enabled(c.Request.Context(), level) {
			return
		}
		attrs := []slog.Attr{
			slog.String("id", c.Writer.Header().Get(rest.RequestIDHeader)), slog.String("method", method(c.Request.Method)),
			slog.String("route", route), slog.Int("status", status), slog.Float64("ms", float64(took.Microseconds())/1000), slog.Int("bytes", max(c.Writer.Size(), 0)),
		}
		if client := c.GetString(rest.LogClient); client != "" {
			attrs = append(attrs, slog.String("client", client), slog.String("grant", c.GetString(rest.LogGrant)))
		}
		for _, e := range c.Errors {
			attrs = append(attrs, slog.String("error", e.Error()))
		}
		log.LogAttrs(c.Request.Context(), level, "request", attrs...)
	}
}

// method keeps made-up methods out of logs and metrics.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return m
	}
	return "OTHER"
}

// recoverPanics turns a panic into a 500 that says nothing. An answer that has
// begun is cut off, so that half of one is not taken for the whole.
func recoverPanics(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			log.LogAttrs(c.Request.Context(), slog.LevelError, "panic",
				slog.String("id", c.Writer.Header().Get(rest.RequestIDHeader)), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
			if c.Writer.Written() {
				panic(http.ErrAbortHandler)
			}
			c.Abort()
			failed(c)
		}()
		c.Next()
	}
}

// failed answers when a handler could not.
func failed(c *gin.Context) {
	if strings.HasPrefix(c.FullPath(), "/fhir") {
		rest.Fail(c, errors.New("panic"))
		return
	}
	plain(c, http.StatusInternalServerError, "Something went wrong here. The id of this request is "+c.Writer.Header().Get(rest.RequestIDHeader)+".")
}

// plain answers with a line of text, or as FHIR does below its base.
func plain(c *gin.Context, status int, text string) {
	if strings.HasPrefix(c.Request.URL.Path, "/fhir/") {
		rest.Refuse(c, status, text)
		return
	}
	c.String(status, "%s\n", text)
}

// loopbackOnly keeps the demo to its own machine: a page of the wide web that had
// its name point here would else reach it. A browser that came by another name
// of the machine is sent to the one that sign-in and cookies are for.
func loopbackOnly(base string) gin.HandlerFunc {
	own := strings.TrimPrefix(base, "http://")
	return func(c *gin.Context) {
		host := c.Request.Host
		switch {
		case host == own:
		case !config.Loopback(host):
			c.Abort()
			plain(c, http.StatusMisdirectedRequest, "The demo answers at "+base+" only.")
		case c.Request.Method == http.MethodGet && strings.Contains(c.GetHeader("Accept"), "text/html"):
			c.Abort()
			c.Redirect(http.StatusTemporaryRedirect, base+c.Request.URL.RequestURI())
		}
	}
}
