package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/smart"
)

// TestBrowserUndoGoes: what can be undone for a moment goes from the page by itself, without
// anything else moving; and the gateway keeps to the same time.
func TestBrowserUndoGoes(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	c.way.unseen = true
	h := &household{c, c.visitor(t, "grace"), c.signedIn(t, "dr.okafor")}
	h.mother.enter("/patient")
	h.approveAll(t)
	h.mother.do("have the page's clock run faster", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `const later = window.setTimeout; window.setTimeout = (act, after) => later(act, after / 100);`})
		return err
	}))
	where := `document.querySelector("main h1").getBoundingClientRect().top`
	h.mother.follow("Who can see").follow("Stop access").press("Stop access")
	before := evaluate[float64](h.mother, where)
	h.mother.do("wait for the offer to go", chromedp.WaitReady(`//form[contains(@class, "spent")]`))
	h.mother.sees("can no longer see the record")
	if after := evaluate[float64](h.mother, where); after != before {
		t.Errorf("the page moves from %v to %v", before, after)
	}
	if evaluate[string](h.mother, `getComputedStyle(document.querySelector("[name=undo]")).visibility`) != "hidden" {
		t.Error("the offer is still there")
	}
	// Whoever has the page of somebody without scripts finds the button there later.
	h.mother.do("bring it back", chromedp.Evaluate[chromedp.Void](`document.querySelector("form.spent").classList.remove("spent")`))
	c.clock.put(consent.UndoTime + time.Minute)
	h.mother.press("Undo").sees("This can no longer be undone")
	h.opens(t, "/patients/pt-1", false)
}

// TestBrowserInSpanish goes through the family's story as a browser that asks for
// Spanish shows it: a request, the approval, who can see, the stop and its undoing.
func TestBrowserInSpanish(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	c.way.phone = true
	c.way.unseen = true
	h := &household{c, c.visitor(t, "grace"), c.signedIn(t, "dr.okafor")}
	h.asks(h.okafor, "1001")
	grace := h.mother
	grace.do("ask for Spanish", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "es-MX,es;q=0.9"}})
		return err
	}))
	grace.enter("/patient").sees("Dr. Samir Okafor", "Desea ver el expediente de Mateo Rivera").seesNot("Wants to see", "waiting")
	if lang := evaluate[string](grace, `document.documentElement.lang`); lang != "es" {
		t.Errorf("the page is in %s", lang)
	}
	grace.follow("Leer y responder").sees("Quién").seesNot("Who is asking").press("Aprobar").isAt("/patient").sees("ya puede ver el expediente")
	h.opens(t, "/patients/pt-1", true)
	grace.follow("Quién puede ver").sees("Dr. Samir Okafor").follow("Dejar de permitir el acceso").press("Dejar de permitir el acceso").sees("ya no puede ver el expediente", "Puede deshacerlo durante 10 segundos").seesNot("Undo", "no longer")
	h.opens(t, "/patients/pt-1", false)
	grace.press("Deshacer").sees("puede ver de nuevo el expediente")
	h.opens(t, "/patients/pt-1", true)
	grace.open("/patient/pt-1/activity").sees("deshizo").seesNot("looked at")
}

// comes has an upstream sign in whoever comes by a browser, as strongly as it is asked.
func (u *upstream) comes(who string) {
	u.Config.Handler.(*http.ServeMux).HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		u.stage.clock.set(now)
		u.asked = r.URL.Query()
		u.who = map[string]any{"sub": who, "acr": "pwd"}
		if slices.Contains(strings.Fields(u.asked.Get("acr_values")), "mfa") {
			u.who = map[string]any{"sub": who, "acr": "mfa", "auth_time": now.Unix()}
		}
		http.Redirect(w, r, u.asked.Get("redirect_uri")+"?"+url.Values{"code": {"c"}, "state": {u.asked.Get("state")}}.Encode(), http.StatusSeeOther)
	})
}

// startStrict starts a demo with a second issuer, whose people must prove anew who they
// are before they let somebody into a record. Grace signs in there too.
func startStrict(t *testing.T, now func() time.Time, changes ...func(*config.Config)) *gateway {
	t.Helper()
	u := newUpstream(&stage{t: t, clock: new(handClock)})
	u.comes("grace")
	changes = append(changes, func(c *config.Config) {
		up := u.config()
		up.StepUpACR, up.StepUpMinutes = []string{"mfa"}, 5
		c.Issuers = []config.Issuer{up}
	})
	g := startDemoIn(t, t.TempDir(), "127.0.0.1:0", now, changes...)
	if _, err := g.core.guard.LinkAccount(t.Context(), u.URL, "grace", "Grace Rivera", "", consent.Link{Role: smart.Proxy, Person: "RelatedPerson/rp-1"}); err != nil {
		t.Fatal(err)
	}
	return g
}

const strictSignIn = "/signin?provider=up&next=/patient"

// TestBrowserStepUp approves a request at an issuer that wants a stronger sign-in first.
// To stop the access takes none, nor does undoing that.
func TestBrowserStepUp(t *testing.T) {
	withoutRaceDetector(t)
	clock := new(lateClock)
	c := openChrome(t, clock, func() *gateway { return startStrict(t, clock.now) })
	for name, w := range map[string]way{"desktop": {unseen: true}, "phone without scripts": {phone: true, noScripts: true, unseen: true}} {
		t.Run(name, func(t *testing.T) {
			as := *c
			as.way = w
			h := &household{&as, as.visitor(t, "grace"), as.signedIn(t, "dr.okafor")}
			h.asks(h.okafor, "1001")
			h.mother.open(strictSignIn).isAt("/patient").follow("Read and answer").press("Approve").sees("Sign in once more to go on", "Nothing has changed yet")
			h.opens(t, "/patients/pt-1", false)
			h.mother.follow("Sign in again").sees("You can go on now", "Who is asking").press("Approve").isAt("/patient").sees("can now see the record")
			h.opens(t, "/patients/pt-1", true)
			clock.put(6 * time.Minute) // by now the proof is too old
			h.mother.follow("Who can see").follow("Stop access").press("Stop access").sees("can no longer see the record").press("Undo").sees("can see the record again")
			h.opens(t, "/patients/pt-1", true)
			h.mother.follow("Stop access").press("Stop access")
			clock.put(0)
		})
	}
}
