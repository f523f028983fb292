package main

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A way is how somebody uses the pages; the zero way is on a desktop, with a mouse
// and with scripts.
type way struct {
	phone     bool
	noScripts bool
	keys      bool // the keyboard alone
	unseen    bool // no pictures are taken
}

// TestBrowserWays plays the six paths of the story as people do who have a phone,
// no scripts, or only a keyboard.
func TestBrowserWays(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	for name, w := range map[string]way{
		"phone":                 {phone: true, unseen: true},
		"phone without scripts": {phone: true, noScripts: true, unseen: true},
		"without scripts":       {noScripts: true, unseen: true},
		"keyboard":              {keys: true, unseen: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := *c
			as.way, as.gateway = w, startDemo(t, c.clock.now)
			t.Run("primary care sees the record", as.primaryCare)
			t.Run("the care team sees the record", as.careTeam)
			t.Run("a request is approved and stopped", as.request)
			t.Run("nobody has an account", as.noAccount)
			t.Run("a token opens the record once", as.token)
			t.Run("registration comes first", as.registration)
		})
	}
}

// TestTaskCost counts clicks and pages from sign-in to the end of the tasks that
// people come for.
func TestTaskCost(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	c.way.unseen = true
	const most = 5
	cost := func(task string, v *visitor) {
		t.Helper()
		t.Logf("%-16s %d clicks, %d pages", task, v.clicks, v.pages)
		if v.clicks > most || v.pages > most {
			t.Errorf("%s takes %d clicks and %d pages, more than %d", task, v.clicks, v.pages, most)
		}
	}
	// A start is somebody who has just signed in: the first page is loaded.
	start := func(who, path string) *visitor {
		v := c.visitor(t, who).enter(path)
		v.clicks, v.pages = 0, 1
		return v
	}
	okafor := start("dr.okafor", "/").fill("Medical record number", "1001").press("Find patient").follow("Request non-PCP access")
	cost("request sent", okafor.fill("Why you ask", "A heart murmur.").press("Request access").sees("Your request was sent"))
	cost("approved", start("grace", "/patient").follow("Read and answer").press("Approve").sees("can now see the record"))
	cost("revoked", start("grace", "/patient").follow("Who can see").follow("Stop access").press("Stop access").sees("can no longer see the record"))
	grace := c.visitor(t, "grace").enter("/patient/pt-1/invitations").press("Make an invitation")
	baker := start("dr.baker", "/").follow("Validate a Token").fill("Token", tokenForm.FindString(grace.text())).fill("MRN", "1001")
	cost("token validated", baker.press("Submit").sees("Your token was accepted"))
}

// take begins a visitor's window in the chosen way.
func (v *visitor) take(w way) {
	v.t.Helper()
	if w.phone {
		v.do("take a phone", chromedp.EmulateViewport(phoneWidth, 844, chromedp.EmulateMobile, chromedp.EmulatePortrait))
	}
	if w.noScripts {
		v.do("switch scripts off", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return err
		}))
	}
}

// unfoldMore unfolds what a phone folds up about a patient.
func (v *visitor) unfoldMore() {
	v.t.Helper()
	if v.way.phone {
		v.do("unfold more", chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details.more").forEach(d => d.open = true)`))
	}
}

// A stop is where the focus is.
type stop struct {
	Here   bool   `json:"here"`   // on what was looked for
	Beside bool   `json:"beside"` // on another button of its group of radio buttons
	Lost   string `json:"lost"`   // what has the focus without showing it
}

// tabTo moves the focus with the keyboard. Wherever it is on the way, people must
// see it: within the window, with the ring of the design system around it.
func (v *visitor) tabTo(what, path string) {
	v.t.Helper()
	script := fmt.Sprintf(`(() => {
		const e = document.activeElement, found = document.evaluate(%s, document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
		const stop = {here: false, beside: false, lost: ""};
		for (let i = 0; i < found.snapshotLength; i++) {
			const want = found.snapshotItem(i);
			stop.here ||= want === e;
			stop.beside ||= want.type === "radio" && e.type === "radio" && want.name === e.name && want.form === e.form;
		}
		const look = getComputedStyle(e), box = e.getBoundingClientRect();
		const ringed = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 3 && look.outlineColor !== "rgba(0, 0, 0, 0)";
		const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
		if (e !== document.body && e.id !== "main" && !(ringed && inside)) stop.lost = e.outerHTML.slice(0, 120);
		return stop;
	})()`, strconv.Quote(path))
	for range 200 {
		at := evaluate[stop](v, script)
		if at.Lost != "" {
			v.t.Errorf("%s: the focus does not show on %s", v.at(), at.Lost)
		}
		if at.Here {
			return
		}
		key := kb.Tab
		if at.Beside {
			key = kb.ArrowDown
		}
		v.do("move the focus", chromedp.KeyEvent(key))
	}
	v.t.Fatalf("%s cannot %s: the keyboard does not lead there\n%s", v.name, what, v.scene())
}
