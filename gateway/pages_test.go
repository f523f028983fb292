package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPages meets every page in every state, and tests what holds on all of them:
// accessibility (axe-core) in both themes and at both widths, valid HTML, security
// headers, tokens in forms, zoom, size, layout that stays where it is, a silent
// console. SCREENSHOTS=DIR keeps pictures of them all.
func TestPages(t *testing.T) {
	withoutRaceDetector(t)
	c := startScene(t, "A heart murmur was heard at school.", nil)
	fillAlbum(t, c, tours)
}

// fillAlbum has everybody on a tour go on it, and looks at all that they met.
func fillAlbum(t *testing.T, c *chrome, tours []tour) {
	t.Helper()
	modules := nodeModules(t, pagesFolder)
	a := &album{
		chrome: c, axe: string(readFile(t, filepath.Join(modules, "axe-core", "axe.min.js"))), look: string(readFile(t, filepath.Join(pagesFolder, "look.js"))),
		sources: map[string]string{}, sizes: map[string]int{},
	}
	t.Run("tour", func(t *testing.T) {
		for _, tour := range tours {
			t.Run(tour.who, func(t *testing.T) {
				t.Parallel()
				a.tour(t, tour)
			})
		}
	})
	t.Run("valid HTML", func(t *testing.T) { validHTML(t, modules, a.sources) })
	a.report(t)
}

const pagesFolder = "testdata/pages"

// An album is what all tours bring home.
type album struct {
	*chrome
	axe, look string // scripts

	mu      sync.Mutex
	sources map[string]string // page → HTML
	sizes   map[string]int    // page → bytes with all that it loads
	waits   []float64         // milliseconds until the first byte
}

func (a *album) tour(t *testing.T, tour tour) {
	v := a.visitor(t, tour.who)
	if tour.who != "" {
		v.enter(demoSignIn + "/notices")
	}
	for _, state := range tour.states {
		t.Run(state.name, func(t *testing.T) {
			v.t = t
			for _, step := range state.reach {
				step(v)
			}
			if state.name != "demo-app" && state.name != "authorize-ehr" && strings.Contains(v.text(), "Page not found") != strings.Contains(state.name, "not-f") {
				t.Errorf("this is another page: %s", v.scene())
			}
			a.keep(v, state)
		})
	}
	v.t = t
}

// A finding is what look.js gives.
type finding struct {
	Wrong []string `json:"wrong"`
	Shift float64  `json:"shift"` // CLS
	Bytes int      `json:"bytes"`
	Wait  float64  `json:"wait"`
	Width int      `json:"width"`
}

// keep looks at a page from all sides.
func (a *album) keep(v *visitor, state pageState) {
	v.t.Helper()
	headers(v, state)
	seen := evaluate[finding](v, a.look, chromedp.EvalAwaitPromise)
	for _, wrong := range seen.Wrong {
		v.t.Error(wrong)
	}
	if seen.Shift > 0.01 { // a tenth of what is held to be good
		v.t.Errorf("the layout shifts by %v", seen.Shift)
	}
	if seen.Bytes == 0 || seen.Bytes > 150_000 {
		v.t.Errorf("the page has %d bytes", seen.Bytes)
	}
	source := v.source()
	a.mu.Lock()
	a.sources[state.name], a.sizes[state.name] = source, seen.Bytes
	a.waits = append(a.waits, seen.Wait)
	a.mu.Unlock()

	v.fits(desktopWidth)
	evaluate[chromedp.Void](v, a.axe+"; void 0")
	a.accessible(v, "on a desktop", everyRule)
	v.snap(state.name, desktopWidth)
	v.media("", "dark")
	a.accessible(v, "on a desktop, in the dark", colourRules)
	// Letters twice as large, then everything twice as large.
	v.letters(32)
	v.fits(desktopWidth)
	v.letters(16)
	evaluate[chromedp.Void](v, `document.querySelectorAll("details:not(.menu)").forEach(d => d.open = true)`)
	v.resize(desktopWidth / 2)
	v.fits(desktopWidth / 2)

	v.resize(narrowWidth)
	v.fits(narrowWidth)
	a.accessible(v, "on a small phone, in the dark", everyRule)
	v.snap(state.name, narrowWidth)
	v.media("", "light")
	a.accessible(v, "on a small phone", colourRules)
	v.resize(desktopWidth)
}

const narrowWidth = 320

