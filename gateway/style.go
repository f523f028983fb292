package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/gateway/web"
)

// brandOf is how the pages present themselves.
func brandOf(b config.Brand) web.Brand { return web.Brand{Name: b.Name, Accent: b.Accent} }

// stylePath is where apps find how the site looks.
const stylePath = "/smart-style.json"

// mountStyle serves the site's look to apps
// (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling).
func mountStyle(r gin.IRouter, brand config.Brand) {
	accent := brand.Accent
	if accent == "" {
		accent = "#0b6e6e"
	}
	look := map[string]string{
		"color_background":     "#ffffff",
		"color_error":          "#9b2c1f",
		"color_highlight":      accent,
		"color_modal_backdrop": "#1f2a2a",
		"color_success":        "#1e6b3a",
		"color_text":           "#1f2a2a",
		"dim_border_radius":    "8px",
		"dim_font_size":        "16px",
		"dim_spacing_size":     "16px",
		"font_family_body":     "system-ui, sans-serif",
		"font_family_heading":  "system-ui, sans-serif",
	}
	r.GET(stylePath, func(c *gin.Context) {
		c.Header("Access-Control-Allow-Origin", "*")
		c.Header("Cache-Control", "public, max-age=300")
		c.JSON(http.StatusOK, look)
	})
}
