package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mypatients/config"
)

// A hospital's name, colour and logo are on its pages, and apps are told of them.
func TestBrand(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo.svg")
	const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"/></svg>`
	if err := os.WriteFile(logo, []byte(picture), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startDemoIn(t, t.TempDir(), "127.0.0.1:0", nil, func(c *config.Config) {
		c.Brand.Name, c.Brand.Accent, c.Brand.LogoFile = "St. Elsewhere", "#5a2d82", logo
	})
	_, _, page := g.get("/signout")
	address := regexp.MustCompile(`<img src="(/static/logo\.svg\?v=[0-9a-f]+)" alt="">`).FindStringSubmatch(page)
	if address == nil || !strings.Contains(page, "St. Elsewhere") {
		t.Fatalf("the page has no logo or no name: %s", page)
	}
	status, header, body := g.get(address[1])
	if status != 200 || body != picture || header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the logo: got %d %v %s", status, header, body)
	}
	if _, _, body := g.get("/static/brand.css"); !strings.Contains(body, "--brand: #5a2d82;") {
		t.Errorf("brand.css: %s", body)
	}
	var look map[string]string
	_, _, body = g.get(stylePath)
	if err := json.Unmarshal([]byte(body), &look); err != nil || look["color_highlight"] != "#5a2d82" || look["color_text"] != "#182122" || look["color_error"] != "#a3341f" {
		t.Errorf("the style for apps: %v %s", err, body)
	}
	for name, value := range look {
		if strings.HasPrefix(name, "color_") && !regexp.MustCompile(`^#[0-9a-f]{6}$`).MatchString(value) {
			t.Errorf("%s is %q", name, value)
		}
	}
}

// A logo that is no picture stops the start, with a word about what to do.
func TestBadLogo(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(bad, []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("demo.yaml", config.DemoYAML(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Storage.Path, c.Brand.LogoFile = "127.0.0.1:0", t.TempDir(), bad
	p, err := startDemoOn(context.WithoutCancel(t.Context()), c, time.Now, slog.New(slog.DiscardHandler))
	if err == nil {
		_ = p.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "SVG or PNG") {
		t.Errorf("got %v", err)
	}
}
