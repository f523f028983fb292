package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/gateway/notify"
	"mypatients/gateway/rest"
	"mypatients/gateway/web"
	"mypatients/smart"
	"mypatients/smart/idp"
)

// start listens and wires everything together. The configuration is checked;
// the demo's base URL is the address that it listens on. What was opened is
// closed again when start fails.
func start(ctx context.Context, c *config.Config, now func() time.Time, log *slog.Logger) (_ *Program, err error) {
	p := &Program{log: log}
	defer func() {
		if err != nil {
			_ = p.Close() // the first error is the one that tells
		}
	}()
	if p.listener, err = listen(c.Listen); err != nil {
		return nil, err
	}
	if c.BaseURL == "" {
		c.BaseURL = "http://" + p.listener.Addr().String()
	}
	p.URL = c.BaseURL
	if p.core, err = openCore(ctx, c, now, log); err != nil {
		return nil, err
	}

	measured := newMetrics()
	measured.follow(p.core)
	r, err := newRouter(log, measured, strings.HasPrefix(c.BaseURL, "https:"), c.TrustedProxies)
	if err != nil {
		return nil, err
	}
	if c.Demo {
		r.Use(loopbackOnly(c.BaseURL))
	}
	p.mountHealth(r)
	if err := p.mountMetrics(r, c, measured); err != nil {
		return nil, err
	}

	providers, err := p.signIns(ctx, r, c, now)
	if err != nil {
		return nil, err
	}
	if err := p.core.appointAdmins(ctx, c.Admins); err != nil {
		return nil, err
	}

	err = rest.Mount(r, rest.Config{
		Guard: p.core.guard, Authenticate: p.core.authenticate, OriginAllowed: p.core.server.OriginAllowed,
		Base: c.BaseURL + "/fhir", Zone: c.Zone(), MaxBody: int64(c.Limits.MaxBodyMB) << 20, Prolong: prolong,
	})
	if err != nil {
		return nil, err
	}
	mails, err := p.addWorkers(c, now, log)
	if err != nil {
		return nil, err
	}
	brand, err := brandOf(c.Brand)
	if err != nil {
		return nil, err
	}
	err = web.Mount(r, web.Config{
		Notices: &pageNotices{mails}, Mail: directMail(c, mails),
		Guard: p.core.guard, Server: p.core.server, Providers: providers, Sessions: &sessions{p.core.store, now}, SignOuts: &signOuts{p.core.store, now},
		Roles: roleMaps(c.Issuers),
		Now:   now, Key: c.KeyBytes(), Base: c.BaseURL, Zone: c.Zone(), Brand: brand, Log: log, Components: c.Demo,
	})
	if err != nil {
		return nil, err
	}
	if err := p.core.mountSMART(ctx, r, c, now); err != nil {
		return nil, err
	}

	measured.watchNotices(mails)
	if err := p.mountAdmin(c, mails); err != nil {
		return nil, err
	}
	p.server = newServer(r, log)
	return p, nil
}

// signIns are the providers at which people sign in; the demo adds its own.
func (p *Program) signIns(ctx context.Context, r *gin.Engine, c *config.Config, now func() time.Time) ([]*idp.Provider, error) {
	var providers []*idp.Provider
	for _, is := range c.Issuers {
		provider, err := idp.New(idp.Config{
			ID: is.ID, Name: is.Name, Issuer: is.Issuer, ClientID: is.ClientID, ClientSecret: is.ClientSecret.Reveal(),
			Scopes: is.Scopes, RedirectURL: c.BaseURL + callbackPath(is.ID), Now: now,
		})
		if err != nil {
			return nil, err
		}
		providers = append(providers, provider)
	}
	if !c.Demo {
		return providers, nil
	}
	provider, err := p.addDemo(ctx, r, c, now)
	return append(providers, provider), err
}

// callbackPath is where browsers come back to from signing in at a provider.
func callbackPath(provider string) string { return "/signin/callback/" + provider }

// roleMaps are the roles that the issuers' claims give.
func roleMaps(issuers []config.Issuer) map[string]web.RoleMap {
	maps := map[string]web.RoleMap{}
	for _, is := range issuers {
		values := map[string]smart.Role{}
		for value, role := range is.Roles.Values {
			values[value] = smart.Role(role)
		}
		maps[is.ID] = web.RoleMap{Claim: is.Roles.Claim, Values: values}
	}
	return maps
}

// mountMetrics serves metrics with the rest in the demo, and on a listener of
// their own, or not at all, in production.
func (p *Program) mountMetrics(r gin.IRouter, c *config.Config, m *metrics) (err error) {
	if c.Metrics.Listen == "" {
		if c.Demo {
			r.GET("/metrics", gin.WrapH(m.handler()))
		}
		return nil
	}
	if p.measured, err = listen(c.Metrics.Listen); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	p.metrics = newServer(mux, p.log)
	return nil
}

// mountAdmin serves the admin API on a listener of its own, if there is to be one.
func (p *Program) mountAdmin(c *config.Config, mails *notify.Worker) (err error) {
	if c.Admin.Listen == "" {
		return nil
	}
	if p.asked, err = listen(c.Admin.Listen); err != nil {
		return err
	}
	p.admin = newServer(adminAPI(&auditedRegistrar{p.core.server, p.core.guard}, &auditedNotices{mails, p.core.guard}, &guardedLog{p.core.guard}, &guardedPolicy{p.core.guard, &c.Policy}, c.Admin.Token.Reveal(), p.log), p.log)
	return nil
}

// chores are what is done every minute: expired records go, and requests that
// nobody answered lapse; search parameters that were stored are taken up. Expiry is judged by readers; an hour later a record is
// of no use to anybody.
func (k *core) chores() []notify.Chore {
	return []notify.Chore{
		{Name: "sweep", Do: func(ctx context.Context, now time.Time) error {
			_, err := k.store.Sweep(ctx, now.Add(-time.Hour))
			return err
		}},
		{Name: "lapse", Do: func(ctx context.Context, _ time.Time) error {
			_, err := k.guard.Lapse(ctx)
			return err
		}},
		{Name: "remind", Do: func(ctx context.Context, _ time.Time) error { return k.guard.Remind(ctx) }},
		{Name: "warn of ends", Do: func(ctx context.Context, _ time.Time) error { return k.guard.WarnOfEnds(ctx) }},
		{Name: "labels", Do: func(ctx context.Context, _ time.Time) error { return k.rules.FlowLabels(ctx) }},
		{Name: "sponsors", Do: func(ctx context.Context, _ time.Time) error {
			_, err := k.guard.RemindSponsors(ctx)
			return err
		}},
		{Name: "definitions", Do: func(ctx context.Context, _ time.Time) error { return k.followDefinitions(ctx) }},
	}
}

func serveCommand(ctx context.Context, env environment, args []string) error {
	c, set, err := configured(env, "serve", args)
	if err != nil {
		return err
	}
	if err := noMore(set); err != nil {
		return err
	}
	p, err := start(ctx, c, env.now, newLog(env.stderr, c.Log))
	if err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, "ready", p.URL)
	return p.finish(ctx)
}
