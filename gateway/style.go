package main

import (
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/gateway/web"
)

// brandOf is how the pages present themselves.
func brandOf(b config.Brand) (web.Brand, error) {
	brand := web.Brand{Name: b.Name, Accent: b.Accent, Phone: b.Phone}
	if b.LogoFile == "" {
		return brand, nil
	}
	logo, err := os.ReadFile(b.LogoFile)
	if err != nil {
		return brand, failf("check brand.logo_file", "cannot read the logo: %v", err)
	}
	brand.Logo = logo
	if len(logo) > maxLogo || brand.LogoFile() == "" {
		return brand, failf("take a smaller picture, or another one", "the logo %s is not an SVG or PNG of up to %d kB", b.LogoFile, maxLogo>>10)
	}
	return brand, nil
}

// maxLogo is the size of the largest logo in bytes: it comes with every first page.
const maxLogo = 50 << 10

// stylePath is where apps find how the site looks.
const stylePath = "/smart-style.json"

// mountStyle serves the site's look to apps, in the colours of the pages
// (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling).
func mountStyle(r gin.IRouter, brand config.Brand) error {
	colours, err := web.Colours(web.Brand{Accent: brand.Accent})
	if err != nil {
		return err
	}
	look := map[string]string{
		"color_background":     colours["surface"],
		"color_error":          colours["danger"],
		"color_highlight":      colours["brand"],
		"color_modal_backdrop": colours["text"],
		"color_success":        colours["good"],
		"color_text":           colours["text"],
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
	return nil
}
