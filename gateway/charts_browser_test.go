package main

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestCharts looks at the charts of the demo's children on all sizes, reads their
// values with the pointer and with the keyboard alone, and does without a script.
func TestCharts(t *testing.T) {
	withoutRaceDetector(t)
	c := startChrome(t)
	t.Run("growth", c.growthCharts)
	t.Run("results", c.resultCharts)
	t.Run("without a script", c.chartsWithoutScript)
}

func (c *chrome) chartsWithoutScript(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/patients/pt-1/growth")
	adams.do("switch scripts off", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	adams.follow("Birth to 3 years").sees("Weight for length", "Head circumference").unfold("All 9 measurements").sees("Z-score")
	if n := adams.number(`document.querySelectorAll(".cursor").length`); n != 0 {
		t.Errorf("a script made %d cursors", n)
	}
	if n := adams.number(`[...document.querySelectorAll(".marks use")].filter(m => m.getBoundingClientRect().width > 5 && m.querySelector("title").textContent).length`); n < 30 {
		t.Errorf("only %d values are drawn", n)
	}
}

func (c *chrome) growthCharts(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/patients/pt-1/growth")
	adams.sees("Growth", "percentile", "boys", "2 to 20 years", "Age in years").shot("charts-growth").narrow("charts-growth")
	adams.dark("charts-growth").printed("charts-growth")
	adams.follow("Birth to 3 years").sees("Weight for length", "Head circumference", "Age in months").shot("charts-growth-infant").dark("charts-growth-infant")
	adams.follow("Show the charts for all ages").sees("Fit the charts to the measurements").shot("charts-growth-whole")
	helen := c.visitor(t, "helen").enter("/patients/pt-3/growth").sees("girls").shot("charts-growth-teenager")
	helen.walks("Weight", "percentile").picture("charts-growth-value", desktopWidth)
	helen.unfold("All 12 measurements").sees("Z-score").shot("charts-growth-table")
}

func (c *chrome) resultCharts(t *testing.T) {
	adams := c.visitor(t, "dr.adams").enter("/patients/pt-1/results")
	adams.sees("Vital signs", "Blood pressure", "Laboratory", "Ferritin", "usual range", "below it").shot("charts-results").narrow("charts-results").dark("charts-results")
	adams.walks("Blood pressure", "mmHg")
}

// narrow takes pictures of the page at the smallest width that must do.
func (v *visitor) narrow(name string) *visitor {
	v.t.Helper()
	v.do("turn to a small phone", chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile, chromedp.EmulatePortrait, chromedp.EmulateScale(2)))
	if width := v.number(`document.documentElement.scrollWidth`); width > 320 {
		v.t.Errorf("%s is %d wide on a phone of 320", v.address(), width)
	}
	v.picture(name, 320)
	v.media("", "dark")
	v.picture(name+"-dark", 320)
	v.media("", "light")
	v.do("turn to the desktop", chromedp.EmulateViewport(desktopWidth, 900))
	return v
}

func (v *visitor) number(script string) int {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	n, err := chromedp.Run(ctx, chromedp.Evaluate[int](script))
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}

func (v *visitor) words(script string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

// walks goes through the values of a drawing with the keyboard.
func (v *visitor) walks(name, says string) *visitor {
	v.t.Helper()
	cursor := `document.querySelector('[data-plot="` + name + `"] .cursor')`
	tip := `document.querySelector('[data-plot="` + name + `"] .tip:not([hidden])')?.textContent ?? ""`
	v.do("go to the drawing", chromedp.Evaluate[chromedp.Void](cursor+`.focus()`))
	last := v.words(tip)
	v.do("press keys", chromedp.KeyEvent(kb.ArrowLeft))
	before := v.words(tip)
	if last == "" || before == "" || last == before || !strings.Contains(before, says) {
		v.t.Errorf("the drawing of %s says %q, then %q", name, last, before)
	}
	if told := v.words(cursor + `.getAttribute("aria-valuetext")`); told != before {
		v.t.Errorf("the drawing of %s tells %q, and shows %q", name, told, before)
	}
	return v
}
