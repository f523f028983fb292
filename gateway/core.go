package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"mypatients/config"
	"mypatients/consent"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/search"
	"mypatients/fhir/store"
	"mypatients/gateway/web"
	"mypatients/smart"
	"mypatients/smart/authserver"
	"mypatients/smart/fetch"
)

// A core is the gateway without its HTTP side: what commands that work on its
// data need too.
type core struct {
	store  store.Store
	rules  *consent.Rules
	engine *engine.Engine
	guard  *consent.Guard
	server *authserver.Server
	log    *slog.Logger
	demo   bool

	unread atomic.Int64 // consents met that cannot be evaluated
}

// openCore opens the data of a configuration and puts together all that stands
// on it. The configuration is complete: base URL, key and folder are set.
func openCore(ctx context.Context, c *config.Config, now func() time.Time, log *slog.Logger) (_ *core, err error) {
	k := &core{log: log, demo: c.Demo}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	if k.store, err = openStore(ctx, c.Storage, now, log); err != nil {
		return nil, err
	}
	canonical, err := bindBase(ctx, k.store, c)
	if err != nil {
		return nil, err
	}
	registry, err := registryOf(c)
	if err != nil {
		return nil, err
	}
	labels, err := labelRules(c.Policy.Labels)
	if err != nil {
		return nil, err
	}
	k.rules = consent.NewRules(c.BaseURL, canonical, c.Zone()).WithLabels(labels)
	k.engine, err = k.rules.Engine(engine.Config{Store: k.store, Registry: registry, Now: now, Integrity: c.Storage.ReferentialIntegrity})
	if err != nil {
		return nil, err
	}
	if err := k.followDefinitions(ctx); err != nil {
		return nil, err
	}
	brand, err := brandOf(c.Brand)
	if err != nil {
		return nil, err
	}
	refuse, err := web.ErrorPage(brand)
	if err != nil {
		return nil, err
	}
	k.server, err = authserver.New(ctx, authserver.Config{
		Store: k.store, Now: now, Issuer: c.BaseURL, FHIRBase: c.BaseURL + "/fhir", Key: c.KeyBytes(),
		OpenRegistration: c.Registration.Open, InitialAccessToken: c.Registration.InitialAccessToken.Reveal(),
		Statements:        statementIssuers(c.Registration),
		LoginURL:          func(pending string) string { return c.BaseURL + "/authorize?request=" + pending },
		ManagementURL:     c.BaseURL + "/patient/apps",
		StyleURL:          c.BaseURL + stylePath,
		ErrorPage:         refuse,
		Extra:             extraDiscovery(c),
		Current:           k.current,
		Removed:           k.forgetApp,
		Backend:           k.backendToken,
		Types:             func(typ string) bool { return fhir.Type(typ).Valid() },
		Granular:          granular(k.engine.Registry),
		Tenant:            c.Tenant,
		ACRValues:         acrValues(c.Issuers),
		AllowLoopbackJWKS: c.Demo,
		Logger:            log,
	})
	if err != nil {
		return nil, err
	}
	translate, err := mailWords()
	if err != nil {
		return nil, err
	}
	k.guard, err = consent.New(consent.Config{
		Rules: k.rules, Now: now, Logger: log, Key: c.KeyBytes(), MRNSystem: c.MRNSystem, Policy: policy(c.Policy),
		Launch: func(ctx context.Context, l smart.Launch) (string, error) {
			handle, _, err := k.server.Launch(ctx, l)
			return handle, err
		},
		AppCode:      k.appCode,
		Translate:    translate,
		StepUp:       stepUps(c.Issuers),
		PrivacyEmail: c.Policy.PrivacyEmail,
		Standing:     k.standing,
		Endpoint:     func(url string) bool { return fetch.MayCall(url, c.Demo) },
		Unreadable:   k.unreadable,
	})
	return k, err
}

// registryOf gives the search parameters of a site.
func registryOf(c *config.Config) (*search.Registry, error) {
	registry, err := search.R4()
	if err != nil {
		return nil, err
	}
	registry = registry.In(c.Zone())
	if c.Search.FullText {
		registry = registry.WithText()
	}
	return registry, nil
}

func statementIssuers(c config.Registration) []authserver.StatementIssuer {
	var list []authserver.StatementIssuer
	for _, is := range c.SoftwareStatements {
		list = append(list, authserver.StatementIssuer{Issuer: is.Issuer, JWKS: []byte(is.JWKS), JWKSURI: is.JWKSURI})
	}
	return list
}

// bindBase holds data to the base URL that it was made with: it is the
// issuer of its accounts' tokens and part of what its resources say. The demo may
// move to another port; what it defines keeps the addresses that it began with.
func bindBase(ctx context.Context, s store.Store, c *config.Config) (bound string, err error) {
	const kind, key = "site", "base"
	base := c.BaseURL
	err = s.Update(ctx, func(w store.Writer) error {
		record, err := w.Record(kind, key)
		if errors.Is(err, store.ErrNotFound) {
			bound = base
			return w.PutRecord(&store.Record{Kind: kind, Key: key, Value: []byte(base)})
		}
		if err == nil {
			bound = string(record.Value)
		}
		return err
	})
	if err == nil && bound != base && !c.Demo {
		return "", failf("use that address again, or other data", "the data was made for %s, not for %s", bound, base)
	}
	return bound, err
}

// unreadable reports a consent that cannot be evaluated, without saying whose.
func (k *core) unreadable(u consent.UnreadableConsent) {
	k.unread.Add(1)
	k.log.Warn("a consent in force cannot be evaluated: it permits nothing, and what it denies it denies in doubt", "consent", u.Consent.String(), "element", u.Element)
}

// Close ends what runs and closes the store.
func (k *core) Close() error {
	var errs []error
	if k.guard != nil {
		errs = append(errs, k.guard.Close())
	}
	if k.store != nil {
		errs = append(errs, k.store.Close())
	}
	return errors.Join(errs...)
}
