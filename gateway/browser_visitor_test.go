package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mypatients/gateway/demo"
)

// The widths at which pages are looked at.
const (
	desktopWidth = 1280
	phoneWidth   = 390
	patience     = 30 * time.Second // for one step, on a busy machine
)

// A chrome is a Chromium with a demo that it visits.
type chrome struct {
	*gateway
	t     *testing.T
	ctx   context.Context
	clock *lateClock
	shots string            // where pictures go
	made  map[string]string // what a scene made, for addresses
	way   way
}

// lateClock runs with the real one, by which browsers let cookies go, and can be
// put forward.
type lateClock struct {
	mu   sync.Mutex
	late time.Duration
}

func (c *lateClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.late)
}

func (c *lateClock) put(late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = late
}

// withoutRaceDetector is of tests that take long under it and teach it nothing: those
// in Chromium and in Node, whose handlers the tests of package web and TestSMART race,
// and those that kill another process. `.ci/run` has a step of their own for them.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("run without the race detector")
	}
}

// startChrome starts Chromium and a demo.
func startChrome(t *testing.T) *chrome {
	t.Helper()
	clock := new(lateClock)
	return openChrome(t, clock, func() *gateway { return startDemo(t, clock.now) })
}

// openChrome starts Chromium for a gateway. Without Chromium the test is skipped,
// but fails where CI is set. Pictures of the pages go to the folder that
// SCREENSHOTS names, or to one that is thrown away.
func openChrome(t *testing.T, clock *lateClock, start func() *gateway) *chrome {
	t.Helper()
	if testing.Short() {
		t.Skip("the browser test takes long")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" && os.Getenv("CI") != "" {
		t.Fatal("there is no Chromium, which CI must have")
	}
	if path == "" {
		t.Skip("there is no Chromium")
	}
	c := &chrome{t: t, clock: clock, shots: os.Getenv("SCREENSHOTS")}
	if c.shots == "" {
		c.shots = t.TempDir()
	}
	if err := os.MkdirAll(c.shots, 0o755); err != nil {
		t.Fatal(err)
	}
	c.gateway = start()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.WindowSize(desktopWidth, 900),
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it does not work for root
	}
	allocator, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	c.ctx = ctx
	return c
}

// A visitor is a person at a browser window of their own.
type visitor struct {
	*chrome
	t       *testing.T
	name    string
	ctx     context.Context
	mu      sync.Mutex
	refused map[string]bool // pages that answered with an error, as the test expected
	errors  []chromedp.ConsoleMessage
	answer  *network.Response // of the page
	loaded  network.RequestID // of the page
	clicks  int               // and other choices, since it was set to 0
	pages   int               // that were loaded
}

// visitor opens a window for somebody, without cookies. What the console says in
// it by the end of the test must be no error.
func (c *chrome) visitor(t *testing.T, name string) *visitor {
	t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	v := &visitor{chrome: c, t: t, name: name, ctx: ctx, refused: map[string]bool{}}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(desktopWidth, 900)); err != nil {
		t.Fatal(err)
	}
	v.media("", "light")
	v.take(c.way)
	if err := chromedp.Listen(ctx, v.loads); err != nil {
		t.Fatal(err)
	}
	messages, heard := chromedp.Console(ctx), make(chan bool)
	go func() {
		defer close(heard)
		for m, err := range messages {
			if err != nil {
				return
			}
			v.hear(m)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-heard
		for _, m := range v.errors {
			if !v.refused[m.URL] {
				t.Errorf("%s: the console says %s (%s:%d)", name, m, m.URL, m.Line)
			}
		}
	})
	return v
}

func (v *visitor) hear(m chromedp.ConsoleMessage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.IsException() {
		v.errors = append(v.errors, m)
	}
}

// do runs steps with the patience of one.
func (v *visitor) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatalf("%s cannot %s: %v\n%s", v.name, what, err, v.scene())
	}
}

// goes does what leads to another page and waits for it.
func (v *visitor) goes(what string, step chromedp.Action[chromedp.Void]) *visitor {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, step)
	if err != nil {
		v.t.Fatalf("%s cannot %s: %v\n%s", v.name, what, err, v.scene())
	}
	v.answer = answer
	v.pages++
	if answer != nil && answer.Status >= http.StatusBadRequest {
		v.mu.Lock()
		v.refused[answer.URL] = true
		v.mu.Unlock()
	}
	return v
}

func (v *visitor) open(path string) *visitor {
	v.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = v.URL + path
	}
	return v.goes("open "+path, chromedp.Navigate(path))
}

// enter opens a page by way of signing in.
func (v *visitor) enter(path string) *visitor {
	v.t.Helper()
	return v.open(path).signIn()
}

// signIn signs in where that is asked.
func (v *visitor) signIn() *visitor {
	v.t.Helper()
	if strings.Contains(v.text(), "You were signed out") {
		v.follow("Sign in")
	}
	if v.at() != demo.IssuerPath+"/login" {
		return v
	}
	if strings.Contains(v.text(), "Nombre de usuario") { // the browser asks for Spanish
		v.fill("Nombre de usuario", v.name).fill("Contraseña", demo.Password)
		return v.press("Iniciar sesión")
	}
	v.fill("Username", v.name).fill("Password", demo.Password)
	return v.press("Sign in")
}

// The things on a page are found by the words that people read.
func button(words string) string {
	return fmt.Sprintf(`//button[starts-with(normalize-space(.), %q)]`, words)
}
func link(words string) string { return fmt.Sprintf(`//a[contains(normalize-space(.), %q)]`, words) }
func opener(words string) string {
	return fmt.Sprintf(`//summary[starts-with(normalize-space(.), %q)]`, words)
}
func field(words string) string {
	return fmt.Sprintf(`//*[@id = //label[starts-with(normalize-space(.), %q)]/@for]`, words)
}
func choice(words string) string {
	return fmt.Sprintf(`//label[.//input][starts-with(normalize-space(.), %q)]//input`, words)
}

