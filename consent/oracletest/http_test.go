package oracletest_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"mypatients/consent"
	"mypatients/gateway/rest"
	"mypatients/smart"
)

// A server is the REST binding in front of a gate. A bearer token is the id of a
// grant that was put into grants.
type server struct {
	g      *gate
	router *gin.Engine
	grants map[string]smart.Grant
	ids    map[string]string // names for what is random, in the order in which it is met
}

func newServer(g *gate, w *world) *server {
	g.t.Helper()
	gin.SetMode(gin.TestMode)
	s := &server{g, gin.New(), map[string]smart.Grant{}, map[string]string{}}
	s.router.Use(func(c *gin.Context) { c.Header(rest.RequestIDHeader, "request-1") })
	if err := rest.Mount(s.router, rest.Config{Guard: g.guard, Base: base + "/fhir", Zone: w.zone, Authenticate: func(_ context.Context, bearer string) (smart.Grant, error) {
		grant, ok := s.grants[bearer]
		if !ok {
			return grant, &smart.Error{Code: "invalid_token", Status: http.StatusUnauthorized}
		}
		return grant, nil
	}}); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// A call is a request; headers are name, value, name, value …
type call struct {
	method, path, body string
	headers            []string
}

func (c call) String() string {
	return strings.TrimSpace(fmt.Sprint(c.method, " ", c.path, " ", c.headers, " ", c.body))
}

// do makes a call, and those to the pages that follow, or to the status and the files
// of an export, and gives every byte that comes back: status, headers, body.
func (s *server) do(who consent.Caller, c call) string {
	s.g.t.Helper()
	s.grants[who.ID] = who.Grant
	var b strings.Builder
	var files []string
	for n := 0; c.path != ""; n++ {
		if n == 300 {
			s.g.t.Fatalf("%s has no last page", c)
		}
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+who.ID)
		if c.body != "" {
			r.Header.Set("Content-Type", "application/fhir+json")
		}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		rec := httptest.NewRecorder()
		s.router.ServeHTTP(rec, r)
		fmt.Fprintln(&b, rec.Code)
		for _, name := range sortedNames(rec.Header()) {
			fmt.Fprintln(&b, name, rec.Header()[name])
		}
		fmt.Fprintln(&b, rec.Body)
		c = call{method: "GET", path: nextPage(rec.Body.String())}
		if status := rec.Header().Get("Content-Location"); status != "" && rec.Code == http.StatusAccepted {
			c.path = strings.TrimPrefix(status, base)
		}
		for _, file := range exported.FindAllStringSubmatch(rec.Body.String(), -1) {
			files = append(files, strings.TrimPrefix(file[1], base))
		}
		if c.path == "" && len(files) > 0 {
			c.path, files = files[0], files[1:]
		}
	}
	return s.named(b.String())
}

func sortedNames(h http.Header) (names []string) {
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var exported = regexp.MustCompile(`"url":"([^"]+/\$export/[^"]+)"`)

var nextLink = regexp.MustCompile(`"relation":"next","url":"([^"]+)"`)

func nextPage(body string) string {
	m := nextLink.FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	u, err := url.Parse(strings.ReplaceAll(html.UnescapeString(m[1]), `\u0026`, "&"))
	if err != nil {
		panic(err)
	}
	return u.RequestURI()
}

// What is random by nature is all that two answers may differ in: the seals of
// next-page links and of the handles of Patient Selection, of which the length stays,
// the ids of what a call creates and of exports, the ids of log entries, which are
// encrypted, and the tokens of invitations.
var (
	seals   = regexp.MustCompile(`_cursor=[^"&\\]+|"valueString":"h\.[^"]*"`)
	created = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	logged  = regexp.MustCompile(`AuditEvent/[A-Za-z0-9._-]{64}|"id":"[A-Za-z0-9._-]{64}"`)
	exports = regexp.MustCompile(`\$export/[A-Z2-7]{52}`)
	tokens  = regexp.MustCompile(`[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}`)
)

func (s *server) named(text string) string {
	text = seals.ReplaceAllStringFunc(text, func(seal string) string { return fmt.Sprintf("sealed, %d bytes", len(seal)) })
	text = logged.ReplaceAllString(text, "AuditEvent")
	text = exports.ReplaceAllString(text, "$$export/id")
	text = tokens.ReplaceAllString(text, "token")
	return created.ReplaceAllStringFunc(text, func(id string) string {
		if s.ids[id] == "" {
			s.ids[id] = fmt.Sprintf("new-%d", len(s.ids))
		}
		return s.ids[id]
	})
}
