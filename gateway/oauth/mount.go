package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/smart"
	"mypatients/smart/authserver"
)

// Config is what the endpoints need.
type Config struct {
	Server *authserver.Server
	Now    func() time.Time
	// Identity finds the account that a FHIR reference ("Practitioner/1") stands
	// for, as the launch API names people. Any error means: nobody to launch for.
	Identity func(ctx context.Context, reference string) (smart.Identity, error)
}

// Mount registers /oauth/…, /.well-known/openid-configuration,
// /.well-known/oauth-authorization-server and
// /fhir/.well-known/smart-configuration.
func Mount(router gin.IRouter, c Config) error {
	if c.Server == nil || c.Now == nil || c.Identity == nil {
		return errors.New("oauth: Server, Now and Identity are required")
	}
	handler := c.Server.Handler()
	server := func(g *gin.Context) {
		handler.ServeHTTP(g.Writer, g.Request.WithContext(authserver.WithAddress(g.Request.Context(), g.ClientIP())))
	}
	anyOrigin, registered := corsAny(), corsRegistered(c.Server)

	router.Any("/oauth/authorize", server) // a page, not an API: no CORS
	for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo"} {
		router.Any(path, registered, server)
	}
	router.Any("/oauth/jwks", anyOrigin, server)
	router.Any("/.well-known/openid-configuration", anyOrigin, server)
	router.Any("/.well-known/oauth-authorization-server", anyOrigin, server)
	router.Any("/oauth/register", server)
	router.Any("/oauth/register/:id", server)

	discovery := func(g *gin.Context) {
		if g.Request.Method != http.MethodGet && g.Request.Method != http.MethodHead {
			g.Header("Allow", "GET, HEAD, OPTIONS")
			writeError(g, http.StatusMethodNotAllowed, "invalid_request", "Method not allowed.")
			return
		}
		g.Header("Cache-Control", "public, max-age=300")
		g.PureJSON(http.StatusOK, c.Server.SMARTConfiguration())
	}
	router.Any("/fhir/.well-known/smart-configuration", anyOrigin, discovery)

	router.POST("/oauth/launch", launch(c))
	return nil
}

// fail answers with an error of the authorization server; of one that is not
// ours only a fixed sentence is shown.
func fail(g *gin.Context, err error) {
	var e *smart.Error
	if !errors.As(err, &e) {
		_ = g.Error(err) // for the log of the request
		writeError(g, http.StatusInternalServerError, "server_error", "Something went wrong on our side.")
		return
	}
	if e.Cause != nil {
		_ = g.Error(e.Cause)
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if status == http.StatusUnauthorized {
		g.Header("WWW-Authenticate", `Bearer error="`+e.Code+`"`)
	}
	writeError(g, status, e.Code, e.Description)
}

func writeError(g *gin.Context, status int, code, description string) {
	g.AbortWithStatusJSON(status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
}
