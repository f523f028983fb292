package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// crossOrigin sets the headers that let browser apps of other origins in
// (https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#considerations-for-cross-origin-resource-sharing-cors-support),
// on errors too. Access rests on the token in a header, which no browser sends
// by itself, and nobody gets to use cookies; still only origins of registered apps
// are let in, so that a token that leaked is of no use to a page of others.
// Metadata is for all.
func (h *handler) crossOrigin(c *gin.Context) {
	c.Header("Vary", "Origin")
	origin := c.GetHeader("Origin")
	if c.Request.URL.Path == h.prefix+"/metadata" {
		origin = "*"
	}
	if origin == "" || origin != "*" && h.OriginAllowed != nil && !h.OriginAllowed(c.Request.Context(), origin) {
		return
	}
	c.Header("Access-Control-Allow-Origin", origin)
	c.Header("Access-Control-Expose-Headers", "ETag, Location, Content-Location, Last-Modified, Preference-Applied, WWW-Authenticate, Retry-After, Expires, "+RequestIDHeader)
	if c.Request.Method == http.MethodOptions {
		c.Header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		c.Header("Access-Control-Allow-Headers", "Authorization, Accept, Content-Type, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, "+RequestIDHeader)
		c.Header("Access-Control-Max-Age", "3600")
	}
}