// choose clicks on something, or goes there and presses a key.
func (v *visitor) choose(what, path, key string) chromedp.Action[chromedp.Void] {
	v.t.Helper()
	v.clicks++
	v.unfoldMore()
	if !v.way.keys {
		return chromedp.Click(path, chromedp.NodeVisible)
	}
	v.tabTo(what, path)
	return chromedp.KeyEvent(key)
}

func (v *visitor) press(words string) *visitor {
	v.t.Helper()
	return v.goes("press "+words, v.choose("press "+words, button(words), kb.Enter))
}

func (v *visitor) follow(words string) *visitor {
	v.t.Helper()
	return v.goes("follow "+words, v.choose("follow "+words, v.place(words), kb.Enter))
}

// place is a link of these words: on a phone, where the places to go to are in the menu,
// the one there, which is opened for it.
func (v *visitor) place(words string) string {
	v.t.Helper()
	if !v.way.phone {
		return link(words) + `[not(ancestor::nav[@class = "narrow"])]`
	}
	const shown = `[not(ancestor::nav[@class = "wide"])]`
	v.do("look into the menu", chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const first = document.evaluate(%q, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue;
		const menu = first && first.closest("details.menu");
		if (menu) menu.open = true;
	})()`, link(words)+shown)))
	return link(words) + shown
}

// unfold opens what is folded up.
func (v *visitor) unfold(words string) *visitor {
	v.t.Helper()
	v.do("unfold "+words, v.choose("unfold "+words, opener(words), kb.Enter))
	return v
}

// fill types into a field, in the place of what stood there.
func (v *visitor) fill(label, text string) *visitor {
	v.t.Helper()
	if v.way.keys {
		v.tabTo("fill in "+label, field(label))
	} else {
		v.do("choose "+label, chromedp.Focus(field(label), chromedp.NodeVisible))
	}
	v.do("fill in "+label, chromedp.Evaluate[chromedp.Void](`document.activeElement.select()`), chromedp.KeyEvent(text))
	return v
}

// tick chooses one of several, or turns a box round.
func (v *visitor) tick(words string) *visitor {
	v.t.Helper()
	v.do("tick "+words, v.choose("tick "+words, choice(words), " "))
	return v
}

// text is what stands on the page, folded-up parts left out.
func (v *visitor) text() string {
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return strings.Join(strings.Fields(text), " ")
}

func (v *visitor) address() *url.URL {
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	location, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return &url.URL{Path: err.Error()}
	}
	u, err := url.Parse(location)
	if err != nil {
		return &url.URL{Path: err.Error()}
	}
	return u
}

func (v *visitor) at() string { return v.address().Path }

func (v *visitor) scene() string { return fmt.Sprintf("at %s: %.2000s", v.address(), v.text()) }

func (v *visitor) sees(words ...string) *visitor {
	v.t.Helper()
	v.unfoldMore()
	text := v.text()
	for _, w := range words {
		if !strings.Contains(text, w) {
			v.t.Errorf("%s does not see %q, but at %s: %s", v.name, w, v.address(), text)
		}
	}
	return v
}

func (v *visitor) seesNot(words ...string) *visitor {
	v.t.Helper()
	text := v.text()
	for _, w := range words {
		if strings.Contains(text, w) {
			v.t.Errorf("%s sees %q at %s: %s", v.name, w, v.address(), text)
		}
	}
	return v
}

func (v *visitor) isAt(path string) *visitor {
	v.t.Helper()
	if got := v.at(); got != path {
		v.t.Errorf("%s is %s, want at %s", v.name, v.scene(), path)
	}
	return v
}

// shot takes pictures of the page as it is, on a desktop and on a phone. Nothing
// may stick out of a phone.
func (v *visitor) shot(name string) *visitor {
	v.t.Helper()
	if v.way.unseen {
		return v
	}
	v.picture(name, desktopWidth)
	v.do("turn to a phone", chromedp.EmulateViewport(phoneWidth, 844, chromedp.EmulateMobile, chromedp.EmulatePortrait, chromedp.EmulateScale(2)))
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	width, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
	if err != nil || width > phoneWidth {
		v.t.Errorf("%s is %d wide on a phone of %d: %v", v.address(), width, phoneWidth, err)
	}
	v.picture(name, phoneWidth)
	v.do("turn to the desktop", chromedp.EmulateViewport(desktopWidth, 900))
	return v
}

// dark takes a picture in the colours of the night.
func (v *visitor) dark(name string) *visitor {
	v.t.Helper()
	if v.way.unseen {
		return v
	}
	v.media("", "dark")
	v.picture(name+"-dark", desktopWidth)
	v.media("", "light")
	return v
}

// printed takes a picture of what would be on paper.
func (v *visitor) printed(name string) *visitor {
	v.t.Helper()
	if v.way.unseen {
		return v
	}
	v.media("print", "light")
	v.picture(name+"-paper", desktopWidth)
	v.media("", "light")
	return v
}

// media has the page shown on a medium, in a scheme of colours. Nothing moves, so
// that pictures show how things are and not how they come to be.
func (v *visitor) media(medium, scheme string) {
	v.t.Helper()
	v.do("change the medium", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	}))
}

func (v *visitor) picture(name string, width int) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	image, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		v.t.Fatalf("no picture of %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(v.shots, fmt.Sprintf("%s-%d.png", name, width)), image, 0o644); err != nil {
		v.t.Fatal(err)
	}
}
