package oauth

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"mypatients/smart/authserver"
)

// CORS as https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#considerations-for-cross-origin-resource-sharing-cors-support
// asks: any origin reads discovery documents and keys; origins of registered apps
// use the endpoints. Cookies never count there, so credentials are not allowed.

const (
	corsHeaders = "Authorization, Content-Type, Accept"
	corsExposed = "WWW-Authenticate, X-Request-Id"
	corsMaxAge  = "600" // seconds
)

// corsAny lets every origin read.
func corsAny() gin.HandlerFunc {
	return func(g *gin.Context) {
		g.Header("Access-Control-Allow-Origin", "*")
		if preflight(g.Request) {
			g.Header("Access-Control-Allow-Methods", "GET, HEAD")
			g.Header("Access-Control-Allow-Headers", corsHeaders)
			g.Header("Access-Control-Max-Age", corsMaxAge)
			g.AbortWithStatus(http.StatusNoContent)
		}
	}
}

// corsRegistered lets the origins of registered clients read, on errors too.
func corsRegistered(s *authserver.Server) gin.HandlerFunc {
	return func(g *gin.Context) {
		g.Writer.Header().Add("Vary", "Origin")
		origin := g.GetHeader("Origin")
		allowed := origin != "" && s.OriginAllowed(g.Request.Context(), origin)
		if allowed {
			g.Header("Access-Control-Allow-Origin", origin)
			g.Header("Access-Control-Expose-Headers", corsExposed)
		}
		if !preflight(g.Request) {
			return
		}
		if allowed {
			g.Header("Access-Control-Allow-Methods", "GET, POST")
			g.Header("Access-Control-Allow-Headers", corsHeaders)
			g.Header("Access-Control-Max-Age", corsMaxAge)
		}
		g.AbortWithStatus(http.StatusNoContent)
	}
}

func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
