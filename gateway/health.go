package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/fhir/store"
)

// mountHealth adds what an operator's probes ask: /healthz says that the
// process runs, /readyz that it can do its work.
func (p *Program) mountHealth(r gin.IRouter) {
	r.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET("/readyz", func(c *gin.Context) {
		ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
		defer cancel()
		if p.stopping.Load() || p.core.reachable(ctx) != nil {
			c.String(http.StatusServiceUnavailable, "not ready\n")
			return
		}
		c.String(http.StatusOK, "ready\n")
	})
}

// reachable asks the store something.
func (k *core) reachable(ctx context.Context) error {
	return k.store.View(ctx, func(r store.Reader) error {
		_, err := r.Record("site", "base")
		return err
	})
}