// What axe-core looks for; what does not depend on colours is not asked twice at
// one width.
const (
	everyRule   = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	colourRules = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

func (a *album) accessible(v *visitor, where, rules string) {
	v.t.Helper()
	found := evaluate[[]string](v, `axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"], rules: {"region": {enabled: true}}}).then(r =>
		r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.failureSummary.replace(/\s+/g, " ") + " " + n.html.slice(0, 160))))`, chromedp.EvalAwaitPromise)
	for _, violation := range found {
		v.t.Errorf("%s: %s", where, violation)
	}
}

// headers checks how a page is protected. The demo's own pages have no scripts.
func headers(v *visitor, state pageState) {
	v.t.Helper()
	if v.answer == nil {
		v.t.Error("there was no answer")
		return
	}
	got := http.Header{}
	for name, value := range v.answer.Headers {
		got.Set(name, fmt.Sprint(value))
	}
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
		"Permissions-Policy": "camera=(), geolocation=(), microphone=()", "Content-Type": "text/html; charset=utf-8",
	}
	policy := []string{"default-src 'none'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"}
	if strings.HasPrefix(state.route, "/demo") && state.route != "/demo/components" {
		delete(want, "Permissions-Policy")
	} else {
		policy = append(policy, "script-src 'self'", "img-src 'self'")
	}
	for name, value := range want {
		if got.Get(name) != value {
			v.t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
	directives := strings.Split(got.Get("Content-Security-Policy"), "; ")
	for _, directive := range policy {
		if !slices.Contains(directives, directive) {
			v.t.Errorf("the content security policy lacks %s: %q", directive, directives)
		}
	}
	if strings.Contains(got.Get("Content-Security-Policy"), "unsafe") || got.Get("X-Request-Id") == "" {
		v.t.Errorf("got policy %q, request id %q", got.Get("Content-Security-Policy"), got.Get("X-Request-Id"))
	}
}

// validHTML has html-validate read all pages. It needs nothing but Node, which the
// tests of clients need as well; the checker of the W3C would need Java.
func validHTML(t *testing.T, modules string, sources map[string]string) {
	folder := filepath.Dir(modules)
	given, err := json.Marshal(sources)
	if err != nil {
		t.Fatal(err)
	}
	script := string(readFile(t, filepath.Join(pagesFolder, "validate.mjs")))
	run := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", script)
	run.Dir, run.Stdin = folder, bytes.NewReader(given)
	var said bytes.Buffer
	run.Stderr = &said
	out, err := run.Output()
	if err != nil {
		t.Fatalf("html-validate: %v %s", err, &said)
	}
	var wrong [][2]string
	if err := json.Unmarshal(out, &wrong); err != nil || len(sources) == 0 {
		t.Fatalf("got %s for %d pages: %v", out, len(sources), err)
	}
	for _, w := range wrong {
		t.Errorf("%s: %s", w[0], w[1])
	}
}

// report prints figures, and fails only where no busy machine can be the reason.
func (a *album) report(t *testing.T) {
	if len(a.waits) == 0 {
		return
	}
	slices.Sort(a.waits)
	largest, size := "", 0
	for name, n := range a.sizes {
		if n > size {
			largest, size = name, n
		}
	}
	median := a.waits[len(a.waits)/2]
	t.Logf("%d pages; first byte after %.0f ms (median), %.0f ms (longest); the largest is %s with %d bytes", len(a.sizes), median, a.waits[len(a.waits)-1], largest, size)
	if median > 1000 {
		t.Errorf("the first byte takes %.0f ms", median)
	}
}

// TestEveryPageIsInTheTable compares the table of pages with the router.
func TestEveryPageIsInTheTable(t *testing.T) {
	g := sharedDemo(t)
	routed, known := map[string]bool{}, map[string]bool{}
	for _, r := range g.routes() {
		page := r.Method == http.MethodGet && !slices.ContainsFunc(notPages, func(p string) bool {
			return r.Path == p || strings.HasPrefix(r.Path, p) && (strings.HasSuffix(p, "/") || strings.HasPrefix(r.Path, p+"/") && p != "/signin")
		})
		routed[r.Path] = routed[r.Path] || page
	}
	for _, tour := range tours {
		for _, state := range tour.states {
			known[state.route] = true
			if _, ok := routed[state.route]; !ok && state.route != "" {
				t.Errorf("%s: there is no route %s", state.name, state.route)
			}
		}
	}
	for path, page := range routed {
		if page && !known[path] {
			t.Errorf("the table of pages lacks %s", path)
		}
	}
}
