package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"
)

// evaluate runs a script on a page.
func evaluate[T any](v *visitor, script string, options ...chromedp.EvaluateOption) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, options...))
	if err != nil {
		v.t.Fatalf("%s: a script failed: %v\n%s", v.name, err, v.scene())
	}
	return value
}

// source is the page as it was sent.
func (v *visitor) source() string {
	v.t.Helper()
	var text string
	v.do("read the source", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		v.mu.Lock()
		id := v.loaded
		v.mu.Unlock()
		got, err := cdp.Call(ctx, t, network.GetResponseBody, network.GetResponseBodyParams{RequestID: id})
		text = string(got.Body)
		return err
	}))
	return text
}

// loads notes which answer made the page that is shown.
func (v *visitor) loads(event any) {
	if e, ok := event.(*network.EventResponseReceived); ok && e.Type == network.ResourceTypeDocument {
		v.mu.Lock()
		v.loaded = e.RequestID
		v.mu.Unlock()
	}
}

func (v *visitor) resize(width int) {
	v.t.Helper()
	v.do("resize the window", chromedp.EmulateViewport(int64(width), 900))
}

// letters sets how large letters are, in pixels, as people do in their browser.
func (v *visitor) letters(size int64) {
	v.t.Helper()
	v.do("change the size of letters", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.SetFontSizes, page.SetFontSizesParams{FontSizes: &page.FontSizes{Standard: size}})
		return err
	}))
}

// fits fails when a page has to be scrolled sideways.
func (v *visitor) fits(width int) {
	v.t.Helper()
	if got := evaluate[int](v, `document.documentElement.scrollWidth`); got > width {
		v.t.Errorf("%s is %d wide in a window of %d", v.address(), got, width)
	}
}

// snap takes a picture.
func (v *visitor) snap(name string, width int) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	image, err := chromedp.Run(ctx, chromedp.FullScreenshot(80))
	if err != nil {
		v.t.Fatalf("no picture of %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(v.shots, fmt.Sprintf("%s-%d.jpg", name, width)), image, 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// routes are what the gateway answers.
func (g *gateway) routes() gin.RoutesInfo { return g.server.Handler.(*gin.Engine).Routes() }
